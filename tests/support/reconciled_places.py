"""Tables that are compared with their source."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from devcloud.onelake import OneLake
from devcloud.replicator import Replicator
from hygge_engine.cli import reachability
from hygge_engine.reconcile import compare
from hygge_engine.reconcile.compare import reconcile
from hygge_engine.reconcile.result import Reconciliation, Unwatched
from tests.faults.source import Row
from tests.integration.mssql_server import ServerProcess
from tests.integration.onelake_clients import ITEM, WORKSPACE
from tests.integration.warehouse import MssqlWarehouse, Warehouse

type Rows = list[dict[str, Any]]


class ReconciledPlace:
    """A destination whose rows can be changed from outside."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.source = warehouse.source

    def load(self, run_type: Any = "incremental") -> None:
        self.warehouse.load(run_type)

    def reconcile(self, **options: bool) -> Reconciliation:
        project = self.warehouse.project("incremental")
        (entity,) = project.entities
        return reconcile(project, entity, Unwatched(), **options)

    def tamper(self, change: Callable[[Rows], Rows]) -> None:
        """Change the destination's rows behind the engine's back."""
        raise NotImplementedError


class FilesPlace(ReconciledPlace):
    """Files in ``folder``, rewritten by another library."""

    def __init__(self, warehouse: Warehouse, folder: Path, format_: str) -> None:
        super().__init__(warehouse)
        self.folder = folder
        self.format = format_

    def tamper(self, change: Callable[[Rows], Rows]) -> None:
        (path,) = self.folder.glob("part-*")
        match self.format:
            case "parquet":
                pl.DataFrame(change(pl.read_parquet(path).to_dicts())).write_parquet(path)
            case "csv":
                pl.DataFrame(change(pl.read_csv(path).to_dicts())).write_csv(path)
            case _:
                lines = [json.loads(line) for line in path.read_text().splitlines()]
                path.write_text("".join(json.dumps(row) + "\n" for row in change(lines)))


class DeltaPlace(ReconciledPlace):
    """A Delta table in ``folder``, overwritten."""

    def __init__(self, warehouse: Warehouse, folder: Path) -> None:
        super().__init__(warehouse)
        self.folder = folder

    def tamper(self, change: Callable[[Rows], Rows]) -> None:
        table = DeltaTable(str(self.folder))
        rows = pl.DataFrame(change(pl.read_delta(str(self.folder)).to_dicts()))
        write_deltalake(table, rows.to_arrow(), mode="overwrite")


class MirroredPlace(DeltaPlace):
    """A mirrored table: what has been landed counts once the replicator has looked."""

    def __init__(self, warehouse: Warehouse, item: Path, name: str) -> None:
        super().__init__(warehouse, item / "Tables" / "dbo" / name)
        self.replicator = Replicator.on_disk(item)

    def load(self, run_type: Any = "incremental") -> None:
        super().load(run_type)
        self.replicator.tick()


class DatabasePlace(ReconciledPlace):
    """A table of a database, changed by SQL."""

    def __init__(self, warehouse: Warehouse, run: Callable[[str], Any]) -> None:
        super().__init__(warehouse)
        self.run = run

    def tamper(self, change: Callable[[Rows], Rows]) -> None:
        before = [
            dict(zip(("id", "value", "modified"), row, strict=True))
            for row in self.run("SELECT id, value, modified FROM things")
        ]
        self.run("DELETE FROM things")
        for row in change(before):
            self.run(
                f"INSERT INTO things (id, value, modified) VALUES ({row['id']}, '{row['value']}', {row['modified']})"
            )


def make_place(
    request: pytest.FixtureRequest, kind: str, format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ReconciledPlace:
    name = f"t{abs(hash(request.node.name)):x}"
    if kind == "mssql":
        server: ServerProcess = request.getfixturevalue("mssql_server")
        shop = MssqlWarehouse(tmp_path, monkeypatch, server)
        return DatabasePlace(shop, lambda sql: (server.run(sql, database=shop.database) or [[]])[0])
    if kind == "sqlite":
        warehouse = SomeWarehouse(tmp_path, monkeypatch, "things", {"type": "sqlite", "path": "out/shop.db"})
        return DatabasePlace(warehouse, lambda sql: run_sqlite(tmp_path / "project/out/shop.db", sql))
    if kind == "local":
        warehouse = SomeWarehouse(tmp_path, monkeypatch, name, {"type": "local", "format": format_, "path": "out"})
        folder = tmp_path / "project/out" / name
        return DeltaPlace(warehouse, folder) if format_ == "delta" else FilesPlace(warehouse, folder, format_)
    lake: OneLake = request.getfixturevalue("lake")
    account = {"account_url": lake.url, "credential": "account_key"} | lake.credential
    if kind == "open_mirroring":
        store = account | {"type": kind, "filesystem": WORKSPACE, "mirror_name": ITEM}
        return MirroredPlace(SomeWarehouse(tmp_path, monkeypatch, name, store), lake.path(WORKSPACE, ITEM), name)
    if kind == "adls":
        folder = lake.path("raw", "landing", name)
        store = account | {"type": kind, "format": format_, "filesystem": "raw", "path": "landing"}
    else:
        folder = lake.path(WORKSPACE, ITEM, "Tables" if format_ == "delta" else "Files", name)
        store = account | {"type": kind, "format": format_, "filesystem": WORKSPACE, "lakehouse": ITEM}
    warehouse = SomeWarehouse(tmp_path, monkeypatch, name, store)
    return DeltaPlace(warehouse, folder) if format_ == "delta" else FilesPlace(warehouse, folder, format_)


def run_sqlite(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


class SomeWarehouse(Warehouse):
    """A store that is only read back by the engine."""

    def rows(self) -> list[Row]:
        raise NotImplementedError


def choose(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, format_: str = "parquet"
) -> ReconciledPlace:
    place = make_place(request, kind, format_, tmp_path, monkeypatch)
    monkeypatch.setattr(compare, "open_home", lambda project, entity: place.warehouse.home)
    # The home's address leads nowhere.
    monkeypatch.setattr(reachability, "asks_of", lambda settings: {})
    return place
