"""Reloads by difference: whatever the keys are, and whatever has become of what was remembered of the table, it is as
its source afterwards."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.support.hostile_table import KEYS, HostileTable
from tests.support.reload_world import HARM, ReloadWorld


@pytest.mark.parametrize("keys", sorted(set(KEYS) - {"floats"}))
def test_a_reload_by_difference_lands_what_differs_whatever_the_keys_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    random_ = random.Random(keys)
    world = ReloadWorld(tmp_path, monkeypatch, keys, in_slices=keys == "texts")
    table = world.things
    table.change(random_, *range(18))
    world.run("incremental")
    table.change(random_, *random_.sample(range(24), 5))
    world.run("incremental")
    world.is_followed = False
    for _ in range(2):
        table.change(random_, *random_.sample(sorted(table.rows), 3), silent=True)
        for number in random_.sample(sorted(table.rows), 3):
            del table.rows[number]
        table.change(random_, *random_.sample(range(36), 2))
        assert "by difference" in world.run("full_drop")
        assert "0 new or changed, 0 deleted" in world.run("full_drop")
    table.rows.clear()
    assert f"by difference: 0 new or changed, {len(world.read())} deleted" in world.run("full_drop")
    table.change(random_, 3)
    assert "by difference: 1 new or changed, 0 deleted" in world.run("full_drop")


def test_a_row_that_changes_while_it_is_compared_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_ = random.Random(7)
    world = ReloadWorld(tmp_path, monkeypatch, "numbers")
    world.things.change(random_, *range(12))
    world.run("incremental")

    def change_all(batch: int) -> None:
        if batch == 1:
            world.things.change(random_, *range(12))

    world.things.before_batch = change_all
    world.is_compared = False
    assert " 0 deleted" in world.run("full_drop")
    assert len(world.read()) == 12
    world.things.before_batch = lambda batch: None
    world.is_compared = True
    world.run("incremental")
    assert "0 new or changed, 0 deleted, 12 unchanged" in world.run("full_drop")


@pytest.mark.parametrize("in_slices", [False, True])
@pytest.mark.parametrize("keys", ["numbers", "texts", "guids and bytes"])
def test_rows_that_reading_passes_over_are_found_by_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str, in_slices: bool
) -> None:
    """As a scan does of an index in which rows move meanwhile: those that are there stay, as they are now."""
    monkeypatch.setattr("hygge_engine.flow.lookups.KEYS_AT_ONCE", 4)
    random_ = random.Random(keys)
    world = ReloadWorld(tmp_path, monkeypatch, keys, in_slices=in_slices)
    world.things.change(random_, *range(20))
    world.run("incremental")
    world.things.change(random_, 3, 4, silent=True)
    for number in (5, 6, 7, 18):
        del world.things.rows[number]
    world.things.change(random_, 21)
    world.things.hidden = {3, 8, 9, 10, 19}
    said = world.run("full_drop")
    assert " 3 new or changed, 4 deleted, 14 unchanged" in said
    assert in_slices or "5 rows that reading had passed over, found by the key" in said
    world.things.hidden = set()
    assert world.run("full_drop") == "reloaded by difference: 0 new or changed, 0 deleted, 17 unchanged"


def test_the_slices_of_a_reload_leave_no_thread_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = ReloadWorld(tmp_path, monkeypatch, "numbers", in_slices=True)
    world.things.change(random.Random(1), *range(12))
    world.run("incremental")
    del world.things.rows[3]
    before = set(threading.enumerate())
    assert " 1 deleted" in world.run("full_drop")
    assert set(threading.enumerate()) <= before


def test_a_source_that_does_not_find_what_it_sends_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ReloadWorld(tmp_path, monkeypatch, "numbers")
    world.things.change(random.Random(1), *range(12))
    world.run("incremental")
    before = world.read()
    world.things.hidden = {3}
    world._run_type = "full_drop"
    with monkeypatch.context() as blind:
        blind.setattr(HostileTable, "find_rows", lambda self, keys, columns: self.table([]).select(list(columns)))
        failed = world.slice("blind")
    assert (failed.status, failed.error, failed.transient) == ("failed", "home.unavailable", True)
    assert "does not find keys that it has just sent" in failed.message
    world.things.hidden = set(world.things.rows)
    assert "has sent the key of none" in world.slice("blind", 2).message
    assert world.read() == before


# A file whose making was not confirmed is left to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("lost", range(3, 7))
def test_nothing_that_a_slice_has_noted_before_it_failed_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    random_ = random.Random(lost)
    world = ReloadWorld(tmp_path, monkeypatch, "numbers", in_slices=True)
    world.things.change(random_, *range(5))
    world.run("incremental")
    world.things.change(random_, *range(3), silent=True)
    world.new_lake().lose_answer_at = lost
    world.is_followed = False
    assert " 0 deleted" in world.run("full_drop")


def test_a_key_that_repeats_beyond_what_a_slice_remembers_is_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ReloadWorld(tmp_path, monkeypatch, "numbers", in_slices=True)
    world.things.change(random.Random(1), *range(6))
    world.run("incremental")
    before = world.read()
    world.things.rows[99] = world.things.rows[3] | {"text": "its twin, in another slice"}
    world._run_type = "full_drop"
    failed = world.load("twins")
    assert (failed.status, failed.error) == ("failed", "home.key_unusable")
    assert "1 row has the same key (k0) as another one" in failed.message
    assert world.read() == before


@pytest.mark.parametrize("harm", HARM)
def test_what_cannot_be_believed_is_said_and_the_table_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    do_harm, told = HARM[harm]
    random_ = random.Random(harm)
    world = ReloadWorld(tmp_path, monkeypatch, "numbers")
    world.things.change(random_, *range(12))
    world.run("incremental")
    world.things.change(random_, 3, 4)
    world.run("incremental")
    assert len(world.files) == 2
    do_harm(world)
    world.things.change(random_, 5, silent=True)
    del world.things.rows[6]
    message = world.run("full_drop")
    assert message.startswith("reloaded by a drop, not by difference: ")
    assert told in message
    del world.things.rows[7]
    assert world.run("full_drop") == "reloaded by difference: 0 new or changed, 1 deleted, 10 unchanged"
