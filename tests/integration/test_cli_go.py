"""The sample project and the `hygge` command, over the wire: SQL Server, the driver, the Azure SDK, OneLake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcloud.onelake import OneLake
from devcloud.replicator import check_landing_zone
from devcloud.sqlserver import DEFAULT_LOGINS, SqlServer
from tests.integration.fabric_item import MIRROR, WORKSPACE

REPOSITORY = Path(__file__).parents[2]
TABLES = ("flights", "weather", "planes", "airports", "airlines")

# How long a `hygge` command may take before something is wrong with it.
PATIENCE_SECONDS = 60


def create_table(server: SqlServer, table: str) -> None:
    """Make one of the sample's tables, with two rows."""
    server.execute(
        f"CREATE TABLE dbo.{table} (id int NOT NULL PRIMARY KEY, name nvarchar(20), "
        "modified_at datetime2(7) NOT NULL, row_version rowversion)",
        "nycflights",
    )
    server.execute(
        f"INSERT INTO dbo.{table} (id, name, modified_at) VALUES "
        "(1, N'one', '2013-01-01T05:00:00'), (2, N'two', '2013-01-01T06:00:00')",
        "nycflights",
    )


@pytest.fixture(scope="module")
def server() -> Iterator[SqlServer]:
    with SqlServer(databases=["nycflights"], logins=DEFAULT_LOGINS) as running:
        for table in TABLES:
            create_table(running, table)
        yield running


@pytest.fixture
def variables(server: SqlServer, lake: OneLake) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SQL_", "LAKE_", "HYGGE_"))},
        "SQL_SERVER": server.address,
        "SQL_AUTH": "sql",
        "SQL_USERNAME": "sa",
        "SQL_PASSWORD": DEFAULT_LOGINS["sa"],
        "SQL_ENCRYPT": "false",
        "SQL_LOGIN_TIMEOUT_SECONDS": "5",
        "ONELAKE_URL": lake.url,
        "WORKSPACE_ID": WORKSPACE,
        "MIRROR_ID": MIRROR,
        "LAKE_CREDENTIAL": "account_key",
        "LAKE_ACCOUNT_NAME": lake.account_name,
        "LAKE_ACCOUNT_KEY": lake.account_key,
        "FABRIC_API_URL": "",
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from hygge_engine.cli import main; main()", *arguments, "--project", str(REPOSITORY)]


def hygge(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def settled(output: str) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in output.splitlines()]
    return {event["entity"]: event for event in found if event["event"] == "settled"}


def test_the_sample_project_moves_its_tables_and_then_only_what_changed(
    server: SqlServer, lake: OneLake, variables: dict[str, str]
) -> None:
    plan = hygge(variables, "plan")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert "flights_to_fabric.flights  first load by modified_at, about 2 rows at the source" in plan.stdout
    first = hygge(variables, "go", "--json")
    assert first.returncode == 0, first.stdout + first.stderr
    assert {name: event["rows"] for name, event in settled(first.stdout).items()} == dict.fromkeys(TABLES, 2)
    server.execute(
        "INSERT INTO dbo.planes (id, name, modified_at) VALUES (3, N'x', '2013-06-01T00:00:00')", "nycflights"
    )
    second = hygge(variables, "go", "--json")
    assert second.returncode == 0
    assert settled(second.stdout)["planes"]["rows"] >= 1
    assert settled(second.stdout)["flights"]["rows"] <= 2
    assert not [finding for finding in check_landing_zone(lake.path(WORKSPACE, MIRROR)) if finding.stops]
    loads = json.loads(hygge(variables, "runs", "--json").stdout)
    assert [load["status"] for load in loads] == ["success", "success"]
    assert {load["requested_by"] for load in loads} == {"hygge go"}


def test_a_wrong_password_is_one_clear_error_and_no_secret(variables: dict[str, str]) -> None:
    result = hygge(variables | {"SQL_PASSWORD": "cAnArY-77"}, "go", "-e", "airlines")
    assert result.returncode == 1
    assert "error: The source refused the credential" in result.stderr
    assert "Traceback" not in result.stderr
    shown = result.stdout + result.stderr + hygge(variables, "runs", "--json").stdout
    assert "cAnArY" not in shown


def test_a_window_that_the_column_cannot_have_opens_nothing_and_blocks_nothing(variables: dict[str, str]) -> None:
    assert hygge(variables, "go", "-e", "airports").returncode == 0
    refused = hygge(variables, "go", "-e", "airports", "--from", "2013-01-01T05:30:00Z")
    assert refused.returncode == 2
    assert "2013-01-01T05:30:00." in refused.stderr
    assert "Traceback" not in refused.stderr
    again = hygge(variables, "go", "--json", "-e", "airports", "--from", "2013-01-01T05:30:00")
    assert settled(again.stdout)["airports"]["rows"] == 1
    assert settled(hygge(variables, "go", "--json", "-e", "airports").stdout)["airports"]["rows"] == 0


def test_a_missing_table_fails_alone(server: SqlServer, variables: dict[str, str]) -> None:
    server.execute("DROP TABLE dbo.weather", "nycflights")
    result = hygge(variables, "go")
    create_table(server, "weather")
    assert result.returncode == 1
    assert "4 settled, 1 failed" in result.stdout
    assert "flights_to_fabric.weather: error: The file, database, table, view or column does not exist" in result.stderr


def test_ctrl_c_stops_a_running_load_and_the_journal_knows(server: SqlServer, variables: dict[str, str]) -> None:
    server.fault("delay", table="dbo.flights", seconds=0.5, times=None)
    with subprocess.Popen(
        command("go", "--json", "-e", "flights"),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "planned"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    server.faults.clear()
    summary = json.loads(output.splitlines()[-1])
    assert summary["event"] == "summary"
    assert "Press Ctrl-C again" in errors
    assert (process.returncode, summary["status"]) == (130, "cancel")
    assert summary["journal"]["status"] == "settled"


def test_a_source_and_a_fabric_that_keep_silent_after_ctrl_c_cost_neither_rows_nor_journal(
    server: SqlServer, variables: dict[str, str]
) -> None:
    both = ("-e", "planes", "-e", "airlines")
    assert hygge(variables, "go", *both).returncode == 0
    server.fault("delay", table="dbo.planes", seconds=PATIENCE_SECONDS, times=None)
    reload = command("go", "--json", "-t", "full_drop", *both)
    with subprocess.Popen(reload, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["event"] != "waiting":
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    server.faults.clear()
    assert (process.returncode, "Traceback" in errors, "Left" in errors) == (130, False, False)
    said = settled("\n".join(line for line in output.splitlines() if "settled" in line))
    assert "did not respond, and was abandoned" in said["planes"]["message"]
    assert "gone until the next load" in said["airlines"]["message"]
    summary = json.loads(output.splitlines()[-1])
    assert (summary["event"], summary["status"], summary["cancel"]) == ("summary", "cancel", 2)
    runs = json.loads(hygge(variables, "runs", summary["load_id"], "--json").stdout.splitlines()[0])
    assert "gone until the next load" in str(runs)
    waits = "flows.flights_to_fabric.store.folder_deletion_wait_seconds=0"
    again = settled(hygge(variables, "go", "--json", "--var", waits, *both).stdout)
    assert [again[name]["rows"] for name in ("planes", "airlines")] == [0, 4]  # what was staged, and by its lag


def test_output_into_a_closed_pipe_is_no_crash(variables: dict[str, str]) -> None:
    with subprocess.Popen(
        command("plan", "--offline", "--json"), env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        errors = process.stderr.read() if process.stderr else ""
    assert "Traceback" not in errors
