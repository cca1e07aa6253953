"""Opens what `MssqlStoreSettings` describe."""

from __future__ import annotations

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.lake import opening as lakes
from hygge_engine.lake.base import Lake
from hygge_engine.project.models.project import Entity, Project
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.mssql.database import MssqlDatabase
from hygge_engine.stores.mssql.settings import MssqlStoreSettings


def open_table(settings: MssqlStoreSettings, project: Project, entity: Entity) -> DatabaseTable:
    """The entity's table, not yet connected. Raises ConfigurationError where the connection is of another type."""
    connection = project.connections[settings.connection]
    if not isinstance(connection, MssqlConnection):
        raise ConfigurationError(f"the connection '{settings.connection}' of {entity.id} is not of type mssql")
    return DatabaseTable(
        MssqlDatabase(connection, settings.schema_name),
        entity.id,
        settings.table_name.replace("{entity}", entity.name),
        key_columns=settings.key_columns,
        schema_name=settings.schema_name,
    )


def open_journal(settings: MssqlStoreSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    """The lake of ``journal_folder``, and the journal's folder in it. Raises ConfigurationError where there is none."""
    folder = settings.journal_folder
    if folder is None:
        raise ConfigurationError(
            f"{entity.id} has no place for the journal", hint="Name one: journal.location, or journal_folder."
        )
    if folder.account_url is not None:
        return lakes.open_lake(folder.lake_settings()), folder.path.strip("/")
    directory = project.directory / folder.path
    return lakes.open_directory(directory.parent, project.disk_reach()), directory.name
