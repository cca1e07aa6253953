"""``hygge runs``: what the journal remembers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hygge_engine.cli.figures import seconds_text
from hygge_engine.cli.messages import EXIT_NOTHING_STARTED, EXIT_SETTLED
from hygge_engine.journal.summaries import summarize_loads
from hygge_engine.orchestration.places import places_of
from hygge_engine.project import Project, load_project

_COLOURS = {"success": "green", "fail": "red", "skip": "yellow", "cancel": "yellow"}

_NUMBERS = ("entities", "failed", "rows", "took")

# Columns that are of no use when cut: ids, times, a long duration, a big table.
_WIDTHS_CHARACTERS = {"load": 36, "started": 19, "status": 7, "rows": 9, "took": 9}

_UNLIMITED_CHARACTERS = 1000


def run(directory: Path, *, load_id: str | None, flow: str | None, failed: bool, limit: int, json_: bool) -> int:
    """Show loads, or one load's entities. Raises ConfigurationError, JournalError and the LakeError family."""
    project = load_project(directory)
    rows = _read(project, load_id, flow)
    if load_id is not None and rows.is_empty():
        typer.echo(f"error: No journal of this project knows the load {load_id}", err=True)
        typer.echo("  do:  `hygge runs` lists the loads.", err=True)
        return EXIT_NOTHING_STARTED
    if load_id is None:
        _show_loads(summarize_loads(rows), failed=failed, limit=limit, json_=json_)
    else:
        _show_load(rows, failed=failed, json_=json_)
    return EXIT_SETTLED


def _read(project: Project, load_id: str | None, flow: str | None) -> pl.DataFrame:
    journals = [place.journal for place in places_of(project.entities).values()]
    rows = pl.concat([journal.read(load_id, flow=flow) for journal in journals])
    # A load that was skipped, or never planned, is remembered in every place that it would have touched.
    return rows.unique("entity_run_id", keep="first", maintain_order=True)


def _show_loads(loads: pl.DataFrame, *, failed: bool, limit: int, json_: bool) -> None:
    if failed:
        loads = loads.filter(pl.col("failed") > 0)
    found = loads.head(limit).to_dicts()
    if json_:
        typer.echo(json.dumps(found, default=str))
        return
    if not found:
        typer.echo("No load has failed." if failed else "There are no loads yet; `hygge go` makes one.")
        return
    table = _table("load", "started", "status", "entities", "failed", "rows", "took", "message")
    for load in found:
        table.add_row(
            load["coordinator_run_id"],
            _moment(load["started"]),
            _status(load["status"]),
            str(load["entities"]),
            str(load["failed"] or ""),
            f"{load['rows'] or 0:,}",
            seconds_text(load["duration"] or 0.0),
            (load["message"] or "").partition("\n")[0],
        )
    _console().print(table)


def _show_load(rows: pl.DataFrame, *, failed: bool, json_: bool) -> None:
    if failed:
        rows = rows.filter(pl.col("status") == "fail")
    found = rows.to_dicts()
    if json_:
        typer.echo(json.dumps(found, default=str))
        return
    console = _console()
    table = _table("flow", "entity", "status", "run type", "rows", "took", "watermark")
    for row in found:
        table.add_row(
            row["flow"],
            row["entity"],
            _status(row["status"]),
            row["run_type"],
            f"{row['row_count'] or 0:,}",
            seconds_text(row["duration"] or 0.0),
            row["watermark"] or "",
        )
    console.print(table)
    for row in found:
        if row["message"]:
            name = ".".join(part for part in (row["flow"], row["entity"]) if part) or "load"
            console.print(Text(f"{name}: {row['message']}"), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in _NUMBERS else "left",
            no_wrap=True,
            overflow="ellipsis",
            # What a terminal has no room for is cut from the messages first.
            min_width=None if column == "message" else _WIDTHS_CHARACTERS.get(column, len(column)),
        )
    return table


def _console() -> Console:
    """Standard output; a file or a pipe has no width, so nothing is cut there."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNLIMITED_CHARACTERS)


def _status(status: str) -> Text:
    return Text(status, style=_COLOURS.get(status, ""))


def _moment(text: Any) -> str:
    """An ISO 8601 time to the second."""
    return str(text or "")[:19].replace("T", " ")
