"""Which entities of a load run, wait or are still to come: bookkeeping without a clock of its own, so that it replays.

Every operation costs the logarithm of the entities at most, because a load of hundreds of them replays its history many
times.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hygge_engine.flow.slices import as_text, numbers_in
from hygge_engine.orchestration.payloads import PlannedEntity, SlicePayload

# The fields of an entity run that are timestamps.
_TIMES = ("failing_since", "waiting_since")

# What fields were called by an earlier version, whose running loads this one continues.
_FORMER_NAMES = {"troubles": "failed_attempts", "trouble": "last_failure"}


@dataclass
class EntityRunState:
    """One entity on its way through a load.

    ``attempts`` counts the activities scheduled so far, ``failed_attempts`` those that failed, ``last_failure`` is the
    message of the last of these. ``failures`` and ``crashes`` count in a row: a slice that makes progress resets them.
    ``failing_since`` is the time of the first failure of the row. ``idle`` counts the slices in a row that changed
    nothing, ``waiting_since`` is since when they have waited without progress. ``beginnings`` counts how often the
    entity had to restart. ``started`` (ISO 8601) is when the first slice began, and ``last`` the last result of a
    slice. ``connections`` are those that the running slice was given. ``busy`` counts the results in a row that another
    load owns the table. ``ending`` is the result that the entity ends with as soon as it has released its table; until
    then its slices do nothing else. With a ``division`` it is but the ``range_number``-th range of that entity's load,
    from 0.
    """

    index: int
    entity: PlannedEntity
    attempts: int = 0
    failed_attempts: int = 0
    last_failure: str = ""
    failures: int = 0
    crashes: int = 0
    idle: int = 0
    failing_since: datetime | None = None
    waiting_since: datetime | None = None
    beginnings: int = 0
    started: str = ""
    last: SlicePayload = field(default_factory=lambda: SlicePayload())
    connections: int = 1
    busy: int = 0
    ending: SlicePayload | None = None
    division: str = ""
    range_number: int = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping of what differs from an entity run that has not begun."""
        times = {name: at.isoformat() if (at := getattr(self, name)) else None for name in _TIMES}
        fresh = vars(EntityRunState(self.index, self.entity))
        kept = {name: value for name, value in vars(self).items() if value != fresh[name]}
        begun = {name: at for name, at in times.items() if at}
        return {**kept, **begun, "index": self.index, "entity": dict(self.entity)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EntityRunState:
        """The inverse of `to_json`."""
        times = {name: datetime.fromisoformat(at) if (at := value.get(name)) else None for name in _TIMES}
        return cls(**{_FORMER_NAMES.get(name, name): each for name, each in {**value, **times}.items()})

    def slice_task(self, load_id: str, settings_hash: str) -> dict[str, Any]:
        """The input of ``run_flow``: `SliceTask.to_json`."""
        entity = self.entity
        bounds = {key: bound for key, bound in entity.items() if key in ("window_from", "window_to", "reload")}
        range_ = {"division": self.division, "range_number": self.range_number} if self.division else {}
        return {
            **bounds,
            **range_,
            "load_id": load_id,
            "entity_run_id": entity["entity_run_id"],
            "flow": entity.get("flow", ""),
            "entity": entity.get("entity", ""),
            "run_type": entity["run_type"],
            "settings_hash": settings_hash,
            "attempt": self.attempts,
            "connections": self.connections,
            "connection": entity.get("connection") or "",
            "busy": self.busy,
            "closing": self.ending is not None,
        }

    @property
    def key(self) -> tuple[int, int]:
        """What distinguishes it within its load: its place in the plan, and which range it is; -1 where it is none."""
        return self.index, self.range_number if self.division else -1

    @property
    def connection(self) -> str:
        """The connection whose pool this entity's activities draw from; empty where they need none."""
        return "" if self.ending is not None else str(self.entity.get("connection") or "")

    @property
    def is_taken(self) -> bool:
        """Whether it has an entity; a lane's next one has none until it is taken."""
        return bool(self.entity)

    @property
    def connections_at_once(self) -> int:
        """How much of that pool one activity takes."""
        return int(self.entity.get("connections_at_once") or 1)

    @property
    def connections_at_most(self) -> int:
        """How much of it one activity takes where no other needs it."""
        return int(self.entity.get("connections_at_most") or self.connections_at_once)


def has_room(pools: Mapping[str, int], connection: str, taken: int, needed: int) -> bool:
    """Whether a connection of which so much is taken has what is needed: what needs more than all of it runs alone."""
    return not connection or not taken or taken + needed <= pools.get(connection, 1)


class DividedRun:
    """An entity run whose load is read in ranges, until none of them is left. ``given_up`` is the last result of a
    range that failed for good: no further one begins then."""

    def __init__(self, entity_run: EntityRunState, division: str, left: Iterable[int], count: int) -> None:
        self.entity_run = entity_run
        self.count = count
        self.given_up: SlicePayload | None = None
        self.running = 0
        self.deferred = 0
        self._division = division
        self._unread = list(left)[::-1]
        self._begun: list[EntityRunState] = []

    @property
    def is_ready(self) -> bool:
        """Whether a range could begin, or go on."""
        return bool(self._unread or self._begun)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to wait for."""
        return not (self.running or self.deferred or self.is_ready)

    def next(self) -> EntityRunState:
        """Take the range that goes on or begins next."""
        if self._begun:
            return self._begun.pop(0)
        entity_run, number = self.entity_run, self._unread.pop()
        return EntityRunState(
            entity_run.index, entity_run.entity, entity_run.attempts, division=self._division, range_number=number
        )

    def resume(self, range_run: EntityRunState) -> None:
        """Let a range go on as soon as there is a place."""
        self._begun.append(range_run)

    def stop(self) -> None:
        """Let no range begin or go on any more; those that run come to the end of their slice."""
        self._unread.clear()
        self._begun.clear()
        self.deferred = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping; those that wait for their time are not in it. None may be running."""
        return {
            "entity_run": self.entity_run.to_json(),
            "division": self._division,
            "count": self.count,
            "left": as_text(reversed(self._unread)),
            "begun": [range_run.to_json() for range_run in self._begun],
            "given_up": self.given_up,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DividedRun:
        """The inverse of `to_json`."""
        entity_run = EntityRunState.from_json(value["entity_run"])
        divided = cls(entity_run, value["division"], numbers_in(value["left"]), value["count"])
        divided._begun = [EntityRunState.from_json(range_run) for range_run in value["begun"]]
        divided.given_up = value["given_up"]
        return divided


class ConcurrencyWindow:
    """At most ``concurrency`` entity runs are active at once, and on one connection those for which its
    ``pools[connection]`` suffices; one that needs more than the whole pool runs alone. What no other waits for is given
    to one that can use it.

    Ready entity runs continue in the order of the plan, so that one which has begun continues before another begins. An
    entity run whose load is read in ranges has one place like the others, and further ones where no other could use
    them.
    """

    def __init__(self, entity_runs: Iterable[EntityRunState], concurrency: int, pools: Mapping[str, int]) -> None:
        self._places = self._free = concurrency
        self._lent = 0
        self._pools = dict(pools)
        self._running = 0
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._runs = {entity_run.key: entity_run for entity_run in entity_runs}
        self._ready: defaultdict[str, list[int]] = defaultdict(list)
        for entity_run in self._runs.values():
            # In ascending order, as the plan has them, a list is a heap already.
            self._ready[entity_run.connection].append(entity_run.index)
        self._deferred: list[tuple[datetime, tuple[int, int]]] = []
        self._divided: dict[int, DividedRun] = {}
        # Connections that had no room for another of this load: how much the load had of each, and when to ask again.
        self._held: dict[str, tuple[int, datetime]] = {}

    @property
    def running(self) -> int:
        """How many entity runs are active: one whose ranges are counts once."""
        surplus = sum(max(0, divided.running - 1) for divided in self._divided.values())
        return self._running - surplus

    @property
    def deferred(self) -> int:
        """How many wait for their time, and for nothing else."""
        others = {index for index, divided in self._divided.items() if divided.running or divided.is_ready}
        return len({index for _, (index, _) in self._deferred} - others)

    @property
    def ready(self) -> int:
        """How many wait for a place."""
        divided = sum(each.is_ready and not each.running for each in self._divided.values())
        return divided + sum(len(indices) for indices in self._ready.values())

    @property
    def next_due(self) -> datetime | None:
        """When the first entity run may run again that has to wait."""
        divided = {each.entity_run.connection for each in self._divided.values() if each.is_ready}
        held = [due for connection, (_, due) in self._held.items() if self._ready[connection] or connection in divided]
        return min([*held, *(due for due, _ in self._deferred[:1])], default=None)

    @property
    def is_held(self) -> bool:
        """Whether a connection has no room for another of this load, as far as it knows."""
        return bool(self._held)

    def start_next(self, may: Callable[[EntityRunState], bool] = lambda _: True) -> EntityRunState | None:
        """Take the next entity run that may run now, or None; only one of those that ``may``."""
        if self._free < 1:
            return None
        # Over the connections, of which there are few, not over the entities.
        open_ = [
            (0, indices[0])
            for indices in self._ready.values()
            if indices and self._has_room(self._runs[indices[0], -1]) and may(self._runs[indices[0], -1])
        ]
        open_ += [
            (divided.running, index)
            for index, divided in self._divided.items()
            if divided.is_ready and self._has_room(divided.entity_run) and may(divided.entity_run)
        ]
        if not open_:
            return None
        _, index = min(open_)
        entity_run = self._next_of(index)
        self._free -= 1
        self._running += 1
        entity_run.connections = self._share_of(entity_run)
        self._taken[entity_run.connection] += entity_run.connections
        return entity_run

    def _next_of(self, index: int) -> EntityRunState:
        if index not in self._divided:
            entity_run = self._runs[index, -1]
            heapq.heappop(self._ready[entity_run.connection])
            return entity_run
        divided = self._divided[index]
        divided.running += 1
        range_run = divided.next()
        self._runs[range_run.key] = range_run
        return range_run

    def _share_of(self, entity_run: EntityRunState) -> int:
        """What an entity run gets of its connection: more than it needs only where nothing is left to come for it."""
        needed = entity_run.connections_at_once
        if self._ready[entity_run.connection] or self._deferred or self._divided or self._lent:
            return needed
        spare = self._pools.get(entity_run.connection, 1) - self._taken[entity_run.connection]
        return max(needed, min(entity_run.connections_at_most, spare))

    def _has_room(self, entity_run: EntityRunState) -> bool:
        connection, needed = entity_run.connection, entity_run.connections_at_once
        taken = self._taken[connection]
        if connection in self._held and taken + needed > self._held[connection][0]:
            return False
        return has_room(self._pools, connection, taken, needed)

    def has_place(self, connection: str, count: int) -> bool:
        """Whether there is a place for somebody else who needs so much of a connection (`lend`)."""
        return self._free > 0 and has_room(self._pools, connection, self._taken[connection], count)

    def lend(self, connection: str, count: int) -> None:
        """Leave a place, and so much of a connection, to somebody else."""
        self._free -= 1
        self._lent += 1
        self._taken[connection] += count

    def return_place(self, connection: str, count: int) -> None:
        """Have back what was lent."""
        self._free += 1
        self._lent -= 1
        self._taken[connection] -= count

    def half_of(self, connection: str) -> int:
        """Half of the places that a connection bears; none where that is one."""
        return min(self._places, self._pools.get(connection, 1) if connection else self._places) // 2

    def stop(self, entity_run: EntityRunState) -> None:
        """Give back the place of an entity run whose activity has ended."""
        self._free += 1
        self._running -= 1
        self._taken[entity_run.connection] -= entity_run.connections
        if entity_run.division:
            self._divided[entity_run.index].running -= 1

    def admit(self, entity_run: EntityRunState) -> None:
        """Let an entity run begin as soon as there is a place."""
        self._runs[entity_run.key] = entity_run
        self.resume(entity_run)

    def resume(self, entity_run: EntityRunState) -> None:
        """Let an entity run continue as soon as there is a place."""
        if entity_run.division:
            self._divided[entity_run.index].resume(entity_run)
        else:
            heapq.heappush(self._ready[entity_run.connection], entity_run.index)

    def defer(self, entity_run: EntityRunState, due: datetime) -> None:
        """Let an entity run continue, but not before ``due``."""
        self._runs[entity_run.key] = entity_run
        heapq.heappush(self._deferred, (due, entity_run.key))
        if entity_run.division:
            self._divided[entity_run.index].deferred += 1

    def hold(self, connection: str, due: datetime) -> None:
        """Let no more entity runs work on a connection than do now, before ``due``: others have the rest of it."""
        self._held[connection] = (self._taken[connection], due)

    def wake(self, now: datetime) -> None:
        """Make ready what was deferred until now."""
        self._held = {connection: held for connection, held in self._held.items() if held[1] > now}
        while self._deferred and self._deferred[0][0] <= now:
            entity_run = self._runs[heapq.heappop(self._deferred)[1]]
            if entity_run.division:
                self._divided[entity_run.index].deferred -= 1
            self.resume(entity_run)

    def divide(self, divided: DividedRun) -> None:
        """Let the ranges of an entity run be read, which itself continues after them (`undivide`)."""
        self._runs[divided.entity_run.key] = divided.entity_run
        self._divided[divided.entity_run.index] = divided

    def divided(self, range_run: EntityRunState) -> DividedRun:
        """The entity run that a range belongs to."""
        return self._divided[range_run.index]

    def stop_ranges(self, divided: DividedRun) -> None:
        """Let no range of an entity run begin or go on any more."""
        divided.stop()
        index = divided.entity_run.index
        self._deferred = [entry for entry in self._deferred if entry[1][0] != index]
        heapq.heapify(self._deferred)

    def is_divided(self, entity_run: EntityRunState) -> bool:
        """Whether ranges of an entity run are not over."""
        return entity_run.index in self._divided

    def undivide(self, divided: DividedRun) -> EntityRunState:
        """Take out an entity run whose ranges are over."""
        return self._divided.pop(divided.entity_run.index).entity_run

    def divided_runs(self) -> list[DividedRun]:
        """Those whose ranges are not over, in the order of the plan."""
        return [self._divided[index] for index in sorted(self._divided)]

    def ready_runs(self) -> list[EntityRunState]:
        """Those that may run as soon as there is a place, in the order of the plan."""
        return [self._runs[index, -1] for index in sorted(index for ready in self._ready.values() for index in ready)]

    def deferred_runs(self) -> list[tuple[datetime, EntityRunState]]:
        """Those that wait for their time, the next one first."""
        return [(due, self._runs[key]) for due, key in sorted(self._deferred)]

    def drain(self) -> list[EntityRunState]:
        """Take out all entity runs that are not running, in the order of the plan; of one whose ranges are, those that
        are not."""
        entity_runs = []
        for divided in self.divided_runs():
            self.stop_ranges(divided)
            if divided.is_over:
                entity_runs.append(self.undivide(divided))
        entity_runs += self.ready_runs() + [entity_run for _, entity_run in self.deferred_runs()]
        self._ready.clear()
        self._deferred.clear()
        return sorted(entity_runs, key=lambda entity_run: entity_run.index)
