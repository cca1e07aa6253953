"""``hygge compact``: compact the journal and remove what is older than its retention, now; sweep leftovers of loads
that never ended."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from hygge_engine.cli.messages import EXIT_ENTITY_FAILED, EXIT_SETTLED
from hygge_engine.cli.output import echo, echo_json
from hygge_engine.cli.reachability import show_left_out, with_journals
from hygge_engine.errors import ConfigurationError
from hygge_engine.journal.journal import FULL, FULL_REMEDY
from hygge_engine.orchestration.places import JournalPlace, entities_at, places_of
from hygge_engine.orchestration.retention import sweep_progress
from hygge_engine.orchestration.settling import compact_journals, retention_of
from hygge_engine.plain_text import counted
from hygge_engine.project import Project, load_project
from hygge_engine.project.models.duration import parse_duration
from hygge_engine.project.models.project import MIN_RETENTION_SECONDS


def run(directory: Path, *, retention: str, dry_run: bool, overrides: list[str], json_: bool) -> int:
    """Compact all journals of a project that can be reached, and return the exit code.

    Raises ConfigurationError, JournalError, StoreError and the LakeError family.
    """
    project = load_project(directory, overrides=overrides)
    kept = _parse(retention) if retention else None
    entities, out_of_reach = with_journals(project, project.entities)
    show_left_out("not compacted", out_of_reach)
    ended = EXIT_ENTITY_FAILED if out_of_reach else EXIT_SETTLED
    if dry_run:
        for place in places_of(project, entities).values():
            _tell(place, {"would_retire": _expired(project, place, kept)}, json_=json_)
        return ended
    for place, done in compact_journals(project, entities, retention=kept):
        _tell(place, {"folded": done.folded, "retired": done.retired}, json_=json_)
        if done.full:
            echo(f"{place.address}: {FULL} {FULL_REMEDY}", err=True)
    sweep_progress(project, entities)
    return ended


def _parse(text: str) -> timedelta:
    seconds = _seconds(text)
    if seconds is None or seconds < MIN_RETENTION_SECONDS:
        raise ConfigurationError(
            f"--retention {text}: expected a duration of at least 7 days.", hint="Write 400d, for example."
        )
    return timedelta(seconds=seconds)


def _seconds(text: str) -> float | None:
    """The seconds of a duration such as ``400d``; None where it is none."""
    try:
        return float(str(parse_duration(text)))
    except ValueError:
        return None


def _expired(project: Project, place: JournalPlace, kept: timedelta | None) -> int:
    """How many loads have finished longer ago than they are kept."""
    kept = kept or retention_of([project.flows[entity.flow].journal for entity in entities_at(project, place)])
    if kept is None:
        return 0
    limit = (place.lake.now() - kept).isoformat()
    return place.journal.summary("load").filter(pl.col("finished") < limit).height


def _tell(place: JournalPlace, counts: dict[str, int], *, json_: bool) -> None:
    if json_:
        echo_json({"journal": place.address, **counts})
        return
    if "would_retire" in counts:
        echo(f"{place.address}: {counted(counts['would_retire'], 'load')} would be removed.")
    else:
        folded, retired = counted(counts["folded"], "file"), counted(counts["retired"], "row")
        echo(f"{place.address}: {folded} compacted, {retired} removed.")
