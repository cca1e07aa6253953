"""azure.yaml names what exists, and its hooks do their part once and say what is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.fabric_api import PRINCIPAL, WORKSPACE, Fabric
from tests.unit.infra_bicep import read_parameters

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra" / "bicep"

ENVIRONMENT = {
    "SQL_SERVER": "shop.database.windows.net",
    "SQL_DATABASE": "shop",
    "WORKSPACE_ID": WORKSPACE,
    "HYGGE_IDENTITY_NAME": "id-shop",
    "HYGGE_IDENTITY_CLIENT_ID": "44444444-4444-4444-4444-444444444444",
    "HYGGE_IDENTITY_PRINCIPAL_ID": PRINCIPAL,
}


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    server = Fabric()
    yield server
    server.stop()


def put_tool(folder: Path, name: str, script: str) -> None:
    """A program on the PATH that writes its arguments and its standard input into a file of its name."""
    path = folder / name
    path.write_text(f'#!/bin/sh\n{{ echo "$@"; {script}; }} >>{folder}/{name}.seen\n')
    path.chmod(0o755)


def run_hook(hook: str, fabric: Fabric, tools: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | {"FABRIC_API_URL": fabric.url, "PATH": f"{tools}:/usr/bin:/bin"} | more
    command = [sys.executable, str(ROOT / "infra/scripts/azd_hooks.py"), hook]
    kept = {name: value for name, value in environment.items() if value}
    return subprocess.run(command, env=kept, capture_output=True, text=True, check=False, timeout=60)


def test_azure_yaml_names_what_exists() -> None:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text())

    assert (ROOT / settings["infra"]["path"] / f"{settings['infra']['module']}.bicep").is_file()
    assert (ROOT / settings["services"]["app"]["project"] / "host.json").is_file()
    for hook in [*settings["hooks"].values(), *settings["services"]["app"]["hooks"].values()]:
        for system in hook.values():
            program, script, _which = system["run"].split()
            assert program in ("python", "python3")
            assert os.access(ROOT / script, os.X_OK)
    # How azd finds the app among the resources.
    (service,) = settings["services"]
    assert f"'azd-service-name': '{service}'" in (INFRA / "modules" / "app.bicep").read_text()


def test_the_parameter_file_gives_what_the_template_needs_and_nothing_else() -> None:
    text = (INFRA / "main.bicepparam").read_text()
    given = dict(re.findall(r"^param (\w+) = (.+)$", text, re.MULTILINE))
    parameters = read_parameters(INFRA / "main.bicep")

    assert set(given) <= set(parameters)
    assert {name for name, parameter in parameters.items() if parameter.required} <= set(given)
    assert all("readEnvironmentVariable(" in value for value in given.values())


def test_before_it_says_what_is_missing(fabric: Fabric, tmp_path: Path) -> None:
    done = run_hook("before", fabric, tmp_path, SQL_SERVER="", WORKSPACE_ID="")

    assert done.returncode == 1
    assert re.findall(r"azd env set (\w+)", done.stderr) == ["SQL_SERVER", "WORKSPACE_ID", "MIRROR_NAME"]


def test_before_it_refuses_a_name_that_no_app_can_have(fabric: Fabric, tmp_path: Path) -> None:
    done = run_hook("before", fabric, tmp_path, AZURE_ENV_NAME="shop.prod_eu", MIRROR_NAME="shop")

    assert done.returncode == 1
    assert "shop.prod_eu" in done.stderr
    assert fabric.requests == []


def test_before_it_creates_the_mirror_that_is_only_named(fabric: Fabric, tmp_path: Path) -> None:
    id_ = fabric.add("shop", "Running")
    put_tool(tmp_path, "azd", "true")

    done = run_hook("before", fabric, tmp_path, MIRROR_NAME="shop")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "azd.seen").read_text() == f"env set MIRROR_ID {id_}\n"


def test_before_it_leaves_a_mirror_that_is_known_alone(fabric: Fabric, tmp_path: Path) -> None:
    done = run_hook("before", fabric, tmp_path, MIRROR_ID="22222222-2222-2222-2222-222222222222")

    assert done.returncode == 0
    assert fabric.requests == []


@pytest.mark.parametrize(("more", "told"), [({}, True), ({"DEPLOY_ALLOW_LIST": "203.0.113.7"}, False)])
def test_before_it_says_from_where_a_private_app_takes_packages(
    fabric: Fabric, tmp_path: Path, more: dict[str, str], told: bool
) -> None:
    done = run_hook("before", fabric, tmp_path, PRIVATE_NETWORK="true", MIRROR_ID=PRINCIPAL, **more)

    assert done.returncode == 0, done.stderr
    assert ("DEPLOY_ALLOW_LIST" in done.stderr) == told


def test_after_it_grants_what_the_app_needs(fabric: Fabric, tmp_path: Path) -> None:
    put_tool(tmp_path, "sqlcmd", "cat")

    done = run_hook("after", fabric, tmp_path, SQL_SCHEMAS="dbo, ref", SQL_CHANGE_TRACKING="true")

    assert done.returncode == 0, done.stderr
    assert fabric.roles == {PRINCIPAL: "Contributor"}
    seen = (tmp_path / "sqlcmd.seen").read_text()
    assert seen.startswith("-S shop.database.windows.net -d shop -G -b\n")
    assert "GRANT SELECT ON SCHEMA::[ref] TO [id-shop];" in seen
    assert "GRANT VIEW CHANGE TRACKING ON SCHEMA::[dbo] TO [id-shop];" in seen


@pytest.mark.parametrize("sqlcmd", [None, "false"])
def test_after_it_shows_the_statements_that_it_cannot_run(fabric: Fabric, tmp_path: Path, sqlcmd: str | None) -> None:
    if sqlcmd:
        put_tool(tmp_path, "sqlcmd", sqlcmd)

    done = run_hook("after", fabric, tmp_path)

    assert done.returncode == 0
    assert "GRANT SELECT ON SCHEMA::[dbo] TO [id-shop];" in done.stderr


def test_after_it_fails_where_fabric_refuses(fabric: Fabric, tmp_path: Path) -> None:
    fabric.refused = (403, "InsufficientPrivileges")

    done = run_hook("after", fabric, tmp_path)

    assert done.returncode == 1
    assert "Member or Admin" in done.stderr


@pytest.mark.parametrize("scheduler", ["true", "false", ""])
def test_before_it_packs_it_writes_the_backend_into_host_json(fabric: Fabric, tmp_path: Path, scheduler: str) -> None:
    (tmp_path / "infra/scripts").mkdir(parents=True)
    for name in ("azd_hooks.py", "package.py"):
        shutil.copy(ROOT / "infra/scripts" / name, tmp_path / "infra/scripts")
    for name in ("host.json", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    as_it_was = (tmp_path / "host.json").read_bytes()
    command = [sys.executable, str(tmp_path / "infra/scripts/azd_hooks.py"), "package"]

    for _ in range(2):
        subprocess.run(command, check=True, env={"DURABLE_TASK_SCHEDULER": scheduler}, timeout=60)
    written = (tmp_path / "host.json").read_bytes()
    subprocess.run(command, check=True, env={}, timeout=60)

    # What azd packs is what package.py packs, and there is a way back.
    options = ["--durable-task-scheduler"] if scheduler == "true" else []
    pack = [sys.executable, str(ROOT / "infra/scripts/package.py"), *options, str(tmp_path / "package.zip")]
    subprocess.run(pack, check=True, timeout=60)
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        assert json.loads(written) == json.loads(package.read("host.json"))
    assert (tmp_path / "host.json").read_bytes() == as_it_was
