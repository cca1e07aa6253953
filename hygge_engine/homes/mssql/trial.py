"""Whether a second reader helps: seen by how many rows arrive with it and without, not assumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

# How long the rows are counted that one reader brings, then two. Before the latter, as long again is left to the second
# reader to connect and begin.
TRIAL_SECONDS = 2.0

# By this much more has to arrive: less is not worth a connection that another table may need.
GAIN = 1.15

# What is to be done with the second reader.
Advice = Literal["", "take", "give back"]


class Trial:
    """Counts the rows that arrive, whichever side waits. ``clock`` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._rows = 0
        self._alone: float | None = None
        self._over = False

    def arrived(self, rows: int) -> Advice:
        """Count ``rows``; each advice is given once."""
        if self._over:
            return ""
        now = self._clock()
        if self._began is None:
            self._began = now  # the first rows came as late as the server needed to find them
            return ""
        if now < self._began:
            return ""
        self._rows += rows
        seconds = now - self._began
        if seconds < TRIAL_SECONDS:
            return ""
        rate = self._rows / seconds
        if self._alone is None:
            self._alone, self._rows, self._began = rate, 0, now + TRIAL_SECONDS
            return "take"
        self._over = True
        return "" if rate >= GAIN * self._alone else "give back"
