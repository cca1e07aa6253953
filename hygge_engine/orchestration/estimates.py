"""How long the entities of a load may take: what the journal remembers of them, and what follows for the whole load."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from hygge_engine.errors import HyggeError
from hygge_engine.orchestration.places import journals_of

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

# So many of the newest loads are looked at: flows with schedules of their own are in loads of their own.
REMEMBERED_LOADS = 20

# So many of the newest runs that an entity's next one is like are compared: one that others slowed down is outvoted.
COMPARED_RUNS = 5


@dataclass(frozen=True)
class Estimate:
    """About how long a load takes, in seconds, and what keeps it from being faster. ``known`` entities have been loaded
    like this before; the ``unknown`` ones count like the median of these."""

    seconds: float
    bound_by: str
    known: int
    unknown: int


class _Run(NamedTuple):
    seconds: float
    attempts: int


@dataclass
class _Remembered:
    """The runs of one entity that succeeded, oldest first: those that read all of its rows, those that read what was
    new, and the first one of which nobody knows which it was, because it may have been the entity's first load."""

    whole: list[_Run] = field(default_factory=list)
    changes: list[_Run] = field(default_factory=list)
    first: list[_Run] = field(default_factory=list)

    def add(self, run: _Run, run_type: str) -> None:
        if run_type == "full_drop":
            self.whole.append(run)
        elif self.whole or self.first:
            self.changes.append(run)
        else:
            self.first.append(run)


def remembered_seconds(project: Project, entities: Sequence[Entity], whole: Collection[str]) -> dict[str, float]:
    """How long each entity usually took when it was loaded as it will be, by id: all of its rows, where it is among the
    ``whole`` ones, or what is new. Raises the LakeError family, and JournalError where a journal cannot be read."""
    found = {
        id_: _usual((runs.whole or runs.first) if id_ in whole else runs.changes)
        for id_, runs in _remembered(project, entities).items()
    }
    return {id_: seconds for id_, seconds in found.items() if seconds is not None}


def longest_first(project: Project, entities: Sequence[Entity]) -> list[Entity]:
    """The entities in the order in which they should begin: those that were never loaded, then the longest first.

    The project's own order where each can begin at once, and where the journal cannot be read.
    """
    if len(entities) <= project.options.concurrency:
        return list(entities)
    try:
        remembered = _remembered(project, entities)
    except HyggeError as error:
        _log.warning("The load keeps the project's order, because the journal cannot be read: %s", error)
        return list(entities)

    def longest(entity: Entity) -> float:
        runs = remembered.get(entity.id, _Remembered())
        whole = runs.whole if entity.effective_run_type == "full_drop" else runs.changes
        seconds = _usual(whole or runs.first)
        return float("inf") if seconds is None else seconds

    return sorted(entities, key=longest, reverse=True)


def _remembered(project: Project, entities: Sequence[Entity]) -> dict[str, _Remembered]:
    """What the journal has of each entity, by id."""
    found: defaultdict[str, _Remembered] = defaultdict(_Remembered)
    if not entities:
        return found
    wanted = {(entity.flow, entity.name): entity.id for entity in entities}
    rows = journals_of(project, entities).newest(REMEMBERED_LOADS).sort("start_time", maintain_order=True)
    columns = ["flow", "entity", "status", "run_type", "duration", "attempts"]
    for flow, entity, status, run_type, duration, attempts in rows.select(columns).iter_rows():
        id_ = wanted.get((flow, entity))
        if id_ is None or status != "success" or duration is None:
            continue
        # Without a slice: the table had no news, and took no place. Its duration is that of the look at all of them.
        seconds = 0.0 if attempts == 0 else duration
        found[id_].add(_Run(seconds, attempts or 1), run_type or "")
    return found


def _usual(runs: Sequence[_Run]) -> float | None:
    """How long the newest of some runs took, None where there are none: the median of those with the fewest slices. The
    journal does not tell a slice that read from one that failed or waited, but a run with more of them had more
    pauses."""
    newest = runs[-COMPARED_RUNS:]
    if not newest:
        return None
    fewest = min(run.attempts for run in newest)
    return median(run.seconds for run in newest if run.attempts == fewest)


def estimate(project: Project, entities: Sequence[Entity], seconds: Mapping[str, float]) -> Estimate | None:
    """What a load of these entities takes, by what is remembered of them; None where nothing is."""
    known = [seconds[entity.id] for entity in entities if entity.id in seconds]
    if not known:
        return None
    usual = median(known)
    pools: defaultdict[str, float] = defaultdict(float)
    bounds = []
    total = 0.0
    for entity in entities:
        took = seconds.get(entity.id, usual)
        total += took
        bounds.append((took, f"{entity.id}, the longest of them"))
        if connection := entity.connection:
            pools[connection] += took * entity.home.connections_at_once()
    options = project.options
    bounds.append((total / options.concurrency, f"options.concurrency ({options.concurrency})"))
    for connection, needed in pools.items():
        size = project.connections[connection].pool_size
        bounds.append((needed / size, f"pool_size ({size}) of connection {connection}"))
    longest, bound_by = max(bounds, key=lambda bound: bound[0])
    return Estimate(round(longest, 3), bound_by, len(known), len(entities) - len(known))
