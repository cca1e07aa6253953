"""``format`` of a date or timestamp: what its directives read, checked with the settings, and held to with the rows.

The parser behind it takes more than the directives say (``24`` for ``%Y`` is the year 24), so each text has to match a
pattern first.
"""

from __future__ import annotations

import re
from functools import cache

_NUMBER = r"[ ]?[0-9]{1,2}"
_WORD = r"\p{L}+\.?"
_SECONDS = r"[0-5]?[0-9]"
_HALF = "[AaPp][Mm]"

_DAY_DIRECTIVES = {
    "Y": r"[0-9]{4}",
    "C": r"[0-9][0-9]",
    "y": r"[0-9][0-9]",
    "m": _NUMBER,
    "b": _WORD,
    "B": _WORD,
    "h": _WORD,
    "d": _NUMBER,
    "e": _NUMBER,
    "a": _WORD,
    "A": _WORD,
    "w": r"[0-9]",
    "u": r"[0-9]",
    "U": _NUMBER,
    "W": _NUMBER,
    "G": r"[0-9]{4}",
    "g": r"[0-9][0-9]",
    "V": _NUMBER,
    "j": r"[ ]{0,2}[0-9]{1,3}",
    "D": rf"{_NUMBER}/{_NUMBER}/[0-9][0-9]",
    "x": rf"{_NUMBER}/{_NUMBER}/[0-9][0-9]",
    "F": rf"[0-9]{{4}}-{_NUMBER}-{_NUMBER}",
    "v": rf"{_NUMBER}-{_WORD}-[0-9]{{4}}",
}

# Digits below a microsecond have no place: only zeros may stand there.
_TIME_DIRECTIVES = {
    "H": _NUMBER,
    "k": _NUMBER,
    "I": _NUMBER,
    "l": _NUMBER,
    "P": _HALF,
    "p": _HALF,
    "M": _NUMBER,
    "S": _SECONDS,
    ".f": r"(?:\.[0-9]{1,6}0*)?",
    ".3f": r"\.[0-9]{3}",
    ".6f": r"\.[0-9]{6}",
    ".9f": r"\.[0-9]{6}000",
    "3f": r"[0-9]{3}",
    "6f": r"[0-9]{6}",
    "9f": r"[0-9]{6}000",
    "R": rf"{_NUMBER}:{_NUMBER}",
    "T": rf"{_NUMBER}:{_NUMBER}:{_SECONDS}",
    "X": rf"{_NUMBER}:{_NUMBER}:{_SECONDS}",
    "r": rf"{_NUMBER}:{_NUMBER}:{_SECONDS}\s*{_HALF}",
    "c": rf"{_WORD}\s*{_WORD}\s*{_NUMBER}\s*{_NUMBER}:{_NUMBER}:{_SECONDS}\s*[0-9]{{4}}",
    "s": r"-?[0-9]+",
}

_ZONE_DIRECTIVES = {"z": r"[+-][0-9][0-9]:?[0-9][0-9]", ":z": r"[+-][0-9][0-9]:?[0-9][0-9]"}

_PLAIN_DIRECTIVES = {"%": "%", "t": r"\s*", "n": r"\s*"}

_DIRECTIVES = _DAY_DIRECTIVES | _TIME_DIRECTIVES | _ZONE_DIRECTIVES | _PLAIN_DIRECTIVES

_PART = re.compile(r"%[-_0]?(?P<name>\.f|\.[369]f|[369]f|:z|.|$)|(?P<text>[^%])", re.DOTALL)


def check_format(type_: str, format_: str) -> None:
    """Raise ValueError for a format that names no day, or reads something that a value of the type would not keep."""
    names = _names(spelt(format_))
    unknown = next((name for name in names if name not in _DIRECTIVES), None)
    if unknown == "f":
        raise ValueError("%f counts nanoseconds; write %.f for the digits after the seconds")
    if unknown is not None:
        raise ValueError(f"%{unknown} is not a supported directive; %Y-%m-%d or %d.%m.%Y %H:%M:%S are formats")
    if not any(name in _DAY_DIRECTIVES or name in ("c", "s") for name in names):
        raise ValueError(f"{format_!r} names no day; %Y-%m-%d or %d.%m.%Y %H:%M:%S are formats")
    if type_ == "date" and (has_time(format_) or has_zone(format_)):
        raise ValueError("this format reads a time, which a date does not keep: use type timestamp")


def spelt(format_: str) -> str:
    """The format as the parser takes it: ``.%f`` would be read as a number of nanoseconds."""
    return format_.replace(".%f", "%.f")


def has_time(format_: str) -> bool:
    """Whether a time of day is read, not a day alone."""
    return any(name in _TIME_DIRECTIVES for name in _names(spelt(format_)))


def has_zone(format_: str) -> bool:
    """Whether an offset from UTC is read."""
    return any(name in _ZONE_DIRECTIVES for name in _names(format_))


@cache
def pattern_of(format_: str) -> str:
    """What a text has to look like to be read by a format: an expression for the whole of it."""
    parts = []
    for part in _PART.finditer(spelt(format_)):
        text = part["text"]
        if text is None:
            parts.append(_DIRECTIVES[part["name"]])
        else:
            parts.append(r"\s*" if text.isspace() else re.escape(text))
    return f"^{''.join(parts)}$"


def _names(format_: str) -> list[str]:
    return [part["name"] for part in _PART.finditer(format_) if part["text"] is None]
