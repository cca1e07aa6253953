"""Text into values: the types that a CSV or NDJSON column may have, and which of them fits what a column holds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.homes.files.settings import ColumnSettings
from hygge_engine.homes.files.strftime import has_time, has_zone, pattern_of, spelt
from hygge_engine.homes.files.types import TIMESTAMP
from hygge_engine.stopping import stop_if_asked

# The form of a timestamp with an offset, as text.
INSTANT = "instant"

# What does not survive of serial days with fractions.
ROUNDED_TO_MICROSECONDS = "fractions of a day are rounded to microseconds"

_INTEGER = r"^(?:0|-?[1-9][0-9]*)$"
_JSON_INTEGER = r"^-?(?:0|[1-9][0-9]*)$"
_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
# Decimal numbers of so few digits come back from a float64 as they were; all others are tried one by one.
_SHORT_FRACTION = r"^-?(?:0\.[0-9]{0,3}[1-9]|0\.0{0,3}[1-9][0-9]{0,9}[1-9]|[1-9][0-9]{0,8}\.[0-9]{0,5}[1-9])$"
_SHORT_NUMBER = r"^-?[0-9]{1,9}(?:\.[0-9]{1,6})?$"

_YEAR = r"(?:[0-9]{3}[1-9]|[0-9][0-9][1-9]0|[0-9][1-9]00|[1-9]000)"
_DAY = rf"{_YEAR}-[0-9][0-9]-[0-9][0-9]"
_DATE = rf"^{_DAY}$"
_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND = rf"{_MINUTE}:[0-5][0-9]"
_OFFSET = r"(?:Z|[+-][0-9][0-9](?::?[0-9][0-9])?)"
# Digits below a microsecond have no place: only zeros may stand there.
_MOMENT = rf"^{_DAY}[T ]{_MINUTE}(?::[0-5][0-9](?:[.,][0-9]{{1,6}}0*)?)?\s*{_OFFSET}?$"
_INSTANT = rf"^{_DAY}[T ]{_MINUTE}(?::[0-5][0-9](?:\.[0-9]{{1,6}})?)?{_OFFSET}$"

_TRUE = ["true", "t", "yes", "y", "1"]
_FALSE = ["false", "f", "no", "n", "0"]

# Serial days of a spreadsheet: day 0 of either epoch. The epoch of 1900 has a 29 February that never was (day 60).
_EPOCH_1904 = "1904-01-01"
_EPOCH_1900 = "1899-12-31"
_FALSE_LEAP_DAY = 60
_DAY_MICROSECONDS = 86_400_000_000

# Digits that are not all zero.
_THREE = "(?:[1-9][0-9][0-9]|[0-9][1-9][0-9]|[0-9][0-9][1-9])"
_SIX = f"(?:{_THREE}[0-9]{{3}}|[0-9]{{3}}{_THREE})"

_CLOCKS = {
    "minutes": _MINUTE,
    "seconds": _SECOND,
    **{f"{digits} digits": rf"{_SECOND}\.[0-9]{{{digits}}}" for digits in range(1, 7)},
    **{f"{digits} digits": rf"{_SECOND}\.[0-9]{{6}}{'0' * (digits - 6)}" for digits in range(7, 10)},
    "none or 6 digits": rf"{_SECOND}(?:\.{_SIX})?",
    "none, 3 or 6 digits": rf"{_SECOND}(?:\.(?:{_THREE}|[0-9]{{3}}{_THREE}))?",
    "no zeros": rf"{_SECOND}(?:\.[0-9]{{0,5}}[1-9])?",
}

# Forms of text that a type gives back exactly, by name: what a whole column is written in, or it stays text.
_FORMS = {
    "bool": "^(?:true|false)$",
    "bool True": "^(?:True|False)$",
    "bool TRUE": "^(?:TRUE|FALSE)$",
    "int64": _INTEGER,
    "float64 2": _NUMBER,
    "float64 2.0": _NUMBER,
    "date": _DATE,
    **{
        f"timestamp{mark}{clock}{offset}": rf"^{_DAY}{mark}{pattern}{re.escape(offset)}$"
        for mark in ("T", " ")
        for clock, pattern in _CLOCKS.items()
        for offset in ("", "Z", "+00:00", "+0000", "+00")
    },
    # Text, because the offset would be lost; but its order is not that of the timestamps.
    INSTANT: _INSTANT,
}

# From the narrowest: the first that fits all values is a column's type.
CANDIDATES = (*_FORMS, "string")
TIME_CANDIDATES = tuple(name for name in _FORMS if name.startswith(("date", "timestamp", INSTANT)))

# This many rows rule out most of them.
FIRST_ROWS = 100

_TYPE = re.compile(r"[a-z0-9]+")

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
# More forms than these are worth a look at what all of them have in common.
_FEW_FORMS = 4

# From here on a float64 may miss whole numbers, and is written with an exponent.
_WHOLE_DIGITS = 1e16

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


def columns_to_values(
    columns: Sequence[pl.Series], settings: ColumnSettings, decimal: str = "."
) -> list[pa.Array[Any] | int]:
    """`to_values` of several columns of one height and type: at once, where none of them holds a wrong text.

    A call of Polars takes as long for one text as for a thousand, which wide tables have of a few rows.
    """
    if len(columns) > 1 and settings.type != "string":
        values = to_values(pl.concat(columns, rechunk=True), settings, decimal)
        if not isinstance(values, int):
            height = len(columns[0])
            return [values.slice(number * height, height) for number in range(len(columns))]
    return [to_values(texts, settings, decimal) for texts in columns]


def fitting(texts: pl.Series, candidates: Sequence[str], decimal: str = ".") -> tuple[str, ...]:
    """Those of the candidates that give all texts of a column back as they are."""
    return fitting_columns([texts], [tuple(candidates)], decimal)[0]


def fitting_columns(
    columns: Sequence[pl.Series], candidates: Sequence[tuple[str, ...]], decimal: str = "."
) -> list[tuple[str, ...]]:
    """`fitting` of several columns of one height, each with its own candidates; those of the same ones at once."""
    fits = list(candidates)
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, names in enumerate(candidates):
        alike.setdefault(names, []).append(number)
    for names, numbers in alike.items():
        stop_if_asked()
        found = _fitting_alike([columns[number] for number in numbers], names, decimal)
        for number, fit in zip(numbers, found, strict=True):
            fits[number] = fit
    return fits


def _fitting_alike(columns: Sequence[pl.Series], candidates: tuple[str, ...], decimal: str) -> list[tuple[str, ...]]:
    texts = pl.concat(columns, rechunk=True)
    if texts.null_count() == len(texts):
        return [candidates] * len(columns)
    each = partial(_each_of, columns, texts)
    times = {name for name in candidates if type_of(name) == "timestamp" or name == INSTANT}
    if len(times) > _FEW_FORMS:
        moments = each(texts.str.contains(_MOMENT))
        if not all(moments):
            others = tuple(name for name in candidates if name not in times)
            return fitting_columns(columns, [candidates if may_be else others for may_be in moments], decimal)
    written = {"string": [True] * len(columns)}
    for name in candidates:
        if name not in written:
            stop_if_asked()
            written[name] = each(_is_written_as(texts, name, decimal, len(columns[0])))
    # A text may look like a value and be none: 2024-02-31, or too many digits.
    for type_ in {type_of(name) for name in candidates} & {"int64", "date", "timestamp"}:
        forms = [name for name in candidates if type_of(name) == type_]
        if any(any(written[name]) for name in forms):
            valued = each(_parse(texts.str.strip_chars(), ColumnSettings(type=type_), decimal).is_not_null())
            for name in forms:
                written[name] = [fits and has for fits, has in zip(written[name], valued, strict=True)]
    return [tuple(name for name in candidates if written[name][number]) for number in range(len(columns))]


def _each_of(columns: Sequence[pl.Series], texts: pl.Series, right: pl.Series) -> list[bool]:
    """For each of the columns, which are ``texts`` together, whether all of its texts are right; a NULL is."""
    if texts.is_empty():
        return [True] * len(columns)
    by_column = (right | texts.is_null()).reshape((len(columns), len(columns[0])))
    return by_column.arr.all().to_list()


def fitting_numbers(columns: Sequence[pl.Series]) -> list[tuple[str, ...]]:
    """What columns of numbers of JSON, all of one height, can be without a change of value."""
    if not columns:
        return []
    texts = pl.concat(columns, rechunk=True)
    whole = texts.str.contains(_JSON_INTEGER) & texts.cast(pl.Int64, strict=False).is_not_null()
    short = texts.str.contains(_SHORT_NUMBER)
    exact = texts.is_not_null().scatter(_first_wrong(texts, (~short).arg_true(), _is_exact, len(columns[0])), False)
    found = zip(_each_of(columns, texts, whole), _each_of(columns, texts, exact), strict=True)
    return [
        tuple(name for name, fits in (("int64", is_whole), ("float64", is_exact)) if fits) or ("string",)
        for is_whole, is_exact in found
    ]


def type_of(candidate: str) -> str:
    """The type of the text's form."""
    return "string" if candidate == INSTANT else _TYPE.match(candidate)[0]  # type: ignore[index]


