"""Tables, views and queries as sources; reading on after any row; servers with a poor catalogue."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pytest

from hygge_engine.errors import HomeError, HomeNotFound
from hygge_engine.homes.base import Position, ReadWindow
from hygge_engine.homes.mssql import catalogue
from hygge_engine.homes.mssql import home as home_module
from hygge_engine.homes.mssql.checks import check_connection, check_source
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from tests.integration.mssql_server import DRIVERS, ServerProcess, connect, open_home, read_all

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    return mssql_server


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sources(server: ServerProcess) -> None:
    server.run(
        "CREATE TABLE dbo.orders (id int NOT NULL, line int NOT NULL, item nvarchar(20), PRIMARY KEY (id, line))",
        "INSERT INTO dbo.orders VALUES (1, 1, N'a'), (1, 2, N'b'), (2, 1, N'c')",
        "CREATE VIEW dbo.items AS SELECT id, line, item FROM dbo.orders",
        "CREATE TABLE dbo.heap (a int, b int)",
        "INSERT INTO dbo.heap VALUES (1, 2), (1, 2)",
        "CREATE TABLE dbo.unique_key (a int, b int NOT NULL UNIQUE)",
        "CREATE TABLE dbo.nullable_key (a int NULL UNIQUE, b int)",
    )


@pytest.mark.usefixtures("sources")
class TestSources:
    @pytest.mark.parametrize(
        ("table", "key"),
        [
            ("dbo.orders", ("id", "line")),
            ("dbo.unique_key", ("b",)),
            ("dbo.nullable_key", ()),
            ("dbo.heap", ()),
            ("dbo.items", ()),
        ],
    )
    def test_the_key_is_the_primary_key_or_a_unique_index_without_nulls(
        self, server: ServerProcess, table: str, key: tuple[str, ...]
    ) -> None:
        with open_home(server, table) as home:
            assert home.describe().key == key

    def test_the_catalogue_counts_rows(self, server: ServerProcess) -> None:
        with open_home(server, "dbo.orders") as home:
            assert home.describe().approximate_rows == 3

    def test_a_view_is_read_in_slices_once_its_key_is_told(self, server: ServerProcess, driver: str) -> None:
        with open_home(server, "dbo.items", driver, key=["id", "line"]) as home:
            assert home.describe().key == ("id", "line")
            assert [row["item"] for row in read_all(home, after=["1", "1"])] == ["b", "c"]

    def test_a_query_is_a_source(self, server: ServerProcess, driver: str) -> None:
        query = "SELECT id, COUNT(*) AS lines, MAX(item) AS last_item FROM dbo.orders GROUP BY id"
        with open_home(server, None, driver, query=query, key=["id"]) as home:
            assert home.describe().schema.names == ["id", "lines", "last_item"]
            assert read_all(home, after=["1"]) == [{"id": 2, "lines": 1, "last_item": "c"}]

    def test_a_query_is_described_without_being_run_and_read_in_a_transaction_that_is_rolled_back(
        self, server: ServerProcess, driver: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        query = "SELECT @@TRANCOUNT AS depth -- ) AS a; DROP TABLE dbo.orders"

        def open_noting(connection: MssqlConnection) -> Session:
            session = open_session(connection)
            for verb in ("fetch_all", "stream"):
                monkeypatch.setattr(session, verb, partial(note, getattr(session, verb)))
            return session

        def note(verb: Callable[..., Any], sql: str, *arguments: Any, **keys: Any) -> Any:
            asked.append(sql)
            return verb(sql, *arguments, **keys)

        monkeypatch.setattr(home_module, "open_session", open_noting)
        with open_home(server, None, driver, query=query) as home:
            assert home.describe().schema.names == ["depth"]
            assert not [sql for sql in asked if "@@TRANCOUNT AS depth" in sql]
            assert read_all(home) == [{"depth": 1}]
        assert asked[0].startswith("BEGIN TRANSACTION")
        assert [sql for sql in asked if "@@TRANCOUNT AS depth" in sql]
        assert "ROLLBACK TRANSACTION" in asked[-1]

    def test_hygge_doctor_looks_at_a_query_in_a_transaction_that_is_rolled_back(
        self, server: ServerProcess, driver: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def note(verb: Callable[..., Any], sql: str, *arguments: Any, **keys: Any) -> Any:
            asked.append(sql)
            return verb(sql, *arguments, **keys)

        for query, result in [
            ("SELECT id AS here FROM dbo.orders", "ok"),
            ("SELECT nope AS here FROM dbo.x", "failed"),
        ]:
            asked.clear()
            checks, session = check_connection(connect(server.address, driver))
            assert session is not None, checks
            with closing(session):
                for verb in ("fetch_all", "stream"):
                    monkeypatch.setattr(session, verb, partial(note, getattr(session, verb)))
                found = check_source(session, MssqlHomeSettings(connection="shop", query=query))
            assert found[0].result == result
            run = [number for number, sql in enumerate(asked) if "AS here" in sql]
            assert "BEGIN TRANSACTION" in asked[0]
            assert "ROLLBACK TRANSACTION" in asked[-1]
            assert all(0 < number < len(asked) - 1 for number in run)
            assert run or result == "failed"

    def test_a_query_that_the_server_refuses_is_an_error_with_its_reason(
        self, server: ServerProcess, driver: str
    ) -> None:
        with (
            open_home(server, None, driver, query="SELECT nope FROM dbo.orders") as home,
            pytest.raises(HomeNotFound, match="Invalid column name 'nope'"),
        ):
            home.describe()

    def test_a_column_of_a_query_needs_a_name(self, server: ServerProcess, driver: str) -> None:
        with (
            open_home(server, None, driver, query="SELECT id, line + 1 FROM dbo.orders") as home,
            pytest.raises(HomeError, match=r"Column 2 of the query has no name\. Name it with AS"),
        ):
            home.describe()

    def test_a_table_without_a_key_has_no_position(self, server: ServerProcess) -> None:
        with open_home(server, "dbo.heap") as home:
            batches = list(home.read(ReadWindow()))
        assert [(batch.rows.num_rows, batch.position) for batch in batches] == [(2, None)]


# Key types, with values in the order in which SQL Server sorts them.
KEYS: dict[str, list[str]] = {
    "bigint": ["-9223372036854775808", "-1", "0", "9223372036854775807"],
    "decimal(38, 10)": ["'-1.0000000001'", "'-1'", "'0.0000000001'", "'9999999999999999999999999999.9999999999'"],
    "money": ["-1.0001", "0", "0.0001", "922337203685477.5807"],
    "float": ["-1E300", "-0.1E0", "0.1E0", "0.30000000000000004E0"],
    "date": ["'0001-01-01'", "'2012-02-29'", "'9999-12-31'"],
    "datetime": ["'2013-01-01T00:00:00.000'", "'2013-01-01T00:00:00.003'", "'2013-01-01T00:00:00.007'"],
    "smalldatetime": ["'2013-01-01T00:00:00'", "'2013-01-01T00:01:00'"],
    "datetime2(7)": [
        "'2013-01-01T00:00:00.1234566'",
        "'2013-01-01T00:00:00.1234567'",
        "'2013-01-01T00:00:00.1234568'",
        "'9999-12-31T23:59:59.9999999'",
    ],
    "datetimeoffset(7)": [
        "'2013-01-01T02:00:00.1234566+02:00'",
        "'2012-12-31T23:00:00.1234567-01:00'",
        "'2013-01-01T00:00:00.1234568+00:00'",
    ],
    "time(7)": ["'00:00:00.0000001'", "'00:00:00.0000002'", "'23:59:59.9999999'"],
    "varchar(20)": ["''", "'a'", "'a b'", "'b'"],
    "nvarchar(20)": ["N'a'", "N'b'", "N'ß'"],
    "varbinary(20)": ["0x00", "0x0001", "0x01", "0xFF"],
    # The last group of digits counts first.
    "uniqueidentifier": [
        "'FFFFFFFF-FFFF-FFFF-FFFF-000000000001'",
        "'00000000-0000-0000-0000-000000000002'",
        "'01000000-0000-0000-0000-000000000002'",
        "'00000000-0000-0000-0000-010000000000'",
    ],
}


class TestResuming:
    @pytest.mark.parametrize("key_type", KEYS)
    def test_reading_goes_on_after_every_row_of_every_key_type(
        self, server: ServerProcess, driver: str, key_type: str
    ) -> None:
        values = KEYS[key_type]
        server.run(
            "DROP TABLE IF EXISTS dbo.keyed",
            f"CREATE TABLE dbo.keyed (k {key_type} NOT NULL PRIMARY KEY, n int NOT NULL)",
            *(f"INSERT INTO dbo.keyed VALUES ({value}, {number})" for number, value in enumerate(values)),
        )
        seen: list[int | None] = []
        position: Position | None = None
        with open_home(server, "dbo.keyed", driver, batch_rows=1) as home:
            while True:
                with closing(home.read(ReadWindow(), position)) as batches:
                    batch = next(batches, None)
                if batch is None:
                    break
                seen += batch.rows.column("n").to_pylist()
                position = batch.position
        assert seen == list(range(len(values)))

    def test_a_composite_key_is_compared_as_a_row(self, server: ServerProcess, driver: str) -> None:
        server.run(
            "DROP TABLE IF EXISTS dbo.composite",
            "CREATE TABLE dbo.composite (a int NOT NULL, b varchar(5) NOT NULL, c int NOT NULL, PRIMARY KEY (a, b, c))",
            *(f"INSERT INTO dbo.composite VALUES ({n // 9}, '{'xyz'[n // 3 % 3]}', {n % 3})" for n in range(27)),
        )
        with open_home(server, "dbo.composite", driver, batch_rows=4) as home:
            whole = read_all(home)
            positions = [batch.position for batch in home.read(ReadWindow())]
            assert len(whole) == 27
            for number, position in enumerate(positions):
                assert read_all(home, after=position) == whole[4 * (number + 1) :]

    def test_closing_early_stops_the_server_and_leaves_the_connection_usable(
        self, server: ServerProcess, driver: str
    ) -> None:
        server.run(
            "DROP TABLE IF EXISTS dbo.long",
            "CREATE TABLE dbo.long (id int NOT NULL PRIMARY KEY, filler char(200))",
            "INSERT INTO dbo.long VALUES " + ", ".join(f"({number}, 'x')" for number in range(100)),
            *(f"INSERT INTO dbo.long SELECT id + {100 << n}, filler FROM dbo.long" for n in range(8)),
        )
        with open_home(server, "dbo.long", driver, batch_rows=100) as home:
            batches = home.read(ReadWindow())
            assert next(batches).rows.num_rows == 100
            batches.close()
            assert home.count_at("id", "7") == 1
            assert sum(batch.rows.num_rows for batch in home.read(ReadWindow())) == 100 << 8


class TestPoorCatalogues:
    """Servers that speak the protocol without having all of the catalogue."""

    @pytest.fixture
    def without_sys(self, server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> ServerProcess:
        monkeypatch.setattr(catalogue, "_OBJECT", catalogue._OBJECT.replace("sys.objects", "sys.missing"))
        server.run(
            "DROP TABLE IF EXISTS dbo.plain",
            "CREATE TABLE dbo.plain (id bigint NOT NULL PRIMARY KEY, price decimal(38, 10), at datetime2(7), "
            "name nvarchar(50), code nchar(5), t time)",
            "INSERT INTO dbo.plain VALUES (1, 1, NULL, N'a', N'x', NULL), (2, 2.5, '2013-01-01', N'é', N'y', '12:00')",
        )
        return server

    def test_information_schema_knows_the_same_types_and_key(self, without_sys: ServerProcess, driver: str) -> None:
        with open_home(without_sys, "dbo.plain", driver) as home:
            poor = home.describe()
            assert [row["id"] for row in read_all(home, after=["1"])] == [2]
        assert poor.key == ("id",)
        assert poor.approximate_rows is None
        assert [column.source_type for column in poor.columns] == [
            "bigint",
            "decimal(38,10)",
            "datetime2(7)",
            "nvarchar(50)",
            "nchar(5)",
            "time(7)",
        ]

    def test_an_empty_result_tells_the_columns_where_nothing_else_does(
        self, without_sys: ServerProcess, driver: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = catalogue._STANDARD_COLUMNS.replace("INFORMATION_SCHEMA.COLUMNS", "INFORMATION_SCHEMA.MISSING")
        monkeypatch.setattr(catalogue, "_STANDARD_COLUMNS", missing)
        with open_home(without_sys, "dbo.plain", driver, key=["id"]) as home:
            poor = home.describe()
            rows = read_all(home, after=["1"])
        assert poor.schema.types == [
            pa.int64(),
            pa.decimal128(38, 10),
            pa.timestamp("us", "UTC"),
            pa.string(),
            pa.string(),
            pa.string(),
        ]
        assert [(row["id"], row["price"], row["name"], row["t"]) for row in rows] == [
            (2, Decimal("2.5000000000"), "é", "12:00:00.0000000")
        ]

    @pytest.mark.usefixtures("sources")
    def test_a_query_is_described_without_the_procedure_for_it(
        self, server: ServerProcess, driver: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(catalogue, "_RESULT_SET", "EXEC sp_no_such_thing @tsql = ?")
        query = "SELECT id, line, item, SYSDATETIME() AS at FROM dbo.orders"
        with open_home(server, None, driver, query=query, key=["id", "line"]) as home:
            expected = [pa.int32(), pa.int32(), pa.string(), pa.timestamp("us", "UTC")]
            assert home.describe().schema.types == expected
            assert [row["item"] for row in read_all(home, after=["1", "2"])] == ["c"]
