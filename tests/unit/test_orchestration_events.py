"""What a load writes to the log, and that the queries of infra/monitoring match it."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from hygge_engine.errors import HomeNotFound, HomeUnavailable
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from tests.support.logged_events import events
from tests.support.recorder import Recorder
from tests.unit.load_world import LoadWorld

MONITORING = Path(__file__).parents[2] / "infra" / "monitoring"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    return world


def fail_once_and_for_all(world: LoadWorld) -> None:
    """Let orders recover from one failure, and customers never."""
    failures = iter([HomeUnavailable("the connection was lost")])

    def fail(entity: str, batch: int) -> None:
        if entity == "customers":
            raise HomeNotFound("there is no table")
        if entity == "orders" and batch == 1 and (error := next(failures, None)):
            raise error

    world.before_read = fail


def test_a_load_tells_how_it_ended_and_what_became_of_each_table(
    world: LoadWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fail_once_and_for_all(world)

    summary = run_load(world.project, LoadRequest(requested_by="tests", coordinator_run_id="c1"), Recorder())

    told = events(caplog)
    (load,) = told["hygge.load"]
    assert {key: load[key] for key in ("load_id", "status", "rows", "entities", "success", "fail", "requested_by")} == {
        "load_id": "c1",
        "status": "fail",
        "rows": 5,
        "entities": 3,
        "success": 2,
        "fail": 1,
        "requested_by": "tests",
    }
    assert load["duration"] == summary["duration"]
    tables = {each["entity"]: each for each in told["hygge.entity"]}
    assert {name: (each["status"], each["rows"], each["attempts"]) for name, each in tables.items()} == {
        "orders": ("success", 5, 2),
        "customers": ("fail", 0, 1),
        "stock": ("success", 0, 1),
    }
    assert {each["load_id"] for each in tables.values()} == {"c1"}
    assert tables["orders"]["duration"] >= 0
    attempts = {(each["entity"], each["error"], each["transient"]) for each in told["hygge.attempt_failed"]}
    assert attempts == {("orders", "home.unavailable", True), ("customers", "home.not_found", False)}


def test_a_load_that_cannot_be_planned_is_told(world: LoadWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    run_load(world.project, LoadRequest(flows=("nothing",)), Recorder())

    (load,) = events(caplog)["hygge.load"]
    assert (load["status"], load["error"]) == ("fail", "load.unknown_selection")


def test_a_long_message_does_not_make_a_long_line(world: LoadWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def fail(entity: str, batch: int) -> None:
        raise HomeNotFound("x" * 10_000)

    world.before_read = fail
    run_load(world.project, LoadRequest(entities=("orders",)), Recorder())

    assert all(len(record.getMessage()) < 2_000 for record in caplog.records)


def queries() -> list[tuple[str, str]]:
    found = [(path.name, path.read_text()) for path in sorted(MONITORING.glob("*.kql"))]
    workbook = json.loads((MONITORING / "workbook.json").read_text())
    items = [item["content"] for item in workbook["items"]]
    return found + [(item["title"], item["query"]) for item in items if "query" in item]


@pytest.mark.parametrize(("name", "query"), queries(), ids=lambda value: value if len(value) < 50 else "")
def test_the_queries_ask_for_what_is_told(
    name: str, query: str, world: LoadWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fail_once_and_for_all(world)
    run_load(world.project, LoadRequest(), Recorder())
    told = events(caplog)

    (event,) = set(re.findall(r"Message startswith '(hygge\.\w+) '", query))
    # What is cut off is exactly the name and the blank behind it.
    assert f"substring(Message, strlen('{event} '))" in query
    (variable,) = re.findall(r"extend (\w+) = parse_json", query)
    asked = set(re.findall(rf"\b{variable}\.(\w+)", query))

    assert asked
    assert asked <= set(told[event][0])
    codes = set(re.findall(r"'((?:home|lake|store)\.\w+)'", query))
    assert codes <= {"home.unavailable", "lake.unavailable", "store.fabric_unavailable"}
