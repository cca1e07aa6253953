"""Durable Functions on the host: the shipped SDK's orchestrators and client against the task hub."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from devcloud.functions import FunctionsHost
from devcloud.functions.durable_history import EventType, make_event
from devcloud.functions.durable_replay import HostReplay
from tests.apps.client import SAMPLE_APP, SampleClient, sample_settings, wait_until
from tests.support import loopback


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleClient]:
    folder = tmp_path_factory.mktemp("app")
    with FunctionsHost(SAMPLE_APP, folder / "state", settings=sample_settings(folder), worker="inline") as host:
        yield SampleClient(host, folder)


@pytest.fixture
def client(shared: SampleClient) -> SampleClient:
    for left in shared.folder.iterdir():
        if left.is_file():
            left.unlink()
    return shared


def _items(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"name": f"item {number}", **fields} for number in range(count)]


def test_a_window_runs_every_item_backs_off_and_settles(client: SampleClient) -> None:
    items = _items(12)
    items[3] |= {"fail_times": 2}
    items[5] |= {"raise": True}
    status = client.run("window", {"size": 4, "items": items})
    assert status["runtimeStatus"] == "Completed"
    outcomes = {result["name"]: result["status"] for result in status["output"]["results"]}
    assert outcomes == {item["name"]: "failed" if "raise" in item else "done" for item in items}
    assert client.trace.count("start item 3") == 3
    assert client.trace[-1] == "settle 12"
    assert status["customStatus"] == {"settled": 12, "running": 0}


def test_a_window_never_runs_more_than_its_size_and_keeps_it_full(client: SampleClient) -> None:
    items = _items(9, gate="gate")
    links = client.start("window", {"size": 3, "items": [{"name": "quick"}, *items]})
    # The quick one's place is taken while the others of the first window still run.
    wait_until(lambda: len([line for line in client.trace if line.startswith("start item")]) == 3)
    client.open_gate()
    assert client.finish(links)["output"]["settled"] == 10
    running = peak = 0
    for line in client.trace:
        running += {"start": 1, "end": -1}.get(line.split()[0], 0)
        peak = max(peak, running)
    assert peak == 3


def test_without_the_extra_timer_a_window_waits_for_its_latest_task(client: SampleClient) -> None:
    """As on Azure: the extension replays one WhenAny after the other, and the SDK names only new tasks in each."""
    items = [{"name": "a"}, {"name": "b", "gate": "b"}, {"name": "c", "gate": "c"}, {"name": "d"}]
    links = client.start("window", {"size": 2, "nudge": False, "items": items})
    wait_until(lambda: "start c" in client.trace)
    client.open_gate("b")
    wait_until(lambda: client.status(links)["customStatus"]["settled"] == 2)
    assert "start d" not in client.trace, "the wait for c holds d back, though b has made room"
    client.open_gate("c")
    assert client.finish(links)["output"]["settled"] == 4


def test_races_keep_their_promises(client: SampleClient) -> None:
    facts = client.run("races")["output"]
    assert facts == dict.fromkeys(facts, True)


def test_an_event_cancels_a_window_which_settles_what_it_had(client: SampleClient) -> None:
    links = client.start("window", {"size": 2, "items": _items(6, gate="gate")}, "to-cancel")
    wait_until(lambda: len(client.trace) == 2)
    assert client.call("GET", "api/client/raise/to-cancel?event=cancel&reason=enough").status_code == 200
    wait_until(lambda: client.status(links)["customStatus"] == {"settled": 0, "running": 2})
    client.open_gate()
    output = client.finish(links)["output"]
    assert (output["cancelled"], output["settled"]) == (True, 2)


def test_retries_belong_to_the_host(client: SampleClient) -> None:
    status = client.run("retried", [{"name": "a"}, {"name": "b", "raise": True}, {"name": "c"}])
    assert status["output"] == ["ok", "failed", "ok"]
    assert client.trace.count("start b") == 3


def test_sub_orchestrations_answer_and_fail_their_parent(client: SampleClient) -> None:
    assert client.run("parent", _items(2))["output"] == ["item 0", "item 1"]
    failed = client.run("parent", [{"name": "a"}, {"name": "b", "break": True}])
    assert failed["runtimeStatus"] == "Failed"
    assert "Orchestrator function 'child' failed: child is broken" in failed["output"]


def test_an_orchestration_that_continues_as_new_forgets_its_history(client: SampleClient) -> None:
    links = client.start("countdown", 5)
    assert client.finish(links)["output"] == "lift-off"
    assert len(client.status(links, showHistory="true")["historyEvents"]) == 2


def test_an_event_may_come_before_anybody_waits_for_it(client: SampleClient) -> None:
    client.host.faults.pause()
    links = client.start("window", {"size": 1, "items": [{"name": "x"}]})
    posted = loopback.post(links["sendEventPostUri"].replace("{eventName}", "cancel"), json={"why": "because"})
    assert posted.status_code == 202
    client.host.faults.resume()
    assert client.finish(links)["output"]["cancelled"]


def test_an_instance_id_is_taken_while_its_orchestration_runs(client: SampleClient) -> None:
    links = client.start("listener", None, "only-one")
    refused = client.call("POST", "api/start/listener/only-one")
    assert refused.status_code == 409
    assert "already exists" in refused.text
    direct = loopback.post(links["statusQueryGetUri"].replace("instances/only-one", "orchestrators/listener/only-one"))
    assert direct.status_code == 409
    client.call("GET", "api/client/raise/only-one?event=go&reason=now")
    assert client.finish(links)["output"] == {"first": {"reason": "now"}}
    again = client.start("listener", None, "only-one")
    assert client.status(again)["runtimeStatus"] in ("Pending", "Running")
    client.call("GET", "api/client/terminate/only-one")
    client.finish(again)


def test_the_client_asks_ends_and_purges(client: SampleClient) -> None:
    links = client.start("listener", {"a": 1}, "listener-1")
    wait_until(lambda: client.status(links)["runtimeStatus"] == "Running")
    status = client.call("GET", "api/client/status/listener-1").json()
    # The SDK's client encodes its input twice, and the extension shows it as it was stored.
    assert (status["name"], json.loads(status["input"])) == ("listener", {"a": 1})
    assert client.call("GET", "api/client/prefix/listener-").json() == ["listener-1"]
    assert client.call("GET", "api/client/purge/listener-1").status_code == 500
    assert client.call("GET", "api/client/terminate/listener-1").status_code == 200
    assert client.finish(links)["output"] == "as ordered"
    assert client.call("GET", "api/client/raise/listener-1?event=go").status_code == 500
    assert client.call("GET", "api/client/purge/listener-1").json() == 1
    assert loopback.get(links["statusQueryGetUri"]).status_code == 404
    assert client.call("GET", "api/client/prefix/listener-").json() == []


def test_the_webhooks_need_their_key_and_answer_as_the_extension_does(client: SampleClient) -> None:
    links = client.start("listener", None, "hooked")
    bare = str(httpx.URL(links["statusQueryGetUri"]).copy_with(query=None))
    assert loopback.get(bare).status_code == 401
    running = loopback.get(links["statusQueryGetUri"])
    assert (running.status_code, running.headers["retry-after"]) == (202, "5")
    assert loopback.post(links["suspendPostUri"]).status_code == 202
    wait_until(lambda: client.status(links)["runtimeStatus"] == "Suspended")
    loopback.post(links["sendEventPostUri"].replace("{eventName}", "go"), json="now")
    assert loopback.post(links["resumePostUri"]).status_code == 202
    assert client.finish(links)["output"] == {"first": "now"}
    history = client.status(links, showHistory="true", showHistoryOutput="true")["historyEvents"]
    assert [event["EventType"] for event in history] == ["ExecutionStarted", "EventRaised", "ExecutionCompleted"]
    assert loopback.post(links["terminatePostUri"]).status_code == 410
    unknown = links["statusQueryGetUri"].replace("instances/hooked", "orchestrators/nobody")
    assert loopback.post(unknown).status_code == 400
    listed = loopback.get(links["statusQueryGetUri"].replace("instances/hooked", "instances"), params=None)
    assert "hooked" in [instance["instanceId"] for instance in listed.json()]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"runtimeStatus": "Completed"}, ["query-1"]),
        ({"runtimeStatus": "Completed,Running"}, ["query-1", "query-2"]),
        ({"createdTimeFrom": "2999-01-01T00:00:00Z"}, []),
        ({"createdTimeTo": "2999-01-01T00:00:00Z"}, ["query-1", "query-2"]),
        ({"top": "1"}, ["query-1"]),
    ],
)
def test_instances_are_found_by_status_time_and_prefix(
    client: SampleClient, query: dict[str, str], expected: list[str]
) -> None:
    links = client.start("listener", None, "query-1")
    client.call("GET", "api/client/raise/query-1?event=go")
    client.finish(links)
    running = client.start("listener", None, "query-2")
    wait_until(lambda: client.status(running)["runtimeStatus"] == "Running")
    url = httpx.URL(running["statusQueryGetUri"].replace("instances/query-2", "instances"))
    found = loopback.get(url.copy_merge_params({"instanceIdPrefix": "query-", **query})).json()
    client.call("GET", "api/client/terminate/query-2")
    client.finish(running)
    assert [instance["instanceId"] for instance in found] == expected


def test_an_inline_worker_that_is_killed_leaves_a_zombie(client: SampleClient) -> None:
    links = client.start("window", {"size": 1, "items": [{"name": "x", "gate": "gate"}]})
    wait_until(lambda: client.trace == ["start x"])
    client.host.kill_worker()
    wait_until(lambda: client.trace == ["start x", "start x"])
    client.open_gate()
    assert client.finish(links)["output"]["settled"] == 1
    wait_until(lambda: client.trace.count("end x") == 2)


def _raw(kind: int, **fields: Any) -> dict[str, Any]:
    return {"actionType": kind, **fields}


def _call(name: str) -> dict[str, Any]:
    return _raw(0, functionName=name, input="null")


def test_the_hosts_replay_starts_an_action_when_the_one_before_it_is_over() -> None:
    first = _raw(11, compoundActions=[_call("a"), _call("b")])
    actions = [first, _raw(11, compoundActions=[_call("c")]), _call("d")]
    history = [make_event(EventType.EXECUTION_STARTED), make_event(EventType.TASK_COMPLETED, TaskScheduledId=0)]
    replay = HostReplay(actions)
    replay.run(history)
    assert [work.action["functionName"] for work in replay.work.values()] == ["a", "b", "c"]
    assert replay.blocked
    replay = HostReplay(actions)
    replay.run([*history, make_event(EventType.TASK_COMPLETED, TaskScheduledId=1)])
    assert len(replay.work) == 3, "b was started before c, so its end does not end the wait for c"
    replay = HostReplay(actions)
    replay.run([*history, make_event(EventType.TASK_FAILED, TaskScheduledId=2)])
    assert [work.task_id for work in replay.work.values()] == [0, 1, 2, 3]


def test_base64_survives_an_activity(client: SampleClient) -> None:
    name = base64.b64encode(bytes(range(200))).decode()
    assert client.run("child", {"name": name})["output"] == name
