"""Rows that the source has lost, found by their keys alone (docs/deletes.md)."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import polars as pl
import pyarrow as pa

from hygge_engine.flow.digests import (
    COMPARED_ROWS,
    DigestKeeper,
    SnapshotFiles,
    SnapshotUnusable,
    entries_not_in,
    in_order,
    stage_key_hashes,
)
from hygge_engine.flow.lookups import SourceLookup, lookup_parts
from hygge_engine.flow.planner import LoadPlanner
from hygge_engine.flow.reading import Cut, WindowReader
from hygge_engine.homes.base import Home, ListsKeys, Position
from hygge_engine.row_counts import RowCounts
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.state import OpenLoad, StagedFile

# Keys that are taken of a source: twice as many as may have landed. More are not what was asked for.
KEYS_READ_AT_MOST = 2 * COMPARED_ROWS


class NotCompared(Exception):
    """Keys cannot be compared; the text says why, as a clause."""


class KeyComparison:
    """One slice of a comparison: reads keys, looks up those that are missing, and stages the deletes of rows that are
    gone. ``reader`` keeps the slice's time. Raises SnapshotUnusable, NotCompared."""

    def __init__(
        self,
        home: Home,
        destination: Destination[Any],
        lease: TableLease,
        planner: LoadPlanner,
        reader: WindowReader,
        opened: OpenLoad,
    ) -> None:
        if not isinstance(home, ListsKeys):
            raise NotCompared("its source does not list keys")
        self._lists: ListsKeys = home
        self._destination = destination
        self._lease = lease
        self._reader = reader
        self._opened = opened
        self._digests = planner.digests(planner.comparable(), lease.state.key_columns)
        self._lookup = SourceLookup(home, home, self._digests, planner.polish(), opened)
        self._files = SnapshotFiles(destination, self._digests, reader.renew)
        self._schema = planner.comparable()
        self._read: list[pl.Series] = []

    def find_gone(self) -> tuple[list[StagedFile], Cut | None]:
        """Get ahead; the staged deletes, and why the slice ended before the comparison did. What the open load keeps of
        it goes with the next write of the landing state."""
        if not self._opened.all_keys and (cut := self._read_keys()) is not None:
            return [], cut
        snapshot = self._lease.state.true_snapshot
        if snapshot is None:
            raise SnapshotUnusable("it speaks of other rows than those that have landed")
        writer = self._reader.writer(self._opened, self._schema, marked=True)
        keeper = DigestKeeper(self._destination, self._lease, self._digests, self._files, snapshot)
        keys = in_order([*self._files.hashes(self._opened.keys), *self._read])
        deleted = rows = 0
        cut = None
        try:
            for entries in self._files.there(snapshot.files):
                rows += entries.num_rows
                for missing in lookup_parts(entries_not_in(keys, entries)):
                    gone = self._not_found(missing)
                    deleted += gone.num_rows
                    for each in self._digests.deleted(gone):
                        writer.delete(each)
                        keeper.add(self._digests.of_deleted(each))
                    self._reader.renew()
                    if cut := self._reader.cut([]):
                        break
                if cut:
                    break
            digests = keeper.finish()
            files = writer.finish()
        except BaseException:
            keeper.abandon()
            writer.abandon()
            raise
        if cut is Cut.CANCELLED:
            return [], cut
        counting = RowCounts(0, 0, deleted)
        self._lease.stage_changes(digests=tuple(digests), folded=keeper.folded, counting=counting)
        if cut:
            self._stage_keys(all_keys=True)
        else:
            self._say(deleted, rows)
        return files, cut

    def _read_keys(self) -> Cut | None:
        """Read keys on from the open load's position. Why reading stopped before the last one; None where it did
        not."""
        position = self._opened.position
        count = sum(file.rows for file in self._opened.keys)
        with closing(self._lists.read_keys(self._lookup.columns, position)) as batches:
            for batch in batches:
                self._read.append(self._lookup.hashes(batch.rows))
                count += batch.rows.num_rows
                if count > KEYS_READ_AT_MOST:
                    raise NotCompared(f"the source has sent more than {KEYS_READ_AT_MOST:,} keys")
                position = batch.position
                del batch
                if cut := self._reader.cut(position):
                    if cut is Cut.TIME_UP:
                        self._stage_keys(position=position)
                    return cut
                self._reader.renew()
        return None

    def _stage_keys(self, *, position: Position | None = None, all_keys: bool = False) -> None:
        """Let the next slice know the keys that this one has read, and those that it has found."""
        read = pl.concat([pl.Series(dtype=pl.UInt64), *self._read])
        staged = stage_key_hashes(self._destination, self._lease, read) if len(read) else []
        self._lease.stage_changes(keys=(*self._opened.keys, *staged), position=position, all_keys=all_keys)

    def _not_found(self, missing: pa.Table) -> pa.Table:
        """Those of the missing entries whose keys the source does not have, asked for them now."""
        found = self._lookup.find(missing)
        if found is None:
            return missing
        keys = in_order([self._lookup.hashes(found)])
        self._read.append(keys)
        return entries_not_in(keys, missing)

    def _say(self, deleted: int, rows: int) -> None:
        """What the comparison has come to, over all its slices."""
        done = self._lease.adopted_result
        before = self._opened.rows - (done.rows if done is not None else 0)
        self._reader.say(f"keys compared: {before + deleted:,} of {before + rows:,} rows deleted")
