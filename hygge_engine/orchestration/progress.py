"""What a load has reached: its plan, the entities under way, and what has come of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from hygge_engine.orchestration.concurrency import ConcurrencyWindow, DividedRun, EntityRunState
from hygge_engine.orchestration.lanes import ENTITIES_PER_LANE, LOOK_INTERVAL, Taking
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

    def status_of_lanes(self, lanes: int) -> dict[str, Any]:
        """The custom status while lanes run the entities: what these have ended is known when they return."""
        pending = max(0, self.entities - sum(self.ended.values()) - lanes)
        return {**self.status("loading"), "running": lanes, "pending": pending, "lanes": lanes}

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
    """A load under way, or a lane of one. ``results`` are the last results of the entities that will not run again;
    ``taking`` is how a lane comes to its entities."""

    def __init__(
        self,
        plan: Mapping[str, Any],
        started: datetime,
        on_ended: Callable[[EntityPayload], None],
        taking: Taking | None = None,
    ) -> None:
        self.plan = {key: value for key, value in plan.items() if key != "entities"}
        entities = plan.get("entities", [])
        self.started = started
        self.totals = Totals(len(entities) + self._idle, self._idle)
        self.results: list[EntityPayload] = []
        self.slots = self._open_slots([EntityRunState(index, entity) for index, entity in enumerate(entities)])
        self.taking = taking
        self.table_lanes_begun = 0
        self._on_ended = on_ended

    def start_next(self, now: datetime) -> EntityRunState | None:
        """Take the next entity run that may run now, or None; a lane has one at a time, and takes another where it has
        none that could run."""
        if self.taking is not None:
            self.slots.wake(now)
            if self.takes_more and not self.slots.running and not self.slots.ready and not self.slots.is_held:
                self.slots.admit(self.taking.next())
        return self.slots.start_next()

    @property
    def takes_more(self) -> bool:
        """Whether a lane takes further entities."""
        if self.taking is None or self.taking.exhausted or self.totals.cancelled:
            return False
        waiting = [entity_run for _, entity_run in self.slots.deferred_runs()]
        return len(self.results) + len(waiting) < ENTITIES_PER_LANE and all(each.is_taken for each in waiting)

    def next_look(self, now: datetime) -> datetime | None:
        """When to look at what waits: when the first of it comes due. A lane has nothing to do meanwhile, and looks
        whether it should stop as well."""
        due = self.slots.next_due
        if self.taking is None or due is None:
            return due
        return None if self.slots.running else min(due, now + LOOK_INTERVAL)

    def take_over(self, results: Iterable[EntityPayload]) -> None:
        """Keep the last results of entities that a lane has run."""
        for result in results:
            self.totals.count(result)
            self.results.append(result)
            self._on_ended(result)

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
            "flow": planned["flow"],
            "entity": planned["entity"],
            "entity_run_id": planned["entity_run_id"],
            "run_type": planned["run_type"],
            "started": entity_run.started,
            "attempts": entity_run.attempts,
        }
        if result["status"] != "done":
            ended["finished"] = max(now, _time_of(result.get("finished"), now)).isoformat()
        self.results.append(ended)
        self._on_ended(ended)

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping, for the next history. Nothing may be running."""
        return {
            "plan": self.plan,
            "started": self.started.isoformat(),
            "entities": self.totals.entities,
            "cancelled": self.totals.cancelled,
            "table_lanes_begun": self.table_lanes_begun,
            "answers": self.results,
            "ready": [entity_run.to_json() for entity_run in self.slots.ready_runs()],
            "deferred": self.deferred_to_json(),
            **({"divided": [each.to_json() for each in divided]} if (divided := self.slots.divided_runs()) else {}),
            **({"taking": self.taking.to_json()} if self.taking is not None else {}),
        }

    def deferred_to_json(self) -> list[tuple[str, dict[str, Any]]]:
        """The entity runs that wait for their time, each behind it (ISO 8601)."""
        return [(due.isoformat(), entity_run.to_json()) for due, entity_run in self.slots.deferred_runs()]

    def of_table(self, entity_run: EntityRunState) -> dict[str, Any]:
        """What a lane of one table begins with, as by `to_json`: the entity run may use what it was given of its
        connection."""
        pools = {entity_run.connection: entity_run.connections}
        plan = {"settings_hash": self.settings_hash, "concurrency": 1, "pools": pools, "of_table": True}
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
        for result in progress.results:
            progress.totals.count(result)
        progress.slots = progress._open_slots([EntityRunState.from_json(entity_run) for entity_run in value["ready"]])
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
