"""A SQLite file in WAL mode: readers keep reading what was committed while a load writes.

SQLite takes one writer at a time. Rows are staged batch by batch in short transactions, so that the tables of a load
take turns; what makes a slice visible is one transaction.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from hygge_engine.errors import LandingBroken, StoreError
from hygge_engine.lake.local_os import is_there
from hygge_engine.letter_case import in_ascii_case
from hygge_engine.project.models.disk import DiskReach
from hygge_engine.retry import call_with_retries
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.column_names import ColumnNames
from hygge_engine.stores.database.base import (
    COUNTED_ROWS,
    DELETED,
    LANDING_TABLE,
    ROW_NUMBER,
    STAGE_MARK,
    Database,
    StoredState,
    described,
)
from hygge_engine.stores.sqlite.errors import NO_DATABASE, translate
from hygge_engine.stores.sqlite.reading import SqliteReadBack
from hygge_engine.stores.sqlite.statements import BUSY_SECONDS, quote
from hygge_engine.stores.sqlite.types import declared_type, rows_of
from hygge_engine.stores.sqlite.uses import used

# As SQLite is built by nearly everybody.
_MOST_COLUMNS = 2_000

# How every file begins that SQLite has written, and how long what it begins with is ("Database File Format", 1.3).
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100

# What SQLite keeps beside a database ("Database File Format", 3 and 4; "WAL-mode File Format"). One of these is empty,
# or as `_is_of_database` says.
_BESIDE = ("-wal", "-shm", "-journal")
_WAL_MAGIC = (bytes.fromhex("377f0682"), bytes.fromhex("377f0683"))
_WAL_VERSION = 3_007_000
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")

# What stands for the beginning of something that is no file: SQLite begins none so.
_NO_FILE = b"\1"

# Files beside a database come and go while others open and close it: what looks foreign is looked at again after a
# moment.
_LOOKS = 4
_LOOK_SECONDS = 0.02

# A comment at the beginning of a table's statement, which SQLite keeps through VACUUM, dumps and changes of columns.
_TABLE_ID = re.compile(r"\(/\* hygge-engine ([0-9a-f]{32}) \*/")


_NOT_OF_IT = "Move it away, or back to the database that it belongs to, or give the store another path."
_HARD_LINK = (
    "It is a hard link: SQLite would keep what belongs to it beside one of its names only. Copy it, or give the store "
    "another path."
)


class SqliteDatabase(Database):
    """The database in a file, which the first write creates together with its directory. What only reads changes
    nothing, even in a foreign file. ``reach`` bounds where links may lead the file and those that SQLite keeps beside
    it."""

    names = ColumnNames(
        "SQLite",
        refused="\0",
        taken=(ROW_NUMBER, DELETED),
        form=in_ascii_case,
        most=_MOST_COLUMNS - len((ROW_NUMBER, DELETED)),
    )

    def __init__(self, path: Path, reach: DiskReach | None = None) -> None:
        self._path = path
        self._reach = reach

    def now(self) -> datetime:
        """This machine's clock: a SQLite file in WAL mode cannot be shared between machines."""
        return datetime.now(UTC)

    def read_state(self, name: str) -> StoredState | None:
        if not self.has_landing_table():
            return None
        with self._reading("reading the landing state") as connection:
            select = f"SELECT state, nonce FROM {LANDING_TABLE} WHERE name = ?"  # noqa: S608 - a constant
            found = connection.execute(select, (name,)).fetchone()
        return None if found is None else StoredState(*found)

    def state_names(self) -> list[str]:
        if not self.has_landing_table():
            return []
        with self._reading("listing the landing states") as connection:
            select = f"SELECT name FROM {LANDING_TABLE} ORDER BY name"  # noqa: S608 - a constant
            return [str(name) for (name,) in connection.execute(select)]

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        with self._connected("writing") as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield SqliteTransaction(connection)
            connection.execute("COMMIT")  # otherwise closing the connection undoes it

    def has_table(self, table: str) -> bool:
        """Views and indexes count, too: a table could not be made beside them."""
        return self.plain_columns(table) is not None

    def table_id(self, table: str) -> str | None:
        if self._is_absent(doing := f"looking for the table {table}"):
            return None
        with self._reading(doing) as connection:
            return _table_id(connection, table)

    def plain_columns(self, table: str) -> list[str] | None:
        if self._is_absent(doing := f"looking for the table {table}"):
            return None
        with self._reading(doing) as connection:
            found = _entry(connection, table)
            if found is None:
                return None
            return [name for name, *_ in _columns(connection, table)] if found.kind == "table" else []

    def columns(self, table: str) -> list[str]:
        if self._is_absent(doing := f"looking for the table {table}"):
            return []
        with self._reading(doing) as connection:
            return [name for name, *_ in _columns(connection, table)]

    def describe_table(self, table: str) -> str:
        with self._reading(f"describing the table {table}") as connection:
            found = _entry(connection, table)
            if found is not None and found.kind == "index":
                return f"an index of the table {found.table}"
            counted = f"SELECT count(*) FROM (SELECT 1 FROM {quote(table)} LIMIT {COUNTED_ROWS + 1})"  # noqa: S608 - quoted
            (rows,) = connection.execute(counted).fetchone()
            columns = [name for name, *_ in _columns(connection, table)]
        return described(found.kind if found is not None else "table", columns, rows)

    def create_stage(self, stage: str, schema: pa.Schema, key: Sequence[str]) -> SqliteInserter:
        columns = [_declaration(field, required=field.name in key) for field in schema]
        numbered = ", ".join([f"{quote(ROW_NUMBER)} INTEGER PRIMARY KEY", *columns])
        call_with_retries(lambda: self._execute(f"CREATE TABLE {quote(stage)} ({numbered})", f"creating {stage}"))
        return SqliteInserter(self, stage, schema)

    def stages(self, table: str) -> list[str]:
        if self._is_absent(doing := f"listing the stages of {table}"):
            return []
        prefix = f"{table}{STAGE_MARK}"
        select = (
            "SELECT name FROM sqlite_schema AS found WHERE type = 'table' AND substr(name, 1, ?) = ? "
            "AND EXISTS (SELECT 1 FROM pragma_table_info(found.name) AS info WHERE info.name = ?)"
        )
        with self._reading(doing) as connection:
            return [str(name) for (name,) in connection.execute(select, (len(prefix), prefix, ROW_NUMBER))]

    def drop_stage(self, stage: str) -> None:
        call_with_retries(lambda: self._execute(f"DROP TABLE IF EXISTS {quote(stage)}", f"dropping {stage}"))

    def read_back(self, table: str) -> ReadBack:
        return SqliteReadBack(lambda: self._reading_if_there(f"reading {table}"), table)

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

    def _is_absent(self, doing: str) -> bool:
        """Whether there is no database yet; raises LandingBroken for what SQLite would take for its own beside it."""
        if is_there(self._path):
            return False
        with self._used(f"{self._path.name}: {doing}"):
            return not is_there(self._path)

    @contextmanager
    def _reading_if_there(self, doing: str) -> Iterator[sqlite3.Connection | None]:
        if self._is_absent(doing):
            yield None
            return
        with self._reading(doing) as connection:
            yield connection

    @contextmanager
    def _reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        doing = f"{self._path.name}: {doing}"
        with self._used(doing):
            try:
                if is_there(self._path.with_name(f"{self._path.name}-journal")):
                    self._roll_back()
                uri = f"{self._path.absolute().as_uri()}?mode=ro"
                with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                    yield connection
            except sqlite3.Error as error:
                raise translate(error, doing) from error

    def _roll_back(self) -> None:
        """Let SQLite undo what a process that was killed has left half done, as every reader does that may write."""
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    @contextmanager
    def _connected(self, doing: str) -> Iterator[sqlite3.Connection]:
        doing = f"{self._path.name}: {doing}"
        with self._used(doing):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with closing(
                    sqlite3.connect(self._path.absolute(), timeout=BUSY_SECONDS, isolation_level=None)
                ) as connection:
                    connection.execute("PRAGMA journal_mode = WAL")
                    yield connection
            except sqlite3.Error as error:
                raise translate(error, doing) from error
            except OSError as error:
                raise StoreError(f"{doing}: {error.strerror}", hint="Check the store's path.") from error

    @contextmanager
    def _used(self, doing: str) -> Iterator[None]:
        """While a connection may be open; raises as `_check_file` does."""
        with used(self._path, lambda: self._check_file(doing)):
            yield

    def _check_file(self, doing: str) -> None:
        """Raises LakeDenied where links lead beyond the bounds, LandingBroken for a foreign file: SQLite treats one
        that is shorter than a database's header as empty, and what lies beside it as its own."""
        if self._reach is not None:
            for end in ("", *_BESIDE):
                self._reach.check(self._path.with_name(self._path.name + end))
        if is_there(self._path) and self._path.is_dir():
            raise StoreError(f"{doing}: it is a directory", hint="Check the store's path.")
        for _ in range(_LOOKS - 1):
            with suppress(LandingBroken):
                return self._look(doing)
            time.sleep(_LOOK_SECONDS)
        return self._look(doing)

    def _look(self, doing: str) -> None:
        # Before the database itself: what is made beside it is made after it. SQLite follows a link to the database
        # before it names the files beside it.
        path = Path(os.path.realpath(self._path))
        beside = {end: _found(path.with_name(path.name + end)) for end in _BESIDE}
        database = _found(path)
        header = database.begin
        if header and (header[: len(_MAGIC)] != _MAGIC or len(header) < _HEADER_BYTES):
            raise LandingBroken(f"{doing}: file is not a database", hint=NO_DATABASE)
        for end, found in beside.items():
            if found.names > 1:
                raise LandingBroken(f"{doing}: {path.name}{end} has another name, too", hint=_HARD_LINK)
            # A first load that was killed has left an empty database with the journal of its first transaction.
            has_database = bool(header) or (end == "-journal" and is_there(self._path))
            is_blank = end == "-shm" and not any(found.begin) and not beside["-wal"].names  # a log is made before it
            if found.begin and (not has_database or is_blank or not _is_of_database(end, found, header)):
                raise LandingBroken(f"{doing}: {path.name}{end} is not of this database", hint=_NOT_OF_IT)
        if header and database.names > 1:
            raise LandingBroken(f"{doing}: the file has another name, too", hint=_HARD_LINK)


