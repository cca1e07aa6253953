"""The activities one by one: an orchestrator may call them twice, late, or after a deployment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomePermissionDenied, LakeDenied, LakeUnavailable
from hygge_engine.flow.slices import SliceTask
from hygge_engine.journal.entity_states import key_of
from hygge_engine.journal.journal import Journal
from hygge_engine.orchestration import estimates, source_sizes
from hygge_engine.orchestration import load as orchestrator
from hygge_engine.orchestration.activities import Activities
from tests.journal_rows import make_row
from tests.unit.load_world import FLOW_YML, SECOND_FLOW_YML, LoadWorld
from tests.unit.orchestration_host import Host
from tests.unit.project_files import HYGGE, load


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    world = LoadWorld(tmp_path, monkeypatch, flows__second__flow=SECOND_FLOW_YML)
    world.fill(orders=5)
    return world


@pytest.fixture
def activities(world: LoadWorld) -> Activities:
    return Activities(lambda: world.project)


def plan(activities: Activities, **request: Any) -> dict[str, Any]:
    return activities.plan_load({"load_id": "c1", "request": request})


def task(planned: dict[str, Any], entity: str = "orders", attempt: int = 1) -> dict[str, Any]:
    chosen = next(each for each in planned["entities"] if each["entity"] == entity)
    names = {key: chosen[key] for key in ("entity_run_id", "flow", "entity", "run_type")}
    return SliceTask(load_id="c1", settings_hash=planned["settings_hash"], attempt=attempt, **names).to_json()


def outcome(planned: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """What `settle_load` is given where every entity's last result is this one."""
    results = [
        {**answer, **{key: each[key] for key in ("flow", "entity", "entity_run_id", "run_type")}}
        | {"started": "", "attempts": 1}
        for each in planned["entities"]
    ]
    times = {"started": "2024-05-01T06:00:00+00:00", "finished": "2024-05-01T06:01:00+00:00"}
    summary = {"load_id": "c1", "status": "success", "requested_by": "tests", **times}
    return {"summary": summary, "request": {}, "results": results, "attempt": 1}


def test_a_plan_names_and_counts_and_tells_no_secret(activities: Activities) -> None:
    planned = plan(activities, flows=["orders_to_fabric"])
    assert [entity["entity"] for entity in planned["entities"]] == ["orders", "customers", "stock"]
    assert planned["pools"] == {"shop_db": 4}
    assert {entity["connection"] for entity in planned["entities"]} == {"shop_db"}
    text = json.dumps(planned)
    assert "correct horse" not in text
    assert "sql.example.com" not in text
    assert plan(activities, flows=["orders_to_fabric"]) == planned


def test_a_run_type_that_is_asked_for_overrules_the_flows(activities: Activities) -> None:
    planned = plan(activities, run_type="full_drop")
    assert {entity["run_type"] for entity in planned["entities"]} == {"full_drop"}


def test_a_slice_answers_only_what_is_not_self_evident(activities: Activities) -> None:
    answer = activities.run_flow(task(plan(activities)))
    assert (answer["status"], answer["rows"]) == ("done", 5)
    assert not {"error", "transient", "not_before", "retry_after_seconds"} & set(answer)
    json.dumps(answer)


def test_an_entity_that_has_not_begun_does_not_meet_other_settings(world: LoadWorld, tmp_path: Path) -> None:
    planned = plan(Activities(lambda: world.project))
    deployed = load(tmp_path / "deployed", flow=FLOW_YML.replace("table: dbo.{entity}", "table: sales.{entity}"))
    after = Activities(lambda: deployed)
    answer = after.run_flow(task(planned))
    assert (answer["status"], answer["error"]) == ("failed", "load.settings_changed")
    assert not answer.get("transient")
    assert after.run_flow(task(planned, attempt=2))["status"] == "done"


def test_an_entity_that_was_removed_fails_and_says_so(world: LoadWorld, tmp_path: Path) -> None:
    planned = plan(Activities(lambda: world.project))
    deployed = load(tmp_path / "deployed", flow=FLOW_YML.replace("[orders, ", "["))
    answer = Activities(lambda: deployed).run_flow(task(planned, attempt=2))
    assert (answer["status"], answer["error"]) == ("failed", "load.unknown_selection")
    assert "no longer part of the project" in answer["message"]


def test_settling_twice_remembers_once(activities: Activities, world: LoadWorld) -> None:
    planned = plan(activities)
    given = outcome(planned, {"status": "done", "rows": 3})
    assert activities.settle_load(given) == {"status": "settled", "rows": 6, "places": 2}
    assert activities.settle_load({**given, "attempt": 2})["status"] == "settled"
    rows = world.journal()
    assert len(rows) == 3
    assert {(row["start_time"], row["duration"]) for row in rows} == {("2024-05-01T06:00:00+00:00", 60.0)}


