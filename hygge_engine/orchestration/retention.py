"""Removal of what is no longer of use: histories of orchestrations, and leftovers of loads that never ended.

What a load did is in the journal. None of this is done by a load itself, which would delay others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from hygge_engine.errors import HyggeError

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

# Progress files of a load that never ended are removed after this time: longer than any load runs.
FORGOTTEN_AFTER = timedelta(days=7)

# Before there was anything to remove.
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


class PurgeClient(Protocol):
    """What forgetting needs of the durable client of either SDK generation."""

    async def purge_instance_history_by(
        self, created_time_from: datetime, created_time_to: datetime, runtime_status: Any
    ) -> Any: ...


async def purge_histories(
    open_project: Callable[[], Project], client: PurgeClient, ended_statuses: Sequence[Any], now: datetime
) -> int:
    """Purge the orchestrations that have ended and began longer ago than ``options.history_retention``; returns how
    many.

    The host goes through all of them by itself, however many there are; where it is interrupted, the next call
    continues.
    """
    project = await asyncio.to_thread(open_project)
    limit = now.astimezone(UTC) - timedelta(seconds=project.options.history_retention)
    result = await client.purge_instance_history_by(BEGINNING, limit, list(ended_statuses))
    purged = int(result.instances_deleted or 0)
    if purged:
        _log.info("Purged the histories of %d orchestrations that began before %s.", purged, limit.isoformat())
    return purged


def sweep_progress(project: Project, entities: Sequence[Entity]) -> int:
    """Remove the progress files of loads that never ended, where these entities are recorded; returns how many
    loads these were. A place that cannot be reached is left for the next time."""
    from hygge_engine.orchestration.places import places_of

    swept = 0
    for place in places_of(project, entities).values():
        try:
            swept += place.progress.sweep(FORGOTTEN_AFTER)
        except HyggeError as error:
            _log.warning("What loads have left in %s cannot be swept now: %s", place.address, error)
    return swept


async def forget(
    open_project: Callable[[], Project], client: PurgeClient, ended_statuses: Sequence[Any], now: datetime
) -> None:
    """All of it: what the app's hourly timer does."""
    await purge_histories(open_project, client, ended_statuses, now)

    def sweep() -> None:
        project = open_project()
        sweep_progress(project, project.entities)

    await asyncio.to_thread(sweep)
