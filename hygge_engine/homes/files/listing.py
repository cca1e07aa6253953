"""Which files a path means, in which order, and what their folders say about their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from urllib.parse import unquote

from hygge_engine.errors import HomeError, HomeNotFound
from hygge_engine.homes.files.settings import FileFormat, extensions_of, format_of
from hygge_engine.lake.base import Lake, PathInfo
from hygge_engine.lake.local_os import RESTORE_LINK
from hygge_engine.plain_text import first_few, one_line

_WILDCARD = re.compile(r"[*?\[]")

# What Hive, and Spark after it, write as the value of a partition whose column is NULL.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

# Each slice lists its files and keeps what it finds: this many take a hundred megabytes.
FILES_LIMIT = 200_000

_DELTA_LOG = "_delta_log"

# Why files are left out.
_UNLIKE = "because their names do not end in {}"
_HIDDEN = "because their names begin with _, . or ~$"
_EMPTY = "because they are empty (0 bytes)"


@dataclass(frozen=True)
class SourceFile:
    """One file, and the texts that its folders give for partition columns (None for NULL)."""

    info: PathInfo
    partitions: Mapping[str, str | None]
    folder: str = ""

    @property
    def path(self) -> str:
        """Where the file is in its lake."""
        return self.info.path

    @property
    def name(self) -> str:
        """What errors call it: with the folder that settings name."""
        return f"{self.folder}/{self.path}" if self.folder else self.path


@dataclass(frozen=True)
class Listing:
    """What a path means: its files, and what is said of those that are there and are not read."""

    files: list[SourceFile]
    omissions: tuple[str, ...] = ()


def list_files(lake: Lake, pattern: str, format_: FileFormat, *, partitions: bool, folder: str = "") -> Listing:
    """The files that ``pattern`` means, by path: a file, a folder with the files below it whose names end as those of
    the format do, or a glob, which takes any name.

    Left out are empty files, and names that begin with ``_``, ``.`` or ``~$`` below the pattern's fixed part, by the
    rule of Spark: markers, checksums and unfinished work (``_SUCCESS``, ``_committed_…``, ``.part.crc``), but not
    partition folders such as ``_year=2024``. Office keeps ``~$…`` beside an open file. Symbolic links are followed; a
    file that is reached in several ways counts once. Raises HomeNotFound where nothing is left, HomeError for a link
    that leads nowhere, and for a Delta table, whose folder also holds files that do not belong to it any more,
    LakeDenied for a link that leads beyond the bounds.
    """
    base, glob = _split(lake, pattern)
    is_folder = glob is not None and not _WILDCARD.search(pattern)
    found = [] if glob is None else _listed(lake, base)
    if glob is None:
        info = lake.info(pattern)
        found = [info] if info is not None and not info.is_directory else []
    kept: list[SourceFile] = []
    left_out: dict[str, list[str]] = {}
    unlike = _UNLIKE.format(_endings(format_))
    for entry in found:
        below = entry.path[len(base) + 1 :] if base else entry.path
        if glob is not None and not _matches(below, glob):
            if not entry.etag and _is_on_the_way(below, glob):
                lake.info(entry.path)  # raises LakeDenied for a link to a folder beyond the bounds
            continue
        *folders, name = below.split("/")
        if _DELTA_LOG in (*folders, name):
            raise HomeError(
                f"{lake.url}/{pattern} holds a Delta table, whose folder keeps files that are no longer part of it.",
                hint="Read it through its SQL endpoint, or name other files.",
            )
        if any(map(_is_hidden, folders)):
            continue
        file = SourceFile(entry, _partitions(folders) if partitions else {}, folder)
        is_alike = format_of(name) == format_
        if _is_hidden(name):
            if is_alike:
                left_out.setdefault(_HIDDEN, []).append(file.name)
            continue
        if not entry.etag:
            lake.info(entry.path)  # raises LakeDenied for a link that leads beyond the bounds
            raise _leads_nowhere(entry, folder)
        if is_folder and not is_alike:
            left_out.setdefault(unlike, []).append(file.name)
        elif entry.special:
            raise HomeError(
                f"{file.name} is {entry.special}, not a file whose rows can be read again.",
                hint="Write its content into a file, or name other files in path.",
            )
        elif not entry.length:
            left_out.setdefault(_EMPTY, []).append(file.name)
        else:
            kept.append(file)
    if not kept:
        if (link := _dangling(lake, pattern)) is not None:
            raise _leads_nowhere(link, folder)
        raise _nothing(lake, pattern, format_, left_out)
    return Listing(_each_once(kept), _omissions(left_out))


def _omissions(left_out: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What is said of files that are not read, by the reason."""
    return tuple(f"left out, {reason}: {one_line(first_few(sorted(names)))}" for reason, names in left_out.items())


def _nothing(lake: Lake, pattern: str, format_: FileFormat, left_out: Mapping[str, Sequence[str]]) -> HomeNotFound:
    """The error about a path that means no file that could be read."""
    where = f"{lake.url}/{pattern}"
    if not left_out:
        return HomeNotFound(f"There are no files at {where}.", hint=_hint_of(lake, pattern))
    found = f"There are no {format_} files with content at {where}; {'; '.join(_omissions(left_out))}."
    if set(left_out) - {_HIDDEN, _EMPTY}:
        return HomeNotFound(found, hint="Check format and path, which takes any name with /** at its end.")
    hint = "An empty file has not even the names of columns: write it again." if _EMPTY in left_out else "Rename them."
    return HomeNotFound(found, hint=hint)


