"""The journal's files in a lake: where they lie and how rows get in and out of them.

``runs/<load>~<fingerprint>.parquet`` holds the rows of one load that has not been folded yet and never changes.
``journal.parquet``, the canonical file, is a log: rows are only ever added at its end and retired from its beginning,
so that a row keeps its number for ever. ``retired/<from>-<to>.parquet`` names the rows with those numbers that have
left it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hygge_engine.errors import JournalError, LakeConditionNotMet, LakeNotFound
from hygge_engine.journal.kept import Kept
from hygge_engine.journal.names import file_name
from hygge_engine.journal.rows import SCHEMA, conform, select
from hygge_engine.lake.base import READ_LIMIT_BYTES, Lake, PathInfo, bounded, foreign
from hygge_engine.lake.parquet import WholeParquet
from hygge_engine.lake.ranged import RangedFile

_log = logging.getLogger(__name__)

# Rows of the canonical file that are in memory at once while it is copied or searched; also its row group.
ROW_GROUP_ROWS = 65_536

# Files read at the same time: enough to hide a data lake's latency, few enough to be no burden.
READERS = 8

# A canonical file up to this is read in one request; of a larger one only as much as is needed.
WHOLE_BYTES = 4 * 1024**2

# How often a read of a part of the canonical file restarts because it has been replaced meanwhile.
LOOKS = 3

# How large a fold leaves the canonical file at most, so that it can always be read whole: a loader that
# folds, and a mirror that is republished.
FULL_BYTES = READ_LIMIT_BYTES * 3 // 4

# Rows of the canonical file that are in memory at once while those of a few loads are picked out.
PICKED_ROWS = 4_096

# Rows of small files that a process keeps, in bytes: those of a few hundred loads, which a client that watches the
# newest ones would otherwise have read again and again.
RUNS_KEPT_BYTES = 16 * 1024**2
_RUNS: Kept[pa.Table] = Kept(RUNS_KEPT_BYTES)

# In the canonical file's metadata: how many rows have been retired before its first.
FIRST_ROW_KEY = b"hygge.first_row"

_RETIRED_COLUMNS: dict[str, pa.DataType] = {
    "number": pa.int64(),
    "entity_run_id": pa.string(),
    "coordinator_run_id": pa.string(),
}
RETIRED_SCHEMA = pa.schema(_RETIRED_COLUMNS)


# Values that are wanted, by column.
Only = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class CanonicalFile:
    """``journal.parquet`` as it was read: its rows are those numbered from ``first`` up to and without ``end``.

    ``etag`` is None where there is no such file yet.
    """

    file: _Parquet | None
    etag: str | None
    first: int
    end: int

    def batches(self, start: int | None = None) -> Iterator[pa.Table]:
        """The rows from number ``start`` on, a few at once, with the columns they were written with."""
        if self.file is None:
            return
        skip = max(0, (self.first if start is None else start) - self.first)
        for index, rows in enumerate(self.file.groups):
            if skip >= rows:
                skip -= rows
                continue
            for batch in self.file.batches(ROW_GROUP_ROWS, index):
                if skip < batch.num_rows:
                    yield pa.Table.from_batches([batch.slice(skip)])
                skip = max(0, skip - batch.num_rows)

    def value(self, number: int, column: str) -> str:
        """One column of the row with this number."""
        first, part = next(self.columns_from(number, column))
        return str(part.column(column)[number - first].as_py())

    def columns(self, *names: str) -> Iterator[pa.Table]:
        """The rows from the first on, a row group at once, with these columns only."""
        for _, table in self.columns_from(self.first, *names):
            yield table

    def columns_from(self, start: int, *names: str) -> Iterator[tuple[int, pa.Table]]:
        """The same from the row group on that has row number ``start``, with the number of each one's first row."""
        if self.file is None:
            return
        number = self.first
        for index, rows in enumerate(self.file.groups):
            if number + rows > start:
                yield number, select(self.file.table(names, index), names)
            number += rows

    def read(self, only: Only | None = None, *, start: int | None = None) -> pa.Table:
        """The rows from number ``start`` on, or those of them with certain values, in the journal's schema."""
        if not only:
            tables = [conform(batch) for batch in self.batches(start)]
        else:
            skip = max(0, (self.first if start is None else start) - self.first)
            tables = [conform(table) for table in self._matching_groups(only, skip)]
        return pa.concat_tables([SCHEMA.empty_table(), *tables])

    def _matching_groups(self, only: Only, skip: int) -> Iterator[pa.Table]:
        """The rows that match, looking at the columns in question first: few row groups hold any one load."""
        if self.file is None:
            return
        for index, rows in enumerate(self.file.groups):
            if skip >= rows:
                skip -= rows
                continue
            places = matching(select(self.file.table(list(only), index), only), only)
            places = places.filter(pc.greater_equal(places, pa.scalar(skip, pa.uint64())))
            skip = max(0, skip - rows)
            if len(places):
                yield from _picked(self.file.batches(PICKED_ROWS, index), places)


