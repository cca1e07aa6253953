"""The app's own HTTP API over a real server, a real lake and a worker process: loads, cancellation, deaths, ticks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from devcloud.functions import FunctionsHost
from devcloud.sqlserver import DEFAULT_LOGINS
from tests.e2e import core_tools
from tests.e2e.core_tools import CoreToolsHost, not_in_core_tools
from tests.e2e.site import REPOSITORY, Site
from tests.integration.mssql_server import ServerProcess
from tests.support.http_api import ROWS, SCHEDULE, App, wait

# Small batches, so that progress, cancellation and death fall between two of them.
FLOW = """\
schedule: "* * * * * *"
home: { type: mssql, connection: shop_db, table: "dbo.{entity}", batch_rows: 500 }
watermark: { column: modified_at, primary_key: id }
entities: [parcels, labels]
"""


@pytest.fixture(scope="module")
def source(mssql_server: ServerProcess) -> ServerProcess:
    columns = "(id int NOT NULL PRIMARY KEY, text char(100) NOT NULL, modified_at datetime2(3) NOT NULL)"
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.parcels, dbo.labels",
        *(f"CREATE TABLE dbo.{table} {columns}" for table in ("parcels", "labels")),
        "INSERT INTO dbo.labels VALUES (1, 'fragile', '2013-01-01T00:00:00')",
        "INSERT INTO dbo.parcels VALUES "
        + ", ".join(f"({number}, 'first text', '2013-01-01T00:00:00')" for number in range(ROWS >> 6)),
        *(
            f"INSERT INTO dbo.parcels SELECT id + {ROWS >> doubling}, text, modified_at FROM dbo.parcels"
            for doubling in range(6, 0, -1)
        ),
    )
    return mssql_server


def make_host(site: Site) -> FunctionsHost | CoreToolsHost:
    settings = {**site.variables, "HYGGE_PROJECT": str(site.project), "HYGGE_SCHEDULE": SCHEDULE}
    if core_tools.COMMAND:
        return CoreToolsHost(REPOSITORY, site.root / "functions", settings)
    return FunctionsHost(REPOSITORY, site.root / "functions", settings=settings)


@pytest.fixture
def site(tmp_path: Path, source: ServerProcess) -> Iterator[Site]:
    with Site(tmp_path, source) as site:
        site.write_project(FLOW)
        yield site
        source.clear_faults()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, source: ServerProcess) -> Iterator[App]:
    with Site(tmp_path_factory.mktemp("api"), source) as site:
        site.write_project(FLOW)
        site.replicator.run_in_background(0.2)
        with make_host(site) as host:
            yield App(site, host)
        source.clear_faults()


def slow_down(source: ServerProcess, seconds: float) -> None:
    """Let every thousand parcels take so long, in statements that begin before the faults are cleared."""
    source.fault("slow_rows", table="dbo.parcels", seconds=seconds, times=None)


def test_the_client_of_the_page_follows_a_load(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs/api.md").read_text(encoding="utf-8")
    client: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], client)
    monkeypatch.setenv("HYGGE_URL", app.host.url)
    monkeypatch.setenv("HYGGE_KEY", app.host.function_key)
    ended = client["load"](entities=["labels"])
    assert (ended["status"], ended["totals"]["entities"]) == ("success", 1)
    assert client["call"]("/api/openapi.json")["openapi"] == "3.1.0"


def test_a_cancelled_load_is_settled_and_the_next_one_goes_on(app: App, source: ServerProcess) -> None:
    slow_down(source, 2)
    load_id = app.start()
    status = app.moving(load_id, "parcels")
    assert status["state"] == "loading"
    answer = app.call("POST", f"/api/loads/{load_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (HTTPStatus.ACCEPTED, "cancelling")
    cancelled = app.settled(load_id)
    source.clear_faults()
    assert (cancelled["status"], cancelled["summary"]["journal"]["status"]) == ("cancel", "settled")
    rows = {row["entity"]: row for row in app.site.journal() if row["coordinator_run_id"] == load_id}
    assert (rows["parcels"]["status"], rows["labels"]["status"]) == ("cancel", "success")
    assert 0 < rows["parcels"]["row_count"] < ROWS
    assert app.call("POST", f"/api/loads/{load_id}/cancel").status_code == HTTPStatus.CONFLICT
    assert app.settled(app.start())["status"] == "success"
    assert app.tables_agree()


def test_what_was_loaded_can_be_asked(app: App) -> None:
    load_id = app.start(flows=["shop"], entities=["labels"], run_type="full_drop", requested_by="somebody")
    status = app.settled(load_id)
    assert [(entity["entity"], entity["rows"]) for entity in status["entities"]] == [("labels", 1)]
    runs = app.call("GET", "/api/runs", params={"limit": 1}).json()["runs"]
    assert [(run["coordinator_run_id"], run["rows"], run["requested_by"]) for run in runs] == [(load_id, 1, "somebody")]
    run = app.call("GET", f"/api/runs/{load_id}").json()
    assert [(row["entity"], row["run_type"]) for row in run["entity_runs"]] == [("labels", "full_drop")]
    assert app.call("GET", "/api/runs/nothing").status_code == HTTPStatus.NOT_FOUND
    flows = app.call("GET", "/api/flows").json()["flows"]
    assert [(flow["name"], [entity["name"] for entity in flow["entities"]]) for flow in flows] == [
        ("shop", ["labels", "parcels"])
    ]


def test_a_mistaken_request_is_told_everything_at_once(app: App) -> None:
    bad = app.call("POST", "/api/loads", json={"flow": "shop", "run_type": "sideways", "entities": "labels"})
    assert bad.status_code == HTTPStatus.BAD_REQUEST
    assert len(bad.json()["problems"]) == 3
    assert app.call("POST", "/api/loads", content=b"{").status_code == HTTPStatus.BAD_REQUEST
    unknown = app.call("POST", "/api/loads", json={"flows": ["shpo"]})
    assert unknown.status_code == HTTPStatus.NOT_FOUND
    assert unknown.json()["unknown_flows"] == [{"flow": "shpo", "nearest": "shop"}]
    entity = app.call("POST", "/api/loads", json={"entities": ["parcel"]})
    assert entity.status_code == HTTPStatus.NOT_FOUND
    assert "parcels" in entity.json()["detail"]


@not_in_core_tools
def test_keys_guard_everything_but_health(app: App) -> None:
    assert app.call("GET", "/api/health", headers={}).json()["status"] == "healthy"
    for method, path in (("POST", "/api/loads"), ("GET", "/api/flows"), ("GET", "/api/runs"), ("GET", "/api/loads/x")):
        assert app.call(method, path, headers={}).status_code == HTTPStatus.UNAUTHORIZED
        assert app.call(method, path, headers={"x-functions-key": "guess"}).status_code == HTTPStatus.UNAUTHORIZED


def test_a_tick_starts_what_is_due_and_the_next_is_skipped_while_it_runs(app: App, source: ServerProcess) -> None:
    source.run("UPDATE dbo.parcels SET text = 'parcel of later', modified_at = '2013-01-02T00:00:00' WHERE id % 2 = 0")
    slow_down(source, 1)

    def tick() -> None:
        key = {"x-functions-key": app.host.master_key}
        answer = app.call("POST", "/admin/functions/load_on_schedule", json={}, headers=key)
        assert answer.status_code == HTTPStatus.ACCEPTED

    def loads() -> dict[str, dict[str, Any]]:
        runs = app.call("GET", "/api/runs").json()["runs"]
        return {run["status"]: run for run in runs if run["coordinator_run_id"].startswith("schedule-")}

    events = app.host.history_events
    tick()
    wait(lambda: app.host.history_events > events + 3)

    def tick_and_look() -> dict[str, Any] | None:
        tick()
        return loads().get("skip")

    # Within the second of the first tick nothing new is due.
    skipped = wait(tick_and_look)
    source.clear_faults()
    assert "still runs" in str(skipped)
    assert wait(lambda: loads().get("success"))
    assert app.tables_agree()


def test_a_load_survives_its_worker(app: App, source: ServerProcess) -> None:
    source.run("UPDATE dbo.parcels SET text = 'third text', modified_at = '2013-01-03T00:00:00'")
    slow_down(source, 2)
    load_id = app.start()
    app.moving(load_id, "parcels")
    app.host.kill_worker()
    source.clear_faults()
    status = app.settled(load_id)
    assert (status["status"], status["summary"]["rows"]) == ("success", ROWS)
    assert app.tables_agree()


def test_a_load_survives_its_host(site: Site, source: ServerProcess) -> None:
    slow_down(source, 2)
    with make_host(site) as host:
        app = App(site, host)
        load_id = app.start()
        app.moving(load_id, "parcels")
        host.kill()
    source.clear_faults()
    with make_host(site) as host:
        app = App(site, host)
        status = app.settled(load_id)
        assert (status["status"], status["summary"]["rows"]) == ("success", ROWS + 1)
        assert app.tables_agree()
        assert len([row for row in site.journal() if row["coordinator_run_id"] == load_id]) == 2


@not_in_core_tools
def test_no_secret_stays_in_the_orchestrations_history(app: App) -> None:
    secrets = [app.site.lake.account_key.encode(), DEFAULT_LOGINS["sa"].encode()]
    files = [file for file in (app.site.root / "functions").rglob("*") if file.is_file()]
    assert any(file.suffix == ".sqlite3" for file in files)
    for file in files:
        assert not any(secret in file.read_bytes() for secret in secrets), file


# What a schema cannot say (whether a list has a line of that name), and what the host does by itself (TRACE is a 404).
NOT_OURS = ("positive_data_acceptance", "unsupported_method")


@not_in_core_tools
def test_whatever_is_asked_is_answered_as_the_contract_says(app: App, tmp_path: Path) -> None:
    """Schemathesis makes requests up out of the document, valid ones and others, and looks at each response."""
    given = ["--header", f"x-functions-key: {app.host.function_key}", "--exclude-checks", ",".join(NOT_OURS)]
    bounds = ["--max-examples", "15", "--seed", "12", "--phases", "coverage,fuzzing", "--no-color"]
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{app.host.url}/api/openapi.json"]
    done = subprocess.run([*command, *given, *bounds], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
