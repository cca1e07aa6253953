"""Parquet files of which one bit of the footer has flipped, read by everything of the engine that reads Parquet, in a
process of its own: what cannot be read as it was is refused, no row goes missing, and nothing ends the process."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from hygge_engine.errors import HomeError, HyggeError, JournalError, StoreError, StoreUnavailable
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import FilesHomeSettings
from hygge_engine.journal.files import JournalFiles
from hygge_engine.lake.local import LocalLake
from hygge_engine.stores.delta import DeltaLocation, DeltaReadBack
from hygge_engine.stores.lake_files.reading import DECODERS, FilesReadBack

ROWS = pa.table({"row_count": pa.array([1, 2, 3], pa.int64()), "flow": ["a", "b", "c"]})


def a_home(root: Path) -> Iterator[pa.RecordBatch]:
    yield from (batch.rows for batch in _home(root).read(ReadWindow()))


def a_home_by_watermark(root: Path) -> Iterator[pa.RecordBatch]:
    home = _home(root)
    names = [column.name for column in home.describe().columns]
    yield from (batch.rows for batch in home.read(ReadWindow(names[0], "0", home.high_water(names[0]).value)))


def a_comparison(root: Path) -> Iterator[pa.RecordBatch]:
    landed = FilesReadBack(LocalLake(root), "t", DECODERS["parquet"])
    if landed.count():
        yield from landed.read(ROWS.column_names)


def the_journal(root: Path) -> Iterator[pa.RecordBatch]:
    for table in JournalFiles(LocalLake(root), "j").read_canonical().batches():
        yield from table.to_batches()


def a_delta_table(root: Path) -> Iterator[pa.RecordBatch]:
    yield from DeltaReadBack(DeltaLocation(str(root), dict), "d").read(["row_count", "flow"])


# What reads the file, which file that is, what it may raise, and the steps between two bits that are tried.
PATHS: dict[Callable[[Path], Iterator[pa.RecordBatch]], tuple[str, tuple[type[HyggeError], ...], int]] = {
    a_home: ("t/t.parquet", (HomeError,), 17),
    a_home_by_watermark: ("t/t.parquet", (HomeError,), 19),
    a_comparison: ("t/t.parquet", (StoreError,), 13),
    the_journal: ("j/journal.parquet", (JournalError,), 13),
    a_delta_table: ("d/_delta_log/00000000000000000000.checkpoint.parquet", (StoreError, StoreUnavailable), 1499),
}


def _home(root: Path) -> FilesHome:
    settings = FilesHomeSettings.model_validate({"type": "local", "path": "t/*.parquet", "format": "parquet"})
    return FilesHome(LocalLake(root), "t/t.parquet", settings)


def sweep(root: Path) -> None:
    """Read each file with its bits flipped in turn, and print what came of it: where the process ends too soon, the
    last line is where it did. A file is whole again afterwards, and read once more."""
    for read, (place, refusals, stride) in PATHS.items():
        whole = (root / place).read_bytes()
        footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        for bit in [*range(8 * footer, 8 * len(whole), stride), None]:
            damaged = bytearray(whole)
            if bit is not None:
                damaged[bit // 8] ^= 1 << bit % 8
            (root / place).write_bytes(damaged)
            sys.stdout.write(f"{read.__name__} {bit} ")
            sys.stdout.flush()
            try:
                found = str(sum(batch.num_rows for batch in read(root)))
            except refusals:
                found = "refused"
            sys.stdout.write(f"{found}\n")


def test_a_flipped_bit_takes_no_row_and_ends_no_process(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "d", ROWS)
    DeltaTable(tmp_path / "d").create_checkpoint()
    (tmp_path / "t").mkdir()
    (tmp_path / "j").mkdir()
    sink = io.BytesIO()
    pq.write_table(ROWS, sink, row_group_size=2, store_schema=False)
    for place in ("t/t.parquet", "j/journal.parquet"):
        (tmp_path / place).write_bytes(sink.getvalue())

    command = [sys.executable, __file__, str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = [line.split() for line in child.stdout.splitlines()]
    assert child.returncode == 0, (lines[-1], child.stderr[-500:])
    assert {found for _, _, found in lines} == {str(ROWS.num_rows), "refused"}
    for read in PATHS:
        assert [read.__name__, "None", str(ROWS.num_rows)] in lines
        assert sum(line[::2] == [read.__name__, "refused"] for line in lines) > 2


if __name__ == "__main__":
    sweep(Path(sys.argv[1]))
