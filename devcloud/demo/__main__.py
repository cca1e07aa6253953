"""`make demo`: the main job from end to end on this machine. Ends with 0, or 1 where anything disagrees."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from devcloud.cloud import LaptopCloud
from devcloud.demo.client import Client
from devcloud.demo.progress import follow
from devcloud.demo.proof import TABLES, prove
from devcloud.sqlserver.nycflights import change_flights
from hygge_engine.orchestration.schedule import ID_PREFIX

PROJECT = Path(__file__).parent.parent.parent

NEXT = """[bold]What to try next[/]
  .venv/bin/hygge dev     the same cloud, left running; it prints every URL
  .venv/bin/hygge go      beside it: a load in process, without a Functions host
  .venv/bin/hygge runs    what the journal has recorded
  README.md               your own tables, your own Fabric workspace"""


def main() -> int:
    """Run the demonstration."""
    console = Console(highlight=False)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hygge-demo-") as directory:
        console.print("[bold]1  A cloud on this machine[/]")
        with LaptopCloud(Path(directory), PROJECT, say=lambda *part: _say_started(console, *part)) as cloud:
            agreed = _demonstrate(console, cloud)
    console.print()
    console.print(NEXT)
    verdict = "[green]Every table agrees with its source[/]" if agreed else "[red]Something disagrees[/]"
    console.print(f"\n{verdict}, after {time.monotonic() - began:.0f} s. Nothing is left running.")
    return 0 if agreed else 1


def _demonstrate(console: Console, cloud: LaptopCloud) -> bool:
    client = Client(cloud.host.url, cloud.host.function_key)
    expected = _count_source(cloud)

    console.print("\n[bold]2  The first load[/]: everything there is")
    first = _load(console, client, expected)
    agreed = prove(console, cloud, PROJECT) and first["status"] == "success"

    console.print("\n[bold]3  The source changes[/]")
    connection = cloud.connect()
    try:
        updated, inserted = change_flights(connection)
    finally:
        connection.close()
    console.print(f"  {updated:,} flights updated, {inserted:,} flights added")

    console.print("\n[bold]4  The next load[/]: only what changed")
    second = _load(console, client, None)
    agreed = prove(console, cloud, PROJECT) and agreed and second["status"] == "success"

    console.print("\n[bold]5  What the journal has recorded[/]")
    _print_runs(console, client.get("/api/runs")["runs"])
    return agreed


def _count_source(cloud: LaptopCloud) -> dict[str, int]:
    connection = cloud.connect()
    try:
        cursor = connection.cursor()
        return {table: int(cursor.execute(f"SELECT COUNT_BIG(*) FROM dbo.{table}").fetchone()[0]) for table in TABLES}
    finally:
        connection.close()


def _load(console: Console, client: Client, expected: dict[str, int] | None) -> dict[str, Any]:
    accepted = client.post("/api/loads", {})
    console.print(f"  POST /api/loads → {accepted['load_id']}")
    status = follow(console, client, accepted["load_id"], expected)
    summary = status.get("summary", {})
    seconds = summary.get("duration", 0.0)
    rows = summary.get("rows", 0)
    console.print(f"  {rows:,} rows landed in {seconds:.1f} s ({rows / seconds if seconds else 0:,.0f} rows/s)")
    return status


def _print_runs(console: Console, runs: Sequence[dict[str, Any]]) -> None:
    table = Table("load", "status", "started", box=None, pad_edge=False)
    for heading in ("entities", "succeeded", "failed", "rows"):
        table.add_column(heading, justify="right")
    for run in runs:
        numbers = (f"{run[heading]:,}" for heading in ("entities", "succeeded", "failed", "rows"))
        table.add_row(_short(str(run["coordinator_run_id"])), run["status"], str(run["started"])[:19], *numbers)
    console.print(table)


def _short(load_id: str) -> str:
    """What tells a load from the others: the beginning of its id, and of a scheduled one's all, which is its time."""
    return load_id if load_id.startswith(ID_PREFIX) else load_id[:8]


def _say_started(console: Console, part: str, where: str, seconds: float) -> None:
    console.print(f"  {part:<20} {where:<24} [dim]{seconds:.1f} s[/]")


if __name__ == "__main__":
    sys.exit(main())
