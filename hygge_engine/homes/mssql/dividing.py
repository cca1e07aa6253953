"""Bounds of the ranges that a source is divided into: keys here and there, in the server's order and confirmed by it.

No key is compared here. The server sorts them, and says of each bound that one row has it and that it comes after the
bound before: ranges between such bounds neither overlap nor leave anything out, whatever else the server says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched, pairwise

from hygge_engine.errors import HomeError, HomeUnavailable
from hygge_engine.homes.base import Position
from hygge_engine.homes.mssql.query import compare, sample_statement, select
from hygge_engine.homes.mssql.ranges import KeyRange, between, spread
from hygge_engine.homes.mssql.session import whole
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.homes.mssql.values import Parameter, to_text

# Keys that bounds are chosen from, about: ten for each of a thousand ranges.
KEYS = 10_000

# Samples come page by page, and by the server's statistics: this many times what was requested is not a sample.
_TIMES_AT_MOST = 4

# Rows that are sampled for each range, as far as the sample stays quick: they come by whole pages of a hundred rows or
# so, and ranges of about equal length take some ten pages for each.
_SAMPLED_FOR_A_RANGE = 1_000
_SAMPLED_AT_MOST = 1_000_000

# How often the server is asked to confirm bounds, each time without those that it has not confirmed.
_ATTEMPTS = 4

# What one statement confirms: as many bounds as it has a SELECT for each, and parameters, of which the server takes
# 2,100. A key of 16 columns takes 153 for each bound.
_BOUNDS_AT_ONCE = 50
_PARAMETERS_AT_ONCE = 1_000

# What the bounds of all ranges may take, in characters: they are held, and written down, at once.
_BOUNDS_CHARACTERS = 100_000

# Asks the server: a statement, how many of its rows are wanted at most, the values of its placeholders.
type Ask = Callable[[str, int, Sequence[Parameter]], list[tuple[object, ...]]]


@dataclass(frozen=True)
class Division:
    """What is divided: the rows of ``source`` (see `hygge_engine.homes.mssql.query.select`) that meet ``condition``,
    whose placeholders have the values ``parameters``; all rows where it is empty. ``rows`` is how many the source has,
    about; None for a view or a query, which no server samples."""

    ask: Ask
    source: str
    key: Sequence[SourceColumn]
    rows: int | None
    condition: str = ""
    parameters: Sequence[Parameter] = ()

    def ranges(self, parts: int, range_rows: int = 0, *, numbering: bool = True) -> list[KeyRange]:
        """At most ``parts`` ranges, with ``range_rows`` of about as many rows or more each. One, the whole, where the
        server gives no bounds in time. Raises HomeUnavailable.

        Keys are sampled. Where that is not possible the server numbers all of them, unless ``numbering`` is ruled out.
        """
        try:
            rows = self._count() if self.rows is None else self.rows
            if range_rows:
                parts = min(parts, rows // range_rows)
            if parts < 2:
                return [KeyRange()]
            sampled = max(KEYS, min(parts * _SAMPLED_FOR_A_RANGE, _SAMPLED_AT_MOST))
            # The first takes a server that numbers rows, the second one that samples them.
            ways = ([sampled, KEYS] if self.rows is not None else []) + ([None] if numbering else [])
            for way in dict.fromkeys(ways):
                with _suppress_refusal():
                    return self._ranges(rows, parts, range_rows, way)
        except HomeError as error:
            if error.transient and not (isinstance(error, HomeUnavailable) and error.is_slow):
                raise
        return [KeyRange()]

    def _ranges(self, rows: int, parts: int, range_rows: int, sampled: int | None) -> list[KeyRange]:
        seen = min(sampled or rows, max(1, rows))
        step = max(1, seen // KEYS)
        keys = self._keys(sampled, step)
        if range_rows and self.condition:
            # The share of the sample that meets the condition is about the share of the rows that does.
            found = len(keys) * step * rows // seen
            parts = min(parts, found // range_rows)
        bounds = spread(keys, parts)
        while sum(len(text) for bound in bounds for text in bound) > _BOUNDS_CHARACTERS:
            parts //= 2
            bounds = spread(keys, parts)
        return between(self._confirmed(bounds))

    def _count(self) -> int:
        counted = self.ask(select("COUNT_BIG(*)", self.source, self.condition), 1, self.parameters)
        return whole(counted[0][0] if counted else None, "Counting the rows")

    def _keys(self, sampled: int | None, step: int) -> list[Position]:
        """Every ``step``-th key in the server's order; none where what it sends are not some keys here and there."""
        most = _TIMES_AT_MOST * KEYS
        statement = sample_statement(self.source, self.key, self.condition, sampled=sampled, step=step, most=most)
        rows = self.ask(statement, most, self.parameters)
        if len(rows) >= most or any(len(row) != len(self.key) for row in rows):
            return []  # the first keys of many, or none
        return [[to_text(column, value) for column, value in zip(self.key, row, strict=True)] for row in rows]

    def _confirmed(self, bounds: list[Position]) -> list[Position]:
        """Those of which each comes after the one before, and is the key of one row; none of a server that contradicts
        itself."""
        for _ in range(_ATTEMPTS):
            confirmed = self._those_that_follow(bounds)
            if confirmed == bounds:
                return bounds
            bounds = confirmed  # what followed one that is gone has to follow another now
        return []

    def _those_that_follow(self, bounds: Sequence[Position]) -> list[Position]:
        checks = [self._check(number, *pair) for number, pair in enumerate(pairwise([None, *bounds]))]
        most = max((len(parameters) for _, parameters in checks), default=1)
        found: Counter[object] = Counter()
        for few in batched(checks, max(1, min(_BOUNDS_AT_ONCE, _PARAMETERS_AT_ONCE // most)), strict=False):
            statement = " UNION ALL ".join(sql for sql, _ in few)
            rows = self.ask(statement, len(few) + 1, [value for _, parameters in few for value in parameters])
            if len(rows) <= len(few):
                found.update(row[0] for row in rows)
        return [bound for number, bound in enumerate(bounds) if found[number] == 1]

    def _check(self, number: int, before: Position | None, bound: Position | None) -> tuple[str, list[Parameter]]:
        """A statement that returns the number of a bound once for each row which has it, if it comes after another."""
        parameters: list[Parameter] = []
        conditions = [compare(self.key, "=", bound or [], parameters)]
        if before is not None:
            conditions.append(compare(self.key, ">", before, parameters))
        return select(f"{number} AS [number]", self.source, " AND ".join(conditions)), parameters


@contextmanager
def _suppress_refusal() -> Iterator[None]:
    """Around a question that not every server understands, or answers with what it was asked for."""
    try:
        yield
    except HomeError as error:
        if error.transient:
            raise
