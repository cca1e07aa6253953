"""How many rows tables have, as far as their sources say it of many at once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hygge_engine.flow.factory import rows_of_many
from hygge_engine.orchestration.apart import run_apart

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

# How long a plan may wait for what only orders it.
COUNTING_SECONDS = 15.0


def row_counts(project: Project, entities: Iterable[Entity]) -> dict[str, int]:
    """About how many rows the entities' sources have, by id: one question for each connection, and nothing of those
    whose source does not say. Bounded in time; raises nothing, because a load does without."""
    groups: defaultdict[tuple[str, str], list[Entity]] = defaultdict(list)
    for entity in entities:
        if entity.connection:
            groups[entity.home.type, entity.connection].append(entity)
    found: dict[str, int] = {}

    def ask(group: list[Entity]) -> Callable[[], None]:
        return lambda: found.update(rows_of_many(project, group))

    if groups:
        work = [ask(group) for group in groups.values()]
        until = time.monotonic() + COUNTING_SECONDS
        run_apart(work, until, without="Tables are not ordered by their rows", then="the others are ordered by rows")
    return dict(found)
