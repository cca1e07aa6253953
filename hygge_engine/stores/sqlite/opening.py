"""Opens what `SqliteSettings` describe."""

from __future__ import annotations

from hygge_engine.lake import opening as lakes
from hygge_engine.lake.base import Lake
from hygge_engine.lake.onelake import JOURNAL_FOLDER
from hygge_engine.project.models.project import Entity, Project
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.sqlite.database import SqliteDatabase
from hygge_engine.stores.sqlite.settings import SqliteSettings


def open_table(settings: SqliteSettings, project: Project, entity: Entity) -> DatabaseTable:
    """The entity's table, whose file is not yet looked for."""
    database = SqliteDatabase(project.directory / settings.path, project.disk_reach(entity.flow))
    table = settings.table_name.replace("{entity}", entity.name)
    return DatabaseTable(database, entity.id, table, key_columns=settings.key_columns)


def open_journal(settings: SqliteSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    """Where the journal is kept beside the file: its directory, and the journal's folder there."""
    return lakes.open_directory((project.directory / settings.path).parent, project.disk_reach()), JOURNAL_FOLDER
