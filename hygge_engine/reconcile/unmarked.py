"""A table without the rows that are marked as deleted (docs/deletes.md)."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.landing.state import LandingState


class UnmarkedRows(ReadBack):
    """What readers of a table see whose ``mark`` is empty."""

    def __init__(self, rows: ReadBack, mark: str) -> None:
        self._rows = rows
        self._mark = mark
        self.keeps_versions = rows.keeps_versions
        self.floats = rows.floats

    def count(self) -> int:
        """See `ReadBack.count`; reads the marks of all rows."""
        return sum(batch.column(0).null_count if batch.num_columns else 0 for batch in self._rows.read([self._mark]))

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        """See `ReadBack.read`."""
        for batch in self._rows.read([*columns, self._mark]):
            if self._mark not in batch.schema.names:
                yield batch
                continue
            there = batch.filter(pc.is_null(batch.column(self._mark)))
            yield there.select([name for name in there.schema.names if name != self._mark])

    def version(self) -> str:
        """See `ReadBack.version`."""
        return self._rows.version()

    def pending(self, landed: LandingState) -> str:
        """See `ReadBack.pending`."""
        return self._rows.pending(landed)
