"""Which places of this machine's disk flows may touch: those below the project's directory, wherever links lead, and
none that the project or its tools consist of."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from hygge_engine.errors import LakeDenied
from hygge_engine.letter_case import confusable
from hygge_engine.plain_text import NAMES_HINT

LocalPaths = Literal["none", "project", "anywhere"]

# What a project consists of, at the top of its directory.
_OWN_FILES = ("hygge.yml", "local.settings.json", "host.json", "function_app.py", "requirements.txt", "hygge_engine")
_FLOWS = "flows"
_OF_A_FLOW = ("entities", "flow.yml")

# The engine's own folders beside rows: the journal with its landing states, locks, and where `hygge doctor` tries.
_OURS = (".hygge_journal", ".hygge_lake", ".doctor-*")

# What every program may read: a row for each load.
_JOURNAL = [".hygge_journal", "journal.parquet"]

# What holds settings, secrets or state by its name, copies included, in whatever folder it lies.
_SECRET_FILES = (
    *("*.settings.json*", "*.tfstate*", "*.tfvars*", "*.env", "*.publishsettings", "secrets.json", "credentials.json"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.ppk", "*.pfx", "*.p12", "*.jks", "*.kdbx"),
)

_HINT = "Put the files themselves there; `options: {local_paths: anywhere}` of hygge.yml lets links lead elsewhere."
_OWN_HINT = "Keep rows in a folder of their own below the project's directory, as `data` or `warehouse`."


def is_own(parts: Sequence[str], flow: str | None, *, ours: bool = False) -> bool:
    """Whether a path, or pattern, within the project's directory is one of what the project and its tools consist of.

    A flow's own folder is its own, but for what the flow consists of; for None so are those of all flows. ``ours``
    accepts the engine's own folders.
    """
    folded = [confusable(part) for part in parts]
    if folded[-2:] == _JOURNAL:
        folded = folded[:-2]
    if any(_is_kept(part) and not (ours and _is_ours(part)) for part in folded):
        return True
    if folded[:1] == [_FLOWS] and len(folded) > 1 and (flow is None or folded[1] == confusable(flow)):
        return any(fnmatchcase(own, part) for part in folded[2:3] for own in _OF_A_FLOW)
    return any(fnmatchcase(own, part) for part in folded[:1] for own in (*_OWN_FILES, _FLOWS))


def _is_ours(part: str) -> bool:
    return any(fnmatchcase(part, name) for name in _OURS)


def _is_kept(part: str) -> bool:
    return part.startswith(".") or any(fnmatchcase(part, name) for name in _SECRET_FILES)


@dataclass(frozen=True)
class DiskReach:
    """What one flow may touch of this machine's disk, links followed. ``flow`` is None for what all flows share, as the
    journal; ``ours`` accepts the engine's own folders, which homes do not read."""

    directory: Path
    local_paths: LocalPaths | None
    flow: str | None = None
    ours: bool = False

    def objection(self, path: Path) -> tuple[str, str]:
        """Why what is at ``path`` may not be touched, and what to do; empty where it may. Nothing has to be there."""
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            return f"cannot be named here: file names are encoded in {sys.getfilesystemencoding()}", NAMES_HINT
        directory, real = os.path.realpath(self.directory), os.path.realpath(path)
        within = os.path.relpath(real, directory)
        if within == os.pardir or within.startswith(os.pardir + os.sep) or os.path.isabs(within):
            if self.local_paths == "anywhere":
                return "", ""
            return "leads out of the project's directory", _HINT
        parts = [part for part in within.split(os.sep) if part != os.curdir]
        return ("leads to the project's own files", _OWN_HINT) if is_own(parts, self.flow, ours=self.ours) else ("", "")

    def check(self, path: Path) -> None:
        """Raise LakeDenied where what is at ``path`` may not be touched."""
        message, hint = self.objection(path)
        if message:
            name = os.path.relpath(self._blamed(path), self.directory)
            raise LakeDenied(f"{name} {message}.", status=403, hint=hint)

    def _blamed(self, path: Path) -> Path:
        """The first link on the way to a path that leads beyond; else the path itself."""
        directory = os.path.abspath(self.directory)
        above = [each for each in reversed(path.parents) if each.is_relative_to(directory) and each.is_symlink()]
        return next((link for link in above if self.objection(link)[0]), path)

    def check_links(self, folder: Path) -> None:
        """Raise LakeDenied where a folder, or a link in it, leads to what may not be touched."""
        try:
            self.check(folder)
            links = list(_links(folder))
        except OSError as error:
            hint = "Check the owner and mode of the folder, and of those above it."
            raise LakeDenied(f"{folder}: {error.strerror or error}.", status=403, hint=hint) from error
        for link in links:
            self.check(link)


def _links(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_symlink())
