"""Stretches of time as people write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parse_duration(value: object) -> object:
    """Seconds from ``30s``, ``5m``, ``1h30m``, ``2d`` or a plain number; anything else is left for the model to
    refuse."""
    if not isinstance(value, str) or re.fullmatch(r"\d+(\.\d+)?", value):
        return value
    text = value.strip().lower()
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration is a number of seconds, or a number with a unit: 30s, 5m, 1h, 2d")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def at_least(seconds: float) -> AfterValidator:
    """Refuses shorter durations in the units of settings, where a bound alone would be reported in seconds."""

    def check(value: float) -> float:
        if value < seconds:
            unit = next(unit for unit in "dhms" if seconds % _UNIT_SECONDS[unit] == 0)
            raise ValueError(f"a duration of at least {seconds / _UNIT_SECONDS[unit]:g}{unit} is expected here")
        return value

    return AfterValidator(check)


Duration = Annotated[
    float, BeforeValidator(parse_duration), Field(ge=0), WithJsonSchema({"type": ["number", "string"]})
]
