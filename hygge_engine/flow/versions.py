"""Each version of a row as a row of its own, where ``history: versions`` asks for that (docs/history.md)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from hygge_engine.polish.marks import with_mark
from hygge_engine.polish.plan import polish_of
from hygge_engine.polish.polish import filled
from hygge_engine.polish.versions import OPERATION, VALID_FROM, VERSION, with_versions
from hygge_engine.stores.base import RowWriter
from hygge_engine.stores.landing.state import LandingState, StagedFile

if TYPE_CHECKING:
    from hygge_engine.homes.base import SourceSchema
    from hygge_engine.polish.polish import Polish
    from hygge_engine.project import Entity

# baseline: a row as it was found, where it is unknown what landed last. upsert: one that is new or has changed.
# delete: one that is gone; of its columns only the key is filled.
Operation = Literal["baseline", "upsert", "delete"]


def polish_for(source: SourceSchema, entity: Entity) -> Polish:
    """How the source of an entity lands. Raises ConfigurationError where the settings do not fit it."""
    polish = polish_of(source, entity.polish)
    if entity.deletes.mark:
        polish = with_mark(polish, entity.deletes.column)
    return with_versions(polish) if entity.history_of else polish


def holds_versions(state: LandingState) -> bool:
    """Whether the rows that have landed are versions, by their key and columns: those of a history, or of its copy."""
    has_landed = state.has_history or (state.open is not None and state.open.has_landed)
    return has_landed and VERSION in state.key_columns and {VERSION, VALID_FROM, OPERATION} <= state.columns.keys()


class VersionWriter:
    """Stages rows as versions: those that the source no longer has become rows, too. A `RowWriter`.

    ``version`` is greater than that of all rows that are visible; ``seen`` is when the load began.
    """

    def __init__(self, writer: RowWriter, version: int, seen: datetime, operation: Operation) -> None:
        self._writer = writer
        self._version = version
        self._seen = seen
        self._operation = operation

    def write(self, batch: pa.RecordBatch) -> None:
        """See `RowWriter.write`."""
        self._writer.write(self._stamped(batch, self._operation))

    def delete(self, rows: pa.RecordBatch) -> None:
        """See `RowWriter.delete`."""
        self._writer.write(self._stamped(rows, "delete"))

    def finish(self) -> list[StagedFile]:
        """See `RowWriter.finish`."""
        return self._writer.finish()

    def abandon(self) -> None:
        """See `RowWriter.abandon`."""
        self._writer.abandon()

    def _stamped(self, rows: pa.RecordBatch, operation: Operation) -> pa.RecordBatch:
        return filled(rows, {VERSION: self._version, VALID_FROM: self._seen, OPERATION: operation})
