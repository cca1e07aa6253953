"""One load is one trace, whichever processes its activities run in and however often they are delivered."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, get_current_span

from hygge_engine.errors import HomeNotFound, HomeUnavailable
from hygge_engine.flow.slices import SliceTask
from hygge_engine.orchestration.activities import Activities
from hygge_engine.orchestration.request import usable_traceparent
from hygge_engine.row_counts import COUNT_NAMES
from hygge_engine.telemetry import Telemetry, add_ids_to_logs, in_trace_of, names, process, signals
from hygge_engine.telemetry.lineage import settings as lineage_settings
from hygge_engine.telemetry.process import CONNECTION_STRING, telemetry_from
from hygge_engine.telemetry.trace_ids import entity_span_id, load_span_id, trace_id_of
from tests.support.traced_runs import LOAD, run
from tests.unit.load_world import LoadWorld
from tests.unit.project_files import HYGGE
from tests.unit.telemetry_world import Machine, Receiver, wait_for_what_is_sent


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    wait_for_what_is_sent(monkeypatch)
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    return world


def ids(span: ReadableSpan) -> tuple[int, int, int | None]:
    """Trace, span and parent."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id, span.parent.span_id if span.parent else None


def of_entity(spans: list[ReadableSpan], entity: str) -> list[ReadableSpan]:
    return [span for span in spans if (span.attributes or {}).get(names.ENTITY) == entity]


def test_a_load_is_one_trace_of_its_entities_and_their_slices(world: LoadWorld) -> None:
    machine = Machine()

    summary = run(world, machine.telemetry)

    (load,) = machine.spans(names.SPAN_LOAD)
    assert ids(load) == (trace_id_of(LOAD), load_span_id(LOAD), None)
    assert load.attributes is not None
    assert (load.attributes[names.STATUS], load.attributes[names.ROW_COUNT]) == ("success", 8)
    entities = machine.spans(names.SPAN_ENTITY)
    assert len(entities) == 3
    assert {ids(span)[2] for span in entities} == {load_span_id(LOAD)}
    slices = machine.spans(names.SPAN_SLICE)
    assert {ids(span)[2] for span in slices} == {ids(span)[1] for span in entities}
    steps = machine.spans(names.SPAN_PLAN) + machine.spans(names.SPAN_SETTLE)
    assert [ids(span)[2] for span in steps] == [load_span_id(LOAD)] * 2
    assert {ids(span)[0] for span in machine.spans()} == {trace_id_of(LOAD)}
    assert all(span.status.status_code is not StatusCode.ERROR for span in machine.spans())
    # The load's span is as long as the load, and every entity's lies within it.
    started = datetime.fromisoformat(summary["started"]).timestamp() * 1e9
    assert load.start_time == pytest.approx(started, abs=1e4)
    assert all((load.start_time or 0) <= (span.start_time or 0) for span in entities)
    assert all((span.end_time or 0) <= (load.end_time or 0) + 1e4 for span in entities)


def test_two_loads_are_two_traces(world: LoadWorld) -> None:
    machine = Machine()

    run(world, machine.telemetry, "c1")
    run(world, machine.telemetry, "c2")

    assert {ids(span)[0] for span in machine.spans(names.SPAN_LOAD)} == {trace_id_of("c1"), trace_id_of("c2")}


def test_slices_on_other_machines_and_delivered_twice_belong_to_the_same_entity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = HYGGE + "options: { slice_minutes: 0.000001 }\n"
    world = LoadWorld(tmp_path, monkeypatch, hygge=options)
    world.fill(orders=5)
    first, second = Machine(), Machine()
    on_first = Activities(lambda: world.project, telemetry=lambda: first.telemetry)
    on_second = Activities(lambda: world.project, telemetry=lambda: second.telemetry)
    planned = on_first.plan_load({"load_id": LOAD, "request": {"entities": ["orders"]}})
    (entity,) = planned["entities"]
    named = {key: entity[key] for key in ("entity_run_id", "flow", "entity", "run_type")}

    def task(attempt: int) -> dict[str, Any]:
        return SliceTask(LOAD, settings_hash=planned["settings_hash"], attempt=attempt, **named).to_json()

    answers = [on_first.run_flow(task(1)), on_second.run_flow(task(2)), on_first.run_flow(task(2))]

    assert [answer["status"] for answer in answers] == ["continue"] * 3
    spans = first.spans(names.SPAN_SLICE) + second.spans(names.SPAN_SLICE)
    assert {(trace, parent) for trace, _, parent in map(ids, spans)} == {
        (trace_id_of(LOAD), entity_span_id(entity["entity_run_id"]))
    }
    assert len({ids(span)[1] for span in spans}) == 3
    assert sorted(str((span.attributes or {})[names.ATTEMPT]) for span in spans) == ["1", "2", "2"]


