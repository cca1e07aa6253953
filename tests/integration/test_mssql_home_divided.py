"""A table that several read at once, each its own share: together they read each row once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import cycle, product
from typing import Any, cast

import pytest

from hygge_engine.errors import KeyUnusable
from hygge_engine.homes.base import Batch, Position, ReadWindow
from hygge_engine.homes.mssql.home import MssqlHome
from tests.integration.mssql_server import DRIVERS, ServerProcess, open_home

pytestmark = pytest.mark.any_server

ROWS = 120


TICKS = "DATEADD(ns, value * 100, CAST('2024-01-31' AS datetime2(7)))"

# Columns whose values distinguish all rows, by type and by the number ``value`` of the row.
COLUMNS = {
    "gaps": ("bigint", "CASE WHEN value % 2 = 0 THEN value ELSE 1000000000000 - value END"),
    "negative": ("int", "(value - 60) * 30000000"),
    "tiny": ("tinyint", "value"),
    "decimals": ("decimal(38, 10)", f"CAST(CONCAT(value - 60, '{'0' * 25}.0000000001') AS decimal(38, 10))"),
    "prices": ("money", "CAST(value - 60 AS money) / 3"),
    "floats": ("float", "CAST(value - 60 AS float) / 3"),
    "days": ("date", "DATEADD(day, value * value, '1969-12-01')"),
    "ticks": ("datetime", "DATEADD(ms, value * 4, CAST('1899-12-31T23:59:59' AS datetime))"),
    "tenths": ("datetime2(7)", TICKS),
    "instants": ("datetimeoffset(7)", f"TODATETIMEOFFSET({TICKS}, value % 5 * 60 - 120)"),
    "clocks": ("time(7)", f"CAST({TICKS} AS time(7))"),
    "guids": ("uniqueidentifier", "NEWID()"),
    "bytes": ("varbinary(8)", "CAST(value * 16777216 + value AS varbinary(8))"),
    "texts": ("nvarchar(40)", "CONCAT(N'Straße', NCHAR(65 + value % 26), N' ä ', value, N'  ')"),
    "ansi": ("varchar(40)", "CONCAT('é', CHAR(97 + value % 26), '_', value)"),
    "codes": ("nvarchar(40) COLLATE Latin1_General_100_BIN2", "CONCAT(IIF(value % 2 = 0, N'😀', N'ﬀ'), value)"),
    # Of several columns.
    "tenant": ("int", "CASE WHEN value > 115 THEN value ELSE 1 END"),
    "flag": ("bit", "value % 2"),
    "letter": ("nvarchar(10)", "CONCAT(N't', value % 3)"),
}
KEYS: dict[str, dict[str, Any]] = {name: {"key": [name]} for name in list(COLUMNS)[:-3]} | {
    "tenths as text": {"key": ["tenths"], "as_text": ["tenths"]},
    "instants as text": {"key": ["instants"], "as_text": ["instants"]},
    "nearly all of one": {"key": ["tenant", "tiny"]},
    "three columns": {"key": ["flag", "letter", "days"]},
    "from the last to the first": {"table": "divided.falling"},
}


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    columns = ", ".join(f"{name} {type_name} NOT NULL" for name, (type_name, _) in COLUMNS.items())
    values = ", ".join(values for _, values in COLUMNS.values())
    series = f"FROM GENERATE_SERIES(1, {ROWS})"
    mssql_server.run(
        "CREATE SCHEMA divided",
        f"CREATE TABLE divided.items (n int NOT NULL PRIMARY KEY, w int, {columns})",
        f"INSERT INTO divided.items SELECT value, NULLIF(value % 10, 9), {values} {series}",
        "CREATE TABLE divided.falling (n int NOT NULL, PRIMARY KEY (n DESC))",
        f"INSERT INTO divided.falling SELECT value {series}",
        "CREATE VIEW divided.a_view AS SELECT n, w FROM divided.items",
        f"SELECT value AS n INTO divided.keyless {series}",
        f"SELECT IIF(value = 60, 59, value) AS k, value AS n INTO divided.repeating {series}",
    )
    return mssql_server


def read(home: MssqlHome, share: Position, window: ReadWindow = ReadWindow()) -> list[int]:  # noqa: B008 - frozen
    """The numbers of one share's rows: of its first batch, and of what that leaves."""
    with closing(home.read(window, share)) as batches:
        first = next(batches, None)
    rest = list(home.read(window, first.position)) if first else []
    return [number for batch in ([first] if first else []) + rest for number in numbers_of(batch)]


def numbers_of(batch: Batch) -> list[int]:
    return cast("list[int]", batch.rows["n"].to_pylist())


@pytest.mark.parametrize(("case", "driver"), list(zip(KEYS, cycle(DRIVERS), strict=False)))
def test_shares_of_a_table_with_any_key_are_its_rows(server: ServerProcess, case: str, driver: str) -> None:
    settings: dict[str, Any] = {"table": "divided.items", "range_rows": 40, "batch_rows": 20} | KEYS[case]
    with open_home(server, driver=driver, **settings) as home:
        shares = home.divide(ReadWindow())
        parts = [read(home, share) for share in shares]
    assert len(parts) == ROWS // 40
    assert all(parts)
    assert sorted(number for part in parts for number in part) == list(range(1, ROWS + 1))


