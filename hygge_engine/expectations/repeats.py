"""Which rows repeat values that have been there before, in bounded memory."""

from __future__ import annotations

from typing import Protocol

import polars as pl

# Rows of a slice whose values are kept, at 8 bytes each: 16 MB.
REMEMBERED_ROWS = 2_000_000


class Repeats(Protocol):
    """Finds rows whose values were there before. ``complete``: none can have been overlooked so far."""

    complete: bool

    def find(self, values: pl.Series) -> pl.Series:
        """For each of the values (64-bit hashes), whether it was there before."""
        ...


class Adjacent:
    """For rows that come in the order of the values: those that are the same follow each other."""

    def __init__(self) -> None:
        self.complete = True
        self._last = pl.Series(dtype=pl.UInt64)

    def find(self, values: pl.Series) -> pl.Series:
        both = pl.concat([self._last, values])
        self._last = both.tail(1)
        return (both == both.shift(1)).fill_null(value=False).tail(len(values))


class Remembered:
    """For rows in any order. Values are kept sorted, in runs that are merged when two are about as long: each value is
    sorted a few times, and looked for in a few runs."""

    def __init__(self, limit: int = REMEMBERED_ROWS) -> None:
        self.complete = True
        self._limit = limit
        self._runs: list[pl.Series] = []

    def find(self, values: pl.Series) -> pl.Series:
        repeated = ~values.is_first_distinct()
        for run in self._runs:
            places = run.search_sorted(values).clip(upper_bound=len(run) - 1)
            repeated |= run.gather(places) == values
        self._remember(values.filter(~repeated))
        return repeated

    def _remember(self, values: pl.Series) -> None:
        room = self._limit - sum(len(run) for run in self._runs)
        self.complete &= len(values) <= room
        if not len(values) or not room:
            return
        self._runs.append(values.head(room).sort())
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs.append(pl.concat([self._runs.pop(), self._runs.pop()]).sort())
