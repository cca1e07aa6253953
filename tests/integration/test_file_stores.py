"""Every store of files, in every format, by every run type: real rows land and are read back by other libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from devcloud.onelake import OneLake
from hygge_engine.flow import run as flow_run
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project
from hygge_engine.project.settings import RunType
from tests.faults.source import Row, Source, SourceHome
from tests.integration.onelake_clients import ITEM, WORKSPACE
from tests.unit.project_files import load

FORMATS = ("parquet", "csv", "ndjson", "delta")
FLOW = """\
name: orders_to_files
run_type: {run_type}
home: {{ type: mssql, connection: shop_db, table: "dbo.{{entity}}" }}
store: {store}
watermark: {{ column: modified, primary_key: id }}
entities: [{entity}]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneLake]:
    with OneLake(tmp_path_factory.mktemp("onelake")) as server:
        server.create_workspace(WORKSPACE)
        server.create_item(WORKSPACE, ITEM)
        server.create_filesystem("raw")
        yield server


class Nobody:
    """An observer who does not look."""

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None: ...

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None: ...

    def entity_settled(self, flow: str, entity: str, result: Mapping[str, Any]) -> None: ...


class Warehouse:
    """One table of one store: loads into it, and what other libraries read there."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, store: dict[str, Any], folder: Path
    ) -> None:
        self.directory = directory
        self.source = Source(directory / "source.json")
        self.home = SourceHome(self.source)
        self.name = name
        self.folder = folder
        self.format = store["format"]
        self._store = store
        monkeypatch.setattr(flow_run, "open_home", lambda project, entity: self.home)

    def project(self, run_type: RunType, incremental: bool | None = None) -> Project:
        store = self._store if incremental is None else self._store | {"incremental": incremental}
        text = FLOW.format(run_type=run_type, store=json.dumps(store), entity=self.name)
        return load(self.directory / "project", flow=text)

    def load(self, run_type: RunType = "incremental", incremental: bool | None = None) -> dict[str, Any]:
        summary = run_load(self.project(run_type, incremental), LoadRequest(requested_by="tests"), Nobody())
        assert summary["status"] == "success", summary
        assert summary["journal"]["status"] == "settled"
        return dict(summary)

    def rows(self) -> list[Row]:
        """What the table holds, sorted."""
        if self.format == "delta":
            frame = pl.read_delta(str(self.folder))
        else:
            frames = [self._read(path) for path in sorted(self.folder.glob("part-*"))]
            frame = pl.concat(frames) if frames else pl.DataFrame()
        return sorted((int(id_), str(value), int(modified)) for id_, value, modified in frame.iter_rows())

    def _read(self, path: Path) -> pl.DataFrame:
        match self.format:
            case "parquet":
                return pl.read_parquet(path)
            case "csv":
                return pl.read_csv(path)
            case _:
                return pl.read_ndjson(path)


@pytest.fixture(params=[f"{kind}-{format_}" for kind in ("local", "adls", "onelake") for format_ in FORMATS])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, server: OneLake, monkeypatch: pytest.MonkeyPatch
) -> Warehouse:
    kind, format_ = request.param.split("-")
    name = f"t{abs(hash(request.node.name)):x}"
    store: dict[str, Any] = {"type": kind, "format": format_}
    account = {"account_url": server.url, "credential": "account_key"} | server.credential
    if kind == "local":
        folder = tmp_path / "project" / "out" / name
        store |= {"path": "out"}
    elif kind == "adls":
        folder = server.path("raw", "landing", name)
        store |= account | {"filesystem": "raw", "path": "landing"}
    else:
        folder = server.path(WORKSPACE, ITEM, "Tables" if format_ == "delta" else "Files", name)
        store |= account | {"filesystem": WORKSPACE, "lakehouse": ITEM}
    return Warehouse(tmp_path, monkeypatch, name, store, folder)


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
@pytest.mark.parametrize("incremental", [None, True, False])
def test_run_type_and_the_stores_own_word_decide_between_append_and_reload(
    warehouse: Warehouse, run_type: RunType, incremental: bool | None
) -> None:
    appends = incremental if incremental is not None else run_type == "incremental"
    warehouse.source.put(1, 2, 3, 4, 5)
    warehouse.load(run_type, incremental)
    first = warehouse.source.rows
    assert warehouse.rows() == first
    warehouse.source.put(2, 6)
    warehouse.source.remove(5)
    warehouse.load(run_type, incremental)
    changed = [row for row in warehouse.source.rows if row not in first]
    assert warehouse.rows() == (sorted(first + changed) if appends else warehouse.source.rows)


def test_a_store_that_appends_takes_each_version_of_a_row_once(warehouse: Warehouse) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.load()
    warehouse.source.put_late(4)  # bears the time of the rows before, and came after the load
    assert warehouse.load()["rows"] == 1
    assert warehouse.load()["rows"] == 0
    warehouse.source.put(1)
    warehouse.load()
    assert warehouse.rows() == sorted(warehouse.source.history)


def test_a_reload_of_an_empty_source_leaves_an_empty_table(warehouse: Warehouse) -> None:
    warehouse.source.put(1, 2)
    warehouse.load("full_drop")
    warehouse.source.remove(1, 2)
    warehouse.load("full_drop")
    assert warehouse.rows() == []
    warehouse.source.put(3)
    warehouse.load("full_drop")
    assert warehouse.rows() == warehouse.source.rows
