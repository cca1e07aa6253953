"""How a running load is shown: bars on a terminal, lines in a file, JSON for machines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.text import Text

from hygge_engine.cli.bars import BarDisplay
from hygge_engine.cli.display_lines import (
    LEFT,
    SETTLING,
    STOPPING,
    PausesInLines,
    Stopwatch,
    ended_line,
    is_pause,
    tell,
    width_of,
)
from hygge_engine.cli.figures import bytes_text, rate_text, rows_text
from hygge_engine.cli.output import echo_json
from hygge_engine.flow.slices import SliceResult
from hygge_engine.orchestration.local import Observer

# Seconds between two reports about one entity. A line stays, an object is read by a program, a bar is redrawn.
LINE_INTERVAL_SECONDS = 10.0
JSON_INTERVAL_SECONDS = 0.5


class Display(Observer, Protocol):
    """An observer that lives as long as the load, and receives every slice."""

    def slice_ended(self, flow: str, entity: str, result: SliceResult) -> None:
        """A slice has ended; the entity may run again."""
        ...

    def ranges_read(self, flow: str, entity: str, read: int, count: int) -> None:
        """So many of the ranges of a table have been read."""
        ...

    def journal_unsettled(self, message: str, error: str) -> None:
        """The journal could not be written yet, and why; it is tried again."""
        ...

    def stopping(self) -> None:
        """The load has been asked to stop. Called by a signal handler, which may interrupt any print and must not
        print itself."""
        ...

    def settling(self) -> None:
        """The load has ended, and its journal takes long. Called from a thread of its own."""
        ...

    def leaving(self) -> None:
        """The process ends now, whatever still runs."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def choose_display(console: Console, *, json_: bool, verbose: bool) -> Display:
    """JSON where it is requested, bars on a terminal, lines elsewhere; log lines would tear the bars apart."""
    if json_:
        return JsonDisplay()
    return BarDisplay(console) if console.is_terminal and not verbose else LineDisplay(console, every=verbose)


class _WriteOnlyDisplay:
    """What displays share that only write, and hold nothing open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return

    def stopping(self) -> None:
        tell(STOPPING)

    def settling(self) -> None:
        tell(SETTLING)

    def leaving(self) -> None:
        tell(LEFT)


class LineDisplay(_WriteOnlyDisplay, PausesInLines):
    """A line for each entity that has ended, and now and then one for those under way. Of a crowd one for all of them
    now and then, unless ``every`` entity is to be seen."""

    def __init__(self, console: Console, *, every: bool = False) -> None:
        super().__init__(every=every)
        self._console = console
        self._watch = Stopwatch(LINE_INTERVAL_SECONDS, at_once=False)
        self._width = 0

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self._width = width_of(entities)
        count = self._standing.planned = len(entities)
        self._print(Text(f"Moving {count:,} entit{'y' if count == 1 else 'ies'}."))
        if self._is_crowd:
            self._print(Text("Of those that end, only the first failures have a line; --verbose shows all."))

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        self._standing.progress(f"{flow}.{entity}", rows)
        if self._is_crowd:
            self._tell()
        elif self._watch.is_due(flow, entity):
            rate = rate_text(rows, self._watch.seconds(flow, entity))
            name = f"{flow}.{entity}".ljust(self._width)
            parts = [name, rows_text(rows), bytes_text(bytes_), rate, self._ranges.get((flow, entity), "")]
            self._print(Text(f"  {'  '.join(filter(None, parts))}"))

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        self._standing.end(f"{flow}.{entity}", result)
        if self._has_line(result):
            self._print(ended_line(flow, entity, result, self._width))
        if self._is_crowd:
            self._tell()

    def _tell(self) -> None:
        """Say how all of them stand, where it is time."""
        if self._watch.is_due("", ""):
            self._print(Text(f"  {self._standing.line()}"))

    def _print(self, line: Text) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


class JsonDisplay(_WriteOnlyDisplay):
    """One JSON object per line."""

    def __init__(self) -> None:
        self._watch = Stopwatch(JSON_INTERVAL_SECONDS)
        self._ranges: dict[tuple[str, str], dict[str, int]] = {}

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        write_event("planned", entities=list(entities))

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        if self._watch.is_due(flow, entity):
            ranges = self._ranges.get((flow, entity), {})
            write_event("progress", flow=flow, entity=entity, rows=rows, bytes=bytes_, **ranges)

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        # The columns are for the schema manifest; there may be a thousand of them.
        figures = {"rows": 0, "bytes": 0} | {key: value for key, value in result.items() if key != "columns"}
        write_event("settled", **figures | {"flow": flow, "entity": entity})

    def slice_ended(self, flow: str, entity: str, result: SliceResult) -> None:
        if is_pause(result):
            write_event("waiting", flow=flow, entity=entity, message=result.message, error=result.error)

    def ranges_read(self, flow: str, entity: str, read: int, count: int) -> None:
        self._ranges[flow, entity] = {"ranges_read": read, "ranges": count}

    def journal_unsettled(self, message: str, error: str) -> None:
        write_event("waiting", flow="", entity="", message=message, error=error)


def write_event(event: str, **values: Any) -> None:
    """Write one object, unbuffered: its reader follows the load."""
    echo_json({"event": event, **values})
    sys.stdout.flush()
