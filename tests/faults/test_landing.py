"""Whatever dies wherever: every crash point of every kind of load ends with a mirrored table equal to its source."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomeUnavailable
from tests.faults.world import Killed, SourceHome, Watching, World

# A killed process closes no file; here its files are closed by the garbage collector, which says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def test_an_initial_load_lands_without_a_row_marker_and_an_increment_with_one(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    world.source.put(1, 2, 3)
    first = world.load("a")
    assert (first.status, first.rows, first.files, first.watermark) == ("done", 3, 1, "1")
    world.source.put(2, 4)
    second = world.load("b")
    assert (second.status, second.rows, second.watermark) == ("done", 2, "2")
    world.check()


def test_an_increment_with_nothing_new_writes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    world.source.put(1)
    world.load("a")
    lake = world.new_lake()
    result = world.load("b")
    assert (result.status, result.rows, lake.count) == ("done", 0, 0)


def test_rows_that_share_the_boundary_are_not_lost(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    world.source.put(5, 6)
    world.load("a")
    world.source.rows[1] = ("late", world.source.clock)  # the same timestamp, a smaller key
    world.load("b")
    world.check()


def test_an_empty_table_lands_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    assert world.load("a").status == "done"
    assert not (tmp_path / world.layout.folder).exists()
    world.source.put(1)
    world.load("b")
    world.check()


def test_a_reload_replaces_the_table_and_forgets_deleted_rows(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch, run_type="full_drop")
    world.source.put(1, 2, 3)
    world.load("a")
    world.check()
    world.source.remove(2)
    world.source.put(4)
    assert world.load("b").rows == 3
    world.check()
    world.source.rows.clear()
    assert world.load("c").rows == 0
    world.check()


def test_a_failed_extraction_leaves_the_old_table_untouched(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch, run_type="full_drop")
    world.source.put(*range(9))
    world.load("a")
    before = world.mirrored()
    world.source.remove(1)

    def fail(number: int) -> None:
        if number == 2:
            raise HomeUnavailable("connection lost")

    world.home = SourceHome(world.source, before_batch=fail)
    result = world.slice("b")
    assert (result.status, result.error, result.transient) == ("failed", "home.unavailable", True)
    assert world.mirrored() == before
    world.home = SourceHome(world.source)
    world.load("b")
    world.check()


def test_a_table_larger_than_a_slice_lands_in_many(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch, slice_minutes=0)
    world.source.put(*range(7))
    assert world.slice("a").status == "continue"
    assert world.state().open is not None
    result = world.load("a")
    assert (result.rows, result.files) == (7, 4)
    world.source.put(*range(3, 9))
    assert world.load("b").rows == 6
    world.check()


def test_cancelling_keeps_what_is_committed_and_the_next_load_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    world.source.put(*range(7))
    cancelled = world.slice("a", watch=Watching(cancel_after=2))
    assert (cancelled.status, cancelled.rows) == ("cancelled", 4)
    world.source.put(1, 9)
    result = world.load("b")
    assert (result.status, result.rows) == ("done", 5)  # 4, 5 and 6 of the first, then 1 and 9
    world.check()


def test_a_finished_slice_that_is_delivered_again_answers_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    world.source.put(1, 2)
    first = world.slice("a")
    world.source.put(3)
    again = world.slice("a", attempt=2)
    assert (again.status, again.rows, again.files) == (first.status, first.rows, first.files)


def test_a_second_load_waits_its_turn_then_reports_busy(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch, slice_minutes=0)
    world.source.put(*range(5))
    world.slice("a")
    assert world.slice("b").status == "continue"
    assert world.slice("b", attempt=10).status == "skipped"
    world.lake.shift = timedelta(minutes=10)
    assert world.load("b").status == "done"
    world.check()


def test_a_fenced_attempt_stops_without_touching_anything(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    world.source.put(*range(6))
    successor: list[str] = []

    def take_over(number: int) -> None:
        if number == 1 and not successor:
            world.home = SourceHome(world.source)
            successor.append(world.slice("a", attempt=2).status)

    world.home = SourceHome(world.source, before_batch=take_over)
    assert world.slice("a").status == "continue"
    assert successor == ["done"]
    assert world.load("a").rows == 6
    world.check()


def initial(world: World) -> None:
    world.source.put(*range(5))


def increment(world: World) -> None:
    world.source.put(*range(5))
    assert world.load("before").status == "done"
    world.source.put(1, 3, 7)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("slice_minutes", [4.0, 0.0], ids=["one-slice", "many-slices"])
@pytest.mark.parametrize(
    ("run_type", "prepare"),
    [("incremental", initial), ("incremental", increment), ("full_drop", initial), ("full_drop", increment)],
    ids=["initial", "increment", "first-reload", "reload"],
)
def test_every_crash_point_converges(
    tmp_path: Path, monkeypatch: Any, run_type: Any, prepare: Callable[[World], None], slice_minutes: float, after: bool
) -> None:
    crash_at, operations = 0, 1
    while crash_at <= operations:  # the run with crash_at 0 counts the operations
        world = World(tmp_path / str(crash_at), monkeypatch, run_type=run_type, slice_minutes=slice_minutes)
        prepare(world)
        lake = world.new_lake()
        if crash_at:
            lake.die_at, lake.die_after = crash_at, after
        result = world.load("a")
        assert result.status == "done", (crash_at, result)
        if not crash_at:
            operations = lake.count
            assert operations > 5
        world.check()
        world.source.put(2, 8)  # and the next load finds everything in order
        assert world.load("next").status == "done"
        world.check()
        crash_at += 1


@pytest.mark.parametrize("slice_minutes", [4.0, 0.0], ids=["one-slice", "many-slices"])
@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_another_load_goes_on_where_a_dead_one_stopped(
    tmp_path: Path, monkeypatch: Any, run_type: Any, slice_minutes: float
) -> None:
    crash_at, died = 1, True
    while died:
        world = World(tmp_path / str(crash_at), monkeypatch, run_type=run_type, slice_minutes=slice_minutes)
        increment(world)
        lake = world.new_lake()
        lake.die_at = crash_at
        died = False
        for attempt in range(1, 20):
            try:
                if world.slice("dead", attempt).status == "done":
                    break
            except Killed:
                died = True
                break
        world.source.put(0, 9)
        world.new_lake().shift = timedelta(minutes=10)
        assert world.load("next").status == "done"
        world.check()
        crash_at += 1
    assert crash_at > 5


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_a_lost_answer_is_no_lost_or_doubled_row(tmp_path: Path, monkeypatch: Any, run_type: Any) -> None:
    lost_at, operations = 0, 1
    while lost_at <= operations:
        world = World(tmp_path / str(lost_at), monkeypatch, run_type=run_type)
        increment(world)
        lake = world.new_lake()
        lake.lose_answer_at = lost_at or None
        assert world.load("a").status == "done"
        operations = max(operations, lake.count) if not lost_at else operations
        world.check()
        lost_at += 1
