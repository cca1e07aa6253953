"""How far a load may read: up to the newest value of the source, unless that went back or leapt ahead of the clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from hygge_engine.errors import ChangesExpired, CursorMovedBack, CursorUnusable, HomeError, HyggeError
from hygge_engine.flow.bounds import exact_text
from hygge_engine.flow.drift import RELOAD_HINT
from hygge_engine.homes.base import HighWater, Home, ReadWindow
from hygge_engine.plain_text import HAS, counted
from hygge_engine.project.models.project import Entity, WatermarkSettings
from hygge_engine.project.models.settings import CHANGE_CURSORS, CHANGE_TRACKING, FILE_MODIFIED
from hygge_engine.stores.landing.state import LandingState, OpenLoad
from hygge_engine.stores.landing.transitions import ended, rolled_forward, taken_over
from hygge_engine.watermark import Watermark
from hygge_engine.watermark.values import earlier, order_of

_EXPIRED_HINT = "Reload the table with run_type full_drop, or set watermark.on_expired to reload."
_BACK_HINT = "Reload the table with run_type full_drop, or set watermark.on_backwards to reload or ignore."


@dataclass(frozen=True)
class Verdict:
    """What the next increment does where its source has lost what it needs: it reloads the table (by difference, or
    fails where that cannot be), skips (reads nothing), or fails. ``text`` says as a clause what was found and what
    follows, ``hint`` what to do about it; ``fault`` is the kind of error that it is."""

    action: Literal["reload", "difference", "skip", "fail"]
    text: str
    hint: str
    fault: type[HyggeError]

    def check(self, source: str = "") -> None:
        """Raise the error of a load that fails; ``source`` names what was read, where the text does not."""
        if self.action == "fail":
            raise self.fault(f"{source}: {self.text}." if source else self.text, hint=self.hint)


def verdict_on(reach: Reach, settings: WatermarkSettings, *, compares: bool) -> Verdict | None:
    """What a load does about what `look` has found; None where it goes on. ``compares``: see `on_backwards`."""
    return on_expired(reach.forgotten, settings) or on_backwards(reach.back, settings, compares=compares)


def check_kept(found: str, settings: WatermarkSettings) -> str:
    """That a table is reloaded whose changes are no longer known, ``found`` as by `missed`, as a clause; empty where
    all are. Raises ChangesExpired where the settings want no reload."""
    verdict = on_expired(found, settings)
    if verdict is None:
        return ""
    verdict.check()
    return verdict.text


def on_expired(found: str, settings: WatermarkSettings) -> Verdict | None:
    """What the settings want where changes are no longer known, ``found`` as by `missed`; None where all are."""
    if not found:
        return None
    if settings.on_expired == "reload":
        hint = "Nothing, or load more often than changes are kept."
        return Verdict("reload", f"{found}: the table is reloaded", hint, ChangesExpired)
    return Verdict("fail", found, _EXPIRED_HINT, ChangesExpired)


def on_backwards(found: str, settings: WatermarkSettings, *, compares: bool) -> Verdict | None:
    """What the settings want where the source has fallen back, ``found`` as ``Reach.back``; None where it has not.

    ``compares``: deletes are expected, and what has landed is remembered. Then the newest row may well have been
    deleted, and unless the settings say something else, what differs is landed.
    """
    if not found:
        return None
    if compares and "on_backwards" not in settings.model_fields_set:
        return Verdict("difference", f"{found}: what differs is landed", _BACK_HINT, CursorMovedBack)
    match settings.on_backwards:
        case "reload":
            return Verdict("reload", f"{found}: the table is reloaded", _BACK_HINT, CursorMovedBack)
        case "ignore":
            return Verdict("skip", f"{found}: rows that come below are not read", _BACK_HINT, CursorMovedBack)
        case "fail":
            text = f"{found}; what has come below would never be read"
            return Verdict("fail", text, _BACK_HINT, CursorMovedBack)


@dataclass(frozen=True)
class Reach:
    """``upper`` is the bound of a load. ``ahead`` says, as a clause, which rows lie beyond it; ``back`` how the source
    has fallen behind what was loaded before: rows that came since then would never be read. ``forgotten`` says which
    changes since then the source no longer has; ``early`` that the watermark lies ahead of the source's clock, as
    far as that is allowed; ``left`` that rows which waited beyond the clock do so no more, though their time has not
    come; ``unread`` that rows which came while the source had fallen behind are passed over, as the settings want. All
    are empty where nothing is wrong. ``waits``: there is nothing to read between the last load and ``upper``.
    ``lasts``: that the source has fallen back is to be remembered.
    """

    upper: Watermark
    ahead: str = ""
    back: str = ""
    forgotten: str = ""
    waits: bool = False
    lasts: bool = True
    early: str = ""
    left: str = ""
    unread: str = ""


@dataclass(frozen=True)
class Gap:
    """Changes that a source does not know any more, as a clause. ``lasts``: they are to be remembered; a copy that
    lags behind may show it without having lost any."""

    text: str
    lasts: bool = True


def look(home: Home, entity: Entity, state: LandingState | None) -> Reach | None:
    """What the next load of an entity would find, its table being as ``state`` says, once it has ended or discarded
    what is open there; None where it reads by no cursor.

    Raises HomeError, as that load would.
    """
    settings = entity.watermark
    if settings is None or entity.effective_run_type != "incremental":
        return None
    high = home.high_water(settings.cursor)
    state = taken_over(rolled_forward(state or LandingState()), reloads=False)
    opened = state.open
    if settings.lists_changes and opened is not None and (gap := missed(home.describe().name, high, state)):
        return replace(reach_of(home, high, settings, None), forgotten=gap.text)
    if not _will_have_history(state):
        return reach_of(home, high, settings, None)
    if opened is not None and (settings.lists_changes or opened.mode == "reload"):
        state = ended(state)
    mark = state.watermark
    if mark is not None:
        mark.check_cursor(Watermark(settings.cursor, high.type, order=high.order))
    reach = reach_of(home, high, settings, mark)
    if not settings.lists_changes:
        return with_memory(reach, settings, state)
    if mark is None or mark.value is None:
        raise not_tracked(settings.account)
    gap = missed(home.describe().name, high, state)
    return replace(reach, forgotten=gap.text if gap else "")


def _will_have_history(state: LandingState) -> bool:
    """Whether rows have landed once the open load of a table has ended, as far as it has landed or staged any."""
    opened = state.open
    if opened is not None and opened.mode == "reload":
        return bool(opened.staged or opened.divided or opened.rows)
    return state.has_history or (opened is not None and opened.has_landed)


def missed(name: str, high: HighWater, state: LandingState) -> Gap | None:
    """Which changes of a source that lists them the next slice needs and does not find: those of the open
    load, where it reads changes, else those since the last load; None where it finds all, or needs none.

    What an earlier load has missed is missed until a reload has ended, whatever versions have been reached since.
    """
    mark, opened = state.watermark, state.open
    if opened is not None:
        if opened.mode != "changes" or opened.lower is None:
            return None
        cursor = opened.upper.column if opened.upper is not None else CHANGE_TRACKING
        mark = replace(mark or Watermark(cursor, high.type), value=opened.lower)
    if mark is not None and (gap := gap_after(name, high, mark)):
        return gap
    if opened is not None and opened.upper is not None:  # the rest of its changes, too, if this is no copy that lags
        gap = gap_after(name, high, opened.upper)
        if gap is not None and gap.lasts:
            return gap
    return Gap(f"{state.went_back}, as an earlier load has found") if state.went_back else None


def gap_after(name: str, high: HighWater, mark: Watermark) -> Gap | None:
    """Which changes after a version are not known any more; None where all are. Where the version is of another stretch
    of kept changes, some between are not known; where it is of another table, none are."""
    if is_of_another_table(high, mark):
        return Gap(
            f"{name} is another table now ({high.table}) than the one that was loaded up to {mark.counted_in} "
            f"{mark.value} ({mark.table})"
        )
    goes_on = not (mark.since and high.since) or mark.since == high.since
    if goes_on and mark.is_within(high.oldest, high.value):
        return None
    known = f"its changes are known from {high.oldest} to {high.value}"
    text = f"{name} was loaded up to {mark.counted_in} {mark.value}, {known}"
    if not goes_on:
        text = f"{text}, and were not kept until version {high.since}"
    return Gap(text, lasts=not (high.may_lag and goes_on and not has_expired(high, mark)))


def is_of_another_table(high: HighWater, mark: Watermark) -> bool:
    """Whether a version is known to be of another table than the one that bears the source's name now."""
    return bool(mark.table and high.table) and mark.table != high.table


