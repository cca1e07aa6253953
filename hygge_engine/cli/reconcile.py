"""``hygge reconcile``: source against destination, row by row; moves nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from hygge_engine.cli.figures import rows_text, seconds_text
from hygge_engine.cli.interrupt import EXIT_INTERRUPTED
from hygge_engine.cli.messages import EXIT_ENTITY_FAILED, EXIT_SETTLED, page_of, remedy_of
from hygge_engine.cli.output import echo_json, hanging, open_console
from hygge_engine.cli.reachability import Reachability
from hygge_engine.project import Entity, load_project, select
from hygge_engine.reconcile.compare import not_compared, reconcile
from hygge_engine.reconcile.result import ComparisonObserver, Example, Reconciliation, Side

# Entities compared at once: whatever is read is hashed by all processors anyway.
_AT_ONCE = 4

# Seconds between two lines about an entity where no terminal shows how it comes along.
_LINE_INTERVAL_SECONDS = 10.0

_COLOURS = {"equal": "green", "differs": "red", "behind": "yellow", "not readable": "yellow", "failed": "red"}
_HEADER = ("entity", "verdict", "source rows", "destination rows", "changed since", "took")
_VERDICT = 1

_KINDS = {
    "missing": "missing at the destination",
    "extra": "not at the source",
    "different": "different",
}


def run(
    directory: Path,
    *,
    flows: list[str],
    entities: list[str],
    counts_only: bool,
    all_rows: bool,
    overrides: list[str],
    json_: bool,
) -> int:
    """Compare and return the exit code. Raises ConfigurationError, UnknownSelection."""
    project = load_project(directory, overrides=overrides)
    # What a history holds is of all times, and nowhere else.
    selected = [entity for entity in select(project, flows, entities) if not entity.history_of]
    console = open_console()
    reachable = Reachability(project, selected)
    with _Display(console, silent=json_) as display, ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:

        def compare(entity: Entity) -> Reconciliation:
            if error := reachable.source(entity) or reachable.destination(entity):
                return not_compared(entity, error)
            with display.watch(entity) as watch:
                return reconcile(project, entity, watch, counts_only=counts_only, all_rows=all_rows)

        comparisons = [pool.submit(compare, entity) for entity in selected]
        try:
            found = [comparison.result() for comparison in comparisons]
        except KeyboardInterrupt:
            display.stop()
            pool.shutdown(cancel_futures=True)
            return EXIT_INTERRUPTED
    if json_:
        echo_json({"project": project.name, "entities": [result.to_json() for result in found]})
    else:
        show(console, found)
    return EXIT_SETTLED if all(result.verdict == "equal" for result in found) else EXIT_ENTITY_FAILED


def show(console: Console, found: Sequence[Reconciliation]) -> None:
    """A line for each entity, what was compared, and what is to be said of those that differ."""
    rows = [_cells(result) for result in found]
    widths = [max(map(len, cells)) for cells in zip(_HEADER, *rows, strict=True)]
    console.print(_line(_HEADER, widths, "bold", "bold"), soft_wrap=True)
    for result, row in zip(found, rows, strict=True):
        console.print(_line(row, widths, "", _COLOURS[result.verdict]), soft_wrap=True)
        if result.compared:
            console.print(Text(f"    {result.compared}", style="dim"), soft_wrap=True)
        for line in _details(result):
            console.print(Text(f"    {hanging(line, 6)}"), soft_wrap=True)


def _cells(result: Reconciliation) -> tuple[str, ...]:
    return (
        f"{result.flow}.{result.entity}",
        result.verdict,
        _count(result.source_rows),
        _count(result.destination_rows),
        f"{result.moving:,}" if result.moving else "",
        seconds_text(result.seconds),
    )


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _line(row: Sequence[str], widths: Sequence[int], style: str, verdict_style: str) -> Text:
    """Name and verdict to the left, figures to the right."""
    line = Text()
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        padded = cell.ljust(width) if number <= _VERDICT else cell.rjust(width)
        line.append(padded, style=verdict_style if number == _VERDICT else style).append("  ")
    line.rstrip()
    return line


def _details(result: Reconciliation) -> list[str]:
    """What differs, why, and what to do."""
    counts = {"missing": result.missing, "extra": result.extra, "different": result.different}
    lines = [result.message] if result.message else []
    for kind, count in counts.items():
        if count:
            lines.append(f"{rows_text(count)} {_KINDS[kind]}")
            shown = [example for example in result.examples if example.kind == kind]
            lines += [f"  {_example(example)}" for example in shown]
            if 0 < len(shown) < count:
                lines.append(f"  … and {count - len(shown):,} more")
    if result.not_compared:
        lines.append(f"not compared: {', '.join(result.not_compared)}")
    hint = "" if result.verdict == "equal" else result.hint or remedy_of(result.error)
    see = f" See {page_of(result.error)}." if result.error else ""
    return [*lines, f"do: {hint}{see}"] if hint else lines


def _example(example: Example) -> str:
    key = ", ".join(f"{name} = {value}" for name, value in example.key.items())
    return f"{key}: {', '.join(example.columns)}" if example.columns else key


class _Display:
    """Shows how comparisons come along: a line for each that is under way on a terminal, now and then one elsewhere."""

    def __init__(self, console: Console, *, silent: bool) -> None:
        self._console = console
        self._silent = silent
        self._stopped = threading.Event()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=silent or not console.is_terminal,
        )

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()

    def stop(self) -> None:
        """Let comparisons that are under way end with their next batch."""
        self._stopped.set()

    @contextmanager
    def watch(self, entity: Entity) -> Iterator[ComparisonObserver]:
        """The progress of an entity's comparison, for as long as it lasts."""
        if self._silent:
            yield _Figures(lambda figures: None, self._stopped)
        elif self._console.is_terminal:
            task = self._progress.add_task(entity.id, total=None, figures="")
            yield _Figures(lambda figures: self._progress.update(task, figures=figures), self._stopped)
            self._progress.remove_task(task)
        else:
            yield _Figures(
                lambda figures: self._console.print(f"  {entity.id}  {figures}", markup=False, soft_wrap=True),
                self._stopped,
                _LINE_INTERVAL_SECONDS,
            )


class _Figures:
    """Rows read of both sides as text, reported at most once per interval, and not before the first has passed.

    Raises KeyboardInterrupt in the thread that compares once the user has stopped it.
    """

    def __init__(self, tell: Callable[[str], None], stopped: threading.Event, interval_seconds: float = 0.0) -> None:
        self._tell = tell
        self._stopped = stopped
        self._interval = interval_seconds
        self._last = time.monotonic()
        self._rows: dict[Side, int] = {}

    def read(self, side: Side, rows: int) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
        self._rows[side] = rows
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            self._tell(", ".join(f"{name}: {rows_text(count)}" for name, count in self._rows.items()))
