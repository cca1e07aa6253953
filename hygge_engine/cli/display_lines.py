"""What all displays of a running load have in common: when to report, and the lines that they print."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.text import Text

from hygge_engine.cli.crowds import FIRST_SHOWN, Standing
from hygge_engine.cli.figures import bytes_text, rate_text, rows_text, seconds_between, seconds_text
from hygge_engine.cli.output import hanging
from hygge_engine.flow.slices import SliceResult
from hygge_engine.orchestration.verdict import ATTEMPTS
from hygge_engine.plain_text import lines_of

STOPPING = "Stopping after the current batches are committed. Press Ctrl-C again to quit at once."

SETTLING = "Still writing the journal: its storage is slow. Press Ctrl-C to quit at once."

LEFT = "Gave up what did not respond. What was committed stays; the next load continues from there."

# An ended entity's mark and colour, by status.
_MARKS = {"done": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "yellow"), "cancelled": ("■", "yellow")}
# How wide rows, bytes, seconds and rows per second are, so that most of them are aligned in 80 columns.
_FIGURE_CHARACTERS = (12, 8, 6, 13)

_WORDS = {"failed": "failed", "skipped": "skipped", "cancelled": "cancelled"}


class Stopwatch:
    """Seconds since the first report of each entity, and since it was last reported; the first report is due at once,
    or after the interval."""

    def __init__(self, interval_seconds: float = 0.0, *, at_once: bool = True) -> None:
        self._interval = interval_seconds
        self._at_once = at_once
        self._first: dict[tuple[str, str], float] = {}
        self._last: dict[tuple[str, str], float] = {}

    def is_due(self, flow: str, entity: str) -> bool:
        """Whether it is time for another report; counts as one if so."""
        now = time.monotonic()
        self._first.setdefault((flow, entity), now)
        last = self._last.setdefault((flow, entity), now - self._interval if self._at_once else now)
        if now - last < self._interval:
            return False
        self._last[flow, entity] = now
        return True

    def seconds(self, flow: str, entity: str) -> float:
        """Since the first report of the entity."""
        return time.monotonic() - self._first.get((flow, entity), time.monotonic())


def is_pause(result: SliceResult) -> bool:
    """Whether a slice's result explains why its entity does not continue at once."""
    return (result.status == "failed" and result.transient) or (result.status == "continue" and bool(result.not_before))


class PausesInLines(ABC):
    """A display that prints a line about what keeps an entity waiting, once for as long as it is the same.

    Of a crowd only the first lines are printed, each for all that wait for the same, and of those that end only the
    first that fail.
    """

    def __init__(self, *, every: bool = False) -> None:
        self._said: dict[str, str] = {}
        self._pauses: set[str] = set()
        self._every = every
        self._standing = Standing()
        self._ranges: dict[tuple[str, str], str] = {}

    @property
    def _is_crowd(self) -> bool:
        return self._standing.is_crowd and not self._every

    def _has_line(self, result: Mapping[str, Any]) -> bool:
        """Whether an entity that has ended, and was counted, has a line of its own."""
        return not self._is_crowd or (result["status"] == "failed" and self._standing.failed <= FIRST_SHOWN)

    def slice_ended(self, flow: str, entity: str, result: SliceResult) -> None:
        self._explain(f"{flow}.{entity}", result.message if is_pause(result) else "")

    def ranges_read(self, flow: str, entity: str, read: int, count: int) -> None:
        self._ranges[flow, entity] = f"{read:,} of {count:,} ranges"

    def journal_unsettled(self, message: str, error: str) -> None:
        self._explain("journal", message)

    def _explain(self, name: str, message: str) -> None:
        message = ATTEMPTS.sub("", message)
        before, self._said[name] = self._said.get(name, ""), message
        if message and message != before and self._is_new(message):
            self._print(Text(f"  {name}: {hanging(message)}", style="yellow"))

    def _is_new(self, message: str) -> bool:
        if not self._is_crowd:
            return True
        if message in self._pauses or len(self._pauses) >= FIRST_SHOWN:
            return False
        self._pauses.add(message)
        return True

    @abstractmethod
    def _print(self, line: Text) -> None:
        """Print a line of the display's."""


def ended_line(flow: str, entity: str, result: Mapping[str, Any], width: int) -> Text:
    """One line about an ended entity, its name padded to ``width``."""
    status = result["status"]
    mark, colour = _MARKS[status]
    seconds = seconds_between(result.get("started", ""), result.get("finished", ""))
    rows = result.get("rows", 0)
    line = Text(f"{mark} ", style=colour)
    line.append(f"{flow}.{entity}".ljust(width), style="bold")
    if status in _WORDS:
        line.append(f"  {_WORDS[status]}", style=colour)
    if rows or status == "done":
        figures = [rows_text(rows), bytes_text(result.get("bytes", 0)), seconds_text(seconds), rate_text(rows, seconds)]
        columns = zip(figures, _FIGURE_CHARACTERS, strict=True)
        line.append("  " + "  ".join(figure.rjust(width) for figure, width in columns).rstrip())
    # Why an entity failed is shown at the end, in full; why it was cancelled is known.
    message = result.get("error", "") if status == "failed" else lines_of(result.get("message", "")).partition("\n")[0]
    message = "" if status == "cancelled" and not result.get("table_gone") else message
    if message:
        line.append(f"  {message}", style="dim")
    return line


def width_of(entities: Sequence[Mapping[str, Any]]) -> int:
    """How wide the longest name is, so that what follows the names is aligned."""
    return max((len(f"{entity['flow']}.{entity['entity']}") for entity in entities), default=0)


def tell(text: str) -> None:
    """Print a message at once, from any thread; nothing happens where the stream is closed."""
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
