"""A small keyed table in a file, so that several processes see its changes, and the home that reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import pyarrow as pa

from hygge_engine.errors import HomeUnavailable
from hygge_engine.homes.base import Batch, Column, HighWater, Position, ReadWindow, SourceSchema
from hygge_engine.project.models.settings import CHANGE_CURSORS, CHANGE_DATA_CAPTURE, CHANGE_TRACKING

# A row as readers of the mirrored table see it: id, value, modified.
type Row = tuple[int, str, int]

COLUMNS = ("id", "value", "modified")

# The first text of a position in a range.
RANGE = "range"


class Content(NamedTuple):
    """``versions`` is what Change Tracking knows: the version of each row's last change, also of rows that are gone.
    ``narrow``: the time of change is an int now, and was a bigint. ``log`` is what change data capture has kept since
    ``floor``: by its number, each change of a row, None where it was deleted."""

    clock: int
    rows: dict[int, Row]
    versions: dict[int, int]
    narrow: bool = False
    log: tuple[tuple[int, int, Row | None], ...] = ()
    floor: int = 0

    @property
    def reached(self) -> int:
        """The number of the last change that is known."""
        return max((number for number, _, _ in self.log), default=self.floor)


class Source:
    """The rows by id; ``modified`` counts the changes, so that every change moves it. One process writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.history: set[Row] = set()

    @property
    def rows(self) -> list[Row]:
        """All rows, by id."""
        return sorted(self.content.rows.values())

    @property
    def clock(self) -> int:
        return self.content.clock

    def put(self, *ids: int, after: int | None = None) -> None:
        """Insert or update rows, all in one change, at the time after ``after``, else after the last one."""
        clock = (self.clock if after is None else after) + 1
        self._change({id_: (id_, f"v{clock}", clock) for id_ in ids}, clock)

    def put_values(self, values: dict[int, str]) -> None:
        """Insert or update rows with values of their own, all in one change."""
        clock = self.clock + 1
        self._change({id_: (id_, value, clock) for id_, value in values.items()}, clock)

    def put_late(self, *ids: int) -> None:
        """Insert rows that bear the time of the change before."""
        self._change({id_: (id_, "late", self.clock) for id_ in ids}, self.clock)

    def correct(self, *ids: int) -> None:
        """Give rows another value without changing the time of last change."""
        rows = self.content.rows
        self._change({id_: (id_, "corrected", rows[id_][2]) for id_ in ids if id_ in rows}, self.clock)

    def touch(self, *ids: int) -> None:
        """Change rows into what they are."""
        rows = self.content.rows
        self._change({id_: rows[id_] for id_ in ids if id_ in rows}, self.clock)

    def remove(self, *ids: int) -> None:
        self._change(dict.fromkeys(ids), self.clock)

    def restore(self, *ids: int) -> None:
        """Go back to the beginning of time, with these rows and no others: a truncated table, or a restored one."""
        self._change({**dict.fromkeys(self.content.rows), **{id_: (id_, "restored", 1) for id_ in ids}}, 1)

    def lose(self, *ids: int) -> None:
        """Remove rows while no changes are kept, and count versions from the beginning, as a restored database does."""
        self._change(dict.fromkeys(ids), self.clock, kept=False)

    def narrow(self) -> None:
        """Give a column another type."""
        self._change({}, self.clock, narrow=True)

    def _change(self, changes: dict[int, Row | None], clock: int, *, narrow: bool = False, kept: bool = True) -> None:
        before = self.content
        version = max(before.versions.values(), default=0) + 1
        rows = {id_: row for id_, row in (before.rows | changes).items() if row is not None}
        number = before.reached + 1
        log = [(number, id_, row) for id_, row in changes.items() if row is not None or id_ in before.rows]
        changed = {id_: version for id_, row in changes.items() if row is not None or id_ in before.rows}
        self.history |= set(rows.values())
        document = {
            "clock": clock,
            "rows": list(rows.values()),
            "versions": list((before.versions | changed).items()) if kept else [],
            "narrow": before.narrow or narrow,
            "log": [*before.log, *log] if kept else [],
            "floor": before.floor if kept else number,
        }
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(document))
        os.replace(unfinished, self._path)

    @property
    def content(self) -> Content:
        """All there is, in one snapshot."""
        if not self._path.exists():
            return Content(0, {}, {})
        document = json.loads(self._path.read_bytes())
        rows = {id_: (id_, value, modified) for id_, value, modified in document["rows"]}
        log = tuple(
            (number, id_, None if row is None else (row[0], row[1], row[2])) for number, id_, row in document["log"]
        )
        return Content(document["clock"], rows, dict(document["versions"]), document["narrow"], log, document["floor"])


class HasContent(Protocol):
    """A source in a file, or in memory."""

    @property
    def content(self) -> Content: ...


