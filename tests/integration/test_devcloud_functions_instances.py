"""Several instances of an app on one task hub: they share the work, come, go and die, and nothing is lost by that."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcloud.functions import FunctionsHost
from tests.apps.client import DEADLINE_SECONDS, SAMPLE_APP, SampleClient, sample_settings, wait_until
from tests.support import loopback

LIMIT = 2
ACTIVITIES = "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleClient]:
    folder = tmp_path_factory.mktemp("app")
    settings = sample_settings(folder, **{ACTIVITIES: str(LIMIT)})
    with FunctionsHost(SAMPLE_APP, folder / "state", settings=settings, instances=2) as host:
        yield SampleClient(host, folder)


@pytest.fixture
def client(shared: SampleClient) -> Iterator[SampleClient]:
    """Two instances that have nothing to do; those that a test took away are replaced by others."""
    shared.forget()
    wait_until(lambda: all(state == "ready" for state in states(shared.host).values()))
    while len(shared.host.instances) < 2:
        assert order(shared, "POST", "instances").status_code == 200
    yield shared
    shared.host.faults.clear()


def order(client: SampleClient, method: str, path: str, **arguments: Any) -> httpx.Response:
    headers = {"x-functions-key": client.host.master_key}
    url = f"{client.host.url}/devcloud/{path}"
    return loopback.request(method, url, headers=headers, json=arguments, timeout=DEADLINE_SECONDS)


def states(host: FunctionsHost) -> dict[str, str]:
    return {each["id"]: each["state"] for each in host.instances}


def pids(host: FunctionsHost) -> dict[str, int]:
    return {each["id"]: each["pid"] for each in host.instances}


def in_hand(host: FunctionsHost) -> dict[str, list[str]]:
    """The activities that each instance works on."""
    return {
        each["id"]: [work["name"] for work in each["in_hand"] if work["kind"] == "activity"] for each in host.instances
    }


def start(client: SampleClient, count: int, **fields: Any) -> dict[str, str]:
    items = [{"name": f"item {number}", "gate": "gate", **fields} for number in range(count)]
    return client.start("window", {"size": count, "items": items})


def finish(client: SampleClient, links: dict[str, str], count: int) -> Counter[str]:
    """Let everything end; how often each activity was begun."""
    client.open_gate()
    assert client.finish(links)["output"]["settled"] == count
    return Counter(line for line in client.trace if line.startswith("start"))


def test_instances_share_activities_episodes_and_requests_and_each_keeps_to_its_limits(client: SampleClient) -> None:
    links = start(client, 5)
    wait_until(lambda: len(client.trace) == 2 * LIMIT)
    described = order(client, "GET", "instances").json()
    assert [len(each["in_hand"]) for each in described] == [LIMIT, LIMIT]
    assert {work["kind"] for each in described for work in each["in_hand"]} == {"activity"}
    assert all(each["peak_memory_bytes"] > 10_000_000 for each in described)
    served = {client.call("GET", "api/instance").text for _ in range(2)}
    assert served == {each["id"] for each in described}
    assert set(finish(client, links, 5).values()) == {1}
    assert order(client, "POST", "instances/instance-0/kill").status_code == 400


@pytest.mark.parametrize("order_", ["kill", "drain"])
def test_what_an_instance_had_in_hand_when_it_went_is_delivered_to_the_others(
    client: SampleClient, order_: str
) -> None:
    [victim, other] = list(states(client.host))
    before = pids(client.host)
    links = start(client, 3)
    wait_until(lambda: len(client.trace) == 3)
    hers = len(in_hand(client.host)[victim])
    bound = {"seconds": 0.05} if order_ == "drain" else {}
    assert order(client, "POST", f"instances/{victim}/{order_}", **bound).status_code == 200
    wait_until(lambda: not _runs(before[victim]))
    assert finish(client, links, 3).total() == 3 + hers
    stays = order_ == "kill"
    wait_until(lambda: (victim in states(client.host)) == stays and "starting" not in states(client.host).values())
    assert pids(client.host).get(victim) != before[victim]
    assert pids(client.host)[other] == before[other]


@pytest.mark.parametrize("order_", ["drain", "restart"])
def test_an_instance_that_is_drained_ends_what_it_has_and_gets_nothing_more(client: SampleClient, order_: str) -> None:
    [victim, other] = list(states(client.host))
    before = pids(client.host)
    first = start(client, 2)
    wait_until(lambda: len(client.trace) == 2)
    assert order(client, "POST", f"instances/{victim}/{order_}", seconds=DEADLINE_SECONDS).status_code == 200
    second = start(client, 2)
    wait_until(lambda: len(client.trace) == 3)
    assert {key: len(work) for key, work in in_hand(client.host).items()} == {victim: 1, other: LIMIT}
    assert {client.call("GET", "api/instance").text for _ in range(3)} == {other}
    client.open_gate()
    for links in (first, second):
        client.finish(links)
    assert set(Counter(line for line in client.trace if line.startswith("start")).values()) == {2}
    assert len([line for line in client.trace if line.startswith("end")]) == 4
    wait_until(
        lambda: pids(client.host).get(victim) != before[victim] and "draining" not in states(client.host).values()
    )


def test_work_waits_where_no_instance_is_left_and_a_new_one_does_it(client: SampleClient) -> None:
    links = start(client, 2)
    wait_until(lambda: len(client.trace) == 2)
    for instance in states(client.host):
        assert order(client, "DELETE", f"instances/{instance}").status_code == 200
    assert client.host.instances == []
    assert client.host.worker_pid is None
    client.host.add_instance()
    assert min(finish(client, links, 2).values()) >= 2


def test_faults_may_be_meant_for_one_instance(client: SampleClient) -> None:
    faults = client.host.faults
    [victim, other] = list(states(client.host))
    before = pids(client.host)
    faults.pause(instance=victim)
    links = start(client, 3)
    wait_until(lambda: len(client.trace) == LIMIT)
    assert in_hand(client.host) == {victim: [], other: ["work"] * LIMIT}
    faults.kill_worker_on("work", instance=victim)
    faults.resume()
    assert finish(client, links, 3).total() >= 3
    assert pids(client.host)[other] == before[other]
    wait_until(lambda: states(client.host)[victim] == "ready" and pids(client.host)[victim] != before[victim])

    (client.folder / "gate").unlink()
    (client.folder / "trace.txt").unlink()
    faults.deliver_twice("work", at_once=True)
    links = start(client, 1)
    wait_until(lambda: client.trace == ["start item 0"] * 2)
    assert in_hand(client.host) == {victim: ["work"], other: ["work"]}
    finish(client, links, 1)


def test_an_instance_that_dies_at_an_episode_takes_nothing_of_it_along(client: SampleClient) -> None:
    victim = next(iter(states(client.host)))
    before = pids(client.host)
    events = client.host.history_events
    client.host.faults.kill_host_at(events + 1, before_commit=True, instance=victim)
    client.open_gate()
    for number in range(4):
        assert client.run("window", {"size": 1, "items": [{"name": f"item {number}"}]})["output"]["settled"] == 1
    assert client.host.faults.killed_at is not None
    wait_until(lambda: pids(client.host)[victim] != before[victim])


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("POST", "instances/instance-0/drain", {}),
        ("DELETE", "instances/instance-0", {}),
        ("POST", "instances/{}/drain", {"seconds": -1}),
        ("POST", "instances/{}/restart", {"seconds": "soon"}),
        ("POST", "instances/{}/drain", {"minutes": 1}),
    ],
)
def test_an_order_that_nobody_understands_changes_nothing(
    client: SampleClient, method: str, path: str, arguments: dict[str, Any]
) -> None:
    before = pids(client.host)
    answer = order(client, method, path.format(next(iter(before))), **arguments)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)
    assert pids(client.host) == before
    assert set(states(client.host).values()) == {"ready"}


@pytest.mark.parametrize(("instances", "worker"), [(0, "process"), (2, "inline")])
def test_instances_have_processes(tmp_path: Path, instances: int, worker: Any) -> None:
    with pytest.raises(ValueError, match="in processes only"):
        FunctionsHost(SAMPLE_APP, tmp_path, worker=worker, instances=instances)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
