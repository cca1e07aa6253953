"""When a flow is due: six-field NCRONTAB expressions, as Azure Functions timers use them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from cronsim import CronSim, CronSimError

_FIELDS = "second minute hour day month weekday"
_COUNTS = (
    "seconds are 0 to 59",
    "minutes are 0 to 59",
    "hours are 0 to 23",
    "days are 1 to 31",
    "months are 1 to 12, or JAN to DEC",
    "weekdays are 0 (Sunday) to 6, or SUN to SAT",
)
# All that the host's timer knows; the library also takes weekday 7, last days and a month's second Monday.
_SPANS = (
    *[r"[0-9]{1,2}"] * 4,
    r"[0-9]{1,2}|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC",
    r"0?[0-6]|SUN|MON|TUE|WED|THU|FRI|SAT",
)
_PARTS = tuple(
    re.compile(rf"(?:\*|(?:{one})(?:-(?:{one}))?)(?:/(?P<step>[0-9]{{1,9}}))?", re.IGNORECASE) for one in _SPANS
)
_LIBRARY_NAMES = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
# The library takes larger steps, which come due once and never again within the field.
_LARGEST_STEPS = (59, 59, 23, 31, 12, 7)
_ANY_TIME = datetime(2000, 1, 1)  # Any time will do: it only takes the expression apart.


def check_schedule(expression: str) -> str:
    """Return ``expression`` if it is an NCRONTAB expression with seconds; raise ValueError saying what is wrong."""
    fields = [field for field in expression.split(" ") if field]
    if len(fields) == 5:
        raise ValueError(f"a schedule has six fields ({_FIELDS}); for this one write '0 {' '.join(fields)}'")
    if len(fields) != 6:
        raise ValueError(f"a schedule has six fields ({_FIELDS}), for example '0 */15 * * * *'")
    for number, (name, field, most) in enumerate(zip(_FIELDS.split(), fields, _LARGEST_STEPS, strict=True)):
        for part in field.split(","):
            found = _PARTS[number].fullmatch(part)
            if found is None:
                raise ValueError(_not_valid(number, fields))
            if int(found["step"] or 1) > most:
                raise ValueError(
                    f"the schedule's {name} field has a step of {found['step']}, and it counts to {most} only"
                )
    try:
        occurrence = next(_occurrences(expression, _ANY_TIME), None)
    except CronSimError as error:
        raise ValueError(_reason(str(error), fields)) from None
    if occurrence is None:
        raise ValueError("the schedule never comes due")
    return expression


def _reason(error: str, fields: Sequence[str]) -> str:
    """What is wrong with the field that the library names: its words are `Bad <field>`."""
    name = error.removeprefix("Bad ")
    number = _LIBRARY_NAMES.index(name)
    if name == "day-of-month" and _can_be(" ".join([*fields[:4], "*", fields[5]])):
        return f"the schedule never comes due: no month {fields[4]} has a day {fields[3]}"
    return _not_valid(number, fields)


def _not_valid(number: int, fields: Sequence[str]) -> str:
    return f"the schedule's {_LIBRARY_NAMES[number]} field is not valid: `{fields[number]}`; {_COUNTS[number]}"


def _can_be(expression: str) -> bool:
    with suppress(CronSimError):
        return next(_occurrences(expression, _ANY_TIME), None) is not None
    return False


def is_due(expression: str, previous: datetime, now: datetime) -> bool:
    """Whether the schedule comes due after ``previous`` and not after ``now``, in the time zone of ``previous``."""
    occurrence = next(_occurrences(expression, previous), None)
    return occurrence is not None and occurrence <= now


def _occurrences(expression: str, after: datetime) -> CronSim:
    occurrences = CronSim(expression, after)
    occurrences.day_and = True  # NCRONTAB wants day and weekday to match; crontab is content with either.
    return occurrences
