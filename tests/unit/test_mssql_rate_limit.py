"""A limit to how fast a source is read."""

from __future__ import annotations

import pytest

from hygge_engine.homes.mssql.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 5.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_fast_reader_waits_for_the_limit() -> None:
    clock = Clock()
    pace = RateLimit(100, clock=lambda: clock.now, sleep=clock.sleep)
    for _ in range(3):
        clock.now += 0.25
        pace.keep(100)
    assert clock.slept == pytest.approx([0.75, 0.75, 0.75])


def test_a_slow_reader_never_waits() -> None:
    clock = Clock()
    pace = RateLimit(100, clock=lambda: clock.now, sleep=clock.sleep)
    clock.now += 10
    pace.keep(900)
    assert clock.slept == []


@pytest.mark.parametrize(("limit", "rows"), [(None, 50_000), (100, 100), (0.5, 1), (10**9, 50_000)])
def test_a_batch_is_a_second_s_worth_at_most(limit: float | None, rows: int) -> None:
    assert RateLimit(limit).at_once(50_000) == rows


def test_without_a_limit_nothing_waits() -> None:
    clock = Clock()
    RateLimit(None, clock=lambda: clock.now, sleep=clock.sleep).keep(10**9)
    assert clock.slept == []
