"""Of the SQL Server emulator, as the engine meets them: grants on columns, renamed columns, names with ``];``, WITH,
and tracking that begins again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from hygge_engine.errors import HomePermissionDenied
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.project.models.settings import CHANGE_TRACKING
from tests.integration.mssql_server import DRIVERS, READER_PASSWORD, ServerProcess, connect, read_all

DATABASE = "grants"


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    mssql_server.run(f"CREATE DATABASE {DATABASE}")
    mssql_server.run(
        "CREATE USER reader FOR LOGIN reader",
        "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, name nvarchar(9), salary int)",
        "INSERT INTO dbo.t VALUES (1, N'a', 100)",
        "CREATE VIEW dbo.names AS WITH n AS (SELECT id, name FROM dbo.t) SELECT id, name FROM n",
        database=DATABASE,
    )
    return mssql_server


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_home(server: ServerProcess, driver: str, *, login: str = "sa", **keys: object) -> MssqlHome:
    settings = MssqlHomeSettings.model_validate({"type": "mssql", "connection": "shop", **keys})
    user = {} if login == "sa" else {"username": login, "password": READER_PASSWORD}
    return MssqlHome(connect(server.address, driver, database=DATABASE, **user), settings)


@pytest.mark.parametrize(
    "grants",
    [
        ["GRANT SELECT ON dbo.t (id, name) TO reader"],
        ["GRANT SELECT (id, name) ON dbo.t TO reader"],
        ["GRANT SELECT ON dbo.t TO reader", "DENY SELECT ON dbo.t (salary) TO reader"],
    ],
)
def test_a_login_reads_the_columns_that_it_may(server: ServerProcess, driver: str, grants: list[str]) -> None:
    server.run(*grants, database=DATABASE)
    try:
        with (
            open_home(server, driver, login="reader", table="dbo.t") as home,
            pytest.raises(HomePermissionDenied, match="column 'salary'"),
        ):
            read_all(home)
        with open_home(server, driver, login="reader", query="SELECT id, name FROM dbo.t", key=["id"]) as home:
            assert read_all(home) == [{"id": 1, "name": "a"}]
    finally:
        server.run("REVOKE SELECT ON dbo.t (id, name, salary) TO reader", database=DATABASE)
        server.run("REVOKE SELECT ON dbo.t TO reader", database=DATABASE)
    with open_home(server, driver, login="reader", table="dbo.t") as home, pytest.raises(HomePermissionDenied):
        read_all(home)


def test_what_a_login_lacks_as_a_store_is_named_by_plan_and_doctor(server: ServerProcess, tmp_path: Path) -> None:
    store = {"type": "mssql", "connection": "shop", "table_name": "landed", "journal_folder": {"path": "journal"}}
    login = connect(server.address, database=DATABASE, username="reader", password=READER_PASSWORD).model_dump(
        mode="json", exclude_defaults=True
    )
    connections = {"shop": login | {"type": "mssql", "password": READER_PASSWORD}}
    home = {"type": "mssql", "connection": "shop", "table": "dbo.t"}
    flow = {"run_type": "full_drop", "home": home, "store": store, "entities": ["t"]}
    (tmp_path / "flows/grants").mkdir(parents=True)
    (tmp_path / "hygge.yml").write_text(json.dumps({"name": "grants", "connections": connections}))
    (tmp_path / "flows/grants/flow.yml").write_text(json.dumps(flow))
    server.run("GRANT SELECT, INSERT ON SCHEMA::dbo TO reader", database=DATABASE)
    try:
        for command in ("plan", "doctor", "go"):
            result = CliRunner().invoke(app, [command, "--project", str(tmp_path)])
            assert result.exit_code == 1, result.output
            lacking = "CREATE TABLE, ALTER on the schema dbo, UPDATE on the schema dbo, DELETE on the schema dbo"
            assert (f"the login lacks {lacking}" in result.output) == (command != "go"), result.output
            assert "Grant the login CREATE TABLE on the database" in result.output
    finally:
        server.run("REVOKE SELECT, INSERT ON SCHEMA::dbo FROM reader", database=DATABASE)


@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO dbo.s OUTPUT inserted.w VALUES (3, 3, 3)",
        "UPDATE dbo.s SET v = w OUTPUT inserted.w WHERE s.w = 2",
        "UPDATE s SET v = w OUTPUT inserted.w FROM dbo.s JOIN dbo.other AS o ON o.id = s.w",
        "UPDATE x SET v = x.w OUTPUT inserted.w FROM dbo.s AS x WHERE x.w = 2",
        "DELETE dbo.s OUTPUT deleted.w FROM dbo.s WHERE s.w = 2",
    ],
)
def test_by_a_synonym_a_login_writes_what_its_grants_on_the_synonym_allow(server: ServerProcess, write: str) -> None:
    server.run(
        "CREATE TABLE dbo.hidden (id int NOT NULL PRIMARY KEY, v int, w int)",
        "INSERT INTO dbo.hidden VALUES (1, 1, 1), (2, 2, 2)",
        "CREATE TABLE dbo.other (id int NOT NULL PRIMARY KEY)",
        "INSERT INTO dbo.other VALUES (2)",
        "CREATE SYNONYM dbo.s FOR dbo.hidden",
        *(f"GRANT {verb} ON dbo.s TO reader" for verb in ("INSERT", "UPDATE", "DELETE", "SELECT")),
        "GRANT SELECT ON dbo.other TO reader",
        "DENY SELECT ON dbo.hidden (w) TO reader",
        database=DATABASE,
    )
    login = {"username": "reader", "password": READER_PASSWORD}
    session = open_session(connect(server.address, database=DATABASE, **login))
    try:
        assert len(session.fetch_all(write, doing="writing")) == 1
        server.run("REVOKE SELECT ON dbo.s TO reader", database=DATABASE)
        with pytest.raises(HomePermissionDenied, match="object 's'"):
            session.fetch_all(write, doing="writing")
    finally:
        session.close()
        server.run("DROP SYNONYM dbo.s", "DROP TABLE dbo.hidden", "DROP TABLE dbo.other", database=DATABASE)


def test_a_column_has_its_new_name(server: ServerProcess) -> None:
    server.run(
        "CREATE TABLE dbo.renamed (id int NOT NULL PRIMARY KEY, [old]];name] int UNIQUE)",
        "INSERT INTO dbo.renamed VALUES (1, 7)",
        "EXEC sp_rename 'dbo.renamed.[old]];name]', 'new', 'COLUMN'",
        "EXEC sp_rename 'dbo.renamed.id', 'number', 'COLUMN'",
        database=DATABASE,
    )
    with open_home(server, "mssql-python", table="dbo.renamed") as home:
        assert home.describe().key == ("number",)
        assert read_all(home) == [{"number": 1, "new": 7}]


def test_names_end_where_their_brackets_do(server: ServerProcess, driver: str) -> None:
    name = f"a]; DROP TABLE dbo.t; --{driver}"
    server.run(f"CREATE TABLE {quote(name)} (id int NOT NULL PRIMARY KEY, {quote(name)} int)", database=DATABASE)
    session = open_session(connect(server.address, driver, database=DATABASE))
    rows = pa.record_batch({"id": pa.array([1], pa.int32()), name: pa.array([2], pa.int32())})
    session.insert(f"[dbo].{quote(name)}", rows, doing="inserting")
    session.close()
    with open_home(server, driver, table=quote(name)) as home:
        assert read_all(home, ReadWindow(name, None, home.high_water(name).value)) == [{"id": 1, name: 2}]


def test_common_tables_stand_where_sql_server_has_them(server: ServerProcess, driver: str) -> None:
    with open_home(server, driver, table="dbo.names", key=["id"]) as home:
        assert read_all(home) == [{"id": 1, "name": "a"}]
    with pytest.raises(AssertionError, match="156"):
        server.run("SELECT * FROM (WITH n AS (SELECT 1 AS a) SELECT a FROM n) AS s", database=DATABASE)


def test_versions_begin_again_where_tracking_was_off(server: ServerProcess) -> None:
    on = [f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = ON", "ALTER TABLE dbo.t ENABLE CHANGE_TRACKING"]
    server.run(*on, *(f"UPDATE dbo.t SET salary = {n}" for n in (1, 2, 3)), database=DATABASE)
    with open_home(server, "mssql-python", table="dbo.t") as home:
        assert home.high_water(CHANGE_TRACKING).value == "3"
        off = ["ALTER TABLE dbo.t DISABLE CHANGE_TRACKING", f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = OFF"]
        server.run(*off, *on, database=DATABASE)
        high = home.high_water(CHANGE_TRACKING)
        assert (high.value, high.oldest) == ("0", "0")
