"""Every type of SQL Server over the wire, through both drivers, and names of every kind."""

from __future__ import annotations

import math
from contextlib import closing

import pyarrow as pa
import pytest

from hygge_engine.errors import HomeNotFound
from hygge_engine.homes.base import ReadWindow
from tests.integration.mssql_server import DRIVERS, ServerProcess, open_home, read_all
from tests.support.mssql_types import EVERY_TYPE, EXTREMES

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    return mssql_server


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def each_driver_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """mssql-python leaves values of any length to pyodbc, where that loads."""
    monkeypatch.setattr("hygge_engine.homes.mssql.home.loads_pyodbc", lambda: False)


@pytest.fixture(scope="module")
def everything(server: ServerProcess) -> ServerProcess:
    server.run(EVERY_TYPE, "INSERT INTO dbo.everything (id) VALUES (0)")
    names = ", ".join(EXTREMES)
    for row in range(3):
        values = ", ".join(literals[row][0] for literals in EXTREMES.values())
        server.run(f"INSERT INTO dbo.everything (id, {names}) VALUES ({row + 1}, {values})")
    return server


# Keys whose own order is not that of their texts, as far as there are such.
ORDERED: dict[str, tuple[str, ...]] = {
    "bit": ("0", "1"),
    "tinyint": ("9", "10", "200", "30"),
    "int": ("-1", "-20", "9", "10", "100"),
    "bigint": ("-1", "-20", "9", "10", "9223372036854775807"),
    "decimal(9,3)": ("-1.5", "-20", "9", "10.125", "100"),
    "money": ("-1.5", "-20", "9", "10.125", "1000000"),
    "real": ("-1.5", "-2E9", "9", "1E-9", "1E30"),
    "float": ("-1.5", "-2E9", "9", "1E-9", "1E30"),
    "date": ("'0999-01-01'", "'2024-01-31'", "'2024-02-01'", "'9999-12-31'"),
    "datetime": ("'2024-01-01T00:00:00'", "'2024-01-01T00:00:00.003'", "'2024-01-01T00:00:01'", "'1753-01-01'"),
    "datetime2(7)": ("'2024-01-01T00:00:00'", "'2024-01-01T00:00:00.0000001'", "'2024-01-01T00:00:01'", "'0001-01-01'"),
    "datetime2(3)": ("'2024-01-01T00:00:00'", "'2024-01-01T00:00:00.001'", "'2024-01-01T00:00:01'", "'0001-01-01'"),
    "datetimeoffset(7)": tuple(f"'2024-01-01T0{n}:00:00.000000{n}{'-+'[n % 2]}0{n}:30'" for n in range(9)),
    "datetimeoffset(0)": tuple(f"'2024-01-01T0{n}:00:0{n}{'-+'[n % 2]}0{n}:00'" for n in range(9)),
    "time(7)": ("'00:00:00'", "'00:00:00.0000001'", "'00:00:01'", "'23:59:59.9999999'"),
    "char(4)": ("'a'", "'B'", "'a-b'", "'ab'", "'Z'"),
    "nvarchar(20)": ("N'a'", "N'B'", "N'a-b'", "N'ab'", "N'ä'", "N'Z'"),
    "varbinary(4)": ("0x01", "0xFF", "0x0100", "0x7F00"),
    "uniqueidentifier": tuple(f"'{n}0000000-0000-0000-0000-{9 - n}00000000000'" for n in range(9)),
}


@pytest.mark.parametrize("type_", ORDERED)
def test_slices_follow_each_other_by_a_key_of_any_type(server: ServerProcess, type_: str) -> None:
    # An unbounded column, with which this driver takes a time as text.
    server.run(
        "DROP TABLE IF EXISTS dbo.ordered",
        f"CREATE TABLE dbo.ordered (k {type_} NOT NULL PRIMARY KEY, id int NOT NULL, note nvarchar(max))",
        "INSERT INTO dbo.ordered (id, k) VALUES "
        + ", ".join(f"({id_}, {value})" for id_, value in enumerate(ORDERED[type_])),
    )
    expected = [id_ for (id_,) in server.run("SELECT t.id FROM dbo.ordered AS t ORDER BY t.k")[0]]
    for as_text in ([], ["k"]) if type_.startswith("datetime") and type_ != "datetime" else ([],):
        with open_home(server, "dbo.ordered", batch_rows=1, as_text=as_text) as home:
            found: list[object] = []
            position = None
            while len(found) <= len(expected):
                with closing(home.read(ReadWindow(), position)) as batches:
                    batch = next(batches, None)
                    if batch is None or not batch.rows.num_rows:
                        break
                    found += batch.rows["id"].to_pylist()
                    position = batch.position
            assert found == expected


