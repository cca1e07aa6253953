"""What Fabric has made of a landing zone: the mirrored table, and how far behind it is."""

from __future__ import annotations

from datetime import UTC, datetime

from deltalake import DeltaTable

from hygge_engine.errors import LakeNotFound
from hygge_engine.lake.base import Lake, PathInfo
from hygge_engine.stores.delta import DeltaLocation, DeltaReadBack, open_table, reading
from hygge_engine.stores.open_mirroring.fabric import TableStatus, read_status_file, table_statuses
from hygge_engine.stores.open_mirroring.layout import SEQUENCE_DIGITS, Layout
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings


class MirroredReadBack(DeltaReadBack):
    """The Delta table that Fabric's replicator writes."""

    def __init__(self, lake: Lake, settings: OpenMirroringSettings, layout: Layout, location: DeltaLocation) -> None:
        super().__init__(location, layout.mirrored, keeps_versions=not settings.upserts())
        self._lake = lake
        self._settings = settings
        self._layout = layout

    def delay(self) -> str:
        """Why Fabric may not have applied what was landed last.

        A processed file leaves the table's folder, except the last one: two files mean that one waits. Of a single one
        the time of the last synchronisation decides: Fabric's status says it, else the mirrored table's last commit.
        """
        status = self._status()
        if status is not None and (status.error or status.status == "Failed"):
            return f"Fabric has stopped with the table: {status.error or status.status}"
        files = self._data_files()
        if len(files) > 1:
            return f"Fabric has not finished with {len(files)} files of the landing zone"
        synced = self._synced(status)
        if synced is None:
            return "Fabric has not applied anything yet" if files else ""
        if files and files[-1].modified > synced:
            moment = synced.isoformat(sep=" ", timespec="seconds")
            return f"Fabric has not applied the newest file yet (last synchronised at {moment})"
        return ""

    def _data_files(self) -> list[PathInfo]:
        entries = self._lake.list(self._layout.folder)
        return [
            entry
            for entry in entries
            if not entry.is_directory and len(entry.name.partition(".")[0]) == SEQUENCE_DIGITS and entry.name[0] != "_"
        ]

    def _status(self) -> TableStatus | None:
        """What Fabric says of the table; None where nobody can tell."""
        if self._settings.fabric_api_url:
            tables = table_statuses(self._settings)
        else:
            try:
                tables = read_status_file(self._lake.read(self._layout.status).data)
            except (LakeNotFound, ValueError):
                return None
        own = (self._layout.schema_name, self._layout.table_name)
        return next((table for table in tables if (table.schema_name, table.table_name) == own), None)

    def _synced(self, status: TableStatus | None) -> datetime | None:
        if status is not None and status.synced:
            # Fabric gives seven digits of a second.
            return datetime.fromisoformat(status.synced.rstrip("Z")[:26]).replace(tzinfo=UTC)
        with reading(self._layout.mirrored):
            table = open_table(self.location, self._layout.mirrored)
            return None if table is None else _last_commit(table)


def _last_commit(table: DeltaTable) -> datetime | None:
    commits = table.history(1)
    return datetime.fromtimestamp(commits[0]["timestamp"] / 1000, UTC) if commits else None
