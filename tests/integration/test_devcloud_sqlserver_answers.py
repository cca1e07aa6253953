"""Results that SQL Server itself returns, as its documentation states them or its rules imply."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from devcloud.sqlserver import SqlError, SqlServer
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.executor import Executor
from hygge_engine.errors import HomeError
from hygge_engine.homes.mssql.sessions import open_session
from tests.integration.mssql_server import DRIVERS, connect


@pytest.fixture(scope="module")
def server() -> Iterator[SqlServer]:
    with SqlServer(databases=("db",)) as server:
        server.execute(
            "CREATE TABLE dbo.people (id int PRIMARY KEY, name varchar(20) NULL, town nvarchar(20) NULL, age int NULL, "
            "paid decimal(9, 2) NULL, code char(3) NOT NULL DEFAULT 'x', born date NULL);"
            "INSERT INTO dbo.people (id, name, town, age, paid, born) VALUES "
            "(1, 'Ann', N'Oslo', 30, 10.50, '1994-02-03'), (2, 'bob', N'oslo', 40, 20.25, '1984-12-31'), "
            "(3, 'Cid ', N'Rome', NULL, NULL, NULL), (4, NULL, N'Rome', 25, 5, '2000-02-29')",
            "db",
        )
        yield server


D = Decimal
VALUES: list[tuple[str, Any]] = [
    # Arithmetic
    ("7 / 2", 3),
    ("-7 / 2", -3),
    ("-7 % 3", -1),
    ("7 / 2.0", D("3.500000")),
    ("2.0 / 3", D("0.666666")),
    ("1.0 / 3.0", D("0.333333")),
    ("CAST(10 AS decimal(38, 10)) / 3", D("3.3333333333")),
    ("1.1 + 2.22", D("3.32")),
    ("1.5 * 1.5", D("2.25")),
    ("10 - 0.5", D("9.5")),
    ("5.5 % 2", D("1.5")),
    ("CAST(1 AS money) / 3", D("0.3333")),
    ("1e0 / 4", 0.25),
    ("5 & 3 | 8 ^ 1", 8),
    ("~5", -6),
    ("- - 5", 5),
    ("5 + '6'", 11),
    ("ROUND(2.5, 0)", D("3.0")),
    ("ROUND(-2.45, 1)", D("-2.50")),
    ("ROUND(123.456, 1, 1)", D("123.400")),
    ("CEILING(1.2)", D(2)),
    ("FLOOR(-1.2)", D(-2)),
    ("ABS(-5)", 5),
    ("SIGN(-3)", -1),
    ("POWER(2, 10)", 1024),
    ("SQRT(16)", 4.0),
    ("CAST(2.5 AS int)", 2),
    ("CAST(-2.9 AS int)", -2),
    ("CAST(2.45 AS decimal(3, 1))", D("2.5")),
    ("CAST(1.5E0 AS int)", 1),
    ("CAST('  12 ' AS int)", 12),
    ("CAST('' AS int)", 0),
    ("CAST('true' AS bit)", 1),
    ("CAST(7 AS bit)", 1),
    ("TRY_CAST('x' AS int)", None),
    ("TRY_CONVERT(date, '2024-02-30')", None),
    ("CAST('1.25' AS decimal(5, 1))", D("1.3")),
    # Text
    ("'a' + 'b'", "ab"),
    ("'a' + NULL", None),
    ("CONCAT('a', NULL, 1)", "a1"),
    ("CONCAT_WS('-', 'a', NULL, 'b')", "a-b"),
    ("LEN('ab  ')", 2),
    ("LEN(N'😀')", 2),
    ("DATALENGTH(N'ab')", 4),
    ("DATALENGTH('ab  ')", 4),
    ("LEFT('abc', 2)", "ab"),
    ("RIGHT('abc', 2)", "bc"),
    ("SUBSTRING('abc', 2, 5)", "bc"),
    ("SUBSTRING('abc', 0, 2)", "a"),
    ("CHARINDEX('B', 'abcb')", 2),
    ("CHARINDEX('b', 'abcb', 3)", 4),
    ("REPLACE('aBab', 'b', '.')", "a.a."),
    ("UPPER('é')", "É"),
    ("LTRIM('  a ') + RTRIM(' b  ') + TRIM('  c ')", "a  bc"),
    ("REPLICATE('ab', 3)", "ababab"),
    ("REVERSE('abc')", "cba"),
    ("STUFF('abcdef', 2, 3, 'X')", "aXef"),
    ("QUOTENAME('a]b')", "[a]]b]"),
    ("CHAR(65) + NCHAR(937)", "AΩ"),
    ("ASCII('A')", 65),
    ("UNICODE(N'Ω')", 937),
    ("CAST('abcdef' AS char(3))", "abc"),
    ("CAST('ab' AS char(4)) + '|'", "ab  |"),
    ("CAST(12 AS varchar(10))", "12"),
    ("CAST(1.50 AS varchar(10))", "1.50"),
    ("CAST(CAST(1234.5678 AS money) AS varchar(20))", "1234.57"),
    ("CAST(0x41 AS varchar(3))", "A"),
    ("CONVERT(varchar(10), 0x0AFF, 2)", "0AFF"),
    ("CONVERT(varchar(10), 0x0AFF, 1)", "0x0AFF"),
    ("CONVERT(varbinary(4), '0x0aff', 1)", b"\x0a\xff"),
    ("CAST(258 AS binary(4))", b"\x00\x00\x01\x02"),
    ("CAST(0x0102 AS int)", 258),
    ("CAST(0xFFFFFFFF AS int)", -1),
    # Comparison and choice
    ("CASE WHEN 'abc' = 'ABC  ' THEN 1 ELSE 0 END", 1),
    ("CASE WHEN 'abc' = 'ABC' COLLATE Latin1_General_BIN2 THEN 1 ELSE 0 END", 0),
    ("CASE WHEN 'abc' LIKE 'A_c' THEN 1 ELSE 0 END", 1),
    ("CASE WHEN 'a5c' LIKE '%[0-9]%' THEN 1 ELSE 0 END", 1),
    ("CASE WHEN 'a%c' LIKE 'a!%c' ESCAPE '!' THEN 1 ELSE 0 END", 1),
    ("CASE WHEN NULL = NULL THEN 1 ELSE 0 END", 0),
    ("CASE WHEN 1 NOT IN (2, NULL) THEN 1 ELSE 0 END", 0),
    ("CASE WHEN 2 BETWEEN 1 AND 3 THEN 'in' ELSE 'out' END", "in"),
    ("CASE 2 WHEN 1 THEN 'one' WHEN 2 THEN 'two' END", "two"),
    ("IIF(1 > 2, 'y', 'n')", "n"),
    ("ISNULL(NULL, 5)", 5),
    ("COALESCE(NULL, 1, 2.5)", D("1.0")),
    ("NULLIF(1, 1)", None),
    ("CASE WHEN CAST('2024-01-01' AS datetime2) > CAST('2023-12-31' AS date) THEN 1 END", 1),
    # Dates and times
    ("DATEDIFF(day, '2024-02-28', '2024-03-01')", 2),
    ("DATEDIFF(month, '2024-01-31', '2024-02-01')", 1),
    ("DATEDIFF(hour, '2024-01-01T00:59:59', '2024-01-01T01:00:00')", 1),
    ("DATEDIFF_BIG(nanosecond, CAST('2024-01-01' AS datetime2), CAST('2024-01-02' AS datetime2))", 86_400_000_000_000),
    ("DATEPART(year, '2024-05-06')", 2024),
    ("DATEPART(dayofyear, '2024-12-31')", 366),
    ("DATEPART(weekday, '2024-05-05')", 1),
    ("DATEPART(iso_week, '2021-01-03')", 53),
    ("DATEPART(week, '2024-01-07')", 2),
    ("DATEPART(millisecond, CAST('2024-01-01T00:00:00.123' AS datetime))", 123),
    ("DATEPART(quarter, '2024-05-06')", 2),
    ("DATENAME(month, '2024-05-06')", "May"),
    ("CONVERT(varchar(10), DATEADD(month, 1, CAST('2024-01-31' AS date)), 23)", "2024-02-29"),
    ("CONVERT(varchar(30), DATEADD(day, -1, CAST('2024-03-01T10:00:00' AS datetime2(0))), 126)", "2024-02-29T10:00:00"),
    ("DATEADD(day, CAST(NULL AS int), CAST('2024-01-01' AS datetime2(3)))", None),
    ("CAST(DATEADD(day, 0, CAST(NULL AS datetime2(7))) AS datetime2(3))", None),
    ("CONVERT(varchar(10), EOMONTH('2023-02-10'), 23)", "2023-02-28"),
    ("CONVERT(varchar(8), CAST('2024-05-06' AS date), 112)", "20240506"),
    ("CAST(CAST('2024-05-06T07:08:00' AS datetime) AS varchar(30))", "May  6 2024  7:08AM"),
    ("CONVERT(varchar(30), CAST('2024-05-06T07:08:09.123' AS datetime), 121)", "2024-05-06 07:08:09.123"),
    ("CONVERT(varchar(30), CAST('20240506 07:08' AS datetime2(0)), 120)", "2024-05-06 07:08:00"),
    ("CONVERT(varchar(40), SWITCHOFFSET(CAST('2024-01-01T00:00:00+00:00' AS datetimeoffset(0)), '+02:00'), 126)",
     "2024-01-01T02:00:00+02:00"),
    ("CONVERT(varchar(40), TODATETIMEOFFSET(CAST('2024-01-01' AS datetime2(0)), -60), 126)",
     "2024-01-01T00:00:00-01:00"),
    ("CONVERT(nvarchar(40), DATEADD(day, 0, CAST('0001-01-01' AS datetime2)), 126)", "0001-01-01T00:00:00.0000000"),
    ("CONVERT(nvarchar(40), DATEADD(day, 0, CAST('9999-12-31T23:59:59.9999999' AS datetime2)), 121)",
     "9999-12-31 23:59:59.9999999"),
    ("CONVERT(nvarchar(12), DATEADD(day, 0, CAST('2024-05-06T07:08:09.12' AS datetime2(2))), 126)", "2024-05-06T0"),
    ("CONVERT(varchar(20), DATEADD(minute, 1, CAST('23:58:59.0405' AS time(4))), 126)", "23:59:59.0405"),
    ("CONVERT(varchar(20), DATEADD(minute, 1, CAST('00:00' AS time(0))), 126)", "00:01:00"),
    ("CONVERT(nvarchar(40), DATEADD(day, NULL, CAST('2024-05-06' AS datetime2)), 126)", None),
    ("YEAR('2024-05-06') * 10000 + MONTH('2024-05-06') * 100 + DAY('2024-05-06')", 20_240_506),
    # State
    ("OBJECT_ID('dbo.nothing')", None),
    ("OBJECT_NAME(OBJECT_ID('people'))", "people"),
    ("SCHEMA_NAME(1)", "dbo"),
    ("DB_NAME()", "db"),
    ("TYPE_NAME(56)", "int"),
    ("COL_LENGTH('dbo.people', 'town')", 40),
    ("CAST(SERVERPROPERTY('EngineEdition') AS int)", 3),
    ("SUSER_SNAME()", "sa"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), VALUES, ids=[expression for expression, _ in VALUES])
def test_an_expression_has_sql_servers_value(expression: str, expected: Any, server: SqlServer) -> None:
    found = server.execute(f"SELECT {expression}", "db")[0][0][0]
    assert found == expected
    assert type(found) is type(expected)


QUERIES: list[tuple[str, list[tuple[Any, ...]]]] = [
    ("SELECT id FROM people WHERE name = 'ANN'", [(1,)]),
    ("SELECT id FROM people WHERE name = 'cid'", [(3,)]),
    ("SELECT id FROM people ORDER BY age, id", [(3,), (4,), (1,), (2,)]),
    ("SELECT id FROM people ORDER BY age DESC", [(2,), (1,), (4,), (3,)]),
    ("SELECT id FROM people ORDER BY name", [(4,), (1,), (2,), (3,)]),
    ("SELECT TOP (2) id AS n FROM people ORDER BY n DESC", [(4,), (3,)]),
    # A bare name is what is selected by it, a qualified one the column, and so is one within an expression.
    ("SELECT -id AS id FROM people ORDER BY id", [(-4,), (-3,), (-2,), (-1,)]),
    ("SELECT -id AS id FROM people ORDER BY ID + 0", [(-1,), (-2,), (-3,), (-4,)]),
    ("SELECT -id AS id FROM people ORDER BY people.id", [(-1,), (-2,), (-3,), (-4,)]),
    ("SELECT -id AS id FROM people AS [p] ORDER BY [P].[id]", [(-1,), (-2,), (-3,), (-4,)]),
    ("SELECT TOP (2) -q.id AS id FROM (SELECT id FROM people) AS q WHERE id > 1 ORDER BY q.id", [(-2,), (-3,)]),
    ("SELECT COUNT(*) FROM people AS p TABLESAMPLE SYSTEM (1000 ROWS)", [(4,)]),
    ("SELECT id FROM people ORDER BY 1 OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY", [(2,), (3,)]),
    ("SELECT UPPER(town), COUNT(*), SUM(age), AVG(age) FROM people GROUP BY town ORDER BY 1",
     [("OSLO", 2, 70, 35), ("ROME", 2, 25, 25)]),
    ("SELECT COUNT(*), COUNT(age), COUNT(DISTINCT town), MAX(name), MIN(born) FROM people WHERE id < 3",
     [(2, 2, 1, "bob", date(1984, 12, 31))]),
    ("SELECT SUM(paid), AVG(paid) FROM people", [(D("35.75"), D("11.916666"))]),
    ("SELECT COUNT(*), SUM(age) FROM people WHERE 1 = 0", [(0, None)]),
    ("SELECT DISTINCT UPPER(town) FROM people ORDER BY 1 DESC", [("ROME",), ("OSLO",)]),
    ("SELECT a.id, b.id FROM people AS a LEFT JOIN people AS b ON b.age > a.age ORDER BY a.id, b.id",
     [(1, 2), (2, None), (3, None), (4, 1), (4, 2)]),
    ("SELECT p.id, x.n FROM people AS p CROSS APPLY (SELECT COUNT(*) AS n FROM people AS q WHERE q.age < p.age) AS x "
     "WHERE p.id < 3 ORDER BY p.id", [(1, 1), (2, 2)]),
    ("SELECT id FROM people WHERE age IN (SELECT MAX(age) FROM people)", [(2,)]),
    ("SELECT id FROM people AS p WHERE EXISTS (SELECT 1 FROM people WHERE age < p.age) ORDER BY id", [(1,), (2,)]),
    ("SELECT id FROM people WHERE id < 3 UNION SELECT 2 UNION ALL SELECT 9 ORDER BY id", [(1,), (2,), (9,)]),
    ("SELECT 1 UNION ALL SELECT 1 UNION SELECT 2 ORDER BY 1", [(1,), (2,)]),
    ("SELECT 1 UNION SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 2", [(1,), (1,), (2,)]),
    ("SELECT 1 UNION ALL SELECT 2.5 UNION ALL SELECT '7' UNION ALL SELECT NULL UNION ALL SELECT 3",
     [(D("1.0"),), (D("2.5"),), (D("7.0"),), (None,), (D("3.0"),)]),
    ("SELECT 1 UNION SELECT 2 UNION SELECT 1.0 UNION SELECT 2.5 ORDER BY 1", [(D("1.0"),), (D("2.0"),), (D("2.5"),)]),
    ("SELECT 'a' UNION ALL SELECT 'bcd' UNION ALL SELECT N'ef' UNION ALL SELECT CAST('g' AS char(2))",
     [("a",), ("bcd",), ("ef",), ("g ",)]),
    ("SELECT CAST('x' AS char(1)) UNION ALL SELECT CAST('y' AS char(3)) UNION ALL SELECT CAST('z' AS char(2))",
     [("x  ",), ("y  ",), ("z  ",)]),
    ("SELECT 1 UNION ALL SELECT * FROM (SELECT TOP (1) id FROM people ORDER BY id DESC) AS t UNION ALL SELECT 0",
     [(1,), (4,), (0,)]),
    ("SELECT town FROM people EXCEPT SELECT N'ROME'", [("Oslo",)]),
    ("SELECT id FROM people INTERSECT SELECT 3", [(3,)]),
    ("WITH n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT SUM(x) FROM n", [(15,)]),
    ("SELECT id, ROW_NUMBER() OVER (ORDER BY age DESC), SUM(age) OVER (PARTITION BY town) FROM people ORDER BY id",
     [(1, 2, 70), (2, 1, 70), (3, 4, 25), (4, 3, 25)]),
    ("SELECT id, LAG(id) OVER (ORDER BY id), NTILE(2) OVER (ORDER BY id) FROM people ORDER BY id",
     [(1, None, 1), (2, 1, 1), (3, 2, 2), (4, 3, 2)]),
    ("SELECT STRING_AGG(name, ',') WITHIN GROUP (ORDER BY id DESC) FROM people", [("Cid ,bob,Ann",)]),
    ("SELECT CASE WHEN age IS NULL THEN 'none' ELSE CAST(age AS varchar(5)) END FROM people ORDER BY id",
     [("30",), ("40",), ("none",), ("25",)]),
    ("SELECT v.a, v.b FROM (VALUES (1, 'x'), (2.5, NULL)) AS v(a, b) ORDER BY a", [(D("1.0"), "x"), (D("2.5"), None)]),
    ("SELECT id FROM people WHERE (age > 25 OR (age = 25 AND id > 3)) AND id <> 2 ORDER BY id", [(1,), (4,)]),
    ("SELECT code + '|' FROM people WHERE id = 1", [("x  |",)]),
    ("DECLARE @a int = 2; SELECT @a = id FROM people WHERE name = 'bob'; SELECT @a, @@ROWCOUNT", [(2, 1)]),
    ("SELECT p.* FROM people AS p WHERE p.id = 4", [(4, None, "Rome", 25, D("5.00"), "x  ", date(2000, 2, 29))]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), QUERIES, ids=[query for query, _ in QUERIES])
def test_a_query_has_sql_servers_rows(query: str, expected: list[tuple[Any, ...]], server: SqlServer) -> None:
    assert server.execute(query, "db")[-1] == expected


def _nesting(text: str) -> int:
    return max(itertools.accumulate((letter == "(") - (letter == ")") for letter in text))


@pytest.mark.parametrize("operator", ["UNION", "UNION ALL"])
def test_a_union_of_many_is_no_deeper_than_one_of_few(
    operator: str, server: SqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DuckDB binds and plans what is nested in the square of its depth.
    seen: list[str] = []

    def send(_: Executor, sql: str, *_others: object) -> int:
        seen.append(sql)
        return 0

    monkeypatch.setattr(Executor, "send_rows", send)
    for count in (3, 60):
        parts = (f"SELECT {number}, '{'x' * number}' FROM people" for number in range(count))
        server.execute(f" {operator} ".join(parts), "db")
    few, many = seen
    assert _nesting(many) == _nesting(few)
    assert many.count("people") == 60


def test_the_text_of_a_moment_is_not_cut_where_it_fits(server: SqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # DuckDB binds a macro's argument as often as the macro mentions it, which is four times where UTF-16 is cut.
    seen: list[str] = []

    def send(_: Executor, sql: str, *_others: object) -> int:
        seen.append(sql)
        return 0

    monkeypatch.setattr(Executor, "send_rows", send)
    for length in (40, 10):
        server.execute(f"SELECT CONVERT(nvarchar({length}), CAST(born AS datetimeoffset), 121) FROM people", "db")
    assert ["left_units" in sql for sql in seen] == [False, True]


def test_writes_change_what_they_say(server: SqlServer) -> None:
    def rows(query: str) -> list[tuple[object, ...]]:
        return server.execute(query, "db")[-1]

    server.execute(
        "CREATE TABLE dbo.w (id int IDENTITY(10, 5) PRIMARY KEY, a varchar(5) NOT NULL DEFAULT 'd', b int NULL, "
        "c AS b * 2 PERSISTED)",
        "db",
    )
    assert rows("INSERT INTO dbo.w (a, b) OUTPUT inserted.id VALUES ('x', 1), ('y', 2)") == [(10,), (15,)]
    assert rows("INSERT INTO dbo.w DEFAULT VALUES; SELECT SCOPE_IDENTITY(), @@IDENTITY, IDENT_CURRENT('w')") == [
        (20, 20, 20)
    ]
    server.execute("UPDATE dbo.w SET b += 10, a = DEFAULT WHERE id = 10", "db")
    server.execute("UPDATE x SET b = y.b + 1 FROM dbo.w AS x JOIN dbo.w AS y ON y.id = x.id - 5 WHERE x.id = 15", "db")
    server.execute(
        "UPDATE x SET b += y.b - 10 FROM dbo.w AS x JOIN dbo.w AS y ON y.id = x.id - 5 WHERE x.id = 15", "db"
    )
    assert rows("SELECT id, a, b, c FROM dbo.w ORDER BY id") == [
        (10, "d", 11, 22),
        (15, "y", 13, 26),
        (20, "d", None, None),
    ]
    assert rows("DELETE TOP (1) FROM dbo.w WHERE b IS NULL; SELECT @@ROWCOUNT") == [(1,)]
    assert rows("DELETE x OUTPUT deleted.id FROM dbo.w AS x WHERE x.b = 13") == [(15,)]
    server.execute("SET IDENTITY_INSERT dbo.w ON; INSERT INTO dbo.w (id, b) VALUES (100, 1)", "db")
    server.execute("SELECT id, c INTO dbo.copied FROM dbo.w", "db")
    assert rows("SELECT * FROM dbo.copied ORDER BY id") == [(10, 22), (100, 2)]
    server.execute("TRUNCATE TABLE dbo.w; INSERT INTO dbo.w (b) VALUES (1)", "db")
    assert rows("SELECT id FROM dbo.w") == [(10,)]


def test_tables_can_be_altered(server: SqlServer) -> None:
    server.execute("CREATE TABLE dbo.al (id int NOT NULL CONSTRAINT PK_al PRIMARY KEY, a varchar(3) NULL)", "db")
    server.execute("INSERT INTO dbo.al VALUES (1, 'abc'), (2, NULL)", "db")
    server.execute("ALTER TABLE dbo.al ADD b int NOT NULL DEFAULT 7, rv rowversion", "db")
    server.execute("ALTER TABLE dbo.al ALTER COLUMN a nvarchar(10) NULL", "db")
    server.execute("UPDATE dbo.al SET a = N'漢字漢字' WHERE id = 1", "db")
    assert server.execute("SELECT id, a, b FROM dbo.al ORDER BY id", "db")[0] == [(1, "漢字漢字", 7), (2, None, 7)]
    with pytest.raises(SqlError, match="2627"):
        server.execute("INSERT INTO dbo.al (id) VALUES (1)", "db")
    with pytest.raises(SqlError, match="515"):
        server.execute("ALTER TABLE dbo.al ALTER COLUMN a nvarchar(10) NOT NULL", "db")
    server.execute("ALTER TABLE dbo.al DROP COLUMN b", "db")
    server.execute("ALTER TABLE dbo.al DROP CONSTRAINT PK_al", "db")
    server.execute("INSERT INTO dbo.al (id) VALUES (1)", "db")
    with pytest.raises(SqlError, match="1505"):
        server.execute("CREATE UNIQUE INDEX ix ON dbo.al (id)", "db")
    names = [
        row[0] for row in server.execute("SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('al')", "db")[0]
    ]
    assert sorted(str(name) for name in names) == ["a", "id", "rv"]


def test_a_unique_key_admits_one_null(server: SqlServer) -> None:
    server.execute("CREATE TABLE dbo.un (id int NULL UNIQUE, name varchar(5) NULL UNIQUE)", "db")
    server.execute("INSERT INTO dbo.un VALUES (NULL, 'a'), (1, NULL)", "db")
    for values in ("(NULL, 'b')", "(2, NULL)", "(1, 'c')", "(3, 'A ')"):
        with pytest.raises(SqlError, match="2627"):
            server.execute(f"INSERT INTO dbo.un VALUES {values}", "db")


def test_a_synonym_is_no_table_to_truncate(server: SqlServer) -> None:
    server.execute("CREATE TABLE dbo.kept (id int); INSERT INTO dbo.kept VALUES (1)", "db")
    server.execute("CREATE SYNONYM dbo.keeps FOR dbo.kept", "db")
    with pytest.raises(SqlError, match="4708"):
        server.execute("TRUNCATE TABLE dbo.keeps", "db")
    assert server.execute("SELECT id FROM dbo.keeps", "db")[0] == [(1,)]


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_nobody_foresaw_is_an_error_and_the_connection_goes_on(
    server: SqlServer, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = f"SELECT {'(' * 3000}1{')' * 3000}"
    monkeypatch.setattr(WriteBinder, "bind_truncate", lambda self, statement: statement.nothing)
    session = open_session(connect(server.address, driver, database="db"))
    for text, parameters in ((deep, ()), (f"{deep} + ?", (1,)), ("TRUNCATE TABLE dbo.people; SELECT 1", ())):
        with pytest.raises(HomeError, match="not supported in this version"):
            session.fetch_all(text, parameters, doing="asking")
    assert session.fetch_all("SELECT 1", doing="asking") == [(1,)]
    session.close()


def test_views_show_what_is_beneath(server: SqlServer) -> None:
    server.execute("CREATE VIEW dbo.grown AS SELECT id, UPPER(name) AS name FROM dbo.people WHERE age >= 30", "db")
    assert server.execute("SELECT name FROM grown ORDER BY id", "db")[0] == [("ANN",), ("BOB",)]
    found = server.execute(
        "SELECT c.name, t.name, c.is_nullable FROM sys.columns AS c JOIN sys.types AS t ON t.user_type_id = "
        "c.user_type_id WHERE c.object_id = OBJECT_ID('dbo.grown') ORDER BY c.column_id",
        "db",
    )[0]
    assert found == [("id", "int", 0), ("name", "varchar", 1)]


ODBC_COLUMNS = {
    # type: SQL_… number, size, length, digits, radix, SQL data type, its subtype, length in octets
    "int": (4, 10, 4, 0, 10, 4, None, None),
    "bit": (-7, 1, 1, 0, None, -7, None, None),
    "decimal(9,2)": (3, 9, 11, 2, 10, 3, None, None),
    "money": (3, 19, 21, 4, 10, 3, None, None),
    "float": (6, 53, 8, None, 2, 6, None, None),
    "nvarchar(33)": (-9, 33, 66, None, None, -9, None, 66),
    "varchar(max)": (12, 0, 0, None, None, 12, None, 0),
    "binary(4)": (-2, 4, 4, None, None, -2, None, 4),
    "timestamp": (-2, 8, 8, None, None, -2, None, 8),
    "date": (91, 10, 6, 0, None, 9, 1, None),
    "time(3)": (-154, 12, 12, 3, None, -154, None, None),
    "datetime2(3)": (93, 23, 16, 3, None, 9, 3, None),
    "datetimeoffset": (-155, 34, 20, 7, None, -155, None, None),
    "uniqueidentifier": (-11, 36, 16, None, None, -11, None, None),
    "sql_variant": (-150, 0, 16, 0, None, -150, None, None),
}


def test_odbc_learns_of_columns_keys_tables_and_types(server: SqlServer) -> None:
    listed = ", ".join(f"[c_{kind}] {kind}" for kind in ODBC_COLUMNS)
    server.execute("CREATE SCHEMA x", "db")
    server.execute(f"CREATE TABLE x.t_1 (z int IDENTITY, a int, {listed}, PRIMARY KEY (a DESC, z))", "db")
    server.execute("CREATE TABLE x.tx1 (id int); CREATE SYNONYM x.s FOR x.tx1", "db")
    server.execute("CREATE VIEW x.v AS SELECT id FROM x.tx1", "db")
    first, *rows = server.execute("EXEC sp_columns @table_name = 't\\_1', @column_name = '[b-z]%'", "db")[0]
    assert (first[2], first[3], first[5], first[10], first[16]) == ("t_1", "z", "int identity", 0, 1)
    assert {str(row[3])[2:]: (row[4], *row[6:10], *row[13:16]) for row in rows} == ODBC_COLUMNS
    assert [row[16] for row in rows] == list(range(3, 3 + len(rows)))
    for pattern, names in (("T_1", ["t_1", "tx1"]), ("t[x-z]1", ["tx1"]), ("none", [])):
        tables = server.execute(f"EXEC sp_tables @table_name = '{pattern}', @table_owner = 'x'", "db")[0]
        assert [row[:4] for row in tables] == [("db", "x", name, "TABLE") for name in names]
    views = server.execute("EXEC sp_tables @table_owner = 'x', @table_type = '''VIEW'''", "db")[0]
    assert [row[2] for row in views] == ["v"]
    keys = server.execute("EXEC sp_pkeys 't_1', 'X'", "db")[0]
    assert [row[:5] for row in keys] == [("db", "x", "t_1", "a", 1), ("db", "x", "t_1", "z", 2)]
    assert server.execute("EXEC sp_pkeys 't%'", "db")[0] == []
    types = server.execute("EXEC sp_datatype_info_100 93", "db")[0]
    assert [row[:6] for row in types] == [
        ("datetime2", 93, 27, "'", "'", "scale"),
        ("datetime", 93, 23, "'", "'", None),
        ("smalldatetime", 93, 16, "'", "'", None),
    ]
    with pytest.raises(SqlError, match="is not a parameter for procedure sp_pkeys"):
        server.execute("EXEC sp_pkeys @column_name = 'a'", "db")


@pytest.mark.parametrize(
    "ranked",
    [
        "datetimeoffset datetime2 datetime smalldatetime date",
        "float real numeric money smallmoney bigint int smallint tinyint bit",
        "nvarchar varchar",
    ],
)
def test_types_meet_in_the_one_of_higher_precedence_whichever_comes_first(server: SqlServer, ranked: str) -> None:
    for high, low in itertools.pairwise(ranked.split()):
        for first, second in ((high, low), (low, high)):
            query = f"SELECT CAST(NULL AS {first}) AS x UNION ALL SELECT CAST(NULL AS {second})"
            (row,) = server.execute(f"EXEC sp_describe_first_result_set N'{query}'", "db")[0]
            assert str(row[5]).split("(")[0] == high, query
