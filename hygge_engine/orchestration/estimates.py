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
from hygge_engine.orchestration.source_sizes import row_counts

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

# So many of the newest loads are looked at: flows with schedules of their own are in loads of their own.
REMEMBERED_LOADS = 20

# So many of the newest runs that an entity's next one is like are compared: one that others slowed down is outvoted.
COMPARED_RUNS = 5


# Runs of fewer rows say how long it takes to connect, and not how fast rows are moved.
TELLING_ROWS = 10_000

# Where no run says it: what a table takes beside its rows, and how fast they are moved.
ASSUMED_SECONDS = 1.0
ASSUMED_ROWS_PER_SECOND = 50_000.0


@dataclass(frozen=True)
class Estimate:
    """About how long a load takes, in seconds, and what keeps it from being faster. ``known`` entities have been loaded
    like this before, ``by_rows`` others count by how many rows their sources have; the ``unknown`` ones count like the
    median of these."""

    seconds: float
    bound_by: str
    known: int
    unknown: int
    by_rows: int = 0


class _Run(NamedTuple):
    seconds: float
    attempts: int
    rows: int


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


class Memory:
    """What the journal remembers of some entities, by id."""

    def __init__(self, runs: Mapping[str, _Remembered]) -> None:
        self._runs = runs
        rates = [
            run.rows / run.seconds
            for each in runs.values()
            for run in (*each.whole, *each.changes, *each.first)
            if run.rows >= TELLING_ROWS and run.seconds > 0
        ]
        self._rows_per_second = median(rates) if rates else ASSUMED_ROWS_PER_SECOND

    def seconds(self, whole: Collection[str]) -> dict[str, float]:
        """How long each entity usually took when it was loaded as it will be: all of its rows, where it is among the
        ``whole`` ones, or what is new."""
        found = {
            id_: _usual((runs.whole or runs.first) if id_ in whole else runs.changes)
            for id_, runs in self._runs.items()
        }
        return {id_: seconds for id_, seconds in found.items() if seconds is not None}

    def seconds_by_rows(self, rows: Mapping[str, int]) -> dict[str, float]:
        """How long it takes to load so many rows of each entity, at the pace of the runs that are remembered."""
        return {id_: ASSUMED_SECONDS + count / self._rows_per_second for id_, count in rows.items()}

    def like_any(self, entities: Sequence[Entity]) -> dict[str, float]:
        """How long each entity usually took, also where it was its first load that is remembered."""
        found = {}
        for entity in entities:
            runs = self._runs.get(entity.id, _Remembered())
            whole = runs.whole if entity.effective_run_type == "full_drop" else runs.changes
            seconds = _usual(whole or runs.first)
            if seconds is not None:
                found[entity.id] = seconds
        return found


def longest_first(project: Project, entities: Sequence[Entity], *, unreachable: Collection[str] = ()) -> list[Entity]:
    """The entities in the order in which they should begin, the longest first: by what the journal remembers, or else
    by how many rows their sources have; what nothing is known of counts like the median of the others.

    The project's own order where each can begin at once, and where the journal cannot be read. ``unreachable`` are the
    ids of entities whose sources are known not to respond.
    """
    if len(entities) <= project.options.concurrency:
        return list(entities)
    try:
        memory = recall(project, entities)
    except HyggeError as error:
        _log.warning("The load keeps the project's order, because the journal cannot be read: %s", error)
        return list(entities)
    seconds = memory.like_any(entities)
    if asked := [entity for entity in entities if entity.id not in seconds and entity.id not in unreachable]:
        seconds |= memory.seconds_by_rows(row_counts(project, asked))
    usual = median(seconds.values()) if seconds else 0.0
    return sorted(entities, key=lambda entity: seconds.get(entity.id, usual), reverse=True)


def recall(project: Project, entities: Sequence[Entity]) -> Memory:
    """What the journal has of the entities. Raises the LakeError family, and JournalError where it cannot be read."""
    found: defaultdict[str, _Remembered] = defaultdict(_Remembered)
    if not entities:
        return Memory(found)
    wanted = {(entity.flow, entity.name): entity.id for entity in entities}
    rows = journals_of(project, entities).newest(REMEMBERED_LOADS).sort("start_time", maintain_order=True)
    columns = ["flow", "entity", "status", "run_type", "duration", "attempts", "row_count"]
    for flow, entity, status, run_type, duration, attempts, count in rows.select(columns).iter_rows():
        id_ = wanted.get((flow, entity))
        if id_ is None or status != "success" or duration is None:
            continue
        # Without a slice: the table had no news, and took no place. Its duration is that of the look at all of them.
        seconds = 0.0 if attempts == 0 else duration
        found[id_].add(_Run(seconds, attempts or 1, count or 0), run_type or "")
    return Memory(found)


def _usual(runs: Sequence[_Run]) -> float | None:
    """How long the newest of some runs took, None where there are none: the median of those with the fewest slices. The
    journal does not tell a slice that read from one that failed or waited, but a run with more of them had more
    pauses."""
    newest = runs[-COMPARED_RUNS:]
    if not newest:
        return None
    fewest = min(run.attempts for run in newest)
    return median(run.seconds for run in newest if run.attempts == fewest)


def estimate(
    project: Project, entities: Sequence[Entity], seconds: Mapping[str, float], by_rows: Mapping[str, float]
) -> Estimate | None:
    """What a load of these entities takes, by what is remembered of them (``seconds``) and by the rows of others
    (``by_rows``, seconds too); None where nothing is known."""
    known = {entity.id: seconds[entity.id] for entity in entities if entity.id in seconds}
    counted = {entity.id: by_rows[entity.id] for entity in entities if entity.id in by_rows and entity.id not in known}
    expected = known | counted
    if not expected:
        return None
    usual = median(expected.values())
    pools: defaultdict[str, float] = defaultdict(float)
    bounds = []
    total = 0.0
    for entity in entities:
        took = expected.get(entity.id, usual)
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
    return Estimate(round(longest, 3), bound_by, len(known), len(entities) - len(expected), len(counted))
