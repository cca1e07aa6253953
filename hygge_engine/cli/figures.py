"""Numbers for people."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hygge_engine.plain_text import counted

if TYPE_CHECKING:
    from hygge_engine.journal import Begun

_BYTES_PER_UNIT = 1000.0
_SHORTEST_RATE_SECONDS = 0.2
_UNITS = ("B", "kB", "MB", "GB", "TB")


def rows_text(rows: int) -> str:
    """``336,776 rows``."""
    return counted(rows, "row")


def bytes_text(count: float) -> str:
    """``41.2 MB``, in decimal units."""
    for unit in _UNITS:
        if count < _BYTES_PER_UNIT or unit == _UNITS[-1]:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= _BYTES_PER_UNIT
    raise AssertionError("the last unit has no limit")


def seconds_text(seconds: float | None) -> str:
    """``4.2 s``, ``3 min 05 s`` or ``2 h 10 min``; ``unknown`` for None and what is no duration."""
    if seconds is None or not 0 <= seconds < float("inf"):
        return "unknown"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def rate_text(rows: int, seconds: float) -> str:
    """``80,185 rows/s``; empty for times so short that the quotient would be noise, or so long that it says nothing."""
    return f"{rows / seconds:,.0f} rows/s" if rows >= seconds >= _SHORTEST_RATE_SECONDS else ""


def seconds_between(started: str, finished: str) -> float:
    """Seconds between two ISO 8601 times; 0 where one is missing."""
    if not started or not finished:
        return 0.0
    return max(0.0, (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds())


def unended_text(load: Begun) -> str:
    """A sentence about a load whose end is not written."""
    by = f" by {load.requested_by}" if load.requested_by else ""
    begun = load.begun[:19].replace("T", " ")
    return (
        f"load {load.load_id}, begun {begun}{by}: its end is not recorded. It still runs, or it died or was abandoned; "
        "then what it committed stays, and the next load continues from there."
    )
