"""The Function app as it is deployed, on the Functions host: routes, keys, loads, cancellation and ticks."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from devcloud.functions import FunctionsHost
from hygge_engine.errors import HomeUnavailable
from hygge_engine.orchestration import load as orchestrator
from tests.support.function_app import APP, DEADLINE_SECONDS, SETTINGS, App
from tests.unit.load_world import FLOW_YML, LoadWorld

# The flow that a crowd asks for: more tables than the host runs activities at once, and not due.
HELD = ("a", "b", "c", "d", "e", "f")


@contextmanager
def serve(directory: Path, world: LoadWorld) -> Iterator[App]:
    settings = {**SETTINGS, "HYGGE_PROJECT": str(world.directory)}
    with FunctionsHost(APP, directory / "state", settings=settings, worker="inline") as host:
        app = App(host, world)
        yield app
        app.close()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    world = LoadWorld(tmp_path, monkeypatch, flow=FLOW_YML.replace("0 */15 * * * *", "* * * * * *"))
    world.fill(orders=7, customers=4, stock=1)
    with serve(tmp_path, world) as app:
        yield app


@pytest.mark.parametrize("lanes_from", [1, 100])
def test_a_load_over_http_from_the_request_to_the_journal(
    app: App, lanes_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator, "LANES_FROM_ENTITIES", lanes_from)
    load_id = app.start(flows=["orders_to_fabric"])
    status = app.settled(load_id)
    assert status["status"] == "success"
    assert {line["entity"]: line["rows"] for line in status["entities"]} == {"orders": 7, "customers": 4, "stock": 1}
    assert status["totals"]["success"] == 3
    assert [run["coordinator_run_id"] for run in app.runs()] == [load_id]
    run = app.http.get(f"/api/runs/{load_id}").json()
    assert (run["rows"], len(run["entity_runs"])) == (12, 3)
    again = app.settled(app.start())
    assert (again["status"], again["summary"]["rows"]) == ("success", 0)


def test_a_crowd_is_answered_and_a_scheduled_load_goes_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = FLOW_YML.replace("orders_to_fabric", "held").replace("2222-222222222222", "2222-333333333333")
    held = held.replace("orders, customers, stock", ", ".join(HELD)).replace("0 */15 * * * *", "0 0 0 1 1 *")
    flow = FLOW_YML.replace("0 */15 * * * *", "* * * * * *")
    world = LoadWorld(tmp_path, monkeypatch, flow=flow, flows__held__flow=held)
    world.fill(orders=7, customers=4, stock=1, **dict.fromkeys(HELD, 1))
    go_on, reading, crowd = threading.Event(), threading.Semaphore(0), 50

    def hold(entity: str, batch: int) -> None:
        if entity in HELD:
            reading.release()
            assert go_on.wait(DEADLINE_SECONDS)

    world.before_read = hold
    with serve(tmp_path, world) as app, ThreadPoolExecutor(crowd) as pool:
        bodies = ({"flows": ["held"], "requested_by": str(number)} for number in range(crowd))
        answers = list(pool.map(lambda body: app.http.post("/api/loads", json=body), bodies))
        assert {answer.status_code for answer in answers} == {HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS}
        refused = [answer for answer in answers if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS]
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
        accepted = {answer.json()["load_id"] for answer in answers if answer.status_code == HTTPStatus.ACCEPTED}
        try:
            for _ in range(3):
                assert reading.acquire(timeout=DEADLINE_SECONDS)
            app.tick()
            (run,) = app.wait(app.runs)
            assert (run["requested_by"], run["status"], run["rows"]) == ("schedule", "success", 12)
            # Loads that have begun nothing end while three slices hold all places.
            list(pool.map(lambda load_id: app.http.post(f"/api/loads/{load_id}/cancel"), accepted))
            app.wait(lambda: len(app.runs(limit=100)) - 1 >= len(accepted) - 3)
        finally:
            go_on.set()


def test_every_route_but_health_wants_a_key(app: App) -> None:
    assert app.anonymous.get("/api/health").json()["status"] == "healthy"
    declared = re.findall(r'@app.route\(route="(.+?)", methods=\["(\w+)"\]', (APP / "function_app.py").read_text())
    routes = {(method, "/api/" + re.sub(r"{\w+}", "x", route)) for route, method in declared}
    assert len(routes) == 8
    for method, path in routes - {("GET", "/api/health")}:
        assert app.anonymous.request(method, path).status_code == HTTPStatus.UNAUTHORIZED, path
        assert app.http.request(method, path).status_code != HTTPStatus.UNAUTHORIZED, path


def test_requests_that_cannot_be_met_say_why(app: App) -> None:
    bad = app.http.post("/api/loads", json={"flow": "x", "run_type": 1})
    assert (bad.status_code, len(bad.json()["problems"])) == (HTTPStatus.BAD_REQUEST, 2)
    unknown = app.http.post("/api/loads", json={"flows": ["order_to_fabric"]})
    assert unknown.status_code == HTTPStatus.NOT_FOUND
    assert unknown.json()["unknown_flows"] == [{"flow": "order_to_fabric", "nearest": "orders_to_fabric"}]
    assert app.http.get("/api/loads/nope").status_code == HTTPStatus.NOT_FOUND
    assert app.http.post("/api/loads/nope/cancel").status_code == HTTPStatus.NOT_FOUND
    assert app.runs() == []


def test_a_failing_table_leaves_the_others_alone(app: App) -> None:
    def fail(entity: str, batch: int) -> None:
        if entity == "orders":
            raise RuntimeError("password=hunter2")

    app.world.before_read = fail
    status = app.settled(app.start())
    assert (status["status"], status["totals"]["fail"], status["totals"]["success"]) == ("fail", 1, 2)
    row = next(row for row in app.world.journal() if row["entity"] == "orders")
    assert (row["status"], row["error"]) == ("fail", "load.unexpected")
    assert "hunter2" not in str(status)


def test_a_source_that_fails_for_a_while_is_read_after_all(app: App) -> None:
    failures = iter([HomeUnavailable("deadlock victim")])

    def fail(entity: str, batch: int) -> None:
        if entity == "orders" and (error := next(failures, None)):
            raise error

    app.world.before_read = fail
    status = app.settled(app.start())
    assert (status["status"], status["summary"]["rows"]) == ("success", 12)


def test_a_cancelled_load_stops_at_its_commits_and_is_settled(app: App) -> None:
    app.world.fill(orders=20_000)
    reached = threading.Event()

    def slow_down(entity: str, batch: int) -> None:
        if entity == "orders" and batch > 0:
            # Ten thousand batches: minutes, unless they are stopped.
            reached.set()
            time.sleep(0.02)

    app.world.before_read = slow_down
    load_id = app.start()
    assert reached.wait(DEADLINE_SECONDS)
    running = app.status(load_id)
    assert (running["state"], running["status"]) == ("loading", None)
    answer = app.http.post(f"/api/loads/{load_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (HTTPStatus.ACCEPTED, "cancelling")
    status = app.settled(load_id)
    assert status["status"] == "cancel"
    orders = next(row for row in app.world.journal() if row["entity"] == "orders")
    assert orders["status"] == "cancel"
    assert 0 < orders["row_count"] < 20_000
    assert app.http.post(f"/api/loads/{load_id}/cancel").status_code == HTTPStatus.CONFLICT
    app.world.before_read = lambda entity, batch: None
    assert app.settled(app.start(entities=["customers", "stock"]))["status"] == "success"


def test_a_reload_that_is_cancelled_while_its_old_table_is_dropped_brings_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = FLOW_YML.replace("key_columns: [id]", "key_columns: [id]\n  folder_deletion_wait_seconds: 3")
    world = LoadWorld(tmp_path, monkeypatch, flow=flow)
    world.fill(orders=5)
    settings = {**SETTINGS, "HYGGE_PROJECT": str(world.directory)}
    with FunctionsHost(APP, tmp_path / "state", settings=settings, worker="inline") as host:
        app = App(host, world)
        app.settled(app.start(entities=["orders"]))
        load_id = app.start(entities=["orders"], run_type="full_drop")
        app.wait(lambda: not world.landed_files() and app.status(load_id)["entities"][0]["status"] == "waiting")
        answer = app.http.post(f"/api/loads/{load_id}/cancel")
        assert answer.json()["state"] == "cancelling"
        status = app.settled(load_id)
        assert (status["status"], status["entities"][0]["status"]) == ("cancel", "success")
        assert "was finished" in status["entities"][0]["message"]
        assert world.landed_files() == ["orders/00000000000000000001.parquet"]
        # The table has no owner any more, so that the next load does not wait.
        again = app.settled(app.start(entities=["orders"]))
        assert (again["status"], again["entities"][0].get("message", "")) == ("success", "")
        app.close()


def test_a_tick_starts_what_is_due_and_the_next_is_skipped_while_it_runs(app: App) -> None:
    gate = threading.Event()

    def hold(entity: str, batch: int) -> None:
        assert gate.wait(DEADLINE_SECONDS)

    app.world.before_read = hold
    app.tick()
    app.wait(lambda: app.host.history_events > 3)
    second = int(time.time())
    app.wait(lambda: int(time.time()) > second)  # a tick stands for a second, and what came due in it is served once
    app.tick()
    skipped = app.wait(lambda: [run for run in app.runs() if run["status"] == "skip"])
    assert "still runs" in skipped[0]["message"]
    gate.set()
    finished = app.wait(lambda: [run for run in app.runs() if run["status"] == "success"])
    assert finished[0]["coordinator_run_id"].startswith("schedule-")
    assert finished[0]["requested_by"] == "schedule"
    assert finished[0]["rows"] == 12
    assert len(app.runs()) == 2


def test_histories_are_purged_by_age_and_the_journal_goes_on_answering(app: App, tmp_path: Path) -> None:
    old, young = app.start(entities=["orders"]), app.start(entities=["stock"])
    for load_id in (old, young):
        app.settled(load_id)
    [hub] = (tmp_path / "state").glob("*.sqlite3")
    with closing(sqlite3.connect(hub, timeout=DEADLINE_SECONDS)) as connection, connection:
        connection.execute("UPDATE instances SET created = '2024-01-01T00:00:00.000000Z' WHERE instance_id = ?", (old,))

    def known() -> list[str]:
        with closing(sqlite3.connect(hub, timeout=DEADLINE_SECONDS)) as connection:
            return [load for (load,) in connection.execute("SELECT instance_id FROM instances")]

    app.tick("purge_old_histories")
    app.wait(lambda: known() == [young])
    assert app.status(old)["state"] == app.status(young)["state"] == "settled"


def test_a_load_survives_the_death_of_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=7, customers=4, stock=1)
    settings = {**SETTINGS, "HYGGE_PROJECT": str(world.directory)}
    reached, gate = threading.Event(), threading.Event()

    def hold(entity: str, batch: int) -> None:
        if entity == "orders" and batch == 1 and not gate.is_set():
            reached.set()
            assert gate.wait(DEADLINE_SECONDS)

    world.before_read = hold
    host = FunctionsHost(APP, tmp_path / "state", settings=settings, worker="inline")
    with host:
        first = App(host, world)
        load_id = first.start()
        assert reached.wait(DEADLINE_SECONDS)
        host.kill()
        first.close()
    gate.set()
    with FunctionsHost(APP, tmp_path / "state", settings=settings, worker="inline") as host:
        second = App(host, world)
        status = second.settled(load_id)
        second.close()
    assert (status["status"], status["summary"]["rows"]) == ("success", 12)
    assert len(world.journal()) == 3
