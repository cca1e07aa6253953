"""Bulk load ([MS-TDS] 2.2.6.1, 2.2.1.4): a batch asks for the table's columns, INSERT BULK names them, and a message of
its own brings the rows.

The first batch is not T-SQL that is spoken here: it is recognised as a whole, as Microsoft's bulk copy clients send it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from devcloud.sqlserver.engine.catalogue import Table
from devcloud.sqlserver.engine.values import Scalar, Value, quote
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import SqlError, make_error
from devcloud.sqlserver.executor import Executor
from devcloud.sqlserver.metadata import result_columns
from devcloud.sqlserver.tds import tokens
from devcloud.sqlserver.tds.parameters import Reader, read_type_info, read_value
from devcloud.sqlserver.tds.typeinfo import ResultColumn, make_collation
from devcloud.sqlserver.tsql.names import split_name
from devcloud.sqlserver.types import SqlType

_DESTINATION: Final = re.compile(
    r"SELECT @@TRANCOUNT;.*SET FMTONLY ON;?\s+EXEC.*SET FMTONLY OFF;?\s+"
    r"EXEC\s+\S*sp_tablecollations_100 N'((?:[^']|'')*)'",
    re.DOTALL | re.IGNORECASE,
)
_NAME: Final = r"(?:\[(?:[^\]]|\]\])*\]|\w+)"
_INSERT_BULK: Final = re.compile(rf"\s*INSERT\s+BULK\s+({_NAME}(?:\.{_NAME})*)\s*\(", re.IGNORECASE)
_COLUMN: Final = re.compile(
    rf"\s*({_NAME})\s+\w+(?:\s*\([\w\s,]*\))?(?:\s+COLLATE\s+\w+)?(?:\s+(?:NOT\s+)?NULL)?\s*([,)])", re.IGNORECASE
)

_ROW: Final = 0xD1
_ROW_WITHOUT_NULLS: Final = 0xD2
_METADATA: Final = 0x81
_DONE: Final = 0xFD

# Days from the engine's first day, 0001-01-01, to Arrow's, 1970-01-01.
_EPOCH_DAYS: Final = 719_162

_ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    "UTINYINT": pa.uint8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "BLOB": pa.binary(),
    "DATE": pa.date32(),
    "STRUCT(t BIGINT, o SMALLINT)": pa.struct([("t", pa.int64()), ("o", pa.int16())]),
}


@dataclass(frozen=True, slots=True)
class BulkTarget:
    """Where the rows of the next bulk load go: a table, and the columns in their order."""

    table: tuple[str, ...]
    columns: tuple[str, ...]


def destination_of(text: str) -> tuple[str, ...] | None:
    """The table whose columns a bulk copy client asks for with this batch; None for any other batch."""
    found = _DESTINATION.search(text)
    return None if found is None else split_name(found[1].replace("''", "'"))


def is_insert_bulk(text: str) -> bool:
    """Whether a batch announces a bulk load."""
    return _INSERT_BULK.match(text) is not None


def target_of(text: str) -> BulkTarget:
    """What an INSERT BULK names. Raises SqlError 102 for columns that it does not understand."""
    found = _INSERT_BULK.match(text)
    if found is None:
        raise make_error(102, "BULK")
    names: list[str] = []
    position, separator = found.end(), ","
    while separator == ",":
        column = _COLUMN.match(text, position)
        if column is None:
            raise make_error(102, text[position : position + 20])
        names.append(split_name(column[1])[0])
        position, separator = column.end(), column[2]
    return BulkTarget(split_name(found[1]), tuple(names))


def describe_destination(executor: Executor, name: tuple[str, ...]) -> None:
    """Respond to the clients' query: the depth of transactions, the columns without rows, their collations."""
    executor.send_table(result_columns("trancount int"), [[executor.session.transaction.count]])
    _, table = executor.binder().find_table(name, "INSERT")
    executor.results.columns([ResultColumn(column.name, column.type, column.nullable) for column in table.columns])
    executor.results.done(0, tokens.SELECT_COMMAND)
    collations = result_columns("colid int; name sysname; tds_collation binary(5); collation sysname")
    rows: list[list[Any]] = [
        [
            column.column_id,
            column.name,
            make_collation(column.type) if column.type.is_text else None,
            column.type.collation if column.type.is_text else None,
        ]
        for column in table.columns
    ]
    executor.send_table(collations, rows)


