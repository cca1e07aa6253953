"""When the keys of a table are to be compared with what has landed (docs/deletes.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hygge_engine.stores.landing.state import CLOCK_SET_BACK, LandingState

if TYPE_CHECKING:
    from hygge_engine.project import Entity

# This part of its time earlier a comparison is due, so that loads that come just so often do not miss it by seconds.
_EARLY = 1 / 20


def compares_keys(entity: Entity) -> bool:
    """Whether an entity's increments are followed by comparisons of keys."""
    return entity.deletes.compare and entity.effective_run_type == "incremental"


def due_at(entity: Entity, state: LandingState) -> datetime | None:
    """From when on the next comparison of keys is due; None where it is at once, since there never was one."""
    if not state.compared_at:
        return None
    try:
        return datetime.fromisoformat(state.compared_at) + timedelta(seconds=entity.deletes.every * (1 - _EARLY))
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def is_due(entity: Entity, state: LandingState, now: datetime) -> bool:
    """Whether keys are to be compared now: also after a time that is still to come, since the clock was set back."""
    if not compares_keys(entity) or not state.has_history:
        return False
    due = due_at(entity, state)
    return due is None or due <= now or _is_ahead(state, now)


def _is_ahead(state: LandingState, now: datetime) -> bool:
    return datetime.fromisoformat(state.compared_at) - now > CLOCK_SET_BACK
