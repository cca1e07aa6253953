"""The summary of landing states: documents of many tables in one file, each with the etag that it was read with.

A cache and nothing else: see docs/idle.md. Whatever is wrong with it, an entry either is the state that the listing
shows, or it does not count.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

from hygge_engine.errors import HyggeError, LakeNotFound, LandingUnreadable
from hygge_engine.lake.base import Lake, PathInfo, bounded, foreign
from hygge_engine.stores.landing.state import LandingState

_log = logging.getLogger(__name__)

# Raised when an entry changes its meaning; a summary of another format has no entries.
FORMAT = 1

# A document of a table whose newest rows are remembered one by one has some 100 KB; larger ones are not kept.
MOST_STATE_BYTES = 256 << 10

# All documents together, and what becomes of them compressed: a typical one has 2 KB, and takes a tenth of it.
MOST_BYTES = 64 << 20
MOST_COMPRESSED_BYTES = 16 << 20

_LEVEL = 6


@dataclass(frozen=True)
class Entry:
    """What is known of one table: the ``document`` of its landing state, read with this ``etag``; ``looked`` (ISO 8601,
    UTC) is when an activity has looked at the table last. ``check`` covers all of it, and the table's name."""

    etag: str
    looked: str
    document: str
    check: str

    @classmethod
    def of(cls, path: str, etag: str, looked: str, document: str) -> Entry:
        """The entry of the landing state at ``path``."""
        return cls(etag, looked, document, _check(path, etag, looked, document))

    def state(self, found: PathInfo) -> LandingState | None:
        """The landing state, if the one that a listing has ``found`` is still this one; else None."""
        if self.etag != found.etag or not self.etag or len(self.document.encode()) != found.length:
            return None
        if self.check != _check(found.path, self.etag, self.looked, self.document):
            return None
        try:
            return LandingState.from_json(self.document.encode(), found.path)[0]
        except LandingUnreadable:
            return None

    def looked_at(self) -> datetime | None:
        """When an activity has looked at the table; None where that is no time."""
        try:
            moment = datetime.fromisoformat(self.looked)
        except ValueError:
            return None
        return moment if moment.tzinfo else None


class LandingSummary:
    """The landing states below one ``root`` (``…/.hygge_journal``), as a project remembers them."""

    def __init__(self, lake: Lake, root: str, project: str) -> None:
        self._lake = lake
        self._landing = f"{root}/landing"
        self._path = f"{root}/landing_summary/{hashlib.sha256(project.encode()).hexdigest()[:16]}.gz"

    def listed(self) -> dict[str, PathInfo]:
        """The landing states that there are, by path. Raises the LakeError family."""
        entries = bounded(self._lake.list(self._landing, recursive=True), self._landing)
        return {entry.path: entry for entry in entries if entry.name.endswith(".json") and not foreign(entry)}

    def read(self) -> dict[str, Entry]:
        """The entries by path of their states; none where there is no summary that can be read."""
        try:
            found = self._lake.info(self._path)
            if found is None or foreign(found) or found.length > MOST_COMPRESSED_BYTES:
                return {}
            return dict(_entries(self._lake.read(self._path).data))
        except LakeNotFound:
            return {}
        except (HyggeError, zlib.error, ValueError, RecursionError) as error:
            _log.warning("The summary of landing states, %s, is not used: %s", self._path, error)
            return {}

    def write(self, entries: Mapping[str, Entry]) -> None:
        """Replace the summary; entries for which there is no room are left out. Raises the LakeError family."""
        kept, left = {}, MOST_BYTES
        for path, entry in entries.items():
            left -= len(path) + sum(len(part) for part in astuple(entry))
            if left < 0:
                break
            kept[path] = astuple(entry)
        packed = zlib.compress(json.dumps({"format": FORMAT, "entries": kept}).encode(), _LEVEL, zlib.MAX_WBITS | 16)
        self._lake.put(self._path, packed)

    def look(self, path: str, looked: str) -> Entry | None:
        """The entry of a landing state as it is now; None where it is none that is kept. Raises the LakeError
        family."""
        try:
            content = self._lake.read(path)
            if len(content.data) > MOST_STATE_BYTES:
                return None
            return Entry.of(path, content.etag, looked, content.data.decode())
        except (LakeNotFound, UnicodeDecodeError):
            return None


def _entries(packed: bytes) -> Iterator[tuple[str, Entry]]:
    """The entries of a summary, those left out that are none. Raises zlib.error, ValueError for what is no summary."""
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    data = unpacking.decompress(packed, 2 * MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("it is cut off, or larger than anything that is written there")
    value: Any = json.loads(data)
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("entries"), dict):
        raise ValueError("it was written by another version, or by another program")
    for path, parts in value["entries"].items():
        if (
            isinstance(parts, list)
            and len(parts) == len(Entry.__annotations__)
            and all(isinstance(p, str) for p in parts)
        ):
            yield path, Entry(*parts)


def _check(*parts: str) -> str:
    """A checksum that holds for these parts, and for no others."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