def test_what_failed_and_what_was_tried_again_shows(world: LoadWorld) -> None:
    machine = Machine()
    left = [HomeUnavailable("the server hung up")]

    def fail(entity: str, batch: int) -> None:
        if entity == "orders":
            raise HomeNotFound("there is no column 'modified'")
        if entity == "customers" and left:
            raise left.pop()

    world.before_read = fail
    run(world, machine.telemetry)

    (orders,) = of_entity(machine.spans(names.SPAN_ENTITY), "orders")
    assert orders.status.status_code is StatusCode.ERROR
    assert "no column" in (orders.status.description or "")
    assert (orders.attributes or {})[names.ERROR_TYPE] == "home.not_found"
    customers = of_entity(machine.spans(names.SPAN_SLICE), "customers")
    assert [span.status.status_code is StatusCode.ERROR for span in customers] == [True, False]
    (load,) = machine.spans(names.SPAN_LOAD)
    assert load.status.description == "1 entity failed"
    metrics = machine.metrics()
    flow = (names.FLOW, "orders_to_fabric")
    assert metrics["hygge.retries"] == {
        ((names.ERROR_TYPE, "home.unavailable"), (names.ENTITY, "customers"), flow): 1,
    }
    assert metrics["hygge.loads"] == {((names.STATUS, "fail"),): 1}


def test_measurements_are_what_the_journal_says(world: LoadWorld) -> None:
    machine = Machine()

    run(world, machine.telemetry)

    metrics = machine.metrics()
    journal = {row["entity"]: row for row in world.journal()}
    for name, column in (("hygge.rows", "row_count"), ("hygge.bytes", "bytes")):
        assert {dict(key)[names.ENTITY]: value for key, value in metrics[name].items()} == {
            entity: row[column] for entity, row in journal.items()
        }
    changes = [(dict(key), rows) for key, rows in metrics["hygge.changes"].items()]
    assert {(key[names.ENTITY], f"rows_{key[names.CHANGE]}"): rows for key, rows in changes} == {
        (entity, name): row[name] for entity, row in journal.items() for name in COUNT_NAMES if row[name] is not None
    }
    durations = {dict(key)[names.ENTITY]: value for key, value in metrics["hygge.entity.duration"].items()}
    assert durations == pytest.approx({entity: row["duration"] for entity, row in journal.items()}, abs=0.01)
    # The cursor of these tables is a number, whose age is unknown.
    assert "hygge.lag" not in metrics
    # Everything that is declared is measured, but for what did not happen here.
    assert set(metrics) == {name for name, _, _ in names.METRICS} - {"hygge.lag", "hygge.retries"}


def test_a_watermark_that_is_a_time_tells_how_far_the_table_is_behind(world: LoadWorld) -> None:
    machine = Machine()
    answer = {
        "entity_run_id": "e1",
        "flow": "f",
        "entity": "orders",
        "run_type": "incremental",
        "status": "done",
        "attempts": 1,
        "started": "2024-05-01T06:00:00+00:00",
        "finished": "2024-05-01T06:01:00+00:00",
        "watermark_type": "datetime",
        "watermark": "2024-05-01T05:56:00",
    }
    times = {"started": "2024-05-01T06:00:00+00:00", "finished": "2024-05-01T06:01:10+00:00"}
    summary = {"load_id": LOAD, "status": "success", "requested_by": "tests", **times}

    machine.telemetry.record_load(world.project, summary, [answer])

    assert list(machine.metrics()["hygge.lag"].values()) == [300.0]


