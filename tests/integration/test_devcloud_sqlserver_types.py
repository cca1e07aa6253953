"""Every type of the design's table, with NULLs and extremes, as both drivers read it."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from devcloud.sqlserver.child import run_in_child
from tests.integration.sqlserver_clients import mssql, odbc

UTC = datetime.UTC
GUID = "6F9619FF-8B86-D011-B42D-00C04FC964FF"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_in_child(databases=("db",)) as address:
        yield address


CASES: list[tuple[str, str, Any]] = [
    ("bit", "1", True),
    ("bit", "0", False),
    ("tinyint", "255", 255),
    ("smallint", "-32768", -32768),
    ("int", "-2147483648", -(2**31)),
    ("int", "2147483647", 2**31 - 1),
    ("bigint", "-9223372036854775808", -(2**63)),
    ("bigint", "9223372036854775807", 2**63 - 1),
    ("decimal(5,2)", "-999.99", Decimal("-999.99")),
    ("decimal(9,0)", "999999999", Decimal(999999999)),
    ("decimal(18,6)", "-123456789012.345678", Decimal("-123456789012.345678")),
    ("decimal(19,4)", "999999999999999.9999", Decimal("999999999999999.9999")),
    ("decimal(28,10)", "-123456789012345678.0123456789", Decimal("-123456789012345678.0123456789")),
    ("numeric(38,10)", "1234567890123456789012345678.0123456789", Decimal("1234567890123456789012345678.0123456789")),
    ("decimal(38,0)", "-99999999999999999999999999999999999999", Decimal("-99999999999999999999999999999999999999")),
    ("decimal(38,38)", "0.00000000000000000000000000000000000001", Decimal("1E-38")),
    ("money", "-922337203685477.5808", Decimal("-922337203685477.5808")),
    ("money", "922337203685477.5807", Decimal("922337203685477.5807")),
    ("smallmoney", "-214748.3648", Decimal("-214748.3648")),
    ("real", "1.5", 1.5),
    ("float", "-1.7976931348623157e308", -1.7976931348623157e308),
    ("float", "0.1", 0.1),
    ("date", "'0001-01-01'", datetime.date(1, 1, 1)),
    ("date", "'9999-12-31'", datetime.date(9999, 12, 31)),
    ("datetime", "'1753-01-01T00:00:00.003'", datetime.datetime(1753, 1, 1, 0, 0, 0, 3000)),
    ("datetime", "'9999-12-31T23:59:59.997'", datetime.datetime(9999, 12, 31, 23, 59, 59, 997000)),
    ("datetime", "'2024-02-29T12:00:00.005'", datetime.datetime(2024, 2, 29, 12, 0, 0, 7000)),
    ("smalldatetime", "'2079-06-06T23:59:29'", datetime.datetime(2079, 6, 6, 23, 59)),
    ("smalldatetime", "'1900-01-01'", datetime.datetime(1900, 1, 1)),
    ("datetime2(7)", "'0001-01-01T00:00:00.0000010'", datetime.datetime(1, 1, 1, 0, 0, 0, 1)),
    ("datetime2(7)", "'9999-12-31T23:59:59.9999990'", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ("datetime2(0)", "'2024-05-06T07:08:09.5'", datetime.datetime(2024, 5, 6, 7, 8, 10)),
    ("datetime2(3)", "'2024-05-06T07:08:09.1235'", datetime.datetime(2024, 5, 6, 7, 8, 9, 124000)),
    ("time(7)", "'23:59:59.9999990'", datetime.time(23, 59, 59, 999999)),
    ("time(0)", "'12:34:56'", datetime.time(12, 34, 56)),
    ("char(5)", "'ab'", "ab   "),
    ("varchar(20)", "N'é€ü漢'", "é€ü?"),
    ("varchar(20)", "''", ""),
    ("nchar(3)", "N'漢'", "漢  "),
    ("nchar(4)", "N'😀漢'", "😀漢 "),
    ("nchar(3)", "CAST(N'é😀😀' AS nchar(4))", "é😀"),
    ("nvarchar(3)", "CAST(REPLICATE(N'😀', 3) AS nvarchar(3))", "😀"),
    ("nvarchar(20)", "N'😀漢é'", "😀漢é"),
    ("varchar(max)", "REPLICATE(CAST('x' AS varchar(max)), 100000)", "x" * 100_000),
    ("varchar(max)", "''", ""),
    ("nvarchar(max)", "N'漢😀max'", "漢😀max"),
    ("text", "'text é'", "text é"),
    ("ntext", "N'ntext 漢'", "ntext 漢"),
    ("xml", "N'<a>漢</a>'", "<a>漢</a>"),
    ("binary(4)", "0x0102", b"\x01\x02\x00\x00"),
    ("varbinary(10)", "0x", b""),
    ("varbinary(10)", "0xFF00", b"\xff\x00"),
    ("varbinary(max)", "0xABCDEF", b"\xab\xcd\xef"),
    ("image", "0x00FF", b"\x00\xff"),
    ("uniqueidentifier", f"'{GUID}'", uuid.UUID(GUID)),
]


def _plain(value: Any) -> Any:
    """Make equal what the drivers make of a uniqueidentifier."""
    return uuid.UUID(value) if isinstance(value, str) and len(value) == 36 and value.count("-") == 4 else value


@pytest.fixture(scope="module")
def table(address: str) -> str:
    """A table with a column per case; its second row is NULL throughout."""
    columns = ", ".join(f"c{place} {kind} NULL" for place, (kind, _, _) in enumerate(CASES))
    values = ", ".join(literal for _, literal, _ in CASES)
    with odbc(address, "db") as connection:
        connection.execute(f"CREATE TABLE dbo.cases (id int PRIMARY KEY, {columns})")
        connection.execute(f"INSERT INTO dbo.cases VALUES (1, {values})")
        connection.execute("INSERT INTO dbo.cases (id) VALUES (2)")
    return "dbo.cases"


@pytest.mark.parametrize("connect", [mssql, odbc])
def test_values_arrive_as_they_were_written(connect: Any, address: str, table: str) -> None:
    with connect(address, "db") as connection:
        cursor = connection.cursor()
        first, second = cursor.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
        found = {
            f"{kind} {literal[:40]}": _plain(value) for (kind, literal, _), value in zip(CASES, first[1:], strict=True)
        }
        expected = {f"{kind} {literal[:40]}": value for kind, literal, value in CASES}
        assert found == expected
        assert set(second[1:]) == {None}


def test_arrow_sees_the_same_values(address: str, table: str) -> None:
    with mssql(address, "db") as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {table} ORDER BY id")
        reader = cursor.arrow_reader(batch_size=10)
        rows = [row for batch in reader for row in batch.to_pylist()]
    found = [_plain(value) for value in list(rows[0].values())[1:]]
    for (kind, literal, expected), value in zip(CASES, found, strict=True):
        assert value == expected, f"{kind} {literal}"
    assert set(list(rows[1].values())[1:]) == {None}


def test_types_survive_null_and_not_null_columns_of_many_rows(address: str) -> None:
    with mssql(address, "db") as connection:
        cursor = connection.cursor()
        cursor.execute(
            "CREATE TABLE dbo.many (id int NOT NULL PRIMARY KEY, fixed bigint NOT NULL, loose bigint NULL, "
            "price decimal(20, 4) NULL, name nvarchar(50) NULL, narrow varchar(50) NULL, large nvarchar(max) NULL, "
            "at datetime2(3) NULL, guid uniqueidentifier NULL)"
        )
        cursor.execute(
            "INSERT INTO dbo.many SELECT value, value * 10, CASE WHEN value % 3 <> 0 THEN value END, "
            "CASE WHEN value % 4 <> 0 THEN -value / 7.0 END, "
            "CASE WHEN value % 5 <> 0 THEN CONCAT(N'漢字 ', value) END, "
            "CASE WHEN value % 6 <> 0 THEN CONCAT('é ', value) END, "
            "CASE WHEN value % 7 <> 0 THEN REPLICATE(N'😀', value % 9) END, "
            "CASE WHEN value % 2 = 0 THEN DATEADD(millisecond, value, CAST('2024-01-01' AS datetime2(3))) END, NULL "
            "FROM GENERATE_SERIES(1, 30000)"
        )
        assert cursor.rowcount == 30_000
        cursor.execute("SELECT * FROM dbo.many ORDER BY id")
        reader = cursor.arrow_reader(batch_size=7_000)
        rows = [row for batch in reader for row in batch.to_pylist()]
    assert len(rows) == 30_000
    for number in (1, 2, 12_345, 29_999, 30_000):
        row = rows[number - 1]
        assert row["id"] == number
        assert row["fixed"] == number * 10
        assert row["loose"] == (number if number % 3 else None)
        assert row["name"] == (f"漢字 {number}" if number % 5 else None)
        assert row["narrow"] == (f"é {number}" if number % 6 else None)
        assert row["large"] == ("😀" * (number % 9) if number % 7 else None)
        moment = datetime.datetime(2024, 1, 1) + datetime.timedelta(milliseconds=number)
        assert row["at"] == (moment if number % 2 == 0 else None)


def test_datetimeoffset_keeps_instant_and_offset(address: str) -> None:
    text = "2024-05-06T07:08:09.1234567+05:30"
    with mssql(address, "db") as connection:
        cursor = connection.cursor()
        value = cursor.execute(f"SELECT CAST('{text}' AS datetimeoffset(7))").fetchone()[0]
        assert value == datetime.datetime.fromisoformat("2024-05-06T07:08:09.123456+05:30")
        assert value.utcoffset() == datetime.timedelta(hours=5, minutes=30)
        row = cursor.execute(
            f"SELECT CONVERT(nvarchar(40), CAST('{text}' AS datetimeoffset(7)), 126), "
            f"DATEPART(TZOFFSET, CAST('{text}' AS datetimeoffset(7))), "
            f"CASE WHEN CAST('{text}' AS datetimeoffset) = CAST('2024-05-06T01:38:09.1234567Z' AS datetimeoffset) "
            "THEN 1 END"
        ).fetchone()
    assert tuple(row) == (text, 330, 1)


def test_the_seventh_digit_is_there(address: str) -> None:
    with odbc(address, "db") as connection:
        row = connection.execute(
            "SELECT CONVERT(nvarchar(40), CAST('23:59:59.9999999' AS time(7)), 126), "
            "CAST(CAST('9999-12-31T23:59:59.9999999' AS datetime2(7)) AS nvarchar(40)), "
            "CAST(CAST('2024-01-01T00:00:00.003' AS datetime) AS datetime2(7))"
        ).fetchone()
    assert row[0] == "23:59:59.9999999"
    assert row[1] == "9999-12-31 23:59:59.9999999"
    assert row[2] == datetime.datetime(2024, 1, 1, 0, 0, 0, 3333)


@pytest.mark.parametrize(
    "literal",
    [
        "CAST(5 AS int)",
        "CAST(1.25 AS decimal(9, 2))",
        "CAST(-9999999999999999999999999999.9999999999 AS decimal(38, 10))",
        "CAST('2024-05-06T07:08:09' AS datetime2(0))",
        "N'漢字'",
        "'text'",
    ],
)
def test_sql_variant_keeps_the_value_of_its_base_type(literal: str, address: str) -> None:
    with mssql(address, "db") as connection:
        cursor = connection.cursor()
        direct, wrapped, text = cursor.execute(
            f"SELECT {literal}, CAST(CAST({literal} AS sql_variant) AS nvarchar(100)), CAST({literal} AS nvarchar(100))"
        ).fetchone()
        (variant,) = cursor.execute(f"SELECT CAST({literal} AS sql_variant)").fetchone()
    assert wrapped == text
    assert variant == direct


def test_uniqueidentifiers_are_ordered_by_their_last_group(address: str) -> None:
    guids = [
        "00000000-0000-0000-0000-010000000000",
        "FF000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-FF00-000000000000",
    ]
    values = ", ".join(f"(CAST('{guid}' AS uniqueidentifier))" for guid in guids)
    with odbc(address, "db") as connection:
        rows = connection.execute(f"SELECT g FROM (VALUES {values}) AS v(g) ORDER BY g").fetchall()
    assert [str(row[0]) for row in rows] == [guids[1], guids[2], guids[0]]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 5, -(2**40), 1.5, Decimal("12.345"), "abc", "漢😀", b"\x01\x02", "x" * 10_000, b"y" * 100_000),
        *(datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4, 5, 678901), datetime.time(1, 2, 3)),
        *(Decimal("9" * 28 + "." + "9" * 10), Decimal("-" + "9" * 38)),
    ],
)
@pytest.mark.parametrize("connect", [mssql, odbc])
def test_parameters_come_back(connect: Any, value: Any, address: str) -> None:
    with connect(address, "db") as connection:
        cursor = connection.cursor()
        assert cursor.execute("SELECT ? AS value", (value,)).fetchone()[0] == value


def test_rowversion_rises_with_every_insert_and_update(address: str) -> None:
    with odbc(address, "db") as connection:
        connection.execute("CREATE TABLE dbo.versioned (id int PRIMARY KEY, note varchar(10) NULL, rv rowversion)")
        connection.execute("CREATE TABLE dbo.other (id int PRIMARY KEY, rv rowversion)")
        connection.execute("INSERT INTO dbo.versioned (id) VALUES (1), (2)")
        first = [row[0] for row in connection.execute("SELECT rv FROM dbo.versioned ORDER BY id").fetchall()]
        connection.execute("INSERT INTO dbo.other (id) VALUES (1)")
        other = connection.execute("SELECT rv FROM dbo.other").fetchone()[0]
        connection.execute("UPDATE dbo.versioned SET note = 'new' WHERE id = 1")
        after = [row[0] for row in connection.execute("SELECT rv FROM dbo.versioned ORDER BY id").fetchall()]
        last = connection.execute("SELECT @@DBTS").fetchone()[0]
    assert first[0] < first[1] < other < after[0] == last
    assert after[1] == first[1]
