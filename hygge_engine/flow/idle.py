"""Whether a table certainly has no news: decided by the planner of a slice, on what is known without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hygge_engine.errors import HyggeError
from hygge_engine.flow.claims import author_of
from hygge_engine.flow.ending import checked_result
from hygge_engine.flow.factory import journal_of
from hygge_engine.flow.gate import ExpectationGate
from hygge_engine.flow.ownership import check_author
from hygge_engine.flow.planner import LoadPlanner
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.homes.base import Home
from hygge_engine.journal.manifest import Manifest
from hygge_engine.stores.folder_table import FolderTable
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.state import LandingState, Mode, OpenLoad, StagedFile

if TYPE_CHECKING:
    from hygge_engine.project import Entity, Project


class NotIdle(Exception):
    """A slice would do something about this table, or say something."""


def is_at_rest(state: LandingState) -> bool:
    """Whether nothing is under way in a table, or to be remembered of its last loads."""
    return (
        state.has_history
        and state.finished is not None
        and state.watermark is not None
        and state.watermark.value is not None
        and state.open is None
        and state.set_aside is None
        and state.owner is None
        and not state.went_back
        and not state.handed_over_at
    )


def idle_result(
    project: Project, entity: Entity, table: FolderTable, home: Home, state: LandingState, task: SliceTask
) -> SliceResult | None:
    """The result of an entity run that has nothing to do; None where a slice has to see, whatever the reason.

    ``home`` answers from what is known, and raises an exception of its own, no HyggeError, for anything else: that
    passes through here.
    """
    if not is_at_rest(state):
        return None
    started = datetime.now(UTC)
    try:
        lease = _Remembered(state, table, task).attach()
        lease.author = author_of(project, entity)
        if lease.own_result or lease.moved_from or check_author(state, lease.author, entity):
            return None
        planner = _IdlePlanner(home, table, lease, Manifest(*journal_of(project, entity)), entity, task)
        planner.begin()
        if planner.comparison_is_due:
            return None
        checked = ExpectationGate(entity, lease, planner).judge_nothing()
    except (HyggeError, NotIdle):
        return None
    result = checked_result(lease, started, checked, planner.message)
    return None if result.message else result


class _IdlePlanner(LoadPlanner):
    """A planner that stops where there is something to read."""

    def _window(self, mode: Mode, *, merges: bool) -> OpenLoad | None:
        if super()._window(mode, merges=merges) is not None:
            raise NotIdle
        return None


class _Remembered(TableLease):
    """A hold on a table in name only: its state is what is known of it, and stays so."""

    def __init__(self, state: LandingState, table: FolderTable, task: SliceTask) -> None:
        super().__init__(_Kept(state), load_id=task.load_id, attempt=task.attempt)
        self._table = table

    @property
    def place(self) -> str:
        return self._table.places.folder

    @property
    def file_format(self) -> str:
        return self._table.format

    def sweep(self) -> None:
        raise NotIdle

    def _now(self) -> datetime:
        raise NotIdle

    def _make_visible(self, files: Sequence[StagedFile]) -> None:
        raise NotIdle


class _Kept:
    """A landing state that nobody may write."""

    def __init__(self, state: LandingState) -> None:
        self._state = state

    def read(self) -> LandingState:
        return self._state

    def write(self, state: LandingState) -> Any:
        raise NotIdle
