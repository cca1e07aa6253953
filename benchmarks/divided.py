"""How the load of one table divides among instances: python -m benchmarks.divided [--rows 1000000] [--instances 1 2 4]

The table comes from SQL Server's emulator and lands as a mirrored table on OneLake's, each in a process of its own; the
app runs in the laptop's Functions host, with a worker process for each instance. With ``--kill 3`` one of the instances
is killed every three seconds while they read. The processor seconds are the instances' own, their starts among them:
they say what the division itself costs, also where the cores have other work. Ends with 1 where rows are missing or
doubled, or an instance takes more memory than the project promises.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from benchmarks.main_job import PROJECT, WORKSPACE, lake
from benchmarks.million import DATABASE, fill, variables_of
from devcloud.functions import FunctionsHost
from devcloud.sqlserver.child import run_in_child

LIMIT_MB = 350.0

# So many ranges, whatever the number of instances.
RANGES = 16

# Places for ranges at the same time, on whatever instances there are.
CONCURRENCY = 8

HYGGE = """\
name: shop
connections:
  source:
    type: mssql
    server: "${{SERVER}}"
    database: {database}
    username: "${{LOGIN}}"
    password: "${{SECRET}}"
    encrypt: false
    pool_size: {concurrency}
options: {{ concurrency: {concurrency} }}
"""

FLOW = """\
home: {{ type: mssql, connection: source, table: "dbo.{{entity}}", range_rows: {range_rows}, readers: 1 }}
store:
  type: open_mirroring
  account_url: "${{URL}}"
  filesystem: "{workspace}"
  mirror_name: "{mirror}"
  credential: account_key
  account_name: "${{ACCOUNT}}"
  account_key: "${{ACCOUNT_KEY}}"
run_type: full_drop
entities: [million]
"""


@dataclass(frozen=True)
class Outcome:
    """What one load took: wall-clock seconds, processor seconds of all worker processes, the most that one of them has
    held, in MB, and the part of the ranges' time that was each instance's, in per cent."""

    seconds: float
    processor: float
    megabytes: float
    shares: list[int]
    message: str
    wrong: str


def main() -> int:
    """Measure, print one line for each number of instances, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kill", type=float, default=0.0, metavar="SECONDS")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        run_in_child(databases=[DATABASE]) as server,
        lake(Path(folder) / "lake") as facts,
    ):
        fill(server, arguments.rows)
        variables = variables_of(server, facts)
        print(f"{arguments.rows:,} rows, {os.cpu_count()} cores that server, lake and instances share")
        for instances in arguments.instances:
            directory = Path(folder) / f"with-{instances}"
            mirror = _write_project(directory / "project", arguments.rows)
            outcome = _load(directory, variables, instances, kill_every=arguments.kill)
            there = _check(Path(folder) / "lake" / WORKSPACE / mirror, arguments.rows)
            outcomes.append(Outcome(**{**vars(outcome), "wrong": outcome.wrong or there}))
            first = outcomes[0].seconds
            print(
                f"{instances:3} instances{outcome.seconds:8.1f} s{arguments.rows / outcome.seconds:12,.0f} rows/s"
                f"{first / outcome.seconds:7.2f} times{outcome.processor:8.1f} processor s"
                f"{outcome.megabytes:8.0f} MB at most in one;"
                f" {'+'.join(map(str, outcome.shares))} % of the reading; {outcomes[-1].wrong or outcome.message}",
                flush=True,
            )
    return int(any(outcome.wrong or outcome.megabytes > LIMIT_MB for outcome in outcomes))


def _write_project(project: Path, rows: int) -> str:
    mirror = str(uuid.uuid4())
    (project / "flows/million").mkdir(parents=True)
    (project / "hygge.yml").write_text(HYGGE.format(database=DATABASE, concurrency=CONCURRENCY))
    flow = FLOW.format(workspace=WORKSPACE, mirror=mirror, range_rows=max(1, rows // RANGES))
    (project / "flows/million/flow.yml").write_text(flow)
    return mirror


def _load(directory: Path, variables: dict[str, str], instances: int, *, kill_every: float) -> Outcome:
    settings = {
        **os.environ,
        **variables,
        "HYGGE_PROJECT": str(directory / "project"),
        "HYGGE_SCHEDULE": "0 0 0 1 1 *",
        "AzureFunctionsJobHost__logging__logLevel__default": "None",
        "PYTHONWARNINGS": "ignore",
    }
    used_before = _processor_seconds_of_ended_children()
    with (
        FunctionsHost(
            PROJECT, directory / "functions", settings=settings, instances=instances, worker="process"
        ) as host,
        httpx.Client(base_url=host.url, headers={"x-functions-key": host.function_key}, timeout=60) as client,
    ):
        began = time.perf_counter()
        load = f"/api/loads/{_json(client.post('/api/loads', json={}))['load_id']}"
        reading: Counter[str] = Counter()
        peaks: dict[str, float] = {}
        status: dict[str, Any] = {}
        killed = 0
        while status.get("state") != "settled":
            time.sleep(0.2)
            for each in host.instances:
                peaks[each["id"]] = max(peaks.get(each["id"], 0.0), (each["peak_memory_bytes"] or 0) / 1e6)
                reading[each["id"]] += sum(work["name"] == "run_flow" for work in each["in_hand"])
            status = _json(client.get(load))
            if kill_every and time.perf_counter() - began > (killed + 1) * kill_every:
                host.kill_worker(sorted(peaks)[killed % len(peaks)])
                killed += 1
        seconds = time.perf_counter() - began
    entity = status["entities"][0] if status.get("entities") else {}
    message = f"{entity.get('message', '')}" + (f", {killed} workers killed" if kill_every else "")
    wrong = "" if status["status"] == "success" else str(entity.get("message") or status)
    shares = [round(100 * seen / max(1, reading.total())) for seen in reading.values()]
    processor = _processor_seconds_of_ended_children() - used_before
    return Outcome(seconds, processor, max(peaks.values()), shares, message, wrong)


def _processor_seconds_of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _json(response: httpx.Response) -> dict[str, Any]:
    response.raise_for_status()
    found: dict[str, Any] = response.json()
    return found


def _check(item: Path, rows: int) -> str:
    """What is wrong with the rows that have landed; empty where each is there once."""
    files = [path for path in item.glob("Files/LandingZone/**/*.parquet") if path.stem.isdigit()]
    ids: Sequence[int] = sorted(id_ for path in files for id_ in pq.read_table(path, columns=["id"])["id"].to_pylist())
    return (
        ""
        if list(ids) == list(range(1, rows + 1))
        else f"{len(ids):,} rows have landed, {len(set(ids)):,} of them once"
    )


if __name__ == "__main__":
    sys.exit(main())
