"""Record batches into staged Parquet files, encoded by a thread of its own while the next batch is being read."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from hygge_engine.errors import StoreError
from hygge_engine.lake.base import Staged, StagingWriter

# Arrow bytes gathered into one row group. Large enough for dictionaries and statistics to pay, small enough that a
# reader and this writer hold only a fraction of the memory budget.
ROW_GROUP_BYTES = 32 * 1024 * 1024

# Encoded bytes after which a file is closed and the next begun. No limit is documented for a landing zone; files of
# this size keep a killed slice's loss and the replicator's memory small.
FILE_BYTES = 256 * 1024 * 1024

# Batches waiting to be encoded: one in work, one ready.
QUEUED_BATCHES = 1

# zstd at its lowest level: smaller than snappy at about the same speed, and accepted by Fabric.
COMPRESSION: Final = "zstd"
COMPRESSION_LEVEL = 1

# A column's dictionary in one row group. One that outgrows a core's cache costs more than it saves: with this limit
# encoding lineitem takes a quarter less processor time than with the default of 1 MiB, and its file is smaller.
DICTIONARY_BYTES = 128 * 1024

# Fabric reads __rowMarker__ as the last column; int32 and never null is what Microsoft's own writers send.
ROW_MARKER = "__rowMarker__"


@dataclass(frozen=True)
class StagedParquet:
    """One complete staged file and its number of rows."""

    file: Staged
    rows: int


class ParquetFiles:
    """Writes batches of one schema into as many staged files as they need. ``row_marker`` adds the marker column."""

    def __init__(
        self,
        stage: Callable[[], StagingWriter],
        schema: pa.Schema,
        *,
        row_marker: int | None = None,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        if row_marker is not None:
            schema = schema.append(pa.field(ROW_MARKER, pa.int32(), nullable=False))
        self._stage = stage
        self._schema = schema
        self._row_marker = row_marker
        self._file_bytes = file_bytes
        self._sink: StagingWriter | None = None
        self._writer: pq.ParquetWriter | None = None
        self._gathered: list[pa.RecordBatch] = []
        self._gathered_bytes = 0
        self._rows = 0
        self._done: list[StagedParquet] = []
        self._queue: queue.Queue[pa.RecordBatch | None] = queue.Queue(maxsize=QUEUED_BATCHES)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._drain, name="encode", daemon=True)
        self._thread.start()

    def write(self, batch: pa.RecordBatch) -> None:
        """Hand a batch over.

        blocks while another is waiting. Raises what encoding or uploading an earlier one raised.
        """
        self._raise_failure()
        if batch.num_rows:
            self._queue.put(batch)

    def finish(self) -> list[StagedParquet]:
        """Close the last file and return all of them in order; no file is ever empty."""
        self._stop()
        self._raise_failure()
        self._close_file()
        # Arrow keeps what the rows took for itself; beside other tables, and other libraries, it is needed again.
        pa.default_memory_pool().release_unused()
        return self._done

    def abandon(self) -> None:
        """Drop everything that was staged. What cannot be deleted now is swept by the next load."""
        self._failure = self._failure or StoreError("abandoned")
        self._stop()
        self._gathered.clear()
        if self._sink is not None:
            self._sink.abandon()
            self._sink = None

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
        self._thread.join()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _drain(self) -> None:
        while (batch := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # keep taking, so that the reader never blocks on a full queue
            try:
                self._encode(batch)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads
                self._failure = error

    def _encode(self, batch: pa.RecordBatch) -> None:
        if self._row_marker is not None:
            markers = pa.repeat(pa.scalar(self._row_marker, pa.int32()), batch.num_rows)
            batch = pa.RecordBatch.from_arrays([*batch.columns, markers], schema=self._schema)
        self._gathered.append(batch)
        self._gathered_bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._gathered_bytes >= ROW_GROUP_BYTES:
            self._write_row_group()

    def _write_row_group(self) -> None:
        if not self._gathered:
            return
        if self._writer is None:
            self._sink = self._stage()
            self._writer = pq.ParquetWriter(
                cast("IO[bytes]", self._sink),
                self._schema,
                compression=COMPRESSION,
                compression_level=COMPRESSION_LEVEL,
                dictionary_pagesize_limit=DICTIONARY_BYTES,
                # A decimal of up to 18 digits as an integer costs half of what it costs as 16 bytes.
                store_decimal_as_integer=True,
            )
        table = pa.Table.from_batches(self._gathered, self._schema)
        self._gathered = []
        self._gathered_bytes = 0
        self._writer.write_table(table, row_group_size=table.num_rows)
        if self._sink is not None and self._sink.tell() >= self._file_bytes:
            self._close_file()

    def _close_file(self) -> None:
        self._write_row_group()
        if self._writer is None or self._sink is None:
            return
        self._writer.close()
        self._done.append(StagedParquet(self._sink.finish(), self._rows))
        self._writer = None
        self._sink = None
        self._rows = 0
