"""The events that a load has logged."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest


def events(caplog: pytest.LogCaptureFixture) -> dict[str, list[dict[str, Any]]]:
    """The events in the log, by name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in caplog.records:
        if match := re.fullmatch(r"(hygge\.\w+) (\{.*\})", record.getMessage()):
            found.setdefault(match[1], []).append(json.loads(match[2]))
    return found
