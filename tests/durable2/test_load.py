"""The project's load orchestrator on SDK 2.x."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from durabletask.client import OrchestrationStatus

from tests.durable2.bridge import Bridge

LOAD_APP = Path(__file__).parents[1] / "apps" / "load_sample"

# Names of entities, with the number of slices that each needs, or ranges.
ENTITIES = ["a:1", "b:3", "flaky:2", "ranges:4", "c:1", "d:2"]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(LOAD_APP, {"SAMPLE_TRACE": str(tmp_path_factory.mktemp("app"))}) as bridge:
        yield bridge


def _summary(bridge: Bridge, instance: str) -> dict[str, Any]:
    state = bridge.finish(instance)
    assert state.runtime_status == OrchestrationStatus.COMPLETED, state.failure_details
    summary: dict[str, Any] = json.loads(state.serialized_output or "null")
    return summary


@pytest.mark.parametrize("runs", [{}, {"lanes": True}, {"activities_per_history": 3}])
def test_a_load_runs_to_its_end(bridge: Bridge, runs: dict[str, Any]) -> None:
    request = {"entities": ENTITIES, "size": 2, **runs}
    summary = _summary(bridge, bridge.client.schedule_new_orchestration("load", input=request))
    assert {line["entity"]: line["rows"] for line in summary["results"]} == {e: 10 * int(e[-1]) for e in ENTITIES}
    assert (summary["status"], summary["rows"]) == ("success", 130)


def test_a_load_that_was_cancelled_before_it_began_settles(bridge: Bridge) -> None:
    request = {"entities": [f"{name}:9" for name in "abcdefgh"], "size": 1}
    instance = bridge.client.schedule_new_orchestration("load", input=request)
    bridge.client.raise_orchestration_event(instance, "cancel")
    summary = _summary(bridge, instance)
    assert summary["status"] == "cancel"
    assert summary["entities"] == 8
