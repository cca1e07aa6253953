"""``store: {type: mssql}``: tables of a SQL Server, Azure SQL or Fabric SQL database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from hygge_engine.homes.mssql.settings import MssqlConnection, table_location
from hygge_engine.lake.onelake import check_adls_path
from hygge_engine.lake.settings import AccountUrl, LakeCredential, LakeSettings, PathPart, lake_root
from hygge_engine.project.models.locations import Location, folder_in, folder_on_disk
from hygge_engine.project.models.settings import Settings, StoreSettings, Surroundings, register_store

# SQL Server's names have 128 characters, of which the name of a stage needs 33 for its end.
_NAME_CHARACTERS = 95


def _check_table_name(value: str) -> str:
    if value.casefold().startswith(("__hygge", "#")):
        raise ValueError("names that begin with __hygge or # are taken")
    return value


class JournalFolderSettings(Settings):
    """``journal_folder`` of a store that is a database: the folder ``path`` of a data lake, or, without
    ``account_url``, a directory of this machine, relative to the project."""

    path: str = Field(min_length=1)
    account_url: AccountUrl | None = None
    filesystem: PathPart | None = None
    credential: LakeCredential = "managed_identity"
    account_name: str | None = None
    account_key: SecretStr | None = None
    sas_token: SecretStr | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None

    def addresses(self) -> Mapping[str, str]:
        return {} if self.account_url is None else {"account_url": self.account_url}

    def directories(self) -> Mapping[str, str]:
        return {"path": self.path} if self.account_url is None else {}

    def own_folders(self) -> Mapping[str, str]:
        return self.directories()

    def keeps(self, surroundings: Surroundings) -> Location:
        """The journal's folder."""
        if self.account_url is None:
            return folder_on_disk(surroundings.directory / self.path)
        return folder_in(lake_root(self.lake_settings()), self.path)

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.account_url is None) != (self.filesystem is None):
            raise ValueError("a data lake needs account_url and filesystem, a directory of this machine neither")
        if self.account_url is not None:
            check_adls_path(self.account_url, self.path)
            self.lake_settings()
        return self

    def lake_settings(self) -> LakeSettings:
        """The data lake of a folder that has an ``account_url``."""
        given: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        return LakeSettings(**given)


@register_store
class MssqlStoreSettings(StoreSettings):
    """The table ``schema_name.table_name`` of a ``connection``. A database has no place for the journal's files:
    ``journal_folder`` names one, or ``journal.location`` of the project does."""

    kind: ClassVar[str] = "mssql"
    opener: ClassVar[str] = "hygge_engine.stores.mssql.opening"
    type: Literal["mssql"] = "mssql"
    connection: str
    schema_name: str = Field(default="dbo", min_length=1, max_length=_NAME_CHARACTERS)
    table_name: Annotated[str, AfterValidator(_check_table_name)] = Field(
        default="{entity}", min_length=1, max_length=_NAME_CHARACTERS
    )
    journal_folder: JournalFolderSettings | None = None

    def deletes(self) -> bool:
        """A table of a key only; a load of one without is refused."""
        return True

    def compares(self) -> bool:
        """A table of a key only; others are reloaded by a drop."""
        return True

    def marks(self) -> bool:
        return True

    def upserts(self) -> bool:
        """A row replaces the one with its key; a load of a table without a key refuses what needs that."""
        return True

    def destination(self, entity: str) -> str:
        return f"{self.connection}/{self.schema_name}.{self.table_name.replace('{entity}', entity)}"

    def writes(self, surroundings: Surroundings, entity: str) -> Location | None:
        connection = surroundings.connections.get(self.connection)
        table = self.table_name.replace("{entity}", entity)
        return table_location(connection, self.schema_name, table) if isinstance(connection, MssqlConnection) else None

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return self.journal_folder.keeps(surroundings) if self.journal_folder else None

    def keeps_journal(self) -> bool:
        return self.journal_folder is not None
