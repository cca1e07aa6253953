"""The lake operations on a local directory: atomic and conditional between threads and processes, durable once they
return.

A file is complete and synced to disk before it gets its name, so a reader sees the old content or the new, never a
mixture. Conditions (``if_match``, ``if_absent``, a rename that refuses an existing destination) hold between all
processes that use the same directory through this class; the advisory locks behind them vanish with their process, so a
killed writer blocks no other.

The directory has one hidden folder, ``.hygge_lake``, for locks, unfinished writes and folders on their way out. No
listing shows it and no path may name it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from hygge_engine.errors import LakeConditionNotMet, LakeConflict, LakeError, LakeNotFound
from hygge_engine.lake import base
from hygge_engine.lake.base import Content, PathInfo, Staged, StagingWriter, check_length
from hygge_engine.lake.local_os import (
    MOVE_AWAY,
    check_links,
    is_there,
    lake_errors,
    lock_files,
    move_without_replacing,
    open_file,
    root_errors,
    sync_directory,
)
from hygge_engine.project.models.disk import DiskReach

# Locks, unfinished writes and deleted folders live here, below the lake's root and on the same filesystem.
WORK_FOLDER = ".hygge_lake"

# Paths are spread over this many locks, so that writers of different files seldom wait for each other. Each lock has
# one unfinished write at most, which bounds what killed writers can leave behind.
LOCK_COUNT = 64

# A deleted folder stays as an empty shell for a day. It keeps its inode number, which a new folder could otherwise get
# at once, and with it the etag: a process that paused before deleting the old folder would then delete the new one.
SHELL_SECONDS = 86_400.0

# The coarsest modification time among common filesystems (FAT), in nanoseconds.
COARSEST_MTIME_NS = 2_000_000_000

# What would end a path or, on Windows, begin a new part or another drive.
_FORBIDDEN = set("\0\\:") if os.name == "nt" else {"\0"}


class LocalLake:
    """A directory as a `Lake`. ``root`` is made with the first write; a lake that is only read changes nothing.

    ``reach`` bounds where links may lead: what lies beyond is neither read nor written, and is LakeDenied.
    """

    def __init__(self, root: Path, reach: DiskReach | None = None) -> None:
        self._root = Path(os.path.abspath(root))
        self._reach = reach
        self._work = self._root / WORK_FOLDER

    @property
    def url(self) -> str:
        # For people: with blanks and umlauts as they are.
        return f"file:///{self._root.as_posix().removeprefix('/')}"

    def read(self, path: str) -> Content:
        with lake_errors(path), open_file(self._locate(path)) as file:
            # Both from one open file: a replacement in between goes to another inode.
            found = os.fstat(file.fileno())
            check_length(path, found.st_size)
            return Content(file.read(), _etag(found))

    def read_range(self, path: str, offset: int, length: int, *, if_match: str) -> bytes:
        with lake_errors(path), open_file(self._locate(path)) as file:
            file.seek(offset)
            data = file.read(length)
            # Afterwards, because a writer in place may have written while it was being read.
            if _etag(os.fstat(file.fileno())) != if_match:
                raise LakeConditionNotMet(f"{path} is not the file that was found.", status=412)
            return data

    def info(self, path: str) -> PathInfo | None:
        target = self._locate(path)
        found = self._listed(path)
        if found is None:
            check_links(target.parent)
        return found

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        target = self._locate(path)
        with lake_errors(path), self._locked(path) as unfinished:
            self._make_parents(target)
            current = _stat(target)
            if if_absent and current is not None:
                raise LakeConditionNotMet(f"{path} exists already.", status=412)
            if if_match is not None and (current is None or _etag(current) != if_match):
                raise LakeConditionNotMet(f"{path} is not the file that was read.", status=412)
            etag = _write_synced(unfinished, data, newer_than=current)
            if if_absent:
                self._move(unfinished, target, path, LakeConditionNotMet)
            else:
                os.replace(unfinished, target)
            sync_directory(target.parent)
            return etag

    def stage(self, path: str) -> StagingWriter:
        target = self._locate(path)
        with lake_errors(path):
            self._make_parents(target)
            return LocalStagingWriter(path, target)

    def rename(self, source: str, destination: str) -> None:
        origin, target = self._locate(source), self._locate(destination)
        with lake_errors(f"{source} or the folder of {destination}"), self._locked(destination, source):
            self._move(origin, target, destination, LakeConflict)
            sync_directory(target.parent)
            sync_directory(origin.parent)

    def make_directory(self, path: str) -> None:
        target = self._locate(path)
        with lake_errors(path):
            self._make_parents(target / "any")

    def delete(self, path: str) -> bool:
        target = self._locate(path)
        if not is_there(target, follow=False):
            return False
        try:
            with lake_errors(path), self._locked(path):
                if target.is_dir():
                    raise LakeConflict(f"{target} is a folder, and a file is needed there.", status=409, hint=MOVE_AWAY)
                target.unlink()
                sync_directory(target.parent)
                return True
        except LakeNotFound:
            return False

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        target = self._locate(path)
        if target == self._root:
            raise LakeError("The root of a lake is never deleted.")
        if not is_there(target, follow=False):
            return False
        try:
            with lake_errors(path), self._locked(path):
                status = target.stat()
                if not target.is_dir():
                    raise LakeConflict(f"{target} is a file, and a folder is needed there.", status=409, hint=MOVE_AWAY)
                if if_match is not None and _directory_etag(status) != if_match:
                    raise LakeConditionNotMet(f"{path} is not the folder that was read.", status=412)
                # One rename takes the whole folder out of sight; what follows may be interrupted.
                deleted = self._work / f"deleted-{uuid.uuid4().hex}"
                os.rename(target, deleted)
                os.utime(deleted)
                sync_directory(target.parent)
        except LakeNotFound:
            return False
        self._clear_deleted()
        return True

    def _clear_deleted(self) -> None:
        """Empty the folders on their way out, and delete yesterday's shells. Shells lie together by the hour, so that a
        deletion costs the same however many there were today."""
        shells = self._work / "shells"
        for deleted in self._work.glob("deleted-*"):
            if deleted.is_symlink():
                continue
            with contextlib.suppress(OSError):  # another process is clearing, too; what is left is for the next time
                with os.scandir(deleted) as contents:
                    for content in contents:
                        if content.is_dir(follow_symlinks=False):
                            shutil.rmtree(content.path)
                        else:
                            os.unlink(content.path)
                hour = shells / f"{time.time() // 3600:.0f}"
                hour.mkdir(parents=True, exist_ok=True)
                os.rename(deleted, hour / deleted.name)
        for hour in shells.glob("*"):
            with contextlib.suppress(OSError):
                if hour.stat().st_mtime < time.time() - SHELL_SECONDS:
                    shutil.rmtree(hour)

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        """Links are followed, and folders that several of them lead to are listed once; a link that leads nowhere, or
        to what may not be touched, is a file without an etag. Of a folder that holds more than can be kept in mind some
        are listed, before that is said: who wants no more than some has them."""
        found: list[PathInfo] = []
        seen: set[str] = set()
        pending, links = [directory], list[str]()
        while pending or links:
            # What is there itself comes before what links lead to.
            folder = pending.pop() if pending else links.pop(0)
            if folder == directory:
                self._locate(folder)
            elif self._reach is not None and self._reach.objection(self._place(folder))[0]:
                continue  # one of the project's own, as .git, or the engine's beside what a home reads
            if recursive and not self._is_first(folder, seen):
                continue
            for path in self._names(folder, base.LISTED_LIMIT + 1 - len(found)):
                entry = self._listed(path) or self._dangling(path)
                if entry is not None:  # otherwise deleted since the names were read
                    found.append(entry)
                    if recursive and entry.is_directory:
                        (links if entry.link else pending).append(path)
            if len(found) > base.LISTED_LIMIT:
                break
        if not found:
            place = self._place(directory)
            check_links(place.parent if directory else place)  # a link at the place itself is an entry of its folder
        yield from sorted(found, key=lambda entry: entry.path)
        if len(found) > base.LISTED_LIMIT:
            raise base.too_many(directory, base.LISTED_LIMIT)

    def _listed(self, path: str) -> PathInfo | None:
        """An entry of a folder that may be touched; None for a link that leads nowhere, or beyond."""
        target = self._place(path)
        try:
            with lake_errors(path):
                link = os.readlink(target) if target.is_symlink() else ""
                if link and self._reach is not None and self._reach.objection(target)[0]:
                    return None
                return _path_info(path, target.stat(), link)
        except LakeNotFound:
            return None

    def _is_first(self, directory: str, seen: set[str]) -> bool:
        """Whether a folder has not been seen under another path."""
        try:
            with lake_errors(directory):
                status = self._place(directory).stat()
        except LakeNotFound:
            return False
        identity = _directory_etag(status)
        if identity in seen:
            return False
        seen.add(identity)
        return True

    def _dangling(self, path: str) -> PathInfo | None:
        target = self._place(path)
        with lake_errors(path):
            if not target.is_symlink():
                return None
            return PathInfo(path, False, 0, "", datetime.fromtimestamp(0, UTC), os.readlink(target))

    def _names(self, directory: str, most: int) -> Sequence[str]:
        try:
            with lake_errors(directory), os.scandir(self._place(directory)) as entries:
                names = (entry.name for entry in entries if directory or entry.name != WORK_FOLDER)
                found = list(islice(names, most))
        except LakeNotFound:
            return []
        return [f"{directory}/{name}" for name in found] if directory else found

    def now(self) -> datetime:
        return datetime.now(UTC)

    def _locate(self, path: str) -> Path:
        """The file behind a lake path. Raises LakeError where the path could leave the lake, LakeDenied where links
        lead it to what may not be touched."""
        target = self._place(path)
        if self._reach is not None:
            with lake_errors(path):
                self._reach.check(target)
        return target

    def _place(self, path: str) -> Path:
        if not path:
            return self._root
        parts = path.split("/")
        if parts[0] == WORK_FOLDER or any(part in ("", ".", "..") or set(part) & _FORBIDDEN for part in parts):
            raise LakeError(f"{path!r} is not a path inside the lake.", hint="Use names joined by single slashes.")
        return self._root.joinpath(*parts)

    def _make_parents(self, target: Path) -> None:
        missing = []
        for parent in target.parents:
            if parent.is_dir():
                break
            # Looked at again in this order: another writer may just have made the folder.
            if self._root in parent.parents and os.path.lexists(parent) and not parent.is_dir():
                raise LakeConflict(f"{parent} is a file, and a folder is needed there.", status=409, hint=MOVE_AWAY)
            missing.append(parent)
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
            sync_directory(parent.parent)

    def _move(self, origin: Path, target: Path, path: str, refusal: type[LakeError]) -> None:
        try:
            move_without_replacing(origin, target)
        except FileExistsError:
            status = 412 if refusal is LakeConditionNotMet else 409
            raise refusal(f"{path} exists already.", status=status) from None

    @contextlib.contextmanager
    def _locked(self, *paths: str) -> Iterator[Path]:
        """Hold the locks of some paths, and yield where the holder of the first may write an unfinished file."""
        if self._reach is not None:
            self._reach.check_links(self._work)
        numbers = [int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) % LOCK_COUNT for path in paths]
        with root_errors(self._root):
            self._make_parents(self._work / "any")
        # In one order for everybody, so that two renames cannot wait for each other.
        with lock_files([self._work / f"{number:02}.lock" for number in sorted(set(numbers))]):
            yield self._work / f"{numbers[0]:02}.unfinished"


class LocalStagingWriter:
    """A staged file on local disk; bytes go straight to it."""

    def __init__(self, path: str, target: Path) -> None:
        self.closed = False
        self._path = path
        self._target = target
        # A new inode: a process that still writes to an older file of this name does not reach ours.
        target.unlink(missing_ok=True)
        self._file: BinaryIO = target.open("xb")
        self._inode = os.fstat(self._file.fileno()).st_ino
        self._hash = hashlib.sha256()
        self._length = 0

    def write(self, data: bytes | memoryview, /) -> int:
        with lake_errors(self._path):
            self._file.write(data)
        self._hash.update(data)
        count = memoryview(data).nbytes
        self._length += count
        return count

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Nothing: `finish` flushes once."""

    def finish(self) -> Staged:
        with lake_errors(self._path):
            self._file.flush()
            _stamp_and_sync(self._file, newer_than=None)
            self._close()
            found = self._target.stat()
            sync_directory(self._target.parent)
        if (found.st_ino, found.st_size) != (self._inode, self._length):
            raise LakeError(
                f"{self._path} holds {found.st_size} bytes where {self._length} were written.",
                hint="Something else writes to the staging folder.",
            )
        return Staged(self._path, self._length, self._hash.hexdigest())

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._close()
            if self._target.stat().st_ino == self._inode:
                self._target.unlink()

    def _close(self) -> None:
        self.closed = True
        self._file.close()


