"""Switches of an emulator by their names, for command lines and requests: `name=value`, the value in JSON or a bare
word."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError


def read_switches(kind: type, texts: Iterable[str]) -> dict[str, Any]:
    """The values of `name=value` texts for the fields of a dataclass. Raises ValueError."""
    values: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return check_switches(kind, values)


def check_switches(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same for values that have been read. Raises ValueError, which names the switches that there are."""
    hints = get_type_hints(kind)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"no switch {name!r}; there are {', '.join(hints)}")
        try:
            checked[name] = TypeAdapter[Any](hints[name]).validate_python(value)
        except ValidationError as error:
            raise ValueError(f"{name}: {error.errors()[0]['msg']}") from error
    return checked