def _endings(format_: FileFormat) -> str:
    *others, last = extensions_of(format_)
    return f"{', '.join(others)} or {last}"


def _dangling(lake: Lake, path: str) -> PathInfo | None:
    """What is at a path where no file is: a link that leads nowhere."""
    entries = lake.list(path.rpartition("/")[0])
    return next((entry for entry in entries if entry.path == path and not entry.etag), None)


def _leads_nowhere(link: PathInfo, folder: str) -> HomeError:
    return HomeError(
        f"{SourceFile(link, {}, folder).name} is a link to {link.link}, and leads nowhere.",
        hint=RESTORE_LINK,
    )


def _hint_of(lake: Lake, pattern: str) -> str:
    """What to do where a pattern means no file."""
    if "[" in pattern and lake.info(pattern) is not None:
        literal = pattern.replace("[", "[[]")
        return f"Brackets are a pattern; the file that is called so is written {literal}."
    return "Check path; files whose names begin with _, . or ~$ do not count."


def _each_once(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Without links to files that are there under another name."""
    links = [file for file in files if file.info.link]
    seen = {file.info.etag for file in files if not file.info.link}
    doubled = set()
    for file in links:
        if file.info.etag in seen:
            doubled.add(file.path)
        seen.add(file.info.etag)
    return [file for file in files if file.path not in doubled]


def followed_links(lake: Lake, files: Sequence[SourceFile]) -> list[str]:
    """The symbolic links that lead to some of the files, with where they lead."""
    found: dict[str, None] = {}
    for file in files:
        parts = file.path.split("/")
        for length in range(1, len(parts) + 1):
            info = file.info if length == len(parts) else lake.info("/".join(parts[:length]))
            if info is not None and info.link:
                found[f"{info.path} → {info.link}"] = None
    return list(found)


def _listed(lake: Lake, folder: str) -> list[PathInfo]:
    """All files below a folder. Raises HomeError where they are more than a slice can keep in mind."""
    files = (entry for entry in lake.list(folder, recursive=True) if not entry.is_directory)
    found = list(islice(files, FILES_LIMIT + 1))
    if len(found) > FILES_LIMIT:
        raise HomeError(
            f"There are more than {FILES_LIMIT:,} files below {lake.url}/{folder}.",
            hint="Name fewer in path, such as one folder for each entity, or join small files.",
        )
    return found


def partition_names(files: Sequence[SourceFile]) -> list[str]:
    """The partition columns, in the order of the folders. Raises HomeError where files disagree about them."""
    names = list(files[0].partitions)
    for file in files:
        if list(file.partitions) != names:
            raise HomeError(
                f"The folders of {file.name} and {files[0].name} name different columns: "
                f"{', '.join(file.partitions) or 'none'}, and {', '.join(names) or 'none'}.",
                hint="Name files of one layout in path, or set partitions: false.",
            )
    return names


def _split(lake: Lake, pattern: str) -> tuple[str, str | None]:
    """The folder to list, and the glob below it; None for a file."""
    parts = pattern.split("/")
    fixed = next((number for number, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    if fixed < len(parts):
        return "/".join(parts[:fixed]), "/".join(parts[fixed:])
    info = lake.info(pattern) if pattern else None
    if info is not None and not info.is_directory:
        return pattern.rpartition("/")[0], None
    return pattern, "**"


def _is_on_the_way(path: str, glob: str) -> bool:
    """Whether files below ``path``, were it a folder, could match."""
    parts = [part for part in glob.split("/") if part not in ("", ".")]
    return not any(_is_hidden(part) for part in path.split("/")) and bool(_glob_parts_used(path, parts) - {len(parts)})


def _matches(path: str, glob: str) -> bool:
    parts = [part for part in glob.split("/") if part not in ("", ".")]
    return len(parts) in _glob_parts_used(path, parts)


def _glob_parts_used(path: str, glob: Sequence[str]) -> set[int]:
    """How many parts of a glob a path may have used up. The work grows with both, and not with the ways to match."""
    reached = _skipping({0}, glob)
    for part in path.split("/"):
        within = {at for at in reached if at < len(glob)}
        stayed = {at for at in within if glob[at] == "**"}
        ended = {at + 1 for at in within if at in stayed or fnmatchcase(part, glob[at])}
        reached = _skipping(stayed | ended, glob)
    return reached


def _skipping(reached: set[int], glob: Sequence[str]) -> set[int]:
    """``reached``, with the parts behind each ``**``, which may stand for no folder; the last one stands for a file."""
    for at in range(len(glob) - 1):
        if at in reached and glob[at] == "**":
            reached.add(at + 1)
    return reached


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or (name.startswith("_") and "=" not in name)


def _partitions(folders: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for folder in folders:
        name, equals, value = folder.partition("=")
        if equals and name:
            found[unquote(name)] = None if value in (NULL_PARTITION, "") else unquote(value)
    return found
