"""How a load of a table begins: what there is to read, and whether it still fits what has been landed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hygge_engine.errors import (
    ConfigurationError,
    CursorUnusable,
    HomeNotFound,
    LandingBroken,
    NotOurs,
    SchemaChanged,
)
from hygge_engine.expectations.rules import rules_of
from hygge_engine.flow.bounds import window_bounds
from hygge_engine.flow.claims import check_base, check_versions_stay, naming_owner
from hygge_engine.flow.continuing import (
    check_key,
    landed_table,
    made_for,
    must_begin_again,
    polish_digest,
    reading_order,
)
from hygge_engine.flow.difference import (
    cannot_compare,
    cannot_compare_keys,
    check_versions,
    digests_of,
    why_not_compared,
    why_not_known,
)
from hygge_engine.flow.digests import Digests
from hygge_engine.flow.drift import HISTORY_HINT, RELOAD_HINT, compare
from hygge_engine.flow.due import compares_keys, is_due
from hygge_engine.flow.reach import (
    Reach,
    Verdict,
    check_kept,
    gap_after,
    has_expired,
    is_of_another_table,
    lost_since,
    lowered,
    missed,
    not_tracked,
    on_backwards,
    reach_of,
    with_memory,
)
from hygge_engine.flow.slices import SliceTask
from hygge_engine.flow.versions import holds_versions, polish_for
from hygge_engine.homes.base import HighWater, Home, ReadWindow, SourceSchema
from hygge_engine.journal.manifest import Manifest
from hygge_engine.letter_case import meant
from hygge_engine.plain_text import HAS, counted
from hygge_engine.polish.marks import MARK_TYPE
from hygge_engine.polish.polish import Polish
from hygge_engine.project.models.settings import CHANGE_CURSORS, FILE_MODIFIED
from hygge_engine.row_counts import NOTHING_LANDED
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.settled import RELOAD, check_format
from hygge_engine.stores.landing.state import ExpectationResult, LandingState, Mode, OpenLoad
from hygge_engine.stores.landing.transitions import mode_of
from hygge_engine.watermark import Watermark

if TYPE_CHECKING:
    from hygge_engine.project import Entity


LEFT_HINT = "Load them again by a window around their new values, or reload the table with run_type full_drop."


class LoadPlanner:
    """Decides mode, window and schema of an entity's load. ``message`` gathers what the journal should say about it."""

    def __init__(
        self,
        home: Home,
        destination: Destination[Any],
        lease: TableLease,
        manifest: Manifest,
        entity: Entity,
        task: SliceTask,
    ) -> None:
        self._home = home
        self._destination = destination
        self._lease = lease
        self._manifest = manifest
        self._entity = entity
        self._task = task
        self._source: SourceSchema | None = None
        self._polish: Polish | None = None
        self._notes: list[str] = []
        self._distrusted = ""
        self._uncompared = ""
        self._fallen: tuple[Verdict, Reach] | None = None
        self._has_lost = False

    @property
    def message(self) -> str:
        """Notes for the journal, empty where there is nothing to say."""
        return "; ".join(dict.fromkeys(self._notes))

    def note(self, text: str) -> None:
        """Say something in the journal."""
        self._notes.append(text)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The key columns that the store's settings name."""
        return self._destination.key_columns

    @property
    def is_backfill(self) -> bool:
        """Whether a window is loaded again."""
        return self._task.is_backfill

    @property
    def keeps_versions(self) -> bool:
        """Whether each version of a row lands as a row of its own."""
        return bool(self._entity.history_of)

    @property
    def retention(self) -> timedelta | None:
        """How long versions are kept that others have followed; None: for ever, or where none are kept."""
        seconds = self._entity.history_retention
        return None if seconds is None or not self.keeps_versions else timedelta(seconds=seconds)

    @property
    def reloads(self) -> bool:
        """Whether this load itself, not one that it has to finish first, is a full reload."""
        return self._task.run_type == "full_drop"

    def describe(self) -> SourceSchema:
        """The source's catalogue entry, read once per slice."""
        if self._source is None:
            self._source = self._home.describe()
        return self._source

    def polish(self) -> Polish:
        """How the source's rows land, by its catalogue entry.

        Raises ConfigurationError where the settings do not fit the source.
        """
        if self._polish is None:
            self._polish = polish_for(self.describe(), self._entity)
        return self._polish

    def check_versions_stay(self) -> None:
        """Raise NotOurs where the table is a history, and the entity none."""
        state, author = self._lease.state, self._lease.author
        if author is not None and holds_versions(state):
            check_versions_stay(state, self._lease.place, author, self._entity, self.polish())

    def begin(self) -> OpenLoad | None:
        """Open the load in the landing state; None where an increment has nothing new to read."""
        source, polish = self.describe(), self.polish()
        if not self.reloads:  # nor by a reload that nobody has asked for
            check_is_not_handed_over(self._destination, self._lease.state)
        mode = mode_of(self._lease.state, reload=self.reloads)
        check_format(self._lease.state, self._lease.place, self._lease.file_format, reload=self.reloads)
        if repointed := check_base(self._lease.state, source.stands_for):
            self._notes.append(repointed)
        columns = {column.name: str(column.type) for column in polish.table.columns}
        change = ""
        stays = self._stays(mode)
        if (mode != "reload" or stays) and self._lease.state.has_history:
            mark = {name: columns.pop(name) for name in [self._marks] if name and name not in self._lease.state.columns}
            drift = compare(self._lease.state, columns, self._entity.schema_changes, polish.treatments)
            change = drift.message
            columns = drift.columns | mark
            if drift.rebuilds and not self._task.is_backfill:
                mode = "reload"
            elif drift.refused or drift.rebuilds:  # a window is not a reload, and must not bring another type either
                raise SchemaChanged(change, hint=HISTORY_HINT if stays else RELOAD_HINT)
            if change:
                self._notes.append(change)
        if mode == "changes" and self._must_reload():
            mode = "reload"
        keys = self._keys(polish, mode)
        rules_of(self._entity.expectations, polish, keys)  # what does not fit is reported before the first row
        if self._entity.watermark is not None and self._entity.watermark.primary_key:
            spelling_of(source, [self._entity.watermark.primary_key], "watermark")
        if mode != "reload" or stays:
            check_key(self._lease.state, keys, hint=HISTORY_HINT if stays else RELOAD_HINT)
        opened = self._window(mode, merges=self._destination.merges and bool(keys))
        if opened is None:
            return None
        if self.keeps_versions:
            opened = self._versioned(opened, columns, keys, stays=stays)
        else:
            opened = self._compared(opened, columns, keys)
        if not self._lease.state.has_history:
            self._notes += source.notes  # said once, by the first load
        self._notes += source.omissions
        if opened.mode != "reload":
            self._destination.check_history(self._lease)
        mode = "changes" if opened.difference else opened.mode
        self._notes += look_at_place(self._destination, self._lease.state, polish, columns, mode)
        self._record_columns(polish.table, columns, change)
        opened = replace(
            opened,
            message=self.message,
            order=reading_order(source, opened.upper.column if opened.upper else ""),
            told_apart=_told_apart(polish.table, keys),
            polish=polish_digest(self._entity),
            adds=self._adds(opened, keys),
            compares_next=opened.mode == "changes" and self.comparison_is_due,
        )
        if self._lease.author is not None:
            self._lease.author = replace(self._lease.author, base=source.stands_for)
        self._lease.begin(opened, key_columns=keys, columns=columns, treatments=polish.treatments)
        return self._lease.open

    def _adds(self, opened: OpenLoad, keys: Sequence[str]) -> bool:
        """Whether each row that lands is one that the table does not have."""
        if not (self._destination.merges and keys):
            return True
        is_anew = opened.mode == "initial" or (opened.mode == "reload" and not opened.difference)
        return is_anew and not self.describe().resumes_without_key

    def digests(self, landed: pa.Schema, keys: Sequence[str]) -> Digests:
        """What makes digests of rows as they land."""
        return digests_of(self._entity, self.polish(), landed, keys)

    def distrust_snapshot(self, why: str) -> None:
        """Reload by a drop, whatever the settings say, and compare nothing, because of a clause: what has landed is not
        known."""
        self._distrusted = why

    def refuse_comparison(self, why: str) -> None:
        """Compare no keys in this load, because of a clause."""
        self._uncompared = why

    @property
    def comparison_is_due(self) -> bool:
        """Whether the load compares keys after its increment."""
        if self.is_backfill or self.reloads:
            return False
        return is_due(self._entity, self._lease.state, datetime.now(UTC))

    def begin_comparison(self, checked: ExpectationResult) -> OpenLoad | None:
        """Open a comparison of keys, with what has come of expectations; None where none is due, or none can be, and a
        note says why."""
        done = self._lease.adopted_result
        if done is not None and done.compares_next:
            self._notes = list(filter(None, [done.message]))
        elif not self.comparison_is_due:
            return None
        source, state = self.describe(), self._lease.state
        if why := self._why_keys_not_compared():
            self._notes.append(f"keys not compared, so that no deletes are known: {why}")
            return None
        look_at_place(self._destination, state, self.polish(), state.columns, "changes")
        digests = self.digests(self.comparable(), state.key_columns)
        opened = replace(
            self._new_load("changes"),
            checked=checked,
            made_of=digests.made_of,
            keyed=digests.keyed,
            compares=True,
            message=self.message,
            order=reading_order(source, ""),
            polish=polish_digest(self._entity),
        )
        columns = state.columns | ({self._marks: str(MARK_TYPE)} if self._marks else {})
        self._lease.begin(opened, key_columns=state.key_columns, columns=columns, treatments=state.treatments)
        return self._lease.open

    def must_compare_again(self, opened: OpenLoad) -> bool:
        """Whether what an open comparison has read so far is of no use any more."""
        digests = self.digests(self.comparable(), self._lease.state.key_columns)
        is_other = opened.keyed != digests.keyed or opened.order != reading_order(self.describe(), "")
        return is_other or bool(self._why_keys_not_compared())

    def comparable(self) -> pa.Schema:
        """The columns that have landed and that the source still has, as they land."""
        return pa.schema([each for each in self.polish().table.schema if each.name in self._lease.state.columns])

    def _why_keys_not_compared(self) -> str:
        """Why keys cannot be compared with what has landed, as a clause; empty where they can."""
        polish, state = self.polish(), self._lease.state
        keys = self._keys(polish, "changes")
        if why := cannot_compare_keys(self._destination, polish, keys):
            return why
        check_key(state, keys)
        digests = self.digests(self.comparable(), keys)
        why = self._uncompared or self._distrusted
        why = why or why_not_compared(state, digests, self._lease.place, keys_alone=True)
        if why := why or self._broken_history():
            return f"{why}; once it is reloaded with run_type full_drop they are compared"
        return ""

    def _compared(self, opened: OpenLoad, columns: Collection[str], keys: Sequence[str]) -> OpenLoad:
        """The load with what becomes of digests: whether it keeps them, and whether it is a reload that compares."""
        state, wanted = self._lease.state, self._task.reload or self._entity.reload
        wanted = "difference" if self._fallen is not None else wanted
        keys_too = compares_keys(self._entity)
        if "difference" not in (wanted, self._entity.reload) and not keys_too:
            return opened
        compares = opened.mode == "reload" and wanted == "difference" and state.has_history
        polish = self.polish()
        why = cannot_compare(self._destination, polish, keys)
        if not why:
            digests = self.digests(pa.schema([each for each in polish.table.schema if each.name in columns]), keys)
            opened = replace(opened, made_of=digests.made_of, keyed=digests.keyed if keys_too else "")
            if not compares:
                return opened
            why = self._distrusted or why_not_compared(state, digests, self._lease.place) or self._broken_history()
        if compares and why:
            if self._fallen is not None:
                self._refuse_to_drop(*self._fallen, why)
            self._notes.append(f"reloaded by a drop, not by difference: {why}")
        if not compares or why:
            return opened
        return self._as_difference(opened)

    def _stays(self, mode: Mode) -> bool:
        """Whether the table is a history that is there: nothing drops it, a full_drop neither."""
        state = self._lease.state
        if not (self.keeps_versions and state.has_history) or state.handed_over_at:
            return False
        if state.place_of_rows != self._lease.place:
            return False
        return mode != "reload" or not self._broken_history()

    def _versioned(self, opened: OpenLoad, columns: Collection[str], keys: Sequence[str], *, stays: bool) -> OpenLoad:
        """The load with how it tells versions of rows from those that have landed. Where these are not known, it reads
        the whole source, and lands all of it. Raises ConfigurationError where versions cannot be told apart."""
        check_versions(self._destination, self.polish(), keys)
        polish = self.polish()
        digests = self.digests(pa.schema([each for each in polish.table.schema if each.name in columns]), keys)
        opened = replace(opened, made_of=digests.made_of, keyed=digests.keyed if compares_keys(self._entity) else "")
        if not stays:
            return opened
        why = self._distrusted or why_not_known(self._lease.state, digests)
        if why:
            self._notes.append(f"each row of the source lands once more, as a baseline: {why}")
            opened = replace(opened, mode="reload", phase="staging", lower=None, lower_inclusive=False)
        return self._as_difference(opened) if opened.mode == "reload" else opened

    def _as_difference(self, opened: OpenLoad) -> OpenLoad:
        """A reload that lands what differs, of the whole source."""
        whole = opened.upper is not None and opened.upper.column not in CHANGE_CURSORS
        return replace(opened, difference=True, unbounded=whole)

    def _refuse_to_drop(self, verdict: Verdict, reach: Reach, why: str) -> None:
        """Raise CursorMovedBack: of a source that may have lost its rows a table is not made anew unless that is asked
        for."""
        if reach.lasts:
            self._lease.note_back(reach.back)
        text = f"{reach.back}; what differs cannot be landed: {why}"
        replace(verdict, action="fail", text=text).check(self.describe().name)

    def _broken_history(self) -> str:
        """What is wrong with the table that has landed, as a clause."""
        try:
            self._destination.check_history(self._lease)
        except LandingBroken as broken:
            return broken.message
        return ""

    def must_begin_again(self, opened: OpenLoad) -> bool:
        """Repeat the checks of a load's begin before an open load reads on, whichever load has begun it: types, key,
        policies and expectations. Returns True where it must be discarded, so that the next one begins with the source
        as it is now.

        Raises what `continuing.must_begin_again` and `begin` raise.
        """
        if (opened.mode == "reload" and opened.has_landed) or opened.is_all_read:
            return False  # nothing is left to read
        division, by_these = opened.divided, ("", made_for(self._entity, self._lease.file_format))
        if division is not None and (division.made_for not in by_these or self._lease.began_otherwise):
            return True  # what is staged was judged, or written, by other settings
        if self._would_double(opened):
            if not opened.has_landed:
                return True
            raise CursorUnusable(
                "a load that is under way reads rows again, and by the store's settings as they are now they would not "
                "replace those that have landed",
                hint=f"Restore row_marker until that load has ended, or {RELOAD}",
            )
        if not opened.has_landed and opened.divided is None and self._is_bounded_anew(opened):
            return True
        polish, state = self.polish(), self._lease.state
        keys = self._keys(polish, opened.mode)
        rules_of(self._entity.expectations, polish, keys)
        if opened.continued and opened.mode != "reload":
            self._destination.check_history(self._lease)
            look_at_place(self._destination, state, polish, state.columns, opened.mode)
        return must_begin_again(
            self._entity, polish, keys, self._lease.author, state, is_backfill=self._task.is_backfill
        )

    def _would_double(self, opened: OpenLoad) -> bool:
        """Whether an open load reads rows again, or lands what differs, though rows replace each other no more."""
        settings = self._entity.watermark
        lags = opened.mode == "changes" and settings is not None and bool(settings.lag_seconds)
        again = opened.backfill or opened.difference or (opened.unbounded and opened.mode != "reload") or lags
        return again and not self._destination.merges

    def _is_bounded_anew(self, opened: OpenLoad) -> bool:
        """Whether an increment that has landed nothing would have another upper bound now: its own may name a row that
        has been corrected since, and must not become the watermark."""
        settings = self._entity.watermark
        if settings is None or opened.upper is None or opened.backfill or opened.mode == "reload":
            return False
        high = self._home.high_water(opened.upper.column)
        return reach_of(self._home, high, settings, None).upper != opened.upper

    def lowered(self, opened: OpenLoad) -> Watermark | None:
        """The upper bound with which an open load continues instead of its own; None where it keeps it."""
        if self._entity.watermark is None or (opened.mode == "reload" and opened.has_landed) or opened.is_all_read:
            return None
        return lowered(self._home, opened, self._entity.watermark)

    def has_lost_changes(self) -> bool:
        """Whether the source has discarded changes that the open load needs, so that it must be abandoned for a reload.
        Raises ChangesExpired where the settings want no reload."""
        opened = self._lease.open
        if not self._tracks_changes or opened is None or opened.is_all_read:
            return False
        if opened.mode == "changes":
            return opened.lower is not None and self._has_gap()
        return (opened.mode == "initial" or opened.phase == "staging") and self._has_lost_its_bound(opened)

    def _has_lost_its_bound(self, opened: OpenLoad) -> bool:
        """Whether the versions of the source have gone back behind the one that a whole read began at, or its changes
        were not kept for a while: they would count on past that version, and nothing would show what was missed. Or
        another table has its name.

        Of an initial load that has landed rows it is remembered instead: the next increment then reloads, or fails.
        """
        if opened.upper is None or opened.upper.column not in CHANGE_CURSORS:
            return False
        try:
            high = self._home.high_water(opened.upper.column)
        except CursorUnusable as error:
            found = error.message.rstrip(".") if error.unkept else ""
        else:
            gap = gap_after(self.describe().name, high, opened.upper)
            expired = has_expired(high, opened.upper) and not is_of_another_table(high, opened.upper)
            found = gap.text if gap is not None and gap.lasts and not expired else ""
        if not found:
            return False
        if opened.mode == "initial" and opened.has_landed:
            self._lease.note_back(found)
            return False
        self._notes.append(f"{found}: begun again")
        self._has_lost = True
        return True

    def landed(self) -> SourceSchema:
        """The polished source with those columns only that the open load lands: others were left out, or have come
        since. Raises SchemaChanged where it was begun with another polish."""
        return landed_table(self.polish(), self._lease.state)

    def _record_columns(self, polished: SourceSchema, landed: dict[str, str], change: str) -> None:
        """Record in the schema manifest what is about to be landed, and what of it is lost."""
        columns = [
            {
                "name": column.name,
                "type": str(column.type),
                "source_type": column.source_type,
                "nullable": column.nullable,
                "loss": column.loss,
            }
            for column in polished.columns
            if column.name in landed
        ]
        entity, schema, name = self._entity, self._destination.schema_name, self._destination.table_name
        self._manifest.record(entity.flow, entity.name, schema, name, columns, self._task.load_id, change)

    def _window(self, mode: Mode, *, merges: bool) -> OpenLoad | None:
        """The rows to read, upper bound first; None where there are none.

        ``merges``: a row that is read again replaces the one that has landed. Raises CursorUnusable where it would
        double.
        """
        settings = self._entity.watermark
        opened = self._new_load(mode)
        if settings is None:
            return opened
        cursor = settings.cursor
        if mode != "reload" and not merges and (settings.lag_seconds or self._task.is_backfill):
            raise CursorUnusable(
                "lag and windows read rows again, and without a key they cannot replace those that have landed",
                hint="Set key_columns on the store, or leave lag and window out.",
            )
        if self._task.is_backfill:
            return self._backfill(opened, cursor)
        try:
            high = self._high_water(cursor)
        except CursorUnusable as error:
            if not self.reloads:
                raise
            self._notes.append(f"no watermark, so that no increment can continue from here: {error.message}")
            return opened
        if high.null_cursors:
            self._notes.append(
                f"{counted(high.null_cursors, 'row', verb=HAS)} no {cursor}: "
                "an incremental load never sees their changes"
            )
        if mode == "reload" and (lost := lost_since(self._home, self._entity, high, self._lease.state)):
            self._lease.note_back(lost)  # it may not end, and the next increment would not find it any more
        reach = reach_of(self._home, high, settings, self._mark(cursor, high) if mode == "changes" else None)
        if mode == "changes" and not self._tracks_changes:
            reach = with_memory(reach, settings, self._lease.state)
        upper = reach.upper
        if settings.lag_seconds and not self.reloads:
            upper.check_lag()  # also before the first load: each one after it would fail
        if reach.ahead:
            self._notes.append(reach.ahead)
        if reach.early:
            self._notes.append(reach.early)
        if reach.unread:
            self._notes.append(reach.unread)
        if reach.left:
            self._notes.append(f"{reach.left}. {LEFT_HINT}")
        # Where rows that are read again replace themselves, a whole read leaves none out, whatever their time.
        whole = replace(opened, upper=upper, unbounded=bool(reach.ahead) and merges)
        if mode != "changes":
            return whole
        if verdict := on_backwards(reach.back, settings, compares=compares_keys(self._entity)):
            return self._back(whole, reach, verdict)
        reached = self._lease.state.watermark.value if self._lease.state.watermark else None
        if reached is None:
            return self._without_watermark(whole, merges=merges)
        self._lease.note_waiting(upper)  # at once: a load that has nothing to read writes no other state
        lower, inclusive = reached, False
        if reach.waits:
            return None
        if settings.lag_seconds:
            # By ``>``, the very first value of a type that a lag ends at would be left out.
            lower, inclusive = upper.lagged(reached, settings.lag_seconds), True
        else:
            inclusive = self._reads_again(cursor, reached, upper, merges=merges)
            if upper.value == reached and not inclusive:
                return None
        if upper.value is None:
            return None
        return replace(opened, upper=upper, lower=lower, lower_inclusive=inclusive)

    @property
    def _marks(self) -> str:
        """The column that deleted rows are marked in; empty where they are deleted."""
        return self._entity.deletes.column if self._entity.deletes.mark else ""

    def _new_load(self, mode: Mode) -> OpenLoad:
        """This load, which begins now, or continues what it has finished first."""
        before = self._lease.adopted_result
        return OpenLoad(
            load_id=self._task.load_id,
            mode=mode,
            phase="staging" if mode == "reload" else "landing",
            started=datetime.now(UTC).isoformat(),
            rows=before.rows if before else 0,
            bytes=before.bytes if before else 0,
            files=before.files if before else 0,
            checked=before.checked if before else ExpectationResult(),
            counts=before.counts if before else NOTHING_LANDED,
            marks=self._marks,
        )

    def _back(self, opened: OpenLoad, reach: Reach, verdict: Verdict) -> OpenLoad | None:
        """What follows where the source has fallen behind. Raises CursorMovedBack, and every later increment does, too,
        until a reload has ended."""
        if verdict.action != "skip" and reach.lasts:
            self._lease.note_back(reach.back)
        verdict.check(self.describe().name)
        self._notes.append(verdict.text)
        self._fallen = (verdict, reach) if verdict.action == "difference" else None
        return None if verdict.action == "skip" else replace(opened, mode="reload", phase="staging")

    @property
    def _tracks_changes(self) -> bool:
        return self._entity.watermark is not None and self._entity.watermark.lists_changes

    def _must_reload(self) -> bool:
        """Whether changes since the last load are no longer known, and the settings ask for a reload then."""
        mark = self._lease.state.watermark
        counts = mark is not None and mark.column in CHANGE_CURSORS and mark.value is not None
        known = self._tracks_changes and counts
        return self._has_lost or (known and self._has_gap())

    def _has_gap(self) -> bool:
        """Whether changes that the next slice needs are lost. That is remembered before anything else is done: versions
        count up, and would soon be within what is known again. Raises ChangesExpired where ``on_expired`` is fail."""
        settings = self._entity.watermark
        if settings is None or self._has_lost:
            return self._has_lost
        gap = missed(self.describe().name, self._high_water(settings.cursor), self._lease.state)
        if gap is None:
            return False
        if gap.lasts:
            self._lease.note_back(gap.text)
        self._notes.append(check_kept(gap.text, settings))
        self._has_lost = True
        return True

    def _high_water(self, cursor: str) -> HighWater:
        """How far a load may read. Remembers where the source keeps no account of its changes, so that some since the
        last load will be in none. Raises CursorUnusable."""
        try:
            return self._home.high_water(cursor)
        except CursorUnusable as error:
            mark = self._lease.state.watermark
            if error.unkept and mark is not None and mark.column == cursor and self._lease.state.has_history:
                self._lease.note_back(
                    f"changes after {mark.counted_in} {mark.value} were not kept: {error.message.rstrip('.')}"
                )
            raise

    def _backfill(self, opened: OpenLoad, cursor: str) -> OpenLoad | None:
        """The requested window, both bounds included; the watermark stays as it is.

        Where no upper bound is requested, it is fixed here as for every load.
        """
        high = self._home.high_water(cursor)
        lower, last = window_bounds(self._home, cursor, high.type, self._task.window_from, self._task.window_to)
        if high.value is None:
            return None
        upper = Watermark(cursor, high.type, last or high.value)
        self._notes.append(
            f"loaded again: {cursor} from {lower or 'the beginning'} to {upper.value}; the watermark stays"
        )
        return replace(opened, upper=upper, lower=lower, lower_inclusive=True, backfill=True)

    def _without_watermark(self, opened: OpenLoad, *, merges: bool) -> OpenLoad:
        """An increment of a table that was loaded without a cursor. Raises CursorUnusable where rows would double."""
        settings = self._entity.watermark
        if settings is not None and settings.lists_changes:
            raise not_tracked(settings.account)
        if not merges:
            raise CursorUnusable(
                "the table has rows but no watermark, and this store would duplicate rows that are read again",
                hint=f"{RELOAD_HINT} The increments after it have a watermark.",
            )
        self._notes.append("no watermark yet: everything is read again and merged by key")
        return opened

    def _reads_again(self, cursor: str, reached: str, upper: Watermark, *, merges: bool) -> bool:
        """Whether the rows at exactly the committed watermark have to be read again, because some may be new."""
        mark = self._lease.state.watermark
        if mark is None or not mark.repeats:
            return False
        # Other spellings of a text may be equal to the source: these are not remembered, and would double.
        recognised = mark.recognises([column.name for column in self.describe().columns])
        if mark.is_of_unnamed_columns and cursor != FILE_MODIFIED:  # of which the home knows its files by name
            recognised = recognised and self._has_the_columns_that_landed()
        known = recognised and (merges or mark.type != "string" or mark.remembered == mark.ties)
        if known and upper.value != reached:
            return True  # a row in another's place is not found by counting
        if self._home.count_at(cursor, reached) <= mark.ties:
            return False
        if known or merges:
            return True
        why = "without a key, or among this many,"
        if recognised:
            why = "among texts that are spelt otherwise and are equal to the source,"
        self._notes.append(
            f"rows have appeared at exactly the last watermark, {reached}; they are left out, because {why} they "
            "cannot be distinguished from those that have landed"
        )
        return False

    def _has_the_columns_that_landed(self) -> bool:
        """Whether the table has just the columns that it had, in their order, but for those that do not land."""
        columns = [(column.name, str(column.type)) for column in self.polish().table.columns]
        return columns == list(self._lease.state.columns.items())

    def _mark(self, cursor: str, high: HighWater) -> Watermark | None:
        """The committed watermark. Raises CursorUnusable where it belongs to another cursor."""
        mark = self._lease.state.watermark
        if mark is not None:
            mark.check_cursor(Watermark(cursor, high.type, order=high.order))
        return mark

    def _keys(self, polish: Polish, mode: Mode) -> tuple[str, ...]:
        return keys_of(self._destination, self._entity, polish, mode)


