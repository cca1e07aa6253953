"""The Function app itself, unchanged, on SDK 2.x: it is indexed, and its loads settle."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from durabletask.client import OrchestrationStatus

from tests.durable2.bridge import Bridge

APP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    nothing = tmp_path_factory.mktemp("no-project")
    with Bridge(APP, {"HYGGE_SCHEDULE": "0 0 0 1 1 *", "HYGGE_PROJECT": str(nothing)}) as bridge:
        yield bridge


def test_a_load_that_cannot_be_planned_says_why_and_settles(bridge: Bridge) -> None:
    state = bridge.finish(bridge.client.schedule_new_orchestration("load", input={"requested_by": "tests"}))
    assert state.runtime_status == OrchestrationStatus.COMPLETED, state.failure_details
    summary = json.loads(state.serialized_output or "null")
    assert (summary["status"], summary["error"], summary["requested_by"]) == ("fail", "configuration", "tests")
    assert "hygge validate" in summary["message"]
    assert summary["journal"]["status"] == "failed"
