"""The rows of an open load on their way from the source into staged files, for as long as a slice may take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from hygge_engine.errors import LakeError, StoreError
from hygge_engine.flow.difference import cannot_compare_keys
from hygge_engine.flow.digests import (
    DigestKeeper,
    Digests,
    SnapshotFiles,
    SnapshotUnusable,
    entries_not_in,
    hashes_of_keys,
    in_order,
    is_among,
    is_of_other_hashes,
    stage_key_hashes,
)
from hygge_engine.flow.gate import ExpectationGate
from hygge_engine.flow.identity import Identity
from hygge_engine.flow.lookups import SourceLookup
from hygge_engine.flow.marking import marking
from hygge_engine.flow.planner import LoadPlanner, spelling_of, window_of
from hygge_engine.flow.pruning import NotPruned, OldVersions, is_due
from hygge_engine.flow.reach import earned_watermark, knows_largest
from hygge_engine.flow.slices import SliceObserver
from hygge_engine.flow.steps import (
    CheckExpectations,
    CheckIdentity,
    CountRows,
    KeepDigests,
    LeaveOutKnown,
    LeaveOutLanded,
    LeaveOutUnchanged,
    NoteBoundary,
    NoteReached,
    PolishRows,
    StageRows,
    Step,
    TellApart,
)
from hygge_engine.flow.versions import Operation, VersionWriter
from hygge_engine.homes.base import Batch, Home, ListsKeys, Position, Remarks, SourceSchema
from hygge_engine.plain_text import counted
from hygge_engine.polish.polish import LoadStamp, Polish
from hygge_engine.project.models.settings import FILE_MODIFIED
from hygge_engine.row_counts import RowCounts
from hygge_engine.stopping import Stopped, is_overdue
from hygge_engine.stores.base import Destination, RowWriter
from hygge_engine.stores.landing.lease import RENEWAL_SECONDS, TableLease
from hygge_engine.stores.landing.state import OpenLoad, StagedFile
from hygge_engine.watermark import Boundary, Watermark
from hygge_engine.watermark.rows import BoundaryRows, LargestRead


class Cut(Enum):
    """Why reading stopped before the end of the window."""

    TIME_UP = "continue"
    CANCELLED = "cancelled"


class StagedRows(NamedTuple):
    """What a slice has read: its files, the position after the last row, and why reading stopped before the end; and
    the files of deletes that a difference ends with."""

    files: list[StagedFile]
    position: Position | None
    cut: Cut | None
    deletes: Sequence[StagedFile] = ()


class WindowReader:
    """Reads the window of an open load in one slice, which ends after ``seconds``. ``notes`` are what its steps have
    to say in the journal. ``whole``: its end is the load's; that of one range is not."""

    def __init__(
        self,
        home: Home,
        destination: Destination[Any],
        lease: TableLease,
        planner: LoadPlanner,
        gate: ExpectationGate,
        watch: SliceObserver,
        seconds: float,
        *,
        whole: bool = True,
    ) -> None:
        self._whole = whole
        self._home = home
        self._destination = destination
        self._lease = lease
        self._planner = planner
        self._gate = gate
        self._watch = watch
        self._deadline = time.monotonic() + seconds
        self._renewed = time.monotonic()
        self.notes: list[str] = []

    def read(self, opened: OpenLoad) -> StagedRows:
        """Stage the window's rows from the open load's position on."""
        landed = self._planner.landed()
        steps = self._steps(opened, landed)
        self._renewed = time.monotonic()
        keeping = self._keeping(opened, landed)
        writer = self.writer(opened, landed.schema, marked=self._are_marked(opened))
        try:
            is_told = opened.adds or opened.difference or self._planner.keeps_versions
            telling = [] if is_told else [TellApart()]
            steps += [*keeping, *telling, StageRows(writer), self._counting(opened)]
            position, cut = self._send(opened, steps)
            if cut is None:
                cut = self._read_missing(opened, steps, keeping, position)
            if cut is Cut.CANCELLED and position is None:
                _abandon(writer, *keeping)
                return StagedRows([], None, cut)
            self._finish(steps, opened, last=cut is None and self._whole)
            deletes = [file for step in keeping if isinstance(step, LeaveOutUnchanged) for file in step.deletes]
            files = writer.finish()
            if cut is None and self._planner.retention is not None:
                deletes += self._prune(opened, landed, self._planner.retention)
            return StagedRows(files, position, cut, deletes)
        except BaseException:
            _abandon(writer, *keeping)
            raise

    def _prune(self, opened: OpenLoad, landed: SourceSchema, kept: timedelta) -> Sequence[StagedFile]:
        """Stage the removal of old versions, where that is due and can be done now; else it is left to a later load."""
        started = datetime.fromisoformat(opened.started)
        if opened.adds or not is_due(self._lease.state, started):
            return []
        digests = self._planner.digests(landed.schema, self._lease.state.key_columns)
        writer = self._destination.writer(self._lease, landed.schema, marked=True)
        cutoff, count = started - kept, 0
        try:
            old = OldVersions(self._destination.read_back(), landed.schema, digests, cutoff, self._go_on)
            for rows in old.rows():
                writer.delete(rows)
                count += rows.num_rows
            files = writer.finish()
        except (NotPruned, StoreError, LakeError) as error:
            writer.abandon()
            self.say(f"versions from before {cutoff:%Y-%m-%d} stay for now: {error}")
            return []
        except BaseException:
            writer.abandon()
            raise
        self._lease.note_pruned(opened.started)
        if count and (now := self._lease.open) is not None:
            self._lease.stage_changes(counting=now.counting + RowCounts(0, 0, count))
            self.say(f"{counted(count, 'version')} from before {cutoff:%Y-%m-%d} removed")
        return files

    def _go_on(self) -> None:
        """Raise NotPruned where the slice has to end."""
        self.renew()
        if self.cut([]):
            raise NotPruned("there was no time left")

    def say(self, text: str) -> None:
        """Let the journal's message of the load end with a text."""
        if (now := self._lease.open) is not None:
            self._lease.stage_changes(message="; ".join(filter(None, (now.message, text))))

    def _keeping(self, opened: OpenLoad, landed: SourceSchema) -> list[KeepDigests]:
        """The step that keeps digests of what lands, and of a difference leaves out what has landed; none where none
        are kept. Raises SnapshotUnusable."""
        if not opened.made_of:
            return []
        digests = self._planner.digests(landed.schema, self._lease.state.key_columns)
        snapshot = self._lease.state.true_snapshot
        if digests.made_of != opened.made_of:
            if opened.difference or self._planner.keeps_versions:
                raise SnapshotUnusable("the version of hygge-engine has changed since the load began")
            self._lease.stage_changes(made_of="", digests=())
            return []
        files = SnapshotFiles(self._destination, digests, self.renew)
        if self._planner.keeps_versions and (opened.mode == "changes" or opened.difference):
            return [self._telling_versions(opened, landed, digests, files)]
        before = None if opened.mode == "reload" else snapshot
        keeper = DigestKeeper(self._destination, self._lease, digests, files, before)
        if not opened.difference:
            return [KeepDigests(digests, keeper, opened.digests)]
        if snapshot is None:
            raise SnapshotUnusable("it speaks of other rows than those that have landed")
        known, keys = files.rows_there(snapshot.files)
        writer = self.writer(opened, landed.schema, marked=True)
        upserts = sum(file.rows for file in opened.staged)
        return [LeaveOutUnchanged(digests, keeper, opened.digests, files, snapshot.files, known, keys, writer, upserts)]

    def _telling_versions(
        self, opened: OpenLoad, landed: SourceSchema, digests: Digests, files: SnapshotFiles
    ) -> KeepDigests:
        """The step that leaves out what is no version of a row but the one that has landed last. Raises
        SnapshotUnusable."""
        snapshot = self._lease.state.true_snapshot
        if not opened.difference:
            if snapshot is None or snapshot.made_of != digests.made_of:
                raise SnapshotUnusable("it speaks of other rows than those that have landed")
            rows, keys, count = files.known(snapshot.files)
            keeper = DigestKeeper(self._destination, self._lease, digests, files, snapshot, there=count)
            return LeaveOutKnown(digests, keeper, opened.digests, rows, keys)
        # Keys are known also where rows are not, because they have other columns now.
        there = () if snapshot is None or is_of_other_hashes(snapshot, digests) else snapshot.files
        rows, sum_of_keys = files.rows_there(there)
        known = None if self._is_baseline(opened) else rows
        keeper = DigestKeeper(self._destination, self._lease, digests, files, None)
        writer, upserts = self.writer(opened, landed.schema, marked=True), sum(file.rows for file in opened.staged)
        return LeaveOutUnchanged(digests, keeper, opened.digests, files, there, known, sum_of_keys, writer, upserts)

    def _is_baseline(self, opened: OpenLoad) -> bool:
        """Whether a load of versions does not know which rows have landed."""
        snapshot = self._lease.state.true_snapshot
        if opened.mode == "changes":
            return False
        return not opened.difference or snapshot is None or snapshot.made_of != opened.made_of

    def _read_missing(
        self, opened: OpenLoad, steps: Sequence[Step], keeping: Sequence[KeepDigests], position: Position | None
    ) -> Cut | None:
        """Look up what a difference misses, and send the rows that are there through the steps as well: a scan may pass
        over rows that move meanwhile. Why the slice ended before all were looked up; the next one goes on then."""
        unchanged = next((step for step in keeping if isinstance(step, LeaveOutUnchanged)), None)
        polish, home = self._planner.polish(), self._home
        if unchanged is None or not isinstance(home, ListsKeys):
            return None
        digests = unchanged.digests
        if cannot_compare_keys(self._destination, polish, digests.key):
            return None
        lookup = SourceLookup(home, home, digests, polish, opened)
        columns = [column.name for column in polish.source.columns]
        gone: list[pl.Series] = []
        cut = None
        for missing in unchanged.missing(opened.keys):
            found = lookup.find(missing, columns)
            if found is None:
                break
            # To the source a key may be one with another that has been read.
            found = found.filter(is_among(hashes_of_keys(missing), lookup.hashes(found)))
            if found.num_rows:
                _through(steps, Batch(found, position))
                unchanged.note_passed_over(found.num_rows)
            gone.append(hashes_of_keys(entries_not_in(in_order([lookup.hashes(found)]), missing)))
            self.renew()
            if cut := self.cut(position):
                break
        if cut is Cut.TIME_UP and gone:
            staged = stage_key_hashes(self._destination, self._lease, pl.concat(gone))
            self._lease.stage_changes(keys=(*opened.keys, *staged))
        return cut

    def writer(self, opened: OpenLoad, schema: pa.Schema, *, marked: bool) -> RowWriter:
        """Where rows of an open load are staged, as versions where these are kept."""
        writer = marking(self._destination.writer(self._lease, schema, marked=marked), opened)
        if not self._planner.keeps_versions:
            return writer
        operation: Operation = "baseline" if self._is_baseline(opened) else "upsert"
        # The number of the next file: rows that are visible have lower ones. A new table's files are numbered from 1.
        begins = opened.mode == "reload" and not opened.difference
        version = 1 if begins else self._lease.state.next_sequence
        return VersionWriter(writer, version, datetime.fromisoformat(opened.started), operation)

    def _steps(self, opened: OpenLoad, landed: SourceSchema) -> list[Step]:
        """What happens to each batch before it is staged, in this order."""
        polish = self._planner.polish()
        steps: list[Step] = []
        if knows_largest(opened) and opened.upper is not None:
            (cursor,) = spelling_of(polish.source, [opened.upper.column], "watermark")
            before = opened.seen or (opened.boundary.value if opened.boundary else None)
            steps.append(NoteReached(LargestRead(cursor, opened.upper, before)))
        boundary = self._boundary(opened, polish.source)
        if boundary is not None:
            landed_there = self._landed_where_it_begins(opened)
            if landed_there is not None:
                steps.append(LeaveOutLanded(boundary.cursor, landed_there))
            steps.append(NoteBoundary(boundary))
        stamp = LoadStamp(opened.load_id, datetime.fromisoformat(opened.started))
        steps.append(PolishRows(polish, stamp, [column.name for column in landed.columns]))
        steps.append(CheckIdentity(self._identity(opened, polish)))
        monitor = self._gate.begin(opened)
        if monitor is not None:
            judge = self._gate.judge
            steps.append(CheckExpectations(monitor, lambda last: judge(monitor, opened, last=last)))
        return steps

    def _are_marked(self, opened: OpenLoad) -> bool:
        """Whether rows say that they replace those of their key: changes do, and the first rows of a source that may
        hold several versions of a row, where the destination would keep all of these otherwise."""
        may_repeat = self._planner.describe().resumes_without_key and bool(self._lease.state.key_columns)
        is_change = opened.mode == "changes" or opened.difference
        return is_change or (may_repeat and self._destination.merges_marked_alone)

    def _identity(self, opened: OpenLoad, polish: Polish) -> Identity:
        continued = opened.position is not None
        key, merges = self._lease.state.key_columns, self._destination.merges
        return Identity(polish, key, merges=merges, before=opened.merged, continued=continued)

    def _counting(self, opened: OpenLoad) -> CountRows:
        rows = opened.rows + sum(file.rows for file in opened.staged)
        bytes_ = opened.bytes + sum(file.length for file in opened.staged)
        return CountRows(rows, bytes_, self._watch.progress)

    def _send(self, opened: OpenLoad, steps: Sequence[Step]) -> tuple[Position | None, Cut | None]:
        """Send each batch of the window through the steps. Returns the position after the last one, and why reading
        stopped before the end of the window; None where it did not."""
        position = opened.position
        window = window_of(opened, self._lease.state, self._planner.polish())
        try:
            with closing(self._home.read(window, position)) as batches:
                for batch in batches:
                    position = _through(steps, batch)
                    if cut := self.cut(position):
                        return position, cut
                    self.renew()
                    del batch  # or it would still be held while the next one is read
        except Stopped:
            if not self._watch.cancelled():
                raise
            return position, Cut.CANCELLED
        return position, None

    def cut(self, position: Position | None) -> Cut | None:
        """Whether to stop between two batches, and why."""
        if self._watch.cancelled():
            return Cut.CANCELLED
        # A table without a key cannot be resumed: it has to come to its end in this slice.
        if position is not None and (time.monotonic() > self._deadline or is_overdue()):
            return Cut.TIME_UP
        if is_overdue():
            raise Stopped
        return None

    def renew(self) -> None:
        """Say now and then that the attempt is alive."""
        if time.monotonic() - self._renewed > RENEWAL_SECONDS:
            self._lease.renew()
            self._renewed = time.monotonic()

    def _finish(self, steps: Sequence[Step], opened: OpenLoad, *, last: bool) -> None:
        """End the steps, and record with the next write of the landing state what they have found, and after the last
        row how far that is, and what the load says of it, which a later slice may report: nothing of it where one of
        them raises."""
        found: dict[str, Any] = {}
        notes: list[str] = []
        for step in steps:
            found |= step.finish(last=last)
            notes += step.notes
        kept: list[str] = []
        (kept if self._whole else notes).extend(self._met(opened))  # a range keeps its notes itself
        if last and self._lease.owns_open:
            kept += notes
        else:
            self.notes += notes
        if kept:
            found["message"] = "; ".join(filter(None, (opened.message, *kept)))
        if last:
            before = None if opened.mode == "reload" else self._lease.state.watermark
            found |= earned(self._home, replace(opened, **found), before)
        self._lease.stage_changes(**found)

    def _met(self, opened: OpenLoad) -> list[str]:
        """What the home has met with while it read, without what an earlier slice has said already."""
        remarks = self._home.remarks() if isinstance(self._home, Remarks) else ()
        return [remark for remark in remarks if remark not in opened.message]

    def _boundary(self, opened: OpenLoad, source: SourceSchema) -> BoundaryRows | None:
        """What gathers the rows at the watermark; None where there is none, or where they cannot be distinguished.

        Text is compared by the source's collation, which Arrow does not know: the rows at the upper bound itself are
        gathered.
        """
        if opened.upper is None or opened.upper.type not in ("datetime", "int", "string") or not source.key:
            return None
        if opened.backfill or (opened.unbounded and not opened.difference):
            return None
        if opened.upper.column == FILE_MODIFIED:  # the home knows its files by name
            return None
        (cursor,) = spelling_of(source, [opened.upper.column], "watermark")
        at = opened.upper.value if opened.upper.type == "string" else None
        upto = opened.upper if opened.unbounded else None
        return BoundaryRows(cursor, opened.boundary or self._landed_where_it_begins(opened), at, upto)

    def _landed_where_it_begins(self, opened: OpenLoad) -> Boundary | None:
        """What is known of the rows at the committed watermark; None where reading does not begin with them, but
        behind them, or with others that a lag goes back to."""
        mark = self._lease.state.watermark
        if mark is None or not opened.lower_inclusive or mark.value != opened.lower:
            return None
        return mark.boundary


def earned(home: Home, opened: OpenLoad, before: Watermark | None) -> dict[str, Any]:
    """What the end of reading changes of an open load: how far the watermark moves (`earned_watermark`)."""
    upper = earned_watermark(home, opened, opened.seen, before)
    return {} if upper is None else {"upper": upper, "boundary": upper.boundary}


def _abandon(*staging: RowWriter | KeepDigests) -> None:
    """Drop what was staged; never raises."""
    for each in staging:
        each.abandon()


def _through(steps: Iterable[Step], batch: Batch) -> Position | None:
    """Send a batch through the steps. Returns the position after its last row."""
    for step in steps:
        batch = step.take(batch)
    return batch.position