def passed_over_text(path: str, what: str) -> str:
    """What is said of an entry of the journal's folders that is none of its files."""
    return f"{path} is passed over: it is {what}, and none of the journal's files. Move it away."


# The numbers of a file's first row, and of the one behind its last.
_RETIRED_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")


class JournalFiles:
    """The files below one journal's root folder. ``passed_over``: what else listings have found there, by path."""

    def __init__(self, lake: Lake, root: str) -> None:
        self.lake = lake
        self.root = root.strip("/")
        self.canonical_path = f"{self.root}/journal.parquet"
        self.passed_over: dict[str, str] = {}

    @property
    def where(self) -> str:
        """The journal's address, for messages."""
        return f"{self.lake.url}/{self.root}"

    def run_path(self, coordinator_run_id: str, contents: str) -> str:
        """Where rows of a load go whose entity runs have this fingerprint.

        A file of the same name always holds the same entity runs, so that its reader may delete it later.
        """
        return f"{self.root}/runs/{file_name(coordinator_run_id)}~{contents}.parquet"

    def list_runs(self, only: Collection[str] | None = None, *, at_most: int | None = None) -> list[PathInfo]:
        """The files of loads that have not been folded, or of some of them; any ``at_most`` of them.

        What cannot be one, as a pipe or a folder, is logged and passed over. Raises LakeError where they are more than
        can be kept in mind.
        """
        folder = f"{self.root}/runs"
        found = self._own(entry for entry in self.lake.list(folder) if entry.name.endswith(".parquet"))
        if only is not None:
            names = {file_name(load) for load in only}
            found = (entry for entry in found if entry.name.removesuffix(".parquet").split("~")[0] in names)
        return bounded(found, folder) if at_most is None else list(islice(found, at_most))

    def _own(self, entries: Iterable[PathInfo]) -> Iterator[PathInfo]:
        for entry in entries:
            what = foreign(entry)
            if not what:
                yield entry
            elif entry.path not in self.passed_over:
                self.passed_over[entry.path] = what
                _log.warning("%s", passed_over_text(entry.path, what))

    def state(self) -> object:
        """A value that changes when a row is added or moved: the key for cached results."""
        runs = frozenset((entry.path, entry.etag) for entry in self.list_runs())
        return self.where, runs, self.canonical_etag()

    def canonical_etag(self) -> str | None:
        """The canonical file's etag; None where there is no such file yet."""
        info = self.lake.info(self.canonical_path)
        return None if info is None else info.etag

    def read_run(self, path: str) -> pa.Table | None:
        """A load's rows as they were written, or None where the file has been folded since it was listed."""
        try:
            data = self.lake.read(path).data
        except LakeNotFound:
            return None
        return decode(data, path)

    def read_runs(self, files: Sequence[PathInfo]) -> dict[str, pa.Table]:
        """The rows of the files that are still there, by path. A file never changes, so that each is read once."""

        def read(entry: PathInfo) -> pa.Table | None:
            key = (self.where, entry.path, entry.etag)
            table = _RUNS.get(key)
            if table is None and (table := self.read_run(entry.path)) is not None and entry.etag:
                _RUNS.put(key, table, table.nbytes)
            return table

        if not files:
            return {}
        with ThreadPoolExecutor(min(READERS, len(files)), thread_name_prefix="journal") as readers:
            tables = list(readers.map(read, files))
        return {entry.path: table for entry, table in zip(files, tables, strict=True) if table is not None}

    def read_canonical(self) -> CanonicalFile:
        """The canonical file. Raises JournalError where it is not Parquet."""
        try:
            content = self.lake.read(self.canonical_path)
        except LakeNotFound:
            return CanonicalFile(None, None, 0, 0)
        return _canonical(pa.BufferReader(content.data), content.etag, self.canonical_path)

    def look[T](self, at: Callable[[CanonicalFile], T]) -> T:
        """What ``at`` finds in the canonical file, of which only as much is read as it looks at.

        Where the file is replaced meanwhile, it reads again. Raises JournalError where it is not Parquet.
        """
        for _ in range(LOOKS):
            info = self.lake.info(self.canonical_path)
            if info is None or info.length <= WHOLE_BYTES:
                break
            try:
                return at(_canonical(pa.PythonFile(RangedFile(self.lake, info), "r"), info.etag, self.canonical_path))
            except (LakeConditionNotMet, LakeNotFound):
                continue
        return at(self.read_canonical())

    def has_room_for(self, length: int) -> bool:
        """Whether the canonical file may take in the rows of small ones of this ``length`` in bytes: they are shorter
        there."""
        info = self.lake.info(self.canonical_path)
        return (0 if info is None else info.length) + length <= FULL_BYTES

    def replace_canonical(self, read: CanonicalFile, added: pa.Table, *, first: int | None = None) -> bool:
        """Write what was read again, with rows added at its end and those before number ``first`` left out.

        Returns False, and writes nothing, where it would be longer than may be. Raises LakeConditionNotMet where the
        file has changed since it was read.
        """
        first = read.first if first is None else first
        data = _canonical_bytes(read, added, first)
        if len(data) > (FULL_BYTES if added.num_rows else READ_LIMIT_BYTES):
            return False
        if read.etag is None:
            self.lake.put(self.canonical_path, data, if_absent=True)
        else:
            self.lake.put(self.canonical_path, data, if_match=read.etag)
        return True

    def write_retired(self, retired: pa.Table) -> None:
        """Record which rows leave the canonical file; the same rows always give the same file."""
        first, last = retired.column("number")[0].as_py(), retired.column("number")[-1].as_py()
        self.lake.put(f"{self.root}/retired/{first:020}-{last + 1:020}.parquet", encode([retired], RETIRED_SCHEMA))

    def read_retired(self, start: int, end: int) -> pa.Table:
        """The retired rows with numbers from ``start`` up to and without ``end``, each once, as far as known."""
        tables = [RETIRED_SCHEMA.empty_table()]
        for entry in self._own(self.lake.list(f"{self.root}/retired")):
            numbers = _RETIRED_NAME.fullmatch(entry.name)
            if numbers is not None and int(numbers[1]) < end and int(numbers[2]) > start:
                tables.append(decode(self.lake.read(entry.path).data, entry.path))
        number = pc.field("number")
        found = pa.concat_tables(tables).filter((number >= start) & (number < end)).sort_by("number")
        return first_of_each(found, "number")