def keys_of(destination: Destination[Any], entity: Entity, polish: Polish, mode: Mode) -> tuple[str, ...]:
    """The key columns that a destination merges by, as they land: the configured ones, else the source's own. Raises
    ConfigurationError where it needs others."""
    source, keys = polish.source, polish.key(destination.key_columns)
    watermark = entity.watermark
    if watermark is not None and watermark.lists_changes and polish.inputs_of(keys) != set(source.key):
        raise ConfigurationError(
            f"{watermark.account} reports deletes of {source.name} by the primary key "
            f"({', '.join(source.key) or 'it has none'}), but the store's key is ({', '.join(keys)})",
            hint="Remove key_columns from the store, or choose a watermark.column.",
        )
    if destination.merges or destination.needs_key:
        polish.check_identity(keys)
    if not keys and mode != "reload" and destination.needs_key:
        raise ConfigurationError(
            f"{source.name} has no unique key, so changed rows cannot be merged into the table",
            hint="Set key_columns on the store, or use run_type full_drop, which replaces what has landed.",
        )
    return keys


def look_at_place(
    destination: Destination[Any], state: LandingState, polish: Polish, columns: Collection[str], mode: Mode
) -> list[str]:
    """Check that rows of these columns can land at their destination, before the first of them is read; returns what is
    foreign there, and stays. Raises ColumnRefused, NotOurs, LandingBroken."""
    if mode != "reload":
        check_is_not_handed_over(destination, state)
    destination.check_columns(list(columns), state.columns)
    schema = pa.schema([field for field in polish.table.schema if field.name in columns])
    try:
        return destination.check_place(state, schema, reload=mode == "reload")
    except NotOurs as error:
        raise naming_owner(error, destination) from error


