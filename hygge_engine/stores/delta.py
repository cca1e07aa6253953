"""Delta tables, as the Delta package finds and reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError

from hygge_engine.errors import StoreError, StoreUnavailable
from hygge_engine.panics import panics_as
from hygge_engine.project.models.disk import DiskReach
from hygge_engine.stores.base import ReadBack

# What the package decodes once too often, or takes for a part of an address. It asks lakes for blanks in a way that not
# all of them understand.
_REFUSED_ON_DISK = re.compile(r"%[0-9A-Fa-f]{2}|[\[\]^|]")
_REFUSED_IN_LAKES = re.compile(r"%[0-9A-Fa-f]{2}|\s")

_QUERY = re.compile(r"\?[^\s\"')]+")

# The package draws its errors as a tree, in colour, with a report of its own retries and the service's whole response.
_DRAWING = re.compile(r"\x1b\[[0-9;]*m|↳")
_ATTEMPTS = re.compile(r"Error performing \S+ \S+ in .*? - ")
_RESPONSE = re.compile(r"<\?xml.*?(?:<Code>([^<]*)</Code>.*|$)", re.DOTALL)
_BACKTRACE = re.compile(r":? 0: [^ ]+: 1: .*", re.DOTALL)
_LONGEST_WORDS = 240

# A row that breaks a constraint of the table's.
_ROW = re.compile(r"(by value in row\b:?).*", re.IGNORECASE | re.DOTALL)


# How the package words what is wrong with a log, or a file that it names, and what that means.
_DAMAGES = (
    (
        re.compile(r"No table metadata|protocol found", re.IGNORECASE),
        "its log in _delta_log does not say what the table is, as if its first entries were missing",
    ),
    (
        re.compile(r"Json error|Schema error|EOF while parsing", re.IGNORECASE),
        "an entry of its log in _delta_log is damaged",
    ),
    (
        re.compile(r"Parquet error|Parquet argument|Arrow error|panick|out of range|unwrap", re.IGNORECASE),
        "a checkpoint of its log in _delta_log, or a file that the log names, is damaged",
    ),
)
_DAMAGED_HINT = (
    "Put back the files of _delta_log from a copy. If there is none, move the table's folder away and load with "
    "run_type full_drop, which makes it anew from the source, without older versions and what the source has deleted."
)

# What `ReadBack.version` says where there is no table.
NO_TABLE = "none"


class DeltaLocation(NamedTuple):
    """Where the Delta package finds a lake: its address, and what it takes to get in, asked for at each use because
    tokens expire. ``reach`` bounds a lake that is a directory of this machine, past which the package looks itself."""

    root: str
    options: Callable[[], dict[str, str]]
    reach: DiskReach | None = None

    def address(self, folder: str) -> str:
        """A table's address. Raises StoreError for one that the package would take for another, or fail at late, and
        LakeDenied where links lead it to what may not be touched."""
        path = f"{self.root}/{folder}"
        remote = "://" in self.root
        refused = _REFUSED_IN_LAKES if remote else _REFUSED_ON_DISK
        if found := refused.search(path.partition("://")[2] if remote else path):
            raise StoreError(
                f"{path} cannot be the path of a Delta table: the Delta package does not find tables with "
                f"{found[0]!r} in it",
                hint="Name another path, schema_name or table_name, or another format.",
            )
        if self.reach is not None:
            self.reach.check_links(Path(path))
            self.reach.check_links(Path(path, "_delta_log"))
        return f"{self.root}/{quote(folder)}" if remote else path


class DeltaReadBack(ReadBack):
    """A Delta table that rows are merged into, deletion vectors included; in no order."""

    def __init__(self, location: DeltaLocation, folder: str, *, keeps_versions: bool = False) -> None:
        self.keeps_versions = keeps_versions
        self.location = location
        self._folder = folder
        self._found = False
        self._version: int | None = None

    def version(self) -> str:
        with reading(self.location, self._folder):
            table = open_table(self.location, self._folder)
            return NO_TABLE if table is None else version_of(table)

    def count(self) -> int:
        with reading(self.location, self._folder):
            table = self._opened()
            return 0 if table is None else int(table.count())

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        with reading(self.location, self._folder):
            table = self._opened()
            if table is None:
                return
            there = {field.name for field in table.schema().fields}
            names = ", ".join(_quote(name) for name in columns if name in there)
            if not names:
                return
            query = QueryBuilder().register("landed", table).execute(f"SELECT {names} FROM landed")  # noqa: S608
            # Arrow waits for the next batch without Python's lock, which the query itself would keep.
            yield from pa.RecordBatchReader.from_stream(query)

    def _opened(self) -> DeltaTable | None:
        """The version that was found first, opened again: a token lasts for an hour."""
        if self._found and self._version is None:
            return None
        table = open_table(self.location, self._folder, self._version)
        if table is None and self._found:
            raise StoreUnavailable(f"the Delta table {self._folder} was dropped while it was read")
        self._found, self._version = True, None if table is None else table.version()
        return table


@contextmanager
def reading(location: DeltaLocation, folder: str) -> Iterator[None]:
    """Translates what the Delta package raises, a panic at a damaged checkpoint or file included."""
    where = f"the Delta table {location.root}/{folder}"

    def refused(words: str) -> StoreError:
        damage = next((what for found, what in _DAMAGES if found.search(words)), None)
        if damage is None:
            return StoreError(f"{where} cannot be read: {words}")
        return StoreError(f"{where} cannot be read: {damage}.", hint=_DAMAGED_HINT)

    try:
        with panics_as(lambda text: refused(_one_line(text))):
            yield
    except DeltaError as error:
        raise refused(own_words(error)) from error
    except OSError as error:
        raise StoreUnavailable(f"{where} could not be read: {own_words(error)}") from error


def own_words(error: Exception) -> str:
    """What the Delta package says went wrong, on one line and short, without the queries of addresses: a SAS token is
    one."""
    return _one_line(str(error)) or type(error).__name__


def _one_line(drawn: str) -> str:
    lines = (" ".join(line.split()) for line in _DRAWING.sub("", drawn).splitlines())
    text = _BACKTRACE.sub("", ": ".join(line for line in lines if line))
    text = _RESPONSE.sub(lambda response: response[1] or "", _ATTEMPTS.sub("", text)).rstrip(" :")
    text = _ROW.sub(r"\1 …", _QUERY.sub("?…", text))
    return text if len(text) <= _LONGEST_WORDS else f"{text[: _LONGEST_WORDS - 1]}…"


def open_table(location: DeltaLocation, folder: str, version: int | None = None) -> DeltaTable | None:
    """A table, in its newest version where none is named; None where there is none."""
    try:
        return DeltaTable(location.address(folder), version=version, storage_options=location.options())
    except TableNotFoundError:
        return None


def version_of(table: DeltaTable) -> str:
    """Its name among all versions of all tables that were ever in its place."""
    return f"{table.metadata().id} {table.version()}"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
