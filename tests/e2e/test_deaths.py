"""The app itself while its host and its worker die, at every distinct point."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcloud.functions import FunctionsHost
from devcloud.functions.faults import KillMoment
from devcloud.functions.service import WorkerKind
from tests.e2e.site import REPOSITORY, Site
from tests.integration.mssql_server import ServerProcess
from tests.support.http_api import SCHEDULE, App

FLOW = """\
home: { type: mssql, connection: shop_db, table: "dbo.{entity}" }
watermark: { column: modified_at, primary_key: id }
entities: [parcels, labels]
"""

# A host that dies closes no connection; here the garbage collector does, which says so.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.timeout(300),
]

# Seconds on a quiet machine, minutes on a very busy one.
DEADLINE_SECONDS = 270.0

# More than a load of two entities has events.
DEATHS_LIMIT = 100

ACTIVITIES = ("plan_load", "run_flow", "settle_load")


@pytest.fixture(scope="module")
def source(mssql_server: ServerProcess) -> ServerProcess:
    columns = "(id int NOT NULL PRIMARY KEY, text varchar(20) NOT NULL, modified_at datetime2(3) NOT NULL)"
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.parcels, dbo.labels",
        *(f"CREATE TABLE dbo.{table} {columns}" for table in ("parcels", "labels")),
        *(
            f"INSERT INTO dbo.{table} VALUES (1, 'one', '2013-01-01T01:00:00'), (2, 'two', '2013-01-01T02:00:00')"
            for table in ("parcels", "labels")
        ),
    )
    return mssql_server


@pytest.fixture
def site(tmp_path: Path, source: ServerProcess) -> Iterator[Site]:
    with Site(tmp_path, source) as site:
        site.write_project(FLOW)
        yield site


@pytest.fixture(autouse=True)
def _close_what_the_dead_left_open() -> Iterator[None]:
    """Here, where its complaint is expected, and not in whichever test comes next."""
    yield
    gc.collect()


def make_host(site: Site, *, inline: bool = False) -> FunctionsHost:
    settings = {**site.variables, "HYGGE_PROJECT": str(site.project), "HYGGE_SCHEDULE": SCHEDULE}
    worker: WorkerKind = "inline" if inline else "process"
    return FunctionsHost(REPOSITORY, site.root / "functions", settings=settings, worker=worker)


def look(app: App, load_id: str) -> dict[str, Any]:
    """The load's status; empty where its host or worker dies before it can say."""
    with contextlib.suppress(httpx.TransportError):
        answer = app.call("GET", f"/api/loads/{load_id}")
        if answer.is_success:
            found: dict[str, Any] = answer.json()
            return found
    return {}


def settle(app: App, load_id: str) -> None:
    """Wait for a load that succeeds; it starts many workers on the way."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (status := look(app, load_id)).get("state") != "settled":
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    assert status["status"] == "success", status


def check_load(app: App, load_id: str, *, rows: int) -> None:
    """The load has done its work, is recorded once, and every table is what the source holds."""
    told = [row for row in app.site.journal() if row["coordinator_run_id"] == load_id]
    assert sorted(row["entity"] for row in told) == ["labels", "parcels"]
    assert {row["status"] for row in told} == {"success"}
    assert sum(row["row_count"] for row in told) == rows
    assert app.tables_agree()


@pytest.mark.parametrize("before_commit", [False, True])
def test_the_host_may_die_between_any_two_events_of_a_load(site: Site, before_commit: bool) -> None:
    """Kill the host at the first history event after the start, start it again, kill it at the next one, to the end."""
    # One entity after the other, or both results might come in one episode.
    site.write_project(FLOW, options="options: { concurrency: 1 }\n")
    with make_host(site, inline=True) as host:
        host.faults.pause()
        load_id = App(site, host).start()
        events = host.history_events
    state, deaths = "", 0
    while state != "settled":
        assert deaths < DEATHS_LIMIT, state
        host = make_host(site, inline=True)
        host.faults.kill_host_at(events + 1, before_commit=before_commit)
        with host:
            app = App(site, host)
            while state != "settled" and not host.wait_for_death(0.02):
                state = look(app, load_id).get("state", state)
        if host.faults.killed_at is not None:
            deaths, events = deaths + 1, host.faults.killed_at
    assert deaths > len(ACTIVITIES)
    check_load(app, load_id, rows=4)


def test_the_worker_may_die_in_every_activity(site: Site) -> None:
    moments: tuple[KillMoment, ...] = ("start", "finish")
    with make_host(site) as host:
        app = App(site, host)
        for activity in ACTIVITIES:
            for moment in moments:
                host.faults.kill_worker_on(activity, moment)
        load_id = app.start()
        settle(app, load_id)
        assert not host.faults.describe()["activity_faults"]
        check_load(app, load_id, rows=4)


@pytest.mark.parametrize("at_once", [False, True])
def test_every_activity_may_come_twice(site: Site, at_once: bool) -> None:
    site.replicator.run_in_background(0.2)  # a reload waits for it
    with make_host(site) as host:
        app = App(site, host)
        for activity in ACTIVITIES:
            host.faults.deliver_twice(activity, at_once=at_once, times=2)
        load_id = app.start()
        settle(app, load_id)
        check_load(app, load_id, rows=4)
        reload = app.start(run_type="full_drop")
        settle(app, reload)
        check_load(app, reload, rows=4)
