"""What a request or a tick of the timer selects."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hygge_engine.errors import LoadError, UnknownSelection
from hygge_engine.project import Project, due_flows, select
from hygge_engine.project.models.settings import Reload, RunType
from tests.unit.project_files import FLOW, load

OTHER = (
    FLOW.replace("name: orders_to_fabric", "name: zoo")
    .replace("schema", "x")
    .replace("  key", "  schema_name: z\n  key")
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    nightly = OTHER.replace('"0 */15 * * * *"', '"0 30 2 * * *"').replace("[orders, customers]", "[orders, animals]")
    always = OTHER.replace("zoo", "always").replace("schema_name: z", "schema_name: a")
    always = always.replace('schedule: "0 */15 * * * *"\n', "")
    return load(tmp_path, flows__zoo__flow=nightly, flows__always__flow=always)


def ids(project: Project, flows: list[str] | None = None, entities: list[str] | None = None) -> list[str]:
    return [entity.id for entity in select(project, flows, entities)]


def test_everything_in_the_projects_order(project: Project) -> None:
    assert ids(project) == [
        "always.orders",
        "always.customers",
        "orders_to_fabric.orders",
        "orders_to_fabric.customers",
        "zoo.orders",
        "zoo.animals",
    ]
    assert ids(project, flows=[], entities=[]) == ids(project)


def test_flows_and_entities_narrow_the_choice_together(project: Project) -> None:
    assert ids(project, flows=["zoo"]) == ["zoo.orders", "zoo.animals"]
    assert ids(project, entities=["orders"]) == ["always.orders", "orders_to_fabric.orders", "zoo.orders"]
    assert ids(project, entities=["zoo.animals", "always.orders"]) == ["always.orders", "zoo.animals"]
    assert ids(project, flows=["zoo"], entities=["orders"]) == ["zoo.orders"]


def test_unknown_names_are_told_with_the_nearest_known(project: Project) -> None:
    with pytest.raises(UnknownSelection, match=r"flow `zo`.*`zoo`.*flow `alway`.*`always`"):
        select(project, flows=["zo", "alway", "zoo"])
    with pytest.raises(UnknownSelection, match=r"entity `zoo.animal`.*`zoo.animals`"):
        select(project, entities=["zoo.animal"])
    with pytest.raises(UnknownSelection, match="`animals`"):
        select(project, flows=["always"], entities=["animals"])


def test_a_name_like_none_is_told_once_with_a_few_that_there_are(project: Project) -> None:
    with pytest.raises(UnknownSelection) as refused:
        select(project, entities=["nope", "nope"])
    assert refused.value.message.count("nope") == 1
    assert "zoo." not in refused.value.message
    assert "Known: animals, " in refused.value.message


@pytest.mark.parametrize("requested", ["full_drop", "incremental"])
@pytest.mark.parametrize("of_flow", ["full_drop", "incremental"])
@pytest.mark.parametrize("of_store", ["", "  incremental: true\n", "  incremental: false\n"])
def test_the_run_type_of_a_request_replaces_the_flows_and_the_stores(
    tmp_path: Path, requested: RunType, of_flow: str, of_store: str
) -> None:
    flow = FLOW.replace("run_type: incremental", f"run_type: {of_flow}").replace("  key_col", f"{of_store}  key_col")
    project = load(tmp_path, flow=flow)
    assert {entity.effective_run_type for entity in select(project, run_type=requested)} == {requested}


@pytest.mark.parametrize(
    ("row_marker", "run_type", "reload", "refused"),
    [
        (4, "full_drop", "difference", ""),
        (0, "full_drop", "drop", ""),
        (0, "full_drop", "difference", "the store of orders_to_fabric.orders"),
        (4, "incremental", "drop", "Nothing of this load is a reload"),
    ],
)
def test_a_reload_is_requested_where_something_is_reloaded_and_its_store_can(
    tmp_path: Path, row_marker: int, run_type: RunType, reload: Reload, refused: str
) -> None:
    project = load(tmp_path, flow=FLOW.replace("  key_columns", f"  row_marker: {row_marker}\n  key_columns"))
    with pytest.raises(LoadError, match=refused) if refused else nullcontext():
        select(project, run_type=run_type, reload=reload)


def test_an_incremental_load_needs_a_watermark(tmp_path: Path) -> None:
    watermark = FLOW[FLOW.index("watermark:") : FLOW.index("entities:")]
    project = load(tmp_path, flow=FLOW.replace(watermark, "").replace("incremental", "full_drop"))
    with pytest.raises(LoadError, match=r"orders_to_fabric\.orders"):
        select(project, run_type="incremental")


@pytest.mark.parametrize(
    ("previous", "now", "due"),
    [
        ("02:00", "02:05", {"always"}),
        ("02:10", "02:15", {"always", "orders_to_fabric"}),
        ("02:25", "02:30", {"always", "orders_to_fabric", "zoo"}),
        ("02:30", "02:35", {"always"}),
        ("02:31", "02:46", {"always", "orders_to_fabric"}),
    ],
)
def test_a_flow_is_due_once_for_each_time_of_its_schedule(
    project: Project, previous: str, now: str, due: set[str]
) -> None:
    start, end = (datetime.fromisoformat(f"2026-03-01T{time}:00").replace(tzinfo=UTC) for time in (previous, now))
    assert {flow.name for flow in due_flows(project, start, end)} == due


def test_day_and_weekday_must_both_match(tmp_path: Path) -> None:
    # NCRONTAB differs from crontab here: this is the first Monday of a month, not each Monday and the first week.
    project = load(tmp_path, flow=FLOW.replace("0 */15 * * * *", "0 0 6 1-7 * MON"))
    days = [day for day in range(1, 31) if due_flows(project, *_day(day))]
    assert days == [6]


def _day(day: int) -> tuple[datetime, datetime]:
    start = datetime(2026, 4, day, tzinfo=UTC)
    return start, start.replace(hour=23)
