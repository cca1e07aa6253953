"""Digests of rows as they land, by which a reload finds what differs (docs/reloads.md)."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hygge_engine.errors import StoreError
from hygge_engine.memory import trim
from hygge_engine.stores.base import Destination, RowWriter
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.state import Snapshot, StagedFile

# Rows that are compared at most: of each, two hashes of 8 bytes are in memory at once, 128 MB in all.
COMPARED_ROWS = 8_000_000

# Entries of a slice that are held back, so that those of the slices before can be written with them into one file; some
# 30 bytes each.
HELD_ENTRIES = 500_000

# Columns of a file of digests: hashes of the key and of the whole row, NULL for a row that was deleted. The key's own
# columns are called by their places (``0``, ``1`` …), so that no name of a source is in the way.
KEY, ROW = "key", "row"

# Grows with every change of how a row becomes its digest.
_VERSION = 1

# One hash of several is mixed by another function than the one that has made them.
_MIX_SEED: Final = 0x9E37

_HALF: Final = 2**32

_INTEGERS: Mapping[pa.DataType, pa.DataType] = {
    pa.float16(): pa.int16(),
    pa.float32(): pa.int32(),
    pa.float64(): pa.int64(),
}


class SnapshotUnusable(Exception):
    """What is remembered of the landed rows cannot be believed; the text says why, as a clause."""


class Digests:
    """Makes digests of rows of ``schema``, identified by ``key``. Columns that are ``stamped`` by each load do not
    count. ``treatment`` identifies what was done to values on their way, ``key_treatment`` to those of the key."""

    def __init__(
        self,
        schema: pa.Schema,
        key: Sequence[str],
        stamped: Collection[str],
        treatment: str,
        key_treatment: str = "",
    ) -> None:
        self.key = tuple(key)
        self._columns = tuple(name for name in schema.names if name not in stamped)
        self._landed = schema
        keys = [pa.field(str(place), schema.field(name).type) for place, name in enumerate(self.key)]
        self.schema = pa.schema([*keys, pa.field(KEY, pa.uint64()), pa.field(ROW, pa.uint64())])
        shape = [(name, str(schema.field(name).type)) for name in self._columns]
        content = _text_digest(json.dumps([shape, self.key, treatment]))
        self.made_of = f"{_hashing()}/{content}"
        key_shape = [(name, str(schema.field(name).type)) for name in self.key]
        self.keyed = f"{_hashing()}/{_text_digest(json.dumps([key_shape, key_treatment]))}"

    def of(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """An entry for each row."""
        return self._entries(rows, _mixed(rows, self._columns).to_arrow())

    def of_deleted(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """An entry for each row that is gone, of which only the key is known."""
        return self._entries(rows, pa.nulls(rows.num_rows, pa.uint64()))

    def key_hashes(self, rows: pa.RecordBatch) -> pl.Series:
        """The hashes of the keys of rows, of which the key's columns alone have to be there."""
        return _mixed(rows, self.key)

    def deleted(self, entries: pa.Table) -> Iterator[pa.RecordBatch]:
        """Rows of the landed schema of which only the key is filled."""
        columns: list[Any] = []
        for field in self._landed:
            if field.name in self.key:
                columns.append(entries.column(str(self.key.index(field.name))).cast(field.type))
            else:
                columns.append(pa.nulls(entries.num_rows, field.type))
        yield from pa.table(columns, schema=self._landed).to_batches()

    def _entries(self, rows: pa.RecordBatch, hashes: Any) -> pa.RecordBatch:
        keys = [rows.column(name) for name in self.key]
        arrays = [*keys, _mixed(rows, self.key).to_arrow(), hashes]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def undigested(schema: pa.Schema) -> str:
    """The first column whose values have no digest, with its type; empty where all have one."""
    return next((f"{field.name} ({field.type})" for field in schema if not _has_digest(field.type)), "")


def is_of_other_hashes(snapshot: Snapshot, digests: Digests) -> bool:
    """Whether a snapshot was made by a version that hashes rows otherwise."""
    return snapshot.made_of.partition("/")[0] != digests.made_of.partition("/")[0]


def is_of_other_keys(snapshot: Snapshot, digests: Digests) -> bool:
    """Whether the keys of a snapshot are made otherwise."""
    return snapshot.made_of != digests.made_of and snapshot.keyed != digests.keyed


