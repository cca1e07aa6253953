"""Watermark values as text: what is one, how two compare, and what lies some seconds before.

Values are kept in the exact text forms of the home that made them, so that no digit is lost: ISO 8601 for times (with
up to seven digits of a second, and an offset where the source has one), digits for numbers, ``0x`` and hexadecimal
digits for a rowversion, text as it is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

# The journal's watermark types; `binary` is SQL Server's rowversion, written as 0x… in hexadecimal, `version` what
# Change Tracking counts.
CursorType = Literal["datetime", "int", "string", "binary", "version"]

_TIMESTAMP = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<time>\d\d:\d\d)(?::(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"\s*(?P<offset>Z|[+-]\d\d:\d\d)?"
)

# Digits of a second that are compared: SQL Server has seven, a file of nanoseconds nine.
_DIGITS = 9


def order_of(text: str, type_: CursorType) -> tuple[Any, ...]:
    """What orders values of one type as their source does; text by code points, whatever collation the source has.

    Raises ValueError where the text is not a value of the type.
    """
    match type_:
        case "int" | "version":
            return (int(text),)
        case "binary":
            return (bytes.fromhex(text.removeprefix("0x")),)
        case "datetime":
            whole, fraction = _moment(text)
            return (whole, fraction)
        case "string":
            return (text,)


def earlier(text: str, seconds: float) -> str:
    """A timestamp or date in its text form, ``seconds`` earlier, in the same form; never later than asked.

    Raises ValueError where the text is neither.
    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a timestamp")
    clock, fraction, offset = match["time"], match["fraction"] or "", match["offset"] or ""
    base = datetime.fromisoformat(f"{match['date']}T{clock or '00:00'}:{match['seconds'] or '00'}")
    # Whole seconds and their fraction apart: Python's datetime has no seventh digit.
    ticks = int(fraction.ljust(_DIGITS, "0")) - round(seconds * 10**7) * 10 ** (_DIGITS - 7)
    whole, ticks = divmod(ticks, 10**_DIGITS)
    try:
        moved = base + timedelta(seconds=whole)
    except OverflowError:
        moved, ticks = datetime.min, 0
    day, _, moved_clock = moved.isoformat(timespec="seconds").partition("T")
    if clock is None:
        return day
    if match["seconds"] is None:
        return f"{day}T{moved_clock[:5]}"
    digits = f".{ticks:0{_DIGITS}d}"[: len(fraction) + 1] if fraction else ""
    return f"{day}T{moved_clock}{digits}{offset}"


def _moment(text: str) -> tuple[datetime, int]:
    """Whole seconds in UTC, and the fraction in units of the last digit that is compared."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a timestamp")
    offset = "+00:00" if match["offset"] in (None, "Z") else match["offset"]
    clock = f"{match['time'] or '00:00'}:{match['seconds'] or '00'}"
    whole = datetime.fromisoformat(f"{match['date']}T{clock}{offset}").astimezone(UTC)
    return whole, int((match["fraction"] or "0").ljust(_DIGITS, "0"))