def check_is_not_handed_over(destination: Destination[Any], state: LandingState) -> None:
    """Raise LandingBroken where what has landed is to be replaced first."""
    if state.handed_over_at:
        raise LandingBroken(
            f"{destination.table_name} was handed over on {state.handed_over_at[:10]}, and its rows are not from this "
            "source",
            hint="Load it once with run_type full_drop, which replaces them; increments continue from there.",
        )


def _told_apart(table: SourceSchema, keys: Collection[str]) -> dict[str, str]:
    """The key's columns of text in which the source distinguishes more than case and blanks: see `OpenLoad`."""
    return {
        column.name: column.folding
        for column in table.columns
        if column.name in keys and pa.types.is_string(column.type) and column.folding in ("", "blanks")
    }


def window_of(opened: OpenLoad, state: LandingState, polish: Polish) -> ReadWindow:
    """The rows that an open load reads."""
    mark = state.watermark
    return ReadWindow(
        cursor=opened.upper.column if opened.upper else None,
        lower=opened.lower,
        upper=opened.upper.value if opened.upper and not opened.unbounded else None,
        lower_inclusive=opened.lower_inclusive,
        # A window is loaded again whether its rows have landed or not.
        landed=mark.boundary if mark and not opened.backfill else None,
        known=opened.upper.boundary if opened.upper else None,
        identified_by=polish.sources_of(state.key_columns),
    )


def spelling_of(source: SourceSchema, names: Sequence[str], setting: str) -> tuple[str, ...]:
    """Columns that a setting names, as the source spells them: SQL Server does not care about case, Fabric's metadata
    must name its key as the files do. Raises HomeNotFound."""
    known = [column.name for column in source.columns]
    found: list[str] = []
    for name in names:
        spelt = meant(name, known)
        if not spelt:
            has = f"It has {', '.join(known)}."
            raise HomeNotFound(f"{source.name} has no column '{name}', which {setting} names.", hint=has)
        if len(spelt) > 1:
            raise HomeNotFound(
                f"{source.name} has several columns that differ from '{name}', which {setting} names, in case alone.",
                hint=f"Write one of them as it is: {', '.join(spelt)}.",
            )
        found += spelt
    return tuple(found)
