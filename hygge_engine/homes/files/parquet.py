"""Parquet as a format of a home: schemas from the footers, rows row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hygge_engine.errors import HomeError, Unreadable
from hygge_engine.homes.base import Column
from hygge_engine.homes.files.content import HEAD_BYTES, kind_of
from hygge_engine.homes.files.declared import CommonNames, declared_columns, first_twice, told_apart
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.settings import FilesHomeSettings
from hygge_engine.homes.files.types import (
    CUT_TO_MICROSECONDS,
    convert,
    destination_type,
    keeps_apart,
    unsupported,
    widen,
)
from hygge_engine.lake.base import Lake
from hygge_engine.lake.ranged import RangedFile
from hygge_engine.stopping import stop_if_asked

# Footers are read side by side: over a network each takes as long as its two responses.
_FOOTERS_AT_ONCE = 8

# All columns of a row group are read at once, each through a buffer: this many bytes for all of them together.
_BUFFERS_BYTES = 16 * 1024 * 1024
_SMALLEST_BUFFER_BYTES = 64 * 1024
_LARGEST_BUFFER_BYTES = 1024 * 1024

_OWN_NAMES = "Write the file with a name of its own for each column."


@dataclass(frozen=True)
class Group:
    """What is known of one column of a row group: its extremes, and its NULLs."""

    number: int
    rows: int
    low: Any = None
    high: Any = None
    nulls: int | None = None


class ParquetFormat:
    """Positions are (row group, rows of it). A row group is streamed, never held."""

    def __init__(self, lake: Lake, settings: FilesHomeSettings) -> None:
        self._lake = lake
        self._settings = settings
        self._schema: pa.Schema | None = None
        self._schemas: dict[str, pa.Schema] = {}
        self._common = CommonNames()
        self._footers: dict[str, pq.FileMetaData] = {}
        self._groups: dict[tuple[str, str, int], Group] = {}

    def describe(self, files: Sequence[SourceFile]) -> tuple[list[Column], int | None]:
        """The union of the files' columns, by name, in the order of their first appearance; and the number of rows.

        Raises HomeError where two files give a column types that no third one holds, or ambiguous names, with both
        files.
        """
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
            for file, (schema, footer) in zip(files, pool.map(self._footer, files), strict=True):
                self._schemas[file.path], self._footers[file.path] = schema, footer
        self._common = CommonNames(self._settings.columns)
        for file in files:
            names = self._schemas[file.path].names
            self._common.add(file, names, told_apart(names))
        self._common.check()
        declared = declared_columns(self._settings.columns, self._common.all(), files)
        found: dict[str, tuple[Column, SourceFile]] = {}
        for file in files:
            stop_if_asked()
            kinds = _unseen_kinds(self._footers[file.path])
            for field in self._schemas[file.path]:
                name = self._common.of(field.name)
                if not self._settings.infer and name not in declared:
                    continue
                column = self._column(field.with_name(name), file, kinds.get(field.name, ""))
                known, first = found.get(name, (column, file))
                type_ = widen(known.type, column.type)
                if pa.types.is_null(field.type):
                    type_ = known.type
                elif known.source_type == "null":
                    known, type_ = column, column.type
                if type_ is None:
                    raise HomeError(
                        f"Column {name!r} is {column.source_type} in {file.name}, and {known.source_type} in "
                        f"{first.name}: no type holds both.",
                        hint="Read the files by two entities, or rewrite one of them.",
                    )
                wider = known if known.type == type_ else column
                found[name] = (
                    Column(
                        name,
                        type_,
                        wider.source_type,
                        True,
                        wider.loss or known.loss,
                        not (wider.blurs or known.blurs),
                    ),
                    first if known.type == type_ else file,
                )
        columns = [column for column, _ in found.values()]
        self._schema = pa.schema([(column.name, column.type) for column in columns])
        return columns, sum(footer.num_rows for footer in self._footers.values())

    def read(
        self,
        file: SourceFile,
        after: Sequence[str],
        only: Sequence[str] | None = None,
        groups: Sequence[int] | None = None,
    ) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
        """Rows after a position, with the position after them; those of ``groups`` alone where they are given."""
        first, done = (int(number) for number in after or ("0", "0"))
        with self._open(file) as parquet:
            numbers = range(parquet.num_row_groups) if groups is None else sorted(groups)
            left = [number for number in numbers if number >= first]
            if not left:
                yield self._empty(only), ["end"]
            for number in left:
                skip = done if number == first else 0
                for rows, read, whole in self._read_group(parquet, file, number, skip, only):
                    after_rows = [str(number), str(read)] if not whole else [str(number + 1), "0"]
                    yield rows, ["end"] if whole and number == left[-1] else after_rows

    def groups(self, file: SourceFile, column: str, first: int = 0) -> list[Group]:
        """What a column holds, row group by row group from ``first`` on: all NULL where the file has no such column.

        Its values are read for it, once. What footers say of them has no checksum, and some writers get it wrong: rows
        would go missing silently, or reading it ends the process.
        """
        numbers = range(first, self._footers[file.path].num_row_groups)
        return [self._group(file, column, number) for number in numbers]

    def _group(self, file: SourceFile, column: str, number: int) -> Group:
        known = self._groups.get((file.path, column, number))
        if known is None:
            low: Any = None
            high: Any = None
            rows = nulls = 0
            for batch, _ in self.read(file, [], [column], [number]):
                values = batch.column(0)
                rows += len(values)
                nulls += values.null_count
                ends: Any = pc.min_max(values)
                if ends["min"].is_valid:
                    lowest, highest = ends["min"].as_py(), ends["max"].as_py()
                    low = lowest if low is None else min(low, lowest)
                    high = highest if high is None else max(high, highest)
            known = self._groups[file.path, column, number] = Group(number, rows, low, high, nulls)
        return known

    def _read_group(
        self, parquet: pq.ParquetFile, file: SourceFile, number: int, skip: int, only: Sequence[str] | None
    ) -> Iterator[tuple[pa.RecordBatch, int, bool]]:
        """A row group's rows, how many of them have been read, and whether these are all."""
        total = parquet.metadata.row_group(number).num_rows
        schema = self._known(only)
        there = self._spelt(parquet.schema_arrow)
        names = [there[name] for name in schema.names if name in there]
        limit = self._settings.batch_mb * 1024 * 1024
        rows = min(self._settings.batch_rows, max(1, limit // self._row_bytes(parquet, number, names)))
        read = 0
        if not names:
            yield self._nulls(schema, total - skip), total, True
            return
        for fetched in self._fetched(parquet, file, number, names, rows):
            stop_if_asked()
            before, read = read, read + fetched.num_rows
            if read <= skip:
                continue
            fetched = fetched.slice(max(0, skip - before))
            # A batch that has grown beyond its limit in memory continues in parts.
            parts = max(1, -(-fetched.nbytes // (2 * limit)))
            size = -(-fetched.num_rows // parts)
            start = read - fetched.num_rows
            for offset in range(0, fetched.num_rows, size):
                part = fetched.slice(offset, size)
                until = start + offset + part.num_rows
                first = until - part.num_rows + self._rows_before(parquet, number)
                yield self._converted(part, schema, file, first), until, until == total
            del fetched
        if read != total:
            first = self._rows_before(parquet, number) + 1
            raise Unreadable(
                f"{file.name}, in the row group that begins with row {first:,}: {read:,} of {total:,} rows are there.",
                hint="The file is damaged; write it again.",
            )

    def _fetched(
        self, parquet: pq.ParquetFile, file: SourceFile, number: int, names: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from parquet.iter_batches(batch_size=rows, row_groups=[number], columns=names)
        except (pa.ArrowException, OSError) as error:
            where = f"{file.name}, in the row group that begins with row {self._rows_before(parquet, number) + 1:,}"
            raise _unreadable(f"{where}: a page is damaged", error) from error

    def _rows_before(self, parquet: pq.ParquetFile, number: int) -> int:
        return sum(parquet.metadata.row_group(before).num_rows for before in range(number))

    def _row_bytes(self, parquet: pq.ParquetFile, number: int, names: Sequence[str]) -> int:
        """What a row takes in memory, by what the footer says of its encoding.

        Of the row group, not of its columns: where a damaged footer describes a column that cannot be, asking pyarrow
        for that description ends the process, while reading the column is an error.
        """
        group = parquet.metadata.row_group(number)
        encoded = group.total_byte_size * len(names) // max(1, len(parquet.schema_arrow))
        return max(1, encoded // max(1, group.num_rows), 8 * len(names))

    def _converted(self, rows: pa.RecordBatch, schema: pa.Schema, file: SourceFile, first: int) -> pa.RecordBatch:
        """Rows of a file, of which ``first`` come before, as the destination's types."""
        arrays = []
        there = self._spelt(rows.schema)
        for field in schema:
            if field.name not in there:
                arrays.append(pa.nulls(rows.num_rows, field.type))
                continue
            where = f"{file.name}, rows {first + 1:,} to {first + rows.num_rows:,}, column {field.name!r}"
            arrays.append(convert(rows.column(there[field.name]), field.type, where))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _spelt(self, schema: pa.Schema) -> dict[str, str]:
        """The columns that a file has by their common names, with how it spells them."""
        return {self._common.of(name): name for name in schema.names}

    def _nulls(self, schema: pa.Schema, rows: int) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.nulls(rows, field.type) for field in schema], schema=schema)

    def _empty(self, only: Sequence[str] | None) -> pa.RecordBatch:
        return self._nulls(self._known(only), 0)

    def _known(self, only: Sequence[str] | None) -> pa.Schema:
        if self._schema is None:
            raise ValueError("a file is described before it is read")
        return self._schema if only is None else pa.schema([self._schema.field(name) for name in only])

    def _column(self, field: pa.Field[Any], file: SourceFile, kind: str) -> Column:
        if kind == "INTERVAL":
            raise unsupported(
                field.name, file.name, "intervals of months, days and milliseconds, and no type holds them"
            )
        if kind == "ENUM" and pa.types.is_binary(field.type):
            return Column(field.name, pa.string(), "enum")
        type_, loss = destination_type(field.name, field.type, file.name)
        if kind == "INT96":
            return Column(field.name, type_, "int96", True, CUT_TO_MICROSECONDS, False)
        return Column(field.name, type_, str(field.type), True, loss, keeps_apart(field.type))

    def _footer(self, file: SourceFile) -> tuple[pa.Schema, pq.FileMetaData]:
        with self._open(file) as parquet:
            schema = parquet.schema_arrow
            if (twice := first_twice(schema.names)) is not None:
                raise Unreadable(f"{file.name} has more than one column {twice!r}.", hint=_OWN_NAMES)
            footer = parquet.metadata
            groups = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
            if footer.num_rows != sum(groups):
                raise Unreadable(
                    f"{file.name}: its footer is damaged: its row groups do not add up to {footer.num_rows:,} rows.",
                    hint="Write the file again.",
                )
            return schema, footer

    def _open(self, file: SourceFile) -> pq.ParquetFile:
        columns = len(self._schema) if self._schema is not None else 1
        buffer = max(_SMALLEST_BUFFER_BYTES, min(_LARGEST_BUFFER_BYTES, _BUFFERS_BYTES // max(1, columns)))
        stream = pa.PythonFile(RangedFile(self._lake, file.info), mode="r")
        try:
            return pq.ParquetFile(
                stream,
                buffer_size=buffer,
                pre_buffer=False,
                page_checksum_verification=True,
                metadata=self._footers.get(file.path),
                coerce_int96_timestamp_unit="us",  # in nanoseconds, years beyond 2262 would wrap
            )
        except (pa.ArrowException, OSError) as error:
            raise self._not_opened(file, error) from error

    def _not_opened(self, file: SourceFile, error: Exception) -> Unreadable:
        kind = kind_of(RangedFile(self._lake, file.info).read(HEAD_BYTES))
        if kind is not None and kind.format != "parquet":
            return Unreadable(f"{file.name} is {kind.what}.", hint=kind.hint)
        return _unreadable(f"{file.name} is not a whole Parquet file: {_fault_of(error)}", error)


def _fault_of(error: Exception) -> str:
    """What is wrong with a file that cannot be opened."""
    text = str(error)
    if "magic bytes" in text or "smaller than the minimum" in text:
        return "it does not end as one, with PAR1, so that it is incomplete or of another format"
    return "its footer is damaged"


def _unreadable(what: str, error: Exception) -> Unreadable:
    """The error about damage, or about what the library does not read; its own words are for --verbose."""
    if isinstance(error, NotImplementedError):
        where = what.rpartition(":")[0]
        return Unreadable(
            f"{where}: it is written with an encoding or a compression that is not read here.",
            hint="Write it again with Snappy, Zstandard or gzip, and the encodings of Parquet 2.6.",
        )
    return Unreadable(f"{what}.", hint="Write the file again; check path and format if it is meant to be another one.")


def _unseen_kinds(footer: pq.FileMetaData) -> dict[str, str]:
    """Columns of kinds that their Arrow types do not show: INT96, the timestamps of old writers, which count
    nanoseconds of a day; INTERVAL and ENUM, which look like bytes."""
    columns = [footer.schema.column(number) for number in range(len(footer.schema))]
    kinds = {column.path: column.converted_type for column in columns if column.converted_type in ("INTERVAL", "ENUM")}
    return kinds | {column.path: "INT96" for column in columns if column.physical_type == "INT96"}
