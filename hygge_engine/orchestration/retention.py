"""Forgetting orchestrations: what a load did is in the journal, and its history is of use to nobody for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hygge_engine.project.models import Project

_log = logging.getLogger(__name__)

# Before there was anything to forget.
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

    The host goes through all of them by itself, however many there are; where it is interrupted, what is gone is gone,
    and the next call goes on.
    """
    project = await asyncio.to_thread(open_project)
    limit = now.astimezone(UTC) - timedelta(seconds=project.options.history_retention)
    result = await client.purge_instance_history_by(BEGINNING, limit, list(ended_statuses))
    purged = int(result.instances_deleted or 0)
    if purged:
        _log.info("Purged the histories of %d orchestrations that began before %s.", purged, limit.isoformat())
    return purged
