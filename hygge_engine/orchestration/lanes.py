"""The lanes of a load: orchestrations of their own, which run its tables one after another (docs/scheduling.md).

What a large load knows of its lanes is here: how many of them there may be, and what they return. What a lane knows of
the tables that it takes is `Taking`. A smaller load has lanes of one table, once its history is full.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from hygge_engine.orchestration.concurrency import ConcurrencyWindow, EntityRunState
from hygge_engine.orchestration.parcels import PARCEL_BYTES
from hygge_engine.orchestration.payloads import LaneResults, PlannedEntity
from hygge_engine.orchestration.verdict import CRASH_PAUSE_SECONDS

# A load of more entities than this has lanes.
LANES_FROM_ENTITIES = 100

# Entities that a lane ends before it returns: its results travel through each of its histories.
ENTITIES_PER_LANE = 100

# The same of a lane whose place ranges may want.
ENTITIES_PER_SHORT_LANE = 5

# Activities after which a lane begins a new history. Nothing else runs that would have to end.
ACTIVITIES_PER_LANE_HISTORY = 20

# Times in a row that a lane fails to take an entity, before it leaves the rest to others.
TAKING_ATTEMPTS = 5

# Lanes of a load that fail as a whole, before what is left is run without lanes.
FAILED_LANES_LIMIT = 3

# Lanes of one table that a history begins once it is full. They are as many events again, and as many tables as a load
# without other lanes has.
TABLE_LANES_PER_HISTORY = 100

# How often a lane whose tables all wait looks whether the load was cancelled.
LOOK_INTERVAL = timedelta(seconds=15)

# What the ids of lanes begin with: those of loads do not.
LANE_PREFIX = "lane-"


@dataclass(frozen=True)
class Group:
    """The entities that a lane may take: those that need as much of the same connection."""

    connection: str
    connections_at_once: int

    @classmethod
    def of(cls, entity: PlannedEntity) -> Group:
        """The one that an entity belongs to."""
        return cls(str(entity.get("connection") or ""), int(entity.get("connections_at_once") or 1))


class Lanes:
    """The lanes of one load, each of which has one of its ``places`` and what it needs of a connection; a lane that
    needs more than the whole pool runs alone."""

    def __init__(self, load_id: str, entities: Iterable[PlannedEntity], places: ConcurrencyWindow) -> None:
        self._load_id = load_id
        self._places = places
        self._waiting = Counter(Group.of(entity) for entity in entities)
        self._running: Counter[Group] = Counter()
        self._begun = 0
        self._failed = 0

    @property
    def running(self) -> int:
        """How many lanes are under way."""
        return self._running.total()

    def begin_next(self) -> tuple[str, Group] | None:
        """The id of a lane that may begin now, and what it takes; None where none may."""
        open_ = [
            group
            for group in self._waiting
            if self._wants(group) and self._places.has_place(group.connection, group.connections_at_once)
        ]
        if not open_:
            return None
        # Each group has lanes in proportion to what it has to do.
        group = max(open_, key=lambda each: self._waiting[each] / (self._running[each] + 1))
        self._places.lend(group.connection, group.connections_at_once)
        self._running[group] += 1
        self._begun += 1
        return _lane_id(self._load_id, str(self._begun)), group

    def _wants(self, group: Group) -> bool:
        """Whether there is work for one more lane."""
        return self._running[group] < self._waiting[group]

    def want(self, connection: str) -> bool:
        """Whether there is work for one more lane on a connection, or on another if it is none."""
        return any(self._wants(group) for group in self._waiting if not connection or group.connection == connection)

    def end(self, group: Group, returned: LaneResults | None, *, ended: int) -> None:
        """A lane has returned (None: it has failed), and so many entities are not to be taken any more."""
        self._places.return_place(group.connection, group.connections_at_once)
        self._running[group] -= 1
        self._waiting[group] -= ended
        self._failed += returned is None
        if self._waiting[group] <= 0 or self._failed > FAILED_LANES_LIMIT or (returned and returned["exhausted"]):
            del self._waiting[group]


def _lane_id(load_id: str, name: str) -> str:
    return f"{LANE_PREFIX}{hashlib.sha256(load_id.encode()).hexdigest()[:24]}-{name}"


def table_lane_id(load_id: str, number: int) -> str:
    """The id of a load's lane of one table."""
    return _lane_id(load_id, f"table-{number}")


