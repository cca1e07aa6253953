from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hygge_engine.errors import LakeDenied
from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration.schedule import read_tick, requests_of, start_due_loads
from hygge_engine.project import Project
from tests.faults.world import FragileLake, Killed
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
    """A durable client. ``dies_at`` is the call at which the function that uses it dies, counted from 0."""

    def __init__(self, running: list[Any], *, dies_at: int | None = None) -> None:
        self.started: dict[str, Any] = {}
        self.ended: set[str] = set()
        self.dies_at = dies_at
        self._calls = 0
        self._running = running

    def _call(self) -> None:
        if self._calls == self.dies_at:
            self.dies_at = None
            raise SystemError("the worker is gone")
        self._calls += 1

    async def start_new(self, orchestration_function_name: str, instance_id: str, client_input: Any) -> Any:
        self._call()
        assert instance_id not in self.started
        self.started[instance_id] = (orchestration_function_name, client_input)

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> Any:
        self._call()
        if instance_id not in self.started:
            return None
        name = "Completed" if instance_id in self.ended else "Running"
        input_ = self.started[instance_id][1] if show_input else None
        return SimpleNamespace(runtime_status=SimpleNamespace(name=name), input_=input_)

    async def get_status_by(self, *, runtime_status: Any) -> Any:
        self._call()
        return self._running


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FragileLake:
    """The lake that the project's loads are remembered in."""
    fragile = FragileLake(LocalLake(tmp_path / "lake"))
    monkeypatch.setattr(opening, "open_lake", lambda settings: fragile)
    return fragile


def fire(project: Project, client: Client, due: str, last: str) -> list[str]:
    """A tick at a time, after another that the host remembers."""
    tick = read_tick({"Last": at(last).isoformat()}, past_due=False, now=at(due))
    return asyncio.run(start_due_loads(lambda: project, tick, client, []))


def started_flows(client: Client) -> Counter[str]:
    return Counter(name for _, request in client.started.values() for name in request["flows"])


def test_a_tick_that_arrives_twice_starts_once(project: Project, lake: FragileLake) -> None:
    tick = read_tick({"Last": at("06:00:00").isoformat()}, past_due=False, now=at("06:15:00"))
    busy = SimpleNamespace(instance_id="schedule-20240501T060000Z", input_='{"flows": ["always"]}')
    client = Client([busy])
    first = asyncio.run(start_due_loads(lambda: project, tick, client, []))
    second = asyncio.run(start_due_loads(lambda: project, tick, client, []))
    assert first == [tick.load_id, f"{tick.load_id}-skipped"]
    assert second == []
    name, request = client.started[tick.load_id]
    assert (name, request["flows"]) == ("load", ["orders_to_fabric"])


@pytest.mark.parametrize("dies_at", range(4))
@pytest.mark.parametrize("operation", [None, 1])
@pytest.mark.parametrize("after", [False, True])
def test_a_tick_whose_function_dies_is_made_up_for_by_the_next(
    project: Project, lake: FragileLake, dies_at: int, operation: int | None, after: bool
) -> None:
    client = Client([])
    fire(project, client, "06:45:00", "06:30:00")
    client.ended.update(client.started)
    client.started.clear()
    if operation is None:
        client.dies_at = client._calls + dies_at
    else:
        lake.count, lake.die_at, lake.die_after = 0, operation, after
    with suppress(SystemError, Killed):
        fire(project, client, "07:00:00", "06:45:00")  # the hourly flow comes due
    lake.revive()
    client.dies_at = None
    client.ended.update(client.started)
    fire(project, client, "07:15:00", "07:00:00")  # the host remembers the tick that died as one that fired
    assert started_flows(client)["hourly"] == 1
    fire(project, client, "07:30:00", "07:15:00")
    assert started_flows(client)["hourly"] == 1


def test_a_load_that_a_listing_does_not_show_still_holds_its_flows(project: Project, lake: FragileLake) -> None:
    client = Client([])
    [first] = fire(project, client, "06:00:00", "05:45:00")
    second = fire(project, client, "06:15:00", "06:00:00")
    assert second == ["schedule-20240501T061500Z-skipped"]
    third = fire(project, client, "06:30:00", "06:15:00")
    assert third == ["schedule-20240501T063000Z-skipped"]
    client.ended.add(first)
    assert fire(project, client, "06:45:00", "06:30:00") == ["schedule-20240501T064500Z"]
    assert fire(project, client, "07:15:00", "06:45:00")[-1].endswith("-skipped")


def test_a_listing_without_inputs_holds_up_no_flow_but_the_load_s_own(project: Project, lake: FragileLake) -> None:
    client = Client([SimpleNamespace(instance_id="schedule-20240501T060000Z", input_=None)])
    client.started["schedule-20240501T060000Z"] = ("load", {"flows": ["always"]})
    fire(project, client, "06:15:00", "06:00:00")
    assert client.started["schedule-20240501T061500Z"][1]["flows"] == ["orders_to_fabric"]


def test_flows_that_came_due_while_nothing_ticked_are_started_once(project: Project, lake: FragileLake) -> None:
    client = Client([])
    fire(project, client, "01:00:00", "00:45:00")
    client.ended.update(client.started)
    fire(project, client, "09:15:00", "09:00:00")
    assert started_flows(client) == {"orders_to_fabric": 2, "always": 2, "hourly": 2}


def test_without_its_lake_a_tick_goes_by_the_host_s_word(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(settings: Any) -> LocalLake:
        raise LakeDenied("403")

    monkeypatch.setattr(opening, "open_lake", closed)
    client = Client([])
    fire(project, client, "07:00:00", "06:45:00")
    assert started_flows(client)["hourly"] == 1


@pytest.mark.parametrize("text", ["", "[]", '{"until": 1, "loads": {}}', '{"until": "2024-05-01T06:45:00+00:00"}'])
def test_a_file_that_says_nothing_is_replaced(project: Project, lake: FragileLake, text: str) -> None:
    client = Client([])
    fire(project, client, "06:45:00", "06:30:00")
    [path] = Path(lake.url.removeprefix("file://")).rglob("schedule/shop.json")
    path.write_text(text)
    client.ended.update(client.started)
    fire(project, client, "07:00:00", "06:45:00")
    assert started_flows(client)["hourly"] == 1
    assert "schedule-20240501T070000Z" in path.read_text()


def test_a_clock_that_was_wrong_for_once_does_not_stop_the_schedules(project: Project, lake: FragileLake) -> None:
    client = Client([])
    fire(project, client, "06:45:00", "06:30:00")
    client.ended.update(client.started)
    [path] = Path(lake.url.removeprefix("file://")).rglob("schedule/shop.json")
    path.write_text(path.read_text().replace("2024-05-01T06:45:00", "2094-05-01T06:45:00"))
    fire(project, client, "07:00:00", "06:45:00")
    client.ended.update(client.started)
    fire(project, client, "07:15:00", "07:00:00")
    assert started_flows(client) == {"orders_to_fabric": 3, "always": 3, "hourly": 1}


def test_a_lost_answer_loses_no_tick(project: Project, lake: FragileLake) -> None:
    client = Client([])
    fire(project, client, "06:45:00", "06:30:00")
    client.ended.update(client.started)
    lake.count, lake.lose_answer_at = 0, 1
    fire(project, client, "07:00:00", "06:45:00")
    assert started_flows(client)["hourly"] == 1
