"""Where homes read and stores write, so that both can be compared without a connection.

Names are compared without case and in one Unicode form: not every place distinguishes them, and what differs there only
is hardly ever meant.
"""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from hygge_engine.letter_case import confusable, in_any_case

# What stands for the disk of this machine.
DISK = "disk"

# How many entries below a local pattern are looked at for links that lead elsewhere.
MOST_ENTRIES = 1_000

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Location:
    """A folder, file or pattern, ``parts`` of a path in the lake, disk or database ``root``.

    Of a pattern the first ``literal`` parts are names. ``table`` is one within a file.
    """

    root: str
    parts: tuple[str, ...]
    literal: int
    table: str = ""

    @cached_property
    def fixed(self) -> tuple[str, ...]:
        """The parts that are names, however they are written."""
        return tuple(confusable(part) for part in self.parts[: self.literal])

    def reaches(self, other: Location) -> bool:
        """Whether it could name anything in the folder ``other``, or the file, where that is a table's."""
        return self.root == other.root and _meets(self, 0, other.parts[: other.literal], is_file=bool(other.table))


def location(root: str, path: str, *, literal: int | None = None, table: str = "") -> Location:
    """The location of a path or pattern with ``/`` between its parts; wildcards count from the part ``literal`` on, for
    None from the first one that has any."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if literal is None:
        literal = next((number for number, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    return Location(confusable(root), parts, literal, confusable(table))


def folder_in(root: str, path: str) -> Location:
    """A folder, in whose path nothing is a wildcard."""
    return location(root, path, literal=_ALL)


def folder_on_disk(path: Path, *, table: str = "") -> Location:
    """A folder or file of this machine, wherever links lead to."""
    return location(DISK, Path(os.path.realpath(path)).as_posix(), literal=_ALL, table=table)


def pattern_on_disk(base: Path, rest: Sequence[str]) -> list[Location]:
    """A pattern below a directory of this machine, and what links below that lead to."""
    real = Path(os.path.realpath(base))
    depth = len([part for part in real.as_posix().split("/") if part])
    found = [location(DISK, "/".join([real.as_posix(), *rest]), literal=depth)]
    for link in _links(real):
        shown = location(DISK, link.as_posix(), literal=_ALL).parts
        if any(_meets(found[0], 0, shown, is_file=is_file) for is_file in (False, True)):
            found.append(folder_on_disk(link))
    return found


_ALL = 1 << 30


def _links(base: Path) -> Iterator[Path]:
    """Symbolic links below a directory, of the first few entries."""
    left = MOST_ENTRIES
    for folder, folders, files in os.walk(base):
        for name in (*folders, *files):
            left -= 1
            if left < 0:
                return
            path = Path(folder, name)
            if os.path.islink(path):
                yield path


@lru_cache(maxsize=65_536)  # of a pattern with many `**` the same rest is asked for again and again
def _meets(pattern: Location, at: int, place: tuple[str, ...], *, is_file: bool) -> bool:
    """Whether the pattern's parts from ``at`` on could name a file, or anything in a folder."""
    is_plain = at == len(pattern.parts) <= pattern.literal  # a folder is read with all that is below it
    if not place:
        rest = pattern.parts[at:]
        return is_plain or (set(rest) <= {"**"} if is_file else bool(rest))
    if at == len(pattern.parts):
        return is_plain
    part = pattern.parts[at]
    if at < pattern.literal:
        return confusable(part) == confusable(place[0]) and _meets(pattern, at + 1, place[1:], is_file=is_file)
    is_hidden = place[0].startswith((".", "_")) and "=" not in place[0]
    if part == "**":
        deeper = not is_hidden and _meets(pattern, at, place[1:], is_file=is_file)
        return deeper or _meets(pattern, at + 1, place, is_file=is_file)
    named = not is_hidden and _could_name(part, place[0])
    return named and _meets(pattern, at + 1, place[1:], is_file=is_file)


def _could_name(pattern: str, name: str) -> bool:
    """Whether a pattern matches a name in any form that a place may keep it in: a ``?`` stands for one letter, of which
    `confusable` makes two of `ß`, and NFD of `é`."""
    return any(fnmatch.fnmatchcase(form(name), form(pattern)) for form in (confusable, _composed, _decomposed))


def _composed(name: str) -> str:
    return in_any_case(unicodedata.normalize("NFC", name))


def _decomposed(name: str) -> str:
    return in_any_case(unicodedata.normalize("NFD", name))
