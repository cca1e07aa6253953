"""A small keyed table in a file, so that several processes see its changes, and the home that reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from hygge_engine.homes.base import Batch, Column, CursorType, HighWater, Position, Table, Window

# A row as readers of the mirrored table see it: id, value, modified.
type Row = tuple[int, str, int]

COLUMNS = ("id", "value", "modified")


class Source:
    """The rows by id; ``modified`` counts the changes, so that every change moves it. One process writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.history: set[Row] = set()

    @property
    def rows(self) -> list[Row]:
        """All rows, by id."""
        return sorted(self._read()[1].values())

    @property
    def clock(self) -> int:
        return self._read()[0]

    def put(self, *ids: int) -> None:
        """Insert or update rows, all in one change."""
        clock, rows = self._read()
        self._write(clock + 1, rows | {id_: (id_, f"v{clock + 1}", clock + 1) for id_ in ids})

    def put_late(self, *ids: int) -> None:
        """Insert rows that bear the time of the change before."""
        clock, rows = self._read()
        self._write(clock, rows | {id_: (id_, "late", clock) for id_ in ids})

    def remove(self, *ids: int) -> None:
        clock, rows = self._read()
        self._write(clock, {id_: row for id_, row in rows.items() if id_ not in ids})

    def _read(self) -> tuple[int, dict[int, Row]]:
        if not self._path.exists():
            return 0, {}
        document = json.loads(self._path.read_bytes())
        return document["clock"], {id_: (id_, value, modified) for id_, value, modified in document["rows"]}

    def _write(self, clock: int, rows: dict[int, Row]) -> None:
        self.history |= set(rows.values())
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"clock": clock, "rows": list(rows.values())}))
        os.replace(unfinished, self._path)


class SourceHome:
    """The source as a home that can resume by key. ``before_batch`` is called with the number of each batch."""

    def __init__(
        self, source: Source, *, batch_rows: int = 2, before_batch: Callable[[int], object] | None = None
    ) -> None:
        self._source = source
        self._batch_rows = batch_rows
        self._before_batch = before_batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def describe(self) -> Table:
        return Table(
            "dbo.things",
            (
                Column("id", pa.int64(), "bigint", nullable=False),
                Column("value", pa.string(), "nvarchar(20)"),
                Column("modified", pa.int64(), "bigint"),
            ),
            key=("id",),
        )

    def high_water(self, cursor: str) -> HighWater:
        values = [modified for _, _, modified in self._source.rows]
        top = max(values, default=None)
        return HighWater(None if top is None else str(top), "int", ties=values.count(top) if top is not None else 0)

    def count_at(self, cursor: str, value: str) -> int:
        return sum(modified == int(value) for _, _, modified in self._source.rows)

    def lower_with_lag(self, value: str, cursor_type: CursorType, lag_seconds: float) -> str:
        return str(int(value) - int(lag_seconds))

    def read(self, window: Window, after: Position | None = None) -> Generator[Batch]:
        rows = self._source.rows
        if window.upper is not None:
            rows = [row for row in rows if row[2] <= int(window.upper)]
        if window.lower is not None:
            lower = int(window.lower)
            rows = [row for row in rows if row[2] > lower or (window.lower_inclusive and row[2] == lower)]
            rows.sort(key=lambda row: (row[2], row[0]))
            if after is not None:
                rows = [row for row in rows if (row[2], row[0]) > (int(after[0]), int(after[1]))]
        elif after is not None:
            rows = [row for row in rows if row[0] > int(after[-1])]
        for number, start in enumerate(range(0, len(rows), self._batch_rows)):
            if self._before_batch is not None:
                self._before_batch(number)
            part = rows[start : start + self._batch_rows]
            records = [dict(zip(COLUMNS, row, strict=True)) for row in part]
            batch = pa.RecordBatch.from_pylist(records, schema=self.describe().schema)
            id_, _, modified = part[-1]
            yield Batch(batch, [str(id_)] if window.lower is None else [str(modified), str(id_)])
