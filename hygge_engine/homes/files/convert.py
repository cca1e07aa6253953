"""Text into values: the types that a CSV or NDJSON column may have, and which of them fits what a column holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.homes.files.settings import ColumnSettings
from hygge_engine.homes.files.types import TIMESTAMP

_INTEGER = r"^[+-]?(?:0|[1-9]\d*)$"
_NUMBER = r"^[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$"
# More digits than a float64 holds, and no mark that says that it is one: an identifier.
_LONG_INTEGER = r"^[+-]?\d{16,}$"
_DATE = r"^\d{4}-\d\d-\d\d$"
_MOMENT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?\s*(?:Z|[+-]\d\d:?\d\d)?$"

_TRUE = ["true", "t", "yes", "y", "1"]
_FALSE = ["false", "f", "no", "n", "0"]

# Serial days of a spreadsheet: day 0 of either epoch. The epoch of 1900 has a 29 February that never was (day 60).
_EPOCH_1904 = "1904-01-01"
_EPOCH_1900 = "1899-12-31"
_FALSE_LEAP_DAY = 60
_DAY_MICROSECONDS = 86_400_000_000

# From the narrowest: the first that fits all values is a column's type.
CANDIDATES = ("bool", "int64", "float64", "date", "timestamp", "string")

_PLAIN: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": TIMESTAMP,
}
_WHOLE = {"int16": pl.Int16, "int32": pl.Int32, "int64": pl.Int64}


def arrow_type(settings: ColumnSettings) -> pa.DataType:
    """The Arrow type of a declared column."""
    if settings.type.startswith("decimal"):
        return pa.decimal128(*_digits(settings.type))
    return _PLAIN[settings.type]


def to_values(texts: pl.Series, settings: ColumnSettings, decimal: str = ".") -> pa.Array[Any] | int:
    """Values of a declared type, or the number of the first row whose text is none.

    ``decimal`` is the decimal mark. Blanks around anything but text do not count.
    """
    if settings.type == "string":
        return _arrow(texts, pa.string())
    texts = texts.str.strip_chars()
    values = _parse(texts, settings, decimal)
    wrong = (texts.is_not_null() & values.is_null()).arg_true()
    if len(wrong):
        return int(wrong[0])
    return _arrow(values, arrow_type(settings))


def fitting(texts: pl.Series, candidates: Sequence[str], decimal: str = ".") -> tuple[str, ...]:
    """Those of the candidates that all texts of a column are values of."""
    texts = texts.drop_nulls()
    if texts.is_empty():
        return tuple(candidates)
    return tuple(name for name in candidates if _fits(texts, name, decimal))


def _fits(texts: pl.Series, name: str, decimal: str) -> bool:
    if name == "string":
        return True
    texts = texts.str.strip_chars()
    if name == "bool":
        return bool(texts.str.to_lowercase().is_in(["true", "false"]).all())
    if name == "date" and not texts.str.contains(_DATE).all():
        return False
    if name == "timestamp" and not texts.str.contains(f"{_DATE}|{_MOMENT}").all():
        return False
    if name == "int64" and not texts.str.contains(_INTEGER).all():
        return False
    if name == "float64":
        plain = _plain_number(texts, decimal)
        if not plain.str.contains(_NUMBER).all() or plain.str.contains(_LONG_INTEGER).any():
            return False
    return not isinstance(to_values(texts, ColumnSettings(type=name), decimal), int)


def _parse(texts: pl.Series, settings: ColumnSettings, decimal: str) -> pl.Series:
    match settings.type:
        case "bool":
            lower = texts.str.to_lowercase()
            true, false = lower.is_in(_TRUE), lower.is_in(_FALSE)
            return pl.select(pl.when(true).then(True).when(false).then(False)).to_series()
        case "int16" | "int32" | "int64":
            return texts.cast(_WHOLE[settings.type], strict=False)
        case "float32" | "float64":
            type_ = pl.Float32 if settings.type == "float32" else pl.Float64
            return _plain_number(texts, decimal).cast(type_, strict=False)
        case "binary":
            return texts.str.decode("base64", strict=False)
        case "date":
            if settings.epoch:
                days = _serial(texts, settings.epoch, decimal)
                return days.floor().cast(pl.Int32, strict=False).cast(pl.Date) if len(days) else days.cast(pl.Date)
            return texts.str.to_date(settings.format or "%Y-%m-%d", strict=False)
        case "timestamp":
            return _timestamps(texts, settings, decimal)
        case _:
            digits, scale = _digits(settings.type)
            plain = _plain_number(texts, decimal)
            # Only as many digits as there is room for: a value is never rounded.
            exact = plain.str.contains(rf"^[+-]?\d*(?:\.\d{{0,{scale}}}0*)?$" if scale else r"^[+-]?\d+(?:\.0*)?$")
            kept = pl.select(pl.when(exact).then(plain)).to_series()
            return kept.cast(pl.Decimal(digits, scale), strict=False)


def _timestamps(texts: pl.Series, settings: ColumnSettings, decimal: str) -> pl.Series:
    if settings.epoch:
        days = _serial(texts, settings.epoch, decimal)
        micros = (days * _DAY_MICROSECONDS).round().cast(pl.Int64, strict=False)
        return micros.cast(pl.Datetime("us", "UTC"))
    if settings.format:
        if "%z" in settings.format or "%:z" in settings.format:
            return texts.str.to_datetime(settings.format, time_unit="us", time_zone="UTC", strict=False)
        day_only = not re.search(r"%[HIMSTRcXps+]", settings.format)
        if day_only:
            found = texts.str.to_date(settings.format, strict=False).cast(pl.Datetime("us"))
        else:
            found = texts.str.to_datetime(settings.format, time_unit="us", strict=False)
        return found.dt.replace_time_zone("UTC")
    whole = texts.str.replace(r"^(\d{4}-\d\d-\d\d) ?(\d\d:)", "${1}T${2}").str.replace(",", ".", literal=True)
    whole = whole.str.replace(_DATE, "${0}T00:00:00").str.replace(r"\s*Z$", "+00:00")
    whole = whole.str.replace(r"(T\d\d:\d\d)($|\s*[+-])", "${1}:00${2}")
    whole = whole.str.replace(r"(T[\d:.]+)$", "${1}+00:00").str.replace(r"\s+([+-])", "${1}")
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)


def _serial(texts: pl.Series, epoch: int, decimal: str) -> pl.Series:
    """Days since 1970, with their fractions, from a spreadsheet's serial days."""
    days = _plain_number(texts, decimal).cast(pl.Float64, strict=False)
    if epoch == 1904:
        return days + _days_of(_EPOCH_1904)
    return days - (days > _FALSE_LEAP_DAY).cast(pl.Float64) + _days_of(_EPOCH_1900)


def _days_of(day: str) -> int:
    return int(pl.Series([day]).str.to_date().to_physical()[0])


def _plain_number(texts: pl.Series, decimal: str) -> pl.Series:
    return texts if decimal == "." else texts.str.replace(decimal, ".", literal=True)


def _digits(type_: str) -> tuple[int, int]:
    digits, scale = re.findall(r"\d+", type_)
    return int(digits), int(scale)


def _arrow(values: pl.Series, type_: pa.DataType) -> pa.Array[Any]:
    return pc.cast(values.to_arrow(compat_level=pl.CompatLevel.oldest()), type_)
