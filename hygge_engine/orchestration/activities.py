"""The activities of a load as plain functions: JSON in, JSON out, failures as values.

Imports of drivers, Arrow and storage SDKs are left to the calls: the Functions host imports this module to learn the
names of its functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from hygge_engine.errors import ConfigurationError, HyggeError, LakeNotFound, SettingsChanged, UnknownSelection
from hygge_engine.flow.slices import SliceObserver, SliceResult, SliceTask
from hygge_engine.orchestration.board import Boards, write_board
from hygge_engine.orchestration.concurrency import EntityRunState
from hygge_engine.orchestration.events import log_failed_attempt
from hygge_engine.orchestration.identifiers import entity_run_id
from hygge_engine.orchestration.lanes import Group
from hygge_engine.orchestration.parcels import PLAN_LIMIT_BYTES, packed, size_of
from hygge_engine.orchestration.payloads import Plan, PlannedEntity, RequestedLoad, SettleTask
from hygge_engine.orchestration.permits import Permits
from hygge_engine.orchestration.turns import Turns, wait_for_turn
from hygge_engine.orchestration.verdict import UNEXPECTED
from hygge_engine.panics import is_panic
from hygge_engine.plain_text import recordable_in
from hygge_engine.retry import backoff_seconds
from hygge_engine.stopping import ends_when
from hygge_engine.telemetry import Telemetry, telemetry_of_process
from hygge_engine.telemetry.names import SPAN_PLAN, SPAN_SETTLE

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)


class SliceWatch(SliceObserver, Protocol):
    """A watch around one slice, which receives its result at the end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def record_result(self, result: SliceResult) -> None:
        """The slice has ended so. Never raises."""
        ...


WatchFactory = Callable[["Project", "Entity", SliceTask], SliceWatch]


def watch_through_files(project: Project, entity: Entity, task: SliceTask) -> SliceWatch:
    """A watch that other processes can follow: progress and cancellation are small files beside the journal."""
    from hygge_engine.orchestration.watching import FileWatch

    return FileWatch(project, entity, task)


