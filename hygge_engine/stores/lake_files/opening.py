"""Opens what the settings of stores of files describe."""

from __future__ import annotations

from functools import partial

from hygge_engine.lake import opening as lakes
from hygge_engine.lake.base import Lake
from hygge_engine.lake.credentials import object_store_options
from hygge_engine.project.models.project import Entity, Project
from hygge_engine.stores.folder_table import places_of
from hygge_engine.stores.lake_files.settings import LakeFilesSettings, LocalSettings
from hygge_engine.stores.lake_files.table import FilesTable


def open_table(settings: LocalSettings | LakeFilesSettings, project: Project, entity: Entity) -> FilesTable:
    """The folder of the entity's table, not yet looked at."""
    places = places_of(settings.folder_of(entity.name), settings.journal_folder(), entity.flow, entity.name)
    lake = _lake(settings, project, entity.flow)
    if settings.format != "delta":
        return FilesTable(lake, places, settings)
    # Imported here: the Delta package takes its time, and other formats do without.
    from hygge_engine.stores.delta import DeltaLocation
    from hygge_engine.stores.lake_files.delta import DeltaFilesTable

    if isinstance(settings, LocalSettings):
        location = DeltaLocation(
            str((project.directory / settings.path).absolute()), dict, project.disk_reach(entity.flow)
        )
    else:
        location = DeltaLocation(f"az://{settings.filesystem}", partial(object_store_options, settings))
    return DeltaFilesTable(lake, places, settings, location, entity.id)


def open_journal(settings: LocalSettings | LakeFilesSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    """Where the journal is kept beside the tables: a lake, and the journal's folder in it."""
    return _lake(settings, project, None), settings.journal_folder()


def _lake(settings: LocalSettings | LakeFilesSettings, project: Project, flow: str | None) -> Lake:
    if isinstance(settings, LocalSettings):
        return lakes.open_directory(project.directory / settings.path, project.disk_reach(flow))
    return lakes.open_lake(settings)