def _is_written_as(texts: pl.Series, name: str, decimal: str, height: int) -> pl.Series:
    """For each text, whether it has a form, until one of its column has not; without a meaning for NULL."""
    if type_of(name) == "float64":
        return _gives_back(_plain_number(texts, decimal), name, height)
    return texts.str.contains(_FORMS[name])


def _gives_back(numbers: pl.Series, form: str, height: int) -> pl.Series:
    """Whether floats come back as their texts: the shortest digits, whole numbers as the form has them throughout."""
    right = numbers.str.contains(_NUMBER).fill_null(False)
    known = numbers.str.contains(_SHORT_FRACTION)
    if form == "float64 2":
        known |= numbers.str.contains(r"^-?[1-9][0-9]{0,8}$")
    written = _shortest if form == "float64 2" else lambda text: repr(float(text))
    wrong = _first_wrong(numbers, (right & ~known).arg_true(), lambda text: written(text) == text, height)
    return right.scatter(wrong, False)


def _first_wrong(numbers: pl.Series, doubtful: pl.Series, is_right: Callable[[str], bool], height: int) -> list[int]:
    """Which of the doubtful numbers are wrong: the first of each column of this height, after which no more are tried.

    Each takes a call in Python, so that a column that is known not to fit has no more of them.
    """
    wrong: dict[int, int] = {}
    for at, text in zip(doubtful.to_list(), numbers.gather(doubtful).to_list(), strict=True):
        if at // height not in wrong and not is_right(text):
            wrong[at // height] = at
    return list(wrong.values())


def _shortest(number: str) -> str:
    """The fewest digits that mean the same float64, without an exponent and without zeros behind the point."""
    value = float(number)
    if not abs(value) < _WHOLE_DIGITS:
        return ""
    digits = format(Decimal(repr(value)), "f")
    return digits.removesuffix(".0") if value else "0"


def _is_exact(number: str) -> bool:
    """Whether the number is that of a float64, as far as the digits go that one writes for it."""
    if number in ("NaN", "Infinity", "-Infinity"):
        return True
    value = float(number)
    return math.isfinite(value) and Decimal(repr(value)) == Decimal(number)


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
            return _finite(_plain_number(texts, decimal), type_)
        case "binary":
            return texts.str.decode("base64", strict=False)
        case "date":
            if settings.epoch:
                days = _serial(texts, settings.epoch, decimal)
                return _where(days == days.floor(), days).cast(pl.Int32, strict=False).cast(pl.Date)
            matching = _matching(texts, pattern_of(settings.format) if settings.format else _DATE)
            return matching.str.to_date(settings.format or "%Y-%m-%d", strict=False)
        case "timestamp":
            return _timestamps(texts, settings, decimal)
        case _:
            digits, scale = _digits(settings.type)
            plain = _plain_number(texts, decimal)
            # Only as many digits as there is room for: a value is never rounded.
            exact = plain.str.contains(rf"^[+-]?\d*(?:\.\d{{0,{scale}}}0*)?$" if scale else r"^[+-]?\d+(?:\.0*)?$")
            return _where(exact, plain).cast(pl.Decimal(digits, scale), strict=False)


def _timestamps(texts: pl.Series, settings: ColumnSettings, decimal: str) -> pl.Series:
    if settings.epoch:
        days = _serial(texts, settings.epoch, decimal)
        micros = (days * _DAY_MICROSECONDS).round().cast(pl.Int64, strict=False)
        return micros.cast(pl.Datetime("us", "UTC"))
    if settings.format:
        matching, format_ = _matching(texts, pattern_of(settings.format)), spelt(settings.format)
        if has_zone(format_):
            return matching.str.to_datetime(format_, time_unit="us", time_zone="UTC", strict=False)
        if has_time(format_):
            found = matching.str.to_datetime(format_, time_unit="us", strict=False)
        else:
            found = matching.str.to_date(format_, strict=False).cast(pl.Datetime("us"))
        return found.dt.replace_time_zone("UTC")
    whole = _matching(texts, f"{_DATE}|{_MOMENT}").str.replace("^(.{10}) ", "${1}T")
    whole = whole.str.replace(",", ".", literal=True)
    whole = whole.str.replace(_DATE, "${0}T00:00:00").str.replace(r"\s*Z$", "+00:00")
    whole = whole.str.replace(r"(T[\d:.]+)\s*([+-]\d\d)$", "${1}${2}:00")
    whole = whole.str.replace(r"(T\d\d:\d\d)($|\s*[+-])", "${1}:00${2}")
    whole = whole.str.replace(r"(T[\d:.]+)$", "${1}+00:00").str.replace(r"\s+([+-])", "${1}")
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)


