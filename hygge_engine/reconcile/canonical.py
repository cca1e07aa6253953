"""Values in one form, whatever a store keeps them in, so that equal values have equal hashes.

=====================  =======================================================================================
landed type            canonical form
=====================  =======================================================================================
integers, booleans     64-bit integer
decimal, uint64        decimal digits without trailing zeros
float32, float64       float64; -0.0 is 0.0, every NaN is one; NULL where the store cannot hold it
date                   days
timestamp              microseconds since 1970 in UTC; digits below are not compared
time                   microseconds since midnight
duration               count of the landed unit
text, bytes            as they are
=====================  =======================================================================================

Where a store keeps text in place of another type, it is read as that type. Text that is no such value stays text, and
so differs from every value that could have landed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl
import pyarrow as pa

Floats = Literal["all", "without NaN", "finite"]

_NANOSECONDS_PER_MICROSECOND = 1_000

# Distinct from the hashes of values.
_NO_VALUE_SEED = 0x5EED


class Canonical(NamedTuple):
    """A column's values, and the text that is not a value of its type (None where there can be none)."""

    value: pl.Expr
    rest: pl.Expr | None = None

    def hash(self, seed: int) -> pl.Expr:
        """64 bits for each row."""
        hashed = self.value.hash(seed)
        if self.rest is None:
            return hashed
        return pl.when(self.rest.is_not_null()).then(self.rest.hash(seed + _NO_VALUE_SEED)).otherwise(hashed)


def canonical(name: str, landed: pa.DataType, held: pl.DataType | None, floats: Floats) -> Canonical:
    """The column ``name`` of a frame, which has it as ``held`` (None: not at all), once landed as ``landed``."""
    column = pl.col(name)
    if held is None or held == pl.Null():
        return Canonical(pl.lit(None, pl.Int64))
    if pa.types.is_boolean(landed):
        return _boolean(column, held)
    if pa.types.is_decimal(landed) or pa.types.is_uint64(landed):
        return Canonical(_digits(column.cast(pl.String)))
    if pa.types.is_integer(landed) or pa.types.is_duration(landed):
        return _parsed(column, held, column.cast(pl.Int64, strict=False))
    if pa.types.is_floating(landed):
        return _floating(column, landed, held, floats)
    if pa.types.is_date(landed):
        days = column.str.to_date("%Y-%m-%d", strict=False) if held == pl.String() else column.cast(pl.Date)
        return _parsed(column, held, days.cast(pl.Int64))
    if pa.types.is_timestamp(landed):
        return _timestamp(column, held)
    if pa.types.is_time(landed):
        clock = column.str.to_time("%H:%M:%S%.f", strict=False) if held == pl.String() else column.cast(pl.Time)
        return _parsed(column, held, clock.to_physical() // _NANOSECONDS_PER_MICROSECOND)
    if _is_bytes(landed):
        return _parsed(column, held, column.str.decode("base64", strict=False) if held == pl.String() else column)
    return Canonical(column if held in (pl.String(), pl.Binary()) else column.cast(pl.String))


def _parsed(column: pl.Expr, held: pl.DataType, value: pl.Expr) -> Canonical:
    """``value``, and what of a column of text it leaves out."""
    if held != pl.String():
        return Canonical(value)
    return Canonical(value, pl.when(value.is_null()).then(column))


def _boolean(column: pl.Expr, held: pl.DataType) -> Canonical:
    if held == pl.String():
        words = column.replace_strict({"true": 1, "false": 0}, default=None, return_dtype=pl.Int64)
        return _parsed(column, held, words)
    return Canonical(column.cast(pl.Int64))


def _floating(column: pl.Expr, landed: pa.DataType, held: pl.DataType, floats: Floats) -> Canonical:
    # Text of a float32 has its digits only; anything else may have more, and is compared with all of them.
    narrow = held == pl.String() and not pa.types.is_float64(landed)
    value = (column.cast(pl.Float32, strict=False) if narrow else column).cast(pl.Float64, strict=False)
    parsed = _parsed(column, held, value)
    value = value + 0.0
    match floats:
        case "all":
            value = value.fill_nan(float("nan"))
        case "without NaN":
            value = value.fill_nan(None)
        case "finite":
            value = pl.when(value.is_finite()).then(value)
    return Canonical(value, parsed.rest)


def _timestamp(column: pl.Expr, held: pl.DataType) -> Canonical:
    if held == pl.String():
        text = column.str.replace(" ", "T", literal=True).str.strip_suffix("Z")
        moment = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        return _parsed(column, held, moment.to_physical())
    if isinstance(held, pl.Datetime):
        return Canonical(column.dt.cast_time_unit("us").to_physical())
    return Canonical(column.cast(pl.String))


def _digits(text: pl.Expr) -> pl.Expr:
    """Decimal digits without zeros at the end, and without the sign of zero."""
    short = pl.when(text.str.contains(".", literal=True)).then(text.str.replace(r"\.?0+$", "")).otherwise(text)
    return short.replace("-0", "0")


def _is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_)
