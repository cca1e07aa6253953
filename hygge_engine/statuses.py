"""How entity runs and loads end, in the journal's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

RunStatus = Literal["success", "fail", "skip", "cancel"]

# By the status of an entity run's last slice.
JOURNAL_STATUS: Final[Mapping[str, RunStatus]] = {
    "done": "success",
    "failed": "fail",
    "skipped": "skip",
    "cancelled": "cancel",
}
