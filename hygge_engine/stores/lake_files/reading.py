"""What has landed as files, read back a part of a file at a time."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.csv as pcsv

from hygge_engine.errors import NotReadable, StoreError, StoreUnavailable
from hygge_engine.lake.base import Lake, PathInfo, bounded
from hygge_engine.lake.parquet import DamagedParquet, WholeParquet
from hygge_engine.lake.ranged import RangedFile
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.delta import NO_TABLE, DeltaLocation, open_table, reading, version_of

# Rows of a Parquet file that are decoded at once, and bytes of lines of JSON.
BATCH_ROWS = 65_536
LINES_BYTES = 8 * 1024 * 1024

# The same of CSV, where a block has to hold its longest row.
BLOCK_BYTES = 32 * 1024 * 1024

# Text is asked for in pieces of this size, and each column of Parquet. A request costs some ten milliseconds.
REQUEST_BYTES = 4 * 1024 * 1024
COLUMN_BYTES = 1024 * 1024


class Decoder(ABC):
    """Reads one file of one format. Raises ArrowInvalid, PolarsError or ValueError for what is none."""

    extension: str
    floats: Literal["all", "without NaN"] = "all"

    @abstractmethod
    def count(self, file: RangedFile) -> int:
        """The rows of a file."""

    @abstractmethod
    def read(self, file: RangedFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The columns that the file has of those asked for."""


class ParquetDecoder(Decoder):
    """Parquet: each column in its own type."""

    extension = "parquet"

    def count(self, file: RangedFile) -> int:
        return _parquet(file).rows

    def read(self, file: RangedFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        parquet = _parquet(file)
        there = set(parquet.schema.names)
        return parquet.batches(BATCH_ROWS, [name for name in columns if name in there])


class CsvDecoder(Decoder):
    """CSV: all values as text, so that what is not a value of its column's type is seen, too."""

    extension = "csv"

    def count(self, file: RangedFile) -> int:
        return sum(batch.num_rows for batch in self._batches(file, _header(file)[:1]))

    def read(self, file: RangedFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        there = set(_header(file))
        return self._batches(file, [name for name in columns if name in there])

    def _batches(self, file: RangedFile, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if not names:
            return
        convert = pcsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=list(names),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        parse = pcsv.ParseOptions(newlines_in_values=True)
        read = pcsv.ReadOptions(block_size=BLOCK_BYTES)
        text = _buffered(file)
        with pcsv.open_csv(text, read_options=read, parse_options=parse, convert_options=convert) as batches:
            for batch in batches:
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)


class NdjsonDecoder(Decoder):
    """NDJSON: all values as text, like those of CSV."""

    extension = "ndjson"
    floats = "without NaN"  # which JSON has as null

    def count(self, file: RangedFile) -> int:
        return sum(1 for line in _buffered(file) if line.strip())

    def read(self, file: RangedFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        schema = dict.fromkeys(columns, pl.String())
        text = _buffered(file)
        while lines := text.read(LINES_BYTES) + text.readline():
            yield from pl.read_ndjson(lines, schema=schema).to_arrow().to_batches()


DECODERS: dict[str, Decoder] = {
    "parquet": ParquetDecoder(),
    "csv": CsvDecoder(),
    "ndjson": NdjsonDecoder(),
}


class FilesReadBack(ReadBack):
    """The files of a folder in the order of their names: the last one has the newest rows."""

    keeps_versions = True

    def __init__(self, lake: Lake, folder: str, decoder: Decoder) -> None:
        self._lake = lake
        self._folder = folder
        self._decoder = decoder
        self._found: list[PathInfo] | None = None
        self.floats = decoder.floats

    def version(self) -> str:
        listed = "".join(f"{info.path}\n{info.etag}\n{info.length}\n" for info in self._list())
        return sha256(listed.encode()).hexdigest()

    def count(self) -> int:
        rows = 0
        for info in self._files():
            with _decoding(f"{self._lake.url}/{info.path}"):
                rows += self._decoder.count(RangedFile(self._lake, info))
        return rows

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        for info in self._files():
            with _decoding(f"{self._lake.url}/{info.path}"):
                yield from self._decoder.read(RangedFile(self._lake, info), columns)

    def _files(self) -> list[PathInfo]:
        """The files that were there when they were first asked for."""
        if self._found is None:
            self._found = self._list()
        return self._found

    def _list(self) -> list[PathInfo]:
        found = (entry for entry in self._lake.list(self._folder) if not entry.is_directory and entry.length)
        files = bounded(found, self._folder)
        names = [entry for entry in files if entry.name[0] not in "._"]
        return sorted((each for each in names if each.name.endswith(f".{self._decoder.extension}")), key=_path_of)


class DeltaFilesReadBack(FilesReadBack):
    """The files that a Delta table's log names, in the order of their names, which is the order in which they landed
    until the table is compacted."""

    def __init__(self, lake: Lake, folder: str, location: DeltaLocation) -> None:
        super().__init__(lake, folder, DECODERS["parquet"])
        self._location = location

    def version(self) -> str:
        with reading(self._location, self._folder):
            table = open_table(self._location, self._folder)
            return NO_TABLE if table is None else version_of(table)

    def _list(self) -> list[PathInfo]:
        with reading(self._location, self._folder):
            table = open_table(self._location, self._folder)
            if table is None:
                return []
            files = pa.table(table.get_add_actions(flatten=True))
        marks = [name for name in files.column_names if name.startswith("deletion_vector")]
        if any(files[name].null_count < files.num_rows for name in marks):
            raise NotReadable(
                f"the Delta table {self._folder} has deletion vectors, so that its files have rows which it has not"
            )
        paths = sorted(f"{self._folder}/{path}" for path in files["path"].to_pylist())
        found = [self._lake.info(path) for path in paths]
        if None in found:
            raise StoreUnavailable(f"the Delta table {self._folder} was changed while it was read")
        return [info for info in found if info is not None]


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Translates what decoding a file raises."""
    try:
        yield
    except (DamagedParquet, pa.ArrowInvalid, pl.exceptions.PolarsError, csv.Error, UnicodeError) as error:
        raise StoreError(f"{where} cannot be read: {error}") from error


def _parquet(file: RangedFile) -> WholeParquet:
    return WholeParquet(pa.PythonFile(file, mode="r"), buffer_bytes=COLUMN_BYTES)


def _buffered(file: RangedFile) -> io.BufferedReader:
    """The file from its beginning."""
    file.seek(0)
    return io.BufferedReader(file, REQUEST_BYTES)


def _header(file: RangedFile) -> list[str]:
    """The names in the first line of a CSV file."""
    text = io.TextIOWrapper(_buffered(file), encoding="utf-8-sig", newline="")
    names = next(csv.reader(text), [])
    text.detach().detach()  # or the file would be closed with them
    return names


def _path_of(info: PathInfo) -> str:
    return info.path
