"""A load end to end from any SQL Server into any SQL Server: `make test-real SQL_SERVER=host,port`.

The login comes from SQL_USERNAME and SQL_PASSWORD, and has to be allowed to create databases. One with a name of
its own is made and dropped again.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app

SERVER = os.environ.get("SQL_SERVER", "")

pytestmark = pytest.mark.skipif(not SERVER, reason="`make test-real SQL_SERVER=…` names a server")

HYGGE = """\
name: real
connections:
  here: {{ type: mssql, server: "${{SQL_SERVER}}", database: {database}, auth: sql, username: "${{SQL_USERNAME}}",
          password: "${{SQL_PASSWORD}}", trust_server_certificate: true, encrypt: {encrypt} }}
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


def encrypted() -> str:
    return os.environ.get("SQL_ENCRYPT", "true")


def connect(database: str = "master") -> Any:
    import mssql_python

    login = f"UID={os.environ['SQL_USERNAME']};PWD={{{os.environ['SQL_PASSWORD']}}}"
    encrypt = "yes" if encrypted() == "true" else "no"
    return mssql_python.connect(
        f"Server={SERVER};Database={database};{login};Encrypt={encrypt};TrustServerCertificate=yes", autocommit=True
    )


@pytest.fixture
def database() -> Iterator[str]:
    name = f"hygge_test_{uuid.uuid4().hex[:8]}"
    with connect() as server:
        server.cursor().execute(f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        drop(name)


def drop(name: str) -> None:
    """Drop a database, and end the sessions that a pool may keep in it."""
    import mssql_python

    with connect() as server:
        try:
            server.cursor().execute(f"DROP DATABASE {name}")
        except mssql_python.Error:
            server.cursor().execute(f"ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
            server.cursor().execute(f"DROP DATABASE {name}")


def hygge(project: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--project", str(project)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("store", STORES)
def test_a_table_and_its_changes_arrive(database: str, store: str, tmp_path: Path) -> None:
    (tmp_path / "flows/orders").mkdir(parents=True)
    (tmp_path / "hygge.yml").write_text(HYGGE.format(database=database, encrypt=encrypted()))
    (tmp_path / "flows/orders/flow.yml").write_text(FLOW.format(store=STORES[store]))
    with connect(database) as source:
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
