"""Polished tables, from SQL Server into a mirrored database: what a reader sees after loads, changes and deletes."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from devcloud.onelake import OneLake
from devcloud.replicator import Replicator, check_landing_zone
from devcloud.sqlserver import DEFAULT_LOGINS
from hygge_engine.cli.app import app
from tests.integration.fabric_item import MIRROR, WORKSPACE
from tests.integration.mssql_server import ServerProcess

DATABASE = "polished"
SALT = "a grain of salt"

HYGGE = """\
name: shop
connections:
  shop_db: {{ type: mssql, server: "{server}", database: polished, auth: sql, username: sa, password: "{password}",
              encrypt: false }}
options: {{ slice_minutes: {slice_minutes} }}
"""
FLOW = """\
run_type: incremental
home: {{ type: mssql, connection: shop_db, table: "dbo.{{entity}}", batch_rows: 2 }}
store: {store}
watermark: {watermark}
polish: {polish}
entities: [Customers]
"""
POLISH = {
    "drop": ["Notes"],
    "mask": {"CustomerNo": "hash", "EMail": "email"},
    "hash_salt": SALT,
    "rename": {"CustomerNo": "customer_key"},
    "case": "snake",
    "load_columns": {"loaded_by": "load_id", "loaded_at": "loaded_at"},
}


def key_of(number: int) -> str:
    return hashlib.sha256(f"{SALT}{number}".encode()).hexdigest()


class PolishedShop:
    """A table, the project that mirrors it polished, and its replicator."""

    def __init__(self, server: ServerProcess, lake: OneLake, directory: Path) -> None:
        self._server = server
        self._lake = lake
        self.directory = directory
        self.replicator = Replicator.on_disk(lake.path(WORKSPACE, MIRROR), in_memory=True)
        self.store: dict[str, Any] = {
            "type": "open_mirroring",
            "account_url": lake.url,
            "filesystem": WORKSPACE,
            "mirror_name": MIRROR,
            "folder_deletion_wait_seconds": 0,
            "credential": "account_key",
            "account_name": lake.account_name,
            "account_key": lake.account_key,
        }
        self.watermark = "{ change_tracking: true }"
        self.write()

    def write(self, slice_minutes: float = 4, **polish: Any) -> None:
        (self.directory / "flows/shop").mkdir(parents=True, exist_ok=True)
        password = DEFAULT_LOGINS["sa"]
        hygge = HYGGE.format(server=self._server.address, password=password, slice_minutes=slice_minutes)
        (self.directory / "hygge.yml").write_text(hygge)
        flow = FLOW.format(store=json.dumps(self.store), watermark=self.watermark, polish=json.dumps(POLISH | polish))
        (self.directory / "flows/shop/flow.yml").write_text(flow)

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        results = self._server.run(*statements, database=DATABASE)
        return results[0] if results else []

    def invoke(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--project", str(self.directory)])
        return result.exit_code, result.output

    def run(self, *arguments: str) -> dict[str, Any]:
        """How the entity was settled."""
        _, output = self.invoke("go", "--json", *arguments)
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        return dict([line for line in lines if line.get("event") == "settled"][-1])

    def load(self, *arguments: str) -> dict[str, Any]:
        settled = self.run(*arguments)
        assert settled["status"] == "done", settled
        return settled

    def mirrored(self) -> list[dict[str, Any]]:
        self.replicator.tick()
        assert check_landing_zone(self._lake.path(WORKSPACE, MIRROR)) == []
        return sorted(self.replicator.table("dbo", "Customers").to_pylist(), key=lambda row: str(row["e_mail"]))

    def check(self) -> None:
        """The mirrored table is the source, polished."""
        source = self.sql("SELECT CustomerNo, EMail FROM dbo.Customers")
        mirrored = [(row["customer_key"], row["e_mail"]) for row in self.mirrored()]
        expected = [(key_of(int(str(number))), f"***@{str(mail).split('@')[1]}") for number, mail in source]
        assert sorted(mirrored) == sorted(expected)


@pytest.fixture
def world(mssql_server: ServerProcess, lake: OneLake, tmp_path: Path) -> Iterator[PolishedShop]:
    mssql_server.run(f"CREATE DATABASE {DATABASE}", f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = ON")
    try:
        world = PolishedShop(mssql_server, lake, tmp_path / "project")
        world.sql(
            "CREATE TABLE dbo.Customers (CustomerNo int NOT NULL PRIMARY KEY, EMail nvarchar(40), "
            "Notes nvarchar(max), ModifiedAt datetime2(3) NOT NULL DEFAULT SYSUTCDATETIME())",
            "ALTER TABLE dbo.Customers ENABLE CHANGE_TRACKING",
            "INSERT INTO dbo.Customers (CustomerNo, EMail, Notes) "
            "SELECT value, CONCAT(N'jane@shop', value, N'.com'), N'secret' FROM GENERATE_SERIES(1, 7)",
        )
        yield world
    finally:
        mssql_server.run(f"USE master; DROP DATABASE {DATABASE}")


def test_changes_and_deletes_find_their_rows_by_a_renamed_and_hashed_key(world: PolishedShop) -> None:
    first = world.load()
    assert (first["rows"], first["primary_key"]) == (7, "customer_key")
    world.check()
    world.sql(
        "UPDATE dbo.Customers SET EMail = N'joe@elsewhere.org' WHERE CustomerNo IN (1, 2)",
        "DELETE FROM dbo.Customers WHERE CustomerNo IN (2, 3)",
        "UPDATE dbo.Customers SET CustomerNo = 20 WHERE CustomerNo = 4",
    )
    world.load()
    world.check()
    assert "Notes" not in str(world.mirrored())
    assert set(world.mirrored()[0]) == {"customer_key", "e_mail", "modified_at", "loaded_by", "loaded_at"}


def test_a_surrogate_of_the_key_takes_deletes_and_one_of_anything_else_is_refused(world: PolishedShop) -> None:
    world.store["key_columns"] = ["sk"]
    world.write(hash_ids={"sk": ["CustomerNo"]})
    world.load()
    world.sql("DELETE FROM dbo.Customers WHERE CustomerNo = 3")
    world.load()
    world.check()
    world.write(hash_ids={"sk": ["CustomerNo", "EMail"]})
    settled = world.run()
    assert settled["error"] == "store.schema_changed"
    assert "sk landed by polish (hash of CustomerNo int32" in settled["message"]
    settled = world.run("--run-type", "full_drop")
    assert settled["error"] == "configuration"
    assert "Change Tracking reports deletes" in settled["message"]


def test_all_slices_of_a_load_share_its_time_and_its_watermark_is_the_sources(world: PolishedShop) -> None:
    world.watermark = "{ column: ModifiedAt }"
    world.write(slice_minutes=0.000001)
    first = world.load()
    assert first["watermark_column"] == "ModifiedAt"
    assert first["files"] == 4
    assert len({(row["loaded_by"], row["loaded_at"]) for row in world.mirrored()}) == 1
    world.sql("UPDATE dbo.Customers SET ModifiedAt = DATEADD(second, 5, SYSUTCDATETIME()) WHERE CustomerNo = 2")
    assert world.load()["rows"] == 1
    assert len({(row["loaded_by"], row["loaded_at"]) for row in world.mirrored()}) == 2
    assert world.load()["rows"] == 0
    world.check()


def test_another_salt_or_mask_stops_an_increment_and_a_reload_is_the_way_back(world: PolishedShop) -> None:
    world.load()
    world.sql("UPDATE dbo.Customers SET EMail = N'joe@elsewhere.org' WHERE CustomerNo = 1")
    for changed, message in (
        ({"hash_salt": "another salt"}, "customer_key landed by polish (hash of CustomerNo int32, salt "),
        ({"mask": {"CustomerNo": "hash"}}, "e_mail landed by polish (mask email), would land as it is"),
    ):
        world.write(**changed)
        code, output = world.invoke("plan", "--json")
        assert (code, message in output) == (1, True)
        settled = world.run()
        assert (settled["status"], settled["error"]) == ("failed", "store.schema_changed")
        assert message in settled["message"]
        assert "full_drop" in settled["hint"]
        assert "another salt" not in json.dumps(settled)
    world.load("--run-type", "full_drop")
    assert {row["e_mail"] for row in world.mirrored()} > {"joe@elsewhere.org"}


def test_what_cannot_be_done_is_told_before_the_first_row(world: PolishedShop) -> None:
    for polish, message, hint in (
        ({"drop": ["EMial"]}, "no column `EMial`, which `drop` of polish names", "Did you mean `EMail`?"),
        ({"mask": {"CustomerNo": "full"}}, "masks `customer_key`, which is part of the key", "Hash it instead"),
        ({"rename": {"CustomerNo": "e_mail"}}, "`CustomerNo` and `EMail` would both be `e_mail`", "rename one of them"),
    ):
        world.write(**polish)
        settled = world.run()
        assert (settled["status"], settled["error"], settled["rows"]) == ("failed", "configuration", 0)
        assert message in settled["message"]
        assert hint in settled["hint"]
        code, output = world.invoke("plan", "--json")
        assert code == 1
        assert message in json.loads(output)["entities"][0]["errors"][0]


def test_plan_and_schema_manifest_speak_of_the_polished_columns(world: PolishedShop) -> None:
    code, output = world.invoke("plan")
    assert code == 0
    assert "polish: CustomerNo → customer_key hashed; EMail → e_mail masked (email); ModifiedAt → modified_at" in output
    assert SALT not in output
    world.load()
    (path,) = world.directory.parent.rglob(".hygge_journal/schemas/*.json")
    columns = json.loads(path.read_text())["versions"][-1]["columns"]
    assert [(column["name"], column["source_type"]) for column in columns] == [
        ("customer_key", "int, hashed"),
        ("e_mail", "nvarchar(40), masked (email)"),
        ("modified_at", "datetime2(3)"),
        ("loaded_by", "load_id"),
        ("loaded_at", "loaded_at"),
    ]


@pytest.mark.parametrize("store", [{"format": "delta"}, {"format": "parquet"}])
def test_files_and_delta_tables_land_the_same(world: PolishedShop, store: dict[str, Any]) -> None:
    world.store, world.watermark = store | {"type": "local", "path": "out"}, "{ column: ModifiedAt }"
    world.write()
    world.load()
    folder = world.directory / "out/Customers"
    frame = pl.read_delta(str(folder)) if store["format"] == "delta" else pl.read_parquet(folder / "*.parquet")
    found = frame.sort("e_mail").select("customer_key", "e_mail").rows()
    assert found == [(key_of(number), f"***@shop{number}.com") for number in range(1, 8)]


def test_a_database_merges_by_the_renamed_key(world: PolishedShop) -> None:
    world.store, world.watermark = {"type": "sqlite", "path": "out.db"}, "{ column: ModifiedAt }"
    world.write()
    world.load()
    world.sql("UPDATE dbo.Customers SET EMail = N'j@x', ModifiedAt = DATEADD(day, 1, ModifiedAt) WHERE CustomerNo = 7")
    assert world.load()["rows"] == 1
    with closing(sqlite3.connect(world.directory / "out.db")) as connection:
        found = connection.execute("SELECT customer_key, e_mail FROM Customers ORDER BY e_mail").fetchall()
    assert found == [(key_of(number), f"***@shop{number}.com") for number in range(1, 7)] + [(key_of(7), "***@x")]


def test_files_are_polished_and_checked_like_tables(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/people.csv").write_text("Person No,EMail,Age\n1,a@b.c,30\n2,d@e.f,\n")
    (tmp_path / "hygge.yml").write_text("name: files\n")
    (tmp_path / "flows/people").mkdir(parents=True)
    flow = {
        "home": {"type": "local", "path": "in/{entity}.csv", "format": "csv"},
        "store": {"type": "local", "path": "out"},
        "polish": {"case": "snake", "mask": {"EMail": "hash"}, "hash_salt": SALT, "constants": {"source": "hr"}},
        "expectations": {"not_null": {"columns": ["Age"], "severity": "warn"}},
        "entities": ["people"],
    }
    (tmp_path / "flows/people/flow.yml").write_text(json.dumps(flow))
    result = CliRunner().invoke(app, ["go", "--project", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "not as expected: not_null(age) by 1 row" in result.output
    landed = pl.read_parquet(tmp_path / "out/people/*.parquet").sort("person_no")
    assert landed.columns == ["person_no", "e_mail", "age", "source"]
    assert landed["e_mail"].to_list() == [
        hashlib.sha256(f"{SALT}{mail}".encode()).hexdigest() for mail in ("a@b.c", "d@e.f")
    ]


SPELLINGS = """\
run_type: incremental
home: {{ type: mssql, connection: shop_db, table: "dbo.{{entity}}" }}
store: {store}
watermark: {watermark}
polish: {{ fold: true }}
entities: [Codes]
"""


@pytest.mark.parametrize("store", ["open_mirroring", "sqlite"])
@pytest.mark.parametrize("watermark", ["{ column: n }", "{ change_tracking: true }"])
def test_a_key_that_changes_its_case_alone_stays_one_row(world: PolishedShop, store: str, watermark: str) -> None:
    """The key's values are compared with the source's as it compares them, by the oracle's own folding."""
    world.sql(
        "CREATE TABLE dbo.Codes (code nvarchar(9) COLLATE Polish_CI_AS NOT NULL PRIMARY KEY, n int NOT NULL)",
        "ALTER TABLE dbo.Codes ENABLE CHANGE_TRACKING",
        "INSERT INTO dbo.Codes VALUES (N'abc', 1), (N'łąka', 2), (N'x', 3), (N'straße', 4)",
    )
    settings = world.store if store == "open_mirroring" else {"type": "sqlite", "path": "out.db"}
    flow = SPELLINGS.format(store=json.dumps(settings), watermark=watermark)
    (world.directory / "flows/shop/flow.yml").write_text(flow)
    world.load()
    world.sql(
        "UPDATE dbo.Codes SET code = N'ABC', n = 5 WHERE n = 1",
        "UPDATE dbo.Codes SET code = N'ŁĄKA ', n = 6 WHERE n = 2",
        "UPDATE dbo.Codes SET code = N'y', n = 7 WHERE n = 3",
    )
    world.load()
    if store == "sqlite":
        with closing(sqlite3.connect(world.directory / "out.db")) as connection:
            found = connection.execute("SELECT code, n FROM Codes").fetchall()
    else:
        world.replicator.tick()
        found = [(row["code"], row["n"]) for row in world.replicator.table("dbo", "Codes").to_pylist()]
    expected = {("ABC", 5), ("ŁĄKA", 6), ("Y", 7), ("STRAßE", 4)}
    if "column" in watermark:
        expected |= {("X", 3)}  # an increment by a column sees no delete
    assert sorted(found) == sorted(expected)
    if store == "sqlite" and "column" not in watermark:
        code, output = world.invoke("reconcile")
        assert code == 0, output
