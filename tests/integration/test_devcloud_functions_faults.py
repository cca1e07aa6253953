"""The Functions host dies, its worker dies, activities come twice: nothing is lost, everything runs at least once."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devcloud.functions import FunctionsHost
from tests.apps.client import DEADLINE_SECONDS, SAMPLE_APP, SampleClient, sample_settings, wait_until
from tests.support import loopback


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleClient]:
    folder = tmp_path_factory.mktemp("app")
    with FunctionsHost(SAMPLE_APP, folder / "state", settings=sample_settings(folder)) as host:
        yield SampleClient(host, folder)


@pytest.fixture
def client(shared: SampleClient) -> Iterator[SampleClient]:
    shared.forget()
    yield shared
    shared.host.faults.clear()


def _window(count: int, size: int = 2, **fields: Any) -> dict[str, Any]:
    return {"size": size, "items": [{"name": f"item {number}", **fields} for number in range(count)]}


def master_of(client: SampleClient) -> dict[str, str]:
    return {"x-functions-key": client.host.master_key}


def test_orders_take_the_master_key_and_no_page_of_another_origin(client: SampleClient) -> None:
    url = f"{client.host.url}/devcloud/worker/kill"
    worker = client.host.worker_pid
    own = client.host.function_key.encode()
    for key in (b"", b"wrong", own, "schl\u00fcssel".encode(), b"\xff\xfe"):
        headers = [(b"x-functions-key", key)]
        assert loopback.post(url, headers=headers).status_code == 401
        assert loopback.get(f"{client.host.url}/devcloud/state", headers=headers).status_code == 401
        if key != own:
            assert loopback.post(f"{client.host.url}/api/start/window/x", headers=headers).status_code == 401
    for foreign in ({"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert loopback.post(url, headers={**master_of(client), **foreign}).status_code == 403
    assert client.host.worker_pid == worker


def test_a_worker_killed_in_mid_activity_is_replaced_and_the_activity_delivered_again(client: SampleClient) -> None:
    links = client.start("window", _window(1, gate="gate"))
    wait_until(lambda: client.trace == ["start item 0"])
    killed = client.host.worker_pid
    client.host.kill_worker()
    wait_until(lambda: client.trace == ["start item 0"] * 2)
    state = loopback.get(f"{client.host.url}/devcloud/state", headers=master_of(client)).json()
    assert [(activity["name"], activity["deliveries"]) for activity in state["open_activities"]] == [("work", 2)]
    client.open_gate()
    assert client.finish(links)["output"]["results"] == [{"name": "item 0", "status": "done"}]
    assert client.host.worker_pid != killed


@pytest.mark.parametrize("moment", ["start", "finish"])
def test_a_worker_that_dies_at_a_chosen_moment_costs_only_a_delivery(client: SampleClient, moment: str) -> None:
    order = {"activity": "work", "moment": moment, "skip": 1}
    assert (
        loopback.post(
            f"{client.host.url}/devcloud/faults/kill_worker_on", json=order, headers=master_of(client)
        ).status_code
        == 200
    )
    output = client.run("window", _window(4))["output"]
    assert output["settled"] == 4
    # The second delivery is lost: whether it got as far as running is a matter of timing.
    assert client.trace.count("settle 4") == 1
    if moment == "finish":
        assert len([line for line in client.trace if line.startswith("end")]) > 4


def test_a_dead_worker_may_be_reported_as_a_failed_activity(client: SampleClient) -> None:
    client.host.faults.set_fail_on_worker_exit()
    client.host.faults.kill_worker_on("work")
    output = client.run("window", _window(1))["output"]
    assert output["results"] == [{"name": "item 0", "status": "failed"}]


@pytest.mark.parametrize("at_once", [False, True])
def test_an_activity_delivered_twice_answers_once(client: SampleClient, at_once: bool) -> None:
    client.host.faults.deliver_twice("work", at_once=at_once)
    links = client.start("window", _window(1, gate="gate"))
    if at_once:
        wait_until(lambda: client.trace == ["start item 0"] * 2)
    client.open_gate()
    assert client.finish(links)["output"]["results"] == [{"name": "item 0", "status": "done"}]
    wait_until(lambda: client.trace.count("end item 0") == 2)


def test_paused_activities_wait(client: SampleClient) -> None:
    client.host.faults.pause("settle")
    links = client.start("window", _window(2))
    wait_until(lambda: client.trace.count("end item 0") + client.trace.count("end item 1") == 2)
    assert client.status(links)["runtimeStatus"] == "Running"
    client.host.faults.resume()
    assert client.finish(links)["output"]["settled"] == 2


def test_a_function_that_outstays_its_timeout_fails_and_takes_the_worker_along(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path, AzureFunctionsJobHost__functionTimeout="00:00:01")
    with FunctionsHost(SAMPLE_APP, tmp_path / "state", settings=settings) as host:
        client = SampleClient(host, tmp_path)
        first = host.worker_pid
        output = client.run("window", _window(1, gate="never"))["output"]
        assert output["results"] == [{"name": "item 0", "status": "failed"}]
        assert host.worker_pid != first


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions", 2),
        ("PYTHON_THREADPOOL_THREAD_COUNT", 1),
    ],
)
def test_no_more_activities_run_at_once_than_the_settings_allow(tmp_path: Path, setting: str, limit: int) -> None:
    settings = sample_settings(tmp_path, **{setting: str(limit)})
    with FunctionsHost(SAMPLE_APP, tmp_path / "state", settings=settings) as host:
        client = SampleClient(host, tmp_path)
        client.run("window", _window(8, size=8, seconds=0.02))
        running = peak = 0
        for line in client.trace:
            running += {"start": 1, "end": -1}.get(line.split()[0], 0)
            peak = max(peak, running)
        assert peak == limit


@pytest.mark.parametrize("before_commit", [False, True])
def test_a_host_killed_between_any_two_history_events_resumes(tmp_path: Path, before_commit: bool) -> None:
    """Kill the host at its first history event, start it again, kill it at the next, and so on to the end."""
    settings = sample_settings(tmp_path)
    items = [{"name": "a"}, {"name": "b", "fail_times": 1}, {"name": "c", "raise": True}]
    status: dict[str, Any] = {}
    deaths = next_event = 0
    while status.get("runtimeStatus") != "Completed":
        host = FunctionsHost(SAMPLE_APP, tmp_path / "state", settings=settings, worker="inline")
        host.faults.kill_host_at(next_event + 1, before_commit=before_commit)
        with host:
            client = SampleClient(host, tmp_path)
            while status.get("runtimeStatus") != "Completed" and not host.wait_for_death(0.01):
                # A caller of a host that dies may get no response; what the host had accepted stays accepted.
                with contextlib.suppress(httpx.TransportError):
                    status = client.call("GET", "api/client/status/load").json()
                    if status.get("runtimeStatus") is None:
                        client.start("window", {"size": 2, "items": items}, "load")
        if host.faults.killed_at is not None:
            deaths += 1
            next_event = host.faults.killed_at
    # What waits for what: the start, the first try of b, its timer, its second try, settle; the rest may share commits.
    assert deaths >= 5
    output = status["output"]
    assert sorted((result["name"], result["status"]) for result in output["results"]) == [
        ("a", "done"),
        ("b", "done"),
        ("c", "failed"),
    ]


def test_a_host_process_that_is_killed_resumes_and_leaves_no_worker_behind(tmp_path: Path) -> None:
    environment = os.environ | sample_settings(tmp_path)
    command = [sys.executable, "-m", "devcloud.functions", "--app", str(SAMPLE_APP), "--port", "0"]
    command += ["--state", str(tmp_path / "state"), "--function-key", "open"]

    def serve() -> tuple[subprocess.Popen[str], str, str]:
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert run.stdout is not None
        lines = iter(run.stdout.readline, "")
        url = next(line for line in lines if "health: [GET] " in line).split()[-1].removesuffix("/api/health")
        master = next(line for line in lines if "Master key" in line).split()[-1]
        return run, url, master

    def status(url: str) -> dict[str, Any]:
        answer: dict[str, Any] = loopback.get(
            f"{url}/api/client/status/load?code=open", timeout=DEADLINE_SECONDS
        ).json()
        return answer

    run, url, master = serve()
    try:
        request = {"size": 2, "items": [{"name": "a", "gate": "gate"}, {"name": "b", "gate": "gate"}]}
        loopback.post(f"{url}/api/start/window/load?code=open", json=request, timeout=DEADLINE_SECONDS)
        trace = tmp_path / "trace.txt"
        wait_until(lambda: trace.is_file() and len(trace.read_text().splitlines()) == 2)
        worker = loopback.get(f"{url}/devcloud/state", headers={"x-functions-key": master}).json()["worker_pid"]
        run.send_signal(signal.SIGKILL)
        run.wait(DEADLINE_SECONDS)
        wait_until(lambda: not Path(f"/proc/{worker}").exists())
    finally:
        run.kill()
        run.communicate()
    (tmp_path / "gate").touch()
    run, url, _ = serve()
    try:
        wait_until(lambda: status(url)["runtimeStatus"] == "Completed")
        assert status(url)["output"]["settled"] == 2
    finally:
        run.terminate()
        run.communicate()
