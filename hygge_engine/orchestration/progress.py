"""What a load has reached: its plan, the entities under way, and what has come of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hygge_engine.orchestration.concurrency import ConcurrencyWindow, DividedRun, EntityRunState
from hygge_engine.orchestration.lanes import ENTITIES_PER_LANE, LOOK_INTERVAL, Taking
from hygge_engine.orchestration.parcels import PARCEL_BYTES, packed, planned_in, size_of
from hygge_engine.orchestration.payloads import EntityPayload, SlicePayload
from hygge_engine.statuses import JOURNAL_STATUS, RunStatus


class Totals:
    """What the orchestration's custom status shows: numbers only, because it may hold 16 KB at most. ``idle`` of the
    ``entities`` have ended with the plan."""

    def __init__(self, entities: int, idle: int = 0) -> None:
        self.entities = entities
        self.idle = idle
        self.cancelled = False
        self.rows = 0
        self.ended: dict[str, int] = dict.fromkeys(JOURNAL_STATUS.values(), 0)
        self.ended[JOURNAL_STATUS["done"]] = idle

    def count(self, result: SlicePayload) -> None:
        """Count an entity that is not run again."""
        self.ended[JOURNAL_STATUS[result["status"]]] += 1
        self.rows += result.get("rows", 0)

    def status(self, phase: str, slots: ConcurrencyWindow | None = None) -> dict[str, Any]:
        """The custom status. ``rows`` are those of ended entities; ``slots`` hold the others."""
        return {
            "phase": phase,
            "entities": self.entities,
            "rows": self.rows,
            "cancelled": self.cancelled,
            **self.ended,
            "running": slots.running if slots else 0,
            "waiting": slots.deferred if slots else 0,
            "pending": slots.ready if slots else 0,
            **({"idle": self.idle} if self.idle else {}),
        }

    def status_of_lanes(self, lanes: int, slots: ConcurrencyWindow) -> dict[str, Any]:
        """The custom status while lanes run the entities: what these have ended is known when they return. ``slots``
        hold what they have given back."""
        status = self.status("loading", slots)
        running = status["running"] + lanes
        pending = max(0, self.entities - sum(self.ended.values()) - running - status["waiting"])
        return {**status, "running": running, "pending": pending, "lanes": lanes}

    def to_json(self) -> dict[str, Any]:
        """What has been counted."""
        return {"rows": self.rows, "ended": self.ended}

    def take(self, value: Mapping[str, Any]) -> None:
        """Go on with what has been counted before."""
        self.rows, self.ended = value["rows"], dict(value["ended"])

    @property
    def load_status(self) -> RunStatus:
        """The load in one of the journal's words: the worst of its entities, ``cancel`` above all."""
        if self.cancelled:
            return "cancel"
        worst_first: tuple[RunStatus, ...] = ("fail", "success", "skip")
        for status in worst_first:
            if self.ended[status]:
                return status
        return "success"


