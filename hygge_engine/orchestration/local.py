"""Runs a load in this process, without a Functions host: what `hygge go` does.

What ends with the process is the orchestration's memory. The tables are as safe as ever: the next load continues from
their landing state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, Self
from uuid import uuid4

from hygge_engine.errors import HyggeError
from hygge_engine.flow.slices import SliceResult, SliceTask, numbers_in
from hygge_engine.orchestration.activities import Activities, compact
from hygge_engine.orchestration.idle import lines_of, results_of
from hygge_engine.orchestration.in_process import LocalContext, run_orchestrator
from hygge_engine.orchestration.load import load_steps
from hygge_engine.orchestration.payloads import EntityPayload
from hygge_engine.orchestration.permits import Permits
from hygge_engine.orchestration.places import place_of
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.orchestration.stop_signals import CANCEL_EVENT
from hygge_engine.project.models.project import Entity, Project
from hygge_engine.retry import seconds_since_success
from hygge_engine.telemetry import Telemetry, telemetry_of_process

_log = logging.getLogger(__name__)

# The events that tell a cancelled load to stop waiting, in the order in which they come: `HasteSignal`.
_HASTE = ("let_go", "leave")

# This much processor time counts as work; waiting for a response, and showing that, takes a tenth of it in a second.
BUSY_SECONDS = 0.25


class Observer(Protocol):
    """Who wants to see a load happen. All calls come from the thread that runs the load."""

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        """The load's entities: ``flow``, ``entity``, ``run_type``, ``connection`` of each, in the order of the plan."""
        ...

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        """Rows and bytes that the entity run has read so far."""
        ...

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        """The entity's last result: a `SliceResult` as JSON, keys with default values left out."""
        ...


class _LocalWatch:
    """A watch within this process: rows go to the observer, cancellation comes from a flag."""

    def __init__(
        self,
        report: Callable[[int, int], None],
        cancelled: threading.Event,
        on_result: Callable[[SliceResult], None],
    ) -> None:
        self._report = report
        self._cancelled = cancelled
        self._on_result = on_result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return

    def progress(self, rows: int, bytes_: int) -> None:
        self._report(rows, bytes_)

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def record_result(self, result: SliceResult) -> None:
        self._on_result(result)


