"""The settings of both types. Every command imports this module, and nothing here is heavy; the modules that ``opener``
names are imported when a home or a store is opened."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hygge_engine.project.settings import HomeSettings, StoreSettings, register_home, register_store


@register_home
class SqliteFileSettings(HomeSettings):
    """A table of a SQLite file. ``path`` is relative to the project's directory."""

    kind: ClassVar[str] = "sqlite_file"
    opener: ClassVar[str] = "sqlite_home"
    type: Literal["sqlite_file"] = "sqlite_file"
    path: str = Field(min_length=1)
    table: str = "{entity}"
    batch_rows: int = Field(default=10_000, ge=1)


@register_store
class ArrowSettings(StoreSettings):
    """A directory of this machine. ``path`` is relative to the project's directory."""

    kind: ClassVar[str] = "arrow"
    opener: ClassVar[str] = "arrow_store"
    type: Literal["arrow"] = "arrow"
    path: str = Field(default="shelf", min_length=1)
    compression: Literal["lz4", "zstd"] = "lz4"

    def keeps_journal(self) -> bool:
        return True
