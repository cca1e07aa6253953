"""What OpenLineage calls a table, by its naming rules: a namespace that says where, a name that says which.

Two tools that name the same table in the same way show as one graph (OpenLineage specification, "Naming").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hygge_engine.homes.files.settings import AdlsHomeSettings, LocalHomeSettings, OneLakeHomeSettings
from hygge_engine.homes.mssql.identifiers import parse_table_name
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.stores.lake_files.settings import FilesSettings, LocalSettings
from hygge_engine.stores.mssql.settings import MssqlStoreSettings
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.sqlite.settings import SqliteSettings

if TYPE_CHECKING:
    from hygge_engine.lake.settings import LakeSettings
    from hygge_engine.project.models.project import Entity, Project


@dataclass(frozen=True)
class Dataset:
    """A table as lineage knows it. ``columns`` maps names to types, empty where they are not known."""

    namespace: str
    name: str
    columns: dict[str, str] = field(default_factory=dict)


def source_of(project: Project, entity: Entity) -> Dataset:
    """Where an entity's rows come from."""
    match entity.home:
        case MssqlHomeSettings(table=str(table), connection=connection):
            return _in_sql_server(project, connection, ".".join(parse_table_name(table)))
        case MssqlHomeSettings(connection=connection):
            # A query has no name of its own; the entity's says which it is.
            return _in_sql_server(project, connection, f"query.{entity.flow}.{entity.name}")
        case LocalHomeSettings(path=path):
            return Dataset("file", str(project.directory.resolve() / path))
        case AdlsHomeSettings() | OneLakeHomeSettings() as home:
            return Dataset(_lake(home), home.pattern())
        case other:
            return Dataset(other.type, entity.id)


def destination_of(project: Project, entity: Entity) -> Dataset:
    """Where an entity's rows land; of a mirrored database the table that people query, not its landing zone."""
    match entity.store:
        case OpenMirroringSettings() as store:
            table = store.table_name.replace("{entity}", entity.name)
            return Dataset(_lake(store), f"{store.mirror_name}/Tables/{store.schema_name}/{table}")
        case LocalSettings() as store:
            directory = project.directory.resolve() / store.path
            return Dataset("file", f"{directory}/{store.table_name.replace('{entity}', entity.name)}")
        case FilesSettings() as store:
            table = store.table_name.replace("{entity}", entity.name)
            folder = store.tables_folder()
            return Dataset(_lake_of(store), f"{folder}/{table}" if folder else table)
        case MssqlStoreSettings() as store:
            table = store.table_name.replace("{entity}", entity.name)
            return _in_sql_server(project, store.connection, f"{store.schema_name}.{table}")
        case SqliteSettings() as store:
            file = project.directory.resolve() / store.path
            return Dataset(f"sqlite:{file}", store.table_name.replace("{entity}", entity.name))
        case other:
            return Dataset(other.type, other.destination(entity.name))


def _in_sql_server(project: Project, name: str, table: str) -> Dataset:
    connection = project.connections[name]
    if not isinstance(connection, MssqlConnection):
        return Dataset(name, table)
    host, _, port = connection.address.partition(",")
    return Dataset(f"mssql://{host}:{port}" if port else f"mssql://{host}", f"{connection.database}.{table}")


def _lake_of(store: FilesSettings) -> str:
    from hygge_engine.lake.settings import LakeSettings

    return _lake(store) if isinstance(store, LakeSettings) else store.type


def _lake(settings: LakeSettings) -> str:
    return f"abfss://{settings.filesystem}@{urlsplit(settings.account_url).netloc}"
