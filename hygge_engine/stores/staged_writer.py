"""Record batches into staged files, encoded by a thread of its own while the next batch is being read."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol

import pyarrow as pa

from hygge_engine.errors import StoreError
from hygge_engine.lake.base import StagingWriter
from hygge_engine.memory import trim
from hygge_engine.stores.landing.lake_lease import staged_file
from hygge_engine.stores.landing.state import StagedFile

# Arrow bytes gathered before they are encoded together: a row group in Parquet. Large enough for dictionaries and
# statistics to pay, small enough that a reader and this writer hold only a fraction of the memory budget.
GATHERED_BYTES = 32 * 1024 * 1024

# What all writers of a process gather together: as much as two of them alone. With more of them, each encodes sooner:
# an instance reads several tables, or ranges of one, at the same time.
SHARED_BYTES = 2 * GATHERED_BYTES

# Encoded bytes after which a file is closed and the next begun. No limit is documented for a landing zone; files of
# this size keep a killed slice's loss and the replicator's memory small.
FILE_BYTES = 256 * 1024 * 1024

# The same for a file of digests, which is read whole, and of its row groups, beside which rows are gathered as well.
DIGEST_FILE_BYTES = 16 * 1024 * 1024
DIGEST_GATHERED_BYTES = 4 * 1024 * 1024

# Rows longer than this on average are written one batch at a time, each batch into a file of its own.
LARGE_ROW_BYTES = 8 * 1024 * 1024

# Batches waiting to be encoded: one in work, one ready.
QUEUED_BATCHES = 1


class Encoder(Protocol):
    """Writes tables of one schema into one file of one format."""

    def write(self, table: pa.Table) -> None: ...

    def close(self) -> None:
        """Complete the file; the sink stays open."""
        ...


# Begins a file of one format in a sink.
Format = Callable[[StagingWriter, pa.Schema], Encoder]


class _Budget:
    """What all open writers of this process would gather, in bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def add(self, size: int) -> None:
        with self._lock:
            self._taken += size

    def share(self, wanted: int) -> int:
        """What a writer that would gather ``wanted`` bytes may gather beside the others."""
        return wanted * SHARED_BYTES // max(SHARED_BYTES, self._taken)


_budget = _Budget()


class StagedFiles:
    """Writes batches of one schema into as many staged files as they need; a `RowWriter`."""

    def __init__(
        self,
        stage: Callable[[], StagingWriter],
        schema: pa.Schema,
        format_: Format,
        *,
        file_bytes: int = FILE_BYTES,
        gathered_bytes: int = GATHERED_BYTES,
    ) -> None:
        self._stage = stage
        self._schema = schema
        self._format = format_
        self._file_bytes = file_bytes
        self._most_gathered = gathered_bytes
        self._sink: StagingWriter | None = None
        self._encoder: Encoder | None = None
        self._gathered: list[pa.RecordBatch] = []
        self._gathered_bytes = 0
        self._rows = 0
        self._done: list[StagedFile] = []
        self._queue: queue.Queue[pa.RecordBatch | None] = queue.Queue(maxsize=QUEUED_BATCHES)
        self._failure: BaseException | None = None
        self._is_stopped = False
        _budget.add(gathered_bytes)
        self._thread = threading.Thread(target=self._drain, name="encode", daemon=True)
        self._thread.start()

    def write(self, batch: pa.RecordBatch) -> None:
        """Hand a batch over, to be encoded and uploaded by another thread.

        Blocks while another batch is waiting, and for one with very large values until it has been encoded: the next of
        its kind must not be read meanwhile. Raises what encoding or uploading an earlier batch has raised.
        """
        self._raise_failure()
        if batch.num_rows:
            self._queue.put(batch)
            if _has_large_rows(batch):
                self._queue.join()

    def delete(self, rows: pa.RecordBatch) -> None:
        raise StoreError("files are only added to: rows cannot be deleted from them")

    def finish(self) -> list[StagedFile]:
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
        if not self._is_stopped:
            _budget.add(-self._most_gathered)
        self._is_stopped = True

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _drain(self) -> None:
        while (batch := self._queue.get()) is not None:
            # After a failure keep taking, so that the reader never blocks on a full queue.
            if self._failure is None:
                try:
                    self._gather(batch)
                except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads
                    self._failure = error
            del batch  # or it would be held until the next one comes
            self._queue.task_done()

    def _gather(self, batch: pa.RecordBatch) -> None:
        self._gathered.append(batch)
        self._gathered_bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._gathered_bytes >= _budget.share(self._most_gathered) or _has_large_rows(batch):
            self._encode()

    def _encode(self) -> None:
        if not self._gathered:
            return
        if self._sink is None or self._encoder is None:
            self._sink = self._stage()
            self._encoder = self._format(self._sink, self._schema)
        table = pa.Table.from_batches(self._gathered, self._schema)
        has_large_rows = any(_has_large_rows(batch) for batch in self._gathered)
        self._gathered = []
        self._gathered_bytes = 0
        self._encoder.write(table)
        del table
        trim()
        # Until its file is closed, Parquet's writer keeps buffers as large as the largest value.
        if self._sink.tell() >= self._file_bytes or has_large_rows:
            self._close_file()

    def _close_file(self) -> None:
        self._encode()
        if self._sink is None or self._encoder is None:
            return
        self._encoder.close()
        self._done.append(staged_file(self._sink.finish(), rows=self._rows))
        self._encoder = None
        self._sink = None
        self._rows = 0


def _has_large_rows(batch: pa.RecordBatch) -> bool:
    return batch.nbytes >= LARGE_ROW_BYTES * batch.num_rows
