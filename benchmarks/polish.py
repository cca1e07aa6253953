"""What polish and expectations cost for each row: ``python -m benchmarks.polish``.

Processor time of one process over batches of five columns, without reading or writing anything. Texts have 16 to 21
characters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from hygge_engine.expectations.checks import ExpectationMonitor
from hygge_engine.expectations.rules import rules_of
from hygge_engine.homes.base import Column, SourceSchema
from hygge_engine.polish.plan import polish_of
from hygge_engine.polish.polish import LoadStamp
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.stores.landing.state import ExpectationResult

BATCH_ROWS = 50_000
BATCHES = 20

Work = Callable[[pa.RecordBatch], object]


def make_batch(number: int) -> pa.RecordBatch:
    """Rows that go on where those of the batch before end."""
    ids = range(number * BATCH_ROWS, (number + 1) * BATCH_ROWS)
    return pa.record_batch(
        {
            "id": pa.array(ids, pa.int64()),
            "email": pa.array([f"jane{id_}@example.com" for id_ in ids]),
            "status": pa.array(["new", "paid"] * (BATCH_ROWS // 2)),
            "amount": pa.array(ids, pa.int64()).cast(pa.decimal128(21, 2)),
            "seen": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * BATCH_ROWS, pa.timestamp("us", tz="UTC")),
        }
    )


def measure(name: str, work: Work, batches: list[pa.RecordBatch]) -> None:
    """Print microseconds of processor time for each row."""
    started = time.process_time()
    for batch in batches:
        work(batch)
    seconds = time.process_time() - started
    print(f"{name:28} {seconds / len(batches) / BATCH_ROWS * 1e6:8.3f} µs")


def main() -> None:
    batches = [make_batch(number) for number in range(BATCHES)]
    schema = batches[0].schema
    table = SourceSchema("t", tuple(Column(field.name, field.type, str(field.type)) for field in schema), key=("id",))
    stamp = LoadStamp("load", datetime.now(UTC))

    def polish(**keys: Any) -> Work:
        settings = PolishSettings.model_validate({"hash_salt": "a grain of salt"} | keys) if keys else None
        planned = polish_of(table, settings)
        return lambda batch: planned.apply(batch, stamp)

    def expect(in_order: bool = True, **keys: Any) -> Work:
        rules = rules_of(ExpectationsSettings.model_validate(keys), polish_of(table, None), ("id",))
        assert rules is not None
        return ExpectationMonitor(rules, ExpectationResult(), in_order=in_order).add

    for name, work in {
        "no polish": polish(),
        "drop, rename, case": polish(drop=["status"], case="pascal"),
        "columns of the load": polish(load_columns={"a": "load_id", "b": "loaded_at"}),
        "trim two texts": polish(trim=True),
        "mask: email": polish(mask={"email": "email"}),
        "mask: last_4": polish(mask={"email": "last_4"}),
        "mask: hash": polish(mask={"email": "hash"}),
        "hash_ids of two columns": polish(hash_ids={"sk": ["id", "email"]}),
        "not_null of two columns": expect(not_null={"columns": ["id", "email"]}),
        "accepted_values": expect(accepted_values={"columns": {"status": ["new", "paid"]}}),
        "range": expect(range={"columns": {"amount": {"min": 0}}}),
        "matches": expect(matches={"columns": {"email": "[^@]+@[^@]+"}}),
        "unique, in order": expect(unique={}),
        "unique, remembered": expect(in_order=False, unique={}),
        "row_count, freshness": expect(row_count={"min": 1}, freshness={"column": "seen", "max_age": "1d"}),
    }.items():
        measure(name, work, batches)


if __name__ == "__main__":
    main()
