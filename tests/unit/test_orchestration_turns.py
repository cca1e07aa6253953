"""Whose turn it is: loads of the schedule find a place beside any number of others, which lose nothing by waiting."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.orchestration.load import PLANNING_LIMIT, SETTLE_ATTEMPTS
from hygge_engine.orchestration.schedule import ID_PREFIX
from hygge_engine.orchestration.turns import Turns, activities_at_once
from tests.support.orchestration_answers import done, plan
from tests.unit.orchestration_host import START, Host

AT_ONCE = 4
SCHEDULED = f"{ID_PREFIX}20261130T061500Z"
ORDERS, STOCK = ("shop", "orders"), ("shop", "stock")


def others_taken(turns: Turns, stack: ExitStack, table: tuple[str, str] = STOCK) -> int:
    """How many of a flood of loads are at work when it has come."""
    return sum(stack.enter_context(turns.take(f"load-{number}", table, connection="shop")) for number in range(40))


def test_of_a_flood_so_many_work_that_the_schedule_finds_a_place_and_then_one() -> None:
    turns = Turns(AT_ONCE)
    with ExitStack() as flood:
        assert others_taken(turns, flood) == AT_ONCE - 1
        with turns.take(SCHEDULED) as taken:
            assert taken
    with ExitStack() as flood:
        assert others_taken(turns, flood) == 1  # between two activities of a scheduled load
    with turns.take(SCHEDULED, last=True), ExitStack() as flood:
        assert others_taken(turns, flood) == 1
    with ExitStack() as flood:
        assert others_taken(turns, flood) == AT_ONCE - 1


def test_nobody_begins_before_the_schedule_with_a_table_that_it_waits_for() -> None:
    turns = Turns(AT_ONCE)
    with turns.take(SCHEDULED, ORDERS):
        pass
    turns.record_result("load-1", STOCK, busy=True)  # another's wish counts nothing
    turns.record_result(SCHEDULED, ORDERS, busy=True)
    for table, expected in ((ORDERS, False), (STOCK, True), (None, True)):  # None: it has begun and continues
        with turns.take("load-2", table, connection="shop") as taken:
            assert taken is expected, table
    turns.record_result(SCHEDULED, ORDERS, busy=False)
    with turns.take("load-2", ORDERS, connection="shop") as taken:
        assert taken


def test_planning_and_settling_wait_for_no_slices_but_for_each_other() -> None:
    turns = Turns(AT_ONCE)
    with ExitStack() as flood:
        others_taken(turns, flood)
        with turns.take("load-1") as plans, turns.take("load-2", last=True) as settles:
            assert (plans, settles) == (True, False)
        with turns.take("load-2", last=True) as settles:
            assert settles


def test_a_source_that_has_places_gets_no_more_before_one_that_has_none() -> None:
    turns = Turns(AT_ONCE)

    def takes(connection: str) -> bool:
        with turns.take("load", STOCK, connection=connection) as taken:
            return taken

    with turns.take("load", connection="hangs"), turns.take("load", connection="hangs"):
        with turns.take("load", connection="hangs") as third:
            assert third
            assert not takes("shop")
        assert not takes("hangs")  # the place that has come free is for the one that was told to wait
        with turns.take("load", connection="shop") as first:
            assert first
            assert not takes("hangs")
        assert takes("hangs")  # no other load waits
        with turns.take("load", connection="hangs"), turns.take("load", connection="shop", waits=False) as closing:
            assert not closing
        assert takes("hangs")  # what works without a place is not waited for


def test_a_scheduled_load_that_is_heard_of_no_more_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(AT_ONCE)
    with turns.take(SCHEDULED, ORDERS):
        pass
    turns.record_result(SCHEDULED, ORDERS, busy=True)
    monkeypatch.setattr("hygge_engine.orchestration.turns.AT_WORK_SECONDS", -1.0)
    with ExitStack() as flood:
        assert others_taken(turns, flood, ORDERS) == AT_ONCE - 1


def test_without_a_host_nobody_waits() -> None:
    with ExitStack() as flood:
        assert others_taken(Turns(), flood) == 40


def test_the_places_are_those_of_the_host(tmp_path: Path) -> None:
    host_json = tmp_path / "host.json"
    host_json.write_text(json.dumps({"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 7}}}))
    assert activities_at_once(host_json) == 7
    assert activities_at_once(Path(__file__).parents[2] / "host.json") > 1


class Waiting:
    """A script whose activities wait for their turn a number of times before each result."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.waited: dict[tuple[str, Any], int] = {}

    def __call__(self, name: str, input_: dict[str, Any]) -> tuple[float, dict[str, Any] | Exception]:
        key = (name, input_.get("entity"))
        if not input_.get("closing") and self.waited.setdefault(key, 0) < self.times:
            self.waited[key] += 1
            due = START + timedelta(seconds=60 * sum(self.waited.values()))
            return 0.0, {"status": "continue", "waiting": True, "not_before": due.isoformat()}
        return 1.0, {"plan_load": plan(2), "run_flow": done(), "settle_load": {"status": "settled"}}[name]


def test_waiting_for_a_turn_costs_no_attempt() -> None:
    load = Host(Waiting(2 * SETTLE_ATTEMPTS))
    summary = load.run()
    assert (summary["status"], summary["rows"]) == ("success", 20)
    last = {run.name: run.input for run in load.runs}
    assert [last[name]["attempt"] for name in ("plan_load", "run_flow", "settle_load")] == [1, 1, 1]
    assert {result["attempts"] for result in last["settle_load"]["results"]} == {1}


def waits_for_ever(name: str, input_: dict[str, Any]) -> tuple[float, dict[str, Any] | Exception]:
    if name == "settle_load":
        return 1.0, {"status": "settled"}
    due = START + timedelta(seconds=60 * (1 + input_["waits"]))
    return 0.0, {"status": "continue", "waiting": True, "not_before": due.isoformat()}


def test_a_load_that_is_cancelled_before_it_was_planned_ends_at_once() -> None:
    load = Host(waits_for_ever, cancel_at=90.0)
    summary = load.run()
    assert (summary["status"], summary["message"]) == ("cancel", "The load was cancelled before it was planned.")
    assert load.runs[-1].name == "settle_load"
    assert load.finished - START == timedelta(seconds=91)


def test_planning_has_an_end() -> None:
    load = Host(waits_for_ever)
    summary = load.run()
    assert (summary["status"], summary["error"]) == ("fail", "load.no_progress")
    assert "not the load's turn within 30 minutes" in summary["message"]
    assert load.finished - START <= PLANNING_LIMIT + timedelta(seconds=1)


def test_a_load_that_is_cancelled_while_it_waits_begins_nothing() -> None:
    load = Host(Waiting(20), cancel_at=30.0 * 60)
    assert load.run()["status"] == "cancel"
    assert not load.closings()
    (settled, *_) = [run.input for run in load.runs if run.name == "settle_load"]
    assert {(result["status"], result["attempts"]) for result in settled["results"]} == {("cancelled", 0)}
