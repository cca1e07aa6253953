"""A SQL Server database: rows come by bulk copy into a stage, and move into their table in one transaction.

Within it the row of the landing state is written first. Its lock makes writers of one table take turns, so that the
statements after it need no hints of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from hygge_engine.errors import HomeError, NotOurs, StoreError, StoreUnavailable
from hygge_engine.homes.mssql.identifiers import qualify, quote
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.values import Parameter
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
from hygge_engine.stores.mssql.errors import GRANT_HINT, as_store_error, translate
from hygge_engine.stores.mssql.types import declared_type, prepared

# How long a sweep waits for a stage that is still being written to; it is left for the next one then.
SWEEP_LOCK_MILLISECONDS = 5_000

# Characters that a name may have.
MOST_CHARACTERS = 128
_MOST_COLUMNS = 1_024

# What a table is called until it takes the place of the old one. Short enough for the longest stage's name.
_NEW_MARK = "__hygge_new"

# What a load does in the schema, apart from making tables.
_NEEDED = ("ALTER", "SELECT", "INSERT", "UPDATE", "DELETE")
_ON_SCHEMA = "HAS_PERMS_BY_NAME(?, 'SCHEMA', ?)"

_RENAME_NEW = "Rename it, or give this table another name."


class MssqlDatabase(Database):
    """The tables of one ``schema``, over sessions of the driver's pool."""

    names = ColumnNames(
        "SQL Server",
        taken=(ROW_NUMBER, DELETED),
        longest=MOST_CHARACTERS,
        most=_MOST_COLUMNS - len((ROW_NUMBER, DELETED)),
    )
    equates_texts = True

    def __init__(self, connection: MssqlConnection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._clock: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The server's clock, asked for once and carried on by this machine's."""
        if self._clock is None:
            ((text,),) = self._ask("SELECT CONVERT(varchar(33), SYSUTCDATETIME(), 126)", (), "asking for the time")
            # The server gives seven digits of a second.
            self._clock = datetime.fromisoformat(str(text)[:26]).replace(tzinfo=UTC), time.monotonic()
        moment, since = self._clock
        return moment + timedelta(seconds=time.monotonic() - since)

    def read_state(self, name: str) -> StoredState | None:
        if not self.has_landing_table():
            return None
        # Even where readers see row versions: a transaction whose commit is under way is waited for.
        select = f"SELECT state, nonce FROM {self._name(LANDING_TABLE)} WITH (READCOMMITTEDLOCK) WHERE name = ?"  # noqa: S608
        rows = self._ask(select, (name,), "reading the landing state")
        return StoredState(str(rows[0][0]), str(rows[0][1])) if rows else None

    def state_names(self) -> list[str]:
        if not self.has_landing_table():
            return []
        select = f"SELECT name FROM {self._name(LANDING_TABLE)} ORDER BY name"  # noqa: S608 - the name is quoted
        return [str(name) for (name,) in self._ask(select, (), "listing the landing states")]

    @contextmanager
    def transaction(self) -> Iterator[MssqlTransaction]:
        with self._session("writing") as session:
            session.execute("SET XACT_ABORT ON; BEGIN TRANSACTION", doing=self._doing("beginning a transaction"))
            try:
                yield MssqlTransaction(session, self._schema)
                session.execute("COMMIT TRANSACTION", doing=self._doing("committing"))
            except BaseException:
                # The pool would keep the transaction open, and its locks. A lost connection has lost it, too.
                with suppress(StoreError):
                    session.execute("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION", doing=self._doing("rolling back"))
                raise

    def has_table(self, table: str) -> bool:
        """Views and whatever else has the name count, too: a table could not be made beside them."""
        rows = self._ask("SELECT OBJECT_ID(?)", (self._name(table),), f"looking for the table {table}")
        return rows[0][0] is not None

    def table_id(self, table: str) -> str | None:
        return _table_id(self._ask("SELECT OBJECT_ID(?)", (self._name(table),), f"looking for the table {table}"))

    def plain_columns(self, table: str) -> list[str] | None:
        select = "SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(?, 'U') ORDER BY column_id"
        rows = self._ask(select, (self._name(table),), f"describing {table}")
        return [str(name) for (name,) in rows] if rows or self.has_table(table) else None

    def check_access(self) -> None:
        asked = ", ".join(["HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE TABLE')", *[_ON_SCHEMA] * len(_NEEDED)])
        parameters = [value for permission in _NEEDED for value in (quote(self._schema), permission)]
        try:
            (permissions,) = self._ask(f"SELECT {asked}", parameters, "asking what the login may do")
        except StoreUnavailable:
            raise
        except StoreError:
            return  # a server that cannot tell
        names = ["CREATE TABLE", *(f"{permission} on the schema {self._schema}" for permission in _NEEDED)]
        lacking = [name for name, permitted in zip(names, permissions, strict=True) if permitted == 0]
        if lacking:
            raise StoreError(f"{self._connection.database}: the login lacks {', '.join(lacking)}", hint=GRANT_HINT)

    def check_names(self, table: str) -> None:
        new = f"{table}{_NEW_MARK}"
        if self.has_table(new):
            raise NotOurs(
                f"{new}, the new table's name, is not one of this engine's tables: {self.describe_table(new)}",
                hint=_RENAME_NEW,
            )

    def columns(self, table: str) -> list[str]:
        """Without computed ones, whose values cannot be lost."""
        select = "SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(?) AND is_computed = 0 ORDER BY column_id"
        rows = self._ask(select, (self._name(table),), f"describing {table}")
        return [str(name) for (name,) in rows]

    def describe_table(self, table: str) -> str:
        counted = f"SELECT COUNT(*) FROM (SELECT TOP ({COUNTED_ROWS + 1}) 1 AS one FROM {self._name(table)}) AS counted"  # noqa: S608
        try:
            ((rows,),) = self._ask(counted, (), f"counting the rows of {table}")
        except StoreError as error:  # no table at all, or none that may be read
            return f"its rows cannot be counted ({error.message})"
        ((view,),) = self._ask("SELECT OBJECT_ID(?, 'V')", (self._name(table),), f"describing {table}")
        return described("table" if view is None else "view", self.columns(table), int(rows))

    def create_stage(self, stage: str, schema: pa.Schema, key: Sequence[str]) -> MssqlInserter:
        columns = [_declaration(field, key) for field in schema]
        numbered = ", ".join([f"{quote(ROW_NUMBER)} bigint IDENTITY(1, 1) NOT NULL", *columns])
        self._run(f"CREATE TABLE {self._name(stage)} ({numbered})", f"creating {stage}")
        return MssqlInserter(self, stage, keyed=bool(key))

    def stages(self, table: str) -> list[str]:
        prefix = f"{table}{STAGE_MARK}"
        select = (
            "SELECT name FROM sys.tables WHERE schema_id = SCHEMA_ID(?) AND LEFT(name, ?) = ? "
            "AND object_id IN (SELECT object_id FROM sys.columns WHERE name = ?)"
        )
        rows = self._ask(select, (self._schema, len(prefix), prefix, ROW_NUMBER), f"listing the stages of {table}")
        return [str(name) for (name,) in rows]

    def drop_stage(self, stage: str) -> None:
        drop = f"SET LOCK_TIMEOUT {SWEEP_LOCK_MILLISECONDS}; DROP TABLE IF EXISTS {self._name(stage)}"
        with suppress(StoreUnavailable):
            self._run(f"{drop}; SET LOCK_TIMEOUT -1", f"dropping {stage}")

    def read_back(self, table: str) -> ReadBack:
        from hygge_engine.stores.mssql.reading import MssqlReadBack

        return MssqlReadBack(self._connection, self._name(table))

    def insert(self, stage: str, batch: pa.RecordBatch) -> None:
        """Add a batch to a stage."""
        doing = f"staging rows in {stage}"
        with self._session(doing) as session:
            session.insert(self._name(stage), prepared(batch), doing=self._doing(doing))

    def _name(self, table: str) -> str:
        return qualify(self._schema, table)

    def _doing(self, what: str) -> str:
        return f"{self._connection.database}: {what}"

    def _ask(self, sql: str, parameters: Sequence[Parameter], doing: str) -> list[tuple[Any, ...]]:
        def ask() -> list[tuple[Any, ...]]:
            with self._session(doing) as session:
                return session.fetch_all(sql, parameters, doing=self._doing(doing))

        return call_with_retries(ask)

    def _run(self, sql: str, doing: str) -> None:
        def run() -> None:
            with self._session(doing) as session:
                session.execute(sql, doing=self._doing(doing))

        call_with_retries(run)

    @contextmanager
    def _session(self, doing: str) -> Iterator[Session]:
        try:
            session = open_session(self._connection, translation=translate)
        except HomeError as error:  # before the driver is called: nothing listens, or no token
            raise as_store_error(error) from error
        try:
            yield session
        finally:
            session.close()


class MssqlInserter:
    """Adds batches to one stage."""

    def __init__(self, database: MssqlDatabase, stage: str, *, keyed: bool) -> None:
        self._database = database
        self._stage = stage
        self._keyed = keyed

    def insert(self, batch: pa.RecordBatch) -> None:
        """Tried again where rows have a key: those that had arrived already then count once."""
        if self._keyed:
            call_with_retries(lambda: self._database.insert(self._stage, batch))
        else:
            self._database.insert(self._stage, batch)

    def close(self) -> None:
        return


class MssqlTransaction:
    """What happens between BEGIN and COMMIT TRANSACTION."""

    def __init__(self, session: Session, schema: str) -> None:
        self._session = session
        self._schema = schema

    def replace_state(self, name: str, state: StoredState, previous: str | None) -> str | None:
        table, doing = self._name(LANDING_TABLE), f"writing the landing state of {name}"
        if previous is None:
            self._session.execute(
                f"IF OBJECT_ID(N'{table.replace("'", "''")}', 'U') IS NULL CREATE TABLE {table} (name nvarchar(400) "
                "NOT NULL PRIMARY KEY, nonce varchar(32) NOT NULL, state nvarchar(max) NOT NULL)",
                doing=doing,
            )
            insert = (
                f"INSERT INTO {table} (name, nonce, state) SELECT ?, ?, ? "  # noqa: S608 - the name is quoted
                f"WHERE NOT EXISTS (SELECT 1 FROM {table} WITH (UPDLOCK, HOLDLOCK) WHERE name = ?)"
            )
            self._session.execute(insert, (name, state.nonce, state.document, name), doing=doing)
        else:
            update = f"UPDATE {table} SET nonce = ?, state = ? WHERE name = ? AND nonce = ?"  # noqa: S608 - quoted
            self._session.execute(update, (state.nonce, state.document, name, previous), doing=doing)
        rows = self._session.fetch_all(f"SELECT nonce FROM {table} WHERE name = ?", (name,), doing=doing)  # noqa: S608
        return str(rows[0][0]) if rows else None

    def table_id(self, table: str) -> str | None:
        doing = f"looking for the table {table}"
        return _table_id(self._session.fetch_all("SELECT OBJECT_ID(?)", (self._name(table),), doing=doing))

    def merge(
        self,
        stage: str,
        table: str,
        schema: pa.Schema,
        key: Sequence[str],
        told_apart: Mapping[str, str],
        mark: str = "",
    ) -> None:
        doing = f"merging {stage} into {table}"
        known = self._columns(table)
        if not known:
            self._create(table, schema, key)
        fresh = [field for field in schema if known and not self._has(table, known, field.name)]
        if fresh:
            added = ", ".join(_declaration(field) for field in fresh)
            self._session.execute(f"ALTER TABLE {self._name(table)} ADD {added}", doing=doing)
        self._move(stage, table, schema, key, told_apart if known else None, mark)

    def replace(
        self, stages: Sequence[str], table: str, schema: pa.Schema, key: Sequence[str], told_apart: Mapping[str, str]
    ) -> None:
        """The new table is filled beside the old one, so that readers wait only for the change of names."""
        doing = f"replacing {table}"
        new = f"{table}{_NEW_MARK}"
        if self.table_id(new) is not None:  # come up since `Database.check_names`
            raise NotOurs(f"{new}, the new table's name, is not one of this engine's tables", hint=_RENAME_NEW)
        self._create(new, schema, key)
        for number, stage in enumerate(stages):
            self._move(stage, new, schema, key, told_apart if number else None)
        self._session.execute(f"DROP TABLE IF EXISTS {self._name(table)}", doing=doing)
        self._session.execute("EXEC sp_rename ?, ?", (self._name(new), table), doing=doing)

    def _columns(self, table: str) -> set[str]:
        select = "SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(?, 'U')"
        rows = self._session.fetch_all(select, (self._name(table),), doing=f"describing {table}")
        return {str(name) for (name,) in rows}

    def _has(self, table: str, known: set[str], name: str) -> bool:
        """Whether a table with the columns ``known`` has one of this name, as the server compares names."""
        if name in known:
            return True
        select = "SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(?, 'U') AND name = ?"
        return bool(self._session.fetch_all(select, (self._name(table), name), doing=f"describing {table}"))

    def _create(self, table: str, schema: pa.Schema, key: Sequence[str]) -> None:
        columns = [_declaration(field, key) for field in schema]
        if key:
            columns.append(f"PRIMARY KEY ({', '.join(quote(name) for name in key)})")
        self._session.execute(f"CREATE TABLE {self._name(table)} ({', '.join(columns)})", doing=f"creating {table}")

    def _move(
        self,
        stage: str,
        table: str,
        schema: pa.Schema,
        key: Sequence[str],
        told_apart: Mapping[str, str] | None,
        mark: str = "",
    ) -> None:
        """Of two rows with the same key the one that was staged last counts, be it a deleted one, over the table's own;
        ``told_apart`` is None where the table has none. Columns that the stage was made without land as NULL: the
        source had lost them by then. Where deleted rows are marked, they stay as they last came."""
        doing = f"moving {stage} into {table}"
        staged = self._columns(stage)
        marks = bool(key and mark) and DELETED in staged and self._has(stage, staged, mark)
        is_deleted, is_coming = f"s.{quote(DELETED)} = 1", f" AND s.{quote(DELETED)} = 0" if marks else ""
        names = ", ".join(quote(name) for name in schema.names if self._has(stage, staged, name))
        last = ""
        if key and told_apart is not None:
            same = " AND ".join(_same_key(name, told_apart.get(name)) for name in key)
            if marks:
                self._mark(stage, table, mark, f"{same} AND {is_deleted}", doing)
            self._session.execute(
                f"DELETE FROM t FROM {self._name(table)} AS t "  # noqa: S608 - names are quoted
                f"WHERE EXISTS (SELECT 1 FROM {self._name(stage)} AS s WHERE {same}{is_coming})",
                doing=doing,
            )
        if key:
            same = " AND ".join(_same_bytes(field) for field in schema if field.name in key)
            newer = f"{same} AND n.{quote(ROW_NUMBER)} > s.{quote(ROW_NUMBER)}"
            newer_row = newer + (f" AND n.{quote(DELETED)} = 0" if marks else "")
            last = f" WHERE NOT EXISTS (SELECT 1 FROM {self._name(stage)} AS n WHERE {newer_row})"  # noqa: S608 - quoted
            if DELETED in staged:
                last += f" AND s.{quote(DELETED)} = 0"
        self._session.execute(
            f"INSERT INTO {self._name(table)} ({names}) SELECT {names} FROM {self._name(stage)} AS s{last}",  # noqa: S608
            doing=doing,
        )
        if marks:  # also rows that came before they were deleted
            gone = f"NOT EXISTS (SELECT 1 FROM {self._name(stage)} AS n WHERE {newer})"  # noqa: S608 - quoted
            same = " AND ".join(_same_bytes(field, "t") for field in schema if field.name in key)
            self._mark(stage, table, mark, f"{same} AND {is_deleted} AND {gone}", doing)
        self._session.execute(f"DROP TABLE {self._name(stage)}", doing=doing)

    def _mark(self, stage: str, table: str, mark: str, condition: str, doing: str) -> None:
        """Mark rows ``t`` for which there is a row ``s`` of the stage, unless they have been marked before."""
        name = quote(mark)
        self._session.execute(
            f"UPDATE t SET {name} = (SELECT MAX({name}) FROM {self._name(stage)} WHERE {quote(DELETED)} = 1) "  # noqa: S608
            f"FROM {self._name(table)} AS t WHERE t.{name} IS NULL "
            f"AND EXISTS (SELECT 1 FROM {self._name(stage)} AS s WHERE {condition})",
            doing=doing,
        )

    def _name(self, table: str) -> str:
        return qualify(self._schema, table)


def _table_id(rows: Sequence[tuple[Any, ...]]) -> str | None:
    """The server never gives an object's number to another one, and keeps it when the object is renamed."""
    ((number,),) = rows
    return None if number is None else str(number)


def _same_key(name: str, folding: str | None) -> str:
    """Whether rows of a stage and of the table have the same key, as far as one column goes.

    The database may treat two of the source's texts as equal. Where the source distinguishes them (``folding`` says by
    what), the row that is there is not the one that comes: it stays, and the table's key refuses to hold both.
    """
    column = quote(name)
    same = f"s.{column} = t.{column}"
    if folding is None:
        return same

    def exact(of: str) -> str:
        text = f"CAST({of}.{column} AS {declared_type(pa.string(), in_key=True)})"
        text = f"RTRIM({text})" if folding == "blanks" else text
        return f"CAST({text} AS {declared_type(pa.binary(), in_key=True)})"

    return f"{same} AND {exact('s')} = {exact('t')}"


def _same_bytes(field: pa.Field[pa.DataType], other: str = "n") -> str:
    """Whether two rows of a stage have the same key, or one and a row of the table. Texts that the server treats as
    equal may be those of two rows, of which none may vanish: the table's own key refuses to hold them both."""
    name = quote(field.name)
    same = f"{other}.{name} = s.{name}"
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        same += f" AND CAST({other}.{name} AS varbinary(900)) = CAST(s.{name} AS varbinary(900))"
    return same


def _declaration(field: pa.Field[pa.DataType], key: Sequence[str] = ()) -> str:
    in_key = field.name in key
    return f"{quote(field.name)} {declared_type(field.type, in_key=in_key)} {'NOT NULL' if in_key else 'NULL'}"
