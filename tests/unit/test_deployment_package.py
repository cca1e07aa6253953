"""The package that is deployed: what .funcignore leaves, running where only requirements.txt is installed."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pathspec import GitIgnoreSpec

from devcloud.functions.settings import parse_function_timeout
from tests.support.deployment import ROOT, files_to_deploy

PYTHON = ROOT / ".venv-package" / "bin" / "python"

# What the host needs, what the project consists of, and the engine: nothing else is deployed.
DEPLOYED = re.compile(
    r"function_app\.py|host\.json|requirements\.txt|hygge\.yml|flows/.+\.yml|hygge_engine/.+\.(py|typed)"
)

# The engine's own modules are a few hundred kilobytes; far more means that something was packed by mistake.
PACKAGE_LIMIT_BYTES = 2_000_000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, unpacked where nothing else is."""
    folder = tmp_path_factory.mktemp("package")
    archive = folder / "package.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in files_to_deploy():
            zipped.write(ROOT / name, name)
    assert archive.stat().st_size < PACKAGE_LIMIT_BYTES
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(folder / "wwwroot")
    return folder / "wwwroot"


def run_in_package(package: Path, code: str) -> Any:
    """What ``code`` prints, as JSON, from a Python that has only requirements.txt."""
    if not PYTHON.exists():
        pytest.skip("`make test` sets up .venv-package")
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "HYGGE_SCHEDULE": "0 */5 * * * *"}
    done = subprocess.run(
        [PYTHON, "-W", "error::ImportWarning", "-c", code],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_what_the_app_needs_is_deployed() -> None:
    files = files_to_deploy()

    assert [name for name in files if not DEPLOYED.fullmatch(name)] == []
    assert {"function_app.py", "host.json", "requirements.txt", "hygge.yml"} <= set(files)
    assert not any(name.startswith("hygge_engine/cli/") for name in files)


@pytest.mark.parametrize(
    "name",
    [
        "local.settings.json",
        ".env",
        ".azure/shop/.env",
        "infra/terraform/terraform.tfstate",
        "infra/terraform/a.tfvars",
    ],
)
def test_what_may_hold_a_secret_is_neither_deployed_nor_committed(name: str) -> None:
    deployed = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    committed = GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())

    assert deployed.match_file(name)
    assert committed.match_file(name)


def test_the_functions_are_found_where_only_the_requirements_are_installed(package: Path) -> None:
    code = """
import json, function_app
print(json.dumps(sorted(function.get_function_name() for function in function_app.app.get_functions())))
"""
    written = re.findall(r"^(?:async )?def ([a-z]\w*)\(", (ROOT / "function_app.py").read_text(), re.MULTILINE)

    assert run_in_package(package, code) == sorted(written)


def test_every_module_of_the_package_finds_what_it_imports(package: Path) -> None:
    code = """
import importlib, json, pkgutil, hygge_engine
names = [module.name for module in pkgutil.walk_packages(hygge_engine.__path__, "hygge_engine.")]
for name in names:
    importlib.import_module(name)
print(json.dumps(len(names)))
"""
    assert run_in_package(package, code) > 20


def test_the_package_runs_without_the_tools_of_development(package: Path) -> None:
    code = """
import importlib.util, json
names = ("devcloud", "pytest", "duckdb", "hygge_engine.cli")
print(json.dumps([name for name in names if importlib.util.find_spec(name)]))
"""
    assert run_in_package(package, code) == []


def pinned(file: str) -> dict[str, str]:
    lines = [line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    # One name, one exact version; no address, no option, no file.
    pins = [re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z,-]+\])?==([0-9][0-9a-z.+]*)", line) for line in lines]
    assert [line for line, pin in zip(lines, pins, strict=True) if pin is None] == []
    return {pin[1]: pin[2] for pin in pins if pin}


def test_every_dependency_is_pinned_and_tests_run_on_what_is_deployed() -> None:
    deployed, tested = pinned("requirements.txt"), pinned("requirements-dev.txt")

    assert deployed.items() <= tested.items()
    assert pinned("requirements-checkov.txt")


@pytest.fixture(scope="module")
def host() -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((ROOT / "host.json").read_text())
    return settings


def test_host_json_is_what_the_platform_takes(host: dict[str, Any]) -> None:
    bundle = host["extensionBundle"]

    assert host["version"] == "2.0"
    assert host["telemetryMode"] == "OpenTelemetry"
    # The bundle that carries the Durable Functions extension which SDK 1.7 speaks to.
    assert (bundle["id"], bundle["version"]) == ("Microsoft.Azure.Functions.ExtensionBundle", "[4.*, 5.0.0)")
    # A task hub's name is part of queue, table and container names.
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2,44}", host["extensions"]["durableTask"]["hubName"])
    # The host's own spans of a load lie in the load's trace: version V2 is the one that OpenTelemetry collects.
    assert host["extensions"]["durableTask"]["tracing"] == {"distributedTracingEnabled": True, "version": "V2"}
    # With OpenTelemetry the host reads none of Application Insights' own settings.
    assert "applicationInsights" not in host["logging"]
    # What alerts and workbook read is logged as information.
    assert host["logging"]["logLevel"]["default"] == "Information"


def test_a_slice_ends_well_before_its_function_is_stopped(host: dict[str, Any]) -> None:
    timeout = parse_function_timeout(host["functionTimeout"])
    found = re.search(r"slice_minutes: \"\$\{HYGGE_SLICE_MINUTES:-(\d+)\}\"", (ROOT / "hygge.yml").read_text())

    assert found is not None
    # A minute is left for the last file and the commit.
    assert timeout.total_seconds() >= (int(found[1]) + 1) * 60
