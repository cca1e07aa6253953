"""What an append to the journal costs while its history grows: python -m benchmarks.journal [--rows 1000 100000 ...]

Journals of several sizes are measured in turns in one run, so that the ratios hold whatever else the machine does.
Ends with 1 where an append to the longest history costs more than twice that to the shortest.
"""

from __future__ import annotations

import argparse
import io
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from hygge_engine.journal import SCHEMA, EntityRunRow, Journal
from hygge_engine.journal.rows import SCHEMA_VERSION
from hygge_engine.lake.local import LocalLake

ROOT = "item/Files/.hygge_journal"
HISTORY_SIZES = [1_000, 100_000, 1_000_000]
ENTITIES = 5
MEASURES = 7

# What the issue allows: an append to the longest history, against one to the shortest.
APPEND_RATIO_LIMIT = 2.0


@dataclass
class Subject:
    """A journal with a history in its canonical file, and what each action on it took, in seconds."""

    rows: int
    lake: LocalLake
    journal: Journal
    position: dict[str, object]
    loads: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, action: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        self.seconds.setdefault(action, []).append(time.perf_counter() - started)

    def next_load(self) -> tuple[str, list[EntityRunRow]]:
        self.loads += 1
        load = f"new-load-{self.loads}"
        now = datetime.now(UTC).isoformat()
        rows = [
            EntityRunRow(
                entity_run_id=f"{load}-{entity}",
                coordinator_run_id=load,
                flow_run_id=f"{load}-flow",
                coordinator="benchmark",
                flow="flights_to_fabric",
                entity=f"table_{entity}",
                start_time=now,
                finish_time=now,
                status="success",
                run_type="incremental",
            )
            for entity in range(ENTITIES)
        ]
        return load, rows

    def append(self) -> None:
        load, rows = self.next_load()
        self.journal.append(load, rows)

    def publish(self) -> None:
        self.position = self.journal.changes_since(self.position).position


def history(rows: int, entities: int = ENTITIES) -> bytes:
    """A canonical journal of a year's loads, with identifiers, times and messages of their usual length."""
    number = pl.int_range(rows)
    load, entity = number // entities, number % entities
    start = pl.lit(datetime(2026, 1, 1, tzinfo=UTC)) + load * timedelta(minutes=15)
    digest = number.hash(7).cast(pl.String).str.zfill(20)
    frame = pl.select(
        entity_run_id=pl.format("{}-{}", digest, number),
        coordinator_run_id=pl.format("load-{}-{}", load.hash(8), load),
        flow_run_id=pl.format("flow-{}", load.hash(9)),
        coordinator=pl.lit("benchmark"),
        flow=pl.lit("flights_to_fabric"),
        entity=pl.format("table_{}", entity),
        start_time=start.dt.to_string("iso:strict"),
        finish_time=(start + timedelta(minutes=1)).dt.to_string("iso:strict"),
        status=pl.when(number % 50 == 0).then(pl.lit("fail")).otherwise(pl.lit("success")),
        run_type=pl.lit("incremental"),
        row_count=number.hash(1) % 100_000,
        duration=(number.hash(2) % 60_000) / 1000,
        primary_key=pl.lit("id"),
        watermark_column=pl.lit("modified_at"),
        watermark_type=pl.lit("datetime"),
        watermark=start.dt.to_string("iso:strict"),
        message=pl.when(number % 50 == 0).then(pl.lit("The source dropped the connection; tried three times.")),
        schema_version=pl.lit(SCHEMA_VERSION),
        bytes=number.hash(3) % 10_000_000,
        files=pl.lit(1),
        error=pl.when(number % 50 == 0).then(pl.lit("home.unavailable")),
        attempts=pl.lit(1),
        requested_by=pl.lit("timer"),
        expectations=pl.lit(None, pl.String),
        principal=pl.lit(""),
    )
    sink = io.BytesIO()
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA)
    pq.write_table(table, sink, compression="zstd", row_group_size=65_536)
    return sink.getvalue()


def prepare(folder: Path, rows: int) -> Subject:
    """A journal of that size, published so far."""
    lake = LocalLake(folder / str(rows))
    lake.put(f"{ROOT}/journal.parquet", history(rows))
    journal = Journal(lake, ROOT)
    return Subject(rows, lake, journal, journal.changes_since(None).position)


def measure(subjects: list[Subject], appends: int) -> None:
    """Do to each journal what loads and their watchers do, in turns."""
    for _ in range(appends):
        for subject in subjects:
            subject.measure("append a load", subject.append)
            subject.measure("look for changes", subject.publish)
        for subject in subjects:
            if len(list(subject.lake.list(f"{ROOT}/runs"))) >= 64:
                subject.measure("fold 64 loads", subject.journal.fold)
    for _ in range(MEASURES):
        for subject in subjects:
            subject.append()
            subject.measure("read one load", lambda subject=subject: subject.journal.read("new-load-1"))  # type: ignore[misc]
            subject.measure("newest 20 loads", lambda subject=subject: subject.journal.summary(limit=20))  # type: ignore[misc]
            subject.measure("read everything", subject.journal.read)


def report(subjects: list[Subject]) -> float:
    """Print the medians, and return how much more an append to the longest history costs."""
    print(f"{'milliseconds (median)':24}" + "".join(f"{subject.rows:>14,}" for subject in subjects) + f"{'ratio':>10}")
    ratios = {}
    for action in subjects[0].seconds:
        medians = [statistics.median(subject.seconds[action]) * 1000 for subject in subjects]
        ratios[action] = medians[-1] / medians[0]
        print(f"{action:24}" + "".join(f"{median:14.2f}" for median in medians) + f"{ratios[action]:10.2f}")
    sizes = []
    for subject in subjects:
        info = subject.lake.info(f"{ROOT}/journal.parquet")
        sizes.append(0 if info is None else info.length)
    print(f"{'canonical file, MB':24}" + "".join(f"{size / 1e6:14.2f}" for size in sizes))
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
    return ratios["append a load"]


def main() -> int:
    """Measure, report and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=HISTORY_SIZES, help="sizes of the history")
    parser.add_argument("--appends", type=int, default=200, help="appends to each journal")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subjects = [prepare(Path(folder), rows) for rows in sorted(arguments.rows)]
        measure(subjects, arguments.appends)
        ratio = report(subjects)
    if ratio > APPEND_RATIO_LIMIT:
        print(f"An append to the longest history costs {ratio:.2f} times that to the shortest.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
