"""Several readers over the ranges of one table: threads whose batches meet in one bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace

from hygge_engine.homes.base import Batch
from hygge_engine.homes.mssql.ranges import KeyRange, position_of
from hygge_engine.homes.mssql.trial import Trial
from hygge_engine.stopping import stops_when

# How a reader reads one range.
type Read = Callable[[KeyRange], Generator[Batch]]

# How often a reader that waits for room in the queue checks whether it is still wanted.
_POLL_SECONDS = 0.1


def read_ranges(
    ranges: Sequence[KeyRange],
    readers: int,
    open_reader: Callable[[], AbstractContextManager[Read]],
    key_columns: int,
    trial: Trial | None = None,
) -> Generator[Batch]:
    """The rows of all ranges, each batch with the position that says what is left once it has been taken.

    ``open_reader`` is entered once in each reader's thread. Closing the generator cancels all statements and waits for
    the threads. The first error of a reader is raised here. With a ``trial`` one reader begins, the others come when it
    says so, and one of them leaves at the end of its range where it says that they do not help.
    """
    gathering = _Gathering(ranges, readers)
    threads = [
        threading.Thread(target=gathering.run, args=(open_reader,), name=f"range reader {number}", daemon=True)
        for number in range(1, readers + 1)
    ]
    left: dict[int, KeyRange] = dict(enumerate(ranges))
    try:
        for thread in threads[: 1 if trial else readers]:
            thread.start()
        for number, batch in gathering.arrivals():
            if batch is None:
                del left[number]
                continue
            match trial.arrived(batch.rows.num_rows) if trial else "":
                case "take":
                    for thread in threads[1:]:
                        thread.start()
                case "give back":
                    gathering.give_one_back()
            left[number] = replace(left[number], after=batch.position)
            yield Batch(batch.rows, position_of(list(left.values()), key_columns))
    finally:
        gathering.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


class _Gathering:
    """What the readers share: the ranges that have not begun, and the queue of what has been read."""

    def __init__(self, ranges: Sequence[KeyRange], readers: int) -> None:
        self._waiting = iter(enumerate(ranges))
        self._lock = threading.Lock()
        self._unread = len(ranges)
        self._stopped = threading.Event()
        self._surplus = 0
        # Together with the batch that each reader holds: twice what a single reader would hold.
        self._arrived: queue.Queue[tuple[int, Batch | None] | BaseException] = queue.Queue(readers)

    def run(self, open_reader: Callable[[], AbstractContextManager[Read]]) -> None:
        """Read range after range; the work of one thread."""
        try:
            with stops_when(self._stopped.is_set), open_reader() as read:
                for number, range_ in self._ranges():
                    with closing(read(range_)) as batches:
                        for batch in batches:
                            if not self._put((number, batch)):
                                return
                            del batch  # or it would still be held while the next one is read
                    self._put((number, None))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the batches are taken
            self._put(error)

    def arrivals(self) -> Iterator[tuple[int, Batch | None]]:
        """What the readers have read, until all ranges are at their end. Raises the first error of any reader."""
        while self._unread:
            arrived = self._arrived.get()
            if isinstance(arrived, BaseException):
                raise arrived
            if arrived[1] is None:
                self._unread -= 1
            yield arrived
            del arrived

    def give_one_back(self) -> None:
        """Let the first reader leave that comes to the end of its range; another one reads what is left."""
        with self._lock:
            self._surplus = 1

    def stop(self) -> None:
        """Tell the readers that their batches are no longer wanted."""
        self._stopped.set()

    def _ranges(self) -> Iterator[tuple[int, KeyRange]]:
        while not self._stopped.is_set():
            with self._lock:
                if self._surplus:
                    self._surplus -= 1
                    return
                next_ = next(self._waiting, None)
            if next_ is None:
                return
            yield next_

    def _put(self, arrived: tuple[int, Batch | None] | BaseException) -> bool:
        """Whether it will be taken."""
        while not self._stopped.is_set():
            try:
                self._arrived.put(arrived, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False
