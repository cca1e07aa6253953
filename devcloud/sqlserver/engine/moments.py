"""Dates and times as text and as ticks: parsing what T-SQL accepts, formatting what it shows.

Ticks are of 100 ns, days are counted from 0001-01-01.
"""

from __future__ import annotations

import datetime
import re
import time
from typing import Final

from devcloud.sqlserver.errors import SqlError, make_error
from devcloud.sqlserver.types import SqlType

TICKS_PER_SECOND: Final = 10_000_000
TICKS_PER_MINUTE: Final = 60 * TICKS_PER_SECOND
TICKS_PER_DAY: Final = 86_400 * TICKS_PER_SECOND
DAYS_TO_1900: Final = 693_595
"""From 0001-01-01 to 1900-01-01, where datetime and smalldatetime count from."""
DAYS_TO_1970: Final = 719_162
LAST_DAY: Final = 3_652_058
"""9999-12-31."""
DATETIME_TICKS_PER_DAY: Final = 86_400 * 300
FIRST_DATETIME_DAY: Final = 639_905
"""1753-01-01, where datetime begins."""

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}

_DATE: Final = re.compile(
    r"""
    (?: (?P<iso>\d{4})[-/.](?P<iso_month>\d{1,2})[-/.](?P<iso_day>\d{1,2})
      | (?P<packed>\d{8})
      | (?P<us_month>\d{1,2})[-/.](?P<us_day>\d{1,2})[-/.](?P<us_year>\d{4})
      | (?P<word>[A-Za-z]{3,9})\ +(?P<word_day>\d{1,2}),?\ +(?P<word_year>\d{4})
    )(?=$|[T\ Z+-])
    """,
    re.VERBOSE,
)
_TIME: Final = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.:](?P<fraction>\d{1,9}))?)?\ ?(?P<half>[AaPp][Mm])?"
)
_OFFSET: Final = re.compile(r"\ ?(?:(?P<zulu>[Zz])|(?P<sign>[+-])(?P<hours>\d{2}):(?P<minutes>\d{2}))$")


def parse_moment(text: str) -> tuple[int, int, int | None]:
    """Return (days, ticks of the day, offset in minutes or None) of a date, time or both.

    Reads ISO 8601, ``yyyymmdd``, ``m/d/yyyy`` and ``Mon d yyyy`` with an optional time; a time alone lies on
    1900-01-01, as does an empty string. Raises ValueError for anything else.
    """
    text = text.strip()
    if not text:
        return DAYS_TO_1900, 0, None
    days, rest = DAYS_TO_1900, text
    date = _DATE.match(text)
    if date is not None:
        days = _days(date)
        rest = text[date.end() :].lstrip(" ")
        if rest[:1] in ("T", "t"):
            rest = rest[1:]
            if not rest:
                raise ValueError("no time after T")
    offset: int | None = None
    zone = _OFFSET.search(rest)
    if zone is not None and (":" in rest[: zone.start()] or date is not None):
        offset = 0 if zone["zulu"] else int(zone["sign"] + "1") * (int(zone["hours"]) * 60 + int(zone["minutes"]))
        if abs(offset) > 14 * 60:
            raise ValueError("offset out of range")
        rest = rest[: zone.start()]
    if not rest:
        return days, 0, offset
    clock = _TIME.fullmatch(rest.strip())
    if clock is None:
        raise ValueError(f"{text!r} is not a date or time")
    return days, _ticks(clock), offset


def _days(date: re.Match[str]) -> int:
    if date["iso"]:
        year, month, day = int(date["iso"]), int(date["iso_month"]), int(date["iso_day"])
    elif date["packed"]:
        year, month, day = int(date["packed"][:4]), int(date["packed"][4:6]), int(date["packed"][6:])
    elif date["us_month"]:
        year, month, day = int(date["us_year"]), int(date["us_month"]), int(date["us_day"])
    else:
        month = _MONTHS.get(date["word"][:3].lower(), 0)
        year, day = int(date["word_year"]), int(date["word_day"])
    return datetime.date(year, month, day).toordinal() - 1


def _ticks(clock: re.Match[str]) -> int:
    hour, minute, second = int(clock["hour"]), int(clock["minute"]), int(clock["second"] or 0)
    if clock["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("hour out of range")
        hour = hour % 12 + (12 if clock["half"].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("time out of range")
    fraction = (clock["fraction"] or "").ljust(8, "0")
    ticks = (int(fraction[:8]) + 5) // 10
    return min((hour * 3600 + minute * 60 + second) * TICKS_PER_SECOND + ticks, TICKS_PER_DAY - 1)


def round_ticks(ticks: int, scale: int) -> int:
    """Return ticks rounded half up to the scale."""
    step = int(10 ** (7 - scale))
    return (ticks + step // 2) // step * step


def parse_as(text: str, kind: SqlType) -> int | tuple[int, int]:
    """Return text as a date or time of that type, in its storage form. Raises SqlError 241 or 242."""
    try:
        days, ticks, offset = parse_moment(text)
    except ValueError:
        raise make_error(241) from None
    instant = days * TICKS_PER_DAY + ticks
    match kind.name:
        case "date":
            return days
        case "time":
            return min(round_ticks(ticks, kind.scale), TICKS_PER_DAY - kind.tick)
        case "datetime2":
            return min(round_ticks(instant, kind.scale), (LAST_DAY + 1) * TICKS_PER_DAY - kind.tick)
        case "datetimeoffset":
            rounded = round_ticks(instant, kind.scale) - (offset or 0) * TICKS_PER_MINUTE
            if not 0 <= rounded < (LAST_DAY + 1) * TICKS_PER_DAY:
                raise out_of_range("varchar", kind.name)
            return rounded, offset or 0
        case "datetime":
            if days < FIRST_DATETIME_DAY:
                raise out_of_range("varchar", kind.name)
            return ticks_to_datetime(instant)
        case _:
            minutes = (instant - DAYS_TO_1900 * TICKS_PER_DAY + TICKS_PER_MINUTE // 2) // TICKS_PER_MINUTE
            if not 0 <= minutes < 65_536 * 1440:
                raise out_of_range("varchar", kind.name)
            return minutes


def out_of_range(source: str, target: str) -> SqlError:
    """Return error 242."""
    return make_error(242, source, target)


def ticks_to_datetime(ticks: int) -> int:
    """Return datetime's ticks of 1/300 second since 1900, rounded to the nearest."""
    return ((ticks - DAYS_TO_1900 * TICKS_PER_DAY) * 3 + 50_000) // 100_000


def now_in_ticks() -> int:
    """Return the UTC clock in ticks since 0001-01-01."""
    return DAYS_TO_1970 * TICKS_PER_DAY + time.time_ns() // 100