class SourceHome:
    """The source as a home that can resume by key. ``before_batch`` is called with the number of each batch. It is
    divided into ``ranges``."""

    def __init__(
        self,
        source: HasContent,
        *,
        batch_rows: int = 2,
        before_batch: Callable[[int], object] | None = None,
        ranges: int = 0,
    ) -> None:
        self._source = source
        self._batch_rows = batch_rows
        self._before_batch = before_batch
        self._ranges = ranges

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def describe(self) -> SourceSchema:
        return SourceSchema(
            "dbo.things",
            (
                Column("id", pa.int64(), "bigint", nullable=False),
                Column("value", pa.string(), "nvarchar(20)"),
                Column("modified", pa.int32(), "int")
                if self._source.content.narrow
                else Column("modified", pa.int64(), "bigint"),
            ),
            key=("id",),
        )

    @property
    def _rows(self) -> list[Row]:
        return sorted(self._source.content.rows.values())

    def high_water(self, cursor: str) -> HighWater:
        if cursor == CHANGE_TRACKING:
            return HighWater(str(max(self._source.content.versions.values(), default=0)), "version", oldest="0")
        if cursor == CHANGE_DATA_CAPTURE:
            content = self._source.content
            return HighWater(_lsn(content.reached), "binary", oldest=_lsn(content.floor))
        values = [modified for _, _, modified in self._rows]
        top = max(values, default=None)
        return HighWater(None if top is None else str(top), "int", ties=values.count(top) if top is not None else 0)

    def count(self, window: ReadWindow) -> int:
        return sum(batch.rows.num_rows for batch in self.read(window))

    def count_at(self, cursor: str, value: str) -> int:
        return sum(modified == int(value) for _, _, modified in self._rows)

    def divide(self, window: ReadWindow, parts: int | None = None) -> list[Position]:
        """Ranges that hold about as many of the ids each, as positions of three: a mark, after which id, up to which
        one."""
        ids, count = sorted(self._source.content.rows), parts or self._ranges
        bounds = sorted({ids[number * len(ids) // count] for number in range(1, count)}) if ids else []
        edges = ["", *map(str, bounds), ""]
        return [[RANGE, after, to] for after, to in pairwise(edges)] if len(edges) > 2 else []

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        if after is not None and after[0] == RANGE:
            yield from self._read_range(window, after)
            return
        if window.cursor in CHANGE_CURSORS:
            yield from self._read_tracked(window, after)
            return
        rows = self._rows
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
            id_, _, modified = part[-1]
            yield Batch(self._batch(part), [str(id_)] if window.lower is None else [str(modified), str(id_)])

    def read_keys(self, columns: Sequence[str], after: Position | None = None) -> Generator[Batch]:
        for batch in self.read(ReadWindow(), after):
            yield Batch(batch.rows.select(list(columns)), batch.position)

    def find_rows(self, keys: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
        there = self._source.content.rows
        found = sorted({key["id"] for key in keys.to_pylist()} & there.keys())
        return self._batch([there[id_] for id_ in found]).select(list(columns))

    def _read_range(self, window: ReadWindow, after: Position) -> Generator[Batch]:
        _, begin, end = after
        tracks = window.cursor in CHANGE_CURSORS
        rows = [row for row in self._rows if (not begin or row[0] > int(begin)) and (not end or row[0] <= int(end))]
        if window.upper is not None and not tracks:
            rows = [row for row in rows if row[2] <= int(window.upper)]
        if window.lower is not None:
            rows = [row for row in rows if row[2] >= int(window.lower) + (not window.lower_inclusive)]
        for number, start in enumerate(range(0, len(rows), self._batch_rows)):
            if self._before_batch is not None:
                self._before_batch(number)
            part = rows[start : start + self._batch_rows]
            yield Batch(self._batch(part), [RANGE, str(part[-1][0]), end])

    def _read_tracked(self, window: ReadWindow, after: Position | None) -> Generator[Batch]:
        """All rows where the window has no lower bound, else what changed in it, deleted rows by their key alone."""
        content = self._source.content
        there: Mapping[int, Row] = content.rows
        ids = sorted(there)
        if window.lower is not None and window.cursor == CHANGE_DATA_CAPTURE:
            last = _last_changes(content, window.lower, window.upper or window.lower)
            ids, there = sorted(last), {id_: row for id_, row in last.items() if row is not None}
        elif window.lower is not None:
            ids = [
                id_
                for id_, version in sorted(content.versions.items())
                if int(window.lower) < version <= int(window.upper or 0)
            ]
        ids = [id_ for id_ in ids if after is None or id_ > int(after[0])]
        for number, start in enumerate(range(0, len(ids), self._batch_rows)):
            if self._before_batch is not None:
                self._before_batch(number)
            part = ids[start : start + self._batch_rows]
            rows = [there[id_] for id_ in part if id_ in there]
            gone = [(id_, None, None) for id_ in part if id_ not in there]
            yield Batch(self._batch(rows), [str(part[-1])], deleted=self._batch(gone) if gone else None)

    def _batch(self, rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
        records = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return pa.RecordBatch.from_pylist(records, schema=self.describe().schema)


def _lsn(number: int) -> str:
    return f"0x{number:020X}"


def _last_changes(content: Content, lower: str, upper: str) -> dict[int, Row | None]:
    """Of each row that changed between two LSNs what it was at the last one, None where it was gone. Raises
    HomeUnavailable where changes since the first are not known any more."""
    first, last = int(lower, 16), int(upper, 16)
    if content.floor > first:
        raise HomeUnavailable("changes were cleaned up while they were read")
    return {id_: row for number, id_, row in content.log if first < number <= last}
