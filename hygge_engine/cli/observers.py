"""How a running load is shown: bars on a terminal, lines in a file, JSON for machines."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from hygge_engine.cli.figures import bytes_text, rate_text, rows_text, seconds_between, seconds_text
from hygge_engine.cli.output import echo_json, hanging
from hygge_engine.cli.terminal import quiet_control_characters
from hygge_engine.flow.slices import SliceResult
from hygge_engine.orchestration.local import Observer
from hygge_engine.orchestration.verdict import ATTEMPTS
from hygge_engine.plain_text import lines_of

STOPPING = "Stopping: what is whole is committed. Press Ctrl-C again to leave at once."

SETTLING = "The journal is still being written: what it lies in answers, though slowly. Press Ctrl-C to leave at once."

LEFT = "Left what did not answer. What was committed stays; the next load goes on from there."

# Seconds between two reports about one entity. A line stays, an object is read by a program, a bar is redrawn.
LINE_INTERVAL_SECONDS = 10.0
JSON_INTERVAL_SECONDS = 0.5

# A settled entity's mark and colour, by status.
_MARKS = {"done": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "yellow"), "cancelled": ("■", "yellow")}
# How wide rows, bytes, seconds and rows per second are, so that most of them stand below each other in 80 columns.
_FIGURE_CHARACTERS = (12, 8, 6, 13)

_REDRAW_SECONDS = 0.1

_WORDS = {"failed": "failed", "skipped": "skipped", "cancelled": "cancelled"}


class Display(Observer, Protocol):
    """An observer that lives as long as the load, and is told of every slice."""

    def slice_answered(self, flow: str, entity: str, result: SliceResult) -> None:
        """A slice has ended; the entity may run again."""
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
    """JSON where it is asked for, bars on a terminal, lines elsewhere; log lines would tear the bars apart."""
    if json_:
        return JsonDisplay()
    return BarDisplay(console) if console.is_terminal and not verbose else LineDisplay(console)


class _Stopwatch:
    """Seconds since each entity was first heard of, and since it was last reported; the first report is due at once,
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
        """Since the entity was first heard of."""
        return time.monotonic() - self._first.get((flow, entity), time.monotonic())


def is_pause(result: SliceResult) -> bool:
    """Whether a slice's answer explains why its entity does not go straight on."""
    return (result.status == "failed" and result.transient) or (result.status == "continue" and bool(result.not_before))


