"""What is known of an entity under way, in the name of a file: one listing then shows a load, however many run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hygge_engine.statuses import JOURNAL_STATUS

_NAME = re.compile(
    r"(?P<key>[0-9a-f]{32})(?:\.(?P<part>[0-9]{1,6}))?~(?P<attempt>[0-9]{1,9})~(?P<status>[a-z]{1,16})"
    r"~(?P<rows>[0-9]{1,19})~(?P<bytes>[0-9]{1,19})~(?P<updated>[0-9]{1,13})(?P<explained>~why)?\.json"
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class EntityState:
    """How far an entity of a load is. ``status`` is ``running``, ``waiting`` or one of the journal's words; ``attempt``
    counts its slices from 1; ``explained``: the file holds a message, an error, or both. ``part``: it is that of one
    range alone, counted from 0, of a table that is read in ranges. ``file`` is where the state lies that was
    put together with those of ranges, of which ``parts_read`` have been read."""

    key: str
    attempt: int
    status: str
    rows: int
    bytes: int
    updated: datetime
    explained: bool
    part: int | None = None
    file: str = ""
    parts_read: int = 0

    @property
    def path(self) -> str:
        """Where its file lies below the load's folder. Some folders share the files, so that what is left of earlier
        slices is found in a short listing."""
        if self.file:
            return self.file
        updated = (self.updated - _EPOCH) // _MILLISECOND
        figures = f"{self.attempt}~{self.status}~{self.rows}~{self.bytes}~{updated}"
        part = "" if self.part is None else f".{self.part}"
        return f"{self.key[:2]}/{self.key}{part}~{figures}{'~why' if self.explained else ''}.json"

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
        part=int(found["part"]) if found["part"] else None,
    )


def together(states: Iterable[EntityState]) -> dict[str, EntityState]:
    """The newest state of each entity, by key: of one that is being read in ranges with the rows of all of them."""
    newest: dict[tuple[str, int | None], EntityState] = {}
    for state in states:
        before = newest.get((state.key, state.part))
        if before is None or before.age < state.age:
            newest[state.key, state.part] = state
    found = {state.key: state for state in newest.values() if state.part is None}
    under_way = {key for key, state in found.items() if state.status in ("running", "waiting")}
    for part in newest.values():
        if part.part is None or part.key not in under_way:
            continue
        whole = found[part.key]
        found[part.key] = replace(
            whole,
            rows=whole.rows + part.rows,
            bytes=whole.bytes + part.bytes,
            status="running" if part.status == "running" else whole.status,
            updated=max(whole.updated, part.updated),
            file=whole.path,
            parts_read=whole.parts_read + (part.status == JOURNAL_STATUS["done"]),
        )
    return found


def status_of(state: Mapping[str, Any]) -> str:
    """How a slice's result, or a report of a running one, is shown: a table that is tried again has not failed."""
    word = str(state.get("state", "running"))
    if word == "continue" or (word == "failed" and state.get("transient")):
        return "waiting"
    return JOURNAL_STATUS.get(word, "running")
