"""Loads of so many entities that a line for each would show nothing: how they stand, what failed first, what takes
longest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from heapq import nlargest
from typing import Any

from hygge_engine.cli.figures import rows_text, seconds_between, seconds_text
from hygge_engine.orchestration.local import Observer

# Entities of a load that have a line each, unless more are asked for.
LINES_LIMIT = 100

# Of a load of more: the failures that are shown, and the entities that take longest.
FIRST_SHOWN = 10
LONGEST_SHOWN = 5


def is_crowd(count: int) -> bool:
    """Whether so many are too many for a line each."""
    return count > LINES_LIMIT


class Standing:
    """How a load of many entities stands."""

    def __init__(self) -> None:
        self.planned = self.ended = self.failed = 0
        self._rows = 0
        self._under_way: dict[str, tuple[float, int]] = {}

    @property
    def is_crowd(self) -> bool:
        """Whether the entities are too many for a line each."""
        return is_crowd(self.planned)

    def progress(self, name: str, rows: int) -> None:
        """An entity has read so many rows."""
        since, before = self._under_way.get(name, (time.monotonic(), 0))
        self._under_way[name] = since, rows
        self._rows += rows - before

    def end(self, name: str, result: Mapping[str, Any]) -> None:
        """An entity has ended."""
        _, before = self._under_way.pop(name, (0.0, 0))
        self._rows += int(result.get("rows", 0)) - before
        self.ended += 1
        self.failed += result["status"] == "failed"

    def totals(self) -> str:
        """``1,234 of 5,000 settled, 3 failed  8,400 rows``."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        rows = f"  {rows_text(self._rows)}" if self._rows else ""
        return f"{self.ended:,} of {self.planned:,} settled{failed}{rows}"

    def line(self) -> str:
        """The totals, and what has been under way for longest."""
        if not self._under_way:
            return self.totals()
        # In the order in which they began.
        name, (since, rows) = next(iter(self._under_way.items()))
        longest = f"longest {name}: {seconds_text(time.monotonic() - since)}, {rows_text(rows)}"
        return f"{self.totals()}  {len(self._under_way):,} under way, {longest}"


class Timed(Observer):
    """Shows a load to another observer, and remembers which entities took longest."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._longest: list[tuple[float, str]] = []

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self._observer.planned(entities)

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        self._observer.entity_progress(flow, entity, rows, bytes_)

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        seconds = seconds_between(result.get("started", ""), result.get("finished", ""))
        self._longest = nlargest(LONGEST_SHOWN, [*self._longest, (seconds, f"{flow}.{entity}")])
        self._observer.entity_ended(flow, entity, result)

    def longest(self) -> str:
        """``f.a 2 min 05 s, f.b 4.2 s``: the longest first."""
        return ", ".join(f"{name} {seconds_text(seconds)}" for seconds, name in self._longest)
