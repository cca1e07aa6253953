"""Every type of SQL Server over the wire, through both drivers, and names of every kind."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from hygge_engine.errors import HomeNotFound
from hygge_engine.homes.base import ReadWindow
from tests.integration.mssql_server import DRIVERS, ServerProcess, open_home, read_all

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


EVERY_TYPE = """
CREATE TABLE dbo.everything (
    id int NOT NULL PRIMARY KEY,
    c_bit bit, c_tinyint tinyint, c_smallint smallint, c_int int, c_bigint bigint,
    c_decimal decimal(38, 38), c_numeric numeric(20, 5), c_money money, c_smallmoney smallmoney,
    c_real real, c_float float,
    c_date date, c_datetime datetime, c_smalldatetime smalldatetime, c_datetime2 datetime2(7), c_seconds datetime2(0),
    c_offset datetimeoffset(7), c_millis datetimeoffset(3), c_time time(7), c_clock time(0),
    c_char char(5), c_varchar varchar(8000), c_varcharmax varchar(max),
    c_nchar nchar(5), c_nvarchar nvarchar(4000), c_nvarcharmax nvarchar(max), c_text text, c_ntext ntext, c_xml xml,
    c_binary binary(4), c_varbinary varbinary(8000), c_varbinarymax varbinary(max), c_image image,
    c_guid uniqueidentifier, c_variant sql_variant, c_rowversion rowversion, c_computed AS c_int + 1)
