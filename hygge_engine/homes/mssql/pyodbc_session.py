"""Sessions over pyodbc, for images where mssql-python cannot be loaded: the same batches, from Python objects."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache, partial
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyodbc

from hygge_engine.homes.mssql.connect import APPLICATION_NAME, LANGUAGE, connection_string
from hygge_engine.homes.mssql.driver_session import DriverSession
from hygge_engine.homes.mssql.drivers import SYSTEM_DRIVER, packaged_driver
from hygge_engine.homes.mssql.errors import Diagnosis, diagnose_pyodbc
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.session import batch_of, gather, is_unbounded
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.values import Parameter

# SQL_SS_TIME2 of msodbcsql.h and its structure: hours to seconds, nanoseconds.
_TIME = -154
_TIME2 = struct.Struct("<HHHxxI")

# SQL_SS_TIMESTAMPOFFSET of msodbcsql.h and its structure: year to second, nanoseconds, hours and minutes of offset.
_DATETIMEOFFSET = -155
_TIMESTAMP_OFFSET = struct.Struct("<hHHHHHIhh")

_ARROW_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    float: pa.float64(),
    str: pa.large_string(),
    bytes: pa.large_binary(),
    bytearray: pa.large_binary(),
    date: pa.date32(),
    datetime: pa.timestamp("us"),
    # By the output converter: a Python time has no seventh digit.
    time: pa.large_string(),
}

# The decimal digits that ODBC says tinyint, smallint, int and bigint have; the bits of a real.
_INTEGERS: tuple[tuple[int, pa.DataType], ...] = ((3, pa.uint8()), (5, pa.int16()), (10, pa.int32()), (20, pa.int64()))
_REAL_BITS = 24


# What one INSERT takes: rows of VALUES, and parameters, two of which the driver needs.
_MOST_ROWS = 1_000
_MOST_PARAMETERS = 2_098

_PARAMETER_TYPES: dict[pa.DataType, tuple[int, int, int]] = {
    pa.bool_(): (pyodbc.SQL_BIT, 0, 0),
    pa.uint8(): (pyodbc.SQL_TINYINT, 0, 0),
    pa.int16(): (pyodbc.SQL_SMALLINT, 0, 0),
    pa.int32(): (pyodbc.SQL_INTEGER, 0, 0),
    pa.int64(): (pyodbc.SQL_BIGINT, 0, 0),
    pa.float32(): (pyodbc.SQL_REAL, 0, 0),
    pa.float64(): (pyodbc.SQL_DOUBLE, 0, 0),
    pa.date32(): (pyodbc.SQL_TYPE_DATE, 0, 0),
}
# Which lengths of text and binary values are distinguished: short ones, what a key takes, what is not (max).
_TEXT_SIZES = (50, 450, 4_000)
_BINARY_SIZES = (100, 900, 8_000)
# The columns of a datetime2(7) and a time(7) as text, and their digits.
_TIMESTAMP = (pyodbc.SQL_TYPE_TIMESTAMP, 27, 7)
_TIME_OF_DAY = (_TIME, 16, 7)


class PyodbcSession(DriverSession):
    """One connection of its own."""

    driver_errors: ClassVar[tuple[type[Exception], ...]] = (pyodbc.Error,)

    def insert(self, table: str, rows: pa.RecordBatch, *, doing: str) -> None:
        """Statements of many rows each, with a parameter for each value.

        The driver's arrays of parameters (``fast_executemany``) take longer, and keep the interpreter's lock while the
        server works.
        """
        names = ", ".join(quote(name) for name in rows.schema.names)
        places = f"({', '.join('?' * rows.num_columns)})"
        types = [_parameter_type(column) for column in rows.columns]
        at_once = max(1, min(_MOST_ROWS, _MOST_PARAMETERS // rows.num_columns))

        def insert_from(first: int) -> None:
            part = rows.slice(first, at_once)
            cursor.setinputsizes(types * part.num_rows)
            listed = ", ".join([places] * part.num_rows)
            cursor.execute(f"INSERT INTO {table} ({names}) VALUES {listed}", _values(part))  # noqa: S608 - quoted

        cursor = self.call(lambda: self._begin("BEGIN TRANSACTION", ()), doing)
        for first in range(0, rows.num_rows, at_once):
            self.call(partial(insert_from, first), doing)
        self.call(lambda: cursor.execute("COMMIT TRANSACTION"), doing)
        self.call(cursor.close, doing)

    def _connect(self, connection: MssqlConnection, attributes: dict[int, bytes]) -> pyodbc.Connection:
        opened = pyodbc.connect(
            f"Driver={{{_driver()}}};APP={APPLICATION_NAME};{LANGUAGE}{connection_string(connection)}",
            autocommit=True,
            timeout=connection.login_timeout_seconds,
            attrs_before={**attributes},
        )
        opened.timeout = connection.query_timeout_seconds
        opened.add_output_converter(_DATETIMEOFFSET, _instant)
        opened.add_output_converter(_TIME, _clock)
        return opened

    def _begin(self, sql: str, parameters: Sequence[Parameter]) -> pyodbc.Cursor:
        return self._connection.cursor().execute(sql, *parameters)

    def _fetch(self, sql: str, parameters: Sequence[Parameter], doing: str, most: int | None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, *parameters)
            rows = gather(cursor.fetchmany, doing, most)
            if most is not None:
                cursor.cancel()  # or the driver would read the rest before the connection is of use again
            return rows

    def _stream(self, cursor: pyodbc.Cursor, doing: str) -> _PyodbcStream:
        return _PyodbcStream(self, cursor, doing)

    def _diagnose(self, error: Any) -> Diagnosis:
        return diagnose_pyodbc(error.args)


class _PyodbcStream:
    """Rows through ``fetchmany``, column by column into Arrow."""

    def __init__(self, session: PyodbcSession, cursor: pyodbc.Cursor, doing: str) -> None:
        self._session = session
        self._cursor = cursor
        self._doing = doing
        self._schema = pa.schema(
            [
                (name, _arrow_type(kind, precision, scale))
                for name, kind, _, _, precision, scale, _ in cursor.description
            ]
        )
        self._sized = [
            number for number, column in enumerate(cursor.description) if column[1] in (str, bytes, bytearray)
        ]

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    @property
    def is_unbounded(self) -> bool:
        return is_unbounded(self._cursor.description)

    def fetch(self, rows: int, limit_bytes: int | None = None) -> pa.RecordBatch:
        return self._session.call(lambda: self._fetch(rows, limit_bytes), self._doing)

    def _fetch(self, rows: int, limit_bytes: int | None) -> pa.RecordBatch:
        if limit_bytes is not None:
            fetched = self._fetch_within(rows, limit_bytes)
        else:
            fetched = self._cursor.fetchmany(rows) if rows else []
        if rows and not fetched:
            # The server's own report may follow the last row: a deadlock victim learns of it here.
            self._cursor.nextset()
        return batch_of(fetched, self._schema)

    def _fetch_within(self, rows: int, limit_bytes: int) -> list[pyodbc.Row]:
        fetched: list[pyodbc.Row] = []
        held = 0
        while len(fetched) < rows and held < limit_bytes and (row := self._cursor.fetchone()) is not None:
            fetched.append(row)
            held += sum(len(value) for place in self._sized if (value := row[place]) is not None)
        return fetched

    def close(self) -> None:
        self._session.release(self._cancel)

    def _cancel(self) -> None:
        self._cursor.cancel()
        self._cursor.close()


def _arrow_type(kind: type, precision: int, scale: int) -> pa.DataType:
    """The type of a column of Python values: ``precision`` distinguishes an int from a bigint, and a real from a
    float."""
    if kind is Decimal:
        return pa.decimal128(precision, scale)
    if kind is int:
        return next(narrow for digits, narrow in _INTEGERS if precision <= digits)
    if kind is float and precision <= _REAL_BITS:
        return pa.float32()
    return _ARROW_TYPES.get(kind, pa.large_string())


def _parameter_type(column: pa.Array[Any]) -> tuple[int, int, int]:
    """The type, size and digits of a column's parameters. Rows of one statement have to agree on them: of several the
    server makes one, and a decimal would lose digits."""
    type_ = column.type
    if pa.types.is_decimal(type_):
        return (pyodbc.SQL_DECIMAL, type_.precision, type_.scale)
    if pa.types.is_timestamp(type_):
        return _TIMESTAMP
    if pa.types.is_time(type_):
        return _TIME_OF_DAY
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return (pyodbc.SQL_VARBINARY, _size(column, _BINARY_SIZES), 0)
    if type_ in _PARAMETER_TYPES:
        return _PARAMETER_TYPES[type_]
    return (pyodbc.SQL_WVARCHAR, _size(column, _TEXT_SIZES), 0)


def _size(column: Any, sizes: Sequence[int]) -> int:
    """The first size that is enough, 0 for (max): each makes another statement for the server. No text has more UTF-16
    units than bytes in UTF-8."""
    longest = 0 if pa.types.is_null(column.type) else pc.max(pc.binary_length(column)).as_py() or 0
    return next((size for size in sizes if longest <= size), 0)


def _values(rows: pa.RecordBatch) -> list[Any]:
    """The values of rows, one row after the other. A plain None would have the driver ask the server for its type."""
    columns = [_moments(column).to_pylist() for column in rows.columns]
    return [pyodbc.BinaryNull if value is None else value for row in zip(*columns, strict=True) for value in row]


def _moments(column: pa.Array[Any]) -> pa.Array[Any]:
    """Timestamps and times as text, with no more than the seven digits that SQL Server has: Python's have six, and
    pyodbc sends those of a time without any."""
    if pa.types.is_timestamp(column.type):
        return pc.utf8_slice_codeunits(column.cast(pa.string()), 0, _TIMESTAMP[1])
    if pa.types.is_time(column.type):
        return pc.utf8_slice_codeunits(column.cast(pa.string()), 0, _TIME_OF_DAY[1])
    return column


def _clock(raw: bytes) -> str:
    """A time as text with its seven digits."""
    hour, minute, second, nanoseconds = _TIME2.unpack(raw)
    return f"{hour:02d}:{minute:02d}:{second:02d}.{nanoseconds // 100:07d}"


def _instant(raw: bytes) -> str:
    """A datetimeoffset as text in UTC, down to the microsecond, which is what Arrow's timestamp holds."""
    year, month, day, hour, minute, second, nanoseconds, offset_hours, offset_minutes = _TIMESTAMP_OFFSET.unpack(raw)
    zone = timezone(timedelta(hours=offset_hours, minutes=offset_minutes))
    local = datetime(year, month, day, hour, minute, second, nanoseconds // 1000, tzinfo=zone)
    return local.astimezone(UTC).isoformat(timespec="microseconds")


@cache
def _driver() -> str:
    """The system's ODBC driver, or else the file that the mssql-python-odbc package carries."""
    return SYSTEM_DRIVER if SYSTEM_DRIVER in pyodbc.drivers() else str(packaged_driver() or SYSTEM_DRIVER)
