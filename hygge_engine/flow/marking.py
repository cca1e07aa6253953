"""Rows that the source has deleted, marked as such instead (docs/deletes.md)."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from hygge_engine.polish.polish import filled
from hygge_engine.stores.base import RowWriter
from hygge_engine.stores.landing.state import OpenLoad, StagedFile


def marking(writer: RowWriter, opened: OpenLoad) -> RowWriter:
    """What stages the rows of an open load, deleted ones with their mark where it marks them."""
    return _MarkWriter(writer, opened.marks, datetime.fromisoformat(opened.started)) if opened.marks else writer


class _MarkWriter:
    """Stages deleted rows with the time of their load in the column ``name``. A `RowWriter`."""

    def __init__(self, writer: RowWriter, name: str, at: datetime) -> None:
        self._writer = writer
        self._name = name
        self._at = at

    def write(self, batch: pa.RecordBatch) -> None:
        """See `RowWriter.write`."""
        self._writer.write(batch)

    def delete(self, rows: pa.RecordBatch) -> None:
        """See `RowWriter.delete`."""
        self._writer.delete(filled(rows, {self._name: self._at}))

    def finish(self) -> list[StagedFile]:
        """See `RowWriter.finish`."""
        return self._writer.finish()

    def abandon(self) -> None:
        """See `RowWriter.abandon`."""
        self._writer.abandon()
