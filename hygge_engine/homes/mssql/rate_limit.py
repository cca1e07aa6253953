"""How fast a source may be read, where its owner has set a limit."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """Holds a reader back to ``rows_per_second`` on average since it began; None lets it run.

    ``rows`` at once are a second's worth at most, so that the consumer never waits long.
    """

    def __init__(
        self,
        rows_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rows_per_second
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._rows = 0

    def at_once(self, rows: int) -> int:
        """How many of ``rows`` may come in one batch."""
        return rows if self._rate is None else max(1, min(rows, int(self._rate)))

    def keep(self, rows: int) -> None:
        """Count rows that have been read, and wait until they may have been."""
        if self._rate is None:
            return
        self._rows += rows
        ahead = self._rows / self._rate - (self._clock() - self._began)
        if ahead > 0:
            self._sleep(ahead)
