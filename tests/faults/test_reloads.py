"""Reloads by difference: whatever the keys are, and whatever has become of what was remembered of the table, it is as
its source afterwards."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hygge_engine.homes.base import Batch, Column, HighWater, Position, ReadWindow, SourceSchema
from hygge_engine.project.models.project import WatermarkSettings
from hygge_engine.stores.landing.state import StagedFile
from tests.faults.world import World

BATCH_ROWS = 4

# Values that some comparison takes for the same, and another does not.
TEXTS = ("a", "A", "a ", "ä", "a\u0308", "ß", "ss", "I", "\u0131", "", " ", "\0", "🙂", "0", "00")
FLOATS = (0.0, -0.0, 1.5, float("inf"), float("nan"), 1e-300, None)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)

KEYS: Mapping[str, tuple[tuple[pa.DataType, Callable[[int], Any]], ...]] = {
    "numbers": ((pa.int64(), lambda n: n - 7),),
    "texts": ((pa.string(), lambda n: TEXTS[n % len(TEXTS)] + "x" * (n // len(TEXTS))),),
    "floats": ((pa.float64(), lambda n: float(n) / 3 - 2),),
    "decimals and days": (
        (pa.decimal128(38, 4), lambda n: Decimal(n % 5) / 10_000),
        (pa.date32(), lambda n: date(1, 1, 1) + timedelta(days=n // 5)),
    ),
    "instants": ((pa.timestamp("us", tz="UTC"), lambda n: NOON - timedelta(microseconds=n)),),
    "guids and bytes": (
        (pa.string(), lambda n: str(UUID(int=n % 3)).upper()),
        (pa.binary(), lambda n: b"\0" * (n // 3)),
        (pa.bool_(), lambda n: n % 2 == 0),
    ),
}


@dataclass
class HostileTable:
    """Rows by number, which the key is made of; they are read in an order that nobody knows."""

    keys: tuple[tuple[pa.DataType, Callable[[int], Any]], ...]
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    clock: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(f"k{place}" for place in range(len(self.keys)))

    @property
    def schema(self) -> pa.Schema:
        names: dict[str, pa.DataType] = dict(zip(self.key, (type_ for type_, _ in self.keys), strict=True))
        others: dict[str, pa.DataType] = {
            "modified": pa.int64(),
            "text": pa.string(),
            "real": pa.float64(),
            "flag": pa.bool_(),
        }
        return pa.schema(names | others)

    def change(self, random_: random.Random, *numbers: int, silent: bool = False) -> None:
        self.clock += not silent
        for number in numbers:
            key = {name: make(number) for name, (_, make) in zip(self.key, self.keys, strict=True)}
            values = {"text": random_.choice([None, *TEXTS]), "real": random_.choice(FLOATS)}
            at = self.rows[number]["modified"] if silent and number in self.rows else self.clock
            self.rows[number] = {**key, **values, "flag": random_.choice([None, True, False]), "modified": at}

    def table(self, numbers: list[int]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([self.rows[number] for number in numbers], schema=self.schema)

    def __enter__(self) -> HostileTable:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def describe(self) -> SourceSchema:
        columns = tuple(Column(each.name, each.type, str(each.type)) for each in self.schema)
        return SourceSchema("dbo.things", columns, key=self.key)

    def high_water(self, cursor: str) -> HighWater:
        values = [row["modified"] for row in self.rows.values()]
        top = max(values, default=None)
        return HighWater(None if top is None else str(top), "int", ties=values.count(top) if top is not None else 0)

    def count(self, window: ReadWindow) -> int:
        return sum(batch.rows.num_rows for batch in self.read(window))

    def count_at(self, cursor: str, value: str) -> int:
        return sum(row["modified"] == int(value) for row in self.rows.values())

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        lower = int(window.lower) if window.lower is not None else -1
        upper = int(window.upper) if window.upper is not None else self.clock
        numbers = [
            number
            for number, row in self.rows.items()
            if (lower < row["modified"] or (window.lower_inclusive and row["modified"] == lower))
            and row["modified"] <= upper
        ]
        numbers.sort(key=lambda number: hashlib.md5(str(number).encode()).digest())
        for start in range(int(after[0]) if after else 0, len(numbers), BATCH_ROWS):
            yield Batch(self.table(numbers[start : start + BATCH_ROWS]), [str(start + BATCH_ROWS)])


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
        if run_type == "full_drop" or self.is_followed:
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

    def read(self) -> list[str]:
        """The mirrored table, with all bits of its values."""
        self.tick()
        self.tick()
        try:
            table = self.replicator.table("dbo", "things")
        except KeyError:
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


@pytest.mark.parametrize("keys", KEYS)
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
