"""One table of one store: real loads from a small source, and what has landed."""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project
from hygge_engine.project.models.project import Options
from hygge_engine.project.models.settings import RunType
from tests.faults.source import Row, Source, SourceHome
from tests.integration.mssql_server import ADMINISTRATOR, ServerProcess, own_name
from tests.unit.project_files import HYGGE, load

FLOW = """\
name: orders_to_store
run_type: {run_type}
home: {{ type: mssql, connection: shop_db, table: "{schema}.{{entity}}" }}
store: {store}
watermark: {watermark}
entities: [{entity}]
"""

HYGGE_MSSQL = """\
name: shop
connections:
  shop_db: {connection}
"""


def hygge_mssql(server: ServerProcess, database: str, driver: str = "mssql-python") -> str:
    """A hygge.yml with a connection `shop_db` to a database."""
    connection = {"type": "mssql", "server": server.address, "database": database, "driver": driver, **ADMINISTRATOR}
    return HYGGE_MSSQL.format(connection=json.dumps(connection))


class Nobody:
    """An observer who does not look."""

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None: ...

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None: ...

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None: ...


class AskedToStop:
    """Cancels before a batch, where requested."""

    def __init__(self, cancel_after: int | None = None) -> None:
        self._left = cancel_after

    def progress(self, rows: int, bytes_: int) -> None:
        return

    def cancelled(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0


class Warehouse(ABC):
    """Loads into the table ``name`` by one flow. ``hygge`` is the project's hygge.yml, ``more`` stands at the flow's
    end."""

    hygge: str = HYGGE
    watermark = "{ column: modified, primary_key: id }"
    more = ""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, store: dict[str, Any]) -> None:
        self.directory = directory
        self.source = Source(directory / "source.json")
        self.home = SourceHome(self.source)
        self.name = name
        self._store = store
        self._projects: dict[RunType, Project] = {}
        monkeypatch.setattr(flow_run, "open_home", lambda project, entity: self.home)

    def project(self, run_type: RunType, incremental: bool | None = None) -> Project:
        store = self._store if incremental is None else self._store | {"incremental": incremental}
        settings = {"store": json.dumps(store), "watermark": self.watermark, "entity": self.name}
        # Rows come from elsewhere, and the store may not write where the home says that it reads.
        text = FLOW.format(schema="source", run_type=run_type, **settings)
        return load(self.directory / "project", hygge=self.hygge, flow=text + self.more)

    def known_project(self, run_type: RunType) -> Project:
        """The project, read once until it has changed."""
        if run_type not in self._projects:
            self._projects[run_type] = self.project(run_type)
        return self._projects[run_type]

    def project_changed(self) -> None:
        """Let later loads read `hygge`, `more` and the store's settings again."""
        self._projects.clear()

    def settle_in(self, table_name: str) -> None:
        """Let later loads settle in another table."""
        self._store = self._store | {"table_name": table_name}
        self.project_changed()

    def load(self, run_type: RunType = "incremental", incremental: bool | None = None) -> dict[str, Any]:
        summary = run_load(self.project(run_type, incremental), LoadRequest(requested_by="tests"), Nobody())
        assert summary["status"] == "success", summary
        assert summary["journal"]["status"] == "settled"
        return dict(summary)

    def slice(
        self,
        load_id: str,
        run_type: RunType,
        attempt: int = 1,
        watch: AskedToStop | None = None,
        *,
        slice_minutes: float = 4.0,
        busy: int = 0,
    ) -> SliceResult:
        project = replace(self.known_project(run_type), options=Options(slice_minutes=slice_minutes))
        (entity,) = project.entities
        task = SliceTask(load_id, f"run-{load_id}", entity.flow, entity.name, run_type, "hash", attempt, busy=busy)
        return flow_run.run_slice(project, entity, task, watch or AskedToStop())

    def run(self, load_id: str, run_type: RunType, slice_minutes: float = 4.0) -> SliceResult:
        """All slices of a load, as the orchestrator schedules them."""
        busy = 0
        for attempt in range(1, 50):
            result = self.slice(load_id, run_type, attempt, slice_minutes=slice_minutes, busy=busy)
            if result.status != "continue":
                return result
            busy = busy + 1 if result.busy else 0
            if result.not_before:
                time.sleep(max((datetime.fromisoformat(result.not_before) - datetime.now(UTC)).total_seconds(), 0))
        raise AssertionError(result)

    @abstractmethod
    def rows(self) -> list[Row]:
        """What the table holds, sorted."""


class DatabaseWarehouse(Warehouse):
    """A table of a database, read by a driver of its own."""

    def rows(self) -> list[Row]:
        return sorted(
            (id_, value, modified) for id_, value, modified in self.ask("SELECT id, value, modified FROM things")
        )

    @abstractmethod
    def tables(self) -> list[str]:
        """The names of all tables, sorted."""

    @abstractmethod
    def ask(self, sql: str) -> list[Any]:
        """The rows of a query; none of a statement that is none."""


class MssqlWarehouse(DatabaseWarehouse):
    """A table of a database of its own, in devcloud's SQL Server."""

    def __init__(
        self,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        server: ServerProcess,
        driver: str = "mssql-python",
    ) -> None:
        journal = {"path": "out/.hygge_journal"}
        store = {"type": "mssql", "connection": "shop_db", "journal_folder": journal}
        super().__init__(directory, monkeypatch, "things", store)
        self.database = own_name(f"warehouse_{uuid.uuid4().hex[:12]}")
        self.hygge = hygge_mssql(server, self.database, driver)
        self.server = server
        server.run(f"CREATE DATABASE {self.database}")

    def tables(self) -> list[str]:
        return [name for (name,) in self.ask("SELECT name FROM sys.tables ORDER BY name")]

    def ask(self, sql: str) -> list[Any]:
        return [row for rows in self.server.run(sql, database=self.database) for row in rows]
