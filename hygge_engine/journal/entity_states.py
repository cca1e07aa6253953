"""What is known of an entity under way, in the name of a file: one listing then shows a load, however many run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hygge_engine.statuses import JOURNAL_STATUS

_NAME = re.compile(
    r"(?P<key>[0-9a-f]{32})~(?P<attempt>[0-9]{1,9})~(?P<status>[a-z]{1,16})"
    r"~(?P<rows>[0-9]{1,19})~(?P<bytes>[0-9]{1,19})~(?P<updated>[0-9]{1,13})(?P<explained>~why)?\.json"
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class EntityState:
    """How far an entity of a load is. ``status`` is ``running``, ``waiting`` or one of the journal's words; ``attempt``
    counts its slices from 1; ``explained``: the file holds a message, an error, or both."""

    key: str
    attempt: int
    status: str
    rows: int
    bytes: int
    updated: datetime
    explained: bool

    @property
    def path(self) -> str:
        """Where its file lies below the load's folder. Some folders share the files, so that what is left of earlier
        slices is found in a short listing."""
        updated = (self.updated - _EPOCH) // _MILLISECOND
        figures = f"{self.attempt}~{self.status}~{self.rows}~{self.bytes}~{updated}"
        return f"{self.key[:2]}/{self.key}~{figures}{'~why' if self.explained else ''}.json"

    @property
    def age(self) -> tuple[int, datetime]:
        """The greater, the newer: a slice that was given up, and still runs, speaks for its entity no longer."""
        return self.attempt, self.updated


def key_of(flow: str, entity: str) -> str:
    """What an entity is called in the names of its files, whatever its own name is."""
    return hashlib.sha256(f"{flow}\0{entity}".encode()).hexdigest()[:32]


def state_in(name: str) -> EntityState | None:
    """What a file's name says; None where it is no such file."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return EntityState(
        key=found["key"],
        attempt=int(found["attempt"]),
        status=found["status"],
        rows=int(found["rows"]),
        bytes=int(found["bytes"]),
        updated=_EPOCH + int(found["updated"]) * _MILLISECOND,
        explained=bool(found["explained"]),
    )


def status_of(state: Mapping[str, Any]) -> str:
    """How a slice's result, or a report of a running one, is shown: a table that is tried again has not failed."""
    word = str(state.get("state", "running"))
    if word == "continue" or (word == "failed" and state.get("transient")):
        return "waiting"
    return JOURNAL_STATUS.get(word, "running")
