"""What a comparison takes: python -m benchmarks.reconcile [--rows 1000000 4000000] [--stores local-parquet sqlite ...]

Loads a Parquet file of 12 columns into each store, then compares both sides in a process of its own, whose peak memory
and processor seconds count. Ends with 1 where anything is not equal, or the largest table takes 1.5 times the memory of
the smallest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

STORES = {
    "local-parquet": "{ type: local, path: out, format: parquet }",
    "local-delta": "{ type: local, path: out, format: delta }",
    "local-csv": "{ type: local, path: out, format: csv }",
    "local-ndjson": "{ type: local, path: out, format: ndjson }",
    "sqlite": "{ type: sqlite, path: out/warehouse.db }",
}
MEMORY_RATIO_LIMIT = 1.5
ROW_GROUP = 100_000

_MIB = 1 << 20

# Reads the project of its directory; the peak is of the whole process, interpreter and libraries included. Not by
# getrusage: a process inherits the peak of the one that has started it, which has made the rows.
_COMPARE = """\
import json, pathlib, re, resource
from hygge_engine.project import load_project
from hygge_engine.reconcile.compare import reconcile
from hygge_engine.reconcile.result import Unwatched
project = load_project(pathlib.Path())
found = reconcile(project, project.entities[0], Unwatched())
used = resource.getrusage(resource.RUSAGE_SELF)
(peak,) = re.findall(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
figures = {"peak": int(peak) * 1024, "processor": used.ru_utime + used.ru_stime}
print(json.dumps(found.to_json() | figures))
"""


def orders(number: pl.Expr, seed: pl.Expr) -> pl.DataFrame:
    """Rows of an invented table of orders, by their numbers; ``seed`` decides what they hold."""
    return pl.select(
        id=number,
        customer=seed.hash(1) % 100_000,
        quantity=(seed.hash(2) % 50).cast(pl.Int32),
        price=(seed.hash(3) % 10_000_000).cast(pl.Decimal(19, 4)) / 100,
        discount=(seed.hash(4) % 100).cast(pl.Float64) / 100,
        flag=number % 3 == 0,
        ordered=(pl.lit(datetime(2020, 1, 1)).dt.date() + (number % 2000) * timedelta(days=1)),
        modified=pl.lit(datetime(2020, 1, 1, tzinfo=UTC)) + number * timedelta(seconds=1),
        status=pl.format("status {}", number % 7),
        comment=pl.format("comment {} of order {}", seed.hash(5), number),
        place=pl.format("place {}", seed.hash(6) % 1000),
        code=seed.hash(7).cast(pl.String),
    )


def write_project(directory: Path, rows: int, store: str) -> None:
    (directory / "hygge.yml").write_text("name: bench\n")
    flow = directory / "flows/bench"
    flow.mkdir(parents=True)
    (flow / "flow.yml").write_text(
        "name: bench\nrun_type: full_drop\n"
        "home: { type: local, format: parquet, path: source/*.parquet, key: [id] }\n"
        f"store: {STORES[store]}\nentities: [orders]\n"
    )
    (directory / "source").mkdir()
    number = pl.int_range(rows, dtype=pl.Int64)
    orders(number, number).write_parquet(directory / "source/orders.parquet", row_group_size=ROW_GROUP)


def measure(rows: int, store: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hygge-bench-") as name:
        directory = Path(name)
        write_project(directory, rows, store)
        go = [str(Path(sys.executable).with_name("hygge")), "go", "--json"]
        subprocess.run(go, cwd=directory, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "-c", _COMPARE]
        answer = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(answer.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    arguments = parser.parse_args()
    is_good = True
    print(f"{'store':<16} {'rows':>10} {'seconds':>8} {'processor':>9} {'peak MiB':>9}  verdict")
    for store in arguments.stores:
        peaks = []
        for rows in sorted(arguments.rows):
            found = measure(rows, store)
            peak = found["peak"] / _MIB
            peaks.append(peak)
            is_good &= found["verdict"] == "equal"
            figures = f"{found['seconds']:>8.1f} {found['processor']:>9.1f} {peak:>9,.0f}"
            print(f"{store:<16} {rows:>10,} {figures}  {found['verdict']}", flush=True)
        is_good &= peaks[-1] <= MEMORY_RATIO_LIMIT * peaks[0]
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
