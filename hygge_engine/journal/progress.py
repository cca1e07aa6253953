"""Progress of running slices, and the marker that asks a load to stop: small files that come and go with a load.

Each entity under way has a file whose name says how far it is (`entity_states`), and which gets another name while a
slice runs; ``progress/<load>/cancel.json`` is the marker. ``progress/<load>/begun.json`` says that a load began which
no host keeps track of. No load depends on any of this: what cannot be written is logged, and the load continues.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Any, Self

from hygge_engine.errors import LakeConflict, LakeError, LakeNotFound
from hygge_engine.journal.entity_states import EntityState, key_of, state_in, status_of, together
from hygge_engine.journal.kept import Kept
from hygge_engine.journal.names import file_name
from hygge_engine.lake.base import Lake, PathInfo, bounded

# How often a running slice reports its progress, and how often it checks whether it should stop: often enough to watch,
# seldom enough that a hundred tables are no load for the lake.
REPORT_INTERVAL_SECONDS = 1.0
CANCEL_INTERVAL_SECONDS = 2.0

# How long the end of a slice waits for a request that is on its way; a stuck one is left behind.
LAST_REQUEST_SECONDS = 5.0

# Folders of abandoned loads that one sweep examines: a few requests for each, so that it ends within a minute.
SWEPT_AT_ONCE = 200

# Explanations read at the same time, and how many bytes of them a process keeps: who watches a load asks every two
# seconds, and what kept a table waiting stays the same for longer.
READERS = 8
EXPLANATIONS_KEPT_BYTES = 2 * 1024**2
_EXPLANATIONS: Kept[dict[str, str]] = Kept(EXPLANATIONS_KEPT_BYTES)

_BEGUN = "begun.json"

# What a file holds beside the names, as text.
_SAID = ("message", "error", "ranges")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """A load whose end is not written: it still runs, or it died. ``begun`` is a time in ISO 8601."""

    load_id: str
    requested_by: str
    begun: str


@dataclass(frozen=True)
class _Written:
    """The file that stands for an entity, by path, and what is in it."""

    path: str
    data: bytes
    state: EntityState


class ProgressFiles:
    """The progress files below a journal's root folder. Thread-safe."""

    def __init__(self, lake: Lake, root: str) -> None:
        self._lake = lake
        self._folder = f"{root.strip('/')}/progress"
        self._written: dict[tuple[str, str, int | None], _Written] = {}

    def write(self, load_id: str, flow: str, entity: str, state: Mapping[str, Any], *, part: int | None = None) -> None:
        """Replace an entity's state, or that of one range (``part``) of its table: ``state`` (of a `SliceResult`, or
        ``running``), ``rows``, ``bytes``, ``attempt``, ``transient``, ``message``, ``error`` and ``ranges``, as far as
        they are known: the last one says how many ranges are left, and of how many (``28/40``).

        One request where only figures have changed: the file gets another name.
        """
        key = key_of(flow, entity)
        before = self._written.get((load_id, key, part))
        explanation = {name: str(state[name]) for name in _SAID if state.get(name)}
        now = self._lake.now()
        moment = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as a name has it
        shown = EntityState(
            key=key,
            attempt=state.get("attempt", 1),
            status=status_of(state),
            rows=state.get("rows", 0),
            bytes=state.get("bytes", 0),
            updated=moment if before is None else max(moment, before.state.updated + timedelta(milliseconds=1)),
            explained=bool(explanation),
            part=part,
        )
        data = json.dumps({"flow": flow, "entity": entity, **explanation}).encode()
        written = _Written(f"{self._load_folder(load_id)}/{shown.path}", data, shown)
        moved = before is not None and before.data == data and self._move(before.path, written.path)
        if not moved:
            self._lake.put(written.path, data)
        self._written[load_id, key, part] = written
        if before is None and shown.attempt > 1:
            self._remove_older(written)
        elif before is not None and not moved:
            self._lake.delete(before.path)

    def _move(self, path: str, to: str) -> bool:
        try:
            self._lake.rename(path, to)
        except LakeNotFound:
            return False  # a later slice has removed it, or the response to this request was lost
        except LakeConflict:
            return True
        return True

    def _remove_older(self, written: _Written) -> None:
        """Remove what earlier slices of the entity have left."""
        folder = written.path.rpartition("/")[0]
        for entry in bounded(self._lake.list(folder), folder):
            state = state_in(entry.name)
            if state is None or (state.key, state.part) != (written.state.key, written.state.part):
                continue
            if state.age < written.state.age:
                self._lake.delete(entry.path)

    def states(self, load_id: str) -> dict[str, EntityState]:
        """The newest state of each entity that has begun, by `key_of` its names, from one listing; one that changes its
        name just now may be missing."""
        folder = self._load_folder(load_id)
        entries = bounded(self._lake.list(folder, recursive=True), folder)
        return together(state for state in map(state_in, (entry.name for entry in entries)) if state is not None)

    def explanations(self, load_id: str, states: Collection[EntityState]) -> dict[str, dict[str, str]]:
        """What the files of some entities hold, by key: ``flow`` and ``entity``, and ``message`` and ``error`` where
        there are any. A file that has another name by now is left out. A request for each that is not kept."""

        def read(state: EntityState) -> dict[str, str] | None:
            path = f"{self._load_folder(load_id)}/{state.path}"
            address = (self._lake.url, path)
            if (kept := _EXPLANATIONS.get(address)) is not None:
                return kept
            # Named anew or cleared since it was listed, or a foreign file.
            with suppress(LakeNotFound, ValueError, RecursionError):
                data = self._lake.read(path).data
                found = _explanation_in(json.loads(data), state.key)
                if found:
                    _EXPLANATIONS.put(address, found, len(data))
                return found
            return None

        if not states:
            return {}
        with ThreadPoolExecutor(min(READERS, len(states)), thread_name_prefix="progress") as readers:
            found = zip(states, readers.map(read, states), strict=True)
            return {state.key: texts for state, texts in found if texts is not None}

    def begin(self, load_id: str, requested_by: str) -> None:
        """Say that a load begins, until `clear`: one that dies before its end is written is seen by this."""
        value = {"load_id": load_id, "requested_by": requested_by, "begun": self._lake.now().isoformat("T", "seconds")}
        self._lake.put(self._beginning(load_id), json.dumps(value).encode())

    def begun(self) -> list[Begun]:
        """The loads that have begun and whose end is not written, oldest first; of many, some."""
        found = []
        for folder in islice(self._load_folders(), SWEPT_AT_ONCE):
            # A load of a host, one that has just ended, or a foreign file.
            with suppress(LakeNotFound, ValueError, KeyError, TypeError):
                value = json.loads(self._lake.read(f"{folder.path}/{_BEGUN}").data)
                found.append(Begun(str(value["load_id"]), str(value["requested_by"]), str(value["begun"])))
        return sorted(found, key=lambda load: load.begun)

    def request_cancel(self, load_id: str) -> None:
        """Ask a load to stop; its slices see it within seconds."""
        now = self._lake.now().isoformat(timespec="milliseconds")
        self._lake.put(self._marker(load_id), json.dumps({"requested": now}).encode())

    def is_cancelled(self, load_id: str) -> bool:
        """Whether this load was asked to stop."""
        return self._lake.info(self._marker(load_id)) is not None

    def clear(self, load_id: str) -> None:
        """Remove everything about a load that has ended."""
        self._lake.delete_directory(self._load_folder(load_id))

    def sweep(self, older_than: timedelta) -> int:
        """Remove what loads have left behind whose settling never came to clear it; returns how many loads that were.

        Only into folders that are old themselves is looked, and into `SWEPT_AT_ONCE` of them at most: loads under way
        cost nothing here, however many there are, and what is left is found the next time.
        """
        limit = self._lake.now() - older_than
        old = (load for load in self._load_folders() if load.modified < limit)
        swept = 0
        for load in list(islice(old, SWEPT_AT_ONCE)):
            files = (entry for entry in self._lake.list(load.path, recursive=True) if not entry.is_directory)
            if all(entry.modified < limit for entry in files):
                swept += self._lake.delete_directory(load.path)
        return swept

    def board_folder(self, load_id: str) -> str:
        """Where the lanes of a load have its plan. No file in it is called like the state of an entity."""
        return f"{self._load_folder(load_id)}/@board"

    def _load_folders(self) -> Iterator[PathInfo]:
        """The folders of all loads; a link is none."""
        return (entry for entry in self._lake.list(self._folder) if entry.is_directory and not entry.link)

    def _load_folder(self, load_id: str) -> str:
        return f"{self._folder}/{file_name(load_id)}"

    def _beginning(self, load_id: str) -> str:
        return f"{self._load_folder(load_id)}/{_BEGUN}"

    def _marker(self, load_id: str) -> str:
        return f"{self._load_folder(load_id)}/cancel.json"


