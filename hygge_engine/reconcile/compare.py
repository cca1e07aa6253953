"""One entity's source against its destination: hashes of all rows first, then the rows whose hashes differ."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from hygge_engine.errors import HyggeError, NotReadable, SchemaChanged
from hygge_engine.flow.blocked import check_settled
from hygge_engine.flow.claims import author_of
from hygge_engine.flow.factory import open_home, open_table
from hygge_engine.flow.ownership import check_author
from hygge_engine.homes.base import Home, ReadWindow
from hygge_engine.letter_case import meant_among
from hygge_engine.memory import give_memory_back
from hygge_engine.polish.plan import polish_of
from hygge_engine.polish.polish import LoadStamp, spelt
from hygge_engine.reconcile.bounds import EVERYTHING, Bound, bound_of
from hygge_engine.reconcile.difference import Difference, add_changed, find_difference
from hygge_engine.reconcile.hashing import Frame, Hashing, frame_of
from hygge_engine.reconcile.naming import Finder, KeySpan, examples
from hygge_engine.reconcile.ranges import HashedRows
from hygge_engine.reconcile.result import ComparisonObserver, Reconciliation, Side
from hygge_engine.reconcile.unmarked import UnmarkedRows
from hygge_engine.retry import call_with_retries
from hygge_engine.stores.base import Destination, ReadBack
from hygge_engine.stores.landing.state import LandingState, StagedFile
from hygge_engine.stores.landing.types import schema_of

if TYPE_CHECKING:
    from hygge_engine.project import Entity, Project

# In place of the load that has landed the rows.
_NO_LOAD = LoadStamp("", datetime.min.replace(tzinfo=UTC))

# A table that is written to while it is compared is read again, so often in all.
ATTEMPTS = 3

_LOAD = "Load it: hygge go --entity {}"
_RELOAD = "Replace what has landed: {}"
_LOAD_AGAIN = "Load these rows again: hygge go --entity {} --from {} --to {}"
_LATE = "what differs has come late, within the lag: the next load reads these rows again"
_COMPARE_ROWS = "Which rows: hygge reconcile --entity {}"
_MOVED = f"it was written to each of the {ATTEMPTS} times it was compared"
_AGAIN = "Compare again when nothing writes to it."
_CHANGING = "rows changed while they were compared"
_WAIT = "Wait for Fabric, then compare again; `hygge doctor` shows what it says."


def reconcile(
    project: Project, entity: Entity, watch: ComparisonObserver, *, counts_only: bool = False, all_rows: bool = False
) -> Reconciliation:
    """Compare an entity's source with its destination; what goes wrong is part of the result.

    ``counts_only`` compares numbers of rows; ``all_rows`` takes in what has changed since the last load, too.
    """
    began = time.monotonic()
    give_memory_back()
    found = Reconciliation(entity.flow, entity.name, "failed")
    try:
        found = _Task(project, entity, watch, counts_only, all_rows).run(found)
    except NotReadable as error:
        found = replace(found, verdict="not readable", message=error.message, hint=error.hint, error=error.code)
    except HyggeError as error:
        found = not_compared(entity, error)
    return replace(found, seconds=time.monotonic() - began)


def not_compared(entity: Entity, error: HyggeError) -> Reconciliation:
    """The result where a side cannot be read, and why."""
    return Reconciliation(entity.flow, entity.name, "failed", message=error.message, hint=error.hint, error=error.code)


@dataclass(frozen=True)
class _Task:
    """A comparison of one entity, tried again while the table is written to.

    A difference is only reported for one point in time: the destination had applied all that had landed before its rows
    were read, and neither it nor what had landed had changed afterwards. Equal rows need no such proof.
    """

    project: Project
    entity: Entity
    watch: ComparisonObserver
    counts_only: bool
    all_rows: bool

    def run(self, found: Reconciliation) -> Reconciliation:
        """The verdict. Raises HyggeError where a side could not be asked."""
        destination = open_table(self.project, self.entity)
        for left in reversed(range(ATTEMPTS)):
            state = destination.state()
            check_author(state or LandingState(), author_of(self.project, self.entity), self.entity)
            unready = _unready(state)
            if unready or state is None:
                return _behind(found, unready, self._load)
            check_settled(destination, state)
            judged = self._attempt(found, destination, state, is_last=not left)
            if judged is not None:
                return judged
        raise AssertionError("the last attempt always ends with a verdict")

    @property
    def _load(self) -> str:
        return _LOAD.format(self.entity.id)

    def _attempt(
        self, found: Reconciliation, destination: Destination[Any], state: LandingState, *, is_last: bool
    ) -> Reconciliation | None:
        """Compare once; None where the table was written to meanwhile or reading broke off, unless it is the last
        attempt."""
        readers = destination.read_back()
        if self.entity.deletes.mark and self.entity.deletes.column in state.columns:
            readers = UnmarkedRows(readers, self.entity.deletes.column)
        pending = call_with_retries(lambda: readers.pending(state))
        version = readers.version()
        failure: HyggeError | None = None
        reading = _Reading(self.watch)
        try:
            found, compares_all = self._compare(found, readers, state, reading)
        except NotReadable:
            raise
        except HyggeError as error:
            failure, compares_all = error, False  # perhaps because the table moved
        if found.verdict == "equal" and not self.counts_only:
            return found
        after = destination.state()
        moved = after is None or _progress_of(after) != _progress_of(state) or readers.version() != version
        broke_off = failure is not None and failure.transient and reading.has_begun
        if (moved or broke_off) and not is_last:
            return None
        if failure is not None:
            raise failure
        if after is None or moved:
            return _behind(found, pending or _MOVED, _WAIT if pending else _AGAIN)
        if found.verdict != "differs":
            return found
        if pending := pending or call_with_retries(lambda: readers.pending(after)):
            return _behind(found, pending, _WAIT)
        if after.open is not None and (after.open.intent or compares_all):
            return _behind(found, f"the load that {after.open.load_id} has begun has not ended yet", self._load)
        return found

    def _compare(
        self, found: Reconciliation, destination: ReadBack, state: LandingState, watch: ComparisonObserver
    ) -> tuple[Reconciliation, bool]:
        """What rows or their numbers say, and whether those that have changed since the last load were among them."""
        with open_home(self.project, self.entity) as home:
            landed = bound_of(home, self.entity, state)
            bound = EVERYTHING if self.all_rows else landed
            comparison = _Comparison(home, destination, self.entity, state, bound, landed, watch)
            return comparison.counts(found) if self.counts_only else comparison.rows(found), bound is EVERYTHING


class _Reading:
    """Passes on what has been read, and notes whether anything was: a file that changes during the read, or a
    connection that breaks, is worth another attempt, a server that is not there is not."""

    def __init__(self, watch: ComparisonObserver) -> None:
        self._watch = watch
        self.has_begun = False

    def read(self, side: Side, rows: int) -> None:
        self.has_begun = True
        self._watch.read(side, rows)


def _behind(found: Reconciliation, message: str, hint: str) -> Reconciliation:
    """A difference that is not one yet; the rows that it names may be on their way."""
    return replace(found, verdict="behind", message=message, hint=hint, examples=())


class _Progress(NamedTuple):
    """How far a table has come: while it stays the same, no load changes what readers see."""

    generation: int
    next_sequence: int
    phase: str
    intent: tuple[StagedFile, ...]


def _progress_of(state: LandingState) -> _Progress:
    opened = state.open
    is_replacing = opened is not None and opened.phase in ("dropping", "waiting")
    return _Progress(
        state.generation,
        state.next_sequence,
        opened.phase if opened is not None and is_replacing else "",
        opened.intent if opened is not None else (),
    )


def _unready(state: LandingState | None) -> str:
    """Why the destination cannot be expected to have all rows; empty where it can."""
    if state is None or not (state.has_history or state.finished or state.open):
        return "nothing has been landed yet"
    opened = state.open
    if opened is None or opened.mode == "changes" or opened.difference or opened.phase == "staging":
        return "" if state.has_history or state.finished else "nothing has been landed yet"
    kind = "first load" if opened.mode == "initial" else "reload"
    return f"the {kind} that {opened.load_id} has begun has not ended yet"


def _check_comparable(source: str, state: LandingState, landed: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise SchemaChanged where nothing could be found to differ: the key or every column has gone."""
    has, hint = f"it has {', '.join(names)}", "Restore the columns, or reload the table with run_type full_drop."
    if gone := [name for name in state.key_columns if name not in landed]:
        raise SchemaChanged(
            f"rows have landed by the key ({', '.join(state.key_columns)}), and {source} has no {', '.join(gone)} now, "
            f"so that no row can be found again: {has}",
            hint=hint,
        )
    if state.columns and not landed:
        raise SchemaChanged(
            f"{source} has none of the columns that have landed ({', '.join(state.columns)}): {has}", hint=hint
        )


