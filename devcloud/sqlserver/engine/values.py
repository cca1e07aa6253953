"""Typed values on their way into DuckDB SQL."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from devcloud.sqlserver.types import SqlType

Scalar = int | Decimal | float | str | bytes | tuple[int, int] | tuple[str, str] | None
"""A value in Python, in the form of its storage (types.py): dates are days since 0001-01-01, other moments their
ticks, datetimeoffset (ticks, minutes), sql_variant (kind, body)."""

LONGEST_LITERAL: Final = 256
"""Characters or bytes; anything longer is bound as a parameter, so that megabytes need not be parsed as SQL."""


@dataclass(frozen=True, slots=True)
class Value:
    """A bound expression: DuckDB SQL, SQL Server type, and the constant if it is one.

    ``undeclared`` names the parameter whose type a client asks for, and which takes the type it meets.
    """

    sql: str
    type: SqlType
    nullable: bool = True
    is_constant: bool = False
    constant: Scalar = None
    identity: bool = False
    computed: bool = False
    undeclared: str | None = None
    denied: tuple[str, ...] = ()
    """Permission, column, table, database and schema, where this user may not read the column."""


class Parameters(dict[str, object]):
    """What is bound to the $names of a DuckDB statement."""

    def add(self, value: object) -> str:
        """Bind a value and return the SQL that stands for it."""
        name = f"v{len(self)}"
        self[name] = value
        return f"${name}"


def quote(name: str) -> str:
    """Return a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_bracketed(name: str) -> str:
    """Return a name as T-SQL delimits it."""
    return "[" + name.replace("]", "]]") + "]"


def quote_text(text: str) -> str:
    """Return a DuckDB string literal."""
    return "'" + text.replace("'", "''") + "'"


def days_to_date(days: int) -> datetime.date:
    """Return the date that many days after 0001-01-01."""
    return datetime.date.fromordinal(days + 1)


def date_to_days(date: datetime.date) -> int:
    """Return the days since 0001-01-01."""
    return date.toordinal() - 1


def make_constant(value: Scalar, kind: SqlType, parameters: Parameters) -> Value:
    """Return a constant of that type."""
    return Value(_literal(value, kind, parameters), kind, value is None, True, value)


def _literal(value: Scalar, kind: SqlType, parameters: Parameters) -> str:
    if value is None:
        return f"CAST(NULL AS {kind.storage})"
    if kind.name == "date" and isinstance(value, int):
        return f"DATE '{days_to_date(value).isoformat()}'"
    if isinstance(value, str):
        if len(value) > LONGEST_LITERAL or "\0" in value:
            return f"CAST({parameters.add(value)} AS VARCHAR)"
        return f"CAST({quote_text(value)} AS VARCHAR)"
    if isinstance(value, bytes):
        if len(value) > LONGEST_LITERAL:
            return f"CAST({parameters.add(value)} AS BLOB)"
        return f"unhex('{value.hex()}')"
    if isinstance(value, tuple):
        if isinstance(value[0], int):
            return f"{{'t': CAST({value[0]} AS BIGINT), 'o': CAST({value[1]} AS SMALLINT)}}"
        return f"{{'kind': {_text(value[0], parameters)}, 'body': {_text(str(value[1]), parameters)}}}"
    return (
        f"CAST('{value:f}' AS {kind.storage})" if isinstance(value, Decimal) else f"CAST('{value!r}' AS {kind.storage})"
    )


def _text(text: str, parameters: Parameters) -> str:
    return quote_text(text) if len(text) <= LONGEST_LITERAL and "\0" not in text else parameters.add(text)


def from_storage(value: object, kind: SqlType) -> Scalar:
    """Return a value that DuckDB's Python client fetched."""
    if value is None:
        return None
    if isinstance(value, datetime.date):
        return date_to_days(value)
    if isinstance(value, dict):
        first, second = value.values()
        return (int(first), int(second)) if kind.name == "datetimeoffset" else (str(first), str(second))
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | Decimal | str):
        return value
    raise TypeError(f"DuckDB returned {type(value).__name__} for {kind}")
