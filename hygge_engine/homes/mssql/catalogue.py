"""What a server's catalogue says of a table, a view or a query.

The sys views come first. A server that speaks the protocol without having all of them is asked through
INFORMATION_SCHEMA, and one that has neither by the columns of an empty result; each step back knows less of types and
keys, and says no more than it knows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby
from typing import Any

import pyarrow as pa

from hygge_engine.errors import HomeError, HomeNotFound, HomeUnavailable
from hygge_engine.homes.mssql.identifiers import DEFAULT_SCHEMA, parse_table_name, qualify, quote, split_name
from hygge_engine.homes.mssql.query import select
from hygge_engine.homes.mssql.session import Session, whole
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.homes.mssql.single_select import without_end
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.letter_case import confusable
from hygge_engine.project.telling.problems import nearest

_OBJECT = """\
SELECT o.object_id, RTRIM(o.type) AS object_type FROM sys.objects AS o \
JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE s.name = ? AND o.name = ? AND o.type IN ('U', 'V', 'SN')"""

_SYNONYM = "SELECT base_object_name, DB_NAME() FROM sys.synonyms WHERE object_id = ?"

# A type's own row for CLR types, which share one system_type_id; the system type's row for aliases of it.
_COLUMNS = """\
SELECT c.name, t.name AS system_type, u.name AS user_type, c.max_length, c.precision, c.scale, c.is_nullable, \
{facts} FROM sys.columns AS c LEFT JOIN sys.types AS t ON t.user_type_id = c.system_type_id \
LEFT JOIN sys.types AS u ON u.user_type_id = c.user_type_id WHERE c.object_id = ? ORDER BY c.column_id"""

# What sys.columns has since SQL Server 2017, 2016, and before; a server that only speaks the protocol may have less.
FACTS = (
    "c.collation_name, c.is_masked, c.encryption_type, c.graph_type",
    "c.collation_name, c.is_masked, c.encryption_type, NULL",
    "c.collation_name, 0, NULL, NULL",
    "NULL, 0, NULL, NULL",
)

# Columns of graph tables that no statement may name: the ids of nodes and objects. The texts made of them may be read.
GRAPH_INTERNAL = (1, 3, 4, 6, 7)

_UNMASK = """\
SELECT HAS_PERMS_BY_NAME(?, 'OBJECT', 'UNMASK', ?, 'COLUMN'), HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UNMASK')"""

_UNIQUE_INDEXES = """\
SELECT i.index_id, i.has_filter, i.is_disabled, c.name FROM sys.indexes AS i \
JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id \
JOIN sys.columns AS c ON c.object_id = ic.object_id AND c.column_id = ic.column_id \
WHERE i.object_id = ? AND i.is_unique = 1 AND ic.is_included_column = 0 \
ORDER BY i.is_primary_key DESC, i.index_id, ic.key_ordinal"""

_INDEXES = """\
SELECT i.name, i.type, c.name AS column_name FROM sys.indexes AS i \
JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id \
JOIN sys.columns AS c ON c.object_id = ic.object_id AND c.column_id = ic.column_id \
WHERE i.object_id = OBJECT_ID(?) AND i.has_filter = 0 AND i.is_disabled = 0 AND i.type IN (1, 2) \
ORDER BY i.index_id, ic.index_column_id"""

_CLUSTERED = 1

_ROWS = "SELECT SUM(p.rows) FROM sys.partitions AS p WHERE p.object_id = ? AND p.index_id IN (0, 1)"

_NAMES = """\
SELECT s.name, o.name FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
WHERE o.type IN ('U', 'V', 'SN')"""

_STANDARD_COLUMNS = """\
SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, \
IS_NULLABLE, COLLATION_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
ORDER BY ORDINAL_POSITION"""

_STANDARD_KEY = """\
SELECT k.COLUMN_NAME FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS AS t \
JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE AS k \
ON k.CONSTRAINT_SCHEMA = t.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = t.CONSTRAINT_NAME \
WHERE t.CONSTRAINT_TYPE = 'PRIMARY KEY' AND t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ? ORDER BY k.ORDINAL_POSITION"""

_RESULT_SET_PROCEDURE = "sp_describe_first_result_set"
_RESULT_SET = f"EXEC {_RESULT_SET_PROCEDURE} @tsql = ?"

# 'decimal(10,2)', 'nvarchar(max)', 'datetime2(7)', 'int'
_TYPE_NAME = re.compile(r"\s*([^(]+?)\s*(?:\(.*)?")

_COLLATION_NAME = re.compile(r"\w+", re.ASCII)

_UTF16_BYTES = 2

_NO_ROWS = "1 = 0"

_SUGGESTED_FROM = 10_000

