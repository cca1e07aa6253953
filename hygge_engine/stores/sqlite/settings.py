"""``store: {type: sqlite}``: tables in a SQLite file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from hygge_engine.lake.onelake import JOURNAL_FOLDER
from hygge_engine.project.models.locations import Location, folder_on_disk
from hygge_engine.project.models.settings import StoreSettings, Surroundings, register_store

# SQLite keeps the first prefix for itself, the engine the second.
_RESERVED = re.compile(r"sqlite_|__hygge", re.IGNORECASE)

# No program, script or settings file has such a name.
_SUFFIXES = (".db", ".db3", ".sqlite", ".sqlite3")


def _check_table_name(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("expected a name")
    if _RESERVED.match(value):
        raise ValueError("names that begin with sqlite_ or __hygge are taken")
    return value


def _check_path(value: str) -> str:
    if not value.casefold().endswith(_SUFFIXES):
        raise ValueError(f"expected the path of a database, which ends in one of {', '.join(_SUFFIXES)}")
    return value


@register_store
class SqliteSettings(StoreSettings):
    """A SQLite file. ``path`` is relative to the project's directory; the journal is a folder beside the file."""

    kind: ClassVar[str] = "sqlite"
    opener: ClassVar[str] = "hygge_engine.stores.sqlite.opening"
    type: Literal["sqlite"] = "sqlite"
    path: Annotated[str, AfterValidator(_check_path)] = Field(default="warehouse.db", min_length=1)
    table_name: Annotated[str, AfterValidator(_check_table_name)] = "{entity}"

    def directories(self) -> Mapping[str, str]:
        return {"path": self.path}

    def own_folders(self) -> Mapping[str, str]:
        return {"path": str(Path(self.path).parent / JOURNAL_FOLDER)}

    def keeps(self, surroundings: Surroundings) -> Location | None:
        return folder_on_disk((surroundings.directory / self.path).parent / JOURNAL_FOLDER)

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

    def writes(self, surroundings: Surroundings, entity: str) -> Location | None:
        return folder_on_disk(surroundings.directory / self.path, table=self.table_name.replace("{entity}", entity))

    def keeps_journal(self) -> bool:
        return True
