"""Bounds of a window as they were written: read strictly, and kept to the last digit or refused, never cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from hygge_engine.errors import BoundUnusable
from hygge_engine.watermark.values import CursorType, order_of

_MOMENT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2})(?::(?P<seconds>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,30}))?)?)?"
    r"(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})?"
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,400}")
_HEXADECIMAL = re.compile(r"0[xX][0-9A-Fa-f]{1,16}")

# Digits of a second that are compared.
_DIGITS = 9

# A rowversion has eight bytes.
_ROWVERSION_DIGITS = 16
LARGEST_ROWVERSION = (1 << 64) - 1

# Of a bound that is refused so much is shown.
_SHOWN_CHARACTERS = 60

_NO_MOMENT = "Write a date or time in ISO 8601: 2024-01-31, 2024-01-31T12:00:00."


@dataclass(frozen=True)
class Moment:
    """A date or time as it was written: whole seconds without an offset, the digits of the fraction without zeros at
    its end, and the offset from UTC where one was written."""

    whole: datetime
    fraction: str
    offset: timedelta | None

    @property
    def has_clock(self) -> bool:
        """Whether it lies within a day."""
        return bool(self.fraction) or self.whole.time() != datetime.min.time()

    def in_utc(self) -> datetime:
        """Whole seconds in UTC, without an offset; a timestamp without one is taken to be in UTC. Raises
        OverflowError."""
        return self.whole - (self.offset or timedelta(0))


def with_digits(whole: datetime, fraction: str, digits: int) -> str:
    """ISO 8601 with exactly ``digits`` digits of a second."""
    return whole.isoformat(timespec="seconds") + (f".{fraction.ljust(digits, '0')}" if digits else "")


def shown(text: str) -> str:
    """A bound as errors quote it."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


def moment(text: str) -> Moment:
    """Raises BoundUnusable where the text is not a date or time."""
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise BoundUnusable(f"{shown(text)} is not a date or time.", hint=_NO_MOMENT)
    try:
        whole = datetime.fromisoformat(f"{match['date']}T{match['time'] or '00:00'}:{match['seconds'] or '00'}")
    except ValueError as error:
        raise BoundUnusable(f"{shown(text)} is not a date or time: {error}.", hint=_NO_MOMENT) from None
    return Moment(whole, (match["fraction"] or "").rstrip("0"), _offset(match["offset"], text))


def check_digits(text: str, found: Moment, digits: int, of: str) -> None:
    """Raise BoundUnusable where a timestamp has more digits of a second than ``of``, a column and its type, can
    hold."""
    if len(found.fraction) > digits:
        cut = with_digits(found.whole, found.fraction[:digits], digits)
        hint = f"Write it with no more: {cut} or a later time."
        raise BoundUnusable(f"{shown(text)} has more digits of a second than the {digits} that {of} has.", hint=hint)


def _offset(text: str | None, bound: str) -> timedelta | None:
    if text is None:
        return None
    if text == "Z":
        return timedelta(0)
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:]))
    if offset > timedelta(hours=14) or int(text[4:]) > 59:
        raise BoundUnusable(f"{shown(bound)} has an offset that no place on earth has.", hint=_NO_MOMENT)
    return -offset if text[0] == "-" else offset


def number(text: str, lowest: int, highest: int, of: str) -> str:
    """A whole number within a range, in decimal digits; ``of`` names the column and its type. Raises BoundUnusable."""
    fits = f"Write a whole number from {lowest} to {highest}."
    if not _NUMBER.fullmatch(text.strip()):
        raise BoundUnusable(f"{shown(text)} is not a whole number, which {of} has.", hint=fits)
    if not lowest <= int(text) <= highest:
        raise BoundUnusable(f"{shown(text)} is beyond what {of} can hold.", hint=fits)
    return str(int(text))


def rowversion(text: str, *, upper: bool) -> str:
    """A rowversion as sixteen hexadecimal digits, shorter ones filled with zeros in front, as numbers are.

    A window ends before its upper bound there, so that of an ``upper`` one the next value is returned.
    Raises BoundUnusable.
    """
    if not _HEXADECIMAL.fullmatch(text.strip()):
        hint = f"Write 0x and up to {_ROWVERSION_DIGITS} hexadecimal digits: 0x00000000000007D1."
        raise BoundUnusable(f"{shown(text)} is not a rowversion.", hint=hint)
    value = int(text, 16)
    return f"0x{min(value + upper, LARGEST_ROWVERSION):0{_ROWVERSION_DIGITS}X}"


def plain_text(text: str) -> str:
    """Text that every driver can send. Raises BoundUnusable."""
    try:
        text.encode("utf-16-le")
    except UnicodeEncodeError:
        raise BoundUnusable(f"{shown(text)} holds an invalid character.", hint="Write it in Unicode.") from None
    if "\0" in text:
        raise BoundUnusable(f"{shown(text)} holds a character that ends texts.", hint="Leave it out.")
    return text


def checked(text: str, type_: CursorType, *, upper: bool = False) -> str:
    """A bound for a cursor of which nothing but the kind is known, in the form that `values` has for it.

    Raises BoundUnusable where it is none of the cursor's values.
    """
    match type_:
        case "datetime":
            found = moment(text)
            check_digits(text, found, _DIGITS, "a watermark")
            zone = "" if found.offset is None else found.whole.replace(tzinfo=timezone(found.offset)).isoformat()[-6:]
            return with_digits(found.whole, found.fraction, len(found.fraction)) + zone
        case "int" | "version":
            return number(text, -(10**38) + 1, 10**38 - 1, f"a watermark of type {type_}")
        case "binary":
            return rowversion(text, upper=upper)
        case "string":
            return plain_text(text)


def check_order(
    lower: str, upper: str, type_: CursorType, *, is_after: Callable[[str, str], bool] | None = None
) -> None:
    """Raise BoundUnusable for a window that ends before it begins; of texts only their source knows the order, by
    ``is_after``."""
    if type_ == "string":
        ends_early = is_after is not None and is_after(lower, upper)
    else:
        ends_early = order_of(lower, type_) > order_of(upper, type_)
    if ends_early:
        raise BoundUnusable(
            f"The window begins at {lower} and ends at {upper}, which is earlier.", hint="Exchange its bounds."
        )
