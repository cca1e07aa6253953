"""A load as it happens: one bar per entity, and a line when it has settled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from devcloud.demo.client import Client

POLL_SECONDS = 0.5

# A load may take long on a busy machine; one whose status has stayed the same for so long hangs.
STILL_LIMIT_SECONDS = 600.0

ENDED = frozenset({"success", "fail", "skip", "cancel"})
MARKS = {"success": "[green]✓[/]", "fail": "[red]✗[/]", "skip": "[yellow]-[/]", "cancel": "[yellow]■[/]"}


class RowsPerSecond(ProgressColumn):
    """Rows landed, and how fast."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0
        return Text(f"{int(task.completed):>9,} rows  {speed:>9,.0f} rows/s", style="cyan")


def follow(console: Console, client: Client, load_id: str, expected: Mapping[str, int] | None) -> dict[str, Any]:
    """Show a load until it has settled, and return its status. ``expected`` rows per entity give the bars their
    length."""
    columns = (TextColumn("  {task.description:<10}"), BarColumn(bar_width=30), TaskProgressColumn(), RowsPerSecond())
    seen: Any = None
    moved = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bars: dict[str, Any] = {}
        settled: set[str] = set()
        while time.monotonic() < moved + STILL_LIMIT_SECONDS:
            status: dict[str, Any] = client.get(f"/api/loads/{load_id}")
            if status != seen:
                seen, moved = status, time.monotonic()
            for state in status["entities"]:
                name = state["entity"]
                total = expected.get(name) if expected else None
                if name not in bars:
                    bars[name] = progress.add_task(name, total=total)
                progress.update(bars[name], completed=state["rows"])
                if state["status"] in ENDED and name not in settled:
                    settled.add(name)
                    progress.update(bars[name], total=state["rows"] or 1, completed=state["rows"] or 1)
                    _print_settled(progress.console, state)
            if status["state"] in ("settled", "lost"):
                return status
            time.sleep(POLL_SECONDS)
    raise TimeoutError(f"load {load_id} has not moved for {STILL_LIMIT_SECONDS:.0f} s")


def _print_settled(console: Console, state: Mapping[str, Any]) -> None:
    note = f"  {state['message']}" if state.get("message") else ""
    console.print(f"  {MARKS[state['status']]} {state['entity']:<10} {state['rows']:>9,} rows {state['status']}{note}")
