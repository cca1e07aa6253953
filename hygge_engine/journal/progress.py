"""Progress of running slices, and the marker that asks a load to stop: small files that come and go with a load.

``progress/<load>/<flow>/<entity>.json`` is replaced while a slice runs; ``progress/<load>/cancel.json`` is the marker.
``progress/<load>/begun.json`` says that a load began which no host keeps track of. No load depends on any of this: what
cannot be written is logged, and the load continues.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import Any, Self

from hygge_engine.errors import LakeError, LakeNotFound
from hygge_engine.journal.names import file_name
from hygge_engine.lake.base import Lake, bounded

# How often a running slice reports its progress, and how often it checks whether it should stop: often enough to watch,
# seldom enough that a hundred tables are no load for the lake.
REPORT_INTERVAL_SECONDS = 1.0
CANCEL_INTERVAL_SECONDS = 2.0

# How long the end of a slice waits for a request that is on its way; a stuck one is left behind.
LAST_REQUEST_SECONDS = 5.0

# Folders of abandoned loads that one sweep examines: a few requests for each, so that it ends within a minute.
SWEPT_AT_ONCE = 200

_BEGUN = "begun.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """A load whose end is not written: it still runs, or it died. ``begun`` is a time in ISO 8601."""

    load_id: str
    requested_by: str
    begun: str


class ProgressFiles:
    """The progress files below a journal's root folder. Thread-safe."""

    def __init__(self, lake: Lake, root: str) -> None:
        self._lake = lake
        self._folder = f"{root.strip('/')}/progress"

    def write(self, load_id: str, flow: str, entity: str, state: Mapping[str, Any]) -> None:
        """Replace an entity's state: any JSON-serialisable values; ``flow``, ``entity`` and ``updated`` are added."""
        value = {
            **state,
            "flow": flow,
            "entity": entity,
            "updated": self._lake.now().isoformat(timespec="milliseconds"),
        }
        path = f"{self._load_folder(load_id)}/{file_name(flow)}/{file_name(entity)}.json"
        self._lake.put(path, json.dumps(value).encode())

    def read(self, load_id: str) -> list[dict[str, Any]]:
        """The states of a load's entities, by flow and entity; those being written may be missing."""
        states = []
        folder = self._load_folder(load_id)
        for entry in bounded(self._lake.list(folder, recursive=True), folder):
            if entry.is_directory or entry.path in (self._marker(load_id), self._beginning(load_id)):
                continue
            # Cleared since it was listed, or a foreign file.
            with suppress(LakeNotFound, ValueError, RecursionError):
                state = json.loads(self._lake.read(entry.path).data)
                if isinstance(state, dict) and {"flow", "entity"} <= state.keys():
                    states.append(state)
        return sorted(states, key=lambda state: (state["flow"], state["entity"]))

    def begin(self, load_id: str, requested_by: str) -> None:
        """Say that a load begins, until `clear`: one that dies before its end is written is seen by this."""
        value = {"load_id": load_id, "requested_by": requested_by, "begun": self._lake.now().isoformat("T", "seconds")}
        self._lake.put(self._beginning(load_id), json.dumps(value).encode())

    def begun(self) -> list[Begun]:
        """The loads that have begun and whose end is not written, oldest first; of many, some."""
        found = []
        for folder in islice(self._lake.list(self._folder), SWEPT_AT_ONCE):
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
        old = (load for load in self._lake.list(self._folder) if load.modified < limit)
        swept = 0
        for load in list(islice(old, SWEPT_AT_ONCE)):
            files = (entry for entry in self._lake.list(load.path, recursive=True) if not entry.is_directory)
            if all(entry.modified < limit for entry in files):
                swept += self._lake.delete_directory(load.path)
        return swept

    def _load_folder(self, load_id: str) -> str:
        return f"{self._folder}/{file_name(load_id)}"

    def _beginning(self, load_id: str) -> str:
        return f"{self._load_folder(load_id)}/{_BEGUN}"

    def _marker(self, load_id: str) -> str:
        return f"{self._load_folder(load_id)}/cancel.json"


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
        report_interval_seconds: float = REPORT_INTERVAL_SECONDS,
        cancel_interval_seconds: float = CANCEL_INTERVAL_SECONDS,
    ) -> None:
        self._progress = progress
        self._load_id = load_id
        self._flow = flow
        self._entity = entity
        self._report_interval = report_interval_seconds
        self._cancel_interval = cancel_interval_seconds
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")
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
        state = {"state": "running", "rows": rows, "bytes": bytes_, "started": self._started}
        try:
            self._progress.write(self._load_id, self._flow, self._entity, state)
        except LakeError as error:
            _log.warning("Cannot write the progress of %s.%s: %s", self._flow, self._entity, error)
            return False
        self._reported = totals
        return True
