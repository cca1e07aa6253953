"""The project's load orchestrator on the Functions host: it runs, backs off, is cancelled, and survives every death."""

import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcloud.functions import FunctionsHost
from tests.apps.client import LOAD_APP, DurableWebhooks, wait_until

# Names of entities, with the number of slices that each needs.
ENTITIES = ["a:1", "b:3", "flaky:2", "c:1", "d:2"]
REQUEST = {"entities": ENTITIES, "size": 2}

# What makes a load run its tables on lanes, and on lanes of one table.
LANES, TABLE_LANES = {"lanes": True}, {"activities_per_history": 3}


def _host(folder: Path) -> FunctionsHost:
    return FunctionsHost(LOAD_APP, folder / "state", settings={"SAMPLE_TRACE": str(folder)}, worker="inline")


def _landed(status: dict[str, Any]) -> dict[str, tuple[str, int]]:
    assert status["runtimeStatus"] == "Completed", status["output"]
    return {line["entity"]: (line["status"], line["rows"]) for line in status["output"]["results"]}


EVERYTHING = {entity: ("success", 10 * int(entity[-1])) for entity in ENTITIES}


def test_a_load_runs_to_its_end(tmp_path: Path) -> None:
    with _host(tmp_path) as host:
        webhooks = DurableWebhooks(host)
        webhooks.start("load", "load-1", REQUEST)
        wait_until(lambda: webhooks.status("load-1")["runtimeStatus"] == "Completed")
        assert _landed(webhooks.status("load-1")) == EVERYTHING
    trace = (tmp_path / "trace.txt").read_text().splitlines()
    assert trace.count("slice flaky:2 1") == 1
    assert trace[-1] == "settle 5"


@pytest.mark.parametrize("lanes", [False, True])
def test_a_cancelled_load_settles(tmp_path: Path, lanes: bool) -> None:
    with _host(tmp_path) as host:
        webhooks = DurableWebhooks(host)
        host.faults.pause("run_next" if lanes else "run_flow")
        webhooks.start("load", "load-1", {**REQUEST, "lanes": lanes})
        wait_until(lambda: (webhooks.status("load-1")["customStatus"] or {}).get("running") == 2)
        webhooks.raise_event("load-1", "cancel")
        wait_until(lambda: webhooks.status("load-1")["customStatus"]["cancelled"])
        host.faults.resume()
        wait_until(lambda: webhooks.status("load-1")["runtimeStatus"] == "Completed")
        landed = _landed(webhooks.status("load-1"))
        assert webhooks.status("load-1")["output"]["status"] == "cancel"
    states = {state for state, _ in landed.values()}
    # On lanes nothing has been taken where the first turns come after the cancellation.
    assert states == {"success", "cancel"} or (lanes and states == {"cancel"})


def test_what_lanes_take_is_taken_once_however_often_it_is_delivered(tmp_path: Path) -> None:
    with _host(tmp_path) as host:
        webhooks = DurableWebhooks(host)
        host.faults.deliver_twice("run_next", at_once=True, times=3)
        host.faults.deliver_twice("run_next", times=3)
        webhooks.start("load", "load-1", {**REQUEST, "lanes": True})
        wait_until(lambda: webhooks.status("load-1")["runtimeStatus"] == "Completed")
        assert _landed(webhooks.status("load-1")) == EVERYTHING


@pytest.mark.parametrize(("before_commit", "runs"), [(False, {}), (True, {}), (False, LANES), (True, TABLE_LANES)])
def test_a_load_survives_a_host_killed_between_any_two_history_events(
    tmp_path: Path, before_commit: bool, runs: dict[str, Any]
) -> None:
    status: dict[str, Any] = {}
    deaths = next_event = 0
    while status.get("runtimeStatus") != "Completed":
        host = _host(tmp_path)
        host.faults.kill_host_at(next_event + 1, before_commit=before_commit)
        with host:
            webhooks = DurableWebhooks(host)
            while status.get("runtimeStatus") != "Completed" and not host.wait_for_death(0.01):
                # A caller of a host that dies may get no response; what the host had accepted stays accepted.
                with contextlib.suppress(httpx.TransportError):
                    status = webhooks.status("load-1")
                    if not status:
                        webhooks.start("load", "load-1", {**REQUEST, **runs})
        if host.faults.killed_at is not None:
            deaths += 1
            next_event = host.faults.killed_at
    assert deaths > len(ENTITIES)
    assert _landed(status) == EVERYTHING
