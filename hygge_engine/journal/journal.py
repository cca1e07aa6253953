"""The journal: one row for each entity run, appended by any number of loads at once, read through one function."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import JournalError, LakeConditionNotMet
from hygge_engine.journal.changes import Changes, journal_changes, load_changes
from hygge_engine.journal.files import (
    PICKED_ROWS,
    RETIRED_SCHEMA,
    ROW_GROUP_ROWS,
    CanonicalFile,
    JournalFiles,
    Only,
    encode,
    matching,
    passed_over_text,
    rows_in_order,
)
from hygge_engine.journal.kept import Kept
from hygge_engine.journal.reading import SingleJournal, without
from hygge_engine.journal.rows import SCHEMA, EntityRunRow, conform, fingerprint, select, table_of
from hygge_engine.journal.summaries import SUMMARY_COLUMNS
from hygge_engine.lake.base import Lake, PathInfo

# How often an append or a fold restarts because another writer was faster.
ATTEMPTS = 10

# Small files that are read for the newest loads, at least: several times as many as there are between two folds.
RECENT_FILES = 256

# The newest loads of canonical files that a process keeps, in bytes.
FOLDED_KEPT_BYTES = 16 * 1024**2
_FOLDED: Kept[pa.Table] = Kept(FOLDED_KEPT_BYTES)

# A fold rewrites the whole history, so it waits until this many loads share its cost.
FOLD_AFTER_LOADS = 64

# Small files that one fold moves at most, and how many bytes: the end of a load waits for it, half a minute over a data
# lake, and their rows are in memory together, some 30 KB for a file of a few tables.
FOLD_FILES_LIMIT = 500
FOLD_BYTES_LIMIT = 32 * 1024**2

# Where old loads are to leave, loads are folded at least this often, however few they are: only the canonical file
# knows which are the oldest.
FOLD_AFTER = timedelta(days=1)


# The warning about a full journal, and what to do.
FULL = "The journal is as large as it may be: new loads stay in files of their own, and lists of loads get slower."
FULL_REMEDY = "Set journal.retention, or move journal.parquet aside and keep it: a new one begins."

# What summaries need, and what tells an entity run from others.
_SUMMED_UP = ("entity_run_id", *SUMMARY_COLUMNS)

# Those that are read of the newest loads: how long a load takes is estimated by them as well.
_OF_NEWEST = (*_SUMMED_UP, "attempts")

_log = logging.getLogger(__name__)


class _Fold(NamedTuple):
    """How many files a fold has moved, and whether it left some because the canonical file has no room for them."""

    moved: int
    full: bool = False


class Compaction(NamedTuple):
    """Loads that were folded into the canonical file, and rows that were removed from it; whether it is full."""

    folded: int
    retired: int
    full: bool = False


class Journal(SingleJournal):
    """The journal in a folder of a lake. Thread-safe, and safe between any number of processes and machines.

    ``root`` is the folder itself (``…/.hygge_journal``); nothing outside of it is ever made. All methods let the
    LakeError family pass: a journal that cannot be written is a failure.
    """

    def __init__(self, lake: Lake, root: str) -> None:
        self._files = JournalFiles(lake, root)

    def append(self, coordinator_run_id: str, rows: Sequence[EntityRunRow]) -> None:
        """Record the entity runs of a whole load, once: the same call again changes nothing.

        The cost does not depend on the history. Raises JournalError where a row belongs to another load, or where the
        same entity runs have just been recorded with other values.
        """
        if not rows:
            return
        _check(coordinator_run_id, rows)
        table = table_of(rows)
        data = encode([table], SCHEMA)
        path = self._files.run_path(coordinator_run_id, fingerprint(row.entity_run_id for row in rows))
        for _ in range(ATTEMPTS):
            try:
                self._files.lake.put(path, data, if_absent=True)
                return
            except LakeConditionNotMet:
                present = self._files.read_run(path)
            if present is not None:
                _check_same(present, table, path)
                return
            # Folded just now; landing it again is harmless, readers see each entity run once.
        raise JournalError(f"The rows of load {coordinator_run_id} could not be written to {self._files.where}.")

    def read(
        self, coordinator_run_id: str | None = None, *, flow: str | None = None, entity: str | None = None
    ) -> pl.DataFrame:
        """The small files come first and the canonical file last, so that a load that is folded in between is found in
        one of them.
        """
        wanted = {"coordinator_run_id": coordinator_run_id, "flow": flow, "entity": entity}
        only = {column: [value] for column, value in wanted.items() if value is not None}
        files = self._files.list_runs(None if coordinator_run_id is None else [coordinator_run_id])
        recent = rows_in_order(self._files.read_runs(files).values())
        canonical = self._files.look(lambda found: found.read(only))
        return _merged(canonical, recent, only)

    def newest(self, loads: int, *, flow: str | None = None) -> pl.DataFrame:
        """Of a long history only as much is read as it takes; it is in the order in which loads were folded.

        Of the small files only the newest are read, in the order in which loads ended, so that a journal that cannot be
        folded stays readable.
        """
        only = {} if flow is None else {"flow": [flow]}
        files = sorted(self._files.list_runs(), key=lambda entry: (entry.modified, entry.path))
        recent = rows_in_order(self._files.read_runs(files[-max(RECENT_FILES, 2 * loads) :]).values())
        return _merged(self._newest_folded(loads, only), recent, only)

    def visit[T](self, only: Only, take: Callable[[Iterator[pa.Table]], T]) -> T:
        files = self._files.list_runs(only.get("coordinator_run_id"))
        recent = select(rows_in_order(self._files.read_runs(files).values()), _SUMMED_UP)

        def tables(canonical: CanonicalFile) -> Iterator[pa.Table]:
            left = recent.take(matching(recent, only))
            for part in canonical.columns(*_SUMMED_UP):
                left = without(left, [part.column("entity_run_id")])
                yield part.take(matching(part, only))
            yield left

        return self._files.look(lambda canonical: take(tables(canonical)))

    def state(self) -> object:
        return self._files.state()

    def _newest_folded(self, loads: int, only: Only) -> pa.Table:
        """The rows of the newest loads in the canonical file, kept until that is another one."""
        key = (self._files.where, self._files.canonical_etag(), loads, str(only))
        if (kept := _FOLDED.get(key)) is not None:
            return kept
        etag, found = self._files.look(lambda canonical: (canonical.etag, _newest_loads(canonical, loads, only)))
        if etag == key[1]:
            _FOLDED.put(key, found, found.nbytes)
        return found

    def fold(self, *, after_loads: int = FOLD_AFTER_LOADS, only: Collection[str] | None = None) -> int:
        """Move the small files' rows into the canonical file once there are ``after_loads`` of them, and return how
        many were moved.

        ``only`` restricts it to some loads. Of very many files it moves some, the next fold others, and none where the
        canonical file would become too long. No lock is needed: the canonical file is replaced on condition
        that it is what was read, and a small file goes only after its rows are there. Where others are faster ten times
        in a row, the rest is left to them.
        """
        return self._fold(after_loads, only).moved

    def _fold(self, after_loads: int, only: Collection[str] | None = None) -> _Fold:
        for _ in range(ATTEMPTS):
            files = self._files.list_runs(only, at_most=FOLD_FILES_LIMIT)
            if not files or len(files) < after_loads:
                return _Fold(0)
            files = _affordable(files)
            if not self._files.has_room_for(_length(files)):
                return self._full()
            tables = self._files.read_runs(files)
            canonical = self._files.read_canonical()
            added = rows_in_order(tables.values())
            for batch in canonical.columns("entity_run_id"):
                known = pc.is_in(
                    added.column("entity_run_id"), value_set=batch.column("entity_run_id").cast(pa.string())
                )
                added = added.filter(pc.invert(known))
            if added.num_rows:
                try:
                    if not self._files.replace_canonical(canonical, added):
                        return self._full()
                except LakeConditionNotMet:
                    continue  # another writer has folded, or our own response was lost: the next round finds the rows
            for path in tables:
                self._files.lake.delete(path)
            return _Fold(len(tables))
        return _Fold(0)

    def _full(self) -> _Fold:
        _log.warning("%s %s It is in %s.", FULL, FULL_REMEDY, self._files.where)
        return _Fold(0, full=True)

    def is_full(self) -> bool:
        """Whether the canonical file has no room for the loads that wait to be folded. They are listed only where it
        may lack room for as much as one fold moves."""
        if self._files.has_room_for(FOLD_BYTES_LIMIT):
            return False
        return not self._files.has_room_for(_length(_affordable(self._files.list_runs(at_most=FOLD_FILES_LIMIT))))

    def passed_over(self) -> list[str]:
        """What the readings so far have passed over in the journal's folders because it cannot be one of its files: a
        sentence for each entry."""
        return [passed_over_text(path, what) for path, what in self._files.passed_over.items()]

    def _fold_everything(self) -> _Fold:
        moved = 0
        while (last := self._fold(1)).moved:
            moved += last.moved
        return _Fold(moved, last.full)

    def compact(
        self, *, after_loads: int = FOLD_AFTER_LOADS, retention: timedelta | None = None, at_once: bool = False
    ) -> Compaction:
        """Fold what is due, and remove what finished longer ago than ``retention`` whenever something was folded, or
        would have been but for lack of room.

        Due are ``after_loads`` loads, with a retention also fewer that have waited for `FOLD_AFTER`; ``at_once``: all,
        however long it takes.
        """
        folded = self._fold_everything() if at_once else self._fold(after_loads)
        if retention is None:
            return Compaction(folded.moved, 0, folded.full)
        now = self._files.lake.now()
        if folded == _Fold(0) and any(entry.modified < now - FOLD_AFTER for entry in self._files.list_runs()):
            folded = self._fold(1)
        if folded == _Fold(0) and not at_once:
            return Compaction(0, 0)
        retired = self._retire(now - retention)
        again = self._fold_everything() if at_once and folded.full and retired else _Fold(0)
        # What has just become free is for the next fold, where this one has not tried again.
        full = folded.full and (again.full or not retired)
        return Compaction(folded.moved + again.moved, retired, full)

    def retire(self, before: datetime) -> int:
        """Take the oldest loads out of the journal, as far as they finished before a timestamp (with time zone), and
        return how many rows that were.

        Rows leave in the order in which they were folded, whole loads only; `changes_since` reports them as deletes.
        """
        self._fold(1)
        return self._retire(before)

    def _retire(self, before: datetime) -> int:
        limit = before.astimezone(UTC).isoformat()
        for _ in range(ATTEMPTS):
            if not self._files.look(lambda found: _finished_before(found, limit).num_rows):
                return 0
            canonical = self._files.read_canonical()
            retired = _finished_before(canonical, limit)
            if retired.num_rows == 0:
                return 0
            # First the note, then the write: without the write the note has no effect.
            self._files.write_retired(retired)
            first = canonical.first + retired.num_rows
            try:
                done = self._files.replace_canonical(canonical, SCHEMA.empty_table(), first=first)
            except LakeConditionNotMet:
                continue
            return int(retired.num_rows) if done else 0
        return 0

    def changes_since(self, position: Mapping[str, Any] | None) -> Changes:
        """What has happened to the mirrored table `journal` (`rows.SCHEMA`, key ``entity_run_id``) since a position."""
        return journal_changes(self._files, position)

    def load_changes_since(self, position: Mapping[str, Any] | None) -> Changes:
        """The same for the mirrored table `loads` (`summaries.LOADS_SCHEMA`, key ``coordinator_run_id``)."""
        return load_changes(self._files, position)


def _affordable(files: Sequence[PathInfo]) -> list[PathInfo]:
    """As many of the files as a fold may move together, one at least."""
    sizes = accumulate(entry.length for entry in files)
    return [entry for entry, size in zip(files, sizes, strict=True) if size <= FOLD_BYTES_LIMIT] or list(files[:1])


def _length(files: Iterable[PathInfo]) -> int:
    return sum(entry.length for entry in files)


def _newest_loads(canonical: CanonicalFile, loads: int, only: Only) -> pa.Table:
    """The rows of the loads that started last, looked for from the end on: first in few columns, then what they say."""
    names = ("coordinator_run_id", "start_time", *only)
    rows = max(ROW_GROUP_ROWS, loads)
    while True:
        start = max(canonical.first, canonical.end - rows)
        parts = [part.slice(max(0, start - number)) for number, part in canonical.columns_from(start, *names)]
        found = pa.concat_tables([select(SCHEMA.empty_table(), names), *parts])
        found = found.take(matching(found, only))
        if start > canonical.first:
            # The first load may have begun before the rows that were read.
            cut = canonical.value(start, "coordinator_run_id")
            found = found.filter(pc.field("coordinator_run_id") != cut)
        begun = found.group_by("coordinator_run_id").aggregate([("start_time", "min")])
        if start == canonical.first or begun.num_rows >= loads:
            break
        rows *= 4
    newest = begun.sort_by([("start_time_min", "descending"), ("coordinator_run_id", "descending")]).slice(0, loads)
    wanted = [str(load) for load in newest.column("coordinator_run_id").to_pylist()]
    sought = {**only, "coordinator_run_id": wanted}
    picked = [part.take(matching(part, sought)) for _, part in canonical.columns_from(start, *_OF_NEWEST)]
    return pa.concat_tables([select(SCHEMA.empty_table(), _OF_NEWEST), *picked])


def _finished_before(canonical: CanonicalFile, limit: str) -> pa.Table:
    """The rows at the beginning that finished before a time (ISO 8601, UTC), without the load that continues after
    it."""
    retired: list[dict[str, Any]] = []
    survivor = None
    for row in _times(canonical):
        # Times of one offset and form sort as text; retention is counted in days, so the form's tail does not matter.
        if str(row["finish_time"] or row["start_time"] or "") >= limit:
            survivor = row["coordinator_run_id"]
            break
        retired.append({**row, "number": canonical.first + len(retired)})
    while retired and retired[-1]["coordinator_run_id"] == survivor:
        retired.pop()
    return pa.Table.from_pylist(retired, schema=RETIRED_SCHEMA)


def _times(canonical: CanonicalFile) -> Iterator[dict[str, Any]]:
    for part in canonical.columns("entity_run_id", "coordinator_run_id", "start_time", "finish_time"):
        for batch in part.to_batches(max_chunksize=PICKED_ROWS):
            yield from batch.to_pylist()


def _check(coordinator_run_id: str, rows: Sequence[EntityRunRow]) -> None:
    strangers = [row.entity_run_id for row in rows if row.coordinator_run_id != coordinator_run_id]
    if strangers:
        raise JournalError(f"Entity run {strangers[0]} does not belong to load {coordinator_run_id}.")
    if len({row.entity_run_id for row in rows}) < len(rows):
        raise JournalError(f"Load {coordinator_run_id} names an entity run twice.")


def _check_same(present: pa.Table, table: pa.Table, path: str) -> None:
    """Compare what the version that has written ``present`` knew."""
    compared = [name for name in present.column_names if name in SCHEMA.names and name != "schema_version"]
    known: dict[Any, Any] = {row["entity_run_id"]: row for row in conform(present).to_pylist()}
    for row in conform(table).to_pylist():
        found = known[row["entity_run_id"]]
        changed = sorted(name for name in compared if row[name] != found[name])
        if changed:
            raise JournalError(
                f"{path} has entity run {row['entity_run_id']} with other values of {', '.join(changed)}.",
                hint="A load's id is used once; start the load again under a new one.",
            )


def _merged(canonical: pa.Table, recent: pa.Table, only: Only) -> pl.DataFrame:
    """Rows of both kinds of file, each entity run once; ``recent`` still holds more than what is wanted."""
    recent = select(recent, canonical.column_names)
    rows = pl.DataFrame(pa.concat_tables([canonical, recent.take(matching(recent, only))]))
    return rows.unique("entity_run_id", keep="first", maintain_order=True)
