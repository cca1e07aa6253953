"""What has landed as files, read back one file at a time: a file is as large as `stores.files.FILE_BYTES` at most."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from hygge_engine.errors import NotReadable, StoreError
from hygge_engine.lake.base import Lake
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.delta import DeltaLocation, open_table, reading

# Rows of a Parquet file that are decoded at once, and bytes of lines of JSON.
BATCH_ROWS = 65_536
LINES_BYTES = 8 * 1024 * 1024

# The same of CSV, where a block has to hold its longest row.
BLOCK_BYTES = 64 * 1024 * 1024


class Decoder(ABC):
    """Reads one file of one format. Raises ArrowInvalid, PolarsError or ValueError for what is none."""

    extension: str
    floats: Literal["all", "finite"] = "all"

    @abstractmethod
    def count(self, data: bytes) -> int:
        """The rows of a file."""

    @abstractmethod
    def read(self, data: bytes, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The columns that the file has of those asked for."""


class ParquetDecoder(Decoder):
    """Parquet: each column in its own type."""

    extension = "parquet"

    def count(self, data: bytes) -> int:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            return int(file.metadata.num_rows)

    def read(self, data: bytes, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            there = set(file.schema_arrow.names)
            yield from file.iter_batches(BATCH_ROWS, columns=[name for name in columns if name in there])


class CsvDecoder(Decoder):
    """CSV: all values as text, so that what is no value of its column's type is seen, too."""

    extension = "csv"

    def count(self, data: bytes) -> int:
        return sum(batch.num_rows for batch in self._batches(data, _header(data)[:1]))

    def read(self, data: bytes, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        there = set(_header(data))
        return self._batches(data, [name for name in columns if name in there])

    def _batches(self, data: bytes, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
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
        read = pcsv.ReadOptions(block_size=min(len(data), BLOCK_BYTES))
        with pcsv.open_csv(io.BytesIO(data), read_options=read, parse_options=parse, convert_options=convert) as file:
            for batch in file:
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)


class NdjsonDecoder(Decoder):
    """NDJSON: all values as text, like those of CSV."""

    extension = "ndjson"
    floats = "finite"

    def count(self, data: bytes) -> int:
        return sum(1 for line in io.BytesIO(data) if line.strip())

    def read(self, data: bytes, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        schema = dict.fromkeys(columns, pl.String())
        begin = 0
        while begin < len(data):
            end = data.find(b"\n", begin + LINES_BYTES)
            end = len(data) if end < 0 else end + 1
            yield from pl.read_ndjson(data[begin:end], schema=schema).to_arrow().to_batches()
            begin = end


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
        self.floats = decoder.floats

    def count(self) -> int:
        rows = 0
        for path in self._paths():
            with _decoding(f"{self._lake.url}/{path}"):
                rows += self._decoder.count(self._lake.read(path).data)
        return rows

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        for path in self._paths():
            with _decoding(f"{self._lake.url}/{path}"):
                yield from self._decoder.read(self._lake.read(path).data, columns)

    def _paths(self) -> list[str]:
        entries = self._lake.list(self._folder)
        paths = [entry.path for entry in entries if not entry.is_directory and entry.name[0] not in "._"]
        return sorted(path for path in paths if path.endswith(f".{self._decoder.extension}"))


class DeltaFilesReadBack(FilesReadBack):
    """The files that a Delta table's log names, in the order of their names, which is the order in which they landed
    for as long as nobody has compacted the table."""

    def __init__(self, lake: Lake, folder: str, location: DeltaLocation) -> None:
        super().__init__(lake, folder, DECODERS["parquet"])
        self._location = location

    def _paths(self) -> list[str]:
        with reading(self._folder):
            table = open_table(self._location, self._folder)
            if table is None:
                return []
            files = pa.table(table.get_add_actions(flatten=True))
        marks = [name for name in files.column_names if name.startswith("deletion_vector")]
        if any(files[name].null_count < files.num_rows for name in marks):
            raise NotReadable(
                f"the Delta table {self._folder} has deletion vectors, so that its files have rows which it has not"
            )
        return sorted(f"{self._folder}/{path}" for path in cast("list[str]", files["path"].to_pylist()))


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Translates what decoding a file raises."""
    try:
        yield
    except (pa.ArrowInvalid, pl.exceptions.PolarsError, csv.Error, UnicodeError) as error:
        raise StoreError(f"{where} cannot be read: {error}") from error


def _header(data: bytes) -> list[str]:
    """The names in the first line of a CSV file."""
    with io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="") as text:
        return next(csv.reader(text), [])
