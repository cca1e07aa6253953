"""``hygge runs``: what the journal has recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.text import Text

from hygge_engine.cli.crowds import FIRST_SHOWN, is_crowd
from hygge_engine.cli.figures import rows_text, seconds_text, unended_text
from hygge_engine.cli.messages import EXIT_ENTITY_FAILED, EXIT_NOTHING_STARTED, EXIT_SETTLED, error_lines
from hygge_engine.cli.output import echo, echo_json, hanging, open_console
from hygge_engine.cli.reachability import show_left_out, with_journals
from hygge_engine.journal import Journal, Journals
from hygge_engine.journal.journal import FULL, FULL_REMEDY
from hygge_engine.journal.summaries import Level
from hygge_engine.orchestration.places import JournalPlace, entities_of, places_of, unended_at
from hygge_engine.plain_text import lines_of, one_line
from hygge_engine.project import Project, load_project
from hygge_engine.project.telling.problems import suggest
from hygge_engine.row_counts import COUNT_NAMES

_COLOURS = {"success": "green", "fail": "red", "skip": "yellow", "cancel": "yellow"}

# Before the numbers of rows that were inserted, updated, deleted and unchanged.
_SIGNS = "+~-="

# Lines, unless the caller says otherwise; one load has as many as it has entities.
LINES_DEFAULT = 20

_NUMBERS = ("entities", "runs", "failed", "rows", "changes", "took")


def run(
    directory: Path,
    *,
    load_id: str | None,
    flow: str | None,
    entity: str | None,
    by: Level,
    failed: bool,
    limit: int | None,
    overrides: list[str],
    json_: bool,
) -> int:
    """Show loads, one load's entities, one entity's runs, or a line for each flow or entity.

    Raises ConfigurationError, JournalError and the LakeError family.
    """
    project = load_project(directory, overrides=overrides)
    if entity is not None:
        flow, entity = _parse_entity(project, flow, entity)
    remembered, unread = with_journals(project, entities_of(project, [flow] if flow else []))
    places = list(places_of(project, remembered).values())
    each = {place.address: place.journal for place in places}
    journals = Journals(list(each.values()))
    show_left_out("not shown", unread)
    _show_unended(places)
    _show_full(each)
    ended = EXIT_ENTITY_FAILED if unread else EXIT_SETTLED
    if load_id is None and (by != "load" or entity is None):
        # What has failed is looked for in the whole history.
        lines = limit or LINES_DEFAULT
        found = journals.summary(by, flow=flow, entity=entity, limit=None if failed else lines)
        _show_passed_over(each)
        if failed:
            found = found.filter(pl.col("failed") > 0)
        _show_summary(by, found.head(lines).to_dicts(), failed=failed, json_=json_)
        return ended
    rows = journals.read(load_id, flow=flow, entity=entity)
    _show_passed_over(each)
    if load_id is not None and rows.is_empty():
        what = f"the load {load_id}" if entity is None and flow is None else f"such a part of the load {load_id}"
        message = f"No journal of this project knows {what}."
        echo("\n".join(error_lines("load.not_found", message, "`hygge runs` lists the loads.")), err=True)
        return EXIT_NOTHING_STARTED
    if load_id is not None:
        _show_load(load_id, rows, failed=failed, limit=limit, json_=json_)
    elif entity is not None:
        _show_entity(project, entity, rows, failed=failed, limit=limit or LINES_DEFAULT, json_=json_)
    return ended


def _show_unended(places: Sequence[JournalPlace]) -> None:
    """Show which loads have begun but are in no journal."""
    for load in dict.fromkeys(load for place in places for load in unended_at(place)):
        echo(f"not shown: {unended_text(load)}", err=True)


def _show_full(journals: Mapping[str, Journal]) -> None:
    """Say which journals, by place, have no room for more, and what to do."""
    for place, journal in journals.items():
        if journal.is_full():
            echo(f"{place}: {FULL} {FULL_REMEDY}", err=True)


def _show_passed_over(journals: Mapping[str, Journal]) -> None:
    """Say in a line for each journal what in its folder is none of its files: of many, the first."""
    for journal in journals.values():
        if found := journal.passed_over():
            more = f" So are {len(found) - 1:,} more." if len(found) > 1 else ""
            echo(one_line(f"not shown: {found[0]}{more}"), err=True)


def _parse_entity(project: Project, flow: str | None, text: str) -> tuple[str | None, str]:
    """Flow and entity of ``entity`` or ``flow.entity``. What the project no longer has may still be in the journal."""
    named, _, entity = text.partition(".")
    return (named, entity) if flow is None and entity and named in project.flows else (flow, text)


def _show_summary(by: Level, found: list[dict[str, Any]], *, failed: bool, json_: bool) -> None:
    if json_:
        echo_json(found)
        return
    if not found:
        nothing = "There are no loads yet; `hygge go` makes one."
        echo(f"No {by} has failed." if failed else nothing)
        return
    header, rows = (_LOAD_HEADER, map(_load_cells, found)) if by == "load" else (_PART_HEADER, map(_part_cells, found))
    _print_table((by, *header), list(rows), [line["message"] or "" for line in found])


_LOAD_HEADER = ("started", "status", "entities", "failed", "rows", "changes", "took")
_PART_HEADER = ("finished", "status", "runs", "failed", "rows", "changes", "took", "succeeded")


def _load_cells(load: dict[str, Any]) -> tuple[str, ...]:
    return (
        load["coordinator_run_id"],
        _moment(load["started"]),
        load["status"],
        f"{load['entities']:,}",
        _count(load["failed"]),
        f"{load['rows'] or 0:,}",
        _changes(load),
        seconds_text(load["duration"]),
    )


def _part_cells(part: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{part['flow']}.{part['entity']}" if "entity" in part else part["flow"],
        _moment(part["finished"]),
        part["status"],
        f"{part['runs']:,}",
        _count(part["failed"]),
        f"{part['rows'] or 0:,}",
        _changes(part),
        seconds_text(part["duration"]),
        _moment(part["succeeded_at"]) or "never",
    )


def _show_load(load_id: str, rows: pl.DataFrame, *, failed: bool, limit: int | None, json_: bool) -> None:
    """The entities of a load; of very many a page: how many there are, what failed first, what took longest."""
    wrong = rows.filter(pl.col("status") == "fail").sort("finish_time", nulls_last=True, maintain_order=True)
    if failed:
        rows = wrong
    shown = rows.slice(0, limit)
    if json_:
        echo_json(shown.to_dicts())
        return
    if limit is not None or not is_crowd(rows.height):
        _print_entities(shown)
        return
    if not failed:
        counts = ", ".join(f"{count:,} {status}" for status, count in _counts(rows))
        echo(f"{rows.height:,} entities: {counts}; {rows_text(int(rows['row_count'].sum()))}.\n")
        if not wrong.is_empty():
            echo("Failed first:")
            _print_entities(wrong.head(FIRST_SHOWN))
            echo("")
        echo("Took longest:")
        rows = rows.sort("duration", descending=True, nulls_last=True, maintain_order=True)
    _print_entities(rows.head(FIRST_SHOWN))
    if failed:
        echo(f"\n{rows.height:,} failed; `hygge runs {load_id} --failed --limit {rows.height}` shows all.")
    else:
        echo(f"\n`hygge runs {load_id} --failed` shows what failed, `--limit {rows.height}` all.")


def _counts(rows: pl.DataFrame) -> list[tuple[str, int]]:
    return [(status, count) for status in _COLOURS if (count := rows.filter(pl.col("status") == status).height)]


def _print_entities(rows: pl.DataFrame) -> None:
    found = rows.to_dicts()
    cells = [
        (
            ".".join(part for part in (row["flow"], row["entity"]) if part) or "the load",
            row["run_type"] or "",
            row["status"],
            f"{row['row_count'] or 0:,}",
            _changes(row),
            seconds_text(row["duration"]),
            row["watermark"] or "",
        )
        for row in found
    ]
    header = ("entity", "run type", "status", "rows", "changes", "took", "watermark")
    _print_table(header, cells, [row["message"] or "" for row in found], whole=True)


def _show_entity(project: Project, entity: str, rows: pl.DataFrame, *, failed: bool, limit: int, json_: bool) -> None:
    """The runs of an entity, newest first; of several, where flows have entities of the same name."""
    known = not rows.is_empty()
    if failed:
        rows = rows.filter(pl.col("status") == "fail")
    found = rows.sort("start_time", descending=True, nulls_last=True, maintain_order=True).head(limit).to_dicts()
    if json_:
        echo_json(found)
        return
    if not found:
        names = {other.name for other in project.entities} | {other.id for other in project.entities}
        hint = "" if entity in names else suggest(entity, names)
        echo(f"No run of {entity} {'has failed' if known else 'is in the journal'}. {hint}".rstrip())
        return
    cells = [
        (
            _moment(row["start_time"]),
            f"{row['flow']}.{row['entity']}",
            row["run_type"] or "",
            row["status"],
            f"{row['row_count'] or 0:,}",
            _changes(row),
            seconds_text(row["duration"]),
            row["watermark"] or "",
            row["coordinator_run_id"],
        )
        for row in found
    ]
    header = ("started", "entity", "run type", "status", "rows", "changes", "took", "watermark", "load")
    _print_table(header, cells, [row["message"] or "" for row in found])


def _print_table(
    header: tuple[str, ...], rows: Sequence[tuple[str, ...]], messages: Sequence[str], *, whole: bool = False
) -> None:
    """Rows in columns, each with its message below: in a column of their own, messages would leave room for nothing.

    On a terminal they are cut to one line, unless they are wanted ``whole``.
    """
    console = open_console()
    widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
    console.print(_line(header, header, widths, "bold"), soft_wrap=True)
    for row, message in zip(rows, messages, strict=True):
        console.print(_line(header, row, widths, ""), soft_wrap=True)
        if message and (whole or not console.is_terminal):
            console.print(Text(f"    {hanging(message)}", style="dim"), soft_wrap=True)
        elif message:
            first, _, _ = lines_of(message).partition("\n")
            console.print(Text(f"    {first}", style="dim"), no_wrap=True, overflow="ellipsis")


def _line(header: tuple[str, ...], row: tuple[str, ...], widths: list[int], style: str) -> Text:
    line = Text()
    for name, cell, width in zip(header, row, widths, strict=True):
        padded = cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
        line.append(padded + "  ", style=style or _COLOURS.get(cell, ""))
    line.rstrip()
    return line


def _count(number: int | None) -> str:
    """A number that is worth a look unless it is zero."""
    return f"{number:,}" if number else ""


def _changes(row: Mapping[str, Any]) -> str:
    """Rows inserted, updated, deleted and unchanged, those that are none or not known left out: ``+12 ~3 -1 =90``."""
    counts = zip(_SIGNS, (row[name] for name in COUNT_NAMES), strict=True)
    return " ".join(f"{sign}{number:,}" for sign, number in counts if number)


def _moment(text: Any) -> str:
    """An ISO 8601 time to the second."""
    return str(text or "")[:19].replace("T", " ")