_SYNONYM_KIND = "SN"

# The most that a column outside of (max) holds, in bytes.
_UNKNOWN_LENGTH = 8000


@dataclass(frozen=True)
class SourceObject:
    """What is read: ``sql`` stands between FROM and an alias. ``key`` is empty where the catalogue knows none.

    ``tracked`` is the table whose changes Change Tracking can list, quoted; empty for queries, and for what lies in
    another database. ``stands_for`` is what a synonym leads to; empty for everything else.
    """

    name: str
    sql: str
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...] = ()
    approximate_rows: int | None = None
    tracked: str = ""
    stands_for: str = ""


def describe_source(session: Session, settings: MssqlHomeSettings) -> SourceObject:
    """The table, view or query that the settings name.

    Raises what `describe_table` and `describe_query` raise; HomeUnavailable where the server's responses do not match:
    one that arrived twice is taken for that to the next query.
    """
    try:
        if settings.table is not None:
            return describe_table(session, *parse_table_name(settings.table))
        return describe_query(session, settings.query or "")
    except (IndexError, TypeError, ValueError) as error:
        raise HomeUnavailable(
            f"Describing {settings.table or 'the query'}: the server's responses do not match the requests ({error}).",
            hint="The load tries again. If it lasts, see what lies between here and the server.",
        ) from error


def describe_table(session: Session, schema: str, name: str) -> SourceObject:
    """The columns and key of a table, a view, or what a synonym stands for.

    Raises HomeNotFound with the nearest name, HomePermissionDenied.
    """
    label = f"{schema}.{name}"
    sql = qualify(schema, name)
    if described := _described_by_catalogue(session, schema, name, label):
        return described
    standard = _ask(session, _STANDARD_COLUMNS, (schema, name), label)
    if standard:
        columns = tuple(_standard_column(row) for row in standard)
        return SourceObject(label, sql, columns, _standard_key(session, schema, name, columns), tracked=sql)
    # The catalogue hides what a login may not see: only the server itself distinguishes "no such table" from "no
    # permission".
    try:
        columns = _described_by_server(session, sql, label)
    except HomeNotFound as error:
        raise _not_found(session, schema, name, error) from error
    return SourceObject(label, sql, columns, tracked=sql)


