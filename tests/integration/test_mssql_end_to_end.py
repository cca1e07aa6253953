"""Loads from a SQL Server into the same, and into files: from `hygge doctor` to `hygge reconcile`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from tests.integration.mssql_server import ADMINISTRATOR, ServerProcess, log_in, own_name

pytestmark = pytest.mark.any_server

HYGGE = """\
name: real
connections:
  here: {connection}
"""
FLOW = """\
run_type: incremental
home: {{ type: mssql, connection: here, table: "dbo.{{entity}}" }}
store: {store}
watermark: {{ column: modified }}
journal: {{ location: ./journal }}
entities: [orders]
"""
STORES = {
    "mssql": "{ type: mssql, connection: here, schema_name: landed }",
    "files": "{ type: local, path: warehouse, incremental: false }",
}


@pytest.fixture
def database(mssql_server: ServerProcess) -> Iterator[str]:
    name = own_name("real")
    mssql_server.run(f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        mssql_server.run(f"DROP DATABASE {name}")


def hygge(project: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--project", str(project)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("store", STORES)
def test_a_table_and_its_changes_arrive(mssql_server: ServerProcess, database: str, store: str, tmp_path: Path) -> None:
    (tmp_path / "flows/orders").mkdir(parents=True)
    connection = {"type": "mssql", "server": mssql_server.address, "database": database, **ADMINISTRATOR}
    (tmp_path / "hygge.yml").write_text(HYGGE.format(connection=json.dumps(connection)))
    (tmp_path / "flows/orders/flow.yml").write_text(FLOW.format(store=STORES[store]))
    with log_in(mssql_server.address, database, autocommit=True) as source:
        cursor = source.cursor()
        cursor.execute("CREATE SCHEMA landed")
        cursor.execute(
            "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, name nvarchar(50) NULL, price decimal(18, 4) NULL, "
            "modified datetime2(3) NOT NULL)"
        )
        cursor.execute(
            "INSERT INTO dbo.orders VALUES (1, N'größe', 1.5, '2024-01-01'), (2, NULL, NULL, '2024-01-02'), "
            "(3, N'日付', -0.0001, '2024-01-03')"
        )
        hygge(tmp_path, "doctor")
        hygge(tmp_path, "go", "--json")
        assert json.loads(hygge(tmp_path, "reconcile", "--json"))["entities"][0]["verdict"] == "equal"
        cursor.execute("UPDATE dbo.orders SET name = N'changed', modified = '2024-02-01' WHERE id = 2")
        cursor.execute("INSERT INTO dbo.orders VALUES (4, N'new', 4, '2024-02-02')")
        hygge(tmp_path, "go", "--json")
        found = json.loads(hygge(tmp_path, "reconcile", "--json"))["entities"][0]
    assert (found["verdict"], found["source_rows"], found["destination_rows"]) == ("equal", 4, 4)
