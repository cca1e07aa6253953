"""Journal rows and a lake that can be interrupted, for the tests of the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from hygge_engine.errors import LakeConditionNotMet
from hygge_engine.journal import EntityRunRow
from hygge_engine.lake.base import Content, Lake, PathInfo, StagingWriter
from hygge_engine.statuses import RunStatus

ROOT = "item/Files/.hygge_journal"
EPOCH = datetime.fromisoformat("2026-01-01T00:00:00+00:00")

STATUSES: tuple[RunStatus, ...] = ("success", "fail", "skip", "cancel")


def make_row(load: int | str, entity: int = 0, *, status: RunStatus = "success", **values: Any) -> EntityRunRow:
    """The row of an entity in load number ``load``: loads follow each other by the hour, entities by the minute."""
    hours = load if isinstance(load, int) else 0
    start = EPOCH + timedelta(hours=hours, minutes=entity)
    defaults: dict[str, Any] = {
        "entity_run_id": f"run-{load}-{entity}",
        "coordinator_run_id": f"load-{load}" if isinstance(load, int) else load,
        "flow_run_id": f"flow-run-{load}",
        "coordinator": "load",
        "flow": "flights",
        "entity": f"table_{entity}",
        "start_time": start.isoformat(),
        "finish_time": (start + timedelta(seconds=30)).isoformat(),
        "status": status,
        "run_type": "incremental",
        "row_count": 10,
        "duration": 30.0,
        "bytes": 100,
    }
    return EntityRunRow(**{**defaults, **values})


class Killed(BaseException):
    """The process died here."""


class InterruptedLake:
    """A lake that calls ``interrupt`` once, at its ``at``-th operation (from 0): before it, or after it has taken
    effect. ``calls`` counts the operations."""

    def __init__(self, lake: Lake, at: int | None = None, interrupt: Callable[[], object] | None = None) -> None:
        self._lake = lake
        self._at = at
        self._interrupt = interrupt
        self.after = False
        self.calls = 0

    @property
    def url(self) -> str:
        return self._lake.url

    def _do[T](self, operation: Callable[[], T]) -> T:
        here = self.calls == self._at
        self.calls += 1
        if here and not self.after and self._interrupt is not None:
            self._interrupt()
        try:
            return operation()
        finally:
            if here and self.after and self._interrupt is not None:
                self._interrupt()

    def read(self, path: str) -> Content:
        return self._do(lambda: self._lake.read(path))

    def read_range(self, path: str, offset: int, length: int, *, if_match: str) -> bytes:
        return self._do(lambda: self._lake.read_range(path, offset, length, if_match=if_match))

    def info(self, path: str) -> PathInfo | None:
        return self._do(lambda: self._lake.info(path))

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        return self._do(lambda: self._lake.put(path, data, if_match=if_match, if_absent=if_absent))

    def stage(self, path: str) -> StagingWriter:
        return self._lake.stage(path)

    def rename(self, source: str, destination: str) -> None:
        self._do(lambda: self._lake.rename(source, destination))

    def make_directory(self, path: str) -> None:
        self._do(lambda: self._lake.make_directory(path))

    def delete(self, path: str) -> bool:
        return self._do(lambda: self._lake.delete(path))

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        return self._do(lambda: self._lake.delete_directory(path, if_match=if_match))

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        # The whole response at once: what a service lists is older than its reader's time.
        return iter(self._do(lambda: tuple(self._lake.list(directory, recursive=recursive))))

    def now(self) -> datetime:
        return self._lake.now()


class LostAnswers(InterruptedLake):
    """A lake whose every conditional put takes effect, but responds as a retry after a lost response does."""

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        etag = self._lake.put(path, data, if_match=if_match, if_absent=if_absent)
        if if_match is not None or if_absent:
            raise LakeConditionNotMet(f"{path} is not the file that was read.", status=412)
        return etag
