"""`Telemetry`: the few places where a load reports what it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.telemetry.facts import load_run_of
from hygge_engine.telemetry.log_ids import logging_ids_of

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project
    from hygge_engine.telemetry.lineage.lineage import Lineage
    from hygge_engine.telemetry.signals import Signals


_log = logging.getLogger(__name__)


class RecordResult(Protocol):
    """Records the result of the slice under way."""

    def __call__(self, result: SliceResult, /) -> None: ...


class Telemetry:
    """What a load does, for traces and metrics (``signals``) and lineage, whichever there is. Thread-safe."""

    def __init__(self, signals: Signals | None = None, lineage: Lineage | None = None) -> None:
        self._signals = signals
        self._lineage = lineage

    def step(self, name: str, load_id: str, attempt: int) -> AbstractContextManager[None]:
        """Around the planning or settling of a load."""
        return nullcontext() if self._signals is None else self._signals.step(name, load_id, attempt)

    @contextmanager
    def slice(self, task: SliceTask) -> Iterator[RecordResult]:
        """Around an activity's work on a slice; call what it yields with the result."""
        with logging_ids_of(task):
            if (signals := self._signals) is None:
                yield _ignore_result
                return
            with signals.slice(task) as span:
                yield lambda result: signals.record_slice(span, task, result)

    def began(self, project: Project, entity: Entity, task: SliceTask) -> None:
        """An activity begins to work on an entity run, perhaps not for the first time."""
        if (lineage := self._lineage) is not None and task.attempt == 1:
            _safely(lambda: lineage.began(project, entity, task))

    def record_load(
        self, project: Project, summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]], traceparent: str = ""
    ) -> None:
        """A load has ended: what ``settle_load`` is given. ``traceparent`` names the span of who asked for it."""
        if (signals := self._signals) is not None:
            _safely(lambda: signals.record_load(load_run_of(summary, results), traceparent))
        if (lineage := self._lineage) is not None:
            _safely(lambda: lineage.record_load(project, load_run_of(summary, results)))

    def flush(self) -> None:
        """Send what has been reported, within a few seconds at most."""
        if self._signals is not None:
            self._signals.flush()
        if self._lineage is not None:
            self._lineage.flush()


def _safely(tell: Callable[[], None]) -> None:
    """A fault in a report must not fail the load."""
    try:
        tell()
    except Exception:  # noqa: BLE001 - the border between a load and who looks at it
        _log.exception("Telemetry could not record an event.")


def _ignore_result(result: SliceResult) -> None:
    return
