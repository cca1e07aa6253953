"""What a reload takes that lands what differs, beside one that drops.

python -m benchmarks.reload [--rows 200000 1000000]

A table of 12 columns whose source is in memory, so that what is measured is the engine, into a mirrored database on the
local disk; each load is a process of its own, whose peak memory and processor seconds count. `landed` is what Fabric
gets. Ends with 1 where a difference lands other rows than those that have changed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import polars as pl
import pyarrow as pa

from benchmarks import memory
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

# What is loaded, in this order: its name, the share of rows that differ from the load before, and how it is reloaded.
LOADS = (
    ("first load", 1.0, "difference"),
    ("difference, nothing changed", 0.0, "difference"),
    ("drop, nothing changed", 0.0, "drop"),
    ("difference, 1 % changed", 0.01, "difference"),
    ("difference, all changed", 1.0, "difference"),
    ("drop, all changed", 1.0, "drop"),
)


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
        "status": f"{result.status} {result.error} {result.message}",
        "seconds": time.monotonic() - began,
        "processor": used.ru_utime + used.ru_stime,
        "rows": result.rows,
        "bytes": result.bytes,
        "peak": int(memory.peak_megabytes() * 1024 * 1024),
        "snapshot": sum(file.length for file in snapshot.files) if snapshot is not None else 0,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        given = json.loads(arguments.child)
        print(json.dumps(load(Path(given.pop("directory")), **given)))
        return 0
    is_good = True
    print(f"{'load':<28} {'rows':>10} {'seconds':>8} {'processor':>9} {'landed':>10} {'MB':>6} {'peak MiB':>8}  a row")
    for rows in sorted(arguments.rows):
        with tempfile.TemporaryDirectory(prefix="hygge-bench-") as name:
            directory = Path(name)
            (directory / "flows/bench").mkdir(parents=True)
            (directory / "lake").mkdir()
            (directory / "hygge.yml").write_text(HYGGE)
            (directory / "flows/bench/flow.yml").write_text(FLOW)
            version = 1
            for title, share, reload in LOADS:
                changed = int(rows * share)
                version += bool(changed)
                # What has not changed since is of the version before, for all rows alike once all have changed.
                given = {"directory": name, "load_id": title, "rows": rows, "version": version}
                given |= {"changed": changed or rows}
                command = [sys.executable, "-m", "benchmarks.reload", "--child", json.dumps(given | {"reload": reload})]
                answer = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(answer.stdout)
                expected = rows if reload == "drop" or title == "first load" else changed
                is_good &= found["status"].startswith("done") and found["rows"] == expected
                print(
                    f"{title:<28} {rows:>10,} {found['seconds']:>8.1f} {found['processor']:>9.1f} {found['rows']:>10,} "
                    f"{found['bytes'] / 1e6:>6.1f} {found['peak'] / _MIB:>8,.0f}  {found['snapshot'] / rows:.1f} bytes"
                    + ("" if found["status"].startswith("done") else f" {found['status']}"),
                    flush=True,
                )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
