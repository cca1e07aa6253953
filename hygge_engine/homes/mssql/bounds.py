"""Bounds of a window as SQL Server's types hold them: what is beyond a type, or more exact than it, is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

from hygge_engine.errors import BoundUnusable
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.watermark.bounds import (
    Moment,
    check_digits,
    moment,
    number,
    plain_text,
    rowversion,
    shown,
    with_digits,
)

_BITS = {"smallint": 16, "int": 32, "bigint": 64}

# First and last timestamp, to the second, of the types with a smaller range than Python's.
_RANGES = {
    "datetime": (datetime(1753, 1, 1), datetime(9999, 12, 31, 23, 59, 59)),
    "smalldatetime": (datetime(1900, 1, 1), datetime(2079, 6, 6, 23, 59)),
}
_ALL_TIMES = (datetime.min, datetime(9999, 12, 31, 23, 59, 59))

_MILLISECOND_DIGITS = 3
# The last digits of the ticks of 1/300 s that a datetime counts, as the server writes them.
_TICKS = "037"
_TICK = timedelta(milliseconds=3)


def bound_text(column: SourceColumn, text: str, *, upper: bool) -> str:
    """A bound in the column's exact text form (see `values`). Raises BoundUnusable, with what would fit."""
    of = f"{column.name} ({column.declaration})"
    match column.base_type:
        case "tinyint":
            return number(text, 0, 255, of)
        case "smallint" | "int" | "bigint":
            bits = _BITS[column.base_type] - 1
            return number(text, -(1 << bits), (1 << bits) - 1, of)
        case "decimal" | "numeric":
            most = int(10**column.precision) - 1
            return number(text, -most, most, of)
        case "rowversion":
            return rowversion(text, upper=upper)
        case "char" | "varchar" | "nchar" | "nvarchar":
            return _characters(column, plain_text(text), of)
        case _:
            return _moment(column, text, of)


def _characters(column: SourceColumn, text: str, of: str) -> str:
    wide = column.base_type in ("nchar", "nvarchar")
    length = column.max_length // 2 if wide else column.max_length
    if len(text.encode("utf-16-le")) // 2 > length:
        raise BoundUnusable(f"{shown(text)} is longer than {of} can hold.", hint=f"Write {length} characters at most.")
    return text


def _moment(column: SourceColumn, text: str, of: str) -> str:
    kind = column.base_type
    found = moment(text)
    has_offset = kind == "datetimeoffset"
    if found.offset is not None and not has_offset:
        own = with_digits(found.whole, found.fraction, len(found.fraction))
        hint = f"Write it without, in the time that the column counts: {own}."
        raise BoundUnusable(f"{shown(text)} has an offset from UTC, and {of} has none.", hint=hint)
    first, last = _RANGES.get(kind, _ALL_TIMES)
    try:
        whole = found.in_utc()
    except OverflowError:
        whole = datetime.max
    if not first <= whole <= last:
        fits = f"Write a time from {first.isoformat()} to {last.isoformat()}{' UTC' if has_offset else ''}."
        raise BoundUnusable(f"{shown(text)} is beyond what {of} can hold.", hint=fits)
    if kind == "date":
        if found.has_clock:
            hint = f"Write a day: {whole:%Y-%m-%d}."
            raise BoundUnusable(f"{shown(text)} lies within a day, and {of} has whole days.", hint=hint)
        return whole.date().isoformat()
    if kind == "smalldatetime":
        if whole.second or found.fraction:
            hint = f"Write a minute: {whole.isoformat(timespec='minutes')}."
            raise BoundUnusable(f"{shown(text)} lies within a minute, and {of} has whole minutes.", hint=hint)
        return whole.isoformat(timespec="minutes")
    digits = _MILLISECOND_DIGITS if kind == "datetime" else column.scale
    check_digits(text, found, digits, of)
    if kind == "datetime":
        _check_tick(text, found, of)
    return with_digits(whole, found.fraction, digits) + ("+00:00" if has_offset else "")


def _check_tick(text: str, found: Moment, of: str) -> None:
    milliseconds = found.fraction.ljust(_MILLISECOND_DIGITS, "0")
    if milliseconds[-1] in _TICKS:
        return
    step = timedelta(milliseconds=1)
    below = above = found.whole + step * int(milliseconds)
    while f"{below:%f}"[2] not in _TICKS:
        below -= step
    fits = below.isoformat(timespec="milliseconds")
    if datetime.max - above > _TICK:
        while f"{above:%f}"[2] not in _TICKS:
            above += step
        fits += f" or {above.isoformat(timespec='milliseconds')}"
    raise BoundUnusable(f"{shown(text)} is not a tick of 1/300 s, which is what {of} counts.", hint=f"Write {fits}.")
