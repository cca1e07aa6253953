"""``store`` of type local, adls and onelake: where a table's files are, and in which format."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hygge_engine.lake.onelake import (
    JOURNAL_FOLDER,
    ONELAKE_URL,
    check_adls_path,
    check_below_files,
    journal_folder,
)
from hygge_engine.lake.settings import AccountUrl, FabricIdentifier, LakeSettings, PathPart, lake_root
from hygge_engine.project.models.locations import Location, folder_in, folder_on_disk
from hygge_engine.project.models.settings import StoreSettings, Surroundings, register_store

FileFormat = Literal["parquet", "csv", "ndjson", "delta"]


def _check_table_name(value: str) -> str:
    if value.casefold().startswith(".hygge"):
        raise ValueError("names that begin with .hygge are taken")
    return value


class FilesSettings(StoreSettings):
    """What the stores of files have in common: one folder for each table, in one ``format``."""

    opener: ClassVar[str] = "hygge_engine.stores.lake_files.opening"
    type: str
    table_name: Annotated[PathPart, AfterValidator(_check_table_name)] = "{entity}"
    format: FileFormat = "parquet"

    @abstractmethod
    def tables_folder(self) -> str:
        """The folder of all tables, as a path in the lake; empty for its root."""

    @abstractmethod
    def journal_folder(self) -> str:
        """The journal's folder, as a path in the lake."""

    def folder_of(self, entity: str) -> str:
        """The folder of an entity's table, as a path in the lake."""
        return _join(self.tables_folder(), self.table_name.replace("{entity}", entity))

    def keeps_journal(self) -> bool:
        return True


@register_store
class LocalSettings(FilesSettings):
    """A directory on this machine. ``path`` is relative to the project's directory; each table has a folder in it."""

    kind: ClassVar[str] = "local"
    type: Literal["local"] = "local"
    path: str = Field(default="warehouse", min_length=1)

    def directories(self) -> Mapping[str, str]:
        return {"path": self.path}

    def own_folders(self) -> Mapping[str, str]:
        return {"path": f"{self.path}/{JOURNAL_FOLDER}"}

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return folder_on_disk(surroundings.directory / self.path / JOURNAL_FOLDER)

    def tables_folder(self) -> str:
        return ""

    def journal_folder(self) -> str:
        return JOURNAL_FOLDER

    def writes(self, surroundings: Surroundings, entity: str) -> Location | None:
        return folder_on_disk(surroundings.directory / self.path / self.table_name.replace("{entity}", entity))


class LakeFilesSettings(FilesSettings, LakeSettings):
    """A store of files in a data lake."""

    def writes(self, surroundings: Surroundings, entity: str) -> Location | None:
        return folder_in(lake_root(self), self.folder_of(entity))

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return folder_in(lake_root(self), self.journal_folder())


@register_store
class AdlsSettings(LakeFilesSettings):
    """A folder (``path``) of an ADLS Gen2 filesystem; each table has a folder in it."""

    kind: ClassVar[str] = "adls"
    type: Literal["adls"] = "adls"

    @model_validator(mode="after")
    def _stays_out_of_fabrics_folders(self) -> Self:
        check_adls_path(self.account_url, self.path)
        return self

    def tables_folder(self) -> str:
        return self.path.strip("/")

    def journal_folder(self) -> str:
        return journal_folder(self.path)


@register_store
class OneLakeSettings(LakeFilesSettings):
    """A lakehouse: files below ``Files/<path>``, Delta tables below ``Tables/<schema_name>``.

    ``filesystem`` is the workspace and ``lakehouse`` the item, both as GUIDs. ``schema_name`` is for lakehouses with
    schemas and counts for Delta tables only, ``path`` for files only. The journal is below ``Files/`` in any case: what
    lies elsewhere belongs to Fabric.
    """

    kind: ClassVar[str] = "onelake"
    type: Literal["onelake"] = "onelake"
    account_url: AccountUrl = ONELAKE_URL
    lakehouse: FabricIdentifier
    path: Annotated[str, AfterValidator(check_below_files)] = ""
    schema_name: PathPart | None = None

    @model_validator(mode="after")
    def _place_fits_the_format(self) -> Self:
        if self.format == "delta" and self.path:
            raise ValueError("path is for files; a Delta table is found by schema_name and table_name")
        if self.format != "delta" and self.schema_name:
            raise ValueError("schema_name is for format: delta; files are found by path and table_name")
        return self

    def tables_folder(self) -> str:
        if self.format == "delta":
            return _join(self.lakehouse, "Tables", self.schema_name or "")
        return _join(self.lakehouse, "Files", self.path)

    def journal_folder(self) -> str:
        return journal_folder(self.lakehouse, "Files")

    def destination(self, entity: str) -> str:
        root = f"{self.account_url.rstrip('/')}/{self.filesystem}"
        return _join(root, self.folder_of(entity))


def _join(*parts: str) -> str:
    return "/".join(part.strip("/") for part in parts if part.strip("/"))
