"""The portable subset: the sample app's orchestrators do on SDK 2.x what they do on 1.x.

The same scenarios run on the shipped SDK in ``tests/integration/test_devcloud_functions_durable.py``.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from durabletask.client import OrchestrationState, OrchestrationStatus

from tests.durable2.bridge import DEADLINE_SECONDS, Bridge

SAMPLE_APP = Path(__file__).parents[1] / "apps" / "durable_sample"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Bridge]:
    with Bridge(SAMPLE_APP, {"SAMPLE_TRACE": str(folder), "SAMPLE_SCHEDULE": "0 0 0 1 1 *"}) as bridge:
        yield bridge


@pytest.fixture
def bridge(shared: Bridge, folder: Path) -> Bridge:
    for left in folder.iterdir():
        left.unlink()
    return shared


def _output(state: OrchestrationState) -> Any:
    assert state.runtime_status == OrchestrationStatus.COMPLETED, state.failure_details
    return json.loads(state.serialized_output or "null")


def _trace(folder: Path) -> list[str]:
    file = folder / "trace.txt"
    return file.read_text().splitlines() if file.is_file() else []


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def _items(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"name": f"item {number}", **fields} for number in range(count)]


def test_races_keep_their_promises(bridge: Bridge) -> None:
    facts = _output(bridge.run("races"))
    assert facts == dict.fromkeys(facts, True)


def test_a_window_runs_every_item_backs_off_and_settles(bridge: Bridge, folder: Path) -> None:
    items = _items(12)
    items[3] |= {"fail_times": 2}
    items[5] |= {"raise": True}
    output = _output(bridge.run("window", {"size": 4, "items": items}))
    outcomes = {result["name"]: result["status"] for result in output["results"]}
    assert outcomes == {item["name"]: "failed" if "raise" in item else "done" for item in items}
    assert _trace(folder).count("start item 3") == 3
    assert _trace(folder)[-1] == "settle 12"


def test_a_window_never_runs_more_than_its_size_and_keeps_it_full(bridge: Bridge, folder: Path) -> None:
    request = {"size": 3, "items": [{"name": "quick"}, *_items(9, gate="gate")]}
    instance = bridge.client.schedule_new_orchestration("window", input=request)
    _wait_until(lambda: len([line for line in _trace(folder) if line.startswith("start item")]) == 3)
    (folder / "gate").touch()
    assert _output(bridge.finish(instance))["settled"] == 10
    running = peak = 0
    for line in _trace(folder):
        running += {"start": 1, "end": -1}.get(line.split()[0], 0)
        peak = max(peak, running)
    assert peak == 3


def test_an_event_cancels_a_window_which_settles_what_it_had(bridge: Bridge, folder: Path) -> None:
    request = {"size": 2, "items": _items(6, gate="gate")}
    instance = bridge.client.schedule_new_orchestration("window", input=request)
    _wait_until(lambda: len(_trace(folder)) == 2)
    bridge.client.raise_orchestration_event(instance, "cancel", data={"reason": "enough"})

    def seen() -> bool:
        state = bridge.client.get_orchestration_state(instance)
        return state is not None and state.serialized_custom_status == '{"settled": 0, "running": 2}'

    _wait_until(seen)
    (folder / "gate").touch()
    output = _output(bridge.finish(instance))
    assert (output["cancelled"], output["settled"]) == (True, 2)


def test_an_event_may_come_before_anybody_waits_for_it(bridge: Bridge, folder: Path) -> None:
    instance = bridge.client.schedule_new_orchestration("window", input={"size": 1, "items": _items(1, gate="gate")})
    bridge.client.raise_orchestration_event(instance, "cancel")
    (folder / "gate").touch()
    assert _output(bridge.finish(instance))["cancelled"]


def test_sub_orchestrations_answer_and_fail_their_parent(bridge: Bridge) -> None:
    assert _output(bridge.run("parent", _items(2))) == ["item 0", "item 1"]
    failed = bridge.run("parent", [{"name": "a"}, {"name": "b", "break": True}])
    assert failed.runtime_status == OrchestrationStatus.FAILED


def test_an_orchestration_continues_as_new(bridge: Bridge) -> None:
    assert _output(bridge.run("countdown", 5)) == "lift-off"