def has_expired(high: HighWater, mark: Watermark) -> bool:
    """Whether changes after a version have been cleaned up: every later load finds the same."""
    oldest = Watermark(mark.column, mark.type, high.oldest)
    return high.oldest is not None and not oldest.is_within(high.oldest, mark.value)


def lost_since(home: Home, entity: Entity, high: HighWater, state: LandingState) -> str:
    """What the source has lost since the last load of an entity, where that is to be remembered until a reload has
    ended, as a clause; empty where there is nothing, or another cursor counted so far."""
    mark, settings = state.watermark, entity.watermark
    if mark is None or mark.value is None or settings is None or not state.has_history:
        return ""
    if (mark.column, mark.type, mark.order) != (settings.cursor, high.type, high.order):
        return ""
    if settings.lists_changes:
        gap = gap_after(home.describe().name, high, mark)
        return gap.text if gap is not None and gap.lasts else ""
    if settings.on_backwards == "ignore":
        return ""
    try:
        reach = reach_of(home, high, settings, mark)
    except HomeError as error:
        if error.transient:
            raise
        return ""  # the source cannot compare the watermark any more, and a reload needs none
    return reach.back if reach.lasts else ""


def not_tracked(account: str) -> CursorUnusable:
    """The error of a table whose rows have landed by other means than by an account of changes."""
    return CursorUnusable(
        f"the table has rows that were not loaded by {account}, so that deletes since then are not known",
        hint=f"{RELOAD_HINT} Later increments use {account}.",
    )


