"""A running load on a terminal: a bar for each entity under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from hygge_engine.cli.display_lines import (
    LEFT,
    SETTLING,
    STOPPING,
    PausesInLines,
    Stopwatch,
    ended_line,
    tell,
    width_of,
)
from hygge_engine.cli.figures import bytes_text, rate_text, rows_text
from hygge_engine.cli.terminal import quiet_control_characters

_REDRAW_SECONDS = 0.1

# Bars at once, beside the one for all: those of the entities that began first, so that they fit on a screen.
BARS_LIMIT = 15


class _Bars(Progress):
    """Bars with a note below them."""

    note = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.note:
            yield Text(self.note, style="yellow")


class BarDisplay(PausesInLines):
    """A bar for each of the entities under way that began first, and a line above the bars for each that has ended; of
    a crowd only for the first that fail."""

    def __init__(self, console: Console) -> None:
        super().__init__()
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
        self._watch = Stopwatch()
        self._all: TaskID | None = None
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
        self._close()

    def _close(self) -> None:
        """Stop drawing, and give the terminal back."""
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
        self._close()
        tell(LEFT)

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self._width = width_of(entities)
        count = self._standing.planned = len(entities)
        name = "all".ljust(self._width)
        self._all = self._progress.add_task(name, total=count, figures=self._standing.totals())

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        self._watch.is_due(flow, entity)
        bar = self._bars.get((flow, entity))
        if bar is None and len(self._bars) < BARS_LIMIT:
            name = f"{flow}.{entity}".ljust(self._width)
            bar = self._bars[flow, entity] = self._progress.add_task(name, total=None, figures="")
        figures = f"{rows_text(rows)}  {bytes_text(bytes_)}  {rate_text(rows, self._watch.seconds(flow, entity))}"
        figures = f"{figures}  {self._ranges.get((flow, entity), '')}".rstrip()
        if bar is not None:
            self._progress.update(bar, figures=figures)
        self._standing.progress(f"{flow}.{entity}", rows)
        if self._all is not None:
            self._progress.update(self._all, figures=self._standing.totals())

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        bar = self._bars.pop((flow, entity), None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._standing.end(f"{flow}.{entity}", result)
        if self._has_line(result):
            self._print(ended_line(flow, entity, result, self._width))
        if self._all is not None:
            self._progress.update(self._all, advance=1, figures=self._standing.totals())
