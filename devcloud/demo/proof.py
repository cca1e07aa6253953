"""Source against mirrored tables, as `hygge reconcile` compares them: every row, every value."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from devcloud.cloud import LaptopCloud
from hygge_engine.cli.reconcile import show
from hygge_engine.project import load_project
from hygge_engine.reconcile.compare import reconcile
from hygge_engine.reconcile.result import Unwatched

TABLES = ("flights", "weather", "planes", "airports", "airlines")

# A pass of the replicator applies all that has landed; a table that is behind after this many stays behind.
PASSES = 5


def prove(console: Console, cloud: LaptopCloud, directory: Path) -> bool:
    """Compare all tables, after as many passes of the replicator as they need; whether all are equal."""
    console.print("  hygge reconcile --all-rows")
    project = load_project(directory, cloud.settings())
    found = []
    for entity in project.entities:
        result = reconcile(project, entity, Unwatched(), all_rows=True)
        for _ in range(PASSES):
            if result.verdict != "behind":
                break
            cloud.replicator.tick()
            result = reconcile(project, entity, Unwatched(), all_rows=True)
        found.append(result)
    show(console, found)
    return all(result.verdict == "equal" for result in found)