class _Comparison:
    """Both sides of one entity, with the columns that both have. ``bound`` says which rows are compared, and
    ``landed_bound`` which of them the last load has seen."""

    def __init__(
        self,
        home: Home,
        destination: ReadBack,
        entity: Entity,
        state: LandingState,
        bound: Bound,
        landed_bound: Bound,
        watch: ComparisonObserver,
    ) -> None:
        self._home = home
        self._destination = destination
        self._entity = entity
        self._bound = bound
        self._landed_bound = landed_bound
        self._watch = watch
        source = home.describe()
        self._polish = polish_of(source, entity.polish)
        names = [column.name for column in self._polish.table.columns]
        by_load = {each.column.name for each in self._polish.columns if each.stamp}
        here = meant_among(names)
        self._at_source = {name: found[0] for name in state.columns if len(found := here(name)) == 1}
        landed = {
            name: type_ for name, type_ in state.columns.items() if name in self._at_source and name not in by_load
        }
        _check_comparable(self._polish.source.name, state, landed, names)
        compared = {self._at_source[name] for name in landed}
        left_out = [name for name in state.columns if name not in landed]
        left_out += [name for name in names if name not in compared]
        self._not_compared = tuple(dict.fromkeys([*left_out, *state.removed_columns]))
        key = tuple(state.key_columns)
        self._keeps_versions = destination.keeps_versions and bool(key)
        self._has_versions = source.resumes_without_key and bool(key)
        rank, cursor = "", landed_bound.unmoved.cursor
        if cursor is not None and (state.watermark and state.watermark.type in ("datetime", "int")):
            rank = spelt(self._polish.landed_name(cursor) or "", list(landed)) or ""
        self._cursor = rank if bound.unmoved.cursor is not None else ""
        self._hashing = Hashing(schema_of(landed), key, rank, destination.floats)

    def rows(self, found: Reconciliation) -> Reconciliation:
        """Compare all columns of all rows."""
        with ExitStack() as stack:
            source, destination, moving = (stack.enter_context(HashedRows()) for _ in range(3))
            for rows in self._read_source():
                source.add(self._hashing.rows(rows))
                self._watch.read("source", source.rows)
            for rows in self._read_destination(self._hashing.schema.names):
                destination.add(self._hashing.rows(rows))
                self._watch.read("destination", destination.rows)
            self._add_keys_of(moving, self._bound.moved(self._home))
            difference = self._find(source, destination, moving)
            if difference.is_equal:
                return self._with_counts(found, difference)
            if self._is_late(difference, source, destination):
                found = self._with_counts(found, difference)
                return replace(found, verdict="behind", message=_LATE, hint=_LOAD.format(self._entity.id))
            return self._confirm(found, difference, source, destination)

    def _confirm(
        self, found: Reconciliation, difference: Difference, source: HashedRows, destination: HashedRows
    ) -> Reconciliation:
        """Read both sides again, for the names of rows that differ, and to leave out those that have changed since
        they were read."""
        keys = difference.named if self._hashing.key else {}
        at_source, landed = (Finder(self._hashing, keys) for _ in range(2))
        span = KeySpan(self._hashing, difference.to_load if difference.is_whole else (), self._cursor)
        with HashedRows() as moving:
            with HashedRows() as again:
                for rows in self._read_source():
                    again.add(self._hashing.rows(rows))
                    at_source.look(rows)
                    span.look(rows)
                add_changed(moving, source, again)
            with HashedRows() as again:
                for rows in self._read_destination(self._hashing.schema.names):
                    again.add(self._hashing.rows(rows))
                    landed.look(rows)
                add_changed(moving, destination, again)
            self._add_keys_of(moving, self._bound.moved(self._home))
            lasting = self._find(source, destination, moving)
            since = self._landed_bound.moved(self._home) if self._bound is EVERYTHING else None
            is_next = self._is_in(since, lasting, source, destination)
            named = {key: kind for key, kind in keys.items() if not moving.has(key)}
        found = self._with_counts(found, lasting)
        if lasting.is_equal:
            return replace(found, verdict="behind", message=_CHANGING, hint=_AGAIN)
        if not self._hashing.key:
            message = "the table has no key: rows that differ cannot be named"
            return replace(found, message=message, hint=_RELOAD.format(self._entity.reload_command))
        found_rows = examples(named, at_source, landed, self._hashing.schema.names)
        hint = _LOAD.format(self._entity.id) if is_next else self._remedy(lasting, span)
        return replace(found, examples=found_rows, hint=hint)

    def _find(self, source: HashedRows, destination: HashedRows, moving: HashedRows) -> Difference:
        """What differs but for the keys in ``moving``."""
        has_versions, keeps_versions = self._has_versions, self._keeps_versions
        return find_difference(source, destination, moving, has_versions=has_versions, keeps_versions=keeps_versions)

    def _remedy(self, difference: Difference, span: KeySpan) -> str:
        """How to repair what differs."""
        bounds = span.bounds if self._entity.store.upserts() and not difference.counts["extra"] else None
        if bounds:
            return _LOAD_AGAIN.format(self._entity.id, *bounds)
        return _RELOAD.format(self._entity.reload_command)

    def _with_counts(self, found: Reconciliation, difference: Difference) -> Reconciliation:
        return replace(
            found,
            verdict="equal" if difference.is_equal else "differs",
            source_rows=difference.source.rows,
            destination_rows=difference.destination.rows,
            source_checksum=difference.source.text,
            destination_checksum=difference.destination.text,
            compared=self._bound.text,
            moving=difference.moving,
            not_compared=self._not_compared,
            missing=difference.counts["missing"],
            extra=difference.counts["extra"],
            different=difference.counts["different"],
        )

    def counts(self, found: Reconciliation) -> Reconciliation:
        """Compare numbers of rows. Those that are moving may be in the destination already, or not yet."""
        source = self._count_source()
        with HashedRows() as keys, HashedRows() as moving:
            if self._keeps_versions:
                for rows in self._read_destination(self._hashing.key):
                    keys.add(self._hashing.keys(rows))
                    self._watch.read("destination", keys.rows)
                destination = keys.distinct_keys()
            else:
                destination = self._destination.count()
                self._watch.read("destination", destination)
            self._add_keys_of(moving, self._bound.moved(self._home))
            moved = moving.distinct_keys()
        # With Change Tracking the source's rows are those of now; any other bound leaves out what has changed since.
        least = source - moved if self._bound.tracks_changes else source
        found = replace(
            found,
            verdict="equal" if least <= destination <= source + moved else "differs",
            source_rows=source,
            destination_rows=destination,
            compared=f"numbers of {self._bound.text}",
            moving=moved,
            hint=_COMPARE_ROWS.format(self._entity.id),
        )
        if found.verdict == "differs" and self._count_source() != source:
            return _behind(found, _CHANGING, _AGAIN)
        return found

    def _count_source(self) -> int:
        """The number of the source's settled rows, of several versions of a row one."""
        if not self._has_versions:
            rows = self._home.count(self._bound.unmoved)
            self._watch.read("source", rows)
            return rows
        with HashedRows() as keys:
            for frame in self._read_source():
                keys.add(self._hashing.keys(frame))
                self._watch.read("source", keys.rows)
            return keys.distinct_keys()

    def _is_late(self, difference: Difference, source: HashedRows, destination: HashedRows) -> bool:
        """Whether all that differs are rows which the lag makes the next load read again."""
        return not difference.counts["extra"] and self._is_in(self._bound.late, difference, source, destination)

    def _is_in(
        self, window: ReadWindow | None, difference: Difference, source: HashedRows, destination: HashedRows
    ) -> bool:
        """Whether all that differs are rows of a window."""
        if difference.is_equal or window is None:
            return False
        with HashedRows() as inside:
            self._add_keys_of(inside, window)
            return self._find(source, destination, inside).is_equal

    def _add_keys_of(self, moving: HashedRows, window: ReadWindow | None) -> None:
        """The keys of the rows in a window, and of what is gone in it."""
        if window is None or not self._hashing.key:
            return
        with closing(self._home.read(window)) as batches:
            for batch in batches:
                for rows in (batch.rows, batch.deleted):
                    if rows is not None:
                        moving.add(self._hashing.keys(self._as_landed(rows)))

    def _read_source(self) -> Generator[Frame]:
        """The source's settled rows as they land."""
        with closing(self._home.read(self._bound.unmoved)) as batches:
            for batch in batches:
                yield self._as_landed(batch.rows)

    def _as_landed(self, rows: pa.RecordBatch) -> Frame:
        """Rows as a load would land them; what it says of itself in them is not compared."""
        names = self._hashing.schema.names
        polished = self._polish.apply(rows, _NO_LOAD).select([self._at_source[name] for name in names])
        return frame_of(polished.rename_columns(names))

    def _read_destination(self, columns: Sequence[str]) -> Generator[Frame]:
        """The destination's rows."""
        with closing(self._destination.read(columns)) as batches:
            for batch in batches:
                yield frame_of(batch)
