"""A table whose changes the source lists, the project that mirrors it, and what the commands say of it."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from devcloud.onelake import OneLake
from devcloud.replicator import Replicator, check_landing_zone
from hygge_engine.cli.app import app
from hygge_engine.row_counts import COUNT_NAMES
from tests.integration.fabric_item import MIRROR, WORKSPACE
from tests.integration.mssql_server import ADMINISTRATOR, ServerProcess

HYGGE = """\
name: shop
connections:
  shop_db: {source}
options: {{ slice_minutes: {slice_minutes} }}
"""
FLOW = """\
run_type: incremental
home: {{ type: mssql, connection: shop_db, table: "dbo.{{entity}}", batch_rows: 2 }}
store: {{ type: open_mirroring, account_url: "{lake_url}", filesystem: "{workspace}", mirror_name: "{mirror}",
          folder_deletion_wait_seconds: 0, credential: account_key, account_name: "{account}",
          account_key: "{key}" }}
watermark: {watermark}
entities: [items]
"""

# One row of each kind: changed, changed and deleted, deleted, inserted, inserted and deleted.
CHANGES = (
    "UPDATE dbo.items SET name = N'changed' WHERE id IN (1, 2)",
    "DELETE FROM dbo.items WHERE id IN (2, 3)",
    "INSERT INTO dbo.items (id, name) VALUES (10, N'new'), (11, N'gone soon')",
    "DELETE FROM dbo.items WHERE id = 11",
)


class TrackedShop:
    """A tracked table, the project that mirrors it, and its replicator."""

    def __init__(
        self, server: ServerProcess, lake: OneLake, directory: Path, database: str, landed: str, watermark: str
    ) -> None:
        self._database, self._landed, self._watermark = database, landed, watermark
        self._server = server
        self._lake = lake
        self._directory = directory
        self.replicator = Replicator.on_disk(lake.path(WORKSPACE, MIRROR), in_memory=True)
        self.write()

    def write(self, watermark: str = "", slice_minutes: float = 4) -> None:
        values = {
            "source": json.dumps(self._connection(self._database)),
            "lake_url": self._lake.url,
            "workspace": WORKSPACE,
            "mirror": MIRROR,
            "account": self._lake.account_name,
            "key": self._lake.account_key,
        }
        (self._directory / "flows/shop").mkdir(parents=True, exist_ok=True)
        (self._directory / "hygge.yml").write_text(HYGGE.format(slice_minutes=slice_minutes, **values))
        (self._directory / "flows/shop/flow.yml").write_text(
            FLOW.format(watermark=watermark or self._watermark, **values)
        )

    def break_flow(self, changes: dict[str, str]) -> None:
        """A query instead of the table, or a folder instead of the mirrored database."""
        path = self._directory / "flows/shop/flow.yml"
        flow = yaml.safe_load(path.read_text())
        if "query" in changes:
            del flow["home"]["table"]
            flow["home"] |= changes
        else:
            flow["store"] = {"path": str(self._directory / "landed"), **changes}
        path.write_text(yaml.safe_dump(flow))

    def read(self, table: str) -> None:
        """Name another table in the settings."""
        path = self._directory / "flows/shop/flow.yml"
        flow = yaml.safe_load(path.read_text())
        flow["home"]["table"] = table
        path.write_text(yaml.safe_dump(flow))

    def use_store(self, store: dict[str, Any], connections: dict[str, Any]) -> None:
        """Another store than the mirrored database, and the connections that it takes."""
        for name, changes in (("flows/shop/flow.yml", {"store": store}), ("hygge.yml", {"connections": connections})):
            path = self._directory / name
            document = yaml.safe_load(path.read_text())
            document |= {
                key: document.get(key, {}) | value if key == "connections" else value or document[key]
                for key, value in changes.items()
            }
            path.write_text(yaml.safe_dump(document))

    @property
    def source(self) -> dict[str, Any]:
        """The connection that the table is read over."""
        return self._connection(self._database)

    @property
    def target(self) -> dict[str, Any]:
        """A connection to a database for what has landed."""
        return self._connection(self._landed)

    def _connection(self, database: str) -> dict[str, Any]:
        return {"type": "mssql", "server": self._server.address, "database": database, **ADMINISTRATOR}

    def landed(self) -> list[tuple[object, ...]]:
        """What a store of type sqlite or mssql holds."""
        query = "SELECT id, name FROM items ORDER BY id"
        file = self._directory / "landed.db"
        if not file.exists():
            return self._server.run(query, database=self._landed)[0]
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute(query).fetchall()

    def doctor(self, check: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["doctor", "--json", "--project", str(self._directory)])
        sections = json.loads(result.stdout)["sections"]
        (found,) = [c for s in sections if s["name"] == "shop.items" for c in s["checks"] if c["name"] == check]
        return dict(found)

    def plan(self) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["plan", "--json", "--project", str(self._directory)])
        return dict(json.loads(result.stdout)["entities"][0])

    def check_foretold(self, ended: tuple[int, dict[str, Any]] | None, words: str) -> None:
        """Plan and doctor say that changes were lost: that the next load fails, as one has ``ended``, or that it
        reloads the table."""
        line, found = self.plan(), self.doctor("kept changes")
        told = line["errors"] if ended else line["warnings"]
        assert words in found["found"]
        assert any(words in text for text in told), line
        if ended is None:
            assert (line["mode"], found["result"], line["errors"]) == ("reload", "warning", [])
            return
        code, settled = ended
        assert (code, settled["error"], found["result"], found["code"]) == (1, found["code"], "failed", found["code"])
        assert found["found"].split(":")[0] in settled["message"]
        assert "full_drop" in settled["message"]
        assert "full_drop" in found["remedy"]

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        results = self._server.run(*statements, database=self._database)
        return results[0] if results else []

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit code of ``hygge go`` and how the entity was settled."""
        result = CliRunner().invoke(app, ["go", "--json", "--project", str(self._directory), *arguments])
        lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        settled = [line for line in lines if line.get("event") == "settled"]
        return result.exit_code, settled[-1] if settled else {"output": result.output}

    def runs(self) -> list[list[int | None]]:
        """What the journal says of the rows of each load, the newest first."""
        return [[run[name] for name in COUNT_NAMES] for run in json.loads(self.shown_runs("--json"))]

    def shown_runs(self, *arguments: str) -> str:
        """The output of ``hygge runs`` about the table."""
        command = ["runs", "--entity", "items", "--project", str(self._directory), *arguments]
        return CliRunner().invoke(app, command).stdout

    def load(self, *arguments: str) -> dict[str, Any]:
        code, settled = self.run(*arguments)
        assert code == 0, settled
        return settled

    def check(self, source: str = "dbo.items") -> None:
        """The mirrored table equals the source, and all files conform."""
        self.replicator.tick()
        table = self.replicator.table("dbo", "items")
        names = ("id", "name", "at")
        mirrored = sorted(zip(*(table[name].to_pylist() for name in names), strict=True))
        assert [(id_, name) for id_, name, _ in mirrored] == self.sql(f"SELECT id, name FROM {source} ORDER BY id")
        assert all(at is not None for _, _, at in mirrored)
        check_landing_zone(self._lake.path(WORKSPACE, MIRROR))


def any_change(chance: random.Random, table: str, column: str, highest: int, number: int, more: str = "") -> str:
    """A statement that inserts, updates or deletes rows of ids up to ``highest``, or changes one's id. ``number`` is
    what ``column`` holds then; ``more`` is assigned besides."""
    one, other = chance.randint(1, highest), chance.randint(1, highest)
    return chance.choice(
        [
            f"INSERT INTO {table} (id, {column}) SELECT {one}, N'{number}' WHERE NOT EXISTS "
            f"(SELECT 1 FROM {table} WHERE id = {one})",
            f"UPDATE {table} SET {column} = N'{number}'{more} WHERE id <= {one}",
            f"UPDATE {table} SET id = {other} WHERE id = {one} AND NOT EXISTS "
            f"(SELECT 1 FROM {table} WHERE id = {other})",
            f"DELETE FROM {table} WHERE id = {one}",
        ]
    )