WINDOWS: dict[str, tuple[ReadWindow, Callable[[int | None], bool]]] = {
    "initial": (ReadWindow("w", None, "8"), lambda w: True),
    "an increment": (ReadWindow("w", "2", "8"), lambda w: w is not None and 2 < w <= 8),
    "a backfill": (ReadWindow("w", "3", "6", lower_inclusive=True), lambda w: w is not None and 3 <= w <= 6),
    "from a value on": (ReadWindow("w", "3", None), lambda w: w is not None and w > 3),
    "nothing": (ReadWindow("w", "8", "8"), lambda w: False),
}


@pytest.mark.parametrize(
    ("table", "window"),
    [*product(["table"], WINDOWS), ("view", "an increment"), ("query", "initial"), ("query", "a backfill")],
)
def test_shares_of_a_window_are_its_rows(server: ServerProcess, table: str, window: str) -> None:
    wanted, is_in = WINDOWS[window]
    sources: dict[str, dict[str, Any]] = {
        "table": {"table": "divided.items"},
        "view": {"table": "divided.a_view", "key": ["n"]},
        "query": {"table": None, "query": "SELECT n, w FROM divided.items WHERE n > 0", "key": ["n"]},
    }
    expected = [n for n in range(1, ROWS + 1) if is_in(n % 10 if n % 10 != 9 else None)]
    with open_home(server, range_rows=18, batch_rows=12, **sources[table]) as home:
        shares = home.divide(wanted)
        assert len(shares) == len(expected) // 18
        assert sorted(number for share in shares for number in read(home, share, wanted)) == expected


def test_rows_that_come_go_and_change_meanwhile_take_no_others_with_them(server: ServerProcess) -> None:
    """A row that keeps its key is read once, whatever becomes of others and of its other columns."""
    chance = random.Random(7)
    table = "divided.busy"
    server.run(
        f"CREATE TABLE {table} (n int NOT NULL, w int, k nvarchar(20) NOT NULL, PRIMARY KEY (k))",
        f"INSERT INTO {table} SELECT value, 0, CONCAT(value * 7919 % 104729, N'ä') FROM GENERATE_SERIES(1, {ROWS})",
    )
    kept = set(range(1, ROWS + 1))
    found: list[int] = []
    with open_home(server, table, batch_rows=15, range_rows=1) as home:
        shares = home.divide(ReadWindow(), 4)
        chance.shuffle(shares)
        for share in shares:
            left: Position | None = share
            while left is not None:
                gone = chance.sample(sorted(kept), 2)
                kept -= set(gone)
                moved = chance.choice(sorted(kept))
                kept -= {moved}
                server.run(
                    f"DELETE FROM {table} WHERE n IN ({gone[0]}, {gone[1]})",
                    f"UPDATE {table} SET k = CONCAT(k, {chance.randrange(9)}) WHERE n = {moved}",
                    f"UPDATE {table} SET w = w + 1 WHERE n % 3 = {chance.randrange(3)}",
                    f"INSERT INTO {table} VALUES ({1000 + len(found)}, 0, '{chance.random()}')",
                )
                with closing(home.read(ReadWindow(), left)) as batches:
                    batch = next(batches, None)
                found += numbers_of(batch) if batch else []
                left = batch.position if batch else None
    assert len(shares) == 4
    counted = Counter(found)
    assert {number: counted[number] for number in kept} == dict.fromkeys(kept, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"range_rows": ROWS},
        {"range_rows": 10, "table": "divided.keyless"},
        {"range_rows": 10, "table": "divided.a_view"},
    ],
)
def test_what_is_not_divided(server: ServerProcess, settings: dict[str, Any]) -> None:
    with open_home(server, **{"table": "divided.items", **settings}) as home:
        assert home.divide(ReadWindow()) == []


@pytest.mark.parametrize("settings", [{"consistency": "snapshot"}, {"max_rows_per_second": 1000}])
def test_what_one_connection_alone_can_keep_is_not_divided(server: ServerProcess, settings: dict[str, Any]) -> None:
    with open_home(server, "divided.items", **settings) as home:
        assert home.divide(ReadWindow(), 4) == []


def test_a_key_that_repeats_or_is_null_is_found_before_and_while_shares_are_read(server: ServerProcess) -> None:
    with (
        open_home(server, "divided.items", key=["w"], range_rows=10) as home,
        pytest.raises(KeyUnusable, match="w is NULL in 12 rows"),
    ):
        home.divide(ReadWindow())
    with open_home(server, "divided.repeating", key=["k"], batch_rows=5) as home:
        shares = home.divide(ReadWindow(), 3)
        with pytest.raises(KeyUnusable, match="same key"):
            [read(home, share) for share in shares]
