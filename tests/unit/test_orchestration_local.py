"""Loads run in this process, through the real flow and landing, with sources in memory and a local lake."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomeNotFound, HomeUnavailable
from hygge_engine.orchestration.local import LocalLoad, run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project.settings import RunType
from tests.unit.load_world import SECOND_FLOW_YML, LoadWorld
from tests.unit.project_files import HYGGE


class Recorder:
    def __init__(self) -> None:
        self.thread: set[int] = set()
        self.entities: list[str] = []
        self.progress: dict[str, list[int]] = {}
        self.settled: dict[str, Mapping[str, Any]] = {}

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self.thread.add(threading.get_ident())
        self.entities = [entity["entity"] for entity in entities]

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        self.thread.add(threading.get_ident())
        self.progress.setdefault(entity, []).append(rows)

    def entity_settled(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        self.thread.add(threading.get_ident())
        self.settled[entity] = result


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    return world


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
