"""How long the entities of a load may take: what the journal remembers of them, and what follows for the whole load."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from hygge_engine.errors import HyggeError
from hygge_engine.orchestration.places import journals_of

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

# So many of the newest loads are looked at: flows with schedules of their own are in loads of their own.
REMEMBERED_LOADS = 20


@dataclass(frozen=True)
class Estimate:
    """What a load takes at least, in seconds, and what keeps it from being faster. ``known`` entities have been loaded
    before in the same way; the ``unknown`` ones count like the median of these."""

    seconds: float
    bound_by: str
    known: int
    unknown: int


def remembered_seconds(project: Project, entities: Sequence[Entity]) -> dict[str, float]:
    """How long each entity took the last time that it succeeded with the same run type, by id. Raises the LakeError
    family, and JournalError where a journal cannot be read."""
    types = {entity.id: entity.effective_run_type for entity in entities}
    if not types:
        return {}
    rows = journals_of(project, entities).newest(REMEMBERED_LOADS)
    found: dict[str, float] = {}
    columns = ["flow", "entity", "status", "run_type", "duration"]
    for flow, entity, status, run_type, duration in rows.select(columns).iter_rows():
        id_ = f"{flow}.{entity}"
        if status == "success" and types.get(id_) == run_type:
            found[id_] = max(0.0, float(duration or 0.0))
    return found


def longest_first(project: Project, entities: Sequence[Entity]) -> list[Entity]:
    """The entities in the order in which they should begin: those that were never loaded, then the longest first.

    The project's own order where each can begin at once, and where the journal cannot be read.
    """
    if len(entities) <= project.options.concurrency:
        return list(entities)
    try:
        seconds = remembered_seconds(project, entities)
    except HyggeError as error:
        _log.warning("The load keeps the project's order, because the journal cannot be read: %s", error)
        return list(entities)
    return sorted(entities, key=lambda entity: -seconds.get(entity.id, float("inf")))


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
