"""Filesystems as directories on disk: `<root>/<filesystem>/<path>`, readable by anything, also while the server runs.

Every change becomes visible in one rename, so that neither a reader on disk nor a killed server ever leaves half of
one.

A file's ETag and Last-Modified are its inode, size and modification time, which the tree sets itself to strictly
increasing stamps: they need no table, survive restarts and renames, and change when the file is written to behind the
server's back. A directory's modification time changes with its children, so its stamp is recorded, together with its
inode.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Final

from devcloud.onelake.behaviour import Behaviour
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.marks import DirectoryMarks
from devcloud.onelake.records import Records, Value

STATE_FOLDER: Final = ".devcloud"

# Copies go through a buffer of this many bytes: large enough for the disk, small enough not to matter.
COPY_BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """A file or directory as it is now. `length` in bytes, `modified_ns` in nanoseconds since 1970, `etag` without
    quotes.
    """

    path: str
    is_directory: bool
    length: int
    modified_ns: int
    etag: str


class Clock:
    """The service's clock: the machine's, shifted by `offset_seconds`, which a test may set at any time."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0
        self._last = 0

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns() + int(self.offset_seconds * 1_000_000_000)

    def stamp_ns(self) -> int:
        """Like `now_ns`, but no two calls of one server return the same: two changes never share an ETag."""
        now = self.now_ns()
        # A clock that was set back a long way starts again; one that merely did not tick is pushed on.
        self._last = now if now > self._last or self._last - now > 1_000_000_000 else self._last + 1
        return self._last


