"""``home: {type: sqlite_file, path: shop.db, table: orders}``: a table of a SQLite file, read in slices."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa

from hygge_engine.errors import CursorUnusable, HomeError, HomeNotFound, HomeUnavailable
from hygge_engine.homes.base import Batch, Column, HighWater, Position, ReadWindow, SourceSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelf import SqliteFileSettings

    from hygge_engine.project import Entity, Project

# By the first letters of a declared type; everything else is text.
TYPES: dict[str, pa.DataType] = {
    "INT": pa.int64(),
    "REA": pa.float64(),
    "FLO": pa.float64(),
    "DOU": pa.float64(),
    "BLO": pa.binary(),
}


def open_home(settings: SqliteFileSettings, project: Project, entity: Entity) -> SqliteFileHome:
    """The opener: called by the engine for each slice."""
    return SqliteFileHome(project.directory / settings.path, settings.table, settings.batch_rows)


class SqliteFileHome:
    """One table; a `hygge_engine.homes.base.Home`."""

    def __init__(self, path: Path, table: str, batch_rows: int) -> None:
        self._path = path
        self._table = table
        self._batch_rows = batch_rows

    def __enter__(self) -> Self:
        if not self._path.is_file():
            raise HomeNotFound(f"There is no file {self._path}.", hint="Check the home's path.")
        self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def describe(self) -> SourceSchema:
        """From the catalogue, never from data: the same types whatever the rows hold."""
        found = self._ask("SELECT name, type, pk FROM pragma_table_info(?)", [self._table])
        if not found:
            raise HomeNotFound(f"There is no table {self._table} in {self._path.name}.", hint="Check the home's table.")
        columns = [Column(name, TYPES.get(kind[:3].upper(), pa.string()), kind or "ANY") for name, kind, _ in found]
        key = sorted((place, name) for name, _, place in found if place)
        return SourceSchema(self._table, tuple(columns), tuple(name for _, name in key))

    def high_water(self, cursor: str) -> HighWater:
        """The largest value, and how many rows have it: fixed before the first row is read."""
        column = next((each for each in self.describe().columns if each.name == cursor), None)
        if column is None or column.type not in (pa.int64(), pa.string()):
            raise CursorUnusable(f"{self._table}.{cursor} is no column of numbers or text.", hint="Name another one.")
        select = f"SELECT MAX({_quote(cursor)}), SUM({_quote(cursor)} IS NULL) FROM {_quote(self._table)}"
        ((top, nulls),) = self._ask(select)
        kind: Literal["int", "string"] = "int" if column.type == pa.int64() else "string"
        ties = 0 if top is None else self.count_at(cursor, str(top))
        return HighWater(None if top is None else str(top), kind, ties=ties, null_cursors=nulls or 0)

    def count(self, window: ReadWindow) -> int:
        where, bounds = self._conditions(window)
        select = f"SELECT COUNT(*) FROM {_quote(self._table)}"
        ((count,),) = self._ask(f"{select} WHERE {' AND '.join(where)}" if where else select, bounds)
        return int(count)

    def count_at(self, cursor: str, value: str) -> int:
        ((count,),) = self._ask(
            f"SELECT COUNT(*) FROM {_quote(self._table)} WHERE {_quote(cursor)} = ?", [self._bound(cursor, value)]
        )
        return int(count)

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        """In the order of the key, so that a slice can go on after any row."""
        table = self.describe()
        where, bounds = self._conditions(window)
        keys = ", ".join(_quote(name) for name in table.key)
        if after is not None:
            where.append(f"({keys}) > ({', '.join('?' * len(table.key))})")
            bounds += [self._bound(name, value) for name, value in zip(table.key, after, strict=True)]
        names = ", ".join(_quote(column.name) for column in table.columns)
        select = f"SELECT {names} FROM {_quote(self._table)}"
        select += f" WHERE {' AND '.join(where)}" if where else ""
        select += f" ORDER BY {keys}" if keys else ""
        places = [table.schema.names.index(name) for name in table.key]
        with self._errors():
            rows = self._connection.execute(select, bounds)
            while part := rows.fetchmany(self._batch_rows):
                position = [str(part[-1][place]) for place in places] or None
                yield Batch(_batch(part, table.schema), position)

    def _conditions(self, window: ReadWindow) -> tuple[list[str], list[object]]:
        where: list[str] = []
        bounds: list[object] = []
        if window.cursor is None:
            return where, bounds
        cursor = _quote(window.cursor)
        if window.lower is not None:
            where.append(f"{cursor} {'>=' if window.lower_inclusive else '>'} ?")
            bounds.append(self._bound(window.cursor, window.lower))
        if window.upper is not None:
            # From the beginning: rows whose cursor is NULL, too.
            where.append(f"({cursor} <= ?{'' if window.lower is not None else f' OR {cursor} IS NULL'})")
            bounds.append(self._bound(window.cursor, window.upper))
        return where, bounds

    def _bound(self, name: str, text: str) -> object:
        column = next(each for each in self.describe().columns if each.name == name)
        return int(text) if column.type == pa.int64() else text

    def _ask(self, sql: str, bounds: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._connection.execute(sql, bounds).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What passes by itself is HomeUnavailable and tried again; the driver's error stays the cause."""
        try:
            yield
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            raise (HomeUnavailable if busy else HomeError)(f"{self._path.name}: {error}") from error
        except sqlite3.Error as error:
            raise HomeError(f"{self._path.name}: {error}") from error


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    try:
        arrays = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise HomeError(
            f"A value does not fit its column's declared type: {error}", hint="Cast it in a view."
        ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
