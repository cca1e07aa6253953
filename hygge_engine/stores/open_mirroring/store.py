"""One table in the landing zone of a mirrored database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa

from hygge_engine.errors import HyggeError, LakeConditionNotMet, LakeConflict, LakeNotFound, LandingBroken, StoreError
from hygge_engine.lake.base import Lake, PathInfo
from hygge_engine.stores.landing.protocol import TableLanding, staged_file
from hygge_engine.stores.landing.state import StagedFile
from hygge_engine.stores.open_mirroring.fabric import mirrored_tables
from hygge_engine.stores.open_mirroring.layout import Layout, metadata_document, partner_events_document
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.parquet import ROW_MARKER, ParquetFiles, StagedParquet

# How soon to look again whether Fabric has dropped a table: it scans the landing zone about every 20 seconds.
DROP_POLL_SECONDS = 5.0

# After this long a table that Fabric still lists will not go away by itself: replication is stopped or has failed.
DROP_WAIT_LIMIT_SECONDS = 1800.0

# A folder's etag may move while Fabric moves processed files out of it; more changes than this in a row are somebody
# else's.
DROP_ATTEMPTS = 3


class DropWait(NamedTuple):
    """What is waited for, and in how many seconds to look again."""

    message: str = "waiting for Fabric to drop the table"
    seconds: float = DROP_POLL_SECONDS


class OpenMirroringTable:
    """The open mirroring side of the landing protocol: metadata, numbering, row markers and the drop of a table."""

    def __init__(self, lake: Lake, settings: OpenMirroringSettings, layout: Layout) -> None:
        self.lake = lake
        self.settings = settings
        self.layout = layout

    def attach(self, load_id: str, attempt: int) -> TableLanding:
        """Read the landing state. Raises LandingBusy where another load owns the table."""
        return TableLanding(
            self.lake,
            state_path=self.layout.state,
            staging=self.layout.staging,
            folder=self.layout.folder,
            load_id=load_id,
            attempt=attempt,
        )

    def check_history(self, landing: TableLanding) -> None:
        """Compare state and landing zone before anything is added.

        Raises LandingBroken where they tell different stories.
        """
        exists = self._folder() is not None
        if landing.state.has_history and not exists:
            raise LandingBroken(
                f"the table's folder {self.layout.folder} is missing, though {landing.state.next_sequence - 1} "
                "files have been landed in it",
                hint="If it was deleted on purpose, reload the table with run_type full_drop.",
            )
        if landing.is_new and exists:
            raise LandingBroken(
                f"{self.layout.folder} exists already, but its landing state {self.layout.state} does not: "
                "another publisher may be writing there",
                hint="Stop the other publisher, then reload the table with run_type full_drop.",
            )

    def files(self, landing: TableLanding, schema: pa.Schema, *, marked: bool) -> ParquetFiles:
        """A writer of staged files; ``marked`` rows carry the row marker, a table's first rows never do."""
        if ROW_MARKER in schema.names:
            raise StoreError(f"the source has a column named {ROW_MARKER}, which Fabric reserves")
        return ParquetFiles(
            lambda: self.lake.stage(landing.staged_path()),
            schema,
            row_marker=self.settings.row_marker if marked else None,
        )

    def publish(
        self,
        landing: TableLanding,
        files: Sequence[StagedFile],
        *,
        position: list[str] | None,
        last: bool,
        new_generation: bool = False,
    ) -> None:
        """Number staged files and land them; the table's first files bring its metadata with them."""
        first = 1 if new_generation else landing.state.next_sequence
        intent = [replace(file, final=self.layout.data_file(number)) for number, file in enumerate(files, start=first)]
        if first == 1 and intent:
            self._announce_partner()
            intent.insert(0, self._stage_metadata(landing))
        landing.intend(intent, position=position, last=last, new_generation=new_generation)

    def drop(self, landing: TableLanding) -> bool:
        """Delete the table's folder, on the etag that the state holds; False where Fabric is reading it just now.

        A zombie's delete cannot hit the table's next generation: it would have to write the state first.
        """
        for _ in range(DROP_ATTEMPTS):
            folder = self._folder()
            if folder is None:
                if not landing.state.folder_etag:  # there never was a table to drop, nor to wait for
                    landing.update(phase="waiting")
                    return True
                break
            landing.record_drop(folder.etag)
            try:
                self.lake.delete_directory(self.layout.folder, if_match=folder.etag or None)
            except LakeConditionNotMet:
                continue
            except LakeConflict:
                return False
            break
        else:
            raise LandingBroken(f"the folder {self.layout.folder} changes faster than it can be dropped")
        landing.update(phase="waiting", dropped_at=self.lake.now().isoformat())
        return True

    def drop_wait(self, landing: TableLanding) -> DropWait | None:
        """The wait for Fabric to drop the table, None once it has: by its status, else by the time that has passed.

        A folder that is there again goes back to be dropped: an attempt that was fenced long ago may still make the
        folder of the generation before, as the first thing it does, and Fabric would wait for files in it.
        """
        opened = landing.open
        if opened is None or not opened.dropped_at:
            return None
        waited = (self.lake.now() - datetime.fromisoformat(opened.dropped_at)).total_seconds()
        listed = self._is_listed()
        if listed is None:
            seconds = self.settings.folder_deletion_wait_seconds
            untold = f"waiting {seconds:g} s for Fabric to drop the table: no status tells when it has"
            return DropWait(untold, min(DROP_POLL_SECONDS, seconds - waited)) if waited < seconds else None
        if listed and self._folder() is not None:
            landing.update(phase="dropping")
            return DropWait()
        if listed and waited > DROP_WAIT_LIMIT_SECONDS:
            raise StoreError(
                f"Fabric still lists {self.layout.schema_name}.{self.layout.table_name} {waited / 60:.0f} minutes "
                "after its folder was deleted",
                hint="Check that replication of the mirrored database is running; the next load goes on from here.",
            )
        return DropWait() if listed else None

    def _folder(self) -> PathInfo | None:
        """The table's folder; its parent's listing decides where a service does not answer HEAD for folders."""
        found = self.lake.info(self.layout.folder)
        if found is not None:
            return found
        parent = self.layout.folder.rsplit("/", 1)[0]
        return next((entry for entry in self.lake.list(parent) if entry.path == self.layout.folder), None)

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

    def _announce_partner(self) -> None:
        try:
            self.lake.put(self.layout.partner_events, partner_events_document(self.settings), if_absent=True)
        except LakeConditionNotMet:
            return


def staged_files(files: Sequence[StagedParquet]) -> list[StagedFile]:
    """What the landing state remembers of the writer's files."""
    return [staged_file(parquet.file, rows=parquet.rows) for parquet in files]
