from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hygge_engine.orchestration.schedule import read_tick, requests_of, start_due_loads
from hygge_engine.project import Project
from tests.unit.project_files import FLOW, load

QUARTERS = "0 */15 * * * *"
NEVER: dict[str, Any] = {"Last": "0001-01-01T00:00:00+00:00"}


@pytest.fixture(autouse=True)
def _every_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYGGE_SCHEDULE", QUARTERS)
    monkeypatch.delenv("WEBSITE_TIME_ZONE", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    hourly = (
        FLOW.replace("orders_to_fabric", "hourly").replace(QUARTERS, "0 0 * * * *").replace("[orders, cust", "[a, b")
    )
    always = (
        hourly.replace("name: hourly", "name: always")
        .replace('schedule: "0 0 * * * *"\n', "")
        .replace("[a, b", "[c, d")
    )
    return load(tmp_path, flows__hourly__flow=hourly, flows__always__flow=always)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-05-01T{text}+00:00")


@pytest.mark.parametrize("now", ["06:14:59.700", "06:15:00", "06:15:00.400", "06:15:40"])
def test_a_tick_stands_for_its_time_however_early_or_late_it_arrives(now: str) -> None:
    tick = read_tick({"Last": "2024-05-01T06:00:00.01+00:00"}, past_due=False, now=at(now))
    assert tick.due == at("06:15:00")
    assert tick.load_id == "schedule-20240501T061500Z"
    assert tick.previous == at("06:00:00.01")


def test_the_first_tick_of_an_app_reaches_back_one_period() -> None:
    tick = read_tick(NEVER, past_due=False, now=at("06:15:00.1"))
    assert (tick.previous, tick.due) == (at("06:00:00"), at("06:15:00"))


def test_a_tick_that_was_missed_stands_for_the_time_it_missed() -> None:
    tick = read_tick({"Last": "2024-05-01T05:00:00+00:00"}, past_due=True, now=at("06:24:00"))
    assert (tick.previous, tick.due) == (at("05:00:00"), at("06:15:00"))


def test_a_timer_started_by_hand_stands_for_itself() -> None:
    tick = read_tick(NEVER, past_due=False, now=at("06:20:03.5"))
    assert tick.load_id == "schedule-20240501T062003Z"
    assert tick.previous == at("06:15:00")


def test_schedules_are_read_in_the_apps_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSITE_TIME_ZONE", "Europe/Copenhagen")
    monkeypatch.setenv("HYGGE_SCHEDULE", "0 0 6 * * *")
    tick = read_tick(NEVER, past_due=False, now=datetime(2024, 5, 1, 4, 0, 0, 200, tzinfo=UTC))
    assert tick.due.hour == 6
    assert tick.load_id == "schedule-20240501T040000Z"
    assert tick.due - tick.previous == timedelta(days=1)


def test_a_tick_starts_the_flows_that_came_due(project: Project) -> None:
    quarter = read_tick({"Last": at("06:00:00").isoformat()}, past_due=False, now=at("06:15:00"))
    [request] = requests_of(project, quarter, [])
    assert set(request.flows) == {"orders_to_fabric", "always"}
    assert (request.coordinator_run_id, request.requested_by) == (quarter.load_id, "schedule")
    hour = read_tick({"Last": at("06:45:00").isoformat()}, past_due=False, now=at("07:00:00"))
    [request] = requests_of(project, hour, [])
    assert set(request.flows) == {"orders_to_fabric", "always", "hourly"}


def test_flows_whose_last_scheduled_load_still_runs_are_skipped_and_no_others(project: Project) -> None:
    tick = read_tick({"Last": at("06:00:00").isoformat()}, past_due=False, now=at("06:15:00"))
    running: list[tuple[str, Mapping[str, Any]]] = [
        ("schedule-20240501T060000Z", {"flows": ["always", "hourly"]}),
        ("schedule-20240501T060000Z-skipped", {"flows": ["orders_to_fabric"], "skip_reason": "busy"}),
        ("5f0e", {"flows": ["orders_to_fabric"]}),
    ]
    started, skipped = requests_of(project, tick, running)
    assert started.flows == ("orders_to_fabric",)
    assert not started.skip_reason
    assert skipped.flows == ("always",)
    assert "schedule-20240501T060000Z" in skipped.skip_reason
    assert skipped.coordinator_run_id == f"{tick.load_id}-skipped"


class Client:
    def __init__(self, running: list[Any]) -> None:
        self.started: dict[str, Any] = {}
        self._running = running

    async def start_new(self, orchestration_function_name: str, instance_id: str, client_input: Any) -> Any:
        self.started[instance_id] = (orchestration_function_name, client_input)

    async def get_status(self, instance_id: str) -> Any:
        return self.started.get(instance_id)

    async def get_status_by(self, *, runtime_status: Any) -> Any:
        return self._running


def test_a_tick_that_arrives_twice_starts_once(project: Project) -> None:
    tick = read_tick({"Last": at("06:00:00").isoformat()}, past_due=False, now=at("06:15:00"))
    busy = SimpleNamespace(instance_id="schedule-20240501T060000Z", input_='{"flows": ["always"]}')
    client = Client([busy])
    first = asyncio.run(start_due_loads(lambda: project, tick, client, []))
    second = asyncio.run(start_due_loads(lambda: project, tick, client, []))
    assert first == [tick.load_id, f"{tick.load_id}-skipped"]
    assert second == []
    name, request = client.started[tick.load_id]
    assert (name, request["flows"]) == ("load", ["orders_to_fabric"])
