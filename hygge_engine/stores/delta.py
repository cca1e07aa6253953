"""Delta tables, as the Delta package finds and reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError

from hygge_engine.errors import StoreError, StoreUnavailable
from hygge_engine.stores.base import ReadBack

_QUERY = re.compile(r"\?[^\s\"')]+")


class DeltaLocation(NamedTuple):
    """Where the Delta package finds a lake: its address, and what it takes to get in, asked for at each use because
    tokens expire."""

    root: str
    options: Callable[[], dict[str, str]]


class DeltaReadBack(ReadBack):
    """A Delta table that somebody merges rows into, deletion vectors included; in no order."""

    def __init__(self, location: DeltaLocation, folder: str, *, keeps_versions: bool = False) -> None:
        self.keeps_versions = keeps_versions
        self.location = location
        self._folder = folder

    def count(self) -> int:
        with reading(self._folder):
            table = open_table(self.location, self._folder)
            return 0 if table is None else int(table.count())

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        with reading(self._folder):
            table = open_table(self.location, self._folder)
            if table is None:
                return
            there = {field.name for field in table.schema().fields}
            names = ", ".join(_quote(name) for name in columns if name in there)
            if not names:
                return
            query = QueryBuilder().register("landed", table).execute(f"SELECT {names} FROM landed")  # noqa: S608
            # Arrow waits for the next batch without Python's lock, which the query itself would keep.
            yield from pa.RecordBatchReader.from_stream(query)


@contextmanager
def reading(folder: str) -> Iterator[None]:
    """Translates what the Delta package raises."""
    try:
        yield
    except DeltaError as error:
        raise StoreError(f"the Delta table {folder} cannot be read: {without_query(str(error))}") from error
    except OSError as error:
        raise StoreUnavailable(f"the Delta table {folder} could not be read ({type(error).__name__})") from error


def without_query(text: str) -> str:
    """An error's text without the queries of addresses: a SAS token is one."""
    return _QUERY.sub("?…", text)


def open_table(location: DeltaLocation, folder: str) -> DeltaTable | None:
    """The newest version of a table; None where there is none."""
    try:
        return DeltaTable(f"{location.root}/{folder}", storage_options=location.options())
    except TableNotFoundError:
        return None


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
