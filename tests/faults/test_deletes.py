"""Comparisons of keys: whatever the keys are, and whatever becomes of rows while they are read, a row that the source
has is never deleted, and one that it has lost is."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hygge_engine.project.models.project import DeletesSettings
from tests.support.hostile_table import KEYS, HostileTable
from tests.support.reload_world import HARM, ReloadWorld


class ComparingWorld(ReloadWorld):
    """A world whose increments are followed by comparisons of keys, each of them where ``every`` is 0."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, keys: str, *, in_slices: bool = False) -> None:
        super().__init__(root, monkeypatch, keys, in_slices=in_slices)
        self.entity = replace(self.entity, reload="drop", deletes=DeletesSettings(compare=True, every=0))

    def rows_seen(self) -> list[dict[str, Any]]:
        table = self.followed()
        return table.to_pylist() if table is not None else []

    def run(self, run_type: str = "incremental") -> str:
        message = super().run(run_type)
        if self.is_compared:
            assert self.read() == sorted(map(repr, self.things.table(list(self.things.rows)).to_pylist()))
        state = self.state()
        assert (state.open, state.owner) == (None, None)
        staging = self.root / self.layout.staging
        found = {path.relative_to(self.root).as_posix() for path in staging.rglob("*") if path.is_file()}
        assert found == state.staged_paths
        return message


@pytest.mark.parametrize("keys", sorted(set(KEYS) - {"floats"}))
def test_rows_that_are_gone_are_deleted_whatever_the_keys_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    random_ = random.Random(keys)
    world = ComparingWorld(tmp_path, monkeypatch, keys, in_slices=keys == "numbers")
    table = world.things
    table.change(random_, *range(14))
    world.run()
    for gone in (3, 0, 5):
        for number in random_.sample(sorted(table.rows), gone):
            del table.rows[number]
        table.change(random_, *range(fresh := 14 + len(table.rows) * 3, fresh + 4))
        assert f"keys compared: {gone} of " in world.run()
    assert world.run().startswith("keys compared: 0 of ")
    del table.rows[max(table.rows, key=lambda number: table.rows[number]["modified"])]
    assert "keys compared: 1 of " in world.run()
    left = len(table.rows)
    table.rows.clear()
    assert f"reloaded by difference: 0 new or changed, {left} deleted" in world.run()
    table.change(random_, 3)
    world.run()


def _insert(world: ComparingWorld, random_: random.Random) -> None:
    world.things.change(random_, 40)


def _update(world: ComparingWorld, random_: random.Random) -> None:
    world.things.change(random_, *range(2, 12))


def _delete(world: ComparingWorld, random_: random.Random) -> None:
    del world.things.rows[4]


def _update_key(world: ComparingWorld, random_: random.Random) -> None:
    del world.things.rows[4]
    world.things.change(random_, 44)


# What happens to the source when keys have been read in part, and what becomes of it.
MEANWHILE: Mapping[str, Callable[[ComparingWorld, random.Random], None]] = {
    "inserted": _insert,
    "updated": _update,
    "deleted": _delete,
    "key updated": _update_key,
}


@pytest.mark.parametrize(("what", "at"), [*((what, 1) for what in MEANWHILE), ("key updated", 0), ("deleted", 2)])
def test_what_happens_while_keys_are_read_deletes_no_row_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, at: int
) -> None:
    random_ = random.Random(what)
    world = ComparingWorld(tmp_path, monkeypatch, "numbers")
    world.things.change(random_, *range(12))
    world.run()
    del world.things.rows[7]
    world.things.change(random_, 20)
    batches: list[int] = []

    def meanwhile(batch: int) -> None:
        batches.append(batch)
        if batches.count(0) == 2 and batch == at:  # the increment reads all batches before
            MEANWHILE[what](world, random_)

    world.things.before_batch = meanwhile
    world.is_compared = False
    world.run()
    there = {row["k0"] for row in world.things.rows.values()}
    landed = {row["k0"] for row in world.rows_seen()}
    assert landed >= there - {40 - 7, 44 - 7}
    world.things.before_batch = lambda batch: None
    world.is_compared = True
    world.run()


