"""Cursor and key values in exact text forms: no digit is lost between the server, a landing state and the server again.

=====================================  =========================================================
bit, integers, decimal, money          decimal digits
real, float                            the shortest digits that read back as the same number
date                                   ``2013-01-31``
smalldatetime                          ``2013-01-31T12:34``
datetime                               ``2013-01-31T12:34:56.007``, ticks of 1/300 s as the server rounds them
datetime2(n)                           ``2013-01-31T12:34:56.1234567``, n digits
datetimeoffset(n)                      ``2013-01-31T12:34:56.1234567+00:00``, n digits, always UTC
time(n)                                ``12:34:56.1234567``, n digits
binary, varbinary, rowversion          ``0x`` and hexadecimal digits
uniqueidentifier and text              as they are
=====================================  =========================================================

A value goes back as a parameter that the statement casts to the column's own type, so that equality and order are the
server's: a datetime compared as datetime2 would differ from itself below the millisecond. Text of a code page is cast
under the column's own collation: under the database's it would lose the letters that its code page lacks.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from hygge_engine.errors import CursorUnusable, HomeError
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.types import SourceColumn

_SHOWN_CHARACTERS = 40

Parameter = str | bytes | int | float

_TIMESTAMP = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<time>\d\d:\d\d)(?::(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,7}))?)?)?"
    r"\s*(?P<offset>Z|[+-]\d\d:\d\d)?"
)
_OFFSET_ZERO = "+00:00"

# The first timestamps of these types; a lag must not move a bound below them.
_EARLIEST = {"datetime": datetime(1753, 1, 1), "smalldatetime": datetime(1900, 1, 1)}


def parameter(column: SourceColumn, text: str) -> tuple[str, Parameter]:
    """The placeholder that compares with ``column``, and the value to bind to it.

    Raises CursorUnusable for the text of a value of another type, and for any of a column whose texts do not say which
    value they are of.
    """
    if column.base_type == "sql_variant":
        raise CursorUnusable(
            f"Column {column.name!r} is a sql_variant, whose values the server orders by the type of each: by the "
            "text of one, reading cannot continue after it.",
            hint="Declare another key, or read a query that gives the column one type: "
            f"CAST({quote(column.name)} AS nvarchar(400)) AS {quote(column.name)}.",
        )
    try:
        return _parameter(column, text)
    except ValueError as error:
        raise CursorUnusable(
            f"{text[:_SHOWN_CHARACTERS]!r} is not a valid {column.declaration}, which is what {column.name!r} holds.",
            hint="If the column's type has changed, reload the table with run_type full_drop. If not, check what the "
            "connection leads to.",
        ) from error


def _parameter(column: SourceColumn, text: str) -> tuple[str, Parameter]:
    match column.base_type:
        case "tinyint" | "smallint" | "int" | "bigint":
            return "?", int(text)
        case "bit":
            return "CAST(? AS bit)", int(text)
        case "real" | "float":
            return f"CAST(? AS {column.base_type})", float(text)
        case "binary" | "varbinary":
            return f"CAST(? AS {column.declaration})", bytes.fromhex(text.removeprefix("0x"))
        case "rowversion":
            return "CAST(? AS binary(8))", bytes.fromhex(text.removeprefix("0x"))
        case "datetime" | "smalldatetime":
            return f"CAST(? AS {column.base_type})", _bounded(column.base_type, text)
        case "nchar" | "nvarchar":
            return "?", text
        case "char" | "varchar" if column.collation:
            return f"CAST(? COLLATE {column.collation} AS {column.declaration})", text
        case _:
            return f"CAST(? AS {column.declaration})", text


def _bounded(type_name: str, text: str) -> str:
    value = datetime.fromisoformat(text)
    if value < _EARLIEST[type_name]:
        value = _EARLIEST[type_name]
    # Without seconds T-SQL does not take it for ISO 8601.
    return value.isoformat(timespec="milliseconds" if type_name == "datetime" else "seconds")


def to_text(column: SourceColumn, value: Any) -> str:
    """The exact text of a value that a driver or Arrow returned for ``column``.

    A string in place of a timestamp is the server's own rendering, with digits that no Python value holds. Raises
    HomeError for a value that has no exact text, NULL among them.
    """
    match value:
        case int():  # True and False among them
            return f"{value:d}"
        case datetime():
            return _timestamp_text(column, value.isoformat(timespec="microseconds"))
        case date() | time():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case float():
            return repr(value)
        case bytes():
            return "0x" + value.hex().upper()
        case str() if column.base_type in ("datetime2", "datetimeoffset"):
            return _timestamp_text(column, value)
        case str():
            return value
        case UUID():
            return f"{value}".upper()
        case _:
            raise HomeError(f"Column {column.name!r} holds a {type(value).__name__} that has no exact text.")


def _timestamp_text(column: SourceColumn, text: str) -> str:
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        raise HomeError(f"Column {column.name!r} holds a text that is not a valid {column.base_type}.")
    day, clock, offset = match["date"], match["time"] or "00:00", match["offset"]
    seconds, fraction = match["seconds"] or "00", match["fraction"] or ""
    if column.base_type == "smalldatetime":
        return f"{day}T{clock}"
    if column.base_type == "date":
        return day
    if column.base_type == "datetimeoffset" and offset not in (None, "Z", _OFFSET_ZERO):
        instant = datetime.fromisoformat(f"{day}T{clock}:{seconds}{offset}").astimezone(UTC).replace(tzinfo=None)
        day, _, instant_clock = instant.isoformat(timespec="seconds").partition("T")
        clock, _, seconds = instant_clock.rpartition(":")
    scale = 3 if column.base_type == "datetime" else column.scale
    digits = f".{fraction.ljust(scale, '0')[:scale]}" if scale else ""
    zone = _OFFSET_ZERO if column.base_type == "datetimeoffset" else ""
    return f"{day}T{clock}:{seconds}{digits}{zone}"
