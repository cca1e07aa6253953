"""What a home and a store promise, as checks that a third party's tests can run: `docs/extending.md`.

Each raises AssertionError with what was promised and what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa

from hygge_engine.errors import LandingBusy, LandingFenced
from hygge_engine.homes.base import Batch, Divides, Home, ReadWindow
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.state import Mode, OpenLoad, Phase, StagedFile

# The table that `check_store` lands.
_COLUMNS: dict[str, pa.DataType] = {"id": pa.int64(), "value": pa.string()}
SCHEMA = pa.schema(_COLUMNS)


def check_home(open_home: Callable[[], Home], *, cursor: str = "") -> None:
    """Check a home over a source that does not change meanwhile, with at least three batches' worth of rows.

    With ``cursor``, the name of a column, increments by it are checked too.
    """
    with open_home() as home:
        table = home.describe()
        _expect(table == home.describe(), "describe() says the same each time", "it does not")
        unknown = set(table.key) - set(table.schema.names)
        _expect(not unknown, "the key's columns are columns of the table", f"{sorted(unknown)} are none")
        whole = list(home.read(ReadWindow()))
        _expect(len(whole) >= 3, "the source has three batches' worth of rows", f"{len(whole)} batches")
        for batch in whole:
            _expect(batch.rows.schema.equals(table.schema), "each batch has the table's schema", str(batch.rows.schema))
            _expect(batch.rows.num_rows > 0, "no batch is empty", "one is")
        rows = _rows(whole)
        counted = home.count(ReadWindow())
        _expect(counted == len(rows), "count() counts what read() yields", f"{counted}, {len(rows)}")
    if table.key:
        keys = [tuple(row[name] for name in table.key) for row in rows]
        _expect(len(set(keys)) == len(keys), "the key is unique", "two rows share one")
        _expect(whole[0].position is not None, "a table with a key can be resumed", "there is no position")
    if whole[0].position is not None:
        _check_positions(open_home, ReadWindow(), whole)
    _check_shares(open_home, rows)
    if cursor:
        _check_cursor(open_home, cursor, rows)


def _check_positions(open_home: Callable[[], Home], window: ReadWindow, whole: Sequence[Batch]) -> None:
    for number, batch in enumerate(whole):
        position = batch.position
        _expect(position is not None, "each batch has a position, or none has", "one has none")
        with open_home() as home:
            rest = _rows(home.read(window, position))
        expected = _rows(whole[number + 1 :])
        _expect(rest == expected, f"after {position} the same rows follow as before", f"{len(rest)}, {len(expected)}")


def _check_shares(open_home: Callable[[], Home], rows: Sequence[Mapping[str, Any]]) -> None:
    """Each share over a home of its own, the last one first."""
    with open_home() as home:
        shares = home.divide(ReadWindow(), 3) if isinstance(home, Divides) else []
    _expect(
        len(shares) in (0, 2, 3), "divide() returns two shares or more, as many as wanted at most", f"{len(shares)}"
    )
    found: list[Mapping[str, Any]] = []
    for share in reversed(shares):
        with open_home() as home:
            found += _rows(home.read(ReadWindow(), share))
    if shares:
        _expect(_sorted(found) == _sorted(rows), "shares have each row once", f"{len(found)} of {len(rows)} rows")


def _check_cursor(open_home: Callable[[], Home], cursor: str, rows: Sequence[Mapping[str, Any]]) -> None:
    with open_home() as home:
        high = home.high_water(cursor)
        _expect(high.value is not None, f"{cursor} has a largest value", "none")
        counted = home.count_at(cursor, high.value or "")
        _expect(counted == high.ties, "count_at() counts the ties of high_water()", f"{counted}, {high.ties}")
        newer = home.count(ReadWindow(cursor, high.value, None))
        _expect(newer == 0, "count() counts the rows of a window", f"{newer} rows are newer than the upper bound")
        first = list(home.read(ReadWindow(cursor, None, high.value)))
        _expect(
            _sorted(_rows(first)) == _sorted(rows), "from the beginning to the upper bound are all rows", "they are not"
        )
        none = _rows(home.read(ReadWindow(cursor, high.value, high.value)))
        _expect(not none, "nothing is newer than the upper bound", f"{len(none)} rows")
        again = ReadWindow(cursor, high.value, high.value, lower_inclusive=True)
        ties = len(_rows(home.read(again)))
        _expect(ties == high.ties, "an inclusive lower bound reads its rows again", f"{ties} of {high.ties} rows")
    if first[0].position is not None:
        _check_positions(open_home, ReadWindow(cursor, None, high.value), first)


def check_store(
    open_table: Callable[[], Destination[Any]],
    read_back: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    key_columns: Sequence[str] = ("id",),
) -> None:
    """Check a store with a table that does not exist yet, of the columns in `SCHEMA`.

    ``open_table`` opens it again, as each slice does; ``read_back`` returns all rows that a reader sees.
    """
    merges = open_table().merges and bool(key_columns)
    key = tuple(key_columns)
    seen: list[dict[str, Any]] = []

    def expect(promise: str) -> None:
        found = [dict(row) for row in read_back()]
        _expect(_sorted(found) == _sorted(seen), promise, f"{_sorted(found)} instead of {_sorted(seen)}")

    def add(*rows: tuple[int, str]) -> None:
        new = _records(rows)
        if merges:
            seen[:] = [row for row in seen if row["id"] not in {each["id"] for each in new}]
        seen.extend(new)

    _expect(open_table().state() is None, "before the first load there is no landing state", "there is one")
    _land(open_table(), key, "initial", [(1, "a"), (2, "b")])
    add((1, "a"), (2, "b"))
    expect("the rows of the first load are there")

    _land(open_table(), key, "changes", [(2, "c"), (3, "d")])
    add((2, "c"), (3, "d"))
    expect("an increment replaces rows by key where the store merges, and is added where it does not")

    destination = open_table()
    lease = _begin(destination, "abandoned", key, "changes")
    writer = destination.writer(lease, SCHEMA, marked=True)
    writer.write(_batch([(9, "never")]))
    expect("staged rows are invisible")
    writer.abandon()
    lease.discard()
    lease.release()
    expect("abandoned rows never appear")

    _check_slices(open_table, key)
    add((4, "e"), (5, "f"))
    expect("all slices of a load are there")

    _check_ownership(open_table, key)
    add((6, "g"))
    expect("an attempt that was taken over lands nothing, and its successor lands once")

    _land(open_table(), key, "reload", [(7, "h")])
    seen[:] = _records([(7, "h")])
    expect("a reload replaces all rows")
    _land(open_table(), key, "reload", [])
    seen.clear()
    expect("a reload of nothing leaves nothing")
    _land(open_table(), key, "initial", [(8, "i")])
    add((8, "i"))
    expect("a table that was emptied takes rows again")


def _check_slices(open_table: Callable[[], Destination[Any]], key: tuple[str, ...]) -> None:
    destination = open_table()
    lease = _begin(destination, "sliced", key, "changes")
    destination.publish(lease, _stage(destination, lease, [(4, "e")]), position=["4"], last=False)
    destination = open_table()
    lease = destination.attach("sliced", 2)
    position = lease.open.position if lease.open else None
    _expect(position == ["4"], "the next slice finds the position that was committed", str(position))
    lease.take_over()
    destination.publish(lease, _stage(destination, lease, [(5, "f")]), position=None, last=True)
    finished = open_table().attach("sliced", 3).own_result
    _expect(finished is not None and finished.rows == 2, "a load that ended keeps its totals", str(finished))


def _check_ownership(open_table: Callable[[], Destination[Any]], key: tuple[str, ...]) -> None:
    destination = open_table()
    zombie = _begin(destination, "twice", key, "changes")
    staged = _stage(destination, zombie, [(6, "zombie")])
    try:
        open_table().attach("another", 1)
    except LandingBusy:
        pass
    else:
        raise AssertionError("promised: a table that a load owns is refused to another; found: it was not")
    table_again = open_table()
    successor = table_again.attach("twice", 2)
    successor.take_over()
    try:
        destination.publish(zombie, staged, position=None, last=True)
    except LandingFenced:
        pass
    else:
        raise AssertionError("promised: who was taken over raises LandingFenced; found: it landed")
    table_again.publish(successor, _stage(table_again, successor, [(6, "g")]), position=None, last=True)


def _land(destination: Destination[Any], key: tuple[str, ...], mode: Mode, rows: Sequence[tuple[int, str]]) -> None:
    """A load in one slice, as the flow makes it."""
    lease = _begin(destination, uuid4().hex, key, mode)
    files = _stage(destination, lease, rows)
    if mode != "reload":
        destination.publish(lease, files, position=None, last=True)
        return
    lease.write_changes(staged=tuple(files), phase="dropping")
    _expect(destination.drop(lease), "a table without readers can be dropped", "it cannot")
    _expect(destination.drop_wait(lease) is None, "nothing has to be waited for here", "something has")
    if files:
        destination.publish(lease, files, position=None, last=True, new_generation=True)
    else:
        destination.clear(lease)


def _begin(destination: Destination[Any], load_id: str, key: tuple[str, ...], mode: Mode) -> TableLease:
    lease: TableLease = destination.attach(load_id, 1)
    if mode != "reload":
        destination.check_history(lease)
    phase: Phase = "staging" if mode == "reload" else "landing"
    opened = OpenLoad(load_id=load_id, mode=mode, phase=phase, started=datetime.now(UTC).isoformat())
    lease.begin(opened, key_columns=key, columns={field.name: str(field.type) for field in SCHEMA})
    return lease


def _stage(destination: Destination[Any], lease: TableLease, rows: Sequence[tuple[int, str]]) -> list[StagedFile]:
    marked = lease.open is not None and lease.open.mode == "changes"
    writer = destination.writer(lease, SCHEMA, marked=marked)
    for row in rows:
        writer.write(_batch([row]))
    return writer.finish()


def _batch(rows: Sequence[tuple[int, str]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(_records(rows), schema=SCHEMA)


def _records(rows: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    return [{"id": id_, "value": value} for id_, value in rows]


def _rows(batches: Iterable[Batch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.rows.to_pylist()]


def _sorted(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(str(sorted(row.items())) for row in rows)


def _expect(kept: bool, promise: str, found: str) -> None:
    if not kept:
        raise AssertionError(f"promised: {promise}; found: {found}")
