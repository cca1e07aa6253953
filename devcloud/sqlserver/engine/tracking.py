"""Change Tracking: which keys changed, in which committed transaction, and how.

Every tracked table has a table of changes beside the catalogue: the transaction's number, the step within it, the
operation and the key. A transaction gets its version when it commits, under a lock, so that versions rise in the order
of commits and a snapshot never sees a version without its changes. Changes of transactions without a version are
visible to these alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import duckdb

from devcloud.sqlserver.engine.backend import Database, Instance
from devcloud.sqlserver.engine.capture import (
    AFTER,
    BEFORE,
    DELETED,
    INSERTED,
    captured_table,
    draw_lsn,
    key_names,
    with_keys,
)
from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA, Table
from devcloud.sqlserver.engine.outputs import OutputColumn
from devcloud.sqlserver.engine.values import Value, quote, quote_text
from devcloud.sqlserver.types import BIGINT, SqlType


def current_version(connection: duckdb.DuckDBPyConnection, database: str) -> int:
    """Return the version of the last tracked commit that this connection sees, 0 before the first."""
    rows = connection.execute(f"SELECT coalesce(max(version), 0) FROM {_where(database)}.tracked_commits").fetchall()
    return int(rows[0][0])


def forget_versions(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Let versions begin again, as they do when Change Tracking of a database is switched off; no table is tracked."""
    connection.execute(f"DELETE FROM {_where(database)}.tracked_commits")


def min_valid_version(connection: duckdb.DuckDBPyConnection, database: str, object_id: int) -> int | None:
    """Return the oldest version since which all changes of a table are kept; None where it is not tracked."""
    rows = connection.execute(
        f"SELECT min_version FROM {_where(database)}.tracked_tables WHERE object_id = ?", [object_id]
    ).fetchall()
    return int(rows[0][0]) if rows else None


def changes_table(database: str, table: Table) -> str:
    """Return the name of the DuckDB table that holds a table's changes."""
    return f"{_where(database)}.{quote(f'changes_{table.object_id}')}"


# Recording


@dataclass(frozen=True, slots=True)
class Capture:
    """How a write's changes are found: ``before`` it, an operation and the query of the keys that it will befall;
    ``after`` it, the operation of the rows that it put into the table. TRUNCATE restarts tracking.
    """

    database: str
    table: Table
    storage: str
    before: tuple[str, str] | None = None
    after: str | None = None
    truncates: bool = False


