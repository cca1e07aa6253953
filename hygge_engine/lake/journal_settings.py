"""``journal.location`` as a mapping: a directory of this machine, a folder of a data lake, or one of a Fabric item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hygge_engine.lake.onelake import (
    JOURNAL_FOLDER,
    ONELAKE_URL,
    check_adls_path,
    check_below_files,
    journal_folder,
)
from hygge_engine.lake.settings import AccountUrl, FabricIdentifier, LakeSettings, lake_root
from hygge_engine.project.models.locations import Location, folder_in, folder_on_disk
from hygge_engine.project.models.settings import JournalPlaceSettings, Surroundings, register_journal_place


@register_journal_place
class LocalJournal(JournalPlaceSettings):
    """A directory of this machine, relative to the project's: for ``hygge go``, not for an app in Azure, whose disk
    does not last."""

    kind: ClassVar[str] = "local"
    opener: ClassVar[str] = "hygge_engine.lake.journal_opening"
    type: Literal["local"] = "local"
    path: str = Field(min_length=1)

    def directories(self) -> Mapping[str, str]:
        named = PurePath(self.path).name == JOURNAL_FOLDER
        return {"path": self.path if named else f"{self.path}/{JOURNAL_FOLDER}"}

    def own_folders(self) -> Mapping[str, str]:
        return self.directories()

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return folder_on_disk(surroundings.directory / self.address / JOURNAL_FOLDER)

    @property
    def address(self) -> str:
        path = PurePath(self.path)
        return (path.parent if path.name == JOURNAL_FOLDER else path).as_posix()


@register_journal_place
class AdlsJournal(JournalPlaceSettings, LakeSettings):
    """A folder (``path``) of an ADLS Gen2 filesystem."""

    kind: ClassVar[str] = "adls"
    opener: ClassVar[str] = "hygge_engine.lake.journal_opening"
    type: Literal["adls"] = "adls"

    @model_validator(mode="after")
    def _stays_out_of_fabrics_folders(self) -> Self:
        check_adls_path(self.account_url, self.path)
        return self

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return folder_in(lake_root(self), self.folder)

    @property
    def address(self) -> str:
        return f"{self.account_url.rstrip('/')}/{self.filesystem}/{self.folder}"

    @property
    def folder(self) -> str:
        """The journal's folder within the filesystem."""
        return journal_folder(self.path)


@register_journal_place
class OneLakeJournal(JournalPlaceSettings, LakeSettings):
    """A folder (``path``) below ``Files/`` of a Fabric item: a lakehouse, or a mirrored database. ``filesystem`` is the
    workspace and ``lakehouse`` the item, both as GUIDs."""

    kind: ClassVar[str] = "onelake"
    opener: ClassVar[str] = "hygge_engine.lake.journal_opening"
    type: Literal["onelake"] = "onelake"
    account_url: AccountUrl = ONELAKE_URL
    lakehouse: FabricIdentifier
    path: Annotated[str, AfterValidator(check_below_files)] = ""

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return folder_in(lake_root(self), self.folder)

    @property
    def address(self) -> str:
        return f"{self.account_url.rstrip('/')}/{self.filesystem}/{self.folder}"

    @property
    def folder(self) -> str:
        """The journal's folder within the filesystem."""
        return journal_folder(self.lakehouse, "Files", self.path)