def matching(table: pa.Table, only: Only) -> pa.Array[Any]:
    """The numbers of the rows that have one of the wanted values in each of the columns."""
    found = pa.array([True] * table.num_rows, pa.bool_())
    for column, values in only.items():
        wanted = pa.array(sorted(values), pa.string())
        found = pc.and_(found, pc.is_in(table.column(column).cast(pa.string()), value_set=wanted))
    return pc.indices_nonzero(found)


def _picked(batches: Iterable[pa.RecordBatch], places: pa.Array[Any]) -> Iterator[pa.Table]:
    """The rows at some places, counted over all batches, of which one is in memory at a time."""
    wanted = places.to_numpy()
    start = 0
    for batch in batches:
        here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
        if len(here):
            yield pa.Table.from_batches([batch]).take(pa.array(here - start))
        start += batch.num_rows


def encode(tables: Iterable[pa.Table], schema: pa.Schema) -> bytes:
    """Tables of one schema as one Parquet file, a row group at most in memory besides the result."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, ROW_GROUP_ROWS)
    return sink.getvalue().to_pybytes()


def decode(data: bytes, path: str) -> pa.Table:
    """The rows of a Parquet file. Raises JournalError where the bytes are something else."""
    return _Parquet(pa.BufferReader(data), path).table()


def _canonical(source: pa.NativeFile, etag: str, path: str) -> CanonicalFile:
    file = _Parquet(source, path)
    with _damage(path):
        first = int((file.schema.metadata or {}).get(FIRST_ROW_KEY, b"0"))
    return CanonicalFile(file, etag, first, first + file.rows)


class _Parquet:
    """A Parquet file of the journal. Everything raises JournalError where it is damaged."""

    def __init__(self, source: pa.NativeFile, path: str) -> None:
        self._path = path
        with _damage(path):
            # What is needed of a row group comes in few requests, not in one for each of its columns.
            self._file = WholeParquet(source, pre_buffer=True)
        self.groups, self.rows, self.schema = self._file.groups, self._file.rows, self._file.schema

    def batches(self, rows: int, group: int) -> Iterator[pa.RecordBatch]:
        with _damage(self._path):
            yield from self._file.batches(rows, group=group)

    def table(self, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
        with _damage(self._path):
            return self._file.table(columns, group)


@contextmanager
def _damage(path: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise JournalError(
            f"{path} is not a whole Parquet file: {error}",
            hint="Something else has written to the journal; restore the file, or move it aside.",
        ) from error


def first_of_each(table: pa.Table, key: str) -> pa.Table:
    """The first row for each value of a key, in the order they have."""
    if pc.count_distinct(table.column(key)).as_py() == table.num_rows:
        return table
    numbered = table.select([key]).append_column("row", pa.array(range(table.num_rows), pa.int64()))
    firsts = numbered.group_by(key).aggregate([("row", "min")]).column("row_min")
    return table.take(firsts.take(pc.sort_indices(firsts)))


def rows_in_order(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of several loads' files, oldest first, each entity run once, unknown columns kept."""
    whole = [conform(table, keep_unknown=True) for table in tables]
    merged = pa.concat_tables([SCHEMA.empty_table(), *whole], promote_options="permissive")
    return first_of_each(merged.sort_by([("start_time", "ascending"), ("entity_run_id", "ascending")]), "entity_run_id")