def load_rows(executor: Executor, target: BulkTarget, body: bytes) -> None:
    """Insert the rows of a bulk load, all or none of them. Raises SqlError."""
    kinds, rows = _read_rows(body)
    if len(kinds) != len(target.columns):
        raise make_error(4814)
    binder = executor.binder()
    catalogue, table = binder.find_table(target.table, "INSERT")
    cells = _cells(binder, table, target, kinds)
    storage = WriteBinder.storage_name(catalogue, table)
    listed = ", ".join(quote(column.name) for column in table.stored)
    relation = "bulk_rows"
    sql = f"INSERT INTO {storage} ({listed}) SELECT {', '.join(cells)} FROM {relation} AS q"
    count = 0

    connection = executor.session.connection

    def write() -> None:
        nonlocal count
        with executor.session.executing():
            found = connection.execute(sql, dict(binder.parameters)).fetchall()
        count = int(found[0][0])

    connection.register(relation, _table(kinds, rows))
    try:
        executor.in_transaction(write, table, "INSERT")
    except SqlError:
        executor.roll_back_failed()
        raise
    finally:
        connection.unregister(relation)
    executor.results.done(count, tokens.COMMANDS["INSERT"])


def _cells(binder: WriteBinder, table: Table, target: BulkTarget, kinds: Sequence[SqlType]) -> list[str]:
    places = {name.lower(): place for place, name in enumerate(target.columns)}
    for name in target.columns:
        if table.column(name) is None:
            raise make_error(207, name)
    catalogue = binder.environment.catalogue(binder.environment.database)
    cells = []
    for column in table.stored:
        place = places.get(column.name.lower())
        given = None if place is None else Value(f'q."c{place}"', kinds[place])
        cells.append(binder._cell(column, given, table, catalogue))
    return cells


def _read_rows(body: bytes) -> tuple[list[SqlType], list[list[Scalar]]]:
    reader = Reader(body)
    if reader.byte() != _METADATA:
        raise make_error(4002)
    described = []
    for _ in range(reader.number("H")):
        reader.take(6)  # user type, flags
        kind, token, size = read_type_info(reader)
        if kind.name in ("text", "ntext", "image"):
            reader.text(reader.number("H"))  # the table's name
        reader.text(reader.byte())
        described.append((kind, token, size))
    rows = []
    while reader.left and (mark := reader.byte()) != _DONE:
        if mark == _ROW:
            rows.append([read_value(reader, *column) for column in described])
        elif mark == _ROW_WITHOUT_NULLS:
            nulls = reader.take((len(described) + 7) // 8)
            rows.append(
                [
                    None if nulls[place // 8] >> place % 8 & 1 else read_value(reader, *column)
                    for place, column in enumerate(described)
                ]
            )
        else:
            raise make_error(4002)
    return [kind for kind, _, _ in described], rows


def _table(kinds: Sequence[SqlType], rows: Sequence[Sequence[Scalar]]) -> pa.Table:
    """The rows in the form of their storage, columns c0, c1, …"""
    columns = list(zip(*rows, strict=True)) or [()] * len(kinds)
    arrays = [_array(kind, values) for kind, values in zip(kinds, columns, strict=True)]
    return pa.table(arrays, [f"c{place}" for place in range(len(kinds))])


def _array(kind: SqlType, values: Sequence[Any]) -> pa.Array[Any]:
    if kind.is_decimal:
        return pa.array(values, pa.decimal128(kind.precision, kind.scale))
    if kind.storage == "DATE":
        days = [None if value is None else value - _EPOCH_DAYS for value in values]
        return pa.array(days, pa.int32()).cast(pa.date32())
    if kind.storage.startswith("STRUCT(t"):
        values = [None if value is None else {"t": value[0], "o": value[1]} for value in values]
    return pa.array(values, _ARROW_TYPES[kind.storage])
