"""Which rows can be compared while the source keeps changing: those that were not touched since the last load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hygge_engine.homes.base import Home, ReadWindow
from hygge_engine.project.models.settings import CHANGE_CURSORS, FILE_MODIFIED
from hygge_engine.stores.landing.state import LandingState

if TYPE_CHECKING:
    from hygge_engine.project import Entity


@dataclass(frozen=True)
class Bound:
    """``unmoved`` are the source's rows that the last load has seen as they are. What ``moving`` yields has changed
    since (None: nothing is known of that), so that its keys say nothing about the destination. ``late`` are in addition
    the rows that the next load reads again, because some of them may have been committed late. ``text`` says what is
    compared."""

    text: str
    unmoved: ReadWindow
    moving: ReadWindow | None = None
    late: ReadWindow | None = None

    @property
    def tracks_changes(self) -> bool:
        """Whether the unmoved rows are all rows, those that have changed since included."""
        return self.moving is not None and self.moving.cursor in CHANGE_CURSORS

    def moved(self, home: Home) -> ReadWindow | None:
        """`moving` as of now. To be asked once the unmoved rows have been read: what changed before is in it."""
        if self.moving is None or self.moving.cursor is None or not self.tracks_changes:
            return self.moving
        cursor = self.moving.cursor
        return ReadWindow(cursor, self.moving.lower, home.high_water(cursor).value)


EVERYTHING = Bound("all rows, as they are now", ReadWindow())


def bound_of(home: Home, entity: Entity, state: LandingState) -> Bound:
    """The landed watermark as a bound; everything where there is none."""
    mark, settings = state.watermark, entity.watermark
    if settings is None or mark is None or mark.value is None or mark.column != settings.cursor:
        return EVERYTHING
    if mark.column in CHANGE_CURSORS:
        known = home.high_water(mark.column)
        if not mark.is_within(known.oldest, known.value):
            return EVERYTHING
        text = f"rows that have not changed since {mark.counted_in} {mark.value}"
        return Bound(text, ReadWindow(), ReadWindow(mark.column, mark.value))
    if mark.column == FILE_MODIFIED:
        # Of files changed at exactly this time the watermark knows those that have landed.
        return Bound(
            f"rows of files last changed up to {mark.value}",
            ReadWindow(mark.column, None, mark.value, known=mark.boundary),
            ReadWindow(mark.column, mark.value, lower_inclusive=mark.recognises(()), landed=mark.boundary),
        )
    sign = "below" if mark.type == "binary" else "up to"
    late = None
    if settings.lag_seconds:
        late = ReadWindow(mark.column, mark.lagged(mark.value, settings.lag_seconds), None)
    return Bound(
        f"rows with {mark.column} {sign} {mark.value}",
        ReadWindow(mark.column, None, mark.value),
        ReadWindow(mark.column, mark.value, None),
        late,
    )
