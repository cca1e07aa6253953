"""Opens what `MssqlHomeSettings` describe."""

from __future__ import annotations

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.sessions import close_idle_sessions
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.project.models.project import Entity, Project


def open_home(settings: MssqlHomeSettings, project: Project, entity: Entity) -> MssqlHome:
    """The table or query, not yet connected. Raises ConfigurationError where the connection is of another type."""
    connection = project.connections[settings.connection]
    if not isinstance(connection, MssqlConnection):
        raise ConfigurationError(f"the connection '{settings.connection}' of {entity.id} is not of type mssql")
    return MssqlHome(connection, settings)


def close_idle(settings: MssqlHomeSettings) -> None:
    """Close what this process keeps open to sources, and no home uses."""
    close_idle_sessions()
