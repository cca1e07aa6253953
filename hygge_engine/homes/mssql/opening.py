"""Opens what `MssqlHomeSettings` describe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.mssql.catalogue_of_many import count_rows
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.identifiers import parse_table_name
from hygge_engine.homes.mssql.sessions import close_idle_sessions, open_session
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.homes.mssql.survey import quick
from hygge_engine.project.models.project import Entity, Project
from hygge_engine.project.models.settings import ConnectionSettings


def open_home(settings: MssqlHomeSettings, project: Project, entity: Entity) -> MssqlHome:
    """The table or query, not yet connected. Raises ConfigurationError where the connection is of another type."""
    connection = project.connections[settings.connection]
    if not isinstance(connection, MssqlConnection):
        raise ConfigurationError(f"the connection '{settings.connection}' of {entity.id} is not of type mssql")
    return MssqlHome(connection, settings, captured_by=entity.watermark.cdc if entity.watermark else False)


def rows_of_many(connection: ConnectionSettings, settings: Mapping[str, MssqlHomeSettings]) -> dict[str, int]:
    """About how many rows the tables have, by the same names; nothing of queries, views and synonyms. Raises
    HomeError."""
    tables = {name: parse_table_name(each.table) for name, each in settings.items() if each.table is not None}
    if not tables or not isinstance(connection, MssqlConnection):
        return {}
    session = open_session(quick(connection))
    try:
        counts = count_rows(partial(session.fetch_some, doing="Asking how large the tables are"), tables.values())
    finally:
        session.close()
    return {name: counts[table] for name, table in tables.items() if table in counts}


def close_idle(settings: MssqlHomeSettings) -> None:
    """Close what this process keeps open to sources, and no home uses."""
    close_idle_sessions()
