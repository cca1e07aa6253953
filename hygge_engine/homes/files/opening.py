"""Opens what the settings of homes of files describe."""

from __future__ import annotations

from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import LakeHomeSettings, LocalHomeSettings
from hygge_engine.lake import opening as lakes
from hygge_engine.lake.base import Lake
from hygge_engine.lake.onelake import JOURNAL_FOLDER
from hygge_engine.project.models.project import Entity, Project


def open_home(settings: LocalHomeSettings | LakeHomeSettings, project: Project, entity: Entity) -> FilesHome:
    """The files, not yet looked for."""
    lake, path = place_of(settings, project, entity)
    return FilesHome(lake, path, settings, settings.fixed_folder())


def open_journal(settings: LocalHomeSettings | LakeHomeSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    """Where the journal is kept beside the files: a lake, and the journal's folder in it."""
    if isinstance(settings, LocalHomeSettings):
        folder = project.directory / settings.shared_folder(entity.name)
        return lakes.open_directory(folder, project.disk_reach()), JOURNAL_FOLDER
    return lakes.open_lake(settings), settings.journal_root(entity.name)


def place_of(settings: LocalHomeSettings | LakeHomeSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    """The lake that holds the files, and where they are in it: a path or pattern."""
    if isinstance(settings, LocalHomeSettings):
        base, rest = settings.split(project.directory)
        return lakes.open_directory(base, project.disk_reach(entity.flow, ours=False)), "/".join(rest)
    return lakes.open_lake(settings), settings.pattern()