def reach_of(home: Home, high: HighWater, settings: WatermarkSettings, mark: Watermark | None) -> Reach:
    """Evaluate what a source has returned, where the table was loaded up to ``mark`` by the same cursor."""
    cursor = settings.cursor
    allowed = _allowed(high, settings)
    found = high if allowed is None else allowed
    upper = Watermark(cursor, high.type, found.value, found.ties, found.boundary, high.since, high.order, high.table)
    ahead = ""
    if allowed is not None:
        upper = replace(upper, later=high.later, clock=high.clock or "")
        ahead = (
            f"{counted(high.later, 'row', verb=HAS)} a {cursor} after the source's clock ({high.clock}), up to "
            f"{high.value}, further than max_ahead allows; the watermark goes up to "
            f"{found.value or 'nothing'}, the newest before it"
        )
    early = ""
    marks = [value for value in (found.value, mark.value if mark is not None else None) if value is not None]
    if not ahead and (leading := [value for value in marks if _is_ahead(value, high, 0.0)]):
        early = (
            f"the watermark, {cursor} {leading[0]}, lies ahead of the source's clock ({high.clock}), within max_ahead: "
            "rows that come until then with the time of their change are not read"
        )
    if mark is None or mark.value is None or cursor in CHANGE_CURSORS:
        return Reach(upper, ahead, early=early)
    if not _is_below(home, found.value, mark):
        return Reach(upper, ahead, early=early, left=_left(home, high, mark))
    if allowed is not None and _is_ahead(mark.value, high, settings.max_ahead):
        back = f"it was loaded up to {cursor} {mark.value}, which is far ahead of the source's clock ({high.clock})"
        return Reach(upper, ahead, back)
    if allowed is not None and _is_ahead(mark.value, high, 0.0):
        # Clocks differ a little: that was allowed, and its time will come.
        return Reach(upper, ahead, waits=True, left=_left(home, high, mark))
    now = f"its newest is {found.value}" if found.value is not None else "it has no row with one"
    back = f"it was loaded up to {cursor} {mark.value}, and now {now}"
    return Reach(upper, ahead, back, lasts=not high.may_lag)


