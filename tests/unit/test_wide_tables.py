"""Tables of many columns: what they take grows with them and no faster, and a load that reads them can be stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hygge_engine.flow.run import run_slice
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.files.convert import CANDIDATES, columns_to_values, fitting_columns, to_values
from hygge_engine.homes.files.settings import ColumnSettings
from tests.support.files_home import home_of
from tests.unit.project_files import load

TEXTS = st.none() | st.sampled_from(["7", "1.5", "1.0", "-3", "2024-02-29", "2024-02-30", "true", "", "x", "9" * 20])
TABLES = st.integers(1, 4).flatmap(
    lambda height: st.lists(st.lists(TEXTS, min_size=height, max_size=height), min_size=1)
)


@settings(max_examples=25, deadline=None)
@given(TABLES)
def test_columns_at_once_are_what_each_is_alone(table: list[list[str | None]]) -> None:
    columns = [pl.Series(texts, dtype=pl.String) for texts in table]
    together = fitting_columns(columns, [CANDIDATES] * len(columns))
    assert together == [fitting_columns([column], [CANDIDATES])[0] for column in columns]
    for type_ in ("int64", "float64", "date", "bool", "string"):
        declared = ColumnSettings(type=type_)
        alone = [to_values(column, declared) for column in columns]
        at_once = columns_to_values(columns, declared)
        assert [value if isinstance(value, int) else value.to_pylist() for value in at_once] == [
            value if isinstance(value, int) else value.to_pylist() for value in alone
        ]


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions are called, those of C included."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def write_wide(directory: Path, format_: str, columns: int) -> None:
    values = [[number, f"text {number}", "2024-01-31", 1.5][number % 4] for number in range(columns)]
    names = [f"column_{number}" for number in range(columns)]
    file = directory / f"wide.{format_}"
    if format_ == "csv":
        file.write_text(f"{','.join(names)}\n{','.join(map(str, values))}\n")
    elif format_ == "ndjson":
        file.write_text(json.dumps(dict(zip(names, values, strict=True))) + "\n")
    else:
        pq.write_table(pa.table({name: [value] for name, value in zip(names, values, strict=True)}), file)


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet"])
def test_what_a_file_takes_grows_no_faster_than_its_columns(tmp_path: Path, format_: str) -> None:
    calls = {}
    for columns in (100, 1_000):
        directory = tmp_path / str(columns)
        directory.mkdir()
        write_wide(directory, format_, columns)
        home = home_of(directory, f"wide.{format_}", format=format_)
        calls[columns] = calls_of(lambda home=home: [batch.rows for batch in home.read(ReadWindow())])  # type: ignore[misc]
    assert calls[1_000] < 12 * calls[100]
    if format_ == "csv":
        assert calls[1_000] < 500 * 1_000  # 3,473 for each column, where each is looked at by itself


FLOW = """\
name: wide
home: { type: local, path: "wide.csv", format: csv }
store: { type: local, path: out }
entities: [wide]
"""


class AskedAfter:
    """Asks for the load to stop after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def progress(self, rows: int, bytes_: int) -> None:
        return

    def cancelled(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_a_load_stops_wherever_it_looks_for_it_and_leaves_the_table_free(tmp_path: Path) -> None:
    project = load(tmp_path, flow=FLOW)
    write_wide(tmp_path, "csv", 20)
    (entity,) = project.entities

    def run(name: str, looks: int) -> tuple[SliceResult, AskedAfter]:
        watch = AskedAfter(looks)
        task = SliceTask(name, f"run-{name}", entity.flow, entity.name, "full_drop", "hash", 1)
        return run_slice(project, entity, task, watch), watch

    looks = 0
    while (answer := run(f"load-{looks}", looks)[0]).status == "cancelled":
        assert (answer.rows, answer.error) == (0, "")
        assert not list(tmp_path.glob("out/wide/*.parquet"))
        looks += 1
    assert looks > 5  # also before there is a row
    assert (answer.status, answer.rows) == ("done", 1)
