"""Watching a slice from other processes: through the progress files and the cancellation marker."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING

from hygge_engine.errors import LakeError
from hygge_engine.flow.slices import SliceResult, SliceTask, numbers_in
from hygge_engine.journal import ProgressWatch
from hygge_engine.orchestration.places import place_of

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)


class FileWatch(ProgressWatch):
    """A `ProgressWatch` whose last report is the slice's result."""

    def __init__(self, project: Project, entity: Entity, task: SliceTask) -> None:
        self._files = place_of(project, entity).progress
        self._task = task
        self._result: SliceResult | None = None
        super().__init__(self._files, task.load_id, task.flow, task.entity, attempt=task.attempt, part=task.part)

    def record_result(self, result: SliceResult) -> None:
        """Keep the result until the reports of the running slice have ended, so that none of them overwrites it."""
        self._result = result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._result is None:
            return
        task, result = self._task, self._result
        state = {
            "state": result.status,
            "attempt": task.attempt,
            "rows": result.rows,
            "bytes": result.bytes,
            "message": result.message,
            "error": result.error,
            "transient": result.transient,
            "ranges": f"{len(numbers_in(result.ranges_left))}/{result.ranges}" if result.ranges_left else "",
        }
        try:
            self._files.write(task.load_id, task.flow, task.entity, state, part=task.part)
        except LakeError as failure:
            _log.warning("Cannot write the progress of %s.%s: %s", task.flow, task.entity, failure)
