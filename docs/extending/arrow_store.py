"""``store: {type: arrow, path: shelf}``: a folder of Arrow IPC files for each table.

`FolderTable` brings the landing protocol: files are staged, named in an intent and renamed. What is left to say is
where the folder is, what a file is called, and how one is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import pyarrow as pa

from hygge_engine.lake.opening import open_directory
from hygge_engine.stores.folder_table import FolderTable, places_of
from hygge_engine.stores.staged_writer import StagedFiles

if TYPE_CHECKING:
    from io import IOBase

    from shelf import ArrowSettings

    from hygge_engine.lake.base import Lake, StagingWriter
    from hygge_engine.project import Entity, Project
    from hygge_engine.stores.landing.lake_lease import LakeTableLease
    from hygge_engine.stores.landing.state import LandingState

JOURNAL = ".hygge_journal"


def open_table(settings: ArrowSettings, project: Project, entity: Entity) -> ArrowTable:
    """The opener: called by the engine for each slice."""
    lake = open_directory(project.directory / settings.path, project.disk_reach(entity.flow))
    return ArrowTable(lake, entity.flow, entity.name, settings)


def open_journal(settings: ArrowSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    """Beside the tables' folders."""
    return open_directory(project.directory / settings.path, project.disk_reach()), JOURNAL


class ArrowTable(FolderTable):
    """Files are only added: each version of a row lands once, and the newest is the one in the last file."""

    def __init__(self, lake: Lake, flow: str, entity: str, settings: ArrowSettings) -> None:
        super().__init__(lake, places_of(entity, JOURNAL, flow, entity))
        self.table_name = entity
        self.key_columns = settings.key_columns
        self._compression = settings.compression

    def data_file(self, state: LandingState, sequence: int) -> str:
        """Generation and number, so that no name means two things in its life."""
        return f"{self.places.folder}/{state.generation:05d}-{sequence:08d}.arrow"

    def writer(self, lease: LakeTableLease, schema: pa.Schema, *, marked: bool) -> StagedFiles:
        return StagedFiles(lambda: self.lake.stage(lease.staged_path("arrow")), schema, self._begin)

    def _begin(self, sink: StagingWriter, schema: pa.Schema) -> ArrowFile:
        return ArrowFile(sink, schema, self._compression)


class ArrowFile:
    """One file; a `hygge_engine.stores.staged_writer.Encoder`."""

    def __init__(self, sink: StagingWriter, schema: pa.Schema, compression: Literal["lz4", "zstd"]) -> None:
        options = pa.ipc.IpcWriteOptions(compression=compression)
        self._writer = pa.ipc.new_file(cast("IOBase", sink), schema, options=options)

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()