class Activities:
    """``plan_load``, ``run_flow`` and ``settle_load`` for the project that ``open_project`` gives. ``telemetry`` is
    created with the first of them. ``turns`` decide which load may work now, ``permits`` how many connections its
    slices may have; the others return `wait_for_turn`. A plan that is
    ``cancelled`` ends soon."""

    def __init__(
        self,
        open_project: Callable[[], Project],
        watch: WatchFactory = watch_through_files,
        telemetry: Callable[[], Telemetry] = telemetry_of_process,
        turns: Turns | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        permits: Permits | None = None,
    ) -> None:
        self._cancelled = cancelled
        self._open_project = open_project
        self._watch = watch
        self._telemetry = telemetry
        self._turns = turns or Turns()
        self._permits = permits or Permits(counts=False)
        self._boards = Boards()

    def plan_load(self, input_: dict[str, Any]) -> dict[str, Any]:
        """Choose a load's entities.

        Input: ``load_id``, ``request`` (`LoadRequest.to_json`). Returns names, run types, pools and the settings'
        hash; never a secret, never data.
        """
        load_id = input_["load_id"]
        with self._turns.take(load_id) as taken:
            if not taken:
                return wait_for_turn(input_.get("waits", 0))
            with self._telemetry().step(SPAN_PLAN, load_id, int(input_.get("attempt", 1))):
                return _guarded(input_, self._plan)

    def run_flow(self, input_: dict[str, Any]) -> dict[str, Any]:
        """Work on one slice of one entity. Input: `SliceTask.to_json`, with a ``board`` that has the names where it has
        none; returns `compact` of the `SliceResult`."""
        named = _as_failure(int(input_["attempt"]), lambda: self._with_names(input_))
        if isinstance(named, SliceResult):
            return compact(named)
        task = SliceTask.from_json(named)
        table = (task.flow, task.entity)
        begins = task.attempt == 1 or task.busy > 0
        opened = table if begins else None
        with self._turns.take(task.load_id, opened, connection=task.connection, waits=not task.closing) as taken:
            if not taken and not task.closing:
                return wait_for_turn()
            with self._permits.take(self._open_project, task) as permit:
                if permit is None:
                    return wait_for_turn(pool=True)
                permitted = replace(task, connections=permit.count)
                with ends_when(permit.is_lost), self._telemetry().slice(task) as report:
                    result = _as_failure(task.attempt, lambda: self._run_slice(permitted))
                    report(result)
                    if result.status == "failed":
                        log_failed_attempt(task, result)
        self._turns.record_result(task.load_id, table, busy=result.busy)
        return compact(result)

    def run_next(self, input_: dict[str, Any]) -> dict[str, Any]:
        """Take the next entity for a lane and work on its first slice. Input: `Taking.task`.

        Returns what ``run_flow`` does, with the entity under ``taken``: None where nothing is left, and where the load
        is ``cancelled``. Without a ``turn`` it only looks whether it is; with ``stop`` it is from now on.
        With a ``parcel`` it writes down ``results``.
        """
        taken = _as_failure(int(input_["attempt"]), lambda: self._take(input_))
        if isinstance(taken, SliceResult):
            return compact(taken)
        entity = taken["taken"]
        if entity is None:
            return {"status": "continue", **taken}
        entity_run = EntityRunState(0, entity, attempts=int(input_["attempt"]))
        entity_run.connections = entity_run.connections_at_once
        return {**self.run_flow(entity_run.slice_task(input_["load_id"], input_["settings_hash"])), **taken}

    def settle_load(self, input_: dict[str, Any]) -> dict[str, Any]:
        """Record a load: see `settling.settle`."""
        load_id = input_["summary"]["load_id"]
        self._permits.end(load_id)
        with self._turns.take(load_id, last=True) as taken:
            if not taken:
                return wait_for_turn(input_.get("waits", 0))
            telemetry, attempt = self._telemetry(), int(input_.get("attempt", 1))
            with telemetry.step(SPAN_SETTLE, load_id, attempt):
                result = _guarded(input_, self._settle)
            telemetry.flush()
            return result

    def _plan(self, input_: dict[str, Any]) -> Plan:
        from hygge_engine.orchestration.estimates import longest_first
        from hygge_engine.orchestration.idle import names_of, pack
        from hygge_engine.orchestration.survey import find_idle
        from hygge_engine.project.selection import select

        request = input_["request"]
        project = self._open_project()
        bounds: RequestedLoad = {}
        if request.get("window_from"):
            bounds["window_from"] = request["window_from"]
        if request.get("window_to"):
            bounds["window_to"] = request["window_to"]
        entities = select(
            project,
            request.get("flows"),
            request.get("entities"),
            request.get("run_type"),
            backfill=bool(bounds),
            reload=request.get("reload"),
        )
        if request.get("reload"):
            bounds["reload"] = request["reload"]
        idle = None
        if not bounds:
            began = datetime.now(UTC).isoformat()
            without = input_.get("unreachable", ())
            found = find_idle(project, input_["load_id"], entities, unreachable=without, cancelled=self._cancelled)
            idle = pack(found, began, datetime.now(UTC).isoformat())
        if idle:
            ended = names_of(idle)
            entities = [entity for entity in entities if (entity.flow, entity.name) not in ended]
        entities = longest_first(project, entities, unreachable=input_.get("unreachable", ()))
        self._permits.close_idle(project)
        planned = [_plan_entity(input_["load_id"], entity, bounds) for entity in entities]
        if input_.get("shares"):
            divided = [each for each, entity in zip(planned, entities, strict=True) if entity.home.divides()]
            for each in divided[: project.options.concurrency // 2]:
                each["apart"] = True
        connections = {entity["connection"] for entity in planned if entity["connection"]}
        plan: Plan = {
            "status": "planned",
            "settings_hash": project.settings_hash(),
            "concurrency": project.options.concurrency,
            "pools": {name: project.connections[name].pool_size for name in sorted(connections)},
            "entities": planned,
        }
        for feature in ("table_lanes", "shares"):  # those that the orchestrator of this history knows
            if input_.get(feature):
                plan[feature] = True
        if idle:
            plan["idle"] = idle
        if len(planned) > input_.get("lanes_from", len(planned)):
            try:
                plan["board"] = write_board(project, input_["load_id"], planned)
                if input_.get("packed"):
                    plan |= {"packed": packed(planned), "entities": [], "parks": True}
            except HyggeError as error:
                if size_of(planned) > PLAN_LIMIT_BYTES:
                    raise
                _log.warning("The load runs without lanes, because its plan cannot be written down: %s", error)
        return plan

    def _take(self, input_: Mapping[str, Any]) -> dict[str, Any]:
        board = self._boards.open(self._open_project(), input_["load_id"], input_["board"])
        if "parcel" in input_:
            board.put_down(input_["parcel"], input_["results"])
            return {"taken": None}
        if input_.get("stop"):
            board.request_cancel()
        if board.is_cancelled():
            return {"taken": None, "cancelled": True}
        if not input_["turn"]:
            return {"taken": None}
        group = Group(input_["connection"], input_["connections_at_once"])
        return {"taken": board.take(input_["lane"], input_["turn"], group)}

    def _with_names(self, input_: dict[str, Any]) -> dict[str, Any]:
        if "board" not in input_:
            return input_
        board = self._boards.open(self._open_project(), input_["load_id"], input_["board"])
        task = {key: value for key, value in input_.items() if key != "board"}
        return {**task, **board.names_of(input_["entity_run_id"])}

    def _settle(self, input_: dict[str, Any]) -> Mapping[str, Any]:
        from hygge_engine.orchestration.idle import results_of
        from hygge_engine.orchestration.settling import settle, settled_before
        from hygge_engine.orchestration.survey import remember_states

        project, summary = self._open_project(), input_["summary"]
        if "board" in input_:
            board = self._boards.open(project, summary["load_id"], input_["board"])
            try:
                input_ = {**input_, "results": board.results(input_["parcels"], input_["results"])}
            except LakeNotFound:
                # An earlier delivery has recorded all, and cleared what it had that from; or nothing has.
                if (earlier := settled_before(project, cast("SettleTask", input_))) is None:
                    raise
                return earlier
        results = [*input_["results"], *results_of(summary.get("idle"), summary["load_id"])]
        if int(input_.get("attempt", 1)) == 1:
            self._telemetry().record_load(project, summary, results, input_["request"].get("traceparent", ""))
        settled = settle(project, cast("SettleTask", {**input_, "results": results}))
        if settled["status"] == "settled" and summary["status"] != "cancel":
            remember_states(project, input_["results"])
        return settled

    def _run_slice(self, task: SliceTask) -> SliceResult:
        from hygge_engine.flow.run import run_slice

        project = self._open_project()
        entity = _find(project, task)
        if task.attempt == 1 and project.settings_hash() != task.settings_hash:
            raise SettingsChanged(
                "The settings changed after the load was planned, and this entity had not begun.",
                hint="Start the load again.",
            )
        self._telemetry().began(project, entity, task)
        with self._watch(project, entity, task) as watch:
            result = _as_failure(task.attempt, lambda: run_slice(project, entity, task, watch))
            if not (task.closing and result.status == "cancelled"):
                watch.record_result(result)  # an entity that has released its table ends as it would have before
            return result


def _guarded(input_: dict[str, Any], work: Callable[[dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``work`` returns, or its exception as a failed result; an unexpected one is worth one more
    attempt."""
    attempt = int(input_.get("attempt", 1))
    result = _as_failure(attempt, lambda: work(input_))
    if not isinstance(result, SliceResult):
        return {key: recordable_in(value) for key, value in result.items()}
    payload = compact(result)
    return {**payload, "transient": attempt == 1} if payload["error"] == UNEXPECTED else payload


def _as_failure[T](attempt: int, work: Callable[[], T]) -> T | SliceResult:
    """What ``work`` returns, or its exception as a failed result."""
    try:
        return work()
    except ConfigurationError as error:
        # The result stays in the orchestration's history, and callers of the API read it.
        _log.error("The project cannot be used: %s", error)
        return SliceResult("failed", message=error.brief, error=error.code)
    except HyggeError as error:
        pause = backoff_seconds(attempt, error.retry_after_seconds) if error.transient else None
        return SliceResult.failure(error, retry_after_seconds=pause)
    except BaseException as error:  # the last line before the host; one entity must not bring the load down
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        _log.exception("An activity failed unexpectedly.")
        # The text of such an exception may hold anything, so only its kind leaves this process.
        message = f"Unexpected {type(error).__name__}; the log of the process that ran it says more."
        return SliceResult("failed", message=message, error=UNEXPECTED, retry_after_seconds=backoff_seconds(1))


def compact(result: SliceResult) -> dict[str, Any]:
    """`SliceResult.to_json` without what has its default value: results stay in the orchestration's history, which is
    read again at every event."""
    return {
        field.name: value
        for field in fields(result)
        if (value := getattr(result, field.name)) not in (field.default, None)
    }


def _plan_entity(load_id: str, entity: Entity, bounds: RequestedLoad) -> PlannedEntity:
    planned: PlannedEntity = {
        "flow": entity.flow,
        "entity": entity.name,
        "entity_run_id": entity_run_id(load_id, entity.flow, entity.name),
        "run_type": entity.effective_run_type,
        "connection": entity.connection,
        "connections_at_once": entity.home.connections_at_once(),
        "connections_at_most": entity.home.connections_at_most(),
    }
    return {**planned, **bounds}


def _find(project: Project, task: SliceTask) -> Entity:
    flow = project.flows.get(task.flow)
    entity = flow.entities.get(task.entity) if flow else None
    if entity is None:
        raise UnknownSelection(f"{task.flow}.{task.entity} is no longer part of the project.")
    return entity