@pytest.mark.parametrize(
    "header", ["", "nonsense", "00-0-0-00", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 10_000]
)
def test_a_callers_header_that_is_none_is_left_out(world: LoadWorld, header: str) -> None:
    machine = Machine()
    times = {"started": "2024-05-01T06:00:00+00:00", "finished": "2024-05-01T06:01:10+00:00"}
    summary = {"load_id": LOAD, "status": "success", "requested_by": "tests", **times}

    machine.telemetry.record_load(world.project, summary, [], usable_traceparent(header))

    (load,) = machine.spans(names.SPAN_LOAD)
    assert load.links == ()


def test_an_orchestration_is_started_in_the_trace_of_its_load() -> None:
    with in_trace_of(LOAD):
        inside = get_current_span().get_span_context()
    outside = get_current_span().get_span_context()

    assert (inside.trace_id, inside.span_id) == (trace_id_of(LOAD), load_span_id(LOAD))
    assert inside.trace_flags.sampled
    assert not outside.is_valid


def test_lines_that_are_logged_while_a_slice_runs_name_it(world: LoadWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def warn(entity: str, batch: int) -> None:
        logging.getLogger("hygge_engine.homes").warning("slow")
        logging.getLogger("azure.core").warning("slow too")
        if entity == "customers":
            raise HomeNotFound("no such table")

    world.before_read = warn
    add_ids_to_logs()
    run(world, Telemetry())
    logging.getLogger("hygge_engine").warning("afterwards")

    ours = next(
        record for record in caplog.records if record.msg == "slow" and vars(record)["hygge_entity"] == "orders"
    )
    assert ours.getMessage() == "slow [load c1, orders_to_fabric.orders]"
    theirs = next(record for record in caplog.records if record.msg == "slow too")
    assert theirs.getMessage() == "slow too"
    assert vars(theirs)["hygge_load_id"] == LOAD
    assert caplog.records[-1].getMessage() == "afterwards"
    # Events are a name and JSON, and nothing after it.
    events = [record.getMessage() for record in caplog.records if record.getMessage().startswith("hygge.")]
    assert [json.loads(event.split(" ", 1)[1])["load_id"] for event in events] == [LOAD] * 5


def test_without_settings_nothing_is_imported_and_nothing_runs() -> None:
    code = """
import json, sys, threading
import hygge_engine.orchestration.activities
from hygge_engine.flow.slices import SliceTask
from hygge_engine.telemetry import telemetry_of_process
telemetry = telemetry_of_process()
with telemetry.step("hygge.plan", "c1", 1), telemetry.slice(SliceTask("c1", "e1", "f", "e", "incremental", "")):
    telemetry.flush()
print(json.dumps([sorted(name for name in sys.modules if name.startswith("opentelemetry")), threading.active_count()]))
"""
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True, timeout=60)

    assert json.loads(done.stdout) == [[], 1]
    assert done.stderr == ""


def test_spans_and_measurements_arrive_at_a_collector(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "WEBSITE_SITE_NAME": "func-shop"}
        # The exporter of OpenTelemetry reads the environment of the process.
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        run(world, telemetry_from(environment))

        batches = [batch for body in collector.bodies("/v1/traces") for batch in body["resourceSpans"]]
        spans = [span for batch in batches for scope in batch["scopeSpans"] for span in scope["spans"]]
        metrics = [batch for body in collector.bodies("/v1/metrics") for batch in body["resourceMetrics"]]
    assert {span["traceId"].lower() for span in spans} == {f"{trace_id_of(LOAD):032x}"}
    assert {span["name"] for span in spans} == set(names.SPANS)
    resource = {item["key"]: item["value"].get("stringValue") for item in batches[0]["resource"]["attributes"]}
    assert resource["service.name"] == "func-shop"
    sent = {each["name"] for batch in metrics for scope in batch["scopeMetrics"] for each in scope["metrics"]}
    assert {"hygge.rows", "hygge.loads"} <= sent