def _canonical_bytes(read: CanonicalFile, added: pa.Table, first: int) -> bytes:
    kept = SCHEMA if read.file is None else conform(read.file.schema.empty_table(), keep_unknown=True).schema
    merged = pa.unify_schemas([kept, added.schema], promote_options="permissive")
    schema = merged.with_metadata({FIRST_ROW_KEY: str(first).encode()})
    batches = _in_row_groups(_chain(read.batches(first), added), lambda table: _widen(table, schema))
    return encode(batches, schema)


def _chain(batches: Iterator[pa.Table], last: pa.Table) -> Iterator[pa.Table]:
    yield from batches
    yield last


def _in_row_groups(tables: Iterator[pa.Table], prepare: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
    """Gather tables into row groups of full size, so that many small additions do not leave many small row groups."""
    pending: list[pa.Table] = []
    rows = 0
    for table in tables:
        pending.append(prepare(table))
        rows += table.num_rows
        if rows >= ROW_GROUP_ROWS:
            gathered = pa.concat_tables(pending)
            whole = rows - rows % ROW_GROUP_ROWS
            yield gathered.slice(0, whole)
            pending, rows = [gathered.slice(whole)], rows - whole
    if rows:
        yield pa.concat_tables(pending)


def _widen(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table in a schema that has all of its columns and perhaps more."""
    conformed = conform(table, keep_unknown=True)
    columns: list[Any] = [
        conformed.column(field.name).cast(field.type)
        if field.name in conformed.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
