"""Arrow's types in SQLite, which knows four: nothing is rounded, and text sorts as the values do."""

from __future__ import annotations

from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import StoreError

# Fixed numbers of digits, so that text compares as the times do; SQLite's own functions read all of these.
_DATE = "%Y-%m-%d"
_UNITS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_FRACTIONS = {"ms": "%.3f", "us": "%.6f", "ns": "%.9f"}

# Days since 1970 of the first and last one that four digits can write the year of.
_FIRST_DAY = -719_162
_LAST_DAY = 2_932_896


def declared_type(type_: pa.DataType) -> str:
    """The type that a column is declared with."""
    if pa.types.is_uint64(type_):
        return "TEXT"  # SQLite's integers have a sign
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_) or pa.types.is_duration(type_):
        return "INTEGER"
    if pa.types.is_floating(type_):
        return "REAL"
    if _is_bytes(type_):
        return "BLOB"
    return "TEXT"


def rows_of(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    """The batch's rows as SQLite takes them. Raises StoreError for a time whose text would not sort."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        _check_years(name, column)
    frame = cast("pl.DataFrame", pl.from_arrow(batch))
    return frame.select(_written(name, type_) for name, type_ in frame.schema.items()).rows()


def _check_years(name: str, column: pa.Array[Any]) -> None:
    """Raises StoreError for years that four digits cannot write: their text would be out of order."""
    if pa.types.is_date32(column.type):
        per_day = 1
    elif pa.types.is_timestamp(column.type):
        per_day = _UNITS_PER_DAY[cast("Any", column.type).unit]
    else:
        return
    found = pc.min_max(column.view(cast("Any", pa.int32() if per_day == 1 else pa.int64())))
    least, most = found["min"].as_py(), found["max"].as_py()
    if least is not None and (least < _FIRST_DAY * per_day or most >= (_LAST_DAY + 1) * per_day):
        raise StoreError(
            f"Column {name!r} has a date or time outside the years 1 to 9999, which SQLite's text has no room for.",
            hint="Correct the source, or leave the column out.",
        )


def _written(name: str, type_: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    match type_:
        case pl.Datetime(time_unit=unit, time_zone=zone):
            if zone is not None:
                column = column.dt.convert_time_zone("UTC")
            return column.dt.strftime(f"{_DATE}T%H:%M:%S{_FRACTIONS[unit]}{'Z' if zone else ''}")
        case pl.Date():
            return column.dt.strftime(_DATE)
        case pl.Time():
            return column.dt.strftime("%H:%M:%S%.6f")
        case pl.Decimal() | pl.UInt64():
            return column.cast(pl.String)
        case pl.Boolean() | pl.Duration():
            return column.cast(pl.Int64)
        case _:
            return column


def _is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_)