class PendingChanges:
    """The changes of one session's transaction, which have no version yet."""

    def __init__(self, instance: Instance, connection: duckdb.DuckDBPyConnection) -> None:
        self._instance = instance
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Be empty: the transaction is over, or restarts."""
        self._database: Database | None = None
        self._number = 0
        self._step = 0
        self._has_changes = False
        self._has_captured = False
        self._truncated: list[int] = []

    @contextlib.contextmanager
    def recording(self, capture: Capture | None, run: Callable[[str], int]) -> Iterator[None]:
        """Record what the write inside does; ``run`` executes SQL with the write's parameters, and counts rows."""
        if capture is None:
            yield
            return
        target = changes_table(capture.database, capture.table)
        self._enter(capture.database)
        self._step += 1
        if capture.before is not None and capture.table.tracked:
            self._record(run, target, *capture.before)
        if capture.before is not None and capture.table.captures:
            operation, keys = capture.before
            self._capture(run, capture, DELETED if operation == "D" else BEFORE, with_keys(capture.table, f"({keys})"))
        # Rows that a transaction has put into a table lie behind all others until it commits.
        last = self._connection.execute(f"SELECT coalesce(max(rowid), -1) FROM {capture.storage}").fetchall()[0][0]
        yield
        if capture.table.captures and capture.after is not None:
            self._capture(run, capture, INSERTED, f"s.rowid > {last}")
        elif capture.table.captures and capture.before is not None and capture.before[0] == "U":
            before = captured_table(capture.database, capture.table.captures[0])
            same = f"(SELECT * FROM {before} WHERE number = {self._number} AND step = {self._step})"
            self._capture(run, capture, AFTER, with_keys(capture.table, same))
        if capture.after is not None and capture.table.tracked:
            self._step += 1  # a key may be deleted and inserted by one statement, in another spelling
            keys = ", ".join(quote(name) for name in key_names(capture.table))
            self._record(run, target, capture.after, f"SELECT {keys} FROM {capture.storage} WHERE rowid > {last}")
        if capture.truncates:
            run(f"DELETE FROM {target}")
            self._truncated.append(capture.table.object_id)

    def _enter(self, database: str) -> None:
        if self._database is None:
            self._database = self._instance.databases[database.lower()]
            sequence = quote_text(f"{_where(database)}.tracked_transactions")
            self._number = int(self._connection.execute(f"SELECT nextval({sequence})").fetchall()[0][0])

    def _record(self, run: Callable[[str], int], target: str, operation: str, query: str) -> None:
        stamp = f"{self._number}, {self._step}, {quote_text(operation)}"
        if run(f"INSERT INTO {target} SELECT {stamp}, k.* FROM ({query}) AS k"):
            self._has_changes = True

    def _capture(self, run: Callable[[str], int], capture: Capture, operation: int, condition: str) -> None:
        """Capture the rows of a table as they are, which it calls s, in each of its capture instances."""
        present = {column.column_id: column.name for column in capture.table.stored}
        for instance in capture.table.captures:
            shown = [f"s.{quote(present[each])}" if each in present else "NULL" for each in instance.column_ids]
            stamp = f"{self._number}, {self._step}, {operation}"
            query = f"SELECT {stamp}, {', '.join(shown)} FROM {capture.storage} AS s WHERE {condition}"
            if run(f"INSERT INTO {captured_table(capture.database, instance)} {query}"):
                self._has_captured = True

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Give the changes the next version; the commit inside makes both visible at once. Raises duckdb.Error."""
        if self._database is None:
            yield
            return
        with self._database.commits:
            reader = self._instance.connect()
            version = current_version(reader, self._database.name) + 1
            reader.close()
            where = _where(self._database.name)
            # A reader of all changes before must find its version too old, so that TRUNCATE takes one of its own.
            for object_id in self._truncated:
                self._connection.execute(
                    f"UPDATE {where}.tracked_tables SET begin_version = ?, min_version = ? WHERE object_id = ?",
                    [version, version, object_id],
                )
            if self._has_changes or self._truncated:
                self._connection.execute(f"INSERT INTO {where}.tracked_commits VALUES (?, ?)", [self._number, version])
            if self._has_captured:
                draw_lsn(self._connection, self._database.name, self._number)
            yield


# Reading


def net_changes(
    database: str, table: Table, since: str, sort_key: Callable[[Value], str]
) -> tuple[str, tuple[OutputColumn, ...]]:
    """Return the query behind CHANGETABLE(CHANGES table, since), which is SQL for a bigint.

    Each key appears once. A key whose last change took it away is deleted; else, one that was first put in since then
    is inserted, and every other one updated.
    """
    columns = {column.name: column for column in table.columns}
    keys = [columns[name] for name in key_names(table)]
    order = "ORDER BY c.version, x.step"
    shown = [
        'max(c.version) AS "c1"',
        "max(c.version) FILTER (WHERE x.operation = 'I') AS \"c2\"",
        f"CASE WHEN last(x.operation {order}) = 'D' THEN 'D' WHEN first(x.operation {order}) = 'I' THEN 'I' "
        "ELSE 'U' END AS \"c3\"",
        'CAST(NULL AS BLOB) AS "c4"',
        'CAST(NULL AS BLOB) AS "c5"',
    ]
    shown += [f'first(x.{quote(key.name)} {order}) AS "c{place}"' for place, key in enumerate(keys, start=6)]
    groups = ", ".join(sort_key(Value(f"x.{quote(key.name)}", key.type)) for key in keys)
    sql = (
        f"SELECT {', '.join(shown)} FROM {changes_table(database, table)} AS x "
        f"JOIN {_where(database)}.tracked_commits AS c ON c.number = x.number "
        f"WHERE {since} IS NULL OR ({since} >= 0 AND c.version > {since}) GROUP BY {groups}"
    )
    outputs = [OutputColumn(name, kind, nullable) for name, kind, nullable in _COLUMNS]
    outputs += [OutputColumn(key.name, key.type, nullable=False) for key in keys]
    return sql, tuple(outputs)


_COLUMNS: Final = (
    ("SYS_CHANGE_VERSION", BIGINT, True),
    ("SYS_CHANGE_CREATION_VERSION", BIGINT, True),
    ("SYS_CHANGE_OPERATION", SqlType("nchar", length=1), True),
    ("SYS_CHANGE_COLUMNS", SqlType("varbinary", length=4100), True),
    ("SYS_CHANGE_CONTEXT", SqlType("varbinary", length=128), True),
)


def _where(database: str) -> str:
    return f"{quote(database)}.{CATALOGUE_SCHEMA}"