class Tree:
    """All filesystems below one root. Hold `lock` around anything that reads and then writes."""

    def __init__(self, root: Path, clock: Clock, behaviour: Behaviour) -> None:
        self.root = root
        self._behaviour = behaviour
        self.clock = clock
        self.lock = threading.RLock()
        self._prefix = f"{root}/"
        self._staging = root / STATE_FOLDER / "staged"
        self._staging.mkdir(parents=True, exist_ok=True)
        self.records = Records(root / STATE_FOLDER / "records.sqlite")
        self._marks = DirectoryMarks()
        self._names = count(time.time_ns())
        self._sweep()

    def close(self) -> None:
        """Close the records; the contents stay."""
        self.records.close()

    def _sweep(self) -> None:
        """Drop what a killed server left: spooled bodies that no record names, records of paths that are gone."""
        kept = set()
        for path, kind, _, value in self.records.all():
            if kind not in ("block", "filesystem") and not os.path.lexists(self.disk(path)):
                self.records.delete(path, kind)
            elif kind in ("part", "block"):
                kept.add(value["file"])
        for leftover in self._staging.iterdir():
            if leftover.name not in kept:
                self._destroy(leftover)

    @staticmethod
    def _destroy(path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def disk(self, key: str) -> str:
        """Where a path lies on disk; `key` is `<filesystem>/<path>`."""
        return self._prefix + key

    def spool(self) -> Path:
        """A new file name outside every filesystem, on the same disk."""
        return self._staging / f"{next(self._names):x}"

    def spooled(self, name: str) -> Path:
        """The spooled file that a record names."""
        return self._staging / name

    def filesystems(self) -> list[str]:
        """Names of all filesystems, sorted."""
        return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir() and entry.name != STATE_FOLDER)

    def find(self, key: str) -> Node | None:
        """What is at a path, or None."""
        try:
            status = os.stat(self.disk(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _refusal(error) from error
        return self.node(key, status)

    def node(self, key: str, status: os.stat_result) -> Node:
        """A path with a status that was read already."""
        if not stat.S_ISDIR(status.st_mode):
            return Node(key, False, status.st_size, status.st_mtime_ns, _file_etag(status))
        stamp = self._directory_stamp(key, status.st_ino)
        match self._behaviour.folder_etag:
            case "own":
                etag = f"0x{stamp:X}"
            case "contents":
                # The file system's clock is coarse: folders that change within one of its ticks have one time.
                etag = f"0x{status.st_mtime_ns:X}{status.st_ino:X}"
            case "name":
                etag = f"0x8{blake2b(key.encode(), digest_size=7).hexdigest().upper()}"
        return Node(key, True, 0, stamp, etag)

    def _directory_stamp(self, key: str, inode: int) -> int:
        mark = self._marks.read(self.disk(key))
        recorded = self.records.get(key, "directory")
        if recorded is not None and recorded["inode"] == inode:
            stamp: int = recorded["stamp"]
            if mark == (stamp, inode) or not self._marks.supported:
                return stamp
        # One that was moved on disk brings its stamp along; one that was made there has none yet.
        moved = mark is not None and mark[1] == inode
        return self._stamp_directory(key, inode, mark[0] if mark and moved else self.clock.stamp_ns())

    def _stamp_directory(self, key: str, inode: int, stamp: int) -> int:
        self._marks.write(self.disk(key), stamp, inode)
        self.records.put(key, "directory", {"stamp": stamp, "inode": inode})
        return stamp

    def make_directory(self, key: str) -> None:
        """Create a directory and the directories above it, each with a stamp of its own; an existing one is left as it
        is.

        Raises `PathConflict` when a file is in the way.
        """
        disk = self.disk(key)
        try:
            os.mkdir(disk)
        except FileExistsError:
            if not os.path.isdir(disk):
                raise ServiceError("PathConflict") from None
            return
        except FileNotFoundError:
            self.make_directory(key.rpartition("/")[0])
            os.mkdir(disk)
        except OSError as error:
            raise _refusal(error) from error
        self.forget(key)
        self._stamp_directory(key, os.stat(disk).st_ino, self.clock.stamp_ns())

    def check_parents(self, key: str) -> None:
        """Raise `PathConflict` when a file is where a directory above `key` would have to be."""
        parent = key.rpartition("/")[0]
        while parent:
            disk = self.disk(parent)
            if os.path.isdir(disk):
                return
            if os.path.lexists(disk):
                raise ServiceError("PathConflict")
            parent = parent.rpartition("/")[0]

    def restamp(self, key: str) -> None:
        """Give a path a new ETag and Last-Modified without touching its contents."""
        node = self.find(key)
        if node is None:
            raise ServiceError("PathNotFound")
        if node.is_directory:
            self._stamp_directory(key, os.stat(self.disk(key)).st_ino, self.clock.stamp_ns())
        else:
            stamp = self.clock.stamp_ns()
            os.utime(self.disk(key), ns=(stamp, stamp))

    def publish(self, staged: Path, key: str) -> Node:
        """Make a staged file the contents of a path, in one rename, with a new ETag. Parents are created."""
        stamp = self.clock.stamp_ns()
        os.utime(staged, ns=(stamp, stamp))
        disk = self.disk(key)
        try:
            os.rename(staged, disk)
        except FileNotFoundError:
            self.make_directory(key.rpartition("/")[0])
            os.rename(staged, disk)
        except OSError as error:
            raise _refusal(error) from error
        return self.node(key, os.stat(disk))

    def publish_empty(self, key: str) -> Node:
        """Create an empty file, or replace a file by an empty one."""
        staged = self.spool()
        staged.touch()
        return self.publish(staged, key)

    def join(self, *pieces: tuple[Path | str, int]) -> Path:
        """A new staged file from the first `length` bytes of each piece."""
        staged = self.spool()
        with staged.open("wb", buffering=0) as output:
            for piece, length in pieces:
                with open(piece, "rb", buffering=0) as data:
                    left = length
                    while left and (chunk := data.read(min(left, COPY_BUFFER_BYTES))):
                        output.write(chunk)
                        left -= len(chunk)
        return staged

    def rename(self, source: str, destination: str, *, keep_etag: bool) -> None:
        """Move a file or directory, records included, in one rename; the caller has checked what is at both ends."""
        try:
            os.rename(self.disk(source), self.disk(destination))
        except OSError as error:
            raise _refusal(error) from error
        self.forget(destination)
        self.records.move_tree(source, destination)
        if not keep_etag:
            self.restamp(destination)

    def remove(self, node: Node) -> None:
        """Remove a file, or a directory with everything below it, at once."""
        disk = self.disk(node.path)
        try:
            if node.is_directory:
                trash = self.spool()
                os.rename(disk, trash)
                shutil.rmtree(trash)
            else:
                os.unlink(disk)
        except FileNotFoundError:
            raise ServiceError("PathNotFound") from None
        self.forget(node.path)

    def forget(self, key: str) -> None:
        """Drop everything recorded about a path and all below it, uncommitted uploads included."""
        for name in self.records.delete_tree(key):
            self.spooled(name).unlink(missing_ok=True)

    def is_empty(self, key: str) -> bool:
        """Whether a directory has no entries."""
        with os.scandir(self.disk(key)) as entries:
            return next(entries, None) is None

    def keep_parts(self, key: str, kept: dict[str, Value]) -> None:
        """Drop the appended parts of a file, those in `kept` excepted."""
        for name, part in self.records.entries(key, "part").items():
            if name not in kept:
                self.spooled(part["file"]).unlink(missing_ok=True)
        self.records.replace(key, "part", kept)

    def walk(self, key: str, *, recursive: bool, after: tuple[str, ...] = ()) -> Iterator[Node]:
        """Entries below a directory, parents before children, names in code point order, resuming after a path relative
        to `key`.
        """
        try:
            with os.scandir(self.disk(key)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if not key and entry.name == STATE_FOLDER:
                continue
            resumed = bool(after) and entry.name == after[0]
            if after and entry.name < after[0]:
                continue
            child = f"{key}/{entry.name}"
            # Files may disappear from the disk between the listing and the look at each.
            with suppress(FileNotFoundError):
                is_directory = entry.is_dir()
                if not resumed:
                    yield self.node(child, entry.stat())
                if recursive and is_directory:
                    yield from self.walk(child, recursive=True, after=after[1:] if resumed else ())


def _file_etag(status: os.stat_result) -> str:
    digest = blake2b(digest_size=7)
    digest.update(f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}".encode())
    return f"0x8{digest.hexdigest().upper()}"


def _refusal(error: OSError) -> ServiceError:
    """The service's name for what the disk refused."""
    match error.errno:
        case errno.ENOTDIR | errno.EEXIST | errno.EISDIR:
            return ServiceError("PathConflict")
        case errno.ENOENT:
            return ServiceError("PathNotFound")
        case errno.ENOTEMPTY:
            return ServiceError("DirectoryNotEmpty")
        case errno.EINVAL:
            return ServiceError("InvalidRenameSourcePath")
        case errno.ENAMETOOLONG:
            return ServiceError("InvalidUri", "A path component is too long.")
    return ServiceError("InternalError", str(error))
