"""The project that a process works with: read once, and again when its files or the environment change."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Project

# App setting that names the project's directory, relative to the app's own folder; without it, that folder.
DIRECTORY_SETTING = "HYGGE_PROJECT"

# Files whose change makes a project another one.
_WATCHED_SUFFIXES = (".yml", ".yaml", ".json")


class ProjectSource:
    """Gives the project of a directory. Thread-safe; a hit costs one look at each of the project's files."""

    def __init__(self, app_directory: Path) -> None:
        self._app_directory = app_directory
        self._lock = threading.Lock()
        self._read: tuple[object, Project] | None = None

    @property
    def directory(self) -> Path:
        """Where the project is."""
        return self._app_directory / os.environ.get(DIRECTORY_SETTING, "")

    def __call__(self) -> Project:
        """The project as its files say now. Raises ConfigurationError."""
        from hygge_engine.project.loading import load_project

        directory = self.directory
        fingerprint = (directory, dict(os.environ), _fingerprint(directory))
        with self._lock:
            if self._read is None or self._read[0] != fingerprint:
                self._read = (fingerprint, load_project(directory))
            return self._read[1]


def _fingerprint(directory: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file that a project can consist of."""
    top = [path for path in _entries(directory) if path.suffix in _WATCHED_SUFFIXES]
    flows = directory / "flows"
    below = [path for path in flows.rglob("*") if path.suffix in _WATCHED_SUFFIXES] if flows.is_dir() else []
    return sorted((str(path), status.st_size, status.st_mtime_ns) for path in top + below for status in [path.stat()])


def _entries(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_file()] if directory.is_dir() else []
