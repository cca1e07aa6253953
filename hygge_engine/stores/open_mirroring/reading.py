"""What Fabric has made of a landing zone: the mirrored table, and how far behind it is."""

from __future__ import annotations

from datetime import UTC, datetime

from hygge_engine.errors import LakeConditionNotMet, LakeNotFound
from hygge_engine.lake.base import Lake, PathInfo
from hygge_engine.lake.ranged import RangedFile
from hygge_engine.plain_text import counted
from hygge_engine.stores.delta import DeltaLocation, DeltaReadBack, open_table, reading
from hygge_engine.stores.lake_files.reading import DECODERS
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.stores.open_mirroring.fabric import TableStatus, read_status_file, status_of, table_statuses
from hygge_engine.stores.open_mirroring.layout import SEQUENCE_DIGITS, Layout
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings


class MirroredReadBack(DeltaReadBack):
    """The Delta table that Fabric's replicator writes."""

    def __init__(self, lake: Lake, settings: OpenMirroringSettings, layout: Layout, location: DeltaLocation) -> None:
        super().__init__(location, layout.mirrored, keeps_versions=not settings.upserts())
        self._lake = lake
        self._settings = settings
        self._layout = layout

    def pending(self, landed: LandingState) -> str:
        """Why Fabric may not have applied all files that have landed. No clock is used: they are exact to the second
        only, and there are several.

        Fabric moves a file away once it has applied the one after it, so that the last file alone in its folder has
        been applied, unless it is also the first one. Of a first file Fabric's status counts the rows. Where there is
        no status, the mirrored table shows whether it is younger than the file that opens the generation.
        """
        tables = self._tables()
        status = status_of(tables or (), self._layout.schema_name, self._layout.table_name)
        if status is not None and (status.error or status.status == "Failed"):
            return f"Fabric has stopped with the table: {status.error or status.status}"
        if not landed.has_history:
            return "Fabric has not dropped the old table yet" if status is not None else ""
        files = self._data_files(landed.next_sequence)
        if len(files) > 1:
            return f"Fabric has not finished with {counted(len(files), 'file')} of the landing zone"
        if landed.next_sequence > 2 or not files:
            return ""
        return self._first_pending(files[0], tables, status)

    def _first_pending(self, file: PathInfo, tables: list[TableStatus] | None, status: TableStatus | None) -> str:
        """Why the only file of a generation may not have been applied."""
        if tables is None:
            return "" if self._is_of_this_generation() else "Fabric has not applied anything yet"
        try:
            rows = DECODERS["parquet"].count(RangedFile(self._lake, file))
        except (LakeNotFound, LakeConditionNotMet):
            return "Fabric is still working in the table's folder"
        applied = 0 if status is None else status.rows
        if not applied:
            return "Fabric has not applied anything yet"
        return (
            f"Fabric has applied {applied:,} of the {counted(rows, 'row')} that landed first" if applied < rows else ""
        )

    def _is_of_this_generation(self) -> bool:
        """Whether the mirrored table was created after the generation's metadata had been written."""
        opening = self._lake.info(self._layout.metadata)
        with reading(self.location, self._layout.mirrored):
            table = open_table(self.location, self._layout.mirrored)
            created = None if table is None else table.metadata().created_time
        if opening is None or created is None:
            return False
        return datetime.fromtimestamp(created / 1000, UTC) >= opening.modified

    def _data_files(self, next_sequence: int) -> list[PathInfo]:
        """The files of the table's folder with a number below this one."""
        entries = self._lake.list(self._layout.folder)
        return [entry for entry in entries if not entry.is_directory and _number(entry.name) in range(next_sequence)]

    def _tables(self) -> list[TableStatus] | None:
        """What Fabric says of its tables; None where it is unknown."""
        if self._settings.fabric_api_url:
            return table_statuses(self._settings)
        try:
            return read_status_file(self._lake.read(self._layout.status).data)
        except (LakeNotFound, ValueError):
            return None


def _number(name: str) -> int | None:
    """The sequence number in a data file's name; None in any other."""
    digits = name.partition(".")[0]
    return int(digits) if len(digits) == SEQUENCE_DIGITS and digits.isascii() and digits.isdigit() else None
