"""Parquet as a file format of stores."""

from __future__ import annotations

from typing import IO, Any, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from hygge_engine.lake.base import StagingWriter

# zstd at its lowest level: smaller than snappy at about the same speed, and accepted by Fabric.
COMPRESSION: Final = "zstd"
COMPRESSION_LEVEL = 1

# A column's dictionary in one row group. One that outgrows a core's cache costs more than it saves: with this limit
# encoding lineitem takes a quarter less processor time than with the default of 1 MiB, and its file is smaller.
DICTIONARY_BYTES = 128 * 1024

# Values longer than this on average (documents, pictures) hardly repeat: a dictionary and the smallest and largest of
# them would be copies for nothing, of a whole value each.
LARGE_VALUE_BYTES: Final = 1024

# What a page should hold. The writer checks it only after a number of rows, by default 1,024 whatever their length.
_PAGE_BYTES: Final = 1024 * 1024
_ROWS_BETWEEN_PAGES: Final = 1024


class ParquetEncoder:
    """One Parquet file; each table that is written becomes one row group."""

    def __init__(self, sink: StagingWriter, schema: pa.Schema) -> None:
        self._sink = sink
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = self._begin(table)
        self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _begin(self, first: pa.Table) -> pq.ParquetWriter:
        """A writer whose file treats each column as its first rows suggest."""
        sizes = {name: first.column(name).nbytes / max(1, first.num_rows) for name in first.schema.names}
        small = [name for name, size in sizes.items() if size <= LARGE_VALUE_BYTES]
        largest = max(sizes.values(), default=0)
        rows_between = _ROWS_BETWEEN_PAGES if largest <= LARGE_VALUE_BYTES else max(1, int(_PAGE_BYTES / largest))
        # The names of columns, which the stubs of pyarrow do not know, or none of them.
        repeating: Any = small or False
        return pq.ParquetWriter(
            cast("IO[bytes]", self._sink),
            self._schema,
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=repeating,
            write_statistics=repeating,
            dictionary_pagesize_limit=DICTIONARY_BYTES,
            data_page_size=_PAGE_BYTES,
            write_batch_size=rows_between,
            # A decimal of up to 18 digits as an integer costs half of what it costs as 16 bytes.
            store_decimal_as_integer=True,
        )


class HashesEncoder(ParquetEncoder):
    """The same for hashes and what they are of: neither dictionaries nor statistics say anything about hashes, and
    nothing compresses them."""

    def _begin(self, first: pa.Table) -> pq.ParquetWriter:
        hashes = [field.name for field in self._schema if pa.types.is_uint64(field.type)]
        packed: Any = {name: "NONE" if name in hashes else COMPRESSION.upper() for name in self._schema.names}
        numbers = {
            field.name: "DELTA_BINARY_PACKED"
            for field in self._schema
            if pa.types.is_integer(field.type) and field.name not in hashes and field.type.bit_width in (32, 64)
        }
        return pq.ParquetWriter(
            cast("IO[bytes]", self._sink),
            self._schema,
            compression=packed,
            use_dictionary=False,
            write_statistics=False,
            column_encoding=cast("Any", numbers) or None,
        )