def test_a_row_that_the_server_passes_over_is_looked_up_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a scan of an index does in which rows move meanwhile."""
    world = ComparingWorld(tmp_path, monkeypatch, "numbers", in_slices=True)
    world.things.change(random.Random(1), *range(12))
    world.run()
    del world.things.rows[5]
    world.things.hidden = {3, 6, 7, 8}
    assert world.run().endswith("keys compared: 1 of 12 rows deleted")


def test_a_row_that_comes_back_as_it_was_is_found_at_the_very_watermark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ComparingWorld(tmp_path, monkeypatch, "numbers")
    world.things.change(random.Random(1), *range(6))
    world.run()
    gone = world.things.rows.pop(3)
    world.run()
    world.things.rows[3] = gone
    world.run()


def test_a_server_that_does_not_find_what_it_sends_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ComparingWorld(tmp_path, monkeypatch, "numbers")
    world.things.change(random.Random(1), *range(12))
    world.run()
    before = world.read()
    world.things.hidden = {3}
    monkeypatch.setattr(HostileTable, "find_rows", lambda self, keys, columns: keys.slice(0, 0))
    result = world.slice("blind")
    assert (result.status, result.error, result.transient) == ("failed", "home.unavailable", True)
    assert "does not find keys that it has just sent" in result.message
    assert world.read() == before
    world.things.hidden = set(world.things.rows)
    assert "has sent the key of none" in world.slice("blind", 2).message


def test_comparisons_come_when_they_are_due_and_the_landing_state_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ComparingWorld(tmp_path, monkeypatch, "numbers")
    world.entity = replace(world.entity, deletes=DeletesSettings(compare=True, every=86_400))
    world.things.change(random.Random(1), *range(12))
    world.run()
    del world.things.rows[5]
    world.is_compared = False
    assert world.run() == ""
    for ago, is_due in ((timedelta(hours=22), False), (timedelta(hours=23), True), (-timedelta(hours=1), True)):
        before = (datetime.now(UTC) - ago).isoformat()
        world.edit_state(compared_at=before)
        assert ("keys compared" in world.run()) == is_due
        assert (world.state().compared_at != before) == is_due
    assert world.run() == ""
    world.edit_state(compared_at="")
    assert world.run() == "keys compared: 0 of 11 rows deleted"


def test_keys_stay_known_where_other_columns_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_ = random.Random(5)
    world = ComparingWorld(tmp_path, monkeypatch, "guids and bytes")
    world.things.change(random_, *range(12))
    world.run()
    wider = world.things.schema.append(pa.field("more", pa.int64()))
    monkeypatch.setattr(HostileTable, "schema", wider)
    world.things.change(random_, 3, 20)
    del world.things.rows[7]
    assert world.run().endswith("keys compared: 1 of 13 rows deleted")
    del world.things.rows[8]
    world.things.change(random_, 21)
    assert world.run().endswith("keys compared: 1 of 13 rows deleted")
    world.entity = replace(world.entity, reload="difference")
    assert "not by difference: columns, key or polish are not those" in world.run("full_drop"), "its rows are not known"


def _age(world: ReloadWorld) -> None:
    world.edit_snapshot(made_of="0000000000000000/", keyed="0000000000000000/")


HARM_TO_KEYS = {
    **{harm: HARM[harm][0] for harm in sorted(set(HARM) - {"of other columns", "of a table that is gone"})},
    "of another version": _age,
}


@pytest.mark.parametrize("harm", HARM_TO_KEYS)
def test_without_what_has_landed_nothing_is_compared_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    random_ = random.Random(harm)
    world = ComparingWorld(tmp_path, monkeypatch, "numbers")
    world.things.change(random_, *range(12))
    world.run()
    world.things.change(random_, 3, 4)
    world.run()
    setting = world.entity.deletes
    world.entity = replace(world.entity, deletes=DeletesSettings())
    HARM_TO_KEYS[harm](world)
    world.entity = replace(world.entity, deletes=setting, reload="drop")
    world.things.change(random_, 5)
    del world.things.rows[6]
    world.is_compared = False
    for _ in range(2):
        message = world.run()
        assert message.startswith("keys not compared, so that no deletes are known: ")
        assert "run_type full_drop" in message
    assert len(world.read()) == 12
    world.is_compared = True
    world.run("full_drop")
    del world.things.rows[7]
    world.things.change(random_, 8)
    assert "keys compared: 1 of 11" in world.run()
