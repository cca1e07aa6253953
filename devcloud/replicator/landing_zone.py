"""The few file verbs that the replicator needs of an item, and their implementation on a directory."""

import os
import shutil
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

FILES = "Files"
LANDING_ZONE = "Files/LandingZone"
MONITORING = "Files/Monitoring"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder. `path` is relative to the item, `size` in bytes, `last_modified` in seconds since 1970."""

    name: str
    path: str
    is_directory: bool
    size: int
    etag: str
    last_modified: float


class LandingZoneUnavailable(OSError):
    """The storage did not respond, or refused; the tick ends and the next one tries again."""


class LandingZone(Protocol):
    """The files of one mirrored database. Every verb raises FileNotFoundError for what is not there."""

    def list_folder(self, path: str) -> list[Entry]:
        """Return the direct children of a folder, in no particular order."""

    def identify_folder(self, folder: Entry) -> str:
        """Return what stays with a folder for its life and differs once it was deleted and created again."""

    def open_file(self, entry: Entry) -> pa.NativeFile:
        """Open a file for random access."""

    def move_into(self, entry: Entry, folder: str) -> None:
        """Move a file into the sub-folder `folder` beside it, made on demand, never its parent."""

    def delete_file(self, path: str) -> None:
        """Delete one file."""

    def replace_file(self, path: str, content: bytes) -> None:
        """Write a whole file so that a reader sees the old content or the new one."""


_IDENTITY_ATTRIBUTE = "user.hygge.folder"
IDENTITY_FILE = "_folder_identity"


class DirectoryLandingZone:
    """An item kept as plain files in a directory, written by other processes at the same time."""

    def __init__(self, item_directory: Path) -> None:
        self._root = item_directory

    def list_folder(self, path: str) -> list[Entry]:
        """Return the children of a folder; a file that vanishes meanwhile is left out."""
        entries = []
        try:
            with os.scandir(self._root / path) as found:
                for item in found:
                    try:
                        status = item.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    entries.append(
                        Entry(
                            item.name,
                            f"{path}/{item.name}",
                            item.is_dir(follow_symlinks=False),
                            status.st_size,
                            f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}",
                            status.st_mtime,
                        )
                    )
        except NotADirectoryError as error:
            raise FileNotFoundError(path) from error
        return entries

    def identify_folder(self, folder: Entry) -> str:
        """Return the folder's mark, and mark it when it has none.

        A new folder may get the inode number of the deleted one at once, and its times change with its contents, so
        neither identifies it. A mark in an extended attribute goes with the folder, shows in no listing and does not
        get in the way of its deletion; a file serves where the file system has no such attributes.
        """
        directory = self._root / folder.path
        if sys.platform == "linux":
            try:
                return _mark_by_attribute(directory)
            except FileNotFoundError:
                raise
            except OSError:
                return _mark_by_file(directory)
        else:
            return _mark_by_file(directory)

    def open_file(self, entry: Entry) -> pa.NativeFile:
        """Open a file without mapping it into memory: a writer that truncates a mapped file would kill the reader."""
        return pa.OSFile(str(self._root / entry.path), "r")

    def move_into(self, entry: Entry, folder: str) -> None:
        """Rename a file into a sub-folder beside it; never recreate a table folder that was deleted meanwhile."""
        source = self._root / entry.path
        destination = source.parent / folder
        with suppress(FileExistsError):
            os.mkdir(destination)
        os.rename(source, destination / entry.name)

    def delete_file(self, path: str) -> None:
        """Delete one file."""
        os.unlink(self._root / path)

    def replace_file(self, path: str, content: bytes) -> None:
        """Write beside the file and rename over it."""
        target = self._root / path
        target.parent.parent.mkdir(exist_ok=True)
        target.parent.mkdir(exist_ok=True)
        staged = target.with_name(f"_{target.name}.{os.getpid()}")
        staged.write_bytes(content)
        os.replace(staged, target)


def _mark_by_attribute(directory: Path) -> str:
    with suppress(FileExistsError):
        os.setxattr(directory, _IDENTITY_ATTRIBUTE, uuid.uuid4().hex.encode(), os.XATTR_CREATE)
    return os.getxattr(directory, _IDENTITY_ATTRIBUTE).decode()


def _mark_by_file(directory: Path) -> str:
    mark = directory / IDENTITY_FILE
    try:
        with mark.open("x") as file:
            file.write(uuid.uuid4().hex)
    except FileExistsError:
        pass
    return mark.read_text()


def remove_tree(directory: Path) -> None:
    """Remove a directory in one step for every reader: renamed out of sight first, then emptied."""
    hidden = directory.with_name(f"_removed-{uuid.uuid4().hex}")
    try:
        os.rename(directory, hidden)
    except FileNotFoundError:
        return
    shutil.rmtree(hidden)
