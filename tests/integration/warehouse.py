"""One table of one store: real loads from a small source, and what has landed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.flow import run as flow_run
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project
from hygge_engine.project.settings import RunType
from tests.faults.source import Row, Source, SourceHome
from tests.unit.project_files import HYGGE, load

FLOW = """\
name: orders_to_store
run_type: {run_type}
home: {{ type: mssql, connection: shop_db, table: "dbo.{{entity}}" }}
store: {store}
watermark: {watermark}
entities: [{entity}]
"""


class Nobody:
    """An observer who does not look."""

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None: ...

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None: ...

    def entity_settled(self, flow: str, entity: str, result: Mapping[str, Any]) -> None: ...


class Warehouse(ABC):
    """Loads into the table ``name`` by one flow. ``hygge`` is the project's hygge.yml."""

    hygge: str = HYGGE
    watermark = "{ column: modified, primary_key: id }"

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, store: dict[str, Any]) -> None:
        self.directory = directory
        self.source = Source(directory / "source.json")
        self.home = SourceHome(self.source)
        self.name = name
        self._store = store
        monkeypatch.setattr(flow_run, "open_home", lambda project, entity: self.home)

    def project(self, run_type: RunType, incremental: bool | None = None) -> Project:
        store = self._store if incremental is None else self._store | {"incremental": incremental}
        text = FLOW.format(run_type=run_type, store=json.dumps(store), watermark=self.watermark, entity=self.name)
        return load(self.directory / "project", hygge=self.hygge, flow=text)

    def load(self, run_type: RunType = "incremental", incremental: bool | None = None) -> dict[str, Any]:
        summary = run_load(self.project(run_type, incremental), LoadRequest(requested_by="tests"), Nobody())
        assert summary["status"] == "success", summary
        assert summary["journal"]["status"] == "settled"
        return dict(summary)

    @abstractmethod
    def rows(self) -> list[Row]:
        """What the table holds, sorted."""
