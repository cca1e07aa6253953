"""Watermarks: windows that meet exactly, whatever the cursor's type."""

from __future__ import annotations

import pytest

from hygge_engine.errors import BoundUnusable, CursorUnusable
from hygge_engine.homes.base import ReadWindow
from hygge_engine.watermark import Watermark
from tests.integration.mssql_server import DRIVERS, ServerProcess, open_home, read_all

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    return mssql_server


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestCursors:
    @pytest.mark.parametrize(
        ("cursor_type", "kind", "values"),
        [
            ("int", "int", ["1", "2", "2", "3"]),
            ("decimal(20, 0)", "int", ["1", "2", "2", "12345678901234567890"]),
            ("date", "datetime", ["'2013-01-01'", "'2013-01-02'", "'2013-01-02'", "'2013-01-03'"]),
            (
                "datetime",
                "datetime",
                [
                    "'2013-01-01T00:00:00'",
                    "'2013-01-01T00:00:00.003'",
                    "'2013-01-01T00:00:00.003'",
                    "'2013-01-01T00:00:00.007'",
                ],
            ),
            (
                "smalldatetime",
                "datetime",
                ["'2013-01-01T00:00:00'", "'2013-01-01T00:01:00'", "'2013-01-01T00:01:00'", "'2013-01-01T00:02:00'"],
            ),
            (
                "datetime2(7)",
                "datetime",
                [f"'2013-01-01T00:00:00.{digits}'" for digits in ("1234566", "1234567", "1234567", "1234568")],
            ),
            (
                "datetimeoffset(7)",
                "datetime",
                [
                    "'2013-01-01T00:00:00.1234566+00:00'",
                    "'2013-01-01T01:00:00.1234567+01:00'",
                    "'2012-12-31T23:00:00.1234567-01:00'",
                    "'2013-01-01T00:00:00.1234568+00:00'",
                ],
            ),
            ("varchar(10)", "string", ["'a'", "'b'", "'b'", "'c'"]),
        ],
    )
    def test_windows_meet_exactly(
        self, server: ServerProcess, driver: str, cursor_type: str, kind: str, values: list[str]
    ) -> None:
        server.run(
            "DROP TABLE IF EXISTS dbo.changing",
            f"CREATE TABLE dbo.changing (id int NOT NULL PRIMARY KEY, changed {cursor_type} NULL)",
            "INSERT INTO dbo.changing VALUES (0, NULL)",
            *(f"INSERT INTO dbo.changing VALUES ({n}, {value})" for n, value in enumerate(values[:3], start=1)),
        )
        with open_home(server, "dbo.changing", driver) as home:
            first = home.high_water("changed")
            assert (first.type, first.ties, first.null_cursors) == (kind, 2, 1)
            assert first.value is not None
            initial = read_all(home, ReadWindow("changed", None, first.value))
            assert [row["id"] for row in initial] == [0, 1, 2, 3]
            server.run(f"INSERT INTO dbo.changing VALUES (4, {values[3]}), (5, {values[2]})")
            second = home.high_water("changed")
            assert second.ties == 1
            assert home.count_at("changed", first.value) == 3
            window = ReadWindow("changed", first.value, second.value)
            assert [row["id"] for row in read_all(home, window)] == [4]
            again = ReadWindow("changed", first.value, second.value, lower_inclusive=True)
            assert [row["id"] for row in read_all(home, again)] == [2, 3, 4, 5]
            assert [row["id"] for row in read_all(home, again, ["3"])] == [4, 5]
            assert read_all(home, ReadWindow("changed", second.value, second.value)) == []

    def test_a_table_without_rows_has_no_high_water(self, server: ServerProcess) -> None:
        server.run("DROP TABLE IF EXISTS dbo.hollow", "CREATE TABLE dbo.hollow (id int NOT NULL PRIMARY KEY, at date)")
        with open_home(server, "dbo.hollow") as home:
            assert home.high_water("at").value is None

    def test_a_rowversion_ends_below_the_oldest_open_transaction(self, server: ServerProcess, driver: str) -> None:
        server.run(
            "DROP TABLE IF EXISTS dbo.versioned",
            "CREATE TABLE dbo.versioned (id int NOT NULL PRIMARY KEY, v rowversion)",
            "INSERT INTO dbo.versioned (id) VALUES (1), (2)",
        )
        with open_home(server, "dbo.versioned", driver) as home:
            first = home.high_water("v")
            assert (first.type, first.ties) == ("binary", 0)
            assert first.value is not None
            assert first.value.startswith("0x")
            assert [row["id"] for row in read_all(home, ReadWindow("v", None, first.value))] == [1, 2]
            server.run("INSERT INTO dbo.versioned (id) VALUES (3)", "UPDATE dbo.versioned SET id = 10 WHERE id = 1")
            second = home.high_water("v")
            assert [row["id"] for row in read_all(home, ReadWindow("v", first.value, second.value))] == [3, 10]
            assert read_all(home, ReadWindow("v", second.value, home.high_water("v").value)) == []

    def test_a_lag_reads_the_last_minutes_again(self, server: ServerProcess) -> None:
        server.run(
            "DROP TABLE IF EXISTS dbo.late",
            "CREATE TABLE dbo.late (id int NOT NULL PRIMARY KEY, at datetime2(3) NOT NULL)",
            *(f"INSERT INTO dbo.late VALUES ({n}, '2013-01-01T00:{n:02d}:00')" for n in (1, 9, 10)),
        )
        with open_home(server, "dbo.late") as home:
            high = home.high_water("at")
            assert high.value is not None
            lower = Watermark("at", high.type, high.value).lagged(high.value, 300)
            assert [row["id"] for row in read_all(home, ReadWindow("at", lower, high.value))] == [9, 10]

    @pytest.mark.parametrize(
        "cursor_type", ["uniqueidentifier", "float", "bit", "time", "varchar(max)", "sql_variant", "money"]
    )
    def test_what_cannot_be_a_cursor_is_refused(self, server: ServerProcess, cursor_type: str) -> None:
        server.run("DROP TABLE IF EXISTS dbo.useless", f"CREATE TABLE dbo.useless (id int, changed {cursor_type})")
        with (
            open_home(server, "dbo.useless") as home,
            pytest.raises(CursorUnusable, match=r"'changed' of type .* cannot be a watermark"),
        ):
            home.high_water("changed")