class SnapshotFiles:
    """Reads digests back, newest first. ``alive`` is called between two files: reading may take a while."""

    def __init__(self, destination: Destination[Any], digests: Digests, alive: Callable[[], None]) -> None:
        self._destination = destination
        self._digests = digests
        self._alive = alive

    def entries(self, file: StagedFile, columns: Sequence[str] = ()) -> pa.Table:
        """All entries of a file, older ones first, with these columns alone where some are named. Raises
        SnapshotUnusable where they are not those that were written."""
        self._alive()
        data = self._destination.read_digests(file)
        if data is None:
            raise SnapshotUnusable(f"{file.staged} is missing, or is not what was written")
        found = pq.ParquetFile(io.BytesIO(data))
        if found.metadata.num_rows != file.rows or found.schema_arrow.names != self._digests.schema.names:
            raise SnapshotUnusable(f"{file.staged} is of another table")
        names = list(columns or self._digests.schema.names)
        return found.read(names).cast(pa.schema([self._digests.schema.field(name) for name in names]))

    def hashes(self, files: Sequence[StagedFile]) -> Iterator[pl.Series]:
        """The hashes of keys in files that `key_writer` has written."""
        for file in files:
            self._alive()
            data = self._destination.read_digests(file)
            if data is None:
                raise SnapshotUnusable(f"{file.staged} is missing, or is not what was written")
            yield _series(pq.read_table(io.BytesIO(data), columns=[KEY]).column(KEY))

    def there(self, files: Sequence[StagedFile], columns: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The entries of rows that are there: of each key the newest one, unless that says that it was deleted."""
        newer = pl.Series(dtype=pl.UInt64)
        for number in reversed(range(len(files))):
            table = self.entries(files[number], columns)
            keys = _series(table.column(KEY))
            newest = keys.is_last_distinct() & ~contained(newer, keys)
            yield table.filter(_mask(newest & _series(table.column(ROW)).is_not_null()))
            if number:
                newer = pl.concat([newer, keys.filter(newest)]).sort()
            del table
            trim()

    def rows_there(self, files: Sequence[StagedFile]) -> tuple[KnownHashes, KeySum]:
        """The hashes of the rows that are there, and what their keys come to."""
        keys = KeySum()

        def rows() -> Iterator[pl.Series]:
            for table in self.there(files, (KEY, ROW)):
                keys.add(table)
                _check_size(keys.count)
                yield _series(table.column(ROW))

        return KnownHashes(in_order(rows())), keys

    def known(self, files: Sequence[StagedFile]) -> tuple[KnownHashes, KnownHashes, int]:
        """The hashes of the rows that are there, those of their keys, and their number. Raises StoreError where they
        are more than fit."""
        rows, keys, count = list[pl.Series](), list[pl.Series](), 0
        for table in self.there(files, (KEY, ROW)):
            rows.append(_series(table.column(ROW)))
            keys.append(_series(table.column(KEY)))
            _check_size(count := count + table.num_rows)
        return KnownHashes(in_order(rows)), KnownHashes(in_order(keys)), count

    def keys_of(self, files: Sequence[StagedFile]) -> pl.Series:
        """The hashes of all keys in the files, sorted."""
        return in_order(_series(self.entries(file, (KEY,)).column(KEY)) for file in files)


class KnownHashes:
    """Hashes, ``sorted_``, among which others are looked for. A bit for each eighth of what one has to itself says at
    once of seven hashes in eight that they are not among them."""

    def __init__(self, sorted_: pl.Series) -> None:
        bits = len(sorted_).bit_length() + 3
        self._sorted = sorted_
        self._width = 2 ** (64 - bits)
        blank = pl.repeat(False, 2**bits, dtype=pl.Boolean, eager=True)
        self._taken = blank.scatter((sorted_ // self._width).cast(pl.UInt32), True)

    def contain(self, values: pl.Series) -> pl.Series:
        """For each of the values whether it is among the hashes."""
        places = self._taken.gather(values // self._width).arg_true()
        if len(places) == len(values):
            return contained(self._sorted, values)
        found = places.filter(contained(self._sorted, values.gather(places)))
        return pl.repeat(False, len(values), dtype=pl.Boolean, eager=True).scatter(found, True)


@dataclass
class KeySum:
    """How many keys there are, and the sum of their hashes modulo 2^64: the same for the same keys in any order."""

    count: int = 0
    total: int = 0

    def add(self, entries: pa.Table | pa.RecordBatch) -> None:
        """Take entries, of which each has a key of its own."""
        keys = _series(entries.column(KEY))
        # In halves, whose sums no 64 bits overflow.
        high, low = int((keys // _HALF).sum()), int((keys % _HALF).sum())
        self.count += len(keys)
        self.total = (self.total + high * _HALF + low) % 2**64


class DigestKeeper:
    """Stages the digests of one slice; not thread-safe. ``before`` is the snapshot that they continue, None where they
    begin one: its last files are written anew with them as long as there are few entries, and all of them where most
    speak of other rows than the ``there`` that it has."""

    def __init__(
        self,
        destination: Destination[Any],
        lease: TableLease,
        digests: Digests,
        files: SnapshotFiles,
        before: Snapshot | None,
        *,
        there: int | None = None,
    ) -> None:
        self._open: Callable[[], RowWriter] = lambda: destination.digest_writer(lease, digests.schema)
        self._digests = digests
        self._files = files
        self._before = before.files if before is not None else ()
        self._is_bloated = there is not None and before is not None and before.entries > 2 * there + HELD_ENTRIES
        self._held: list[pa.RecordBatch] = []
        self._entries = 0
        self._writer: RowWriter | None = None
        self.folded = 0

    def add(self, entries: pa.RecordBatch) -> None:
        """Take entries, which are newer than those before."""
        if not entries.num_rows:
            return
        self._entries += entries.num_rows
        self._held.append(entries)
        if self._writer is not None or self._entries > HELD_ENTRIES:
            self._write()

    def finish(self) -> list[StagedFile]:
        """The files that hold the entries; ``folded`` says how many of the snapshot's last ones are among them."""
        if not self._entries:
            return []
        if self._writer is None:
            if self._is_bloated:
                self._renew()
            else:
                self._fold()
            self._write()
        return self._writer.finish() if self._writer is not None else []

    def abandon(self) -> None:
        """Drop what was staged; never raises."""
        self._held.clear()
        if self._writer is not None:
            self._writer.abandon()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = self._open()
        for entries in self._held:
            self._writer.write(entries)
        self._held.clear()

    def _renew(self) -> None:
        self._writer = self._open()
        for table in self._files.there(self._before):
            for entries in table.to_batches():
                self._writer.write(entries)
        self.folded = len(self._before)

    def _fold(self) -> None:
        table = pa.Table.from_batches(self._held, self._digests.schema)
        for file in reversed(self._before):
            if file.rows > 2 * table.num_rows or file.rows + table.num_rows > HELD_ENTRIES:
                break
            try:
                older = self._files.entries(file)
            except SnapshotUnusable:
                break  # the next reload says so
            table = pa.concat_tables([older, table])
            table = table.filter(_mask(_series(table.column(KEY)).is_last_distinct()))
            self.folded += 1
        self._held = table.combine_chunks().to_batches()


def stage_key_hashes(destination: Destination[Any], lease: TableLease, hashes: pl.Series) -> list[StagedFile]:
    """Stage hashes of keys alone; the files that hold them."""
    schema = pa.schema([pa.field(KEY, pa.uint64())])
    writer = destination.digest_writer(lease, schema)
    try:
        for start in range(0, len(hashes), HELD_ENTRIES):
            part = hashes.slice(start, HELD_ENTRIES).to_arrow()
            writer.write(pa.RecordBatch.from_arrays([part], schema=schema))
        return writer.finish()
    except BaseException:
        writer.abandon()
        raise


def contained(sorted_: pl.Series, values: pl.Series) -> pl.Series:
    """For each of the values whether it is among the sorted ones."""
    if not len(sorted_):
        return pl.repeat(False, len(values), dtype=pl.Boolean, eager=True)
    places = sorted_.search_sorted(values).clip(upper_bound=len(sorted_) - 1)
    return sorted_.gather(places) == values


def rows_not_in(known: KnownHashes, rows: pa.RecordBatch, entries: pa.RecordBatch) -> pa.RecordBatch:
    """The rows whose hash, by their ``entries``, is not among the ``known`` ones."""
    is_known = known.contain(_series(entries.column(ROW)))
    return rows.filter(_mask(~is_known)) if is_known.any() else rows


def hashes_of_keys(entries: pa.RecordBatch | pa.Table) -> pl.Series:
    """The hashes of the entries' keys."""
    return _series(entries.column(KEY))


def is_among(keys: pl.Series, others: pl.Series) -> Any:
    """For each of the other hashes whether it is among ``keys``."""
    return _mask(contained(keys.sort(), others))


def rows_of(entries: pa.Table) -> KnownHashes:
    """The hashes of the entries' rows."""
    return KnownHashes(in_order([_series(entries.column(ROW))]))


def is_new(known: KnownHashes, entries: pa.RecordBatch) -> Any:
    """For each of the entries whether its row's hash is not among the ``known`` ones."""
    return _mask(~known.contain(_series(entries.column(ROW))))


def is_there(keys: KnownHashes, entries: pa.RecordBatch) -> Any:
    """For each of the entries whether its key's hash is among ``keys``."""
    return _mask(keys.contain(_series(entries.column(KEY))))


def entries_not_in(keys: pl.Series, entries: pa.Table) -> pa.Table:
    """The entries whose key's hash is not among ``keys``."""
    return entries.filter(_mask(~contained(keys, _series(entries.column(KEY)))))


def _mixed(rows: pa.RecordBatch, names: Sequence[str]) -> pl.Series:
    """One hash for each row, of its values in these columns: of their bits and their places."""
    values = pl.DataFrame([_bits(rows.column(name)).alias(str(place)) for place, name in enumerate(names)])
    hashes = values.select(pl.col(name).hash(seed) for seed, name in enumerate(values.columns))
    return hashes.hash_rows(_MIX_SEED).hash(_MIX_SEED)


def _bits(array: pa.Array[Any]) -> pl.Series:
    return _series(array.view(_INTEGERS[array.type]) if pa.types.is_floating(array.type) else array)


def _has_digest(type_: pa.DataType) -> bool:
    kinds = pa.types
    return (
        kinds.is_boolean(type_)
        or kinds.is_integer(type_)
        or kinds.is_floating(type_)
        or kinds.is_decimal128(type_)
        or kinds.is_date32(type_)
        or kinds.is_timestamp(type_)
        or kinds.is_time64(type_)
        or kinds.is_duration(type_)
        or kinds.is_string(type_)
        or kinds.is_large_string(type_)
        or kinds.is_binary(type_)
        or kinds.is_large_binary(type_)
    )


@cache
def _hashing() -> str:
    """Identifies how rows are hashed here, by what becomes of some: libraries may change it with any version."""
    sample = pa.RecordBatch.from_pydict(
        {
            "whole": pa.array([0, -1, 2**62, None], pa.int64()),
            "small": pa.array([0, 1, -32768, None], pa.int16()),
            "flag": pa.array([True, False, None, True]),
            "real": pa.array([0.0, -0.0, 1.5, None]),
            "digits": pa.array([None, "1.50", "-0.01", "7"]).cast(pa.decimal128(19, 4)),
            "text": pa.array(["", "a", "a ", None]),
            "bytes": pa.array([b"", b"\0", None, b"\0\0"]),
            "day": pa.array([0, 1, None, 20000], pa.date32()),
            "at": pa.array([0, -1, 10**15, None], pa.timestamp("us", tz="UTC")),
        }
    )
    hashes = _mixed(sample, sample.schema.names).to_list()
    return _text_digest(json.dumps([_VERSION, hashes]))


def _check_size(rows: int) -> None:
    """Raise StoreError for more rows than are compared."""
    if rows > COMPARED_ROWS:
        raise StoreError(
            f"the table has more than {COMPARED_ROWS:,} rows, and no more are compared",
            hint="Set `reload: drop`, and `history: none`, for this entity.",
        )


def _text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def in_order(parts: Iterable[pl.Series]) -> pl.Series:
    """All hashes of several series, sorted."""
    return pl.concat([pl.Series(dtype=pl.UInt64), *parts], rechunk=True).sort(in_place=True)


def _series(array: pa.Array[Any] | pa.ChunkedArray[Any]) -> pl.Series:
    return cast("pl.Series", pl.from_arrow(array))


def _mask(values: pl.Series) -> Any:
    return values.to_arrow()
