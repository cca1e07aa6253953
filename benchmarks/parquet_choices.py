"""What Parquet's settings cost and save for TPC-H's lineitem: why `hygge_engine/stores/parquet.py` is as it is.

python -m benchmarks.parquet_choices [--rows 500000] [--runs 3]

Each line changes one setting of those that ship. The seconds are those of encoding alone, into a sink that throws the
bytes away.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mssql_python
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.sql_server.tables import DATABASE, LINEITEM, Server, filled
from devcloud.sqlserver.child import run_in_child
from devcloud.sqlserver.server import DEFAULT_LOGINS
from hygge_engine.stores.parquet import COMPRESSION, COMPRESSION_LEVEL, DICTIONARY_BYTES
from hygge_engine.stores.staged_writer import GATHERED_BYTES

_MIB = 1024 * 1024

SHIPPED: dict[str, Any] = {
    "row_group_bytes": GATHERED_BYTES,
    "compression": COMPRESSION,
    "compression_level": COMPRESSION_LEVEL,
    "dictionary_pagesize_limit": DICTIONARY_BYTES,
    "use_dictionary": True,
    "store_decimal_as_integer": True,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "as it ships": {},
    "zstd, level 3": {"compression_level": 3},
    "snappy": {"compression": "snappy", "compression_level": None},
    "lz4": {"compression": "lz4", "compression_level": None},
    "no compression": {"compression": "none", "compression_level": None},
    "dictionaries of up to 1 MiB": {"dictionary_pagesize_limit": _MIB},
    "no dictionaries": {"use_dictionary": False},
    "decimals as 16 bytes": {"store_decimal_as_integer": False},
    "row groups of 8 MiB": {"row_group_bytes": 8 * _MIB},
    "row groups of 16 MiB": {"row_group_bytes": 16 * _MIB},
    "row groups of 64 MiB": {"row_group_bytes": 64 * _MIB},
    "row groups of 128 MiB": {"row_group_bytes": 128 * _MIB},
}


class _Nowhere:
    """A sink that counts."""

    closed = False

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None: ...
    def close(self) -> None: ...


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = _read(options.rows)
    measured: dict[str, list[tuple[float, int]]] = {name: [] for name in VARIANTS}
    for _ in range(options.runs):
        for name, changes in VARIANTS.items():
            measured[name].append(_encode(rows, SHIPPED | changes))
    print("| | processor, s | MB |\n|---|--:|--:|")
    for name, runs in measured.items():
        seconds, size = (statistics.median(figures) for figures in zip(*runs, strict=True))
        print(f"| {name} | {seconds:.2f} | {size / 1e6:.1f} |")
    return 0


def _read(rows: int) -> pa.Table:
    with tempfile.TemporaryDirectory() as folder, run_in_child(Path(folder), databases=[DATABASE]) as address:
        server = Server(address, *next(iter(DEFAULT_LOGINS.items())))
        with filled(server, LINEITEM, rows):
            connection = mssql_python.connect(server.connection_string, autocommit=True)
            cursor = connection.cursor()
            cursor.execute(f"SELECT * FROM dbo.{LINEITEM.name}")
            table: pa.Table = cursor.arrow()
            connection.close()
    fields = [field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields)).combine_chunks()


def _encode(rows: pa.Table, settings: dict[str, Any]) -> tuple[float, int]:
    """Processor seconds and bytes of the file."""
    settings = dict(settings)
    share = settings.pop("row_group_bytes") / rows.nbytes
    group_rows = max(1, int(rows.num_rows * share))
    sink = _Nowhere()
    began = time.process_time()
    writer = pq.ParquetWriter(sink, rows.schema, **settings)
    for first in range(0, rows.num_rows, group_rows):
        writer.write_table(rows.slice(first, group_rows), row_group_size=group_rows)
    writer.close()
    return time.process_time() - began, sink.size


if __name__ == "__main__":
    sys.exit(main())