class LocalLoad:
    """One load in this process. ``on_slice`` receives every result of an entity, not only the last, ``on_unsettled``
    why the journal could not be written yet, and ``on_ranges`` of a table that is read in ranges how many of them have
    been read, and how many there are; all are called like the observer. ``unreachable`` has the errors of entities, by
    id, whose sources are known not to respond: they fail at once, because a user is waiting."""

    def __init__(
        self,
        project: Project,
        request: LoadRequest,
        observer: Observer,
        on_slice: Callable[[str, str, SliceResult], None] = lambda flow, entity, result: None,
        on_unsettled: Callable[[str, str], None] = lambda message, error: None,
        on_ranges: Callable[[str, str, int, int], None] = lambda flow, entity, read, count: None,
        telemetry: Callable[[], Telemetry] = telemetry_of_process,
        unreachable: Mapping[str, HyggeError] | None = None,
    ) -> None:
        self._observer = observer
        self._on_slice = on_slice
        self._on_unsettled = on_unsettled
        self._on_ranges = on_ranges
        self._unreachable = unreachable or {}
        self._moved = time.monotonic()
        self._used = time.process_time()
        self._cancelled = threading.Event()
        self._settling = False
        self._haste = list(_HASTE)
        self._hurried = False
        self._silent_journals: Collection[str] = ()
        self._requested_by = request.requested_by
        self._marking: dict[str, threading.Lock] = {}
        self._marked: set[str] = set()
        self._ranges: dict[tuple[str, str], dict[int, tuple[int, int]]] = {}
        self._unread: dict[tuple[str, str], tuple[int, set[int]]] = {}
        self._project = project
        self._permits = Permits()
        self._activities = Activities(
            lambda: project,
            watch=self._watch,
            telemetry=telemetry,
            cancelled=self._cancelled.is_set,
            permits=self._permits,
        )
        load_id = request.coordinator_run_id or str(uuid4())
        activities = {
            "plan_load": self._plan,
            "run_flow": self._run_flow,
            "settle_load": self._settle,
        }
        self._context = LocalContext(load_id, request.to_json(), activities)

    def run(self) -> dict[str, Any]:
        """Run to the end and return the load's summary (`summary.summarize`)."""
        haste = [self._context.wait_for_external_event(name) for name in _HASTE]
        try:
            summary: dict[str, Any] = run_orchestrator(
                self._context, load_steps(self._context, self._entity_ended, haste=haste)
            )
        finally:
            if self._hurried:
                self._permits.abandon()
            else:
                self._permits.close()
        lines = [*summary["results"], *lines_of(summary)]
        return {key: value for key, value in summary.items() if key != "idle"} | {"results": lines}

    def request_cancel(self) -> None:
        """Ask the load to stop after the batches being written. Safe from any thread and from a signal handler."""
        self._cancelled.set()
        self._context.raise_event(CANCEL_EVENT)

    def hurry(self, silent_journals: Collection[str]) -> bool:
        """Tell a cancelled load that it waits for a silent service: its tables are then released without waiting for
        their slices, and with the next call it ends as it is, without the entities (by id) whose journals are silent as
        well.

        The threads that hang are abandoned, so the process has to end soon after `run`. Returns False where nothing is
        left that the load could skip. Safe from any thread.
        """
        try:
            event = self._haste.pop(0)
        except IndexError:
            return False
        self._hurried, self._silent_journals = True, silent_journals
        self._moved = time.monotonic()
        self._settling = not self._haste
        self._context.abandon()
        self._context.raise_event(event)
        return True

    @property
    def is_hung(self) -> bool:
        """Whether an abandoned thread still works."""
        return self._context.is_busy

    @property
    def is_settling(self) -> bool:
        """Whether all that is left to do is to write the journal, and that has not failed yet."""
        return self._settling

    def silence_seconds(self) -> float:
        """Seconds since the last batch that was read, response that was received or work of our own."""
        used = time.process_time()
        if used - self._used >= BUSY_SECONDS:
            self._used, self._moved = used, time.monotonic()
        return min(time.monotonic() - self._moved, seconds_since_success())

    def _plan(self, input_: dict[str, Any]) -> dict[str, Any]:
        plan = self._activities.plan_load({**input_, "unreachable": [*self._unreachable]})
        idle = list(results_of(plan.get("idle"), input_["load_id"]))

        def tell() -> None:
            self._observer.planned([*plan.get("entities", []), *idle])
            for result in idle:
                self._entity_ended(result)

        self._context.post(tell)
        return plan

    def _mark(self, load_id: str, entity: Entity) -> None:
        """Leave a mark beside an entity's journal, before anything of its own, until the load is written there: a
        process may end at any time. Asked for with each entity, so that a journal that hangs holds up its own only."""
        try:
            place = place_of(self._project, entity)
            with self._marking.setdefault(place.key, threading.Lock()):
                if place.key not in self._marked:
                    self._marked.add(place.key)
                    place.progress.begin(load_id, self._requested_by)
        except HyggeError as error:
            _log.warning("Cannot record beside the journal of %s that load %s has begun: %s", entity.id, load_id, error)

    def _run_flow(self, input_: dict[str, Any]) -> dict[str, Any]:
        entity = self._project.flows[input_["flow"]].entities[input_["entity"]]
        error = self._unreachable.get(entity.id)
        if error is not None:
            return {**compact(SliceResult.failure(error)), "transient": False}
        if input_["attempt"] == 1:
            self._mark(input_["load_id"], entity)
        return self._activities.run_flow({**input_, "hurried": self._hurried})

    def _settle(self, input_: dict[str, Any]) -> dict[str, Any]:
        self._haste.clear()
        self._settling = int(input_.get("attempt", 1)) == 1
        result = self._activities.settle_load({**input_, "silent_journals": [*self._silent_journals]})
        self._settling = False
        if self._hurried:
            result = {**result, "transient": False}  # no other attempt is waited for
        if result.get("transient"):
            self._context.post(lambda: self._on_unsettled(result["message"], result["error"]))
        return result

    def _entity_ended(self, result: EntityPayload) -> None:
        self._observer.entity_ended(result["flow"], result["entity"], result)

    def _watch(self, project: Project, entity: Entity, task: SliceTask) -> _LocalWatch:
        def report(rows: int, bytes_: int) -> None:
            if self._hurried:
                return  # of a thread that was left
            self._moved = time.monotonic()
            self._context.post(lambda: self._show(task, rows, bytes_))

        def on_result(result: SliceResult) -> None:
            self._context.post(lambda: self._take(task, result))

        return _LocalWatch(report, self._cancelled, on_result)

    def _take(self, task: SliceTask, result: SliceResult) -> None:
        """Pass on the result of a slice, and what it says of ranges."""
        table = (task.flow, task.entity)
        if task.part is None:
            self._unread.pop(table, None)
            if result.ranges_left:
                self._unread[table] = result.ranges, set(numbers_in(result.ranges_left))
            self._on_slice(task.flow, task.entity, result)
        if table in self._unread:
            count, left = self._unread[table]
            if task.part is not None and result.status == "done":
                left.discard(task.part)
            self._on_ranges(task.flow, task.entity, count - len(left), count)

    def _show(self, task: SliceTask, rows: int, bytes_: int) -> None:
        """Tell the observer how far an entity run is: where its table is read in ranges, all of these together."""
        if task.part is not None:
            ranges = self._ranges.setdefault((task.flow, task.entity), {})
            ranges[task.part] = (rows, bytes_)
            rows, bytes_ = (sum(figures) for figures in zip(*ranges.values(), strict=True))
        self._observer.entity_progress(task.flow, task.entity, rows, bytes_)


def run_load(project: Project, request: LoadRequest, observer: Observer) -> dict[str, Any]:
    """Run a load in this process and return its summary; `LocalLoad` is the same with a way to cancel."""
    return LocalLoad(project, request, observer).run()
