"""Slowing down where a source says that it is short: a pause, a fresh connection, and more time between batches.

What is short is the source, whoever reads it: all readers of a process share a pace for it, which recovers by itself.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from hygge_engine.errors import HomeError, HomeUnavailable
from hygge_engine.stopping import stop_if_asked

if TYPE_CHECKING:
    from hygge_engine.homes.base import Batch
    from hygge_engine.homes.mssql.ranges import KeyRange

# Pauses before a source that is short is asked again, in seconds, until a batch comes; then the error is raised. All
# of them together are shorter than what makes others take an attempt for dead.
_PAUSES = (2.0, 4.0, 8.0, 15.0, 15.0)

# The longest pause that a source may ask for itself.
_LONGEST_PAUSE = 20.0

# The part of the time that is spent on reading: halved by each shortage, to this at least, and doubled again after each
# time without one. Readers that are told the same at the same time count as one.
_LEAST_SHARE = 1 / 16
_RECOVERY_SECONDS = 30.0
_SAME_SECONDS = 5.0

# The longest rest after one batch.
_LONGEST_REST = 20.0

# How often a pause sees whether the load was asked to stop, in seconds.
_POLL_SECONDS = 1.0

# How old what a source has said of its own resources may be: it measures every 15 seconds.
_LOOK_SECONDS = 15.0

# Per cent of any of its limits from which a source counts as short.
_SHORT_FROM = 90.0

# The resources of an Azure SQL database, by the latest of its measurements.
RESOURCES = (
    "SELECT TOP (1) avg_cpu_percent, avg_data_io_percent, max_worker_percent, max_session_percent "
    "FROM sys.dm_db_resource_stats ORDER BY end_time DESC"
)
_NAMES = ("CPU", "data IO", "workers", "sessions")


class Pace:
    """How much of the time a source is read, shared by the threads that read it. ``clock`` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._share = 1.0
        self._since = -math.inf
        self._looked = -math.inf

    @property
    def share(self) -> float:
        """The part of the time that may be spent on reading, 1.0 where the source has not been short for a while."""
        with self._lock:
            return self._recovered()

    def slow_down(self) -> None:
        """Spend half of the time that was spent so far."""
        with self._lock:
            if self._clock() - self._since > _SAME_SECONDS:
                self._share = max(_LEAST_SHARE, self._recovered() / 2)
            self._since = self._clock()

    def is_to_look(self) -> bool:
        """Whether it is time to see how the source is; True for one caller at a time."""
        with self._lock:
            if self._clock() - self._looked < _LOOK_SECONDS:
                return False
            self._looked = self._clock()
            return True

    def look_no_more(self) -> None:
        """Note that the source does not say how it is."""
        self._looked = math.inf

    def _recovered(self) -> float:
        since = self._clock() - self._since
        doublings = min(10.0, since // _RECOVERY_SECONDS)
        return min(1.0, self._share * 2**doublings)


class Paces:
    """The paces of this process, by source."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces: dict[str, Pace] = {}

    def of(self, source: str) -> Pace:
        """The pace of a source, the same for all who read it."""
        with self._lock:
            return self._paces.setdefault(source, Pace())

    def forget(self) -> None:
        """Drop all paces."""
        with self._lock:
            self._paces.clear()


paces = Paces()


def pause(seconds: float) -> None:
    """Wait, unless the load is asked to stop. Raises Stopped."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        stop_if_asked()
        time.sleep(min(left, _POLL_SECONDS))


class Throttle:
    """Reads a source with patience, and says why in ``remarks``."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.remarks: list[str] = []

    def read(
        self, range_: KeyRange, read: Callable[[KeyRange], Generator[Batch]], hang_up: Callable[[], None]
    ) -> Generator[Batch]:
        """What ``read`` yields of a range, begun again after the last batch where the source is short. ``hang_up``
        gives back the connection before a pause.

        Raises HomeUnavailable where it stays short, and where the batches have no position to go on from.
        """
        pauses = iter(_PAUSES)
        resumable = True
        while True:
            try:
                with closing(read(range_)) as batches:
                    for batch in batches:
                        pauses = iter(_PAUSES)
                        resumable = batch.position is not None
                        range_ = replace(range_, after=batch.position)
                        yield batch
                        del batch  # or it would still be held while the next one is read
                return
            except HomeUnavailable as error:
                if not (error.is_short and resumable):
                    raise
                self._pause(error, pauses, hang_up)

    def ask[T](self, ask: Callable[[], T], hang_up: Callable[[], None]) -> T:
        """What ``ask`` returns, also where the source is short meanwhile. Raises HomeUnavailable where it stays so."""
        pauses = iter(_PAUSES)
        while True:
            try:
                return ask()
            except HomeUnavailable as error:
                if not error.is_short:
                    raise
                self._pause(error, pauses, hang_up)

    def _pause(self, error: HomeUnavailable, pauses: Iterator[float], hang_up: Callable[[], None]) -> None:
        """Wait without a connection. Raises the error where there has been enough waiting."""
        seconds = next(pauses, None)
        if seconds is None:
            raise error
        self.slow_down(f"the source is short of resources (SQL Server error {error.number})")
        hang_up()
        pause(min(_LONGEST_PAUSE, max(seconds, error.retry_after_seconds or 0.0)))

    def rest(self, seconds: float) -> None:
        """Rest after a batch whose reading took so many seconds."""
        share = self._pace.share
        if share < 1.0:
            pause(min(_LONGEST_REST, seconds * (1 / share - 1)))

    def look(self, ask: Callable[[str], list[tuple[object, ...]]]) -> None:
        """Slow down before the source fails, where it says that one of its limits is nearly reached; now and then, and
        no more once it has not understood. Raises HomeUnavailable."""
        if not self._pace.is_to_look():
            return
        try:
            rows = ask(RESOURCES)
        except HomeError as error:
            if error.transient:
                raise
            self._pace.look_no_more()  # not an Azure SQL database, or no permission to see its state
            return
        used = rows[0] if rows else ()
        short = [name for name, per_cent in zip(_NAMES, used, strict=False) if _is_high(per_cent)]
        if short:
            limit = "its limit" if len(short) == 1 else "their limits"
            self.slow_down(f"the source's {' and '.join(short)} at {_SHORT_FROM:g} % or more of {limit}")

    def slow_down(self, reason: str) -> None:
        """Slow down all who read the source, and remember why."""
        self._pace.slow_down()
        remark = f"slowed down: {reason}"
        if remark not in self.remarks:
            self.remarks.append(remark)


def _is_high(per_cent: object) -> bool:
    if isinstance(per_cent, Decimal) and not per_cent.is_finite():
        return False
    return isinstance(per_cent, int | float | Decimal) and per_cent >= _SHORT_FROM
