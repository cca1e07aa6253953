"""Expectations on real stores of every kind: what fails leaves no trace, what warns lands, and both are remembered."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hygge_engine.flow.factory import journal_of
from hygge_engine.journal import Journal
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project.models.settings import RunType
from tests.faults.source import Row
from tests.integration.warehouse import MssqlWarehouse, Nobody, Warehouse

EXPECTATIONS = """\
expectations:
  range: { columns: { id: { max: 100 } } }
  accepted_values: { columns: { value: [v1] }, severity: warn }
"""


class LocalWarehouse(Warehouse):
    """A table of a local store, read by polars or SQLite's own driver."""

    def rows(self) -> list[Row]:
        place = self.directory / "project/out"
        if self._store["type"] == "sqlite":
            with closing(sqlite3.connect(self.directory / "project/out.db")) as connection:
                return sorted(connection.execute("SELECT id, value, modified FROM things").fetchall())
        folder = place / "things"
        delta = self._store["format"] == "delta"
        frame = pl.read_delta(str(folder)) if delta else pl.read_parquet(folder / "*.parquet")
        return sorted((int(id_), str(value), int(modified)) for id_, value, modified in frame.iter_rows())


@pytest.fixture(params=["parquet", "delta", "sqlite", "mssql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    if request.param == "mssql":
        yield MssqlWarehouse(tmp_path, monkeypatch, request.getfixturevalue("mssql_server"))
        return
    store = {"type": "local", "path": "out", "format": request.param}
    if request.param == "sqlite":
        store = {"type": "sqlite", "path": "out.db"}
    yield LocalWarehouse(tmp_path, monkeypatch, "things", store)


def result_of(warehouse: Warehouse, run_type: RunType) -> dict[str, Any]:
    """The one entity's line in the summary of a load."""
    summary = run_load(warehouse.project(run_type), LoadRequest(requested_by="tests"), Nobody())
    assert summary["journal"]["status"] == "settled"
    return dict(summary["results"][0])


@pytest.mark.parametrize("run_type", ["full_drop", "incremental"])
def test_what_fails_leaves_the_table_as_it_was(warehouse: Warehouse, run_type: RunType) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.load(run_type)
    before = warehouse.rows()
    warehouse.more = EXPECTATIONS
    warehouse.source.put(2, 101, 102)
    failed = result_of(warehouse, run_type)
    assert (failed["status"], failed["error"]) == ("fail", "expectations.failed")
    assert "range(id) by 2 rows (id=101; id=102)" in failed["message"]
    assert json.loads(failed["expectations"])["failed"] == {"range(id)": 2}
    assert warehouse.rows() == before

    warehouse.source.remove(101, 102)
    landed = result_of(warehouse, run_type)
    assert (landed["status"], landed["message"]) == (
        "success",
        "not as expected: accepted_values(value) by 1 row (id=2)",
    )
    kept = [row for row in before if row[0] != 2 or "format" in warehouse._store]
    after = warehouse.source.rows if run_type == "full_drop" else sorted({*kept, *warehouse.source.rows})
    assert warehouse.rows() == after

    project = warehouse.project(run_type)
    rows = Journal(*journal_of(project, project.entities[0])).read().sort("start_time").to_dicts()
    assert [row["expectations"] for row in rows[-2:]] == [
        '{"passed":0,"warned":{"accepted_values(value)":3},"failed":{"range(id)":2}}',
        '{"passed":1,"warned":{"accepted_values(value)":1},"failed":{}}',
    ]
    assert rows[0]["expectations"] == ""
