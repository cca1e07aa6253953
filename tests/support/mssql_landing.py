"""A project that lands tables of the SQL Server emulator."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq
import yaml
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from tests.integration.mssql_server import ADMINISTRATOR, DATABASE, ServerProcess

SQLITE = {"type": "sqlite", "path": "shop.db"}


class Landing:
    """A project that lands tables of the server as Parquet in a folder."""

    def __init__(self, server: ServerProcess, directory: Path) -> None:
        self._server = server
        self.directory = directory

    def write(
        self,
        *entities: str,
        driver: str = "mssql-python",
        pool_size: int = 4,
        home: Mapping[str, Any] = MappingProxyType({}),
        slice_minutes: float = 4.0,
        database: str = DATABASE,
        **flow: Any,
    ) -> None:
        """Describe the flow again."""
        connection = {"type": "mssql", "server": self._server.address, "database": database, **ADMINISTRATOR}
        connection |= {"driver": driver, "pool_size": pool_size}
        home = {"type": "mssql", "connection": "source", "table": "dbo.{entity}", **home}
        store = {"type": "local", "path": "out", "format": "parquet"}
        (self.directory / "flows/shop").mkdir(parents=True, exist_ok=True)
        hygge = {"name": "shop", "connections": {"source": connection}, "options": {"slice_minutes": slice_minutes}}
        (self.directory / "hygge.yml").write_text(yaml.safe_dump(hygge))
        (self.directory / "flows/shop/flow.yml").write_text(
            yaml.safe_dump({"home": home, "store": store, "entities": list(entities), **flow})
        )

    def load(self, *arguments: str) -> dict[str, Any]:
        """Load the only entity; how it was settled."""
        return self._go(arguments, exit_code=0)

    def fail(self, *arguments: str) -> dict[str, Any]:
        """The same where the load is to fail."""
        return self._go(arguments, exit_code=1)

    def _go(self, arguments: Sequence[str], *, exit_code: int) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["go", "--json", "--project", str(self.directory), *arguments])
        assert result.exit_code == exit_code, result.output
        lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        return dict(next(line for line in reversed(lines) if line.get("event") == "settled"))

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query to the database of `SQLITE`."""
        with closing(sqlite3.connect(self.directory / "shop.db")) as database:
            return database.execute(sql).fetchall()

    def tables(self) -> list[str]:
        """The tables of rows in that database."""
        names = [name for (name,) in self.ask("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sorted(name for name in names if not name.startswith("__hygge"))

    def files(self, entity: str) -> list[Path]:
        return sorted((self.directory / "out" / entity).rglob("*.parquet"))

    def ids(self, entity: str) -> list[Any]:
        return sorted(id_ for file in self.files(entity) for id_ in pq.read_table(file)["id"].to_pylist())
