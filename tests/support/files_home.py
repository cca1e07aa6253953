"""A home of files over a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import LocalHomeSettings
from hygge_engine.lake.local import LocalLake


def home_of(root: Path, pattern: str = "", **keys: Any) -> FilesHome:
    settings = LocalHomeSettings(type="local", **{"path": pattern or ".", **keys})
    return FilesHome(LocalLake(root), pattern, settings)
