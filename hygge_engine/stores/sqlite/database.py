"""A SQLite file in WAL mode: readers go on reading what was committed while a load writes.

SQLite takes one writer at a time. Rows are staged batch by batch in short transactions, so that the tables of a load
take turns; what makes a slice visible is one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from hygge_engine.errors import StoreError
from hygge_engine.retry import call_with_retries
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.database.base import DELETED, LANDING_TABLE, ROW_NUMBER, STAGE_MARK, Database, StoredState
from hygge_engine.stores.sqlite.errors import translate
from hygge_engine.stores.sqlite.types import declared_type, rows_of

# How long a statement waits for another writer: longer than staging a batch takes, and than publishing all but very
# large slices.
BUSY_SECONDS = 30.0


class SqliteDatabase(Database):
    """The database in a file, which the first write creates together with its directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        """This machine's clock: a SQLite file in WAL mode cannot be shared between machines."""
        return datetime.now(UTC)

    def read_state(self, name: str) -> StoredState | None:
        if not self.has_table(LANDING_TABLE):
            return None
        with self._connected("reading the landing state") as connection:
            select = f"SELECT state, nonce FROM {LANDING_TABLE} WHERE name = ?"  # noqa: S608 - a constant of ours
            found = connection.execute(select, (name,)).fetchone()
        return None if found is None else StoredState(*found)

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        with self._connected("writing") as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield SqliteTransaction(connection)
            connection.execute("COMMIT")  # otherwise closing the connection undoes it

    def has_table(self, table: str) -> bool:
        if not self._path.exists():
            return False
        with self._connected(f"looking for the table {table}") as connection:
            return bool(_columns(connection, table))

    def create_stage(self, stage: str, schema: pa.Schema, key: Sequence[str]) -> SqliteInserter:
        columns = [_declaration(field, required=field.name in key) for field in schema]
        numbered = ", ".join([f"{quote(ROW_NUMBER)} INTEGER PRIMARY KEY", *columns])
        call_with_retries(lambda: self._execute(f"CREATE TABLE {quote(stage)} ({numbered})", f"creating {stage}"))
        return SqliteInserter(self, stage, schema)

    def stages(self, table: str) -> list[str]:
        if not self._path.exists():
            return []
        prefix = f"{table}{STAGE_MARK}"
        select = "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, ?) = ?"
        with self._connected(f"listing the stages of {table}") as connection:
            return [str(name) for (name,) in connection.execute(select, (len(prefix), prefix))]

    def drop_stage(self, stage: str) -> None:
        call_with_retries(lambda: self._execute(f"DROP TABLE IF EXISTS {quote(stage)}", f"dropping {stage}"))

    def read_back(self, table: str) -> ReadBack:
        from hygge_engine.stores.sqlite.reading import SqliteReadBack

        return SqliteReadBack(self._path, table)

    def insert(self, stage: str, schema: pa.Schema, batch: pa.RecordBatch) -> None:
        """Add a batch to a stage, in a transaction of its own."""
        names = ", ".join(quote(name) for name in schema.names)
        places = ", ".join("?" * len(schema.names))
        insert = f"INSERT INTO {quote(stage)} ({names}) VALUES ({places})"  # noqa: S608 - names are quoted
        rows = rows_of(batch)
        with self._connected(f"staging rows in {stage}") as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows)
            connection.execute("COMMIT")

    def _execute(self, statement: str, doing: str) -> None:
        with self._connected(doing) as connection:
            connection.execute(statement)

    @contextmanager
    def _connected(self, doing: str) -> Iterator[sqlite3.Connection]:
        doing = f"{self._path.name}: {doing}"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                yield connection
        except sqlite3.Error as error:
            raise translate(error, doing) from error
        except OSError as error:
            raise StoreError(f"{doing}: {error.strerror}", hint="Check the store's path.") from error


class SqliteInserter:
    """Adds batches to one stage."""

    def __init__(self, database: SqliteDatabase, stage: str, schema: pa.Schema) -> None:
        self._database = database
        self._stage = stage
        self._schema = schema

    def insert(self, batch: pa.RecordBatch) -> None:
        call_with_retries(lambda: self._database.insert(self._stage, self._schema, batch))

    def close(self) -> None:
        return


