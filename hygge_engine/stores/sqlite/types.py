"""Arrow's types in SQLite, which knows four: nothing is rounded, and text sorts as the values do."""

from __future__ import annotations

from typing import Any, cast

import polars as pl
import pyarrow as pa

from hygge_engine.stores.years import check_years

# Fixed numbers of digits, so that text compares as the times do; SQLite's own functions read all of these.
_DATE = "%Y-%m-%d"
_FRACTIONS = {"ms": "%.3f", "us": "%.6f", "ns": "%.9f"}


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
    check_years(batch, "SQLite's text")
    frame = cast("pl.DataFrame", pl.from_arrow(batch))
    return frame.select(_written(name, type_) for name, type_ in frame.schema.items()).rows()


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
