"""A table of a SQLite file, read in one transaction: what a load commits meanwhile is not seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from hygge_engine.letter_case import in_ascii_case
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.sqlite.statements import quote

BATCH_ROWS = 20_000


class SqliteReadBack(ReadBack):
    """The table ``table`` of a database, which ``connect`` opens read-only; it gives None where there is none."""

    floats = "without NaN"  # which SQLite stores as NULL

    def __init__(self, connect: Callable[[], AbstractContextManager[sqlite3.Connection | None]], table: str) -> None:
        self._connect = connect
        self._table = table

    def count(self) -> int:
        with self._connect() as connection:
            if connection is None or not _columns(connection, self._table):
                return 0
            return int(connection.execute(f"SELECT count(*) FROM {quote(self._table)}").fetchone()[0])  # noqa: S608

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        with self._connect() as connection:
            if connection is None:
                return
            there = _columns(connection, self._table)
            names = [name for name in columns if in_ascii_case(name) in there]
            if not names:
                return
            selected = ", ".join(quote(name) for name in names)
            cursor = connection.execute(f"SELECT {selected} FROM {quote(self._table)}")  # noqa: S608 - quoted
            while rows := cursor.fetchmany(BATCH_ROWS):
                columns_ = [_array(values) for values in zip(*rows, strict=True)]
                yield pa.RecordBatch.from_arrays(columns_, names)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table without regard to case; none where there is no such table."""
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return {in_ascii_case(str(name)) for (name,) in found}


def _array(values: Sequence[Any]) -> pa.Array[Any]:
    """A column of one type, or its values as text: SQLite accepts any value in a column."""
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1:
        return pa.array([None if value is None else _text(value) for value in values], pa.string())
    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}
    return pa.array(values, types[kinds.pop()] if kinds else pa.null())


def _text(value: Any) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