def test_application_insights_gets_what_the_queries_ask_for(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
    key = "00000000-0000-4000-8000-000000000001"
    with Receiver() as ingestion:
        run(world, telemetry_from({CONNECTION_STRING: f"InstrumentationKey={key};IngestionEndpoint={ingestion.url}"}))
        paths = {request.path for request in ingestion.requests}
        envelopes = [envelope for request in ingestion.requests for envelope in request.body]

    assert paths == {"/v2.1/track"}
    told: dict[str, list[dict[str, Any]]] = {}
    for envelope in envelopes:
        told.setdefault(envelope["data"]["baseType"], []).append(envelope)
    # AppDependencies: Name, Id, Properties; OperationId and ParentId are tags.
    spans = told["RemoteDependencyData"]
    assert {span["data"]["baseData"]["name"] for span in spans} == set(names.SPANS)
    assert {span["tags"]["ai.operation.id"] for span in spans} == {f"{trace_id_of(LOAD):032x}"}
    (load,) = [span for span in spans if span["data"]["baseData"]["name"] == names.SPAN_LOAD]
    assert load["data"]["baseData"]["id"] == f"{load_span_id(LOAD):016x}"
    assert load["data"]["baseData"]["properties"][names.LOAD_ID] == LOAD
    entities = [span for span in spans if span["data"]["baseData"]["name"] == names.SPAN_ENTITY]
    assert {span["tags"]["ai.operation.parentId"] for span in entities} == {f"{load_span_id(LOAD):016x}"}
    # AppMetrics: Name, Sum, Properties.
    points = [(point, metric) for metric in told["MetricData"] for point in metric["data"]["baseData"]["metrics"]]
    rows = {
        metric["data"]["baseData"]["properties"][names.ENTITY]: point["value"]
        for point, metric in points
        if point["name"] == "hygge.rows"
    }
    assert rows == {"orders": 5, "customers": 3, "stock": 0}


def test_a_collector_that_does_not_answer_holds_up_no_load(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "FLUSH_SECONDS", 0.1)
    released = threading.Event()

    def wait() -> int:
        released.wait(60)
        return 503

    with Receiver(wait) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        summary = run(world, telemetry_from({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}))
        assert (summary["status"], released.is_set()) == ("success", False)
        released.set()


def test_telemetry_that_breaks_breaks_no_load(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(signals.Signals, "record_load", broken)

    assert run(world, machine.telemetry)["status"] == "success"


def test_telemetry_tells_no_secret_and_no_value(world: LoadWorld) -> None:
    machine = Machine()

    def fail(entity: str, batch: int) -> None:
        if entity == "customers":
            raise RuntimeError("password=hunter2")

    world.before_read = fail
    run(world, machine.telemetry)

    told = json.dumps([[span.name, dict(span.attributes or {}), span.status.description] for span in machine.spans()])
    told += str(machine.metrics())
    assert "load.unexpected" in told
    # A secret of the settings, the text of an unexpected exception, a value of a row.
    assert not [text for text in ("correct horse", "hunter2", "'v1'", '"v1"') if text in told]
    assert not [span for span in machine.spans() if span.events]


def test_every_variable_that_is_read_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    read = [getattr(module, name) for module in (process, lineage_settings) for name in dir(module) if name.isupper()]
    variables = [value for value in read if isinstance(value, str) and not value.startswith("WEBSITE_")]

    assert {"OTEL_EXPORTER_OTLP_ENDPOINT", "OPENLINEAGE_URL"} <= set(variables)
    assert [name for name in variables if f"`{name}`" not in page] == []


def test_documented_queries_ask_for_what_is_sent() -> None:
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    queries = re.findall(r"```kusto\n(.*?)```", page, re.DOTALL)
    metrics = {name for name, _, _ in names.METRICS}

    asked: dict[str, set[str]] = {"AppDependencies": set(), "AppMetrics": set()}
    for query in queries:
        table = "AppMetrics" if "AppMetrics" in query else "AppDependencies"
        found = set(re.findall(r"'(hygge\.[\w.]+|error\.type)'", query))
        properties = set(re.findall(r"Properties\['([\w.]+)'\]", query))
        assert properties <= set(names.ATTRIBUTES), query
        asked[table] |= found - properties
    assert asked["AppDependencies"] <= set(names.SPANS)
    # Every metric has its query, and everything that is sent is explained.
    assert asked["AppMetrics"] == metrics
    assert {name for name in (*names.SPANS, *metrics, *names.ATTRIBUTES) if f"`{name}`" not in page} <= set(names.SPANS)
    assert all(name in page for name in names.SPANS)
