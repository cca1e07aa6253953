"""Reloads by difference: whatever the keys are, and whatever has become of what was remembered of the table, it is as
its source afterwards."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hygge_engine.project.models.project import WatermarkSettings
from hygge_engine.stores.landing.state import StagedFile
from tests.faults.world import World
from tests.support.hostile_table import KEYS, HostileTable


class ReloadWorld(World):
    """A world whose source is a hostile table, and whose reloads land what differs."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, keys: str, *, in_slices: bool = False) -> None:
        super().__init__(root, monkeypatch, slice_minutes=1e-9 if in_slices else 4)
        self.settings = self.settings.model_copy(update={"key_columns": ()})
        self.entity = replace(
            self.entity, store=self.settings, watermark=WatermarkSettings(column="modified"), reload="difference"
        )
        self.things = HostileTable(KEYS[keys])
        self.home = cast("Any", self.things)
        self._loads = 0

    def run(self, run_type: str) -> str:
        """Load, compare, and return the journal's message."""
        self._loads += 1
        self._run_type = cast("Any", run_type)
        before = self.state() if self._loads > 1 else None
        result = self.load(f"load{self._loads}")
        assert result.status == "done", result
        state = self.state()
        if self.is_compared and (run_type == "full_drop" or self.is_followed):
            assert self.read() == sorted(map(repr, self.things.table(list(self.things.rows)).to_pylist()))
        if "by difference: 0 new or changed, 0 deleted" in result.message:
            assert before is not None
            assert (result.rows, state.next_sequence) == (0, before.next_sequence), "nothing differs"
        if result.message.startswith("reloaded by difference"):
            assert before is not None
            assert state.generation == before.generation, "the table was never dropped"
        assert len(state.snapshot.files if state.snapshot else ()) < 8
        return result.message

    is_followed = True
    is_compared = True

    def read(self) -> list[str]:
        """The mirrored table, with all bits of its values."""
        table = self.followed()
        if table is None:
            return []
        return sorted(map(repr, table.select(self.things.schema.names).cast(self.things.schema).to_pylist()))

    @property
    def files(self) -> list[Path]:
        """The files of the snapshot, older ones first."""
        snapshot = self.state().snapshot
        return [self.root / file.staged for file in snapshot.files] if snapshot is not None else []

    def edit_snapshot(self, **changes: object) -> None:
        path = self.root / self.layout.state
        document = json.loads(path.read_bytes())
        document["snapshot"] |= changes
        path.write_text(json.dumps(document))


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


def _lose(world: ReloadWorld) -> None:
    world.files[0].unlink()


def _truncate(world: ReloadWorld) -> None:
    world.files[0].write_bytes(world.files[0].read_bytes()[:-20])


def _garble(world: ReloadWorld) -> None:
    data = bytearray(world.files[-1].read_bytes())
    data[len(data) // 2] ^= 1
    world.files[-1].write_bytes(data)


def _swap(world: ReloadWorld) -> None:
    first, *_, last = world.files
    before = first.read_bytes()
    first.write_bytes(last.read_bytes())
    last.write_bytes(before)


def _name_another_tables(world: ReloadWorld) -> None:
    """The state itself names the file of another table, hash and all."""
    data = pa.BufferOutputStream()
    pq.write_table(pa.table({"0": ["a"], "key": pa.array([1], pa.uint64())}), data)
    content = data.getvalue().to_pybytes()
    world.files[0].write_bytes(content)
    snapshot = world.state().snapshot
    assert snapshot is not None
    other = StagedFile(snapshot.files[0].staged, len(content), hashlib.sha256(content).hexdigest(), 1)
    world.edit_snapshot(files=[vars(other)])


def _age(world: ReloadWorld) -> None:
    snapshot = world.state().snapshot
    assert snapshot is not None
    world.edit_snapshot(made_of="0000000000000000/" + snapshot.made_of.partition("/")[2])


def _load_without(world: ReloadWorld) -> None:
    """An increment of a project that drops."""
    world.entity = replace(world.entity, reload="drop")
    world.things.change(random.Random(1), 1, 2)
    world.run("incremental")
    world.entity = replace(world.entity, reload="difference")


def _narrow(world: ReloadWorld) -> None:
    world.things.keys = ((pa.int32(), world.things.keys[0][1]),)


def _remove_the_folder(world: ReloadWorld) -> None:
    world.lake.delete_directory(world.layout.folder)


HARM: Mapping[str, tuple[Callable[[ReloadWorld], None], str]] = {
    "lost": (_lose, "is missing, or is not what was written"),
    "truncated": (_truncate, "is missing, or is not what was written"),
    "garbled": (_garble, "is missing, or is not what was written"),
    "swapped": (_swap, "is missing, or is not what was written"),
    "another table's": (_name_another_tables, "is of another table"),
    "of another version": (_age, "by another version of hygge-engine"),
    "not told of a load": (_load_without, "what has landed was not remembered"),
    "of other columns": (_narrow, "columns, key or polish are not those of what has landed"),
    "of a table that is gone": (_remove_the_folder, "is missing, though"),
}


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