def lane_input(
    load_id: str,
    settings_hash: str,
    board: Mapping[str, Any],
    lane_id: str,
    group: Group,
    *,
    shares: bool = False,
    is_short: bool = False,
) -> dict[str, Any]:
    """The input of ``run_lane``. It takes nothing more once its results have so many bytes, nor, where it ``shares``
    its places with ranges, once it has met a table that is read in some; one that ``is_short`` ends soon."""
    return {
        "load_id": load_id,
        "settings_hash": settings_hash,
        "board": board,
        "lane": lane_id,
        "result_bytes": PARCEL_BYTES,
        **({"shares": True} if shares else {}),
        **({"entities": ENTITIES_PER_SHORT_LANE} if is_short else {}),
        **asdict(group),
    }


class Taking:
    """How a lane takes entities: its turns are numbered, and a turn that is asked for again gives the same entity.
    ``divided`` are those that it has given back, by id, with the slices that they had."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._board = dict(value["board"])
        self._lane = str(value["lane"])
        self._group = Group(value["connection"], value["connections_at_once"])
        self._turn = int(value.get("turn", 0))
        self._failures = int(value.get("failures", 0))
        self.exhausted = bool(value.get("exhausted"))
        self.divided: dict[str, int] = dict(value.get("divided", {}))
        self._shares = bool(value.get("shares"))

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return {
            **self._lane_keys,
            "turn": self._turn,
            "failures": self._failures,
            "exhausted": self.exhausted,
            **({"divided": self.divided} if self.divided else {}),
            **({"shares": True} if self._shares else {}),
        }

    @property
    def is_called_back(self) -> bool:
        """Whether the load should know at once what has been given back."""
        return self._shares and bool(self.divided)

    @property
    def _lane_keys(self) -> dict[str, Any]:
        return {"board": self._board, "lane": self._lane, **asdict(self._group)}

    @property
    def pools(self) -> dict[str, int]:
        """What a lane has of its connection."""
        return {self._group.connection: self._group.connections_at_once}

    def next(self) -> EntityRunState:
        """A place for the entity of the next turn."""
        self._turn += 1
        return EntityRunState(self._turn, cast("PlannedEntity", {}))

    def give_back(self, entity_run: EntityRunState) -> None:
        """Leave an entity whose load is read in ranges to the load, which has other places for them."""
        self.divided[entity_run.entity["entity_run_id"]] = entity_run.attempts

    def task(self, load_id: str, settings_hash: str, entity_run: EntityRunState) -> dict[str, Any]:
        """The input of ``run_next`` for an entity run that is still to be taken."""
        return {
            "load_id": load_id,
            "settings_hash": settings_hash,
            **self._lane_keys,
            "turn": entity_run.index,
            "attempt": entity_run.attempts,
        }

    def look(self, load_id: str, settings_hash: str) -> dict[str, Any]:
        """The input of ``run_next`` for a turn that takes nothing, and only looks whether the load is cancelled."""
        return {**self.task(load_id, settings_hash, EntityRunState(0, cast("PlannedEntity", {}))), "turn": None}

    def read(self, entity_run: EntityRunState, result: dict[str, Any] | None, now: datetime) -> datetime | None:
        """Give an entity run what its turn has taken, out of the result. Returns when to ask again, if that is to
        be."""
        if result is not None and "taken" in result:
            self._failures = 0
            entity_run.entity = result.pop("taken") or entity_run.entity
            entity_run.connections = entity_run.connections_at_once
            self.exhausted = not entity_run.is_taken
            return None
        self._failures += 1
        answer = result or {"transient": True, "retry_after_seconds": CRASH_PAUSE_SECONDS}
        self.exhausted = not answer.get("transient") or self._failures >= TAKING_ATTEMPTS
        return None if self.exhausted else now + timedelta(seconds=answer.get("retry_after_seconds") or 0.0)
