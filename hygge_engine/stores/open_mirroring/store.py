"""One table in the landing zone of a mirrored database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from hygge_engine.errors import HyggeError, LakeConditionNotMet, LakeConflict, LakeNotFound, NotOurs, StoreError
from hygge_engine.lake.base import Lake, PathInfo, StagingWriter
from hygge_engine.letter_case import confusable
from hygge_engine.stores.base import Adoption, ReadBack, Wait
from hygge_engine.stores.column_names import DELTA_REFUSED, ColumnNames
from hygge_engine.stores.folder_table import FolderTable, named
from hygge_engine.stores.landing.lake_lease import LakeTableLease, staged_file
from hygge_engine.stores.landing.state import LandingState, StagedFile
from hygge_engine.stores.open_mirroring.fabric import read_status_file, status_of, table_statuses
from hygge_engine.stores.open_mirroring.layout import (
    DEFAULT_SCHEMA,
    METADATA_FILE,
    SCHEMA_SUFFIX,
    SEQUENCE_DIGITS,
    Layout,
    metadata_document,
    partner_events_document,
)
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.parquet import HashesEncoder, ParquetEncoder
from hygge_engine.stores.staged_writer import DIGEST_FILE_BYTES, DIGEST_GATHERED_BYTES, StagedFiles

# How soon to look again whether Fabric has dropped a table: it scans the landing zone about every 20 seconds.
DROP_POLL_SECONDS = 5.0

# After this long a table that Fabric still lists will not go away by itself: replication is stopped or has failed.
DROP_WAIT_LIMIT_SECONDS = 1800.0

# Fabric reads __rowMarker__ as the last column; int32 and never null is what Microsoft's own writers send.
ROW_MARKER = "__rowMarker__"

# What Fabric does with a row: 2 takes the row with its key away.
DELETE = 2

# A folder's etag may move while Fabric moves files out of it; after this many changes in a row it is left alone for a
# while.
DROP_ATTEMPTS = 5

# Where Fabric puts files that it has read, and documents beside them that begin alike.
FABRICS_FOLDERS = ("_FilesReadyToDelete", "_ProcessedFiles")

# The names that `Layout.data_file` gives.
_DATA_FILE = re.compile(rf"\d{{{SEQUENCE_DIGITS}}}\.parquet")

_WAITING = Wait("waiting for Fabric to drop the table", DROP_POLL_SECONDS)


class OpenMirroringTable(FolderTable):
    """The open mirroring side of the landing protocol: metadata, numbering, row markers and the drop of a table."""

    is_missed_when_dropped = True

    def __init__(self, lake: Lake, settings: OpenMirroringSettings, layout: Layout) -> None:
        super().__init__(lake, layout.places)
        self.settings = settings
        self.layout = layout
        self.schema_name = layout.schema_name
        self.table_name = layout.table_name
        self.key_columns = settings.key_columns
        self.merges = self.merges_marked_alone = settings.upserts()
        self.needs_key = settings.row_marker != 0
        self.keeps_digests = settings.upserts()
        self.names = ColumnNames("Fabric", refused=DELTA_REFUSED, taken=(ROW_MARKER,))

    def data_file(self, state: LandingState, sequence: int) -> str:
        return self.layout.data_file(sequence)

    def writer(self, lease: LakeTableLease, schema: pa.Schema, *, marked: bool) -> StagedFiles:
        """A writer of staged files; ``marked`` rows carry the row marker, without which Fabric merges none.

        Raises StoreError where the source has a column of the row marker's name.
        """
        if ROW_MARKER in schema.names:
            raise StoreError(f"the source has a column named {ROW_MARKER}, which Fabric reserves")

        def stage() -> StagingWriter:
            return self.lake.stage(lease.staged_path())

        if marked:
            return _MarkedFiles(stage, schema, self.settings.row_marker)
        return StagedFiles(stage, schema, ParquetEncoder)

    def digest_writer(self, lease: LakeTableLease, schema: pa.Schema) -> StagedFiles:
        def stage() -> StagingWriter:
            return self.lake.stage(lease.staged_path("digests"))

        sizes = {"file_bytes": DIGEST_FILE_BYTES, "gathered_bytes": DIGEST_GATHERED_BYTES}
        return StagedFiles(stage, schema, HashesEncoder, **sizes)

    def first_files(self, lease: LakeTableLease) -> list[StagedFile]:
        """The table's metadata; the partner's own document comes once per mirrored database."""
        self._announce_partner(lease)
        return [self._stage_metadata(lease)]

    def check_place(self, state: LandingState, schema: pa.Schema, *, reload: bool) -> list[str]:
        """Refused where another folder is the same table to Fabric; a reload, too, where the folder holds something
        foreign: Fabric drops the table only when the folder is gone. Raises NotOurs."""
        self._check_is_alone()
        if not state.owns(self.places.folder):
            self._check_unclaimed()
        elif reload:
            self._check_all_is_ours(state)
        return []

    def adopt(self) -> Adoption:
        """The numbered files of the table's publisher until now; the next full_drop drops it in Fabric."""
        self._check_is_alone()
        found = super().adopt()
        if others := [entry for entry in self.lake.list(self.places.folder) if not self._is_fabrics(entry)]:
            strangers = [entry for entry in others if not self.claimed(entry.name)]
            if strangers:
                raise NotOurs(
                    f"{self.where} holds what no publisher of a table writes: {named(strangers)}",
                    hint="Move it away: Fabric drops a table only with its whole folder.",
                )
        return replace(
            found, replaced=f"the whole folder, and with it the table in Fabric: {found.found}", kept="nothing"
        )

    def claimed(self, name: str) -> bool:
        return _DATA_FILE.fullmatch(name) is not None

    def state_of(self, files: Sequence[PathInfo]) -> LandingState:
        last = max((int(file.name.partition(".")[0]) for file in files), default=0)
        # Where the folder is gone, Fabric may not have dropped the table yet: it is still waited for.
        return LandingState(next_sequence=last + 1, folder_etag="" if files else "gone")

    def drop(self, lease: LakeTableLease) -> bool:
        """Delete the table's folder, on the etag that the state holds; False where it is in use.

        A zombie's delete cannot hit the table's next generation: it would have to write the state first. Raises NotOurs
        where the folder holds something foreign.
        """
        for _ in range(DROP_ATTEMPTS):
            folder = self._folder()
            if folder is None or not lease.owns_place:
                if folder is not None:
                    self._check_unclaimed()
                if not lease.state.folder_etag:  # there never was a table to drop, nor to wait for
                    lease.write_changes(phase="waiting")
                    return True
                break
            self._check_all_is_ours(lease.state)
            lease.record_drop(folder.etag)
            try:
                self.lake.delete_directory(self.places.folder, if_match=folder.etag or None)
            except LakeConditionNotMet:
                continue
            except LakeConflict:
                return False
            break
        else:
            return False
        lease.write_changes(phase="waiting", dropped_at=self.lake.now().isoformat())
        return True

    def _check_is_alone(self) -> None:
        """Raises NotOurs where another folder of the landing zone, even an empty one, is the same table to Fabric."""
        twin = next((each for each in self._twins() if each.path != self.places.folder), None)
        if twin is not None:
            inside = named(self.lake.list(twin.path)) or "nothing"
            raise NotOurs(
                f"{twin.path} is to Fabric the table {self.schema_name}.{self.table_name} as well, and no load of "
                f"{self.places.entity} has written it; in it: {inside}",
                hint="Give the store another table_name or schema_name; or, if nobody needs that table, delete this "
                "folder, empty or not: as long as it is there, Fabric keeps the table.",
            )

    def _twins(self) -> Iterator[PathInfo]:
        """The folders that Fabric takes for this table: in a schema of its name, or for one of the default schema
        directly in the landing zone. Names that differ in case alone are one to its SQL endpoint."""
        table, schema = confusable(self.table_name), confusable(f"{self.schema_name}{SCHEMA_SUFFIX}")
        for entry in self.lake.list(self.layout.landing_zone):
            if not entry.is_directory:
                continue
            if confusable(entry.name) == schema:
                tables = self.lake.list(entry.path)
                yield from (each for each in tables if each.is_directory and confusable(each.name) == table)
            elif confusable(self.schema_name) == DEFAULT_SCHEMA and confusable(entry.name) == table:
                yield entry

    def _check_all_is_ours(self, state: LandingState) -> None:
        """Raises NotOurs for a folder that holds anything but our files and what Fabric makes of them."""
        ours = self._ours(state)
        strangers = (
            entry
            for entry in self.lake.list(self.places.folder, recursive=True)
            if not entry.is_directory and entry.path not in ours and not self._is_fabrics(entry)
        )
        if found := named(strangers):
            raise NotOurs(
                f"{self.where} also holds what no load of {self.places.entity} has written: {found}",
                hint="Move it elsewhere: a reload deletes the whole folder, by which Fabric drops the table.",
            )

    def _is_fabrics(self, entry: PathInfo) -> bool:
        """Whether Fabric or the protocol itself has made an entry of the table's folder."""
        below = entry.path.removeprefix(f"{self.places.folder}/").split("/")
        if below == [METADATA_FILE]:
            return True
        return below[0].startswith(FABRICS_FOLDERS) and (len(below) == 1 or _DATA_FILE.fullmatch(below[-1]) is not None)

    def drop_wait(self, lease: LakeTableLease) -> Wait | None:
        """The wait for Fabric to drop the table, None once it has: by its status, else by the time that has passed.

        A folder that is there again goes back to be dropped: an attempt that was fenced long ago may still make the
        folder of the generation before, as the first thing it does, and Fabric would wait for files in it. Raises
        NotOurs where another folder keeps the table.
        """
        opened = lease.open
        if opened is None or not opened.dropped_at:
            return None
        # The lake's clock is known to the second: it may seem to have gone back.
        waited = max(0.0, (self.lake.now() - datetime.fromisoformat(opened.dropped_at)).total_seconds())
        listed = self._is_listed()
        if listed is None:
            seconds = self.settings.folder_deletion_wait_seconds
            untold = f"waiting {seconds:g} s for Fabric to drop the table: no status reports when it has"
            return Wait(untold, min(DROP_POLL_SECONDS, seconds - waited)) if waited < seconds else None
        if listed and self._folder() is not None:
            lease.write_changes(phase="dropping")
            return _WAITING
        if listed:
            self._check_is_alone()
        if listed and waited > DROP_WAIT_LIMIT_SECONDS:
            raise StoreError(
                f"Fabric still lists {self.layout.schema_name}.{self.layout.table_name} {waited / 60:.0f} minutes "
                "after its folder was deleted",
                hint="Check that replication of the mirrored database is running; the next load continues from here.",
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
        if self.settings.fabric_api_url:
            tables = table_statuses(self.settings)
        else:
            try:
                tables = read_status_file(self.lake.read(self.layout.status).data)
            except (LakeNotFound, ValueError):
                return None
        return status_of(tables, self.layout.schema_name, self.layout.table_name) is not None

    def _stage_metadata(self, lease: LakeTableLease) -> StagedFile:
        writer = self.lake.stage(lease.staged_path("json"))
        try:
            writer.write(metadata_document(self.settings, lease.state.key_columns))
            return staged_file(writer.finish(), final=self.layout.metadata)
        except HyggeError:
            writer.abandon()
            raise

    def _announce_partner(self, lease: LakeTableLease) -> None:
        document, staged = partner_events_document(self.settings), lease.staged_path("json")
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
