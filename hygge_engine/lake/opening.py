"""Lakes by their settings: one client, with its connections, serves all tables of a process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from hygge_engine.lake.base import Lake
from hygge_engine.lake.datalake import DataLake
from hygge_engine.lake.local import LocalLake
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.project.models.disk import DiskReach


def open_lake(settings: LakeSettings) -> Lake:
    """The data lake that settings name, whatever else these settings say."""
    return _data_lake(tuple(getattr(settings, name) for name in LakeSettings.model_fields))


def open_directory(path: Path, reach: DiskReach) -> Lake:
    """A local directory as a lake, with the bounds of what may be touched of this machine's disk."""
    return LocalLake(path, reach)


@lru_cache(maxsize=64)
def _data_lake(values: tuple[Any, ...]) -> Lake:
    """By the settings' values, in their order: thousands of tables are asked for their lake, and were checked
    before."""
    return DataLake(LakeSettings(**dict(zip(LakeSettings.model_fields, values, strict=True))))
