"""Slowing down for a source that says that it is short of resources, and recovering."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, nullcontext
from decimal import Decimal
from threading import Barrier
from typing import Any

import pyarrow as pa
import pytest

from hygge_engine.errors import HomeError, HomeUnavailable
from hygge_engine.homes.base import Batch
from hygge_engine.homes.mssql import throttle
from hygge_engine.homes.mssql.parallel import read_ranges
from hygge_engine.homes.mssql.ranges import KeyRange
from hygge_engine.homes.mssql.throttle import Pace, Paces, Throttle
from hygge_engine.stopping import Stopped, stops_when


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(throttle, "pause", pauses.append)
    return pauses


def test_a_pace_is_halved_by_each_shortage_and_recovers(clock: Clock) -> None:
    pace = Pace(clock)
    shares = [pace.share]
    for _ in range(6):
        clock.now += 10
        pace.slow_down()
        pace.slow_down()  # another reader was told the same
        shares.append(pace.share)
    assert shares == [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16, 1 / 16]
    for expected in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 1):
        assert pace.share == expected
        clock.now += 30
    clock.now += 10**9
    assert pace.share == 1


def test_readers_of_one_source_share_a_pace() -> None:
    paces = Paces()
    paces.of("sql.example.com,1433/shop").slow_down()
    assert [paces.of(f"sql.example.com,1433/{database}").share for database in ("shop", "other")] == [1 / 2, 1]
    paces.forget()
    assert paces.of("sql.example.com,1433/shop").share == 1


def test_a_reader_rests_as_its_pace_says(clock: Clock, paused: list[float]) -> None:
    pace = Pace(clock)
    reader = Throttle(pace)
    reader.rest(3)
    pace.slow_down()
    reader.rest(3)
    reader.rest(10_000)
    assert paused == [3, 20]


def batch(number: int, *, key: bool = True) -> Batch:
    return Batch(pa.record_batch({"id": [number]}), [str(number)] if key else None)


class Source:
    """Ten rows, one to a batch. ``short`` says before which of them, and how often, it is short."""

    def __init__(self, short: dict[int, int], *, key: bool = True, wait: float | None = None) -> None:
        self.short, self.key, self.wait = dict(short), key, wait
        self.hung_up = 0

    def hang_up(self) -> None:
        self.hung_up += 1

    def read(self, range_: KeyRange) -> Generator[Batch]:
        assert range_.to == ["10"]
        for number in range(int(range_.after[0]) + 1 if range_.after else 1, 11):
            if self.short.get(number):
                self.short[number] -= 1
                error = HomeUnavailable("busy", retry_after_seconds=self.wait)
                error.is_short, error.number = True, 40501
                raise error
            yield batch(number, key=self.key)


def rows_of(source: Source) -> tuple[list[int], list[str]]:
    reader = Throttle(Pace())
    batches = reader.read(KeyRange(None, ["10"]), source.read, source.hang_up)
    return [int(str(each.rows["id"][0])) for each in batches], reader.remarks


@pytest.mark.parametrize(
    ("short", "pauses"),
    [({}, []), ({1: 1}, [2]), ({4: 3, 5: 1}, [2, 4, 8, 2]), ({1: 5, 10: 5}, [2, 4, 8, 15, 15] * 2)],
)
def test_a_source_that_is_short_for_a_while_is_read_on(
    short: dict[int, int], pauses: list[float], paused: list[float]
) -> None:
    source = Source(short)
    rows, remarks = rows_of(source)
    assert rows == list(range(1, 11))
    assert (paused, source.hung_up) == (pauses, len(pauses))
    assert remarks == (["slowed down: the source is short of resources (SQL Server error 40501)"] if short else [])


@pytest.mark.parametrize(("short", "key"), [({1: 6}, True), ({7: 6}, True), ({2: 1}, False)])
def test_a_source_that_stays_short_or_cannot_be_read_on_ends_the_reading(
    short: dict[int, int], key: bool, paused: list[float]
) -> None:
    with pytest.raises(HomeUnavailable):
        rows_of(Source(short, key=key))
    assert sum(paused) < 60


def test_a_question_is_asked_again_too(paused: list[float]) -> None:
    source = Source({1: 2})
    assert Throttle(Pace()).ask(lambda: len(list(source.read(KeyRange(None, ["10"])))), source.hang_up) == 10
    assert (paused, source.hung_up) == ([2, 4], 2)
    with pytest.raises(HomeUnavailable):
        Throttle(Pace()).ask(lambda: list(Source({1: 1}).read(KeyRange(None, ["10"]))), source.hang_up)


@pytest.mark.parametrize(("wait", "expected"), [(0.0, 2), (10.0, 10), (86_400.0, 20), (float("inf"), 20)])
def test_a_source_says_how_long_to_pause_within_bounds(wait: float, expected: float, paused: list[float]) -> None:
    rows_of(Source({3: 1}, wait=wait))
    assert paused == [expected]


def test_a_pause_ends_where_the_load_is_asked_to_stop() -> None:
    with stops_when(lambda: True), pytest.raises(Stopped):
        throttle.pause(3_600)


def test_a_reader_that_pauses_beside_others_ends_with_them() -> None:
    ended: list[bool] = []
    pausing = Barrier(3, timeout=60)

    def read(range_: KeyRange) -> Generator[Batch]:
        if range_.after is None:
            yield batch(1)
        pausing.wait()
        try:
            throttle.pause(30)
        except Stopped:
            ended.append(True)
            raise

    ranges = [KeyRange(None, ["5"]), KeyRange(["5"], None)]
    with closing(read_ranges(ranges, 2, lambda: nullcontext(read), 1)) as batches:
        assert next(batches).rows.num_rows == 1
        pausing.wait()
    assert ended == [True, True]


USES: list[tuple[list[tuple[Any, ...]], str]] = [
    ([(Decimal("97.50"), Decimal(3), Decimal(2), Decimal(1))], "slowed down: the source's CPU at 90 % or more"),
    ([(1.0, 95, 90, 89.9)], "slowed down: the source's data IO and workers at 90 % or more"),
    ([(89.9, 0, 0, 0)], ""),
    ([(None, "100", float("nan"), b"99")], ""),
    ([(Decimal("NaN"), 1, 1, 1)], ""),
    ([()], ""),
    ([], ""),
]


@pytest.mark.parametrize(("rows", "expected"), USES)
def test_a_source_near_its_limits_is_read_more_slowly_before_it_fails(
    rows: list[tuple[Any, ...]], expected: str, clock: Clock
) -> None:
    pace = Pace(clock)
    reader = Throttle(pace)
    reader.look(lambda _: rows)
    assert [remark.startswith(expected) for remark in reader.remarks] == ([True] if expected else [])
    assert pace.share == (1 / 2 if expected else 1)
    reader.look(lambda _: pytest.fail("asked again at once"))
    clock.now += 15
    asked: list[str] = []
    reader.look(lambda sql: asked.append(sql) or rows)  # type: ignore[func-returns-value]
    assert len(asked) == 1


def test_a_source_that_does_not_say_how_it_is_is_asked_once(clock: Clock) -> None:
    reader = Throttle(Pace(clock))

    def refuse(sql: str) -> list[tuple[object, ...]]:
        raise HomeError("Invalid object name 'sys.dm_db_resource_stats'.")

    def fail(sql: str) -> list[tuple[object, ...]]:
        raise HomeUnavailable("gone")

    with pytest.raises(HomeUnavailable):
        reader.look(fail)
    clock.now += 15
    reader.look(refuse)
    clock.now += 10**6
    reader.look(lambda _: pytest.fail("asked again"))
    assert reader.remarks == []
