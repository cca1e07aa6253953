"""A load that is read in ranges lands what it would have landed as a whole, and says the same of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hygge_engine.flow import divided
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask, numbers_in
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.landing.state import LandingState
from tests.faults.source import SourceHome
from tests.faults.world import Watching, World

EXPECTED = {
    "not_null": {"columns": ["value"]},
    "accepted_values": {"columns": {"value": ["a", "b"]}, "severity": "warn"},
    "unique": {},
    "row_count": {"max": 15, "severity": "warn"},
}


def change(world: World, values: dict[int, str], *, late: bool = False) -> None:
    """Insert or update rows in one change, or with the time of the one before."""
    world.source.clock += not late
    world.source.rows |= {id_: (value, world.source.clock) for id_, value in values.items()}


def slice_of(world: World, load_id: str, attempt: int, run_type: RunType, **of_range: Any) -> SliceResult:
    task = SliceTask(load_id, "run", "flow", "things", run_type, "hash", attempt, **of_range)
    return flow_run.run_slice(world.project, world.entity, task, Watching())


def load(
    world: World, load_id: str, run_type: RunType = "incremental", between: Callable[[], object] = lambda: None
) -> SliceResult:
    """A load with all of its ranges, which are read in an order of chance."""
    for attempt in range(1, 50):
        result = slice_of(world, load_id, attempt, run_type)
        numbers = numbers_in(result.ranges_left)
        Random(load_id).shuffle(numbers)
        for number in numbers:
            between()
            of_range = slice_of(world, load_id, attempt + 1, run_type, division=result.division, range_number=number)
            assert of_range.status in ("done", "continue", "failed"), of_range
            if of_range.status == "failed" and not of_range.transient:
                return of_range
        if result.status != "continue":
            return result
        world.tick()
    raise AssertionError(f"{load_id} did not end: {result}")


def told(world: World, result: SliceResult) -> dict[str, Any]:
    """What is known after a load, but for what is said of the ranges themselves, and of the order of files."""
    state: LandingState = world.state()
    mark, finished = state.watermark, state.finished
    assert mark is not None
    assert finished is not None
    boundary = mark.boundary and replace(mark.boundary, rows=tuple(sorted(mark.boundary.rows)))
    return {
        "status": result.status,
        "rows": result.rows,
        "error": result.error,
        "mark": replace(mark, boundary=boundary),
        "checked": finished.checked,
        "expectations": result.expectations,
        "table": world.mirrored(),
        "open": state.open,
        "owner": state.owner,
    }


@pytest.mark.parametrize("seed", range(2))
def test_it_lands_and_says_what_a_whole_load_does(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = Random(seed)
    changes = [{chance.randrange(30): chance.choice("abc") for _ in range(chance.randint(1, 9))} for _ in range(8)]
    found = []
    for ranges in (0, chance.randint(2, 7)):
        world = World(tmp_path / str(ranges), monkeypatch, slice_minutes=chance.choice((0, 4)), tick_between=False)
        world.home = SourceHome(world.source, ranges=ranges)
        expected = ExpectationsSettings.model_validate(EXPECTED)
        world.entity = replace(world.entity, expectations=expected)
        for values in changes[:5]:
            change(world, values)
        answers = [told(world, load(world, "first"))]
        for values in changes[5:7]:
            change(world, values)
        change(world, {40: "a", 41: "d"}, late=True)
        answers.append(told(world, load(world, "second")))
        del world.source.rows[next(iter(changes[0]))]
        answers.append(told(world, load(world, "third", "full_drop")))
        change(world, changes[7])
        answers.append(told(world, load(world, "fourth")))
        world.check()
        found.append(answers)
    whole, in_ranges = found
    assert in_ranges == whole


def divided_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> World:
    world = World(tmp_path, monkeypatch, tick_between=False, **options)
    world.home = SourceHome(world.source, ranges=4)
    world.source.put(*range(20))
    return world


def test_the_state_stays_small_and_files_become_visible_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divided, "FILES_PER_INTENT", 3)
    world = divided_world(tmp_path, monkeypatch, slice_minutes=0)
    intents: list[int] = []
    write = LandingState.to_json

    def noting(self: LandingState, nonce: str) -> bytes:
        intents.append(len(self.open.intent) if self.open else 0)
        return write(self, nonce)

    monkeypatch.setattr(LandingState, "to_json", noting)
    for run_type in ("incremental", "full_drop"):
        intents.clear()
        result = load(world, run_type, "full_drop" if run_type == "full_drop" else "incremental")
        assert (result.status, result.rows, result.files) == ("done", 20, 11)
        assert max(intents) <= 3 + 1  # the table's metadata comes with the first
    world.check()


def test_what_no_range_alone_can_know_is_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = divided_world(tmp_path, monkeypatch)
    expected = ExpectationsSettings.model_validate({"unique": {"columns": ["modified"], "severity": "warn"}})
    world.entity = replace(world.entity, expectations=expected)
    result = load(world, "load")
    assert "not divided into ranges: unique(modified) is checked by all rows together" in result.message
    assert json.loads(result.expectations)["warned"] == {"unique(modified)": 19}


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_rows_that_are_not_as_expected_land_in_no_part(
    run_type: RunType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = divided_world(tmp_path, monkeypatch)
    load(world, "before", "full_drop")
    before = world.mirrored()
    if run_type == "incremental":  # a table without rows
        world = divided_world(tmp_path / "new", monkeypatch)
        before = []
    world.entity = replace(world.entity, expectations=ExpectationsSettings.model_validate({"row_count": {"max": 19}}))
    result = load(world, "load", run_type)
    assert (result.status, result.error) == ("failed", "expectations.failed")
    assert world.mirrored() == before
    del world.source.rows[3]
    assert load(world, "next", run_type).status == "done"
    world.check()


def test_what_is_expected_meanwhile_is_expected_of_all_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = divided_world(tmp_path, monkeypatch)
    world.source.rows |= {id_: ("odd" if id_ == 1 else "even", stamp) for id_, (_, stamp) in world.source.rows.items()}
    begun: list[int] = []

    def expect_more() -> None:
        begun.append(len(begun))
        if len(begun) == 4:  # the range of the odd row has been read by then
            rule = {"accepted_values": {"columns": {"value": ["even"]}}}
            world.entity = replace(world.entity, expectations=ExpectationsSettings.model_validate(rule))

    result = load(world, "load", between=expect_more)
    assert (result.status, result.error) == ("failed", "expectations.failed")
    assert json.loads(result.expectations)["failed"] == {"accepted_values(value)": 1}


@pytest.mark.parametrize("lost", ["00002.json", "*.parquet", "00002.json as another's"])
def test_ranges_that_are_lost_are_read_again(lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = divided_world(tmp_path, monkeypatch)
    found: list[Path] = []

    def lose() -> None:
        there = sorted((world.root / world.layout.staging).glob(f"*/{lost.partition(' ')[0]}"))
        if there and not found:
            found.append(there[0])
            if " " in lost:
                there[0].write_bytes((there[0].parent / "00001.json").read_bytes())
            else:
                there[0].unlink()

    assert load(world, "load", between=lose).status == "done"
    assert found
    world.check()
