"""How far a load may read: up to the newest value of the source, unless that went back or leapt ahead of the clock."""

from __future__ import annotations

from dataclasses import dataclass

from hygge_engine.homes.base import HighWater, Home, ReadWindow
from hygge_engine.plain_text import HAS, counted
from hygge_engine.project.models.project import Entity, WatermarkSettings
from hygge_engine.project.models.settings import CHANGE_TRACKING
from hygge_engine.watermark import Watermark
from hygge_engine.watermark.values import earlier, order_of


@dataclass(frozen=True)
class Reach:
    """``upper`` is the bound of a load. ``ahead`` says, as a clause, which rows lie beyond it; ``back`` how the source
    has fallen behind what was loaded before: rows that came since then would never be read. Both are empty where
    nothing is the matter. ``waits``: there is nothing to read between the last load and ``upper``.
    """

    upper: Watermark
    ahead: str = ""
    back: str = ""
    waits: bool = False


def look(home: Home, entity: Entity, mark: Watermark | None) -> Reach | None:
    """What the next load of an entity would find, where its table has been loaded up to ``mark``; None where it reads
    by no cursor. Raises HomeError."""
    settings = entity.watermark
    if settings is None or settings.change_tracking or entity.effective_run_type != "incremental":
        return None
    high = home.high_water(settings.cursor)
    if mark is not None:
        mark.check_cursor(Watermark(settings.cursor, high.type))
    return reach_of(home, high, settings, mark)


def reach_of(home: Home, high: HighWater, settings: WatermarkSettings, mark: Watermark | None) -> Reach:
    """Judge what a source has answered, where the table was loaded up to ``mark`` by the same cursor."""
    cursor = settings.cursor
    allowed = _allowed(high, settings)
    found = high if allowed is None else allowed
    upper = Watermark(cursor, high.type, found.value, found.ties, found.boundary)
    ahead = ""
    if allowed is not None:
        ahead = (
            f"{counted(high.later, 'row', verb=HAS)} a {cursor} after the source's clock ({high.clock}), up to "
            f"{high.value}, further than max_ahead allows; the watermark goes up to "
            f"{found.value or 'nothing'}, the newest before it"
        )
    if mark is None or mark.value is None or cursor == CHANGE_TRACKING:
        return Reach(upper, ahead)
    if not _is_below(home, found.value, mark):
        return Reach(upper, ahead)
    if allowed is not None and _is_ahead(mark.value, high, settings.max_ahead):
        back = f"it was loaded up to {cursor} {mark.value}, which is far ahead of the source's clock ({high.clock})"
        return Reach(upper, ahead, back)
    if allowed is not None and _is_ahead(mark.value, high, 0.0):
        return Reach(upper, ahead, waits=True)  # clocks differ a little: that was allowed, and its time will come
    newest = f"its newest is {found.value}" if found.value is not None else "it has no row with one"
    return Reach(upper, ahead, f"it was loaded up to {cursor} {mark.value}, and now {newest}")


def _allowed(high: HighWater, settings: WatermarkSettings) -> HighWater | None:
    """What counts in place of values too far in the future; None where there are none, or the home has no clock."""
    if high.present is None or high.value is None or not _is_ahead(high.value, high, settings.max_ahead):
        return None
    return high.present


def _is_ahead(value: str, high: HighWater, seconds: float) -> bool:
    """Whether a value lies more than so many seconds after the source's clock."""
    if high.clock is None:
        return False
    return order_of(earlier(value, seconds), "datetime") > order_of(high.clock, "datetime")


def _is_below(home: Home, newest: str | None, mark: Watermark) -> bool:
    """Whether the newest value is below what has been reached, by the source's own order."""
    if newest is None:
        return True
    if newest == mark.value:
        return False
    if mark.type == "string":  # only the source knows how its collation orders texts
        return home.count(ReadWindow(mark.column, mark.value, lower_inclusive=True)) == 0
    return order_of(newest, mark.type) < order_of(mark.value or "", mark.type)