class LoadProgress:
    """A load under way, or a lane of one. ``results`` are the last results of the entities that will not run again,
    behind those in so many ``parcels``, and have ``result_bytes`` in all, where that matters;
    ``taking`` is how a lane comes to its entities."""

    def __init__(
        self,
        plan: Mapping[str, Any],
        started: datetime,
        on_ended: Callable[[EntityPayload], None],
        taking: Taking | None = None,
    ) -> None:
        self.plan = {key: value for key, value in plan.items() if key not in ("entities", "packed")}
        entities = planned_in(plan)
        self.started = started
        self.totals = Totals(len(entities) + self._idle, self._idle)
        self.results: list[EntityPayload] = []
        self.parcels = 0
        self.result_bytes = 0
        self.slots = self._open_slots([EntityRunState(index, entity) for index, entity in enumerate(entities)])
        self.taking = taking
        self.table_lanes_begun = 0
        self._on_ended = on_ended

    def start_next(self, now: datetime, may: Callable[[EntityRunState], bool]) -> EntityRunState | None:
        """Take the next entity run that may run now, one of those that ``may``, or None; a lane has one at a time, and
        takes another where it has none that could run."""
        if self.taking is not None:
            self.slots.wake(now)
            if self.takes_more and not self.slots.running and not self.slots.ready and not self.slots.is_held:
                self.slots.admit(self.taking.next())
        return self.slots.start_next(may)

    @property
    def takes_more(self) -> bool:
        """Whether a lane takes further entities."""
        if self.taking is None or self.taking.exhausted or self.taking.is_called_back or self.totals.cancelled:
            return False
        waiting = [entity_run for _, entity_run in self.slots.deferred_runs()]
        if (limit := self.plan.get("result_bytes")) is not None:
            carried = self.result_bytes + sum(size_of(each.to_json()) for each in waiting)
            if carried >= limit:
                return False
        most = self.plan.get("entities_at_most", ENTITIES_PER_LANE)
        return len(self.results) + len(waiting) < most and all(each.is_taken for each in waiting)

    @property
    def may_wait(self) -> bool:
        """Whether it goes on while nothing is left but to wait: not a lane that the load is to hear of."""
        return self.taking is None or not self.taking.is_called_back

    def next_look(self, now: datetime) -> datetime | None:
        """When to look at what waits: when the first of it comes due. A lane has nothing to do meanwhile, and looks
        whether it should stop as well."""
        due = self.slots.next_due
        if self.taking is None or due is None:
            return due
        return None if self.slots.running else min(due, now + LOOK_INTERVAL)

    def take_over(self, results: Iterable[EntityPayload], bytes_: int | None = None) -> None:
        """Keep the last results of entities that a lane has run, so many ``bytes_`` where the lane has said that: all
        results of a load would take long to measure whenever it is replayed."""
        before = self.result_bytes
        for result in results:
            self.totals.count(result)
            self._keep(result, measured=bytes_ is not None)
        self.result_bytes = self.result_bytes if bytes_ is None else before + bytes_

    @property
    def is_of_table(self) -> bool:
        """Whether it is that of a lane of one table."""
        return bool(self.plan.get("of_table"))

    @property
    def _idle(self) -> int:
        """How many tables have ended with the plan."""
        idle = self.plan.get("idle")
        return int(idle["count"]) if idle else 0

    @property
    def settings_hash(self) -> str:
        """What the plan was made with."""
        return str(self.plan["settings_hash"])

    def end(self, entity_run: EntityRunState, result: SlicePayload, now: datetime) -> None:
        """Keep an entity's last result, with the plan's names for it and the start of its first slice.

        What has landed everything ended with its last slice; whatever else was waited for ends now.
        """
        self.totals.count(result)
        planned = entity_run.entity
        ended: EntityPayload = {
            **result,
            "flow": planned.get("flow", ""),
            "entity": planned.get("entity", ""),
            "entity_run_id": planned["entity_run_id"],
            "run_type": planned["run_type"],
            "started": entity_run.started,
            "attempts": entity_run.attempts,
        }
        if result["status"] != "done":
            ended["finished"] = max(now, _time_of(result.get("finished"), now)).isoformat()
        self._keep(ended)

    def _keep(self, result: EntityPayload, *, measured: bool = False) -> None:
        self.results.append(result)
        if not measured and (self.parks or "result_bytes" in self.plan):
            self.result_bytes += size_of(result)
        self._on_ended(result)

    @property
    def parks(self) -> bool:
        """Whether the board takes the results."""
        return bool(self.plan.get("parks"))

    def next_parcel(self) -> list[EntityPayload]:
        """The results that are to be put down next, if there are enough for a parcel; a part of them if for several."""
        if not self.parks or self.result_bytes < PARCEL_BYTES:
            return []
        parcels = self.result_bytes // PARCEL_BYTES
        return self.results[: -(-len(self.results) // parcels)]

    def drop(self, parcel: Sequence[EntityPayload]) -> None:
        """Forget the results of a parcel that has been put down."""
        self.parcels += 1
        self.result_bytes -= self.result_bytes * len(parcel) // len(self.results)
        del self.results[: len(parcel)]

    def task(self, load_id: str, entity_run: EntityRunState) -> dict[str, Any]:
        """The input of ``run_flow``, which finds the names at the board where the plan has none."""
        task = entity_run.slice_task(load_id, self.settings_hash)
        return task if task["flow"] else {**task, "board": self.plan["board"]}

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping, for the next history. Nothing may be running."""
        return {
            "plan": self.plan,
            "started": self.started.isoformat(),
            "entities": self.totals.entities,
            "cancelled": self.totals.cancelled,
            "table_lanes_begun": self.table_lanes_begun,
            "answers": self.results,
            **({"parcels": self.parcels, "totals": self.totals.to_json()} if self.parks else {}),
            **self._ready_to_json(),
            "deferred": self.deferred_to_json(),
            **({"divided": [each.to_json() for each in divided]} if (divided := self.slots.divided_runs()) else {}),
            **({"taking": self.taking.to_json()} if self.taking is not None else {}),
        }

    def _ready_to_json(self) -> dict[str, Any]:
        """The entity runs that may run; of a large load those that have not begun packed, as in the plan."""
        ready = self.slots.ready_runs()
        fresh = [each for each in ready if self.parks and each == EntityRunState(each.index, each.entity)]
        others = [each.to_json() for each in ready if each not in fresh] if len(fresh) < len(ready) else []
        if not fresh:
            return {"ready": others}
        places = [each.index for each in fresh]
        return {"ready": others, "fresh": {"packed": packed([each.entity for each in fresh]), "places": places}}

    def deferred_to_json(self) -> list[tuple[str, dict[str, Any]]]:
        """The entity runs that wait for their time, each behind it (ISO 8601)."""
        return [(due.isoformat(), entity_run.to_json()) for due, entity_run in self.slots.deferred_runs()]

    def of_table(self, entity_run: EntityRunState) -> dict[str, Any]:
        """What a lane of one table begins with, as by `to_json`: the entity run may use what it was given of its
        connection."""
        pools = {entity_run.connection: entity_run.connections}
        plan = {"settings_hash": self.settings_hash, "concurrency": 1, "pools": pools, "of_table": True}
        if "board" in self.plan:
            plan["board"] = self.plan["board"]
        alone = LoadProgress(plan, self.started, _ignore)
        alone.totals = Totals(1)
        alone.slots.admit(entity_run)
        return alone.to_json()

    @classmethod
    def from_json(cls, value: Mapping[str, Any], on_ended: Callable[[EntityPayload], None]) -> LoadProgress:
        """The inverse of `to_json`."""
        taking = Taking(value["taking"]) if "taking" in value else None
        progress = cls(value["plan"], datetime.fromisoformat(value["started"]), on_ended, taking)
        progress.totals = Totals(value["entities"], progress._idle)
        progress.totals.cancelled = bool(value.get("cancelled"))
        progress.table_lanes_begun = value.get("table_lanes_begun", 0)
        progress.results = list(value["answers"])
        if "totals" in value:
            progress.parcels = value["parcels"]
            progress.totals.take(value["totals"])
        for result in progress.results:
            if "totals" not in value:
                progress.totals.count(result)
            if progress.parks or "result_bytes" in progress.plan:
                progress.result_bytes += size_of(result)
        ready = [EntityRunState.from_json(entity_run) for entity_run in value["ready"]]
        if fresh := value.get("fresh"):
            ready += map(EntityRunState, fresh["places"], planned_in(fresh))
        progress.slots = progress._open_slots(sorted(ready, key=lambda entity_run: entity_run.index))
        for divided in value.get("divided", []):
            progress.slots.divide(DividedRun.from_json(divided))
        for due, entity_run in value["deferred"]:
            progress.slots.defer(EntityRunState.from_json(entity_run), datetime.fromisoformat(due))
        return progress

    def _open_slots(self, entity_runs: list[EntityRunState]) -> ConcurrencyWindow:
        return ConcurrencyWindow(entity_runs, self.plan.get("concurrency", 1), self.plan.get("pools", {}))


def _ignore(_: EntityPayload) -> None:
    pass


def _time_of(text: str | None, default: datetime) -> datetime:
    """The time at which a slice ended by its own clock, where it has one."""
    return datetime.fromisoformat(text) if text else default