class _Found(NamedTuple):
    """A file as it was found: how it begins, how long it is, and how many names it has, which is none where it is not
    there."""

    begin: bytes = b""
    size: int = 0
    names: int = 0


def _found(path: Path) -> _Found:
    """What is no plain file is not opened, since a pipe would be waited for, and SQLite follows no link there."""
    with suppress(OSError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return _Found(_NO_FILE, 0, 1)
        with path.open("rb") as file:  # its size after its beginning, since these files grow
            return _Found(file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size, status.st_nlink)
    return _Found()


def _is_of_database(end: str, found: _Found, header: bytes) -> bool:
    """Whether a file can be what SQLite keeps beside the database that begins with ``header``, which is empty where
    that is. Zeros at its beginning alone say nothing."""
    begin = found.begin
    if end == "-wal":
        return _is_wal(begin) and header[18:20] == b"\2\2" and int.from_bytes(begin[8:12]) == _page_bytes(header)
    if end == "-shm":
        return _is_wal_index(found)
    sector, page = int.from_bytes(begin[20:24]), int.from_bytes(begin[24:28])
    sizes_hold = all(size in _SIZES for size in (sector, page)) and page == (_page_bytes(header) if header else page)
    # The mark is written once what is behind it is on the disk.
    return begin[:8] in (_JOURNAL_MAGIC, bytes(8)) and sizes_hold


# Of sectors and pages.
_SIZES = frozenset(2**power for power in range(5, 17))


def _page_bytes(header: bytes) -> int:
    """The size of a database's pages."""
    size = int.from_bytes(header[16:18])
    return 65_536 if size == 1 else size


def _is_wal(begin: bytes) -> bool:
    """Whether a file begins with a whole header of a write-ahead log: mark, version, and the checksum."""
    if begin[:4] not in _WAL_MAGIC or int.from_bytes(begin[4:8]) != _WAL_VERSION or len(begin) < 32:
        return False
    first, second = _checksum(begin[:24], "big" if begin[:4] == _WAL_MAGIC[1] else "little")
    return begin[24:32] == first.to_bytes(4) + second.to_bytes(4)


def _is_wal_index(found: _Found) -> bool:
    """Whether a file can be the index of a write-ahead log: one of the two copies of its header has the version and
    the checksum, or it is zeros until the first one who opens the database has filled it. That one cuts what a killed
    process has left to three bytes, of the version, before it makes it longer; it may be killed there as well."""
    begin = found.begin
    if not any(begin[:48]) or (begin[:3] == _WAL_VERSION.to_bytes(4, sys.byteorder)[:3] and not any(begin[3:])):
        return len(begin) == 3 or found.size % 4_096 == 0
    return any(_is_index_header(begin[at : at + 48]) for at in (0, 48))


def _is_index_header(header: bytes) -> bool:
    order = sys.byteorder  # of the machine whose processes share it
    first, second = _checksum(header[:40], order)
    has_sum = header[40:48] == first.to_bytes(4, order) + second.to_bytes(4, order)
    return has_sum and int.from_bytes(header[:4], order) == _WAL_VERSION


def _checksum(data: bytes, order: Literal["big", "little"]) -> tuple[int, int]:
    """SQLite's checksum of pairs of 32-bit words ("WAL-mode File Format", 1.1)."""
    first = second = 0
    for at in range(0, len(data), 8):
        first = (first + int.from_bytes(data[at : at + 4], order) + second) % 2**32
        second = (second + int.from_bytes(data[at + 4 : at + 8], order) + first) % 2**32
    return first, second


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

    def table_id(self, table: str) -> str | None:
        return _table_id(self._connection, table)

    def merge(
        self,
        stage: str,
        table: str,
        schema: pa.Schema,
        key: Sequence[str],
        told_apart: Mapping[str, str],
        mark: str = "",
    ) -> None:
        """SQLite distinguishes all texts."""
        known = {in_ascii_case(name) for name, *_ in _columns(self._connection, table)}
        if not known:
            self._create(table, schema, key)
        for field in schema:
            if known and in_ascii_case(field.name) not in known:
                self._connection.execute(f"ALTER TABLE {quote(table)} ADD COLUMN {_declaration(field)}")
        self._move(stage, table, schema, key, mark)

    def replace(
        self, stages: Sequence[str], table: str, schema: pa.Schema, key: Sequence[str], told_apart: Mapping[str, str]
    ) -> None:
        """A table that has the columns already is emptied; one that has not, or that has no id yet, is recreated. Its
        indexes and triggers stay in either case, and views with them. Raises StoreError where one of them needs a
        column that is gone."""
        if self.table_id(table) and _columns(self._connection, table) == _wanted(schema, key):
            self._connection.execute(f"DELETE FROM {quote(table)}")  # noqa: S608 - names are quoted
        else:
            built = self._built_on(table)
            self._connection.execute(f"DROP TABLE IF EXISTS {quote(table)}")
            self._create(table, schema, key)
            self._build_again(table, built)
        for stage in stages:
            self._move(stage, table, schema, key)

    def _built_on(self, table: str) -> list[tuple[str, str, str]]:
        """Kind, name and statement of the indexes and triggers on a table."""
        select = (
            "SELECT type, name, sql FROM sqlite_schema WHERE lower(tbl_name) = lower(?) "
            "AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type, name"
        )
        return list(self._connection.execute(select, (table,)))

    def _build_again(self, table: str, built: Sequence[tuple[str, str, str]]) -> None:
        for kind, name, statement in built:
            try:
                self._connection.execute(statement)
            except sqlite3.OperationalError as error:
                raise StoreError(
                    f"the {kind} {name} on {table} does not fit the table's new columns, and would be lost: {error}",
                    hint=f"Drop the {kind}, or make it fit the new columns, then start the load again.",
                ) from error

    def _create(self, table: str, schema: pa.Schema, key: Sequence[str]) -> None:
        columns = [_declaration(field, required=field.name in key) for field in schema]
        if key:
            columns.append(f"PRIMARY KEY ({', '.join(quote(name) for name in key)})")
        mark = f"/* hygge-engine {uuid.uuid4().hex} */"
        self._connection.execute(f"CREATE TABLE {quote(table)} ({mark} {', '.join(columns)})")

    def _move(self, stage: str, table: str, schema: pa.Schema, key: Sequence[str], mark: str = "") -> None:
        """A row replaces the one with its key, the last one staged before it included. What is deleted at the end goes
        last, so that a row may have come before, or come back; where it is marked instead, it stays as it last came.
        Columns that the stage was made without land as NULL: the source had lost them by then."""
        execute = self._connection.execute
        staged = {in_ascii_case(name) for name, *_ in _columns(self._connection, stage)}
        names = ", ".join(quote(name) for name in schema.names if in_ascii_case(name) in staged)
        keys = ", ".join(quote(name) for name in key)
        rows = f"SELECT {names} FROM {quote(stage)} ORDER BY {quote(ROW_NUMBER)}"  # noqa: S608 - names are quoted
        marks = bool(mark) and DELETED in staged and in_ascii_case(mark) in staged
        is_deleted = quote(DELETED)
        if key:
            coming = f" WHERE NOT {is_deleted}" if marks else ""
            # Not INSERT OR REPLACE: a row that breaks a foreign unique index would remove other rows.
            replaced = f"SELECT {keys} FROM {quote(stage)}{coming}"  # noqa: S608 - names are quoted
            execute(f"DELETE FROM {quote(table)} WHERE ({keys}) IN ({replaced})")  # noqa: S608
            is_marked = DELETED in staged and not marks
            columns, kept = (f"{names}, {is_deleted}", f" WHERE NOT {is_deleted}") if is_marked else (names, "")
            # Beside MAX, SQLite takes the other columns from the row that has it.
            last = f"SELECT {columns}, MAX({quote(ROW_NUMBER)}) FROM {quote(stage)}{coming} GROUP BY {keys}"  # noqa: S608
            rows = f"SELECT {names} FROM ({last}){kept}"  # noqa: S608 - names are quoted
        execute(f"INSERT INTO {quote(table)} ({names}) {rows}")
        if key and marks:
            last = f"SELECT {keys}, {is_deleted}, MAX({quote(ROW_NUMBER)}) FROM {quote(stage)} GROUP BY {keys}"  # noqa: S608
            at = f"SELECT MAX({quote(mark)}) FROM {quote(stage)} WHERE {is_deleted}"  # noqa: S608 - names are quoted
            execute(
                f"UPDATE {quote(table)} SET {quote(mark)} = ({at}) WHERE {quote(mark)} IS NULL "  # noqa: S608
                f"AND ({keys}) IN (SELECT {keys} FROM ({last}) WHERE {is_deleted})"
            )
        execute(f"DROP TABLE {quote(stage)}")


def _declaration(field: pa.Field[pa.DataType], *, required: bool = False) -> str:
    return f"{quote(field.name)} {declared_type(field.type)}{' NOT NULL' if required else ''}"


class _Entry(NamedTuple):
    """What has a name: a ``table``, a ``view``, or an ``index`` of a table."""

    kind: str
    table: str


def _entry(connection: sqlite3.Connection, name: str) -> _Entry | None:
    """What has a name; a trigger does not count, because it may have that of a table."""
    select = "SELECT type, tbl_name FROM sqlite_schema WHERE lower(name) = lower(?) AND type <> 'trigger'"
    found = connection.execute(select, (name,)).fetchone()
    return None if found is None else _Entry(*found)


# Name, declared type, whether it may not be NULL, and the place in the primary key, from 1.
type _Column = tuple[str, str, int, int]


def _columns(connection: sqlite3.Connection, table: str) -> list[_Column]:
    """The columns of a table, in order; none where there is no such table."""
    select = f"SELECT name, type, {quote('notnull')}, pk FROM pragma_table_info(?)"  # noqa: S608 - a constant
    return [(name, type_, required, place) for name, type_, required, place in connection.execute(select, (table,))]


def _table_id(connection: sqlite3.Connection, table: str) -> str | None:
    select = "SELECT sql FROM sqlite_schema WHERE lower(name) = lower(?) AND type IN ('table', 'view')"
    found = connection.execute(select, (table,)).fetchone()
    if found is None:
        return None
    marked = _TABLE_ID.search(found[0])
    return marked[1] if marked else ""


def _wanted(schema: pa.Schema, key: Sequence[str]) -> list[_Column]:
    places = {name: place for place, name in enumerate(key, start=1)}
    return [
        (field.name, declared_type(field.type), int(field.name in places), places.get(field.name, 0))
        for field in schema
    ]
