"""Tables whose keys and values some comparison takes for the same, read in an order that nobody knows."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from hygge_engine.homes.base import Batch, Column, HighWater, Position, ReadWindow, SourceSchema

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
    """Rows by number, which the key is made of; they are read in an order that nobody knows. Those that are ``hidden``
    are passed over where all rows or their keys are read, and found nevertheless."""

    keys: tuple[tuple[pa.DataType, Callable[[int], Any]], ...]
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    clock: int = 0
    before_batch: Callable[[int], object] = lambda number: None
    hidden: set[int] = field(default_factory=set)

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
        return sum(batch.rows.num_rows for batch in self._read(window, None, frozenset()))

    def count_at(self, cursor: str, value: str) -> int:
        return sum(row["modified"] == int(value) for row in self.rows.values())

    def read_keys(self, columns: Sequence[str], after: Position | None = None) -> Generator[Batch]:
        for batch in self.read(ReadWindow(), after):
            yield Batch(batch.rows.select(list(columns)), batch.position)

    def find_rows(self, keys: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
        wanted = {repr(key) for key in keys.to_pylist()}
        there = self.table(list(self.rows)).select(keys.schema.names).to_pylist()
        found = [number for number, key in zip(self.rows, there, strict=True) if repr(key) in wanted]
        return self.table(found).select(list(columns))

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        yield from self._read(window, after, self.hidden if window.lower is None else frozenset())

    def _read(self, window: ReadWindow, after: Position | None, hidden: Collection[int]) -> Generator[Batch]:
        lower = int(window.lower) if window.lower is not None else -1
        upper = int(window.upper) if window.upper is not None else None

        def is_wanted(number: int) -> bool:
            at = self.rows[number]["modified"] if number in self.rows else -2
            above = lower < at or (window.lower_inclusive and at == lower)
            return above and (upper is None or at <= upper)

        numbers = sorted(self.rows, key=lambda number: hashlib.md5(str(number).encode()).digest())
        for start in range(int(after[0]) if after else 0, len(numbers), BATCH_ROWS):
            self.before_batch(start // BATCH_ROWS)
            part = [number for number in numbers[start : start + BATCH_ROWS] if is_wanted(number)]
            part = [number for number in part if number not in hidden]
            yield Batch(self.table(part), [str(start + BATCH_ROWS)])