def _explanation_in(value: Any, key: str) -> dict[str, str] | None:
    """What an entity's file holds; None where somebody else has written it."""
    if not isinstance(value, dict) or not {"flow", "entity"} <= value.keys():
        return None
    found = {name: str(value[name]) for name in ("flow", "entity", *_SAID) if name in value}
    return found if key_of(found["flow"], found["entity"]) == key else None


class ProgressWatch:
    """A `hygge_engine.flow.slices.SliceObserver`; a context manager around one slice.

    A thread of its own writes the state and looks for the marker, so that a lake that is slow or throttles never holds
    up the rows. After a failed attempt it waits ten times as long.
    """

    def __init__(
        self,
        progress: ProgressFiles,
        load_id: str,
        flow: str,
        entity: str,
        *,
        attempt: int = 1,
        part: int | None = None,
        report_interval_seconds: float = REPORT_INTERVAL_SECONDS,
        cancel_interval_seconds: float = CANCEL_INTERVAL_SECONDS,
    ) -> None:
        self._progress = progress
        self._load_id = load_id
        self._flow = flow
        self._entity = entity
        self._attempt = attempt
        self._part = part
        self._report_interval = report_interval_seconds
        self._cancel_interval = cancel_interval_seconds
        self._totals: tuple[int, int] | None = None
        self._reported: tuple[int, int] | None = None
        self._cancelled = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"progress {flow}.{entity}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(LAST_REQUEST_SECONDS)

    def progress(self, rows: int, bytes_: int) -> None:
        """See `SliceObserver.progress`."""
        self._totals = (rows, bytes_)

    def cancelled(self) -> bool:
        """See `SliceObserver.cancelled`."""
        return self._cancelled

    def _run(self) -> None:
        next_report = time.monotonic() + self._report_interval
        next_look = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_look:
                next_look = now + self._cancel_interval * (1 if self._look() else 10)
            if now >= next_report:
                next_report = now + self._report_interval * (1 if self._report() else 10)
            if self._ended.wait(max(0.0, min(next_report, next_look) - time.monotonic())):
                break

    def _look(self) -> bool:
        try:
            self._cancelled = self._cancelled or self._progress.is_cancelled(self._load_id)
        except LakeError as error:
            _log.warning("Cannot see whether load %s should stop: %s", self._load_id, error)
            return False
        return True

    def _report(self) -> bool:
        totals = self._totals
        if totals is None or totals == self._reported:
            return True
        rows, bytes_ = totals
        state = {"state": "running", "attempt": self._attempt, "rows": rows, "bytes": bytes_}
        try:
            self._progress.write(self._load_id, self._flow, self._entity, state, part=self._part)
        except LakeError as error:
            _log.warning("Cannot write the progress of %s.%s: %s", self._flow, self._entity, error)
            return False
        self._reported = totals
        return True
