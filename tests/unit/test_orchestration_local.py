"""Loads run in this process, through the real flow and landing, with sources in memory and a local lake."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomeNotFound, HomeUnavailable
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.factory import open_table
from hygge_engine.journal import EntityRunRow, Journal
from hygge_engine.orchestration import in_process
from hygge_engine.orchestration.local import LocalLoad, run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from tests.faults.source import SourceHome
from tests.support.recorder import Recorder
from tests.unit.load_world import SECOND_FLOW_YML, LoadWorld
from tests.unit.project_files import HYGGE


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    return world


def test_a_table_in_ranges_shows_how_many_of_them_have_been_read(
    world: LoadWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_run, "open_home", lambda _, entity: SourceHome(world.sources[entity.name], ranges=4))
    world.sources["orders"].put(*range(40))
    told: list[tuple[str, int, int]] = []
    request = LoadRequest(entities=("orders",))
    load = LocalLoad(world.project, request, Recorder(), on_ranges=lambda _, *ranges: told.append(ranges))
    assert load.run()["status"] == "success"
    assert told == [("orders", read, 4) for read in range(5)]


def test_a_load_lands_every_table_and_its_journal_says_so(world: LoadWorld) -> None:
    observer = Recorder()
    summary = run_load(world.project, LoadRequest(requested_by="tests", coordinator_run_id="c1"), observer)
    assert (summary["status"], summary["success"], summary["rows"]) == ("success", 3, 8)
    assert summary["journal"]["status"] == "settled"
    assert observer.entities == ["orders", "customers", "stock"]
    assert observer.progress["orders"][-1] == 5
    assert {name: result.get("rows", 0) for name, result in observer.settled.items()} == {
        "orders": 5,
        "customers": 3,
        "stock": 0,
    }
    assert observer.thread == {threading.get_ident()}
    assert [file.split("/")[0] for file in world.landed_files()] == ["customers", "orders"]
    rows = world.journal()
    assert [(row["entity"], row["status"], row["row_count"]) for row in rows] == [
        ("customers", "success", 3),
        ("orders", "success", 5),
        ("stock", "success", 0),
    ]
    assert {row["coordinator_run_id"] for row in rows} == {"c1"}
    assert {row["coordinator"] for row in rows} == {"shop"}
    assert {row["requested_by"] for row in rows} == {"tests"}
    assert len({row["entity_run_id"] for row in rows}) == 3
    assert all(row["start_time"] and row["finish_time"] >= row["start_time"] for row in rows)


def test_a_second_load_moves_only_what_changed(world: LoadWorld) -> None:
    run_load(world.project, LoadRequest(), Recorder())
    world.sources["orders"].put(2, 9)
    summary = run_load(world.project, LoadRequest(entities=("orders", "customers")), Recorder())
    assert {line["entity"]: line["rows"] for line in summary["results"]} == {"orders": 2, "customers": 0}
    assert len(world.journal()) == 5


@pytest.mark.parametrize("run_type", ["full_drop", "incremental"])
def test_a_load_of_many_slices_lands_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: RunType
) -> None:
    world = LoadWorld(tmp_path, monkeypatch, hygge=HYGGE + "options: { slice_minutes: 0.000001 }\n")
    world.fill(orders=60)
    summary = run_load(world.project, LoadRequest(entities=("orders",), run_type=run_type), Recorder())
    assert (summary["status"], summary["rows"]) == ("success", 60)
    assert world.journal()[0]["row_count"] == 60


def test_one_bad_table_fails_alone_and_is_not_tried_again(world: LoadWorld) -> None:
    def fail(entity: str, batch: int) -> None:
        if entity == "orders":
            raise HomeNotFound("there is no column 'modified'", hint="It has id and value.")

    world.before_read = fail
    summary = run_load(world.project, LoadRequest(), Recorder())
    assert (summary["status"], summary["fail"], summary["success"]) == ("fail", 1, 2)
    row = next(row for row in world.journal() if row["entity"] == "orders")
    assert (row["status"], row["error"], row["attempts"]) == ("fail", "home.not_found", 1)
    assert "there is no column 'modified'" in row["message"]


def test_a_source_that_comes_back_is_read_to_the_end_and_the_journal_says_what_was_tried(world: LoadWorld) -> None:
    failures = iter([HomeUnavailable("the connection was lost"), HomeUnavailable("deadlock victim")])

    def fail(entity: str, batch: int) -> None:
        if entity == "orders" and batch == 1 and (error := next(failures, None)):
            raise error

    world.before_read = fail
    summary = run_load(world.project, LoadRequest(), Recorder())
    assert (summary["status"], summary["rows"]) == ("success", 8)
    row = next(row for row in world.journal() if row["entity"] == "orders")
    assert row["row_count"] == 5
    assert row["attempts"] == 3
    assert row["message"] == "Recovered from 2 failed attempts, the last: deadlock victim"


def test_an_exception_that_nobody_foresaw_fails_its_table_without_telling_secrets(world: LoadWorld) -> None:
    def fail(entity: str, batch: int) -> None:
        if entity == "orders":
            raise KeyError("password=hunter2")

    world.before_read = fail
    summary = run_load(world.project, LoadRequest(), Recorder())
    assert (summary["fail"], summary["success"]) == (1, 2)
    row = next(row for row in world.journal() if row["entity"] == "orders")
    assert row["error"] == "load.unexpected"
    assert row["message"].startswith("Unexpected KeyError;")
    assert "hunter2" not in str(summary)


def test_cancelling_leaves_each_table_at_its_last_commit_and_the_next_load_goes_on(world: LoadWorld) -> None:
    load = LocalLoad(world.project, LoadRequest(), Recorder())

    def cancel(entity: str, batch: int) -> None:
        if entity == "orders" and batch == 1:
            load.request_cancel()

    world.before_read = cancel
    summary = load.run()
    assert summary["status"] == "cancel"
    rows = {row["entity"]: row for row in world.journal()}
    assert rows["orders"]["status"] == "cancel"
    assert rows["orders"]["row_count"] < 5
    assert set(rows) == {"orders", "customers", "stock"}
    world.before_read = lambda entity, batch: None
    assert run_load(world.project, LoadRequest(), Recorder())["status"] == "success"
    orders = [row for row in world.journal() if row["entity"] == "orders" and row["status"] == "success"]
    assert orders[0]["row_count"] >= 5 - rows["orders"]["row_count"]


class Hung:
    """A load whose ``orders`` hang, at a batch of their own or where ``at`` is called, until `go_on`."""

    def __init__(self, world: LoadWorld, batch: int = 0, **request: Any) -> None:
        self._world = world
        self._release = threading.Event()
        self.hangs = threading.Event()
        self.threads: list[threading.Thread] = []
        self.observer = Recorder()
        self.load = LocalLoad(world.project, LoadRequest(entities=("orders", "customers"), **request), self.observer)
        world.before_read = lambda entity, number: self.at() if (entity, number) == ("orders", batch) else None

    def at(self) -> None:
        self.threads.append(threading.current_thread())
        self.hangs.set()
        assert self._release.wait(60)

    def cancelled(self, hurries: int, silent: Sequence[str] = ()) -> dict[str, Any]:
        """The summary, once the load was asked to stop and, where it hangs, hurried."""

        def stop() -> None:
            for number in range(hurries):
                assert self.hangs.wait(60)
                if not number:
                    self.load.request_cancel()
                self.hangs.clear()
                assert self.load.hurry(silent)

        hurrier = threading.Thread(target=stop)
        hurrier.start()
        summary = self.load.run()
        hurrier.join()
        assert not self.load.hurry(())
        self._world.before_read = lambda entity, batch: None
        return summary

    def go_on(self) -> None:
        self._release.set()
        for thread in self.threads:
            thread.join(60)


def rows_of(world: LoadWorld, entity: str, status: str) -> int:
    return sum(row["row_count"] for row in world.journal() if (row["entity"], row["status"]) == (entity, status))


def state_of(world: LoadWorld, entity: str) -> LandingState:
    flow = world.project.flows["orders_to_fabric"]
    state: LandingState = open_table(world.project, flow.entities[entity]).attach("looks", 1).state
    return state


@pytest.mark.parametrize("run_type", ["full_drop", "incremental"])
@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("revives", ["before the next load", "after it"])
def test_a_load_whose_source_hangs_is_remembered_and_its_table_is_free(
    world: LoadWorld, run_type: RunType, batch: int, revives: str
) -> None:
    run_load(world.project, LoadRequest(), Recorder())
    world.sources["orders"].put(*range(1, 9))
    hung = Hung(world, batch, run_type=run_type)
    summary = hung.cancelled(hurries=1)
    assert (summary["status"], summary["journal"]["status"], hung.load.is_hung) == ("cancel", "settled", True)
    assert state_of(world, "orders").owner is None
    assert set(hung.observer.settled) == {"orders", "customers"}
    row = next(row for row in world.journal() if (row["entity"], row["status"]) == ("orders", "cancel"))
    assert "did not respond, and was abandoned" in row["message"]
    assert row["row_count"] == 0
    assert max(row["finish_time"] for row in world.journal()) == summary["finished"]
    if revives == "before the next load":
        hung.go_on()  # it finds the table taken over
    assert run_load(world.project, LoadRequest(entities=("orders",)), Recorder())["status"] == "success"
    landed, journal = world.landed_files(), world.journal()
    hung.go_on()
    assert (world.landed_files(), world.journal()) == (landed, journal)
    assert rows_of(world, "orders", "success") == 5 + 8


def test_a_load_whose_lake_hangs_settles_as_it_stands(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = Hung(world)

    def hangs(*_: object, **__: object) -> None:
        hung.at()

    monkeypatch.setattr(flow_run, "let_go", hangs)
    summary = hung.cancelled(hurries=2)
    assert (summary["status"], summary["journal"]["status"]) == ("cancel", "settled")
    [row] = [row for row in world.journal() if row["entity"] == "orders"]
    assert row["status"] == "cancel"
    assert "could not be released" in row["message"]
    hung.go_on()


def test_a_reload_that_waits_for_its_drop_is_let_go_of_and_finished_by_the_next_load(world: LoadWorld) -> None:
    run_load(world.project, LoadRequest(), Recorder())
    waits = threading.Event()
    load = LocalLoad(
        world.project,
        LoadRequest(entities=("orders",), run_type="full_drop"),
        Recorder(),
        lambda flow, entity, result: waits.set() if result.not_before else None,
    )

    def stop() -> None:
        assert waits.wait(60)
        load.request_cancel()
        assert load.hurry(())

    threading.Thread(target=stop).start()
    summary = load.run()
    assert summary["status"] == "cancel"
    row = next(row for row in world.journal() if (row["entity"], row["status"]) == ("orders", "cancel"))
    assert "gone until the next load" in row["message"]
    assert state_of(world, "orders").owner is None
    assert not [file for file in world.landed_files() if file.startswith("orders")]
    table = open_table(world.project, world.project.flows["orders_to_fabric"].entities["orders"])
    assert isinstance(table, OpenMirroringTable)
    table.lake.put(table.layout.status, b'{"tables": []}')
    assert run_load(world.project, LoadRequest(entities=("orders",)), Recorder())["status"] == "success"
    assert rows_of(world, "orders", "success") == 5 + 5


def test_a_place_that_hangs_keeps_no_other_from_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoadWorld(tmp_path, monkeypatch, flows__second__flow=SECOND_FLOW_YML)
    both = threading.Barrier(2, timeout=60)
    append = Journal.append

    def waits_for_the_other(self: Journal, load_id: str, rows: Sequence[EntityRunRow]) -> object:
        both.wait()
        return append(self, load_id, rows)

    monkeypatch.setattr(Journal, "append", waits_for_the_other)
    assert run_load(world.project, LoadRequest(), Recorder())["journal"]["places"] == 2


def test_journals_that_are_silent_are_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoadWorld(tmp_path, monkeypatch, flows__second__flow=SECOND_FLOW_YML)
    world.fill(orders=2)
    hung = Hung(world)
    hung.load = LocalLoad(world.project, LoadRequest(), hung.observer)
    summary = hung.cancelled(hurries=1, silent=["second.orders", "second.customers", "second.stock"])
    assert (summary["journal"]["status"], summary["journal"]["transient"]) == ("failed", False)
    assert "second.orders" in summary["journal"]["message"]
    assert (len(world.journal()), len(world.journal("second"))) == (3, 0)
    hung.go_on()


def test_flows_of_two_mirrors_are_remembered_each_in_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoadWorld(tmp_path, monkeypatch, flows__second__flow=SECOND_FLOW_YML)
    world.fill(orders=2)
    summary = run_load(world.project, LoadRequest(coordinator_run_id="c1"), Recorder())
    assert summary["journal"] == {"status": "settled", "rows": 6, "places": 2}
    assert {row["flow"] for row in world.journal("orders_to_fabric")} == {"orders_to_fabric"}
    assert {row["flow"] for row in world.journal("second")} == {"second"}


def test_a_request_for_something_unknown_is_a_failed_load(world: LoadWorld) -> None:
    summary = run_load(world.project, LoadRequest(flows=("order_to_fabric",), coordinator_run_id="c1"), Recorder())
    assert summary["status"] == "fail"
    assert "orders_to_fabric" in summary["message"]
    [row] = world.journal()
    assert (row["entity_run_id"], row["status"], row["error"]) == ("c1", "fail", "load.unknown_selection")


def test_a_mirrored_journal_is_published_with_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = SECOND_FLOW_YML.replace("  key_columns: [id]", "  key_columns: [id]\n  mirror_journal: true")
    world = LoadWorld(tmp_path, monkeypatch, flows__second__flow=flow)
    world.fill(orders=2)
    run_load(world.project, LoadRequest(flows=("second",)), Recorder())
    tables = {file.split("/")[0] for file in world.landed_files()}
    assert {"orders", "journal", "loads", "schema_manifest"} <= tables


def test_an_activity_that_fails_while_the_log_fails_too_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise RuntimeError("no log")

    monkeypatch.setattr(in_process.LOGGER, "error", fail)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    context = in_process.LocalContext("c1", None, {"work": fail})

    def steps() -> Generator[Any, Any, str]:
        try:
            yield context.call_activity("work")
        except RuntimeError as error:
            return str(error)
        return ""

    assert in_process.run_orchestrator(context, steps()) == "no log"
