"""Change data capture: what rows were before and after each change, by committed transaction.

Every capture instance has a table beside the catalogue: the transaction's number, the step within it, the operation and
the captured columns. A transaction gets its LSN when it commits, under the lock of Change Tracking's versions, so that
LSNs rise in the order of commits. There is no log to scan: the capture job is at once where the last commit is, or,
once it is stopped, stays where it was.
"""

from __future__ import annotations

from typing import Final

import duckdb

from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA, CaptureInstance, Table
from devcloud.sqlserver.engine.outputs import OutputColumn
from devcloud.sqlserver.engine.values import quote, quote_text
from devcloud.sqlserver.types import INT, SqlType

DELETED, INSERTED, BEFORE, AFTER = 1, 2, 3, 4
"""As __$operation numbers them."""

LSN: Final = SqlType("binary", length=10)
_MASK: Final = SqlType("varbinary", length=128)

# An LSN as DuckDB's blob: the file, the commit's number, the slot.
LSN_SQL: Final = "unhex(printf('0000002A%08X0001', {number}))"
_SEQUENCE_VALUE: Final = "unhex(printf('0000002A%08X%04X', {number}, {step}))"

# The clock as datetime counts: 1/300 of a second since 1900.
_NOW: Final = "(epoch_us(now()) + 2208988800000000) * 3 // 10000"


def key_names(table: Table) -> list[str]:
    """Return the columns of a table's primary key, in its order."""
    names = {column.column_id: column.name for column in table.columns}
    return [names[column_id] for column_id, _ in (table.primary_key.columns if table.primary_key else ())]


def with_keys(table: Table, keys: str) -> str:
    """Return the condition that a row, called s, has a key among those of a DuckDB query in parentheses."""
    same = " AND ".join(f"s.{quote(name)} = k.{quote(name)}" for name in key_names(table))
    return f"EXISTS (SELECT 1 FROM {keys} AS k WHERE {same})"


def captured_table(database: str, instance: CaptureInstance) -> str:
    """Return the name of the DuckDB table that holds what an instance has captured."""
    return f"{_where(database)}.{quote(f'captured_{instance.object_id}')}"


def draw_lsn(connection: duckdb.DuckDBPyConnection, database: str, number: int | None) -> int:
    """Give a transaction the next LSN, None for one without changes; returns its number."""
    where = _where(database)
    lsn = int(connection.execute(f"SELECT nextval({quote_text(f'{where}.captured_lsns')})").fetchall()[0][0])
    connection.execute(f"INSERT INTO {where}.captured_commits VALUES (?, ?, {_NOW})", [number, lsn])
    return lsn


def last_lsn(connection: duckdb.DuckDBPyConnection, database: str, up_to: int = -1) -> int | None:
    """Return the number of the last LSN that the capture job has seen, which may have stopped; None before the
    first."""
    bound = f" WHERE lsn <= {up_to}" if up_to >= 0 else ""
    found = connection.execute(f"SELECT max(lsn) FROM {_where(database)}.captured_commits{bound}").fetchall()[0][0]
    return None if found is None else int(found)


def lsn_bytes(number: int) -> bytes:
    """Return an LSN as binary(10)."""
    return bytes.fromhex(f"0000002A{number:08X}0001")


def all_changes(
    database: str, instance: CaptureInstance, bounds: tuple[str, str], *, before: bool
) -> tuple[str, tuple[OutputColumn, ...]]:
    """Return the query behind cdc.fn_cdc_get_all_changes_<instance>: the changes between two LSNs, which are SQL;
    ``before``: with rows as they were before an update ('all update old')."""
    lsn = LSN_SQL.format(number="c.lsn")
    shown = [
        f'{lsn} AS "c1"',
        f'{_SEQUENCE_VALUE.format(number="c.lsn", step="x.step")} AS "c2"',
        'x.operation AS "c3"',
        'CAST(NULL AS BLOB) AS "c4"',
        *(f'x.{quote(name)} AS "c{place}"' for place, name in enumerate(instance.columns, start=5)),
    ]
    condition = f"{lsn} BETWEEN {bounds[0]} AND {bounds[1]}"
    if not before:
        condition += f" AND x.operation <> {BEFORE}"
    sql = (
        f"SELECT {', '.join(shown)} FROM {captured_table(database, instance)} AS x "
        f"JOIN {_where(database)}.captured_commits AS c ON c.number = x.number WHERE {condition}"
    )
    outputs = [
        OutputColumn("__$start_lsn", LSN, nullable=True),
        OutputColumn("__$seqval", LSN, nullable=True),
        OutputColumn("__$operation", INT, nullable=True),
        OutputColumn("__$update_mask", _MASK, nullable=True),
    ]
    for name, kind in zip(instance.columns, instance.types, strict=True):
        # What a rowversion was is a value like any other.
        shown_kind = SqlType("binary", length=8) if kind.name == "timestamp" else kind
        outputs.append(OutputColumn(name, shown_kind, nullable=True))
    return sql, tuple(outputs)


def _where(database: str) -> str:
    return f"{quote(database)}.{CATALOGUE_SCHEMA}"