def _write_synced(path: Path, data: bytes, *, newer_than: os.stat_result | None) -> str:
    """Write a new file, make it durable and return its etag."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        return _etag(_stamp_and_sync(file, newer_than=newer_than))


def _stamp_and_sync(file: BinaryIO, *, newer_than: os.stat_result | None) -> os.stat_result:
    """Give a file a modification time of its own, later than that of the file it replaces, and sync it.

    The kernel's own stamp may be milliseconds coarse and inode numbers are used again, so two versions of a small file
    could otherwise end with the same etag.
    """
    descriptor = file.fileno()
    previous = 0 if newer_than is None else newer_than.st_mtime_ns
    stamp = max(time.time_ns(), previous + 1)
    os.utime(file.name, ns=(stamp, stamp))
    if os.fstat(descriptor).st_mtime_ns <= previous:
        os.utime(file.name, ns=(stamp, previous + COARSEST_MTIME_NS))
    os.fsync(descriptor)
    return os.fstat(descriptor)


# Opening one of these may block for ever.
_SPECIAL = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _path_info(path: str, status: os.stat_result, link: str) -> PathInfo:
    is_directory = stat.S_ISDIR(status.st_mode)
    return PathInfo(
        path=path,
        is_directory=is_directory,
        length=0 if is_directory else status.st_size,
        etag=_directory_etag(status) if is_directory else _etag(status),
        modified=datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC),
        link=link,
        special=next((name for is_one, name in _SPECIAL if is_one(status.st_mode)), ""),
    )


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"


def _directory_etag(status: os.stat_result) -> str:
    # A folder's modification time follows its entries; what identifies the folder itself is its inode.
    return f"{status.st_dev:x}-{status.st_ino:x}"
