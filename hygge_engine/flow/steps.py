"""The steps that each batch of a slice travels through, from the source's rows to staged ones.

A step changes batches, checks them, or consumes them. None calls another, but the order counts: those from
`CheckIdentity` on see rows as they land, those before `PolishRows` rows as the source has them. A new one is a class
here, and a line at its place in `reading.WindowReader._steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow as pa

from hygge_engine.errors import KeyUnusable
from hygge_engine.expectations.checks import ExpectationMonitor
from hygge_engine.flow.digests import (
    DigestKeeper,
    Digests,
    KeySum,
    KnownHashes,
    SnapshotFiles,
    entries_not_in,
    hashes_of_keys,
    in_order,
    is_new,
    is_there,
    rows_not_in,
    rows_of,
)
from hygge_engine.flow.identity import UNIQUE_HINT, Identity
from hygge_engine.flow.lookups import lookup_parts
from hygge_engine.homes.base import Batch
from hygge_engine.plain_text import HAS, counted
from hygge_engine.polish.polish import LoadStamp, Polish
from hygge_engine.row_counts import NOTHING_LANDED, RowCounts
from hygge_engine.stores.base import RowWriter
from hygge_engine.stores.landing.state import ExpectationResult, StagedFile
from hygge_engine.watermark import Boundary
from hygge_engine.watermark.rows import BoundaryRows, LargestRead, without_landed


class Step:
    """One step. Not thread-safe: one slice, one thread. A step holds no batch longer than it works on it."""

    def take(self, batch: Batch) -> Batch:
        """Return the batch as it travels on."""
        return batch

    def finish(self, *, last: bool) -> dict[str, Any]:
        """Return what the open load keeps of the slice, by its fields, after the last batch.

        ``last``: nothing is left of the window. Raises what is wrong with the rows, before any of them is visible.
        """
        return {}

    @property
    def notes(self) -> Sequence[str]:
        """What the journal should say of the slice, once it has finished."""
        return ()


class LeaveOutLanded(Step):
    """Leaves out the rows at the watermark that have landed as they are."""

    def __init__(self, cursor: str, landed: Boundary) -> None:
        self._cursor = cursor
        self._landed = landed

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        return replace(batch, rows=without_landed(batch.rows, self._cursor, self._landed))


class NoteReached(Step):
    """Keeps how far the rows themselves go: those at the upper bound may have been rolled back."""

    def __init__(self, largest: LargestRead) -> None:
        self._largest = largest

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        self._largest.add(batch.rows)
        return batch

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        return {"seen": self._largest.value}


class NoteBoundary(Step):
    """Keeps which rows lie at the highest value of the cursor, as the source has them."""

    def __init__(self, boundary: BoundaryRows) -> None:
        self._boundary = boundary

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        self._boundary.add(batch.rows)
        return batch

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        boundary = self._boundary.boundary
        return {} if boundary is None else {"boundary": boundary}


class PolishRows(Step):
    """Makes of the source's rows those that land, of the columns ``names`` alone; of deleted rows likewise."""

    def __init__(self, polish: Polish, stamp: LoadStamp, names: Sequence[str]) -> None:
        self._polish = polish
        self._stamp = stamp
        self._names = list(names)

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        deleted = None if batch.deleted is None else self._polished(batch.deleted)
        return replace(batch, rows=self._polished(batch.rows), deleted=deleted)

    def _polished(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return self._polish.apply(rows, self._stamp).select(self._names)


class CheckIdentity(Step):
    """Checks that the key is unique. Raises KeyUnusable at the end where it is not."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        self._identity.add(batch.rows)
        return batch

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        self._identity.judge()
        return {"merged": self._identity.merged}

    @property
    def notes(self) -> Sequence[str]:
        """See `Step.notes`."""
        return self._identity.notes


class CheckExpectations(Step):
    """Checks rows against what is expected of them. ``judge`` returns at the end what has been found, or raises
    ExpectationFailed; its argument says whether nothing is left of the window."""

    def __init__(self, monitor: ExpectationMonitor, judge: Callable[[bool], ExpectationResult]) -> None:
        self._monitor = monitor
        self._judge = judge

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        self._monitor.add(batch.rows)
        return batch

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        return {"checked": self._judge(last)}

    @property
    def notes(self) -> Sequence[str]:
        """See `Step.notes`."""
        return self._monitor.notes


class KeepDigests(Step):
    """Keeps digests of rows as they land; ``before`` are the files of the load's slices before."""

    def __init__(self, digests: Digests, keeper: DigestKeeper, before: Sequence[StagedFile] = ()) -> None:
        self.digests = digests
        self._keeper = keeper
        self._before = tuple(before)

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        self._keeper.add(self.digests.of(batch.rows))
        if batch.deleted is not None:
            self._keeper.add(self.digests.of_deleted(batch.deleted))
        return batch

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        files = self._keeper.finish()
        return {"digests": (*self._before, *files), "folded": self._keeper.folded}

    def abandon(self) -> None:
        """Drop what was staged; never raises."""
        self._keeper.abandon()


class LeaveOutKnown(KeepDigests):
    """Leaves out rows that have landed as they are, and deletes of rows that are not there, and counts what the others
    are; ``known`` are the hashes of the rows that are there, ``keys`` those of their keys."""

    def __init__(
        self,
        digests: Digests,
        keeper: DigestKeeper,
        before: Sequence[StagedFile],
        known: KnownHashes,
        keys: KnownHashes,
    ) -> None:
        super().__init__(digests, keeper, before)
        self._known = known
        self._keys = keys
        self._counts = replace(NOTHING_LANDED, unchanged=0)

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        entries = self.digests.of(batch.rows)
        fresh = is_new(self._known, entries)
        entries, rows, deleted = entries.filter(fresh), batch.rows.filter(fresh), batch.deleted
        self._keeper.add(entries)
        if deleted is not None:
            gone = self.digests.of_deleted(deleted)
            there = is_there(self._keys, gone)
            self._keeper.add(gone.filter(there))
            deleted = deleted.filter(there)
        updated = entries.filter(is_there(self._keys, entries)).num_rows
        unchanged, gone_rows = batch.rows.num_rows - rows.num_rows, deleted.num_rows if deleted is not None else 0
        self._counts += RowCounts(rows.num_rows - updated, updated, gone_rows, unchanged)
        return replace(batch, rows=rows, deleted=deleted)

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        return super().finish(last=last) | {"counting": self._counts}


class LeaveOutUnchanged(KeepDigests):
    """Leaves out rows that have landed as they are, and after the last row stages those that are gone as deletes, with
    ``writer``: ``deletes`` are its files then. ``landed`` are the files of the snapshot, ``known`` the hashes of its
    rows, ``keys`` what their keys come to, ``upserts`` how many rows the slices before have staged."""

    def __init__(
        self,
        digests: Digests,
        keeper: DigestKeeper,
        before: Sequence[StagedFile],
        files: SnapshotFiles,
        landed: Sequence[StagedFile],
        known: KnownHashes | None,
        keys: KeySum,
        writer: RowWriter,
        upserts: int,
    ) -> None:
        super().__init__(digests, keeper, before)
        self._files = files
        self._landed = landed
        self._known = known
        self._keys = keys
        self._read = KeySum()
        self._read_keys: list[pl.Series] = []
        self._writer = writer
        self._upserts = upserts
        self._passed_over = 0
        self.deletes: list[StagedFile] = []
        self._note = ""

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        entries = self.digests.of(batch.rows)
        self._keeper.add(entries)
        self._read.add(entries)
        self._read_keys.append(hashes_of_keys(entries))
        rows = rows_not_in(self._known, batch.rows, entries) if self._known is not None else batch.rows
        self._upserts += rows.num_rows
        return replace(batch, rows=rows)

    def missing(self, looked_up: Sequence[StagedFile]) -> Iterator[pa.Table]:
        """The digests of rows that have landed and that reading has not come upon, without those whose keys an earlier
        slice has ``looked_up``, in parts for one statement each. The rows that are read after a part has been returned
        are compared with that part alone."""
        if not self._may_miss:
            return
        is_baseline, self._known = self._known is None, None  # the keys need the room
        keys = in_order([self._files.keys_of(self._before), *self._files.hashes(looked_up), *self._read_keys])
        for entries in self._landed_without(keys):
            for part in lookup_parts(entries):
                self._known = None if is_baseline else rows_of(part)
                yield part

    def note_passed_over(self, rows: int) -> None:
        """Let the journal know of rows that reading had not come upon, and that are there."""
        self._passed_over += rows

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        found = super().finish(last=last)
        self._known = None  # the keys need the room
        self._read_keys.clear()
        if last:
            found["counting"] = self._stage_deletes(found["digests"])
        else:
            self._writer.abandon()  # or its thread would wait for deletes, which the last slice alone has
        return found

    def abandon(self) -> None:
        """See `KeepDigests.abandon`."""
        super().abandon()
        self._writer.abandon()

    @property
    def notes(self) -> Sequence[str]:
        """See `Step.notes`."""
        passed_over = counted(self._passed_over, "row") + " that reading had passed over, found by the key"
        return [*filter(None, [self._note]), *([passed_over] if self._passed_over else [])]

    @property
    def _may_miss(self) -> bool:
        """Whether rows may have landed that reading has not come upon. Of slices before, files alone have the keys."""
        return bool(self._before) or self._read != self._keys

    def _landed_without(self, keys: pl.Series) -> Iterator[pa.Table]:
        """The digests of the rows that have landed, file by file, without those of these keys."""
        for entries in self._files.there(self._landed):
            yield entries_not_in(keys, entries)

    def _stage_deletes(self, files: Sequence[StagedFile]) -> RowCounts:
        if self._may_miss:
            keys = self._files.keys_of(files)
            if repeats := len(keys) - keys.n_unique():
                # Only one of them would be known, and the others look changed.
                raise KeyUnusable(
                    f"{counted(repeats, 'row', verb=HAS)} the same key ({', '.join(self.digests.key)}) as another one",
                    hint=UNIQUE_HINT,
                )
            for entries in self._landed_without(keys):
                for rows in self.digests.deleted(entries):
                    self._writer.delete(rows)
        self.deletes = self._writer.finish()
        read, deletes = sum(file.rows for file in files), sum(file.rows for file in self.deletes)
        unchanged, inserted = read - self._upserts, read - (self._keys.count - deletes)
        self._note = (
            f"reloaded by difference: {self._upserts:,} new or changed, {deletes:,} deleted, {unchanged:,} unchanged"
        )
        return RowCounts(inserted, self._upserts - inserted, deletes, unchanged)


class TellApart(Step):
    """Counts what the rows of a slice are to the table, as far as their source says so."""

    def __init__(self) -> None:
        self._counts = NOTHING_LANDED

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        inserted = batch.inserted if batch.rows.num_rows else 0
        updated = None if inserted is None else batch.rows.num_rows - inserted
        self._counts += RowCounts(inserted, updated, 0 if batch.deleted is None else batch.deleted.num_rows)
        return batch

    def finish(self, *, last: bool) -> dict[str, Any]:
        """See `Step.finish`."""
        return {"counting": self._counts}


class StageRows(Step):
    """Hands rows, and deleted ones, to the destination's writer."""

    def __init__(self, writer: RowWriter) -> None:
        self._writer = writer

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        self._writer.write(batch.rows)
        if batch.deleted is not None:
            self._writer.delete(batch.deleted)
        return batch


class CountRows(Step):
    """Reports to ``progress`` after each batch how many rows and bytes of the entity run there are; ``rows`` and
    ``bytes_`` are those of its slices before."""

    def __init__(self, rows: int, bytes_: int, progress: Callable[[int, int], None]) -> None:
        self._rows = rows
        self._bytes = bytes_
        self._progress = progress

    def take(self, batch: Batch) -> Batch:
        """See `Step.take`."""
        self._rows += batch.rows.num_rows + (0 if batch.deleted is None else batch.deleted.num_rows)
        self._bytes += batch.rows.nbytes
        self._progress(self._rows, self._bytes)
        return batch
