"""Rows that are not what is expected of them: what a reader sees after loads that warned, failed, died and went on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.flow.slices import SliceResult
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.polish import PolishSettings
from tests.faults.world import World

# A killed process closes no file; here its files are closed by the garbage collector, which says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

VALUES: dict[str, Any] = {"accepted_values": {"columns": {"value": ["v1", "v2"]}}}


class ExpectingWorld(World):
    """A world whose entity expects something."""

    def expect(self, **expected: Any) -> None:
        self.entity = replace(self.entity, expectations=ExpectationsSettings.model_validate(expected))

    def put_bad(self, *ids: int) -> None:
        for id_ in ids:
            self.source.rows[id_] = ("bad", self.source.clock)

    def outcome(self, result: SliceResult) -> dict[str, Any]:
        return dict(json.loads(result.expectations))


def test_a_failed_expectation_leaves_the_old_table_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = ExpectingWorld(tmp_path, monkeypatch, run_type="full_drop", slice_minutes=0)
    world.source.put(*range(6))
    world.load("a")
    before = world.mirrored()
    world.expect(**VALUES)
    world.source.put(6)
    world.put_bad(2, 7)
    result = world.load("b")
    assert (result.status, result.error, result.transient) == ("failed", "expectations.failed", False)
    assert "accepted_values(value) by 1 row (id=2)" in result.message
    assert "The table is as it was." in result.hint
    assert "--var flow.flow.entities.things.expectations.accepted_values.severity=warn" in result.hint
    assert world.outcome(result) == {"passed": 0, "warned": {}, "failed": {"accepted_values(value)": 1}}
    assert world.mirrored() == before
    world.source.rows |= {2: ("v1", 1), 7: ("v1", 1)}
    world.load("c")
    world.check()


def test_of_an_increment_what_earlier_slices_have_landed_stays_and_the_next_load_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ExpectingWorld(tmp_path, monkeypatch, slice_minutes=0)
    world.expect(**VALUES)
    world.source.put(*range(6))
    world.put_bad(3)
    result = world.load("a")
    assert (result.status, result.rows) == ("failed", 2)
    assert "earlier slices" in result.hint
    assert [id_ for id_, _, _ in world.mirrored()] == [0, 1]
    assert world.state().watermark is None
    world.source.rows[3] = ("v1", 1)
    result = world.load("b")
    assert (result.status, result.rows) == ("done", 4)
    world.check()


def test_a_warning_counts_the_rows_of_all_slices_once_whatever_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations, die_at = 1, 0
    while die_at <= operations:
        world = ExpectingWorld(tmp_path / str(die_at), monkeypatch, slice_minutes=0, tick_between=False)
        world.expect(accepted_values=VALUES["accepted_values"] | {"severity": "warn"}, row_count={"min": 5, "max": 5})
        world.source.put(*range(5))
        world.put_bad(1, 3)
        lake = world.new_lake()
        lake.die_at = die_at or None
        result = world.load("a")
        assert result.status == "done", result
        assert world.outcome(result) == {"passed": 1, "warned": {"accepted_values(value)": 2}, "failed": {}}
        assert result.message == "not as expected: accepted_values(value) by 2 rows (id=1; id=3)"
        again = world.slice("a", 9)
        assert (again.message, again.expectations) == (result.message, result.expectations)
        world.check()
        operations, die_at = max(operations, lake.count), die_at + 1
    assert operations > 6


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_a_load_that_dies_while_it_fails_fails_again_and_nothing_lands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: Any
) -> None:
    for die_at in range(1, 7):
        world = ExpectingWorld(tmp_path / str(die_at), monkeypatch, run_type=run_type, tick_between=False)
        world.source.put(1, 2, 3)
        world.load("a")
        before = world.mirrored()
        world.expect(**VALUES)
        world.source.put(2, 4)
        world.put_bad(5)
        lake = world.new_lake()
        lake.die_at = die_at
        assert world.load("b").error == "expectations.failed"
        assert world.mirrored() == before
        del world.source.rows[5]
        assert world.load("c").status == "done"
        world.check()


def test_counts_and_silence_are_judged_where_nothing_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = ExpectingWorld(tmp_path, monkeypatch)
    world.source.put(1, 2)
    world.expect(row_count={"min": 3})
    result = world.load("a")
    assert "row_count: 2 rows, at least 3 expected" in result.message
    assert world.mirrored() == []
    world.source.put(3)
    world.expect(row_count={"min": 1})
    world.load("b")
    result = world.load("c")
    assert result.error == "expectations.failed"
    assert "row_count: 0 rows, at least 1 expected" in result.message
    world.expect(row_count={"min": 1, "severity": "warn"})
    assert world.load("d").message.endswith("not as expected: row_count: 0 rows, at least 1 expected")
    assert world.state().owner is None


def test_they_speak_of_polished_columns_and_show_no_hashed_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = ExpectingWorld(tmp_path, monkeypatch)
    polish = {"rename": {"value": "Word"}, "mask": {"id": "hash"}, "hash_salt": "a grain of salt"}
    world.expect(accepted_values={"columns": {"word": ["v1"]}}, unique={})
    world.entity = replace(world.entity, polish=PolishSettings.model_validate(polish))
    world.source.put(1, 2)
    world.put_bad(2)
    result = world.load("a")
    assert "not met: accepted_values(Word) by 1 row. " in result.message
    assert world.outcome(result)["passed"] == 1


def test_a_column_that_does_not_land_is_told_before_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ExpectingWorld(tmp_path, monkeypatch)
    world.expect(not_null={"columns": ["valeu"]})
    world.source.put(1)
    result = world.load("a")
    assert result.error == "configuration"
    assert "no column `valeu`" in result.message
    assert result.hint == "Did you mean `value`?"
