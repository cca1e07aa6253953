"""A staged file on its way to a data lake: appended by a thread of its own, while the next bytes are being encoded."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable

from hygge_engine.errors import HyggeError, LakeUnavailable
from hygge_engine.lake.base import Staged

# One append request. OneLake documents no limit; 4 to 32 MiB is the safe range of the field, and a lost connection
# costs one chunk.
CHUNK_BYTES = 8 * 1024 * 1024

# Chunks waiting for the wire: one is being sent while the next is ready, so an upload holds at most three chunks in
# memory.
QUEUED_CHUNKS = 1


class Upload:
    """A binary sink. ``write`` blocks while the queue is full; the first failed append is raised by the next call."""

    closed = False

    def __init__(
        self,
        path: str,
        append: Callable[[bytes, int], None],
        flush: Callable[[int], None],
        length_of: Callable[[Staged], int],
        delete: Callable[[str], object],
    ) -> None:
        self._path = path
        self._append = append
        self._flush = flush
        self._length_of = length_of
        self._delete = delete
        self._pending = bytearray()
        self._length = 0
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(maxsize=QUEUED_CHUNKS)
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def write(self, data: bytes | memoryview, /) -> int:
        """Take bytes in; their number is returned as a file would."""
        with memoryview(data) as view:
            size = taken = view.nbytes
            while taken:
                # Chunk by chunk: what is written at once may be as large as the largest value of a table.
                start = size - taken
                part = view[start : start + CHUNK_BYTES - len(self._pending)]
                self._pending += part
                taken -= part.nbytes
                if len(self._pending) == CHUNK_BYTES:
                    chunk = bytes(self._pending)
                    self._pending.clear()
                    self._send(chunk)
        return size

    def tell(self) -> int:
        """Bytes taken in so far."""
        return self._length + len(self._pending)

    def flush(self) -> None:
        """Nothing: what is written becomes visible once, in `finish`."""

    def finish(self) -> Staged:
        """See `StagingWriter.finish`."""
        last = bytes(self._pending)
        self._pending.clear()
        if self._thread is None:  # a small file: no thread was worth starting
            self._take(last)
            if last:
                self._append(last, 0)
        else:
            if last:
                self._send(last)
            self._stop_thread()
        if self._failure is not None:
            raise self._failure
        self._flush(self._length)
        staged = Staged(self._path, self._length, self._hash.hexdigest())
        found = self._length_of(staged)
        if found != self._length:
            raise LakeUnavailable(f"{self._path} has {found} bytes after the flush, {self._length} were sent")
        return staged

    def abandon(self) -> None:
        """See `StagingWriter.abandon`. What could not be deleted is swept by the next load."""
        self._stop_thread()
        try:
            self._delete(self._path)
        except HyggeError:
            return

    def _take(self, chunk: bytes) -> int:
        offset = self._length
        self._length += len(chunk)
        self._hash.update(chunk)
        return offset

    def _send(self, chunk: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        if self._thread is None:
            self._thread = threading.Thread(target=self._drain, name=f"upload {self._path}", daemon=True)
            self._thread.start()
        self._queue.put(chunk)

    def _drain(self) -> None:
        while (chunk := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # keep taking, so that the writer never blocks on a full queue
            try:
                self._append(chunk, self._take(chunk))
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that writes
                self._failure = error

    def _stop_thread(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
