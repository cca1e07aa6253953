"""Whatever dies wherever: every crash point of every kind of load ends with a mirrored table equal to its source."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomeUnavailable
from tests.faults.source import SourceHome
from tests.faults.world import Watching, World

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


def test_a_row_in_another_one_s_place_at_the_boundary_is_not_lost(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch)
    world.source.put(5, 6)
    world.load("a")
    world.source.rows[1] = ("late", world.source.clock)
    world.source.put(5)  # leaves as many rows at the boundary as there were
    assert world.load("b").rows == 2
    world.check()


def test_a_slice_of_nothing_but_landed_rows_gets_ahead(tmp_path: Path, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch, slice_minutes=0)
    world.source.put(*range(9))
    world.load("a")
    world.source.put(9)
    assert world.load("b").rows == 1
    world.check()


def test_a_load_that_dies_before_it_gives_the_table_up_gives_it_up_when_it_is_delivered_again(
    tmp_path: Path, monkeypatch: Any
) -> None:
    operations = 0
    for name in ("counted", "killed"):
        world = World(tmp_path / name, monkeypatch)
        world.source.put(*range(7))
        world.slice("a", watch=Watching(cancel_after=2))
        lake = world.new_lake()
        lake.die_at = operations or None  # the last one: what the load had adopted has ended, and nothing is new
        world.load("b")
        operations = lake.count
    assert not lake.is_alive
    assert world.state().owner is None


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


@pytest.mark.parametrize("minutes", [10, -60])
def test_a_second_load_waits_its_turn_then_reports_busy(tmp_path: Path, monkeypatch: Any, minutes: int) -> None:
    """Until the owner's time is over, or the clock that tells it has been set back."""
    world = World(tmp_path, monkeypatch, slice_minutes=0)
    world.source.put(*range(5))
    world.slice("a")
    pauses: list[int] = []
    while (answer := world.slice("b", attempt=50, busy=len(pauses))).status == "continue":
        assert answer.busy
        pause = datetime.fromisoformat(str(answer.not_before)) - datetime.fromisoformat(answer.started)
        pauses.append(round(pause.total_seconds()))
    assert answer.status == "skipped"
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2
    assert 240 < sum(pauses) < 360
    world.lake.shift = timedelta(minutes=minutes)
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