# A cursor's type, and three values of it: a window from the second to the second holds exactly that row.
INCLUSIVE = {
    "int": ("1", "2", "3"),
    "decimal(20, 0)": ("1", "2", "12345678901234567890"),
    "date": ("2013-01-01", "2013-01-02", "2013-01-03"),
    "datetime": ("2013-01-01T00:00:00", "2013-01-01T00:00:00.003", "2013-01-01T00:00:00.007"),
    "smalldatetime": ("2013-01-01", "2013-01-01T00:01", "2013-01-01T00:02"),
    "datetime2(7)": tuple(f"2013-01-01T00:00:00.{digits}" for digits in ("1234566", "1234567", "1234568")),
    "datetimeoffset(7)": ("2013-01-01T00:00:00Z", "2013-01-01T02:00:00.0000001+02:00", "2013-01-01T03:00:00+02:00"),
    "varchar(10)": ("a", "b", "c"),
    "nvarchar(10)": ("ä", "ö", "ü"),
}


@pytest.mark.parametrize("cursor_type", INCLUSIVE)
def test_a_window_has_the_rows_at_both_of_its_bounds(server: ServerProcess, driver: str, cursor_type: str) -> None:
    values = INCLUSIVE[cursor_type]
    server.run(
        "DROP TABLE IF EXISTS dbo.bounded",
        f"CREATE TABLE dbo.bounded (id int NOT NULL PRIMARY KEY, changed {cursor_type} NOT NULL)",
        *(f"INSERT INTO dbo.bounded VALUES ({n}, N'{value}')" for n, value in enumerate(values)),
    )
    with open_home(server, "dbo.bounded", driver) as home:
        for first, last in ((0, 2), (1, 1), (1, 2)):
            lower = home.bound("changed", values[first], upper=False)
            upper = home.bound("changed", values[last], upper=True)
            found = read_all(home, ReadWindow("changed", lower, upper, lower_inclusive=True))
            assert [row["id"] for row in found] == list(range(first, last + 1))


def test_a_window_of_rowversions_has_both_bounds(server: ServerProcess, driver: str) -> None:
    server.run(
        "DROP TABLE IF EXISTS dbo.bounded",
        "CREATE TABLE dbo.bounded (id int NOT NULL PRIMARY KEY, version rowversion)",
        *(f"INSERT INTO dbo.bounded (id) VALUES ({n})" for n in range(3)),
    )
    with open_home(server, "dbo.bounded", driver) as home:
        versions = [f"0x{row['version'].hex()}" for row in read_all(home)]
        lower = home.bound("version", versions[1], upper=False)
        upper = home.bound("version", versions[2], upper=True)
        window = ReadWindow("version", lower, upper, lower_inclusive=True)
        assert [row["id"] for row in read_all(home, window)] == [1, 2]


def test_a_bound_in_letters_of_another_code_page_is_refused(server: ServerProcess, driver: str) -> None:
    server.run(
        "DROP TABLE IF EXISTS dbo.bounded",
        "CREATE TABLE dbo.bounded (id int NOT NULL PRIMARY KEY, changed varchar(10) NOT NULL)",
        "INSERT INTO dbo.bounded VALUES (1, 'a')",
    )
    with open_home(server, "dbo.bounded", driver) as home:
        assert home.bound("changed", "Straße", upper=True) == "Straße"
        with pytest.raises(BoundUnusable, match="cannot hold"):
            home.bound("changed", "Ωmega", upper=True)