class TestTypes:
    def test_every_value_arrives_exactly(self, everything: ServerProcess, driver: str) -> None:
        with open_home(everything, "dbo.everything", driver) as home:
            rows = read_all(home)
        assert [row["id"] for row in rows] == [0, 1, 2, 3]
        for name, literals in EXTREMES.items():
            assert [row[name] for row in rows[1:]] == [value for _, value in literals], name
            assert rows[0][name] is None
        assert [row["c_computed"] for row in rows] == [None, -(2**31) + 1, 2**31 - 1, 1]
        assert math.copysign(1, rows[3]["c_float"]) == -1
        versions = [row["c_rowversion"] for row in rows]
        assert all(len(version) == 8 for version in versions)
        assert versions == sorted(set(versions))

    def test_both_drivers_deliver_the_same_batches(self, everything: ServerProcess) -> None:
        tables: list[pa.Table] = []
        for driver in DRIVERS:
            with open_home(everything, "dbo.everything", driver, keep_offset=True) as home:
                tables.append(pa.Table.from_batches([batch.rows for batch in home.read(ReadWindow())]).combine_chunks())
        assert tables[0].schema == tables[1].schema
        assert tables[0].equals(tables[1])

    def test_the_schema_comes_from_the_catalogue_also_for_no_rows(self, everything: ServerProcess, driver: str) -> None:
        with open_home(everything, "dbo.everything", driver) as home:
            described = home.describe()
            batch = next(home.read(ReadWindow()))
        everything.run("DROP TABLE IF EXISTS dbo.nothing", EVERY_TYPE.replace("dbo.everything", "dbo.nothing"))
        with open_home(everything, "dbo.nothing", driver) as home:
            assert home.describe().schema == described.schema == batch.rows.schema
            assert list(home.read(ReadWindow())) == []

    def test_what_is_lost_is_said_column_by_column(self, everything: ServerProcess) -> None:
        with open_home(everything, "dbo.everything") as home:
            losses = {column.name: column.loss for column in home.describe().columns if column.loss}
        assert set(losses) == {"c_datetime2", "c_offset", "c_millis", "c_variant"}

    def test_offsets_are_kept_on_request(self, everything: ServerProcess, driver: str) -> None:
        with open_home(everything, "dbo.everything", driver, keep_offset=True) as home:
            assert home.describe().schema.field("c_offset__offset").type == pa.int16()
            rows = read_all(home)
        assert [row["c_offset__offset"] for row in rows] == [None, 840, -840, 0]
        assert [row["c_millis__offset"] for row in rows] == [None, 330, -210, 0]

    def test_a_large_value_arrives_whole(self, server: ServerProcess, driver: str) -> None:
        server.run(
            "DROP TABLE IF EXISTS dbo.large",
            "CREATE TABLE dbo.large (id int NOT NULL PRIMARY KEY, body nvarchar(max), image varbinary(max))",
            "INSERT INTO dbo.large VALUES (1, REPLICATE(CAST(N'é' AS nvarchar(max)), 3000000), 0x01), (2, N'x', NULL)",
        )
        with open_home(server, "dbo.large", driver, batch_mb=1) as home:
            batches = list(home.read(ReadWindow()))
        assert [batch.rows.num_rows for batch in batches] == [1, 1]
        assert batches[0].rows.to_pylist()[0]["body"] == "é" * 3_000_000


class TestNames:
    def test_names_may_hold_anything(self, server: ServerProcess, driver: str) -> None:
        server.run(
            'DROP TABLE IF EXISTS dbo.[sel]]ect "table" é?]',
            'CREATE TABLE dbo.[sel]]ect "table" é?] ([order] int NOT NULL PRIMARY KEY, [a ]]? %(b)s] int, ["ü"] int)',
            'INSERT INTO dbo.[sel]]ect "table" é?] VALUES (1, 2, 3), (2, 3, 4)',
        )
        with open_home(server, '[dbo].[sel]]ect "table" é?]', driver) as home:
            assert home.describe().schema.names == ["order", "a ]? %(b)s", '"ü"']
            assert read_all(home) == [
                {"order": 1, "a ]? %(b)s": 2, '"ü"': 3},
                {"order": 2, "a ]? %(b)s": 3, '"ü"': 4},
            ]

    def test_placeholders_in_names_and_literals_are_none(self, server: ServerProcess, driver: str) -> None:
        query = "SELECT 1 AS id, '? %(a)s 100%' AS [%(b)s ?]"
        with open_home(server, None, driver, query=query, key=["id"]) as home:
            assert read_all(home, after=["0"]) == [{"id": 1, "%(b)s ?": "? %(a)s 100%"}]

    def test_an_unknown_table_is_named_with_the_nearest_one(self, everything: ServerProcess, driver: str) -> None:
        with (
            open_home(everything, "dbo.everythin", driver) as home,
            pytest.raises(HomeNotFound, match=r"no table or view dbo\.everythin.*Did you mean `dbo\.everything`"),
        ):
            home.describe()

    def test_an_unknown_column_is_named_with_the_nearest_one(self, everything: ServerProcess) -> None:
        with (
            open_home(everything, "dbo.everything") as home,
            pytest.raises(HomeNotFound, match=r"no column 'c_moneys'\. Did you mean `c_money`"),
        ):
            home.high_water("c_moneys")

    def test_a_column_is_found_whatever_its_case(self, everything: ServerProcess) -> None:
        with open_home(everything, "dbo.everything") as home:
            assert home.high_water("C_INT").value == str(2**31 - 2)
