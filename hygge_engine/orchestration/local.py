"""Runs a load in this process, without a Functions host: what `hygge go` does.

What ends with the process is the orchestration's memory. The tables are as safe as ever: the next load goes on from
their landing state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self
from uuid import uuid4

from hygge_engine.errors import HyggeError
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.orchestration.activities import Activities, compact
from hygge_engine.orchestration.in_process import LocalContext, run_orchestrator
from hygge_engine.orchestration.load import CANCEL_EVENT, load_steps
from hygge_engine.orchestration.places import places_of
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project.models import Entity, Project
from hygge_engine.retry import seconds_since_success
from hygge_engine.telemetry import Telemetry, telemetry_of_process

_log = logging.getLogger(__name__)

# So much processor time is work; waiting for an answer, and showing that, takes a tenth of it in a second.
BUSY_SECONDS = 0.25


class Observer(Protocol):
    """Who wants to see a load happen. All calls come from the thread that runs the load."""

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        """The load's entities: ``flow``, ``entity``, ``run_type``, ``connection`` of each, in the order of the plan."""
        ...

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        """Rows and bytes that the entity run has read so far."""
        ...

    def entity_settled(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        """The entity's last answer: a `SliceResult` as JSON, keys with default values left out."""
        ...


class _LocalWatch:
    """A watch within this process: rows go to the observer, cancellation comes from a flag."""

    def __init__(
        self,
        report: Callable[[int, int], None],
        cancelled: threading.Event,
        answered: Callable[[SliceResult], None],
    ) -> None:
        self._report = report
        self._cancelled = cancelled
        self._answered = answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return

    def progress(self, rows: int, bytes_: int) -> None:
        self._report(rows, bytes_)

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def answered(self, result: SliceResult) -> None:
        self._answered(result)


class LocalLoad:
    """One load in this process. ``on_slice`` is told of every answer of an entity, not only of the last, and
    ``on_unsettled`` why the journal could not be written yet; both are called like the observer. ``unreachable`` has
    the errors of entities, by id, whose sources are known not to answer: they fail at once, for somebody is waiting."""

    def __init__(
        self,
        project: Project,
        request: LoadRequest,
        observer: Observer,
        on_slice: Callable[[str, str, SliceResult], None] = lambda flow, entity, result: None,
        on_unsettled: Callable[[str, str], None] = lambda message, error: None,
        telemetry: Callable[[], Telemetry] = telemetry_of_process,
        unreachable: Mapping[str, HyggeError] | None = None,
    ) -> None:
        self._observer = observer
        self._on_slice = on_slice
        self._on_unsettled = on_unsettled
        self._unreachable = unreachable or {}
        self._moved = time.monotonic()
        self._used = time.process_time()
        self._cancelled = threading.Event()
        self._settling = False
        self._project = project
        self._activities = Activities(lambda: project, watch=self._watch, telemetry=telemetry)
        load_id = request.coordinator_run_id or str(uuid4())
        activities = {
            "plan_load": self._plan,
            "run_flow": self._run_flow,
            "settle_load": self._settle,
        }
        # One thread more than the window: a timer or a settling activity never queues behind the entities.
        self._context = LocalContext(load_id, request.to_json(), activities, project.options.concurrency + 1)

    def run(self) -> dict[str, Any]:
        """Run to the end and return the load's summary (`summary.summarize`)."""
        summary: dict[str, Any] = run_orchestrator(self._context, load_steps(self._context, self._settled))
        return summary

    def request_cancel(self) -> None:
        """Ask the load to stop after the batches being written. Safe from any thread and from a signal handler."""
        self._cancelled.set()
        self._context.raise_event(CANCEL_EVENT)

    @property
    def is_settling(self) -> bool:
        """Whether all that is left to do is to write the journal, and that has not failed yet."""
        return self._settling

    def silence_seconds(self) -> float:
        """Seconds since a batch was read, a request answered or work of our own done, the last of these."""
        used = time.process_time()
        if used - self._used >= BUSY_SECONDS:
            self._used, self._moved = used, time.monotonic()
        return min(time.monotonic() - self._moved, seconds_since_success())

    def _plan(self, input_: dict[str, Any]) -> dict[str, Any]:
        plan = self._activities.plan_load(input_)
        self._context.post(lambda: self._observer.planned(plan.get("entities", [])))
        self._begin(input_, plan)
        return plan

    def _begin(self, input_: dict[str, Any], plan: dict[str, Any]) -> None:
        """Leave a mark beside each journal until the load is written there: a process may end at any time."""
        planned = [self._project.flows[each["flow"]].entities[each["entity"]] for each in plan.get("entities", [])]
        for place in places_of(self._project, planned).values():
            try:
                place.progress.begin(input_["load_id"], input_["request"].get("requested_by", ""))
            except HyggeError as error:
                _log.warning("Cannot say in %s that load %s has begun: %s", place.key, input_["load_id"], error)

    def _run_flow(self, input_: dict[str, Any]) -> dict[str, Any]:
        error = self._unreachable.get(f"{input_['flow']}.{input_['entity']}")
        if error is None:
            return self._activities.run_flow(input_)
        return {**compact(SliceResult.failure(error)), "transient": False}

    def _settle(self, input_: dict[str, Any]) -> dict[str, Any]:
        self._settling = int(input_.get("attempt", 1)) == 1
        answer = self._activities.settle_load(input_)
        self._settling = False
        if answer.get("transient"):
            self._context.post(lambda: self._on_unsettled(answer["message"], answer["error"]))
        return answer

    def _settled(self, answer: dict[str, Any]) -> None:
        self._observer.entity_settled(answer["flow"], answer["entity"], answer)

    def _watch(self, project: Project, entity: Entity, task: SliceTask) -> _LocalWatch:
        def report(rows: int, bytes_: int) -> None:
            self._moved = time.monotonic()
            self._context.post(lambda: self._observer.entity_progress(task.flow, task.entity, rows, bytes_))

        def answered(result: SliceResult) -> None:
            self._context.post(lambda: self._on_slice(task.flow, task.entity, result))

        return _LocalWatch(report, self._cancelled, answered)


def run_load(project: Project, request: LoadRequest, observer: Observer) -> dict[str, Any]:
    """Run a load in this process and return its summary; `LocalLoad` is the same with a way to cancel."""
    return LocalLoad(project, request, observer).run()