def _left(home: Home, high: HighWater, mark: Watermark) -> str:
    """How many rows that waited beyond the clock are there no more without their time having come, as a clause. Of
    files nothing is said: they are counted as files, and counting their rows would read them all."""
    if mark.column == FILE_MODIFIED or not (mark.later and mark.clock and high.clock):
        return ""
    # With those at the clock's very value: it may have fewer digits than a second has.
    came = home.count(ReadWindow(mark.column, mark.clock, high.clock, lower_inclusive=True))
    gone = mark.later - high.later - came
    if gone <= 0:
        return ""
    return (
        f"{counted(gone, 'row', verb=HAS)} no {mark.column} after the source's clock any more, as when the last load "
        f"counted those that wait: corrected to one up to {mark.value}, no increment reads them"
    )


def with_memory(reach: Reach, settings: WatermarkSettings, state: LandingState) -> Reach:
    """The same with what an earlier load has found the source to have fallen behind by, whatever it has reached since:
    what came below the watermark meanwhile has not been read."""
    if reach.back or not state.went_back:
        return reach
    found = f"{state.went_back}, as an earlier load has found"
    if settings.on_backwards == "ignore":
        return replace(reach, unread=f"{found}: rows that came below are not read")
    return replace(reach, back=found, lasts=False)


def knows_largest(opened: OpenLoad) -> bool:
    """Whether the rows that a load reads show how far it has come: not of versions, which no row has to have, nor of
    files' times, which are in no row."""
    upper = opened.upper
    return upper is not None and upper.value is not None and upper.repeats and upper.column != FILE_MODIFIED


def lowered(home: Home, opened: OpenLoad, settings: WatermarkSettings) -> Watermark | None:
    """The upper bound with which an open load continues where the source no longer reaches its own, and where no row
    shows it (texts, which the source alone can order, and files' times); None where it keeps its own."""
    upper = opened.upper
    if upper is None or upper.value is None or opened.backfill or not upper.repeats:
        return None
    if upper.type != "string" and upper.column != FILE_MODIFIED:
        return None
    now = reach_of(home, home.high_water(upper.column), settings, upper)
    return now.upper if now.back else None


def earned_watermark(home: Home, opened: OpenLoad, seen: str | None, before: Watermark | None) -> Watermark | None:
    """The watermark that a load has earned which has read its last row: its upper bound, unless the source took back
    the rows there before they were read. Then it is the newest value that was read, so that whatever comes above it
    is new; with ``before``, up to which the table was loaded, where that is as new. None: there is nothing to change.
    """
    upper = opened.upper
    if upper is None or opened.backfill or upper.type == "string" or not knows_largest(opened):
        return None
    if seen == upper.value:
        return None
    if seen is None or (before is not None and not _is_newer(seen, before)):
        return before or replace(upper, value=None, ties=0, boundary=None)
    value, boundary = exact_text(home, upper.column, seen), opened.boundary
    remembered = boundary is not None and boundary.complete
    ties = len(boundary.rows) if boundary is not None and remembered else home.count_at(upper.column, value)
    return replace(upper, value=value, ties=ties, boundary=boundary)


def _is_newer(value: str, mark: Watermark) -> bool:
    return mark.value is None or order_of(value, mark.type) > order_of(mark.value, mark.type)


def _allowed(high: HighWater, settings: WatermarkSettings) -> HighWater | None:
    """What counts in place of values too far in the future; None where there are none, or the home has no clock."""
    if high.present is None or high.value is None or not _is_ahead(high.value, high, settings.max_ahead):
        return None
    return high.present


def _is_ahead(value: str, high: HighWater, seconds: float) -> bool:
    """Whether a value lies more than a number of seconds after the source's clock."""
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
