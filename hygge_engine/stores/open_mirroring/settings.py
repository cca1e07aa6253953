"""``store: {type: open_mirroring}``: a table in the landing zone of a Fabric mirrored database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from hygge_engine.hosts import is_loopback, split_address
from hygge_engine.lake.onelake import JOURNAL_FOLDER
from hygge_engine.lake.settings import FabricIdentifier, LakeSettings, PathPart, is_fabric, lake_root
from hygge_engine.letter_case import confusable
from hygge_engine.project.models.locations import Location, folder_in
from hygge_engine.project.models.settings import Capacity, StoreSettings, Surroundings, register_store

# Tables that Fabric replicates of one mirrored database (its page of limits, 2026; 500 before), and how many of them
# the mirrored journal needs.
TABLES_AT_MOST = 1_000
TELEMETRY_TABLES = 3


def _check_schema_name(value: str) -> str:
    if value.casefold().startswith("__hygge"):
        raise ValueError("names of schemas that begin with __hygge are taken by the mirrored journal")
    return value


@register_store
class OpenMirroringSettings(StoreSettings, LakeSettings):
    """Where a table lands and what Fabric records about it.

    ``filesystem`` is the workspace and ``mirror_name`` the mirrored database, both as GUIDs (names change; mixing is
    not supported). ``row_marker`` is what incremental rows carry: 4
    upsert, 0 insert, 1 update. ``table_name`` defaults to the entity's name. ``folder_deletion_wait_seconds`` counts
    only where neither Fabric's status file nor ``fabric_api_url`` can say that a dropped table is gone.
    """

    kind: ClassVar[str] = "open_mirroring"
    opener: ClassVar[str] = "hygge_engine.stores.open_mirroring.opening"

    mirror_name: FabricIdentifier
    schema_name: Annotated[PathPart, AfterValidator(_check_schema_name)] = "dbo"
    table_name: PathPart = "{entity}"
    row_marker: Literal[0, 1, 4] = 4
    partner_name: str = "hygge-engine"
    source_type: str = "SQL Server"
    source_version: str = ""
    file_detection: Literal["SequentialFileName", "LastUpdateTimeFileDetection"] = "SequentialFileName"
    folder_deletion_wait_seconds: float = Field(default=120.0, ge=0)
    fabric_api_url: str | None = None
    mirror_journal: bool = False
    mirror_schema: PathPart = "__hygge"

    def addresses(self) -> Mapping[str, str]:
        api = {"fabric_api_url": self.fabric_api_url} if self.fabric_api_url else {}
        return {**super().addresses(), **api}

    @field_validator("fabric_api_url")
    @classmethod
    def _api_is_an_address(cls, value: str | None) -> str | None:
        if not value:
            return None
        url = split_address(value) if value.startswith(("https://", "http://")) else None
        if url is None or url.username is not None or url.query or url.fragment:
            raise ValueError("fabric_api_url must be an address: https://api.fabric.microsoft.com")
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            raise ValueError("fabric_api_url must begin with https://: without TLS it is reached on this machine only")
        return value

    @model_validator(mode="after")
    def _telemetry_keeps_to_itself(self) -> Self:
        if self.mirror_journal and confusable(self.mirror_schema) == confusable(self.schema_name):
            raise ValueError("mirror_schema is schema_name, too, and the journal's tables need a schema of their own")
        return self

    @model_validator(mode="after")
    def _stays_below_the_item(self) -> Self:
        if self.path and is_fabric(self.account_url):
            raise ValueError("in OneLake the item is mirror_name, and nothing is made beside it: leave path out")
        return self

    def deletes(self) -> bool:
        return True

    def compares(self) -> bool:
        return self.upserts()

    def upserts(self) -> bool:
        """With marker 4 Fabric replaces a row by its key; with the others it keeps or refuses the second one."""
        return self.row_marker == 4

    @property
    def mirror(self) -> str:
        """The mirrored database's address: the same for all of its tables."""
        return f"{self.account_url.rstrip('/')}/{self.filesystem}/{self.mirror_name}"

    def agreements(self, journal: str) -> dict[tuple[str, str], str]:
        """A mirrored database has one set of journal tables, in one schema, that shows one journal."""
        if not self.mirror_journal:
            return {}
        return {(self.mirror, "mirror_schema"): self.mirror_schema, (self.mirror, "journal.location"): journal}

    def capacity(self) -> Capacity:
        return Capacity(self.mirror, TABLES_AT_MOST, TELEMETRY_TABLES if self.mirror_journal else 0)

    def telemetry(self) -> str:
        if not self.mirror_journal:
            return ""
        table = self.model_copy(update={"schema_name": self.mirror_schema, "table_name": ""})
        return table.destination("")

    def writes(self, surroundings: Surroundings, entity: str) -> Location | None:
        """The folder of `Layout.folder`, which cannot be asked here: it would bring pyarrow into every command."""
        table = self.table_name.replace("{entity}", entity)
        folder = f"{self.mirror_name}/Files/LandingZone/{self.schema_name}.schema/{table}"
        return folder_in(lake_root(self), f"{self.path.strip('/')}/{folder}")

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return folder_in(lake_root(self), f"{self.path.strip('/')}/{self.mirror_name}/Files/{JOURNAL_FOLDER}")

    def keeps_journal(self) -> bool:
        return True
