"""Keys without their rows: what SQL Server has sent of a key it finds again, whatever its type, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pytest

from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from tests.integration.mssql_server import DRIVERS, ServerProcess, connect, own_name

pytestmark = pytest.mark.any_server

DATABASE = own_name("keyed")

# A key's columns, and values of it.
KEYS: Mapping[str, tuple[dict[str, str], str]] = {
    "whole": ({"k": "int"}, "(-7), (0), (2147483647)"),
    "bits": ({"k": "bit", "n": "tinyint"}, "(0, 1), (1, 1), (1, 255)"),
    "exact": ({"k": "decimal(38, 5)", "m": "money"}, "(-1.5, 0.0001), (12345678901234567890.12345, -2)"),
    "ticks": ({"k": "datetime"}, "('2024-01-01T00:00:00.003'), ('2024-01-01T00:00:00.007'), ('1753-01-01')"),
    "times": ({"k": "datetime2(6)", "s": "smalldatetime"}, "('2024-01-01T00:00:00.123456', '2024-01-01T10:20:00')"),
    "zoned": ({"k": "datetimeoffset(6)"}, "('2024-01-01T00:00:00.5+02:00'), ('2024-01-01T00:00:00.5+00:00')"),
    "days": ({"k": "date", "t": "time(7)"}, "('0001-01-01', '23:59:59.1234567'), ('9999-12-31', '00:00:00')"),
    "guids": ({"k": "uniqueidentifier"}, "('6f9619ff-8b86-d011-b42d-00c04fc964ff')"),
    "texts": ({"k": "nvarchar(20) COLLATE Latin1_General_CI_AS"}, "(N'a'), (N'B '), (N''''), (N'ß🙂'), (N'')"),
    "padded": ({"k": "char(5)", "[odd ]] name]": "varchar(9)"}, "('a', 'é'), ('a', '%_['), ('', 'NULL')"),
    "bytes": ({"k": "varbinary(9)"}, "(0x), (0x00), (0x0000), (0xFF00)"),
}


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> Iterator[ServerProcess]:
    mssql_server.run(f"CREATE DATABASE {DATABASE}", database="master")
    for name, (columns, values) in KEYS.items():
        declared = ", ".join(f"{column} {type_} NOT NULL" for column, type_ in columns.items())
        mssql_server.run(
            f"CREATE TABLE dbo.{name} ({declared}, more nvarchar(max) NULL, PRIMARY KEY ({', '.join(columns)}))",
            f"INSERT INTO dbo.{name} ({', '.join(columns)}) VALUES {values}",
            database=DATABASE,
        )
    yield mssql_server
    mssql_server.run(f"USE master; DROP DATABASE {DATABASE}", database="master")


def open_keyed(server: ServerProcess, driver: str = "mssql-python", **settings: object) -> MssqlHome:
    home = MssqlHomeSettings.model_validate({"type": "mssql", "connection": "shop", **settings})
    return MssqlHome(connect(server.address, database=DATABASE, driver=driver), home)


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_is_sent_of_a_key_is_found_again(server: ServerProcess, driver: str) -> None:
    for name in KEYS:
        with open_keyed(server, driver, table=f"dbo.{name}", batch_rows=2) as home:
            key = list(home.describe().key)
            whole = pa.Table.from_batches(batch.rows for batch in home.read(ReadWindow())).select(key)
            batches = list(home.read_keys(key))
            keys = pa.Table.from_batches(batch.rows for batch in batches)
            assert keys.equals(whole), name
            rest = [batch.rows for batch in home.read_keys(key, batches[0].position)]
            assert pa.Table.from_batches([batches[0].rows, *rest], keys.schema).equals(keys), name
            (asked,) = keys.combine_chunks().to_batches()
            assert pa.Table.from_batches([home.find_rows(asked, asked.schema.names)]).equals(keys), name
            server.run(f"DELETE TOP (1) FROM dbo.{name}", database=DATABASE)
            found = home.find_rows(asked, asked.schema.names)
            assert found.schema == asked.schema
            assert found.num_rows == asked.num_rows - 1, name
            server.run(f"DELETE FROM dbo.{name}", database=DATABASE)
            assert home.find_rows(asked, asked.schema.names).num_rows == 0, name
    for name, (columns, values) in KEYS.items():
        server.run(f"INSERT INTO dbo.{name} ({', '.join(columns)}) VALUES {values}", database=DATABASE)


def test_a_plan_hears_what_keys_cost(server: ServerProcess) -> None:
    server.run("CREATE INDEX by_more ON dbo.guids (k) INCLUDE (more)", database=DATABASE)
    server.run("CREATE TABLE dbo.apart (k int NOT NULL, v int, PRIMARY KEY NONCLUSTERED (k))", database=DATABASE)
    told = {}
    for name in ("guids", "whole", "apart"):
        with open_keyed(server, table=f"dbo.{name}") as home:
            told[name] = home.key_cost(["k"])
    assert told["guids"] == (16, "by_more")
    assert told["whole"] == (4, "")
    assert told["apart"].bytes_ == 4
    assert told["apart"].covering
    with open_keyed(server, query="SELECT k, more FROM dbo.texts", key=["k"]) as home:
        assert home.key_cost(["k"]).covering is None


def test_a_declared_key_is_looked_up_as_the_server_compares_it(server: ServerProcess) -> None:
    with open_keyed(server, query="SELECT k, more FROM dbo.texts WHERE k <> N''", key=["k"]) as home:
        assert sum(batch.rows.num_rows for batch in home.read_keys(["k"])) == 4
        asked = pa.RecordBatch.from_pydict({"k": ["A", "b", "'", "gone"]})
        assert set(home.find_rows(asked, asked.schema.names).column("k").to_pylist()) == {"'", "B ", "a"}
