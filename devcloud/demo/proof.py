"""Source against mirrored tables: row counts and a checksum over every value, read by ways the engine has no part
in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from devcloud.cloud import LaptopCloud

TABLES = ("flights", "weather", "planes", "airports", "airlines")
FETCH_ROWS = 50_000

# The replicator looks every second here; a table that differs for longer than this really differs.
CATCH_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Comparison:
    """One table on both sides. Checksums are DuckDB's row hashes, added up, so that order does not matter."""

    table: str
    source_rows: int
    mirrored_rows: int
    source_checksum: str
    mirrored_checksum: str

    @property
    def agrees(self) -> bool:
        """Whether both sides hold the same rows."""
        return (self.source_rows, self.source_checksum) == (self.mirrored_rows, self.mirrored_checksum)


def compare(cloud: LaptopCloud) -> list[Comparison]:
    """Compare all tables, once the replicator has caught up with the landing zone."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    found = []
    for table in TABLES:
        source = _read_source(cloud, table)
        comparison = _compare(table, source, _read_mirror(cloud, table))
        while not comparison.agrees and time.monotonic() < deadline:
            time.sleep(0.5)
            comparison = _compare(table, source, _read_mirror(cloud, table))
        found.append(comparison)
    return found


def _read_source(cloud: LaptopCloud, table: str) -> pa.Table:
    connection = cloud.connect()
    try:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM dbo.{table}")
        reader = cursor.arrow_reader(batch_size=FETCH_ROWS)
        return pa.Table.from_batches(list(reader), reader.schema)
    finally:
        connection.close()


def _read_mirror(cloud: LaptopCloud, table: str) -> pa.Table | None:
    try:
        return cloud.replicator.table("dbo", table)
    except KeyError:
        return None


def _compare(table: str, source: pa.Table, mirrored: pa.Table | None) -> Comparison:
    if mirrored is None:
        return Comparison(table, source.num_rows, 0, "", "not there")
    source = source.select(mirrored.column_names)
    as_mirrored = pa.Table.from_arrays(
        [_cast(source[field.name], field.type) for field in mirrored.schema], schema=mirrored.schema
    )
    return Comparison(table, source.num_rows, mirrored.num_rows, _checksum(as_mirrored), _checksum(mirrored))


def _cast(column: pa.ChunkedArray[Any], type_: pa.DataType) -> pa.ChunkedArray[Any]:
    if pa.types.is_timestamp(type_) and pa.types.is_timestamp(column.type) and column.type.tz is None:
        # The mirror keeps the wall clock of a datetime2 as UTC; digits below the microsecond are cut.
        return column.cast(pa.timestamp("us"), safe=False).cast(type_)
    return column.cast(type_)


def _checksum(rows: pa.Table) -> str:
    names = ", ".join(f'"{name}"' for name in rows.column_names)
    with duckdb.connect() as connection:
        connection.register("rows_", rows)
        total = connection.execute(f"SELECT sum(hash({names})::HUGEINT) FROM rows_").fetchone()
    value = int(total[0]) if total and total[0] is not None else 0
    return f"{value % 2**64:016x}"
