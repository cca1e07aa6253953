"""The file-system operations that landing and journal are built from, on a data lake or a local directory.

Paths are relative to the lake's root (a filesystem, or a folder in it), with ``/`` between parts and no leading ``/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol

from hygge_engine.errors import LakeError

# What is read whole are documents of kilobytes, and the journal's canonical file: a million runs take 100 MB. Bytes and
# what is made of them are in memory together, some three times this, which an instance of 2 GB still has beside a load.
READ_LIMIT_BYTES = 128 << 20

# Entries of one of the engine's folders that are held in memory at once, some 400 bytes each: 40 MB. A table has so
# many files after three years of loads every quarter of an hour, the journal so many small ones if its fold has never
# run.
LIST_LIMIT = 100_000

# Entries of any folder that are read, in whatever order a service lists them: the 200,000 files that a home of files
# may have, with as many folders around them. 160 MB.
LISTED_LIMIT = 400_000


def check_length(path: str, length: int) -> None:
    """Raise LakeError for a file that is too large to be read whole."""
    if length > READ_LIMIT_BYTES:
        raise LakeError(
            f"{path} has {length:,} bytes, more than anything that hygge-engine writes there.",
            hint="Another program has put it there: move it away, and load again.",
        )


def bounded(entries: Iterable[PathInfo], folder: str) -> list[PathInfo]:
    """What a listing has, as a list. Raises LakeError where it has more than fits into memory."""
    found = list(islice(entries, LIST_LIMIT + 1))
    if len(found) > LIST_LIMIT:
        raise too_many(folder, LIST_LIMIT)
    return found


def too_many(folder: str, limit: int) -> LakeError:
    """The error about a folder with more entries than fit into memory."""
    return LakeError(
        f"{folder} holds more than {limit:,} files and folders, the limit for one listing.",
        hint="Move away what is not needed there, or compact the journal: `hygge compact`.",
    )


@dataclass(frozen=True)
class PathInfo:
    """One file or folder. ``length`` in bytes, 0 for a folder; ``etag`` changes whenever a file's content does, and is
    empty where there is none. ``link`` is where a symbolic link of a local directory leads, ``special`` what an entry
    is that is neither file nor folder."""

    path: str
    is_directory: bool
    length: int
    etag: str
    modified: datetime
    link: str = ""
    special: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


def foreign(entry: PathInfo) -> str:
    """What an entry is that none of the engine's own files can be; empty where it may be one."""
    if entry.link:
        return "a link"
    if entry.is_directory or entry.special:
        return entry.special or "a folder"
    return f"a file of {entry.length:,} bytes" if entry.length > READ_LIMIT_BYTES else ""


@dataclass(frozen=True)
class Content:
    """A file's bytes together with the etag they had."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class Staged:
    """A file that is complete and flushed, but not yet where readers look. ``sha256`` in hexadecimal, ``length`` in
    bytes."""

    path: str
    length: int
    sha256: str


class StagingWriter(Protocol):
    """A binary sink that becomes a staged file; bounded memory. pyarrow's ParquetWriter can write into it."""

    closed: bool

    def write(self, data: bytes | memoryview, /) -> int: ...

    def tell(self) -> int:
        """Bytes taken in so far."""
        ...

    def flush(self) -> None:
        """Nothing: a staged file is flushed once, in `finish`."""
        ...

    def finish(self) -> Staged:
        """Flush once and check the length at the destination."""
        ...

    def abandon(self) -> None:
        """Drop what was written; never raises."""
        ...


class Lake(Protocol):
    """A data lake's filesystem or a local directory. Thread-safe.

    Every operation raises the LakeError family and retries transient faults within the budget of `hygge_engine.retry`.
    An operation that is retried after a lost response may find its own work done: ``put`` then raises
    LakeConditionNotMet and ``rename`` LakeNotFound, and the caller, which knows what it wrote, decides (the landing
    protocol's nonce and staged-file rules).
    """

    @property
    def url(self) -> str:
        """Where the lake is, without any secret: for messages."""
        ...

    def read(self, path: str) -> Content:
        """A whole small file. Raises LakeNotFound."""
        ...

    def read_range(self, path: str, offset: int, length: int, *, if_match: str) -> bytes:
        """``length`` bytes of a file from ``offset`` on, all of them within it.

        Raises LakeConditionNotMet where ``if_match`` is not the file's etag any more, LakeNotFound.
        """
        ...

    def info(self, path: str) -> PathInfo | None:
        """Properties of a file or folder; None where there is none."""
        ...

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        """Replace a whole small file in one request and return its new etag; parents are created as needed.

        ``staged`` is where the file is completed on a lake that can only rename: where the folder is watched, outside
        of it; else it is beside the file, where no listing shows it.
        Raises LakeConditionNotMet where ``if_match`` is not the file's etag, or where ``if_absent`` and the file
        exists.
        """
        ...

    def stage(self, path: str) -> StagingWriter:
        """Begin a file that will be complete before it is visible under its final name."""
        ...

    def rename(self, source: str, destination: str) -> None:
        """Move a file to a path that must not exist. Raises LakeNotFound (source), LakeConflict (destination
        exists)."""
        ...

    def make_directory(self, path: str) -> None:
        """Make a folder with its parents; one that exists already stays untouched."""
        ...

    def delete(self, path: str) -> bool:
        """Delete a file; False where there was none."""
        ...

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        """Delete a folder with its content; False where there was none. Raises LakeConflict while it is being read."""
        ...

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        """The folder's entries, in name order; nothing where the folder does not exist."""
        ...

    def now(self) -> datetime:
        """The service's clock in UTC, by its last responses: ownership expires by this clock."""
        ...