def test_settling_removes_the_progress_of_its_load_only(activities: Activities, world: LoadWorld) -> None:
    progress = world.place().progress
    for load_id in ("c1", "c2"):
        progress.write(load_id, "orders_to_fabric", "orders", {"state": "running"})
    activities.settle_load(outcome(plan(activities), {"status": "done"}))
    assert progress.states("c1") == {}
    assert len(progress.states("c2")) == 1


@pytest.mark.parametrize(
    ("fault", "transient"), [(LakeUnavailable("429", retry_after_seconds=40.0), True), (LakeDenied("403"), False)]
)
def test_a_journal_that_cannot_be_written_is_a_failure_and_the_others_are_written(
    activities: Activities, world: LoadWorld, monkeypatch: pytest.MonkeyPatch, fault: Exception, transient: bool
) -> None:
    append = Journal.append

    def refuse(journal: Journal, coordinator_run_id: str, rows: Any) -> None:
        if rows[0].flow == "orders_to_fabric":
            raise fault
        append(journal, coordinator_run_id, rows)

    monkeypatch.setattr(Journal, "append", refuse)
    given = outcome(plan(activities), {"status": "done"})
    answer = activities.settle_load(given)
    assert (answer["status"], answer.get("transient")) == ("failed", transient)
    assert (answer["retry_after_seconds"] or 0) >= (40.0 if transient else 0)
    assert len(world.journal("second")) == 3
    assert world.journal("orders_to_fabric") == []


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads of two entities and more have lanes."""
    monkeypatch.setattr(orchestrator, "LANES_FROM_ENTITIES", 1)


def on_host(activities: Activities) -> Host:
    return Host(lambda name, input_: (1.0, getattr(activities, name)(input_)))


@pytest.mark.usefixtures("lanes")
def test_a_load_on_lanes_lands_and_records_every_entity(world: LoadWorld, activities: Activities) -> None:
    world.fill(customers=7, stock=1)
    host = on_host(activities)
    summary = host.run()
    assert (summary["status"], summary["success"], summary["journal"]["status"]) == ("success", 6, "settled")
    assert [row["row_count"] for row in world.journal()] == [7, 5, 1]
    assert [run.name for run in host.runs].count("run_flow") == 0
    assert not list(world.lake_directory.rglob("@board"))


@pytest.mark.usefixtures("lanes")
def test_a_load_on_lanes_that_is_cancelled_takes_nothing_more(world: LoadWorld, activities: Activities) -> None:
    world.place().progress.request_cancel("load-1")
    host = on_host(activities)
    summary = host.run()
    assert (summary["status"], summary["cancel"]) == ("cancel", 6)
    assert world.landed_files() == []


@pytest.mark.usefixtures("lanes")
def test_settings_that_change_under_a_load_on_lanes_fail_what_has_not_begun(world: LoadWorld) -> None:
    activities = Activities(lambda: world.project)

    def script(name: str, input_: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        if input_.get("settings_hash"):
            input_ = {**input_, "settings_hash": "another"}
        return 1.0, getattr(activities, name)(input_)

    assert Host(script).run()["fail"] == 6
    assert {row["error"] for flow in world.project.flows for row in world.journal(flow)} == {"load.settings_changed"}


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("no_lane_takes", [False, True])
def test_results_that_were_put_down_are_recorded_once_with_their_names(
    world: LoadWorld, activities: Activities, monkeypatch: pytest.MonkeyPatch, no_lane_takes: bool
) -> None:
    """Also where lanes take nothing, so that the load itself runs entities of which it knows no names."""
    world.fill(customers=7, stock=1)
    monkeypatch.setattr("hygge_engine.orchestration.progress.PARCEL_BYTES", 1)

    def script(name: str, input_: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        if no_lane_takes and input_.get("turn"):
            return 1.0, {"status": "failed", "message": "No."}
        return 1.0, getattr(activities, name)(input_)

    host = Host(script)
    assert (host.run()["success"], [run.name for run in host.runs].count("run_flow")) == (6, 6 * no_lane_takes)
    recorded = [row for flow in world.project.flows for row in world.journal(flow)]
    assert {(row["flow"], row["entity"]) for row in recorded} == {
        (flow, entity) for flow in ("orders_to_fabric", "second") for entity in ("orders", "customers", "stock")
    }
    settling = next(run.input for run in host.runs if run.name == "settle_load")
    assert (settling["parcels"], settling["results"]) == (6, [])
    # Delivered again, after what it took the results from is gone.
    assert activities.settle_load(settling)["status"] == "settled"
    assert [row for flow in world.project.flows for row in world.journal(flow)] == recorded
    lost = {**settling, "summary": {**settling["summary"], "load_id": "never-recorded"}}
    assert activities.settle_load(lost)["error"] == "lake.not_found"


def test_what_lanes_share_is_no_entity_of_the_load(world: LoadWorld, activities: Activities) -> None:
    planned = activities.plan_load({"load_id": "c1", "request": {}, "lanes_from": 1})
    turn = {"load_id": "c1", "settings_hash": planned["settings_hash"], "board": planned["board"], "lane": "lane-1"}
    group = {"connection": "shop_db", "connections_at_once": 1}
    taken = [activities.run_next({**turn, **group, "turn": 1, "attempt": attempt})["taken"] for attempt in (1, 2)]
    assert taken == [planned["entities"][0]] * 2
    assert set(world.place().progress.states("c1")) == {key_of("orders_to_fabric", "orders")}


@pytest.mark.usefixtures("lanes")
def test_lanes_leave_the_first_tables_that_may_be_read_in_ranges_to_the_load(world: LoadWorld) -> None:
    flow = FLOW_YML.replace("home:\n", "home:\n  range_rows: 1000\n")
    options = world.project.options.model_copy(update={"concurrency": 4})
    project = replace(load(world.directory, flow=flow), options=options)
    activities = Activities(lambda: project)
    asked = {"load_id": "c1", "request": {}, "lanes_from": 1}
    of_lanes = {"connection": "shop_db", "connections_at_once": 1, "attempt": 1, "turn": 1}
    for shares in (False, True):
        planned = activities.plan_load({**asked, "shares": shares})
        apart = [bool(entity.get("apart")) for entity in planned["entities"]]
        assert apart == [True, True, False, False, False, False] if shares else not any(apart)
        turn = {
            "load_id": "c1",
            "settings_hash": planned["settings_hash"],
            "board": planned["board"],
            "lane": f"l{shares}",
        }
        taken = activities.run_next({**turn, **of_lanes})["taken"]
        assert taken == next((each for each in planned["entities"] if not each.get("apart")), None)


@pytest.mark.usefixtures("lanes")
def test_a_plan_that_cannot_be_written_down_leaves_the_load_without_lanes(
    activities: Activities, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise LakeDenied("403")

    monkeypatch.setattr("hygge_engine.orchestration.board.Board.write", refuse)
    host = on_host(activities)
    assert host.run()["success"] == 6
    assert "run_next" not in {run.name for run in host.runs}


@pytest.fixture
def two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    """Three entities of one flow, of which two may run at once."""
    return LoadWorld(tmp_path, monkeypatch, hygge=f"{HYGGE}options: {{concurrency: 2}}\n")


def remember(world: LoadWorld, load: int, seconds: dict[str, float], **values: Any) -> None:
    """Let the journal have a load of these entities."""
    rows = [
        replace(make_row(load, number, duration=duration, **values), flow="orders_to_fabric", entity=entity)
        for number, (entity, duration) in enumerate(seconds.items())
    ]
    world.place().journal.append(f"load-{load}", rows)


def planned_order(world: LoadWorld) -> list[str]:
    return [entity["entity"] for entity in plan(Activities(lambda: world.project))["entities"]]


def test_a_load_begins_with_the_longest_and_what_is_unknown_counts_like_the_median(two_places: LoadWorld) -> None:
    assert planned_order(two_places) == ["orders", "customers", "stock"]
    remember(two_places, 1, {"orders": 50.0, "stock": 400.0})
    assert planned_order(two_places) == ["stock", "customers", "orders"]
    remember(two_places, 2, {"orders": 3.0, "customers": 20.0})
    remember(two_places, 3, {"orders": 900.0}, status="fail")
    remember(two_places, 4, {"customers": 900.0}, run_type="full_drop")
    assert planned_order(two_places) == ["stock", "customers", "orders"]


@pytest.mark.parametrize(
    ("remembered", "rows", "order"),
    [
        ({}, {"stock": 10**9, "customers": 5}, ["stock", "orders", "customers"]),
        ({"orders": 3.0}, {"stock": 10**9, "customers": 0}, ["stock", "orders", "customers"]),
        ({"orders": 10_000.0}, {"stock": 2_000_000, "customers": 1_000_000}, ["orders", "stock", "customers"]),
        # At 1,000 rows a second, as orders have been moved, stock takes longer than orders.
        ({"orders": 100.0, "rows": 100_000}, {"stock": 200_000, "customers": 1}, ["stock", "orders", "customers"]),
        # The journal knows better.
        ({"orders": 100.0, "stock": 1.0}, {"stock": 10**12, "customers": 10**18}, ["customers", "orders", "stock"]),
    ],
)
def test_what_the_journal_does_not_know_is_ordered_by_the_rows_of_its_source(
    two_places: LoadWorld, remembered: dict[str, float], rows: dict[str, int], order: list[str]
) -> None:
    count = {"row_count": remembered.pop("rows")} if "rows" in remembered else {}
    remember(two_places, 1, remembered, **count)
    two_places.counted = {f"orders_to_fabric.{entity}": number for entity, number in rows.items()}
    assert planned_order(two_places) == order


@pytest.mark.parametrize("error", [HomePermissionDenied("SELECT was denied on sys.partitions"), IndexError("tuple")])
def test_a_source_that_does_not_count_its_rows_fails_nothing(
    two_places: LoadWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def refuse(*_: Any) -> dict[str, int]:
        raise error

    monkeypatch.setattr(estimates, "row_counts", source_sizes.row_counts)
    monkeypatch.setattr(source_sizes, "rows_of_many", refuse)
    assert planned_order(two_places) == ["orders", "customers", "stock"]
    assert "Tables are not ordered by their rows" in caplog.text


def test_a_journal_that_cannot_be_read_leaves_the_order_of_the_project(
    two_places: LoadWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise LakeUnavailable("gone")

    remember(two_places, 1, {"orders": 1.0, "customers": 2.0, "stock": 3.0})
    monkeypatch.setattr(Journal, "newest", refuse)
    assert planned_order(two_places) == ["orders", "customers", "stock"]


@pytest.mark.parametrize(
    ("seconds", "took", "bound_by"),
    [
        ({"orders": 60.0, "customers": 60.0, "stock": 60.0}, 90.0, "options.concurrency (2)"),
        ({"orders": 600.0, "customers": 1.0}, 600.0, "orders_to_fabric.orders, the longest of them"),
        ({}, None, ""),
    ],
)
def test_what_bounds_a_load_is_told(
    two_places: LoadWorld, seconds: dict[str, float], took: float | None, bound_by: str
) -> None:
    remember(two_places, 0, dict.fromkeys(seconds, 5_000.0))
    remember(two_places, 1, seconds)
    project = two_places.project
    remembered = estimates.recall(project, project.entities).seconds(whole=())
    expected = None if took is None else estimates.Estimate(took, bound_by, len(seconds), 3 - len(seconds))
    assert estimates.estimate(project, project.entities, remembered, {}) == expected


Like = dict[str, Any]
FIRST: Like = {"duration": 900.0}


@pytest.mark.parametrize(
    ("runs", "changes", "whole"),
    [
        ([], None, None),
        ([FIRST], None, 900.0),
        ([FIRST, {"duration": 4.0}], 4.0, 900.0),
        ([FIRST, {"duration": 700.0, "run_type": "full_drop"}, {"duration": 4.0}], 4.0, 700.0),
        ([{"duration": 700.0, "run_type": "full_drop"}, {"duration": 4.0}], 4.0, 700.0),
        # A slice that failed and was tried again waited meanwhile; so did a killed one.
        ([FIRST, {"duration": 4.0}, {"duration": 65.0, "attempts": 3}], 4.0, 900.0),
        ([FIRST, {"duration": 65.0, "attempts": 3}, {"duration": 61.0, "attempts": 3}], 63.0, 900.0),
        ([FIRST, {"duration": 4.0}, {"duration": 600.0, "status": "fail"}], 4.0, 900.0),
        # Beside others a run may take longer: one of several says little.
        ([FIRST, *({"duration": seconds} for seconds in (4.0, 40.0, 5.0))], 5.0, 900.0),
        ([FIRST, *({"duration": seconds} for seconds in (90.0, 90.0, 90.0, 3.0, 3.0, 3.0, 90.0, 3.0))], 3.0, 900.0),
        # Looked at together with all the others, and given no place.
        ([FIRST, {"duration": 30.0, "attempts": 0}], 0.0, 900.0),
        *(
            ([FIRST, {"duration": seconds}, {"duration": 4.0}, {"duration": seconds}], 4.0, 900.0)
            for seconds in (float("inf"), float("nan"), float("-inf"), 1e300, -5.0, None)
        ),
    ],
)
def test_a_run_is_estimated_by_those_that_it_is_like(
    two_places: LoadWorld, runs: list[Like], changes: float | None, whole: float | None
) -> None:
    for number, values in enumerate(runs):
        row = replace(make_row(number, **values), flow="orders_to_fabric", entity="orders")
        two_places.place().journal.append(row.coordinator_run_id, [row])
    project = two_places.project
    found = [
        estimates.recall(project, project.entities).seconds(wanted).get("orders_to_fabric.orders")
        for wanted in ([], [entity.id for entity in project.entities])
    ]
    assert found == [changes, whole]
