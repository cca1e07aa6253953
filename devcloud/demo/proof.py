"""Source against mirrored tables, as `hygge reconcile` compares them: every row, every value."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from devcloud.cloud import LaptopCloud
from hygge_engine.cli.reconcile import show
from hygge_engine.project import load_project
from hygge_engine.reconcile.compare import reconcile
from hygge_engine.reconcile.result import Unwatched

TABLES = ("flights", "weather", "planes", "airports", "airlines")

# The replicator looks every second here; a table that is behind for longer than this stays behind.
CATCH_UP_SECONDS = 60.0
POLL_SECONDS = 0.5


def prove(console: Console, cloud: LaptopCloud, directory: Path) -> bool:
    """Compare all tables, once the replicator has caught up with the landing zone; whether all are equal."""
    console.print("  hygge reconcile --all-rows")
    project = load_project(directory, cloud.settings())
    deadline = time.monotonic() + CATCH_UP_SECONDS
    found = []
    for entity in project.entities:
        result = reconcile(project, entity, Unwatched(), all_rows=True)
        while result.verdict == "behind" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            result = reconcile(project, entity, Unwatched(), all_rows=True)
        found.append(result)
    show(console, found)
    return all(result.verdict == "equal" for result in found)