"""

# (column, T-SQL of the value, what arrives): three rows of extremes.
EXTREMES: dict[str, tuple[tuple[str, object], ...]] = {
    "c_bit": (("1", True), ("0", False), ("1", True)),
    "c_tinyint": (("0", 0), ("255", 255), ("1", 1)),
    "c_smallint": (("-32768", -32768), ("32767", 32767), ("0", 0)),
    "c_int": (("-2147483648", -(2**31)), ("2147483646", 2**31 - 2), ("0", 0)),
    "c_bigint": (("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1), ("0", 0)),
    "c_decimal": (
        ("'-0.99999999999999999999999999999999999999'", Decimal("-0.99999999999999999999999999999999999999")),
        ("'0.00000000000000000000000000000000000001'", Decimal("1E-38")),
        ("'0'", Decimal("0E-38")),
    ),
    "c_numeric": (
        ("123456789012345.12345", Decimal("123456789012345.12345")),
        ("-0.00001", Decimal("-0.00001")),
        ("0", Decimal("0.00000")),
    ),
    "c_money": (
        ("-922337203685477.5808", Decimal("-922337203685477.5808")),
        ("922337203685477.5807", Decimal("922337203685477.5807")),
        ("0.0001", Decimal("0.0001")),
    ),
    "c_smallmoney": (
        ("-214748.3648", Decimal("-214748.3648")),
        ("214748.3647", Decimal("214748.3647")),
        ("1", Decimal("1.0000")),
    ),
    "c_real": (("-3.5", -3.5), ("1.5E-30", pytest.approx(1.5e-30)), ("0", 0.0)),
    "c_float": (
        ("-1.7976931348623157E308", -1.7976931348623157e308),
        ("2.2250738585072014E-308", 2.2250738585072014e-308),
        ("-0.0E0", -0.0),
    ),
    "c_date": (
        ("'0001-01-01'", date(1, 1, 1)),
        ("'9999-12-31'", date(9999, 12, 31)),
        ("'2000-02-29'", date(2000, 2, 29)),
    ),
    "c_datetime": (
        ("'1753-01-01T00:00:00.003'", datetime(1753, 1, 1, 0, 0, 0, 3000, UTC)),
        ("'9999-12-31T23:59:59.997'", datetime(9999, 12, 31, 23, 59, 59, 997000, UTC)),
        ("'2013-01-01T12:00:00.007'", datetime(2013, 1, 1, 12, 0, 0, 7000, UTC)),
    ),
    "c_smalldatetime": (
        ("'1900-01-01T00:00:00'", datetime(1900, 1, 1, tzinfo=UTC)),
        ("'2079-06-06T23:59:00'", datetime(2079, 6, 6, 23, 59, tzinfo=UTC)),
        ("'2013-01-01T12:34:00'", datetime(2013, 1, 1, 12, 34, tzinfo=UTC)),
    ),
    "c_datetime2": (
        ("'0001-01-01T00:00:00.1234567'", datetime(1, 1, 1, 0, 0, 0, 123456, UTC)),
        ("'9999-12-31T23:59:59.9999999'", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        ("'2013-01-01T12:34:56'", datetime(2013, 1, 1, 12, 34, 56, tzinfo=UTC)),
    ),
    "c_seconds": (
        ("'0001-01-01T00:00:00'", datetime(1, 1, 1, tzinfo=UTC)),
        ("'9999-12-31T23:59:59'", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("'2013-01-01T12:34:56'", datetime(2013, 1, 1, 12, 34, 56, tzinfo=UTC)),
    ),
    "c_offset": (
        ("'2013-01-01T00:00:00.1234567+14:00'", datetime(2012, 12, 31, 10, 0, 0, 123456, UTC)),
        ("'2013-01-01T00:00:00.1234567-14:00'", datetime(2013, 1, 1, 14, 0, 0, 123456, UTC)),
        ("'0001-01-01T00:00:00+00:00'", datetime(1, 1, 1, tzinfo=UTC)),
    ),
    "c_millis": (
        ("'2013-01-01T00:00:00.123+05:30'", datetime(2012, 12, 31, 18, 30, 0, 123000, UTC)),
        ("'2013-01-01T00:00:00-03:30'", datetime(2013, 1, 1, 3, 30, tzinfo=UTC)),
        ("'9999-12-31T23:59:59.999+00:00'", datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)),
    ),
    "c_time": (
        ("'00:00:00'", "00:00:00.0000000"),
        ("'23:59:59.9999999'", "23:59:59.9999999"),
        ("'12:34:56.5'", "12:34:56.5000000"),
    ),
    "c_clock": (("'00:00:00'", "00:00:00"), ("'23:59:59'", "23:59:59"), ("'12:34:56'", "12:34:56")),
    "c_char": (("'ab'", "ab   "), ("''", "     "), ("'abcde'", "abcde")),
    "c_varchar": (("''", ""), ("REPLICATE('x', 8000)", "x" * 8000), ("' a '", " a ")),
    "c_varcharmax": (("''", ""), ("REPLICATE(CAST('y' AS varchar(max)), 100000)", "y" * 100_000), ("'a'", "a")),
    "c_nchar": (("N'é'", "é    "), ("N''", "     "), ("N'ΑΒΓΔΕ'", "ΑΒΓΔΕ")),
    "c_nvarchar": (("N'😀'", "😀"), ("N''", ""), ("REPLICATE(N'ß', 4000)", "ß" * 4000)),
    "c_nvarcharmax": (("N''", ""), ("REPLICATE(CAST(N'é' AS nvarchar(max)), 100000)", "é" * 100_000), ("N'a'", "a")),
    "c_text": (("' '", " "), ("'text'", "text"), ("''", "")),
    "c_ntext": (("N'ñ'", "ñ"), ("N'n'", "n"), ("N''", "")),
    "c_xml": (("'<a b=\"1\"/>'", '<a b="1"/>'), ("'<x>é</x>'", "<x>é</x>"), ("''", "")),
    "c_binary": (("0x01020304", b"\1\2\3\4"), ("0x00000000", b"\0\0\0\0"), ("0xFFFFFFFF", b"\xff\xff\xff\xff")),
    "c_varbinary": (
        ("0x", b""),
        ("0x00FF", b"\0\xff"),
        ("CAST(REPLICATE('z', 8000) AS varbinary(8000))", b"z" * 8000),
    ),
    "c_varbinarymax": (("0x", b""), ("0x00FF", b"\0\xff"), ("0x01", b"\1")),
    "c_image": (("0x01", b"\1"), ("0x00FF", b"\0\xff"), ("0x02", b"\2")),
    "c_guid": (
        ("'6f9619ff-8b86-d011-b42d-00c04fc964ff'", "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
        ("'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000"),
        ("'ffffffff-ffff-ffff-ffff-ffffffffffff'", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"),
    ),
    "c_variant": (("CAST(1.50 AS decimal(5, 2))", "1.50"), ("N'é'", "é"), ("CAST(7 AS int)", "7")),
}


@pytest.fixture(scope="module")
def everything(server: ServerProcess) -> ServerProcess:
    server.run(EVERY_TYPE, "INSERT INTO dbo.everything (id) VALUES (0)")
    names = ", ".join(EXTREMES)
    for row in range(3):
        values = ", ".join(literals[row][0] for literals in EXTREMES.values())
        server.run(f"INSERT INTO dbo.everything (id, {names}) VALUES ({row + 1}, {values})")
    return server


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
