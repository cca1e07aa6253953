"""Parquet files that are read as they were written, or called damaged: a footer has no checksum, and says how many
rows there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

# Rows of a table that is read whole are decoded in batches of this size, whatever the footer says of their number.
_ROWS_AT_ONCE = 65_536


class DamagedParquet(ValueError):
    """A file that is not a Parquet file, or not whole."""


class WholeParquet:
    """One file, opened. Everything raises DamagedParquet, and what ``source`` raises."""

    def __init__(self, source: pa.NativeFile, *, buffer_bytes: int = 0, pre_buffer: bool = False) -> None:
        with _faults():
            self._file = pq.ParquetFile(source, buffer_size=buffer_bytes, pre_buffer=pre_buffer)
            footer = self._file.metadata
            self.groups = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
            self.schema: pa.Schema = self._file.schema_arrow
        self.rows: int = footer.num_rows
        if sum(self.groups) != self.rows:
            raise DamagedParquet(f"its row groups do not add up to {self.rows:,} rows")

    def batches(
        self, rows: int, columns: Sequence[str] | None = None, group: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of rows, of one row group or of all of them; every row, or an error."""
        names = None if columns is None else list(columns)
        for number in range(len(self.groups)) if group is None else [group]:
            found = 0
            with _faults():
                for batch in self._file.iter_batches(rows, row_groups=[number], columns=names):
                    found += batch.num_rows
                    yield batch
            if found != self.groups[number]:
                raise DamagedParquet(f"a row group of {self.groups[number]:,} rows has {found:,}")

    def table(self, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
        """All rows, or those of one row group; without columns that the file does not have."""
        wanted = set(self.schema.names if columns is None else columns)
        names = [name for name in self.schema.names if name in wanted]
        batches = list(self.batches(_ROWS_AT_ONCE, names, group))
        with _faults():
            return pa.Table.from_batches(batches, pa.schema([self.schema.field(name) for name in names]))


@contextmanager
def _faults() -> Iterator[None]:
    """What pyarrow raises where a footer or a page is not what was written, as one error."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError, IndexError) as error:
        text = str(error)
        if "magic bytes" in text or "smaller than the minimum" in text:
            raise DamagedParquet("it does not end as one, with PAR1") from error
        raise DamagedParquet("its footer or a page is damaged") from error
