"""The scripts of infra/scripts, run as a person runs them, against an emulator of Fabric's REST API."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fabric_api import PRINCIPAL, WORKSPACE, Fabric

SCRIPTS = Path(__file__).parents[2] / "infra" / "scripts"


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    server = Fabric()
    yield server
    server.stop()


def run(script: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    # Waiting takes no time here: the poll interval is the only thing that the tests change.
    prelude = f"import sys, runpy; sys.path.insert(0, {str(SCRIPTS)!r})"
    body = f"import {script}; {script}.POLL_SECONDS = 0.01; sys.exit({script}.main({list(arguments)!r}))"
    command = [sys.executable, "-c", f"{prelude}; {body}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=env)


def create_mirror(fabric: Fabric, name: str = "shop") -> subprocess.CompletedProcess[str]:
    return run("fabric", "--api-url", fabric.url, "create-mirror", "--workspace-id", WORKSPACE, "--name", name)


def grant_role(fabric: Fabric, *more: str) -> subprocess.CompletedProcess[str]:
    asked = ["grant-role", "--workspace-id", WORKSPACE, "--principal-id", PRINCIPAL, *more]
    return run("fabric", "--api-url", fabric.url, *asked)


def test_a_mirrored_database_is_created_started_and_named(fabric: Fabric) -> None:
    other = fabric.add("another", "Running")
    fabric.throttled = 2

    done = create_mirror(fabric)

    assert done.returncode == 0, done.stderr
    (created,) = set(fabric.ids) - {other}
    assert done.stdout == f"{created}\n"
    assert fabric.items[created]["status"] == "Running"
    (part,) = fabric.items[created]["body"]["definition"]["parts"]
    definition = json.loads(base64.b64decode(part["payload"]))
    assert part["path"] == "mirroring.json"
    assert definition["properties"]["source"]["type"] == "GenericMirror"


def test_a_second_run_changes_nothing(fabric: Fabric) -> None:
    fabric.add("another", "Running")
    first = create_mirror(fabric)
    fabric.requests.clear()

    second = create_mirror(fabric)

    assert second.returncode == 0
    assert second.stdout == first.stdout
    assert not any(
        "startMirroring" in each or each == f"POST /v1/workspaces/{WORKSPACE}/mirroredDatabases"
        for each in fabric.requests
    )


@pytest.mark.parametrize("status", ["Stopped", "Paused", "Initializing", "Stopping"])
def test_what_exists_but_does_not_run_is_started(fabric: Fabric, status: str) -> None:
    id_ = fabric.add("shop", status)
    if status == "Stopping":
        fabric.items[id_]["status"] = "Initializing"

    assert create_mirror(fabric).returncode == 0
    assert fabric.items[id_]["status"] == "Running"


def test_a_failed_mirror_is_reported_not_started(fabric: Fabric) -> None:
    fabric.add("shop", "Failed")

    done = create_mirror(fabric)

    assert done.returncode == 1
    assert "has failed" in done.stderr
    assert done.stdout == ""


def test_the_role_is_granted_once(fabric: Fabric) -> None:
    assert grant_role(fabric).returncode == 0
    assert fabric.roles == {PRINCIPAL: "Contributor"}
    fabric.requests.clear()

    again = grant_role(fabric)

    assert again.returncode == 0
    assert [each.split()[0] for each in fabric.requests] == ["GET"]


@pytest.mark.parametrize(("has", "ends"), [("Viewer", "Contributor"), ("Member", "Member"), ("Admin", "Admin")])
def test_a_role_is_raised_but_never_taken_away(fabric: Fabric, has: str, ends: str) -> None:
    fabric.roles[PRINCIPAL] = has

    done = grant_role(fabric)

    assert done.returncode == 0
    assert fabric.roles[PRINCIPAL] == ends
    assert has in done.stderr


def test_a_role_that_only_an_admin_may_raise_is_named(fabric: Fabric) -> None:
    fabric.roles[PRINCIPAL] = "Viewer"
    fabric.refused_methods = {"PATCH"}

    done = grant_role(fabric)

    assert done.returncode == 1
    assert "The identity is Viewer, and only an Admin may raise it to Contributor." in done.stderr
    assert fabric.roles == {PRINCIPAL: "Viewer"}


@pytest.mark.parametrize("slow", [False, True])
def test_the_change_data_feed_is_switched_and_nothing_else(fabric: Fabric, slow: bool) -> None:
    mirror = mirror_of(fabric, {"retentionInDays": 3, "compactionFrequency": 0}, mountedTables=["kept"])
    fabric.slow = slow

    assert switch_feed(fabric, mirror, "on").returncode == 0

    expected = {"retentionInDays": 3, "compactionFrequency": 0, "enableDeltaChangeDataFeed": True}
    assert mirroring_json(fabric, mirror) == {
        "properties": {"target": {"typeProperties": expected}, "mountedTables": ["kept"]}
    }
    fabric.requests.clear()
    again = switch_feed(fabric, mirror, "on")
    assert "on already" in again.stderr
    assert [each for each in fabric.requests if "updateDefinition" in each] == []
    assert switch_feed(fabric, mirror, "off").returncode == 0
    found = mirroring_json(fabric, mirror)["properties"]["target"]["typeProperties"]
    assert found == {**expected, "enableDeltaChangeDataFeed": False}
    assert "off already" in switch_feed(fabric, mirror, "off").stderr


@pytest.mark.parametrize(
    "parts",
    [
        [{"path": ".platform", "payload": "e30="}],
        [{"path": "mirroring.json", "payload": "no base64"}],
        [{"path": "mirroring.json", "payload": base64.b64encode(b'{"properties": {"target": []}}').decode()}],
        [{"path": "mirroring.json", "payload": base64.b64encode(b"\xff").decode()}],
        None,
    ],
)
def test_a_definition_that_is_not_understood_is_left_alone(fabric: Fabric, parts: object) -> None:
    mirror = fabric.add("shop", "Running", {"definition": {"parts": parts}})

    done = switch_feed(fabric, mirror, "on")

    assert done.returncode == 1
    assert "Nothing was changed" in done.stderr
    assert [each for each in fabric.requests if "updateDefinition" in each] == []


def test_an_operation_that_fails_says_so(fabric: Fabric) -> None:
    mirror = mirror_of(fabric, {})
    fabric.slow = fabric.fails = True

    done = switch_feed(fabric, mirror, "on")

    assert (done.returncode, done.stderr) == (1, "Fabric could not do it: Odd \n")


def mirror_of(fabric: Fabric, target: dict[str, object], **more: object) -> str:
    definition = json.dumps({"properties": {"target": {"typeProperties": target}, **more}}).encode()
    part = {"path": "mirroring.json", "payload": base64.b64encode(definition).decode(), "payloadType": "InlineBase64"}
    return fabric.add("shop", "Running", {"definition": {"parts": [part]}})


def mirroring_json(fabric: Fabric, mirror: str) -> dict[str, dict[str, dict[str, object]]]:
    (part,) = fabric.items[mirror]["body"]["definition"]["parts"]
    definition: dict[str, dict[str, dict[str, object]]] = json.loads(base64.b64decode(part["payload"]))
    return definition


def switch_feed(fabric: Fabric, mirror: str, state: str) -> subprocess.CompletedProcess[str]:
    asked = ["change-data-feed", state, "--workspace-id", WORKSPACE, "--mirror-id", mirror]
    return run("fabric", "--api-url", fabric.url, *asked)


def test_a_refusal_says_what_may_help(fabric: Fabric) -> None:
    fabric.refused = (403, "InsufficientPrivileges")

    done = grant_role(fabric)

    assert done.returncode == 1
    assert "InsufficientPrivileges" in done.stderr
    assert "Service principals can call Fabric public APIs" in done.stderr


def test_no_token_travels_without_tls(fabric: Fabric) -> None:
    grant_role(fabric)
    refused = run(
        "fabric", "--api-url", "http://fabric.example.com", "grant-role", "--workspace-id", "x", "--principal-id", "y"
    )

    assert set(fabric.tokens) == {None}
    assert refused.returncode == 1
    assert "https only" in refused.stderr


def test_without_the_azure_cli_it_says_so() -> None:
    done = run("fabric", "create-mirror", "--workspace-id", WORKSPACE, "--name", "shop", env={"PATH": ""})

    assert done.returncode == 1
    assert "Azure CLI" in done.stderr


@pytest.mark.parametrize("script", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_each_script_explains_itself(script: str) -> None:
    done = run(script, "--help")

    assert done.returncode == 0
    assert "run again" in " ".join(done.stdout.split())


IDENTITY = ["--identity-name", "id-shop", "--client-id", "11223344-5566-7788-99aa-bbccddeeff00"]


def test_the_user_may_read_what_it_is_told_and_no_more() -> None:
    wanted = ["--table", "sales.orders", "--schema", "ref", "--change-tracking", "--capture-role", "of changes"]
    done = run("sql_user", *IDENTITY, *wanted)

    assert done.returncode == 0, done.stderr
    assert (
        "IS_ROLEMEMBER(N'of changes', N'id-shop') = 0\n    ALTER ROLE [of changes] ADD MEMBER [id-shop];" in done.stdout
    )
    granted = re.findall(r"GRANT (.+) TO \[id-shop\];", done.stdout)
    assert granted == [
        "SELECT ON SCHEMA::[ref]",
        "SELECT ON OBJECT::[sales].[orders]",
        "VIEW CHANGE TRACKING ON SCHEMA::[ref]",
        "VIEW CHANGE TRACKING ON OBJECT::[sales].[orders]",
    ]
    # The client id as SQL Server stores a GUID: the first three groups are little-endian.
    assert "WITH SID = 0x443322116655887799AABBCCDDEEFF00, TYPE = E" in done.stdout
    assert done.stdout.index("IS NULL") < done.stdout.index("CREATE USER")


def test_names_cannot_end_the_statement_they_stand_in() -> None:
    name = "x'; DROP TABLE y; --]"

    done = run("sql_user", "--identity-name", name, "--table", "a.b]; DROP TABLE c; --")

    assert "N'x''; DROP TABLE y; --]'" in done.stdout
    assert "[x'; DROP TABLE y; --]]]" in done.stdout
    assert "OBJECT::[a].[b]]; DROP TABLE c; --]" in done.stdout


@pytest.mark.parametrize(
    "wrong", [["--table", "orders"], [], ["--client-id", "no-guid", "--schema", "dbo"], ["--schema", ""]]
)
def test_what_makes_no_sense_is_refused(wrong: list[str]) -> None:
    done = run("sql_user", "--identity-name", "id-shop", *wrong)

    assert done.returncode == 2
    assert done.stdout == ""