def _described_by_catalogue(
    session: Session, schema: str, name: str, label: str, database: str = "", *, follow: bool = True
) -> SourceObject | None:
    """What the sys views of a database say, of the connection's own where none is named; None where they do not know.

    ``follow``: a synonym is described as what it stands for, and read by its own name, which is what may be granted.
    """
    views = f"{quote(database)}.sys." if database else "sys."

    def ask(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return _ask(session, sql.replace("sys.", views), parameters, label) or []

    def unmasks(place: str, column: SourceColumn) -> bool:
        return any(permission == 1 for row in ask(_UNMASK, place, column.name) for permission in row)

    found = ask(_OBJECT, schema, name)
    if not found:
        return None
    object_id, kind = found[0]
    sql = qualify(schema, name)
    if kind == _SYNONYM_KIND:
        base = _base_of(ask(_SYNONYM, object_id)) if follow else None
        described = base and _described_by_catalogue(session, *base[1:], label, base[0], follow=False)
        if not base or not described:
            return None
        return replace(described, name=label, sql=sql, stands_for=".".join(part for part in base if part))
    described_columns = (ask(_COLUMNS.replace("{facts}", facts), object_id) for facts in FACTS)
    columns = tuple(
        column_of(row) for row in next(filter(None, described_columns), ()) if row[-1] not in GRAPH_INTERNAL
    )
    if not columns:
        return None
    place = f"{quote(database)}.{sql}" if database else sql
    columns = tuple(replace(column, masked=column.masked and not unmasks(place, column)) for column in columns)
    key = key_of(ask(_UNIQUE_INDEXES, object_id), columns)
    if not key and kind != "V" and not database:
        key = _standard_key(session, schema, name, columns)
    count = _statistic(ask(_ROWS, object_id))
    return SourceObject(label, sql, columns, key, count, "" if database else sql)


def covering_index(session: Session, table: str, columns: Collection[str], label: str) -> str | None:
    """The index of a table, quoted, that has these columns and fewest others besides, without the rows; empty where
    there is none, None from a server that does not say."""
    rows = _ask(session, _INDEXES, (table,), label)
    if rows is None:
        return None
    found: dict[tuple[int, str], set[str]] = {}
    for name, kind, column in rows:
        found.setdefault((kind, str(name)), set()).add(str(column))
    # Each other index has the columns of the clustered one, too.
    clustered = next((members for (kind, _), members in found.items() if kind == _CLUSTERED), set[str]())
    covering = {
        name: len(members)
        for (kind, name), members in found.items()
        if kind != _CLUSTERED and members | clustered >= set(columns)
    }
    return min(covering, key=covering.__getitem__) if covering else ""


def _base_of(rows: Sequence[tuple[Any, ...]]) -> tuple[str, str, str] | None:
    """Database (empty for the connection's own), schema and name of a synonym's base; None for one on another server,
    and for one that is unknown."""
    if not rows:
        return None
    name, own = rows[0]
    try:
        server, database, schema, base = ["", "", "", *split_name(str(name))][-4:]
    except ValueError:
        return None
    if server:
        return None
    return "" if database == own else database, schema or DEFAULT_SCHEMA, base


def describe_query(session: Session, query: str) -> SourceObject:
    """The columns of a query's result, which the server describes without running it; it has no key that a catalogue
    knows."""
    # On lines of their own, so that a comment at the query's end ends there.
    sql = f"(\n{without_end(query).strip()}\n)"
    columns = _describe_result(session, query, sql)
    unnamed = [number for number, column in enumerate(columns, start=1) if not column.name]
    if unnamed:
        raise HomeError(f"Column {unnamed[0]} of the query has no name.", hint="Name it with AS.")
    _check_names(session, sql, [column.name for column in columns])
    return SourceObject("query", sql, columns)


def _check_names(session: Session, sql: str, names: Sequence[str]) -> None:
    """Raise HomeError for columns of one name. Whether names that differ in case are one is the server's to say: it
    describes a query that it does not take into parentheses."""
    hint = "Give each a name of its own with AS."
    seen: dict[str, set[str]] = {}
    alike: list[str] = []
    for name in names:
        spellings = seen.setdefault(confusable(name), set())
        if name in spellings:
            raise HomeError(f"The query has several columns of the name {name!r}.", hint=hint)
        spellings.add(name)
        if len(spellings) > 1 and not alike:
            alike = sorted(spellings)
    if not alike:
        return
    try:
        _columns_of_result(session, select("*", sql, _NO_ROWS), "the query")
    except HomeError as error:
        if error.transient:
            raise
        raise HomeError(
            f"The query has the columns {alike[0]!r} and {alike[1]!r}, which are one name to the server: "
            f"{error.message}",
            hint=hint,
        ) from error


def _ask(session: Session, sql: str, parameters: Sequence[Any], label: str) -> list[tuple[Any, ...]] | None:
    """The rows of a catalogue query, None from a server that does not have these views."""
    try:
        return session.fetch_all(sql, parameters, doing=f"Reading the catalogue of {label}")
    except HomeError as error:
        if error.transient:
            raise
        return None


def column_of(row: tuple[Any, ...]) -> SourceColumn:
    """A column by its row of sys.columns: name, system and user type, sizes, and the `FACTS`."""
    name, system_type, user_type, max_length, precision, scale, nullable, collation, masked, encryption, _ = row
    return SourceColumn(
        name,
        system_type or user_type or "",
        *_sizes(name, max_length, precision, scale),
        bool(nullable),
        _collation(collation),
        masked=bool(masked),
        encrypted=encryption is not None,
    )


def _sizes(name: str | None, max_length: object, precision: object, scale: object) -> tuple[int, int, int]:
    doing = f"Describing the column {name!r}"
    return whole(max_length, doing), whole(precision, doing), whole(scale, doing)


def _statistic(rows: Sequence[tuple[Any, ...]]) -> int | None:
    """How many rows a table has by the server's statistics, which may be wrong, or none at all."""
    value = rows[0][0] if rows else None
    return int(value) if isinstance(value, int | Decimal) and 0 <= value < math.inf else None


def _collation(name: str | None) -> str:
    """A collation's name as T-SQL takes it, bare: empty for what is not such a name."""
    return name if name and _COLLATION_NAME.fullmatch(name) else ""


def key_of(rows: list[tuple[Any, ...]] | None, columns: Sequence[SourceColumn]) -> tuple[str, ...]:
    """The columns of the first unique index that identifies every row and that the server can order by."""
    for _, group in groupby(rows or (), key=lambda row: row[0]):
        members = list(group)
        names = tuple(str(row[3]) for row in members)
        if not any(row[1] or row[2] for row in members) and _identifies(names, columns):
            return names
    return ()


def _identifies(names: Sequence[str], columns: Sequence[SourceColumn]) -> bool:
    by_name = {column.name: column for column in columns}
    return all(
        name in by_name and by_name[name].is_orderable and not by_name[name].nullable for name in names
    ) and bool(names)


def _standard_column(row: tuple[Any, ...]) -> SourceColumn:
    name, type_name, characters, precision, scale, datetime_precision, nullable, collation = row
    length, precision, digits = _sizes(
        name, characters or 0, precision or 0, (datetime_precision if scale is None else scale) or 0
    )
    if length > 0 and type_name.lower() in ("nchar", "nvarchar"):
        length *= _UTF16_BYTES
    return SourceColumn(name, type_name, length, precision, digits, nullable != "NO", _collation(collation))


def _standard_key(session: Session, schema: str, name: str, columns: Sequence[SourceColumn]) -> tuple[str, ...]:
    rows = _ask(session, _STANDARD_KEY, (schema, name), f"{schema}.{name}")
    names = tuple(str(row[0]) for row in rows or ())
    return names if _identifies(names, columns) else ()


def _result_column(row: tuple[Any, ...]) -> SourceColumn:
    # The procedure's result: is_hidden, column_ordinal, name, is_nullable, system_type_id, system_type_name,
    # max_length, precision, scale, collation_name, user_type_id, its database, schema and name, …
    name, nullable, type_name, max_length, precision, scale, collation = row[2:4] + row[5:10]
    match = _TYPE_NAME.fullmatch(type_name or row[13] or "")
    return SourceColumn(
        name or "",
        match[1] if match else "",
        *_sizes(name, max_length, precision, scale),
        bool(nullable),
        _collation(collation),
    )


def _described_by_server(session: Session, sql: str, label: str) -> tuple[SourceColumn, ...]:
    """The columns of a table as the server finds them when it compiles a statement, whatever its catalogue shows."""
    try:
        rows = session.fetch_all(_RESULT_SET, (select("*", sql),), doing=f"Describing {label}")
    except HomeError as error:
        if error.transient:
            raise
        rows = []
    columns = tuple(_result_column(row) for row in rows)
    return columns or _columns_of_result(session, select("*", sql, _NO_ROWS), label)


def _describe_result(session: Session, query: str, sql: str) -> tuple[SourceColumn, ...]:
    try:
        rows = session.fetch_all(_RESULT_SET, (query,), doing="Describing the query")
        return tuple(_result_column(row) for row in rows)
    except HomeError as error:
        if error.transient:
            raise
        refused = error
    try:
        return _columns_of_result(session, select("*", sql, _NO_ROWS), "the query")
    except HomeError as error:
        # A server that lacks the procedure names it; any other first complaint is the one about the query itself.
        if error.transient or _RESULT_SET_PROCEDURE in refused.message:
            raise
        raise refused from error


def _columns_of_result(session: Session, sql: str, label: str) -> tuple[SourceColumn, ...]:
    stream = session.stream(sql, doing=f"Describing {label}")
    try:
        return tuple(_arrow_column(field) for field in stream.schema)
    finally:
        stream.close()


def _arrow_column(field: pa.Field[pa.DataType]) -> SourceColumn:
    """The narrowest SQL Server type that holds all that a driver may deliver as this Arrow type."""
    kind = field.type
    if pa.types.is_decimal(kind):
        return SourceColumn(field.name, "decimal", precision=kind.precision, scale=kind.scale)
    if pa.types.is_timestamp(kind):
        return SourceColumn(field.name, "datetime2" if kind.tz is None else "datetimeoffset", scale=7)
    names = {
        pa.bool_(): "bit",
        pa.uint8(): "tinyint",
        pa.int8(): "smallint",
        pa.int16(): "smallint",
        pa.int32(): "int",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "float",
        pa.date32(): "date",
    }
    if kind in names:
        return SourceColumn(field.name, names[kind])
    if pa.types.is_time(kind):
        return SourceColumn(field.name, "time", scale=7)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return SourceColumn(field.name, "varbinary" if binary else "nvarchar", max_length=_UNKNOWN_LENGTH)


def _names(session: Session) -> list[tuple[Any, ...]]:
    """Names to suggest one of, as many as are worth the while."""
    try:
        return session.fetch_some(_NAMES, _SUGGESTED_FROM, doing="Reading the catalogue of the database")
    except HomeError as error:
        if error.transient:
            raise
        return []


def _not_found(session: Session, schema: str, name: str, error: HomeNotFound) -> HomeNotFound:
    names = [f"{row[0]}.{row[1]}" for row in _names(session)]
    like = nearest(f"{schema}.{name}", names)
    hint = f"Did you mean `{like}`?" if like else "The database has no such table or view that this login may see."
    if like == f"{schema}.{name}":
        hint = "It is there itself: a synonym or a view whose own table is gone, or hidden from this login."
    return HomeNotFound(f"There is no table or view {schema}.{name}: {error.message}", hint=hint)
