"""One table in the landing zone of a mirrored database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

import pyarrow as pa

from hygge_engine.errors import HyggeError, LakeConditionNotMet, LakeNotFound, StoreError
from hygge_engine.lake.base import Lake, StagingWriter
from hygge_engine.stores.base import ReadBack, Wait
from hygge_engine.stores.files import StagedFiles
from hygge_engine.stores.folder import FolderTable
from hygge_engine.stores.landing.protocol import TableLanding, staged_file
from hygge_engine.stores.landing.state import LandingState, StagedFile
from hygge_engine.stores.open_mirroring.fabric import mirrored_tables
from hygge_engine.stores.open_mirroring.layout import Layout, metadata_document, partner_events_document
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.parquet import ParquetEncoder

# How soon to look again whether Fabric has dropped a table: it scans the landing zone about every 20 seconds.
DROP_POLL_SECONDS = 5.0

# After this long a table that Fabric still lists will not go away by itself: replication is stopped or has failed.
DROP_WAIT_LIMIT_SECONDS = 1800.0

# Fabric reads __rowMarker__ as the last column; int32 and never null is what Microsoft's own writers send.
ROW_MARKER = "__rowMarker__"

# What Fabric does with a row: 2 takes the row with its key away.
DELETE = 2

_WAITING = Wait("waiting for Fabric to drop the table", DROP_POLL_SECONDS)


class OpenMirroringTable(FolderTable):
    """The open mirroring side of the landing protocol: metadata, numbering, row markers and the drop of a table."""

    def __init__(self, lake: Lake, settings: OpenMirroringSettings, layout: Layout) -> None:
        super().__init__(lake, layout.places)
        self.settings = settings
        self.layout = layout
        self.schema_name = layout.schema_name
        self.table_name = layout.table_name
        self.key_columns = settings.key_columns
        self.merges = settings.upserts()
        self.needs_key = settings.row_marker != 0

    def data_file(self, state: LandingState, sequence: int) -> str:
        return self.layout.data_file(sequence)

    def writer(self, landing: TableLanding, schema: pa.Schema, *, marked: bool) -> StagedFiles:
        """A writer of staged files; ``marked`` rows carry the row marker, a table's first rows never do.

        Raises StoreError where the source has a column of the row marker's name.
        """
        if ROW_MARKER in schema.names:
            raise StoreError(f"the source has a column named {ROW_MARKER}, which Fabric reserves")

        def stage() -> StagingWriter:
            return self.lake.stage(landing.staged_path())

        if marked:
            return _MarkedFiles(stage, schema, self.settings.row_marker)
        return StagedFiles(stage, schema, ParquetEncoder)

    def first_files(self, landing: TableLanding) -> list[StagedFile]:
        """The table's metadata; the partner's own document comes once per mirrored database."""
        self._announce_partner(landing)
        return [self._stage_metadata(landing)]

    def drop_wait(self, landing: TableLanding) -> Wait | None:
        """The wait for Fabric to drop the table, None once it has: by its status, else by the time that has passed.

        A folder that is there again goes back to be dropped: an attempt that was fenced long ago may still make the
        folder of the generation before, as the first thing it does, and Fabric would wait for files in it.
        """
        opened = landing.open
        if opened is None or not opened.dropped_at:
            return None
        # The lake's clock is known to the second: it may seem to have gone back.
        waited = max(0.0, (self.lake.now() - datetime.fromisoformat(opened.dropped_at)).total_seconds())
        listed = self._is_listed()
        if listed is None:
            seconds = self.settings.folder_deletion_wait_seconds
            untold = f"waiting {seconds:g} s for Fabric to drop the table: no status tells when it has"
            return Wait(untold, min(DROP_POLL_SECONDS, seconds - waited)) if waited < seconds else None
        if listed and self._folder() is not None:
            landing.update(phase="dropping")
            return _WAITING
        if listed and waited > DROP_WAIT_LIMIT_SECONDS:
            raise StoreError(
                f"Fabric still lists {self.layout.schema_name}.{self.layout.table_name} {waited / 60:.0f} minutes "
                "after its folder was deleted",
                hint="Check that replication of the mirrored database is running; the next load goes on from here.",
            )
        return _WAITING if listed else None

    def read_back(self) -> ReadBack:
        from hygge_engine.lake.credentials import object_store_options
        from hygge_engine.stores.delta import DeltaLocation
        from hygge_engine.stores.open_mirroring.reading import MirroredReadBack

        location = DeltaLocation(f"az://{self.settings.filesystem}", lambda: object_store_options(self.settings))
        return MirroredReadBack(self.lake, self.settings, self.layout, location)

    def _is_listed(self) -> bool | None:
        """Whether Fabric lists the table: its REST API where one is set, else its status file; None without either."""
        own = (self.layout.schema_name, self.layout.table_name)
        if self.settings.fabric_api_url:
            return own in mirrored_tables(self.settings)
        try:
            tables = json.loads(self.lake.read(self.layout.status).data)["tables"]
            names = {(table["sourceSchemaName"], table["sourceTableName"]) for table in tables}
        except (LakeNotFound, ValueError, KeyError, TypeError):
            return None
        return own in names

    def _stage_metadata(self, landing: TableLanding) -> StagedFile:
        writer = self.lake.stage(landing.staged_path("json"))
        try:
            writer.write(metadata_document(self.settings, landing.state.key_columns))
            return staged_file(writer.finish(), final=self.layout.metadata)
        except HyggeError:
            writer.abandon()
            raise

    def _announce_partner(self, landing: TableLanding) -> None:
        document, staged = partner_events_document(self.settings), landing.staged_path("json")
        try:
            self.lake.put(self.layout.partner_events, document, if_absent=True, staged=staged)
        except LakeConditionNotMet:
            return


class _MarkedFiles(StagedFiles):
    """Staged files whose rows say what Fabric is to do with them."""

    def __init__(self, stage: Callable[[], StagingWriter], schema: pa.Schema, marker: int) -> None:
        self._marker = marker
        super().__init__(stage, schema.append(pa.field(ROW_MARKER, pa.int32(), nullable=False)), ParquetEncoder)

    def write(self, batch: pa.RecordBatch) -> None:
        super().write(self._mark(batch, self._marker))

    def delete(self, rows: pa.RecordBatch) -> None:
        super().write(self._mark(rows, DELETE))

    def _mark(self, batch: pa.RecordBatch, marker: int) -> pa.RecordBatch:
        markers = pa.repeat(pa.scalar(marker, pa.int32()), batch.num_rows)
        return pa.RecordBatch.from_arrays([*batch.columns, markers], schema=self._schema)
