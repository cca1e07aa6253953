"""Which versions of rows leave a history, where its settings say how long they are kept (docs/history.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.flow.digests import COMPARED_ROWS, Digests
from hygge_engine.polish.versions import OPERATION, VALID_FROM, VERSION
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.landing.state import LandingState

# How often a history is looked through; a little less than a day, so that a daily load does not miss it by seconds.
_EVERY = timedelta(hours=23)

# Versions that are gathered before they are told from one another.
_GATHERED = 500_000

_NEWEST = {"key": pl.UInt64, "version": pl.Int64}


class NotPruned(Exception):
    """Old versions stay for now; the text says why, as a clause."""


def is_due(state: LandingState, now: datetime) -> bool:
    """Whether a history that has landed is to be looked through for old versions."""
    if not state.has_history:
        return False
    return not state.pruned_at or abs(now - datetime.fromisoformat(state.pruned_at)) >= _EVERY


class OldVersions:
    """The versions of a history, as its readers see it, that tell nothing of any time from ``cutoff`` on: those that
    were followed by another one before, and the last ones before of rows that were gone by then.

    ``landed`` is the schema of the history's rows. ``alive`` is called now and then, and may raise NotPruned.
    """

    def __init__(
        self, table: ReadBack, landed: pa.Schema, digests: Digests, cutoff: datetime, alive: Callable[[], None]
    ) -> None:
        self._table = table
        self._landed = landed
        self._digests = digests
        self._cutoff = pa.scalar(cutoff, pa.timestamp("us", tz="UTC"))
        self._alive = alive
        names = (*digests.key, VERSION, VALID_FROM, OPERATION)
        self._schema = pa.schema([landed.field(name) for name in names])

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Rows of the landed schema, of which only the history's key is filled. Raises NotPruned, StoreError,
        LakeError."""
        newest = self._newest()
        for batch in self._before():
            found = self._numbered(batch).join(newest, on="key", how="left", maintain_order="left")
            is_old = (found["version"] < found["version_right"]).to_arrow()
            is_gone = pc.equal(batch.column(OPERATION), pa.scalar("delete"))
            old = batch.filter(pc.or_(is_old, is_gone))
            filled = (*self._digests.key, VERSION)
            columns = [
                old.column(field.name) if field.name in filled else pa.nulls(old.num_rows, field.type)
                for field in self._landed
            ]
            if old.num_rows:
                yield pa.RecordBatch.from_arrays(columns, schema=self._landed)

    def _newest(self) -> pl.DataFrame:
        """The number of each row's last version before the cutoff."""
        newest, gathered, count = pl.DataFrame(schema=_NEWEST), list[pl.DataFrame](), 0
        for batch in self._before():
            gathered.append(self._numbered(batch))
            count += batch.num_rows
            if count >= _GATHERED:
                newest, count = _last_of([newest, *gathered]), 0
                gathered.clear()
        return _last_of([newest, *gathered])

    def _before(self) -> Iterator[pa.RecordBatch]:
        for batch in self._table.read(self._schema.names):
            self._alive()
            if batch.schema.names != self._schema.names:
                raise NotPruned("the table has not all of the history's columns yet")
            try:
                columns = [column.cast(field.type) for field, column in zip(self._schema, batch.columns, strict=True)]
            except pa.ArrowException as error:
                raise NotPruned(f"its key is read back as something else: {error}") from error
            rows = pa.RecordBatch.from_arrays(columns, schema=self._schema)
            yield rows.filter(pc.less(rows.column(VALID_FROM), self._cutoff))

    def _numbered(self, batch: pa.RecordBatch) -> pl.DataFrame:
        versions = pl.Series("version", batch.column(VERSION).to_pylist(), dtype=pl.Int64)
        return pl.DataFrame([self._digests.key_hashes(batch).alias("key"), versions])


def _last_of(frames: list[pl.DataFrame]) -> pl.DataFrame:
    newest = pl.concat(frames).group_by("key").agg(pl.col("version").max())
    if len(newest) > COMPARED_ROWS:
        raise NotPruned(f"it has versions of more than {COMPARED_ROWS:,} rows")
    return newest
