"""A world whose source is a hostile table, and what may become of what is remembered of it."""

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
        self.edit_state(snapshot=json.loads((self.root / self.layout.state).read_bytes())["snapshot"] | changes)

    def edit_state(self, **changes: object) -> None:
        path = self.root / self.layout.state
        path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


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
