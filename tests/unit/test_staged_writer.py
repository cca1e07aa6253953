"""How much many writers of one process hold before they encode it."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hygge_engine.lake.local import LocalLake
from hygge_engine.stores import staged_writer
from hygge_engine.stores.parquet import ParquetEncoder
from hygge_engine.stores.staged_writer import GATHERED_BYTES, SHARED_BYTES, StagedFiles

SCHEMA = pa.schema([pa.field("id", pa.int64())])
BATCH = pa.record_batch([pa.array(range(1 << 17), pa.int64())], schema=SCHEMA)  # 1 MiB


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process where no test has left a writer open."""
    monkeypatch.setattr(staged_writer, "_budget", staged_writer._Budget())


def _row_groups(path: Path) -> list[int]:
    """The bytes that each row group held before it was encoded."""
    metadata = pq.read_metadata(path)
    return [metadata.row_group(number).num_rows * 8 for number in range(metadata.num_row_groups)]


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_writers_of_one_process_gather_a_bounded_number_of_bytes_together(tmp_path: Path, count: int) -> None:
    lake = LocalLake(tmp_path)
    with ExitStack() as open_writers:
        writers: list[StagedFiles] = []
        for number in range(count):
            writer = StagedFiles(partial(lake.stage, f"{number}.parquet"), SCHEMA, ParquetEncoder)
            open_writers.callback(writer.abandon)
            writers.append(writer)
        for _ in range(2 * GATHERED_BYTES // BATCH.nbytes // count):
            for writer in writers:
                writer.write(BATCH)
        files = [file for writer in writers for file in writer.finish()]
    largest = [max(_row_groups(tmp_path / file.staged)) for file in files]
    assert len(largest) == count
    assert sum(largest) <= SHARED_BYTES + count * BATCH.nbytes
    assert min(largest) >= min(GATHERED_BYTES, SHARED_BYTES // count)


def test_a_writer_that_is_alone_again_gathers_as_much_as_ever(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    others = [StagedFiles(lambda: lake.stage("other"), SCHEMA, ParquetEncoder) for _ in range(6)]
    for each in others[:3]:
        each.finish()
    for each in others:
        each.abandon()
    writer = StagedFiles(lambda: lake.stage("alone.parquet"), SCHEMA, ParquetEncoder)
    for _ in range(GATHERED_BYTES // BATCH.nbytes):
        writer.write(BATCH)
    (file,) = writer.finish()
    assert _row_groups(tmp_path / file.staged) == [GATHERED_BYTES]
