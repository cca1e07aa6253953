"""Bounds of ranges, by what servers respond: honest ones, and all others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hygge_engine.errors import HomeError, HomeUnavailable
from hygge_engine.homes.mssql.dividing import Division
from hygge_engine.homes.mssql.ranges import RANGES_AT_MOST, KeyRange, position_of
from hygge_engine.homes.mssql.types import SourceColumn

WHOLE = [KeyRange()]
MOST_PARAMETERS = 2_100

type Rows = list[tuple[Any, ...]]


class Server:
    """Responds to what a division asks. ``keys`` are in order; ``confirm`` makes its responses about bounds worse."""

    def __init__(self, keys: Sequence[Any], confirm: Callable[[Rows], Rows] = lambda rows: rows) -> None:
        self.keys, self.known, self.confirm = list(keys), set(keys), confirm
        self.refused: tuple[str, ...] = ()
        self.error: HomeError = HomeError("not understood")
        self.asked: list[str] = []

    def __call__(self, sql: str, most: int, parameters: Sequence[Any]) -> Rows:
        self.asked.append(sql)
        assert len(parameters) == sql.count("?") < MOST_PARAMETERS
        if any(word in sql for word in self.refused):
            raise self.error
        if "COUNT_BIG" in sql:
            return [(len(self.keys),)]
        if "[key 0]" in sql:
            step = int(sql.partition("[number] % ")[2].partition(" ")[0] or 1)
            return [key if isinstance(key, tuple) else (key,) for key in self.keys[step - 1 :: step]][:most]
        given = iter(parameters)
        rows: Rows = []
        for select in sql.split(" UNION ALL "):
            values = [next(given) for _ in range(select.count("?"))]
            number = int(select.removeprefix("SELECT ").partition(" ")[0])
            if values[0] in self.known and (len(values) < 2 or values[0] > values[1]):
                rows.append((number,))
        return self.confirm(rows)[:most]


def division(server: Server, rows: int | None, type_name: str = "int") -> Division:
    return Division(server, "[dbo].[t]", [SourceColumn("k", type_name, max_length=900)], rows)


def test_a_thousand_ranges_are_a_small_document() -> None:
    server = Server(range(0, 10**12, 4 * 10**6))
    ranges = division(server, 10**10).ranges(RANGES_AT_MOST)
    assert len(ranges) == RANGES_AT_MOST
    assert [range_.to for range_ in ranges[:-1]] == [range_.after for range_ in ranges[1:]]
    assert len(json.dumps([position_of([range_], 1) for range_ in ranges])) < 60_000


@pytest.mark.parametrize("rows", [2, 30, 300, 5_000])
def test_a_small_table_is_divided_as_far_as_it_goes(rows: int) -> None:
    assert len(division(Server(range(rows)), rows).ranges(RANGES_AT_MOST, 1)) == min(rows, RANGES_AT_MOST)


@pytest.mark.parametrize("length", [1, 100, 400])
def test_long_keys_make_fewer_ranges(length: int) -> None:
    server = Server([f"{number:05}" + "x" * length for number in range(10_000)])
    ranges = division(server, 10_000, "nvarchar").ranges(RANGES_AT_MOST)
    assert 100 < len(ranges) <= RANGES_AT_MOST
    assert len(json.dumps([position_of([range_], 1) for range_ in ranges])) < 250_000


@pytest.mark.parametrize(
    ("keys", "ends"),
    [
        ([10, 20, 30, 40], ["10", "20", "30", "40"]),
        ([30, 10, 20, 40], ["30", "40"]),
        ([40, 30, 20, 10], ["40"]),
        ([10, 10, 10, 10], ["10"]),
    ],
)
def test_bounds_out_of_order_are_left_out(keys: list[int], ends: list[str]) -> None:
    ranges = division(Server(keys), 100).ranges(10)
    assert [range_.to for range_ in ranges] == [*([end] for end in ends), None]


LIES: dict[str, Callable[[Rows], Rows]] = {
    "finds nothing": lambda rows: [],
    "finds everything twice": lambda rows: rows + rows,
    "finds one row again and again": lambda rows: rows[:1] * 50,
    "finds other bounds": lambda rows: [(number + 1000,) for (number,) in rows],
    "responds in text": lambda rows: [(str(number),) for (number,) in rows],
    "responds NULL": lambda rows: [(None,) for _ in rows],
}


@pytest.mark.parametrize("lie", LIES)
def test_bounds_that_the_server_does_not_confirm_are_none(lie: str) -> None:
    server = Server(range(10_000), LIES[lie])
    assert division(server, 10_000).ranges(8) == WHOLE
    assert len(server.asked) < 8


@pytest.mark.parametrize("keys", [[], [None] * 9, [(1, 2)] * 9, [()] * 9, ["a", "b", "c"], [1.5, 2.5], range(10**5)])
def test_what_are_no_keys_here_and_there_make_no_bounds(keys: Sequence[Any]) -> None:
    assert division(Server(keys), 100).ranges(8) == WHOLE


@pytest.mark.parametrize(
    ("refused", "count"),
    [((), 8), (("ROW_NUMBER",), 8), (("TABLESAMPLE",), 8), (("ROW_NUMBER", "TABLESAMPLE"), 1), (("UNION ALL",), 1)],
)
@pytest.mark.parametrize("rows", [100_000, None])
def test_a_server_that_lacks_something_is_asked_in_another_way(
    refused: tuple[str, ...], count: int, rows: int | None
) -> None:
    server = Server(range(30_000))
    server.refused = refused
    if rows is None and "ROW_NUMBER" in refused:
        count = 1
    assert len(division(server, rows).ranges(8)) == count


def slow() -> HomeUnavailable:
    error = HomeUnavailable("too long")
    error.is_slow = True
    return error


@pytest.mark.parametrize("question", ["COUNT_BIG", "ROW_NUMBER", "UNION ALL"])
def test_what_takes_too_long_is_asked_once_and_what_passes_is_raised(question: str) -> None:
    server = Server(range(30_000))
    server.refused, server.error = (question,), slow()
    assert division(server, None).ranges(8) == WHOLE
    assert sum(question in sql for sql in server.asked) == 1
    server.error = HomeUnavailable("a deadlock")
    with pytest.raises(HomeUnavailable):
        division(server, None).ranges(8)
