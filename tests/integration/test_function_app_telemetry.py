"""The deployed app reports a load to a collector and a lineage receiver, from the request to the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.durable_functions.models.DurableOrchestrationClient import DurableOrchestrationClient

from devcloud.functions import FunctionsHost
from hygge_engine.telemetry import names, process
from hygge_engine.telemetry.trace_ids import load_span_id, trace_id_of
from tests.support.function_app import APP, SETTINGS, App
from tests.unit.load_world import LoadWorld
from tests.unit.telemetry_world import Receiver, wait_for_what_is_sent

# The span of the load's caller.
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    wait_for_what_is_sent(monkeypatch)
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
        # The app decides once per process, and shares this one with the test.
        monkeypatch.setattr(process, "_decided", None)
        yield receiver


def test_a_load_over_http_is_one_trace_with_its_lineage(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=7, customers=4, stock=1)
    sent_along: list[str] = []
    current = DurableOrchestrationClient._get_current_activity_context

    def spy() -> Any:
        sent_along.append(current()[0])
        return current()

    monkeypatch.setattr(DurableOrchestrationClient, "_get_current_activity_context", staticmethod(spy))
    settings = {**SETTINGS, "HYGGE_PROJECT": str(world.directory)}
    with FunctionsHost(APP, tmp_path / "state", settings=settings, worker="inline") as host:
        app = App(host, world)
        app.http.headers["traceparent"] = CALLER
        load_id = app.start()
        assert app.settled(load_id)["status"] == "success"
        app.close()

    spans = [
        span
        for body in receiver.bodies("/v1/traces")
        for batch in body["resourceSpans"]
        for scope in batch["scopeSpans"]
        for span in scope["spans"]
    ]
    assert {span["traceId"].lower() for span in spans} == {f"{trace_id_of(load_id):032x}"}
    assert sorted(span["name"] for span in spans) == sorted(
        [names.SPAN_LOAD, names.SPAN_PLAN, names.SPAN_SETTLE, *[names.SPAN_ENTITY, names.SPAN_SLICE] * 3]
    )
    known = {span["spanId"] for span in spans}
    assert [span["name"] for span in spans if span.get("parentSpanId", "") not in known] == [names.SPAN_LOAD]
    (load,) = [span for span in spans if span["name"] == names.SPAN_LOAD]
    assert [link["traceId"].lower() for link in load["links"]] == [CALLER.split("-")[1]]
    # What the durable client hands to the host with the orchestration.
    assert sent_along == [f"00-{trace_id_of(load_id):032x}-{load_span_id(load_id):016x}-01"]
    events = receiver.bodies("/api/v1/lineage")
    assert sorted(event["eventType"] for event in events) == ["COMPLETE"] * 3 + ["START"] * 3
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in events} == {load_id}
