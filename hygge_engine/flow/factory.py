"""From settings to the things they describe: homes, lakes and destination tables."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.base import Home
from hygge_engine.lake.base import Lake
from hygge_engine.lake.datalake import DataLake
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.stores.open_mirroring.layout import layout_of
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable

if TYPE_CHECKING:
    from hygge_engine.project import Entity, Project


def open_home(project: Project, entity: Entity) -> Home:
    """The entity's source, not yet connected."""
    from hygge_engine.homes.mssql.home import MssqlHome
    from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings

    settings = entity.home
    if isinstance(settings, MssqlHomeSettings):
        connection = project.connections[settings.connection]
        if isinstance(connection, MssqlConnection):
            return MssqlHome(connection, settings)
    raise ConfigurationError(f"home type '{settings.type}' cannot be opened")


def open_table(entity: Entity) -> OpenMirroringTable:
    """The entity's destination."""
    settings = entity.store
    if isinstance(settings, OpenMirroringSettings):
        return OpenMirroringTable(lake_of(settings), settings, layout_of(settings, entity.flow, entity.name))
    raise ConfigurationError(f"store type '{settings.type}' cannot be opened")


def journal_of(entity: Entity) -> tuple[Lake, str]:
    """Where the entity's runs are remembered: the lake of its store, and the journal's folder in it."""
    settings = entity.store
    if isinstance(settings, OpenMirroringSettings):
        return lake_of(settings), layout_of(settings, entity.flow, entity.name).journal
    raise ConfigurationError(f"store type '{settings.type}' has no journal")


def lake_of(settings: LakeSettings) -> Lake:
    """The lake that settings name; one client, with its connections, serves all entities of a process."""
    return _lake(LakeSettings(**{name: getattr(settings, name) for name in LakeSettings.model_fields}))


@lru_cache(maxsize=64)
def _lake(settings: LakeSettings) -> Lake:
    return DataLake(settings)
