"""What a reload takes that lands what differs, beside one that drops.

python -m benchmarks.reload [--rows 1000000 10000000] [--runs 3] [--document docs/performance.md]

A table of 12 columns whose source is in memory, so that what is measured is the engine, into a mirrored database on the
local disk; each load is a process of its own, whose peak memory and processor seconds count. `landed` is what Fabric
gets. Ends with 1 where a difference lands other rows than those that have changed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import polars as pl
import pyarrow as pa

from benchmarks import memory
from benchmarks.document import PERFORMANCE, measured_by, replace_part
from benchmarks.reconcile import orders
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceTask
from hygge_engine.homes.base import Batch, Column, HighWater, Position, ReadWindow, SourceSchema
from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.project import load_project
from hygge_engine.stores.landing.state import LandingState

BATCH_ROWS = 20_000

_MIB = 1 << 20

DIFFERENCE, DROP = "difference", "drop"

FLOW = """\
name: bench
run_type: full_drop
reload: difference
home: { type: mssql, connection: nowhere, table: "dbo.{entity}" }
store:
  type: open_mirroring
  account_url: https://onelake.dfs.fabric.microsoft.com
  filesystem: workspace
  mirror_name: mirror
  folder_deletion_wait_seconds: 0
entities: [orders]
"""
HYGGE = "name: bench\nconnections: { nowhere: { type: mssql, server: nowhere, database: bench, auth: default } }\n"

# What is loaded, in this order: how many of a hundred rows have changed, and how it is reloaded. Fewer than all
# differ only after a load that has left all rows of one version.
LOADS = ((100, ""), (0, DIFFERENCE), (0, DROP), (1, DIFFERENCE), (1, DROP), (100, DIFFERENCE), (100, DROP))

# Where the figures are an average of several runs: beyond, one is enough, and takes minutes.
MOST_ROWS_OFTEN = 2_000_000


@dataclass(frozen=True)
class Measured:
    """What one kind of load took, in each run: ``percent`` of ``rows`` had changed."""

    rows: int
    percent: int
    reload: str
    runs: Sequence[dict[str, Any]]

    def median(self, figure: str) -> float:
        return statistics.median(run[figure] for run in self.runs)

    @property
    def changed(self) -> int:
        """How many rows had changed."""
        return self.rows * self.percent // 100

    @property
    def dropped(self) -> str:
        """Why a reload by difference has dropped the table; empty where it has not."""
        _, found, why = str(self.runs[0]["message"]).partition("not by difference: ")
        return why if found else ""

    @property
    def is_good(self) -> bool:
        """Whether each run has landed the rows that it had to, and no others."""
        compares = self.reload == DIFFERENCE and not self.dropped
        expected = (self.changed, self.rows - self.changed) if compares else (self.rows, None)
        return all(run["status"] == "done" and (run["rows"], run["unchanged"]) == expected for run in self.runs)


def frame(first: int, rows: int, *, changed: int, version: int) -> pl.DataFrame:
    """Rows from a number on; those below ``changed`` are of this version, the others of the one before."""
    number = pl.int_range(first, first + rows, dtype=pl.Int64)
    seed = number * 1_000 + pl.when(number < changed).then(version).otherwise(version - 1)
    return orders(number, seed).with_columns(pl.col("customer").cast(pl.Int64))


class MadeUpHome:
    """A table that is made while it is read."""

    def __init__(self, rows: int, changed: int, version: int) -> None:
        self._rows, self._changed, self._version = rows, changed, version

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def _batch(self, first: int, rows: int) -> pa.RecordBatch:
        made = frame(first, rows, changed=self._changed, version=self._version).to_arrow()
        texts = [pa.field(each.name, _plain(each.type)) for each in made.schema]
        return made.cast(pa.schema(texts)).combine_chunks().to_batches()[0]

    def describe(self) -> SourceSchema:
        columns = tuple(Column(each.name, each.type, "made up") for each in self._batch(0, 1).schema)
        return SourceSchema("dbo.orders", columns, key=("id",))

    def high_water(self, cursor: str) -> HighWater:
        raise NotImplementedError

    def count(self, window: ReadWindow) -> int:
        return self._rows

    def count_at(self, cursor: str, value: str) -> int:
        raise NotImplementedError

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        for first in range(int(after[0]) if after else 0, self._rows, BATCH_ROWS):
            rows = min(BATCH_ROWS, self._rows - first)
            yield Batch(self._batch(first, rows), [str(first + rows)])


def _plain(type_: pa.DataType) -> pa.DataType:
    """The type that a home gives its texts."""
    return pa.string() if pa.types.is_large_string(type_) or type_ == pa.string_view() else type_


class Nobody:
    """A watch that does not look."""

    def progress(self, rows: int, bytes_: int) -> None:
        return

    def cancelled(self) -> bool:
        return False


def load(directory: Path, load_id: str, rows: int, changed: int, version: int, reload: str) -> dict[str, Any]:
    """One load in this process, and what it took."""
    project = load_project(directory)
    home = MadeUpHome(rows, changed, version)
    lake = LocalLake(directory / "lake")
    began, status, attempt = time.monotonic(), "continue", 0
    with patch.object(flow_run, "open_home", lambda *_: home), patch.object(opening, "open_lake", lambda _: lake):
        while status == "continue":
            attempt += 1
            names = {"load_id": load_id, "entity_run_id": "run", "flow": "bench"}
            more = {"run_type": "full_drop", "settings_hash": "", "attempt": attempt, "reload": reload}
            task = SliceTask.from_json({**names, "entity": "orders", **more})
            result = flow_run.run_slice(project, project.entities[0], task, Nobody())
            status = result.status
    (path,) = (directory / "lake").rglob("landing/*/orders.json")
    snapshot = LandingState.from_json(path.read_bytes(), "")[0].true_snapshot
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "status": result.status,
        "message": f"{result.error} {result.message}",
        "seconds": time.monotonic() - began,
        "processor": used.ru_utime + used.ru_stime,
        "rows": result.rows,
        "unchanged": result.rows_unchanged,
        "bytes": result.bytes,
        "peak": int(memory.peak_megabytes() * 1024 * 1024),
        "snapshot": sum(file.length for file in snapshot.files) if snapshot is not None else 0,
    }


def measure(sizes: Sequence[int], runs: int, document: Path, command: str) -> bool:
    """Measure tables of so many rows, and write what was measured into the document. Whether all landed what they had
    to."""
    measured: list[Measured] = []
    for rows in sizes:
        often = [_loads(rows) for _ in range(runs if rows <= MOST_ROWS_OFTEN else 1)]
        for number, (percent, reload) in enumerate(LOADS):
            if reload:
                measured.append(Measured(rows, percent, reload, [loads[number] for loads in often]))
        replace_part(document, "make bench, reload", f"{measured_by(command)}\n\n{tables(measured)}")
    print(tables(measured))
    return all(each.is_good for each in measured)


def _loads(rows: int) -> list[dict[str, Any]]:
    """What each of the loads took, one after another in one lake."""
    found = []
    with tempfile.TemporaryDirectory(prefix="hygge-bench-") as name:
        directory = Path(name)
        (directory / "flows/bench").mkdir(parents=True)
        (directory / "lake").mkdir()
        (directory / "hygge.yml").write_text(HYGGE)
        (directory / "flows/bench/flow.yml").write_text(FLOW)
        version = 1
        for number, (percent, reload) in enumerate(LOADS):
            version += bool(percent)
            # Where nothing has changed, all rows are of the version before.
            changed = rows * percent // 100 if percent else rows
            given = {"directory": name, "load_id": f"load-{number}", "rows": rows, "version": version}
            given |= {"changed": changed, "reload": reload}
            command = [sys.executable, "-m", "benchmarks.reload", "--child", json.dumps(given)]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(answer.stdout))
            print(f"{rows:,} rows, {percent} % changed, {reload or 'first load'}: {found[-1]}", file=sys.stderr)
    return found


def tables(measured: Sequence[Measured]) -> str:
    """One Markdown table for each number of rows."""
    parts = []
    for rows, group in groupby(measured, key=lambda each: each.rows):
        members = list(group)
        runs = len(members[0].runs)
        drops = {each.percent: each.median("seconds") for each in members if each.reload == DROP}
        lines = [
            f"{rows:,} rows, {'one run each' if runs == 1 else f'medians of {runs} runs'}:",
            "",
            "| changed | reload | seconds | of drop | processor, s | rows landed | MB landed | peak MiB | digests |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for each in members:
            seconds = each.median("seconds")
            lines.append(
                f"| {each.percent} % | {each.reload}{' ¹' if each.dropped else ''} | {seconds:.2f} | "
                f"{seconds / drops[each.percent]:.2f} | {each.median('processor'):.2f} | {each.median('rows'):,.0f} | "
                f"{each.median('bytes') / 1e6:,.1f} | {each.median('peak') / _MIB:,.0f} | "
                f"{each.median('snapshot') / 1e6:,.1f} |"
            )
        if why := next((each.dropped for each in members if each.dropped), ""):
            lines += ["", f"¹ Dropped: {why}."]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=3, help="figures are their medians; one of large tables (3)")
    parser.add_argument("--document", type=Path, default=PERFORMANCE, help="what is written")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        given = json.loads(arguments.child)
        print(json.dumps(load(Path(given.pop("directory")), **given)))
        return 0
    command = " ".join(["python -m benchmarks.reload", *sys.argv[1:]])
    return 0 if measure(sorted(arguments.rows), arguments.runs, arguments.document, command) else 1


if __name__ == "__main__":
    sys.exit(main())