class SqliteTransaction:
    """What happens between BEGIN IMMEDIATE and COMMIT; SQLite's errors are translated around it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def replace_state(self, name: str, state: StoredState, previous: str | None) -> str | None:
        execute = self._connection.execute
        execute(
            f"CREATE TABLE IF NOT EXISTS {LANDING_TABLE} "
            "(name TEXT PRIMARY KEY, nonce TEXT NOT NULL, state TEXT NOT NULL)"
        )
        if previous is None:
            insert = f"INSERT OR IGNORE INTO {LANDING_TABLE} (name, nonce, state) VALUES (?, ?, ?)"  # noqa: S608
            execute(insert, (name, state.nonce, state.document))
        else:
            update = f"UPDATE {LANDING_TABLE} SET nonce = ?, state = ? WHERE name = ? AND nonce = ?"  # noqa: S608
            execute(update, (state.nonce, state.document, name, previous))
        found = execute(f"SELECT nonce FROM {LANDING_TABLE} WHERE name = ?", (name,)).fetchone()  # noqa: S608
        return None if found is None else str(found[0])

    def merge(self, stage: str, table: str, schema: pa.Schema, key: Sequence[str]) -> None:
        known = {name.casefold() for name, *_ in _columns(self._connection, table)}
        if not known:
            self._create(table, schema, key)
        for field in schema:
            if known and field.name.casefold() not in known:
                self._connection.execute(f"ALTER TABLE {quote(table)} ADD COLUMN {_declaration(field)}")
        self._move(stage, table, schema, key)

    def replace(self, stages: Sequence[str], table: str, schema: pa.Schema, key: Sequence[str]) -> None:
        """A table that has the columns already is emptied, so that its indexes, triggers and views stay."""
        if _columns(self._connection, table) == _wanted(schema, key):
            self._connection.execute(f"DELETE FROM {quote(table)}")  # noqa: S608 - names are quoted
        else:
            self._connection.execute(f"DROP TABLE IF EXISTS {quote(table)}")
            self._create(table, schema, key)
        for stage in stages:
            self._move(stage, table, schema, key)

    def _create(self, table: str, schema: pa.Schema, key: Sequence[str]) -> None:
        columns = [_declaration(field, required=field.name in key) for field in schema]
        if key:
            columns.append(f"PRIMARY KEY ({', '.join(quote(name) for name in key)})")
        self._connection.execute(f"CREATE TABLE {quote(table)} ({', '.join(columns)})")

    def _move(self, stage: str, table: str, schema: pa.Schema, key: Sequence[str]) -> None:
        """A row replaces the one with its key, the last one staged before it included. What is deleted in the end goes
        last, so that a row may have come before, or come back."""
        execute = self._connection.execute
        names = ", ".join(quote(name) for name in schema.names)
        marked = any(name == DELETED for name, *_ in _columns(self._connection, stage))
        kept = f"WHERE NOT {quote(DELETED)} " if marked else ""
        execute(
            f"INSERT OR REPLACE INTO {quote(table)} ({names}) "  # noqa: S608 - names are quoted
            f"SELECT {names} FROM {quote(stage)} {kept}ORDER BY {quote(ROW_NUMBER)}"
        )
        if marked:
            keys = ", ".join(quote(name) for name in key)
            # Beside MAX, SQLite takes the other columns from the row that has it.
            last = f"SELECT {keys}, {quote(DELETED)}, MAX({quote(ROW_NUMBER)}) FROM {quote(stage)} GROUP BY {keys}"  # noqa: S608
            execute(
                f"DELETE FROM {quote(table)} WHERE ({keys}) IN "  # noqa: S608 - names are quoted
                f"(SELECT {keys} FROM ({last}) WHERE {quote(DELETED)})"
            )
        execute(f"DROP TABLE {quote(stage)}")


def quote(name: str) -> str:
    """``name`` as a delimited identifier."""
    return '"' + name.replace('"', '""') + '"'


def _declaration(field: pa.Field[pa.DataType], *, required: bool = False) -> str:
    return f"{quote(field.name)} {declared_type(field.type)}{' NOT NULL' if required else ''}"


# Name, declared type, whether it may not be NULL, and the place in the primary key, from 1.
type _Column = tuple[str, str, int, int]


def _columns(connection: sqlite3.Connection, table: str) -> list[_Column]:
    """The columns of a table, in order; none where there is no such table."""
    select = 'SELECT name, type, "notnull", pk FROM pragma_table_info(?)'
    return [(name, type_, required, place) for name, type_, required, place in connection.execute(select, (table,))]


def _wanted(schema: pa.Schema, key: Sequence[str]) -> list[_Column]:
    places = {name: place for place, name in enumerate(key, start=1)}
    return [
        (field.name, declared_type(field.type), int(field.name in places), places.get(field.name, 0))
        for field in schema
    ]