def _serial(texts: pl.Series, epoch: int, decimal: str) -> pl.Series:
    """Days since 1970, with their fractions, from a spreadsheet's serial days; NULL on the day that never was."""
    days = _finite(_plain_number(texts, decimal), pl.Float64)
    if epoch == 1904:
        return days + _days_of(_EPOCH_1904)
    real = _where((days < _FALSE_LEAP_DAY) | (days >= _FALSE_LEAP_DAY + 1), days)
    return real - (real > _FALSE_LEAP_DAY).cast(pl.Float64) + _days_of(_EPOCH_1900)


def _matching(texts: pl.Series, pattern: str) -> pl.Series:
    """The texts that match; NULL for the others."""
    return _where(texts.str.contains(pattern), texts)


def _where(condition: pl.Series, values: pl.Series) -> pl.Series:
    return pl.select(pl.when(condition).then(values)).to_series()


def _finite(texts: pl.Series, type_: type[pl.Float32 | pl.Float64]) -> pl.Series:
    """Numbers; NULL where one is beyond the type's range, which would make it infinite, or zero though it is not."""
    values = texts.cast(type_, strict=False)
    held = ~values.is_infinite() | texts.str.contains("(?i)^[+-]?inf")
    return _where(held & ((values != 0) | ~texts.str.contains("^[^eE]*[1-9]")), values)


def _days_of(day: str) -> int:
    return int(pl.Series([day]).str.to_date().to_physical()[0])


def _plain_number(texts: pl.Series, decimal: str) -> pl.Series:
    """With a decimal point; NULL where the text has one although its decimal mark is another."""
    if decimal == ".":
        return texts
    return _where(~texts.str.contains(".", literal=True), texts).str.replace(decimal, ".", literal=True)


def _digits(type_: str) -> tuple[int, int]:
    digits, scale = re.findall(r"\d+", type_)
    return int(digits), int(scale)


def _arrow(values: pl.Series, type_: pa.DataType) -> pa.Array[Any]:
    return pc.cast(values.to_arrow(compat_level=pl.CompatLevel.oldest()), type_)