class _Pauses:
    """What keeps entities waiting, said once for as long as it is the same."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def line(self, flow: str, entity: str, result: SliceResult) -> Text | None:
        """A line about a slice that has ended, or None where there is nothing new to say."""
        return self._line(f"{flow}.{entity}", result.message if is_pause(result) else "")

    def journal_line(self, message: str) -> Text | None:
        """The same about the journal."""
        return self._line("journal", message)

    def _line(self, name: str, message: str) -> Text | None:
        message = ATTEMPTS.sub("", message)
        before, self._said[name] = self._said.get(name, ""), message
        return Text(f"  {name}: {hanging(message)}", style="yellow") if message and message != before else None


def settled_line(flow: str, entity: str, result: Mapping[str, Any], width: int) -> Text:
    """One line about a settled entity, its name padded to ``width``."""
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
    # Why an entity failed is told at the end, in full; why it was cancelled is known.
    message = result.get("error", "") if status == "failed" else lines_of(result.get("message", "")).partition("\n")[0]
    message = "" if status == "cancelled" and not result.get("table_gone") else message
    if message:
        line.append(f"  {message}", style="dim")
    return line


class _Bars(Progress):
    """Bars with a note below them."""

    note = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.note:
            yield Text(self.note, style="yellow")


class BarDisplay:
    """One bar for each entity under way, and a line above the bars for each that has settled."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = _Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            auto_refresh=False,
        )
        self._drawing = threading.Lock()
        self._ended = threading.Event()
        self._bars: dict[tuple[str, str], TaskID] = {}
        self._watch = _Stopwatch()
        self._pauses = _Pauses()
        self._all: TaskID | None = None
        self._rows: dict[tuple[str, str], int] = {}
        self._settled = 0
        self._count = 0
        self._width = 0
        self._echo = ExitStack()

    def __enter__(self) -> Self:
        self._echo.enter_context(quiet_control_characters())
        self._progress.start()
        threading.Thread(target=self._redraw, name="hygge-bars", daemon=True).start()
        return self

    def _redraw(self) -> None:
        """Draw the bars again and again. Rich's own thread does not wait for a line that another one prints, and each
        would count the lines that the other has to take back."""
        while not self._ended.wait(_REDRAW_SECONDS):
            with self._drawing:
                if not self._ended.is_set():
                    self._progress.refresh()

    def _print(self, line: Text) -> None:
        with self._drawing:
            self._console.print(line, highlight=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._ended.set()
        # A process that leaves waits for no terminal that takes nothing.
        drawing = self._drawing.acquire(timeout=_REDRAW_SECONDS)
        self._progress.stop()
        if drawing:
            self._drawing.release()
        self._echo.close()

    def stopping(self) -> None:
        # Drawn with the bars, by the thread that draws them.
        self._progress.note = STOPPING

    def settling(self) -> None:
        self._progress.note = SETTLING

    def leaving(self) -> None:
        self.__exit__(None, None, None)
        _tell(LEFT)

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self._width = _width(entities)
        self._count = len(entities)
        self._all = self._progress.add_task("all".ljust(self._width), total=self._count, figures=self._totals())

    def _totals(self) -> str:
        rows = sum(self._rows.values())
        return f"{self._settled} of {self._count} settled" + (f"  {rows_text(rows)}" if rows else "")

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        self._watch.is_due(flow, entity)
        bar = self._bars.get((flow, entity))
        if bar is None:
            name = f"{flow}.{entity}".ljust(self._width)
            bar = self._bars[flow, entity] = self._progress.add_task(name, total=None, figures="")
        figures = f"{rows_text(rows)}  {bytes_text(bytes_)}  {rate_text(rows, self._watch.seconds(flow, entity))}"
        self._progress.update(bar, figures=figures)
        self._rows[flow, entity] = rows
        if self._all is not None:
            self._progress.update(self._all, figures=self._totals())

    def entity_settled(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        bar = self._bars.pop((flow, entity), None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._print(settled_line(flow, entity, result, self._width))
        self._rows[flow, entity] = result.get("rows", 0)
        self._settled += 1
        if self._all is not None:
            self._progress.update(self._all, advance=1, figures=self._totals())

    def slice_answered(self, flow: str, entity: str, result: SliceResult) -> None:
        line = self._pauses.line(flow, entity, result)
        if line is not None:
            self._print(line)

    def journal_unsettled(self, message: str, error: str) -> None:
        line = self._pauses.journal_line(message)
        if line is not None:
            self._print(line)


class LineDisplay:
    """A line for each entity that has settled, and now and then one for those under way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._watch = _Stopwatch(LINE_INTERVAL_SECONDS, at_once=False)
        self._pauses = _Pauses()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return

    def stopping(self) -> None:
        _tell(STOPPING)

    def settling(self) -> None:
        _tell(SETTLING)

    def leaving(self) -> None:
        _tell(LEFT)

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self._width = _width(entities)
        count = len(entities)
        self._print(Text(f"Moving {count} entit{'y' if count == 1 else 'ies'}."))

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        if self._watch.is_due(flow, entity):
            rate = rate_text(rows, self._watch.seconds(flow, entity))
            name = f"{flow}.{entity}".ljust(self._width)
            self._print(Text(f"  {name}  {rows_text(rows)}  {bytes_text(bytes_)}  {rate}".rstrip()))

    def entity_settled(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        self._print(settled_line(flow, entity, result, self._width))

    def slice_answered(self, flow: str, entity: str, result: SliceResult) -> None:
        line = self._pauses.line(flow, entity, result)
        if line is not None:
            self._print(line)

    def journal_unsettled(self, message: str, error: str) -> None:
        line = self._pauses.journal_line(message)
        if line is not None:
            self._print(line)

    def _print(self, line: Text) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


class JsonDisplay:
    """One JSON object per line."""

    def __init__(self) -> None:
        self._watch = _Stopwatch(JSON_INTERVAL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return

    def stopping(self) -> None:
        _tell(STOPPING)

    def settling(self) -> None:
        _tell(SETTLING)

    def leaving(self) -> None:
        _tell(LEFT)

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        write_event("planned", entities=list(entities))

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        if self._watch.is_due(flow, entity):
            write_event("progress", flow=flow, entity=entity, rows=rows, bytes=bytes_)

    def entity_settled(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        # The columns are for the schema manifest; there may be a thousand of them.
        figures = {"rows": 0, "bytes": 0} | {key: value for key, value in result.items() if key != "columns"}
        write_event("settled", **figures | {"flow": flow, "entity": entity})

    def slice_answered(self, flow: str, entity: str, result: SliceResult) -> None:
        if is_pause(result):
            write_event("waiting", flow=flow, entity=entity, message=result.message, error=result.error)

    def journal_unsettled(self, message: str, error: str) -> None:
        write_event("waiting", flow="", entity="", message=message, error=error)


def _tell(text: str) -> None:
    """Say something at once, from wherever it comes; whoever has closed the stream does not want to know."""
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def write_event(event: str, **values: Any) -> None:
    """Write one object, at once: whoever reads it follows the load."""
    echo_json({"event": event, **values})
    sys.stdout.flush()


def _width(entities: Sequence[Mapping[str, Any]]) -> int:
    return max((len(f"{entity['flow']}.{entity['entity']}") for entity in entities), default=0)
