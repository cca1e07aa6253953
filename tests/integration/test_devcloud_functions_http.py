"""The Functions host as an HTTP caller, an operator and a deployer meet it."""

import contextlib
import gzip
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devcloud.functions import FunctionAppError, FunctionsHost
from devcloud.functions.durable_store import TaskHub
from devcloud.functions.settings import read_host_json
from tests.apps.client import DEADLINE_SECONDS, SAMPLE_APP, SampleClient, sample_settings, wait_until
from tests.support import loopback


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleClient]:
    folder = tmp_path_factory.mktemp("app")
    settings = sample_settings(folder, SAMPLE_GREETING="hello")
    with FunctionsHost(SAMPLE_APP, folder / "state", settings=settings, worker="inline") as host:
        yield SampleClient(host, folder)


def test_a_request_reaches_its_function_whole_and_its_answer_comes_back(client: SampleClient) -> None:
    body = bytes(range(256)) * 4
    answer = client.call("POST", "api/ECHO/caf%C3%A9/7?q=1%2B1", content=body, headers={"X-Given": "yes"})
    assert answer.status_code == 201
    assert answer.content == body[::-1]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert [answer.headers[name] for name in ("x-number", "x-query", "x-seen")] == ["7", "1+1", "yes"]
    assert client.call("POST", "api/echo/x", content=b"").headers["x-number"] == "none"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "api/health"),
        ("GET", "api/echo/x/1"),
        ("POST", "api/echo/x/seven"),
        ("GET", "api/nothing"),
        ("GET", ""),
    ],
)
def test_what_no_route_takes_is_not_found(client: SampleClient, method: str, path: str) -> None:
    assert client.call(method, path).status_code == 404


def test_keys_open_functions(client: SampleClient) -> None:
    url, key = f"{client.host.url}/api/echo/x", client.host.function_key
    assert loopback.post(url).status_code == 401
    assert loopback.post(url, headers={"x-functions-key": "wrong"}).status_code == 401
    assert loopback.post(f"{url}?code={key}").status_code == 201
    assert loopback.post(f"{url}?code={client.host.master_key}").status_code == 201
    assert loopback.get(f"{client.host.url}/api/health").text == "hello"
    assert "SAMPLE_GREETING" in os.environ


def test_hundreds_who_come_at_once_are_all_answered(client: SampleClient) -> None:
    address, loop, go_on = urlsplit(client.host.url), client.host._loop, threading.Event()
    assert loop is not None
    with contextlib.ExitStack() as stack:
        stack.callback(go_on.set)
        loop.call_soon_threadsafe(go_on.wait)
        callers = [
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=DEADLINE_SECONDS))
            for _ in range(300)
        ]
        for caller in callers:
            caller.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        go_on.set()
        answers = Counter(caller.makefile("rb").readline() for caller in callers)
    assert answers == {b"HTTP/1.1 200 OK\r\n": 300}


def test_whoever_sends_a_body_byte_by_byte_is_cut_off_and_keeps_nobody_waiting(
    client: SampleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = urlsplit(client.host.url)
    monkeypatch.setattr("devcloud.functions.front_end.BODY_GRACE_SECONDS", 0.5)
    head = f"POST /api/echo/x HTTP/1.1\r\nHost: localhost\r\nx-functions-key: {client.host.function_key}\r\n"
    with contextlib.ExitStack() as stack:
        callers = []
        for length in ("Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n") * 50:
            place = (address.hostname, address.port)
            callers.append(stack.enter_context(socket.create_connection(place, timeout=DEADLINE_SECONDS)))
            callers[-1].sendall((head + length).encode())
        assert loopback.get(f"{client.host.url}/api/health", timeout=DEADLINE_SECONDS).text == "hello"
        answers = [caller.makefile("rb").read() for caller in callers]  # to the end of the connection
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 408 Request Timeout"}


def test_headers_that_come_slowly_are_too_long_or_are_none_are_refused_in_a_line(
    client: SampleClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = urlsplit(client.host.url)
    monkeypatch.setattr("devcloud.doors.HEADERS_SECONDS", 0.2)

    def status(text: str) -> bytes:
        with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_SECONDS) as caller:
            caller.sendall(text.encode())
            return caller.makefile("rb").readline().split()[1]

    head = "GET /api/health HTTP/1.1\r\nHost: localhost\r\n"
    assert status(f"{head}X: ") == b"408"
    assert status(f"{head}X: {'x' * 30_000}\r\nConnection: close\r\n\r\n") == b"200"
    assert status(f"{head}X: {'x' * 20_000}\r\nY: {'y' * 20_000}\r\n\r\n") == b"431"
    assert status("no request\r\n\r\n") == status(f"{head}a b: c\r\n\r\n") == b"400"
    assert "Traceback" not in caplog.text


def test_a_function_that_raises_answers_500(client: SampleClient) -> None:
    answer = client.call("GET", "api/broken")
    assert (answer.status_code, answer.content) == (500, b"")


def test_a_timer_function_runs_on_order_with_the_master_key(client: SampleClient) -> None:
    url = f"{client.host.url}/admin/functions"
    master = {"x-functions-key": client.host.master_key}
    assert loopback.post(f"{url}/on_tick", json={}).status_code == 401
    function_key = {"x-functions-key": client.host.function_key}
    assert loopback.post(f"{url}/on_tick", json={}, headers=function_key).status_code == 401
    assert loopback.post(f"{url}/nothing", json={}, headers=master).status_code == 404
    assert loopback.post(f"{url}/on_tick", json={}, headers=master).status_code == 202
    wait_until(lambda: "end ticked" in client.trace)
    assert client.trace[0] == "tick past_due=False"


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with FunctionsHost(
        SAMPLE_APP, tmp_path / "state", settings=sample_settings(tmp_path), worker="inline", http_limit_seconds=0.05
    ) as host:
        client = SampleClient(host, tmp_path)
        assert client.call("GET", "api/slow").status_code == 502
        client.open_gate()


def test_a_timer_fires_by_its_schedule(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path, SAMPLE_SCHEDULE="* * * * * *")
    with FunctionsHost(SAMPLE_APP, tmp_path / "state", settings=settings, worker="inline") as host:
        client = SampleClient(host, tmp_path)
        wait_until(lambda: client.trace.count("end ticked") >= 2)


def test_a_tick_that_was_missed_is_made_up_for(tmp_path: Path) -> None:
    settings = sample_settings(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    hub = TaskHub(state / "SampleHub.sqlite3")
    hub.record_tick("on_tick", datetime.now(UTC) - timedelta(days=400))
    hub.close()
    with FunctionsHost(SAMPLE_APP, state, settings=settings, worker="inline") as host:
        client = SampleClient(host, tmp_path)
        wait_until(lambda: client.trace.count("end ticked") == 1)
    with FunctionsHost(SAMPLE_APP, state, settings=settings, worker="inline") as host:
        loopback.post(f"{host.url}/admin/functions/on_tick", headers={"x-functions-key": host.master_key})
        wait_until(lambda: client.trace.count("end ticked") == 2)
    ticks = [line for line in client.trace if line.startswith("tick")]
    assert ticks == ["tick past_due=True", "tick past_due=False"]


def _write_app(folder: Path, text: str, host_json: str = "{}") -> Path:
    folder.mkdir()
    (folder / "function_app.py").write_text(text)
    (folder / "host.json").write_text(host_json)
    return folder


_TWO_LINES = "import azure.functions as func\napp = func.FunctionApp()\n"


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(bytes(20_000_000))], ids=["none", "a bomb"])
def test_a_body_that_says_to_be_compressed_comes_as_it_was_sent(client: SampleClient, body: bytes) -> None:
    response = client.call("POST", "api/echo/x", content=body, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 201
    assert response.content == body[::-1]


@pytest.mark.parametrize(
    ("text", "host_json", "reason"),
    [
        ("import no_such_module", "{}", "no_such_module"),
        ("app = None", "{}", "Could not find top level function app instances"),
        (_TWO_LINES + "@app.route('x')\ndef f(req: list[dict]): ...", "{}", "cannot load the f function"),
        (_TWO_LINES + "@app.route('{id:even}')\ndef f(req: func.HttpRequest) -> str: ...", "{}", "constraint 'even'"),
        (
            _TWO_LINES + "@app.timer_trigger('t', '%UNSET%')\ndef f(t: func.TimerRequest): ...",
            "{}",
            "no app setting UNSET",
        ),
        (_TWO_LINES + "@app.timer_trigger('t', '* *')\ndef f(t: func.TimerRequest): ...", "{}", "NCRONTAB"),
        (_TWO_LINES, '{"functionTimeout": "soon"}', "functionTimeout 'soon'"),
        (_TWO_LINES, "{", "host.json"),
    ],
)
def test_an_app_that_cannot_be_indexed_says_why(tmp_path: Path, text: str, host_json: str, reason: str) -> None:
    app = _write_app(tmp_path / "app", text, host_json)
    with pytest.raises(FunctionAppError, match=reason), FunctionsHost(app, tmp_path / "state", worker="inline"):
        pass


def test_the_command_line_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    settings = tmp_path / "local.settings.json"
    settings.write_text('{"IsEncrypted": false, "Values": {"SAMPLE_SCHEDULE": "0 0 0 1 1 *", "SAMPLE_GREETING": "hi"}}')
    command = [sys.executable, "-m", "devcloud.functions", "--app", str(SAMPLE_APP), "--port", "0"]
    command += ["--state", str(tmp_path / "state"), "--settings", str(settings)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAMPLE_")}
    environment["SAMPLE_TRACE"] = str(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        try:
            assert run.stdout is not None
            lines = [run.stdout.readline()]
            while "Master key" not in lines[-1]:
                lines.append(run.stdout.readline())
                assert lines[-1], "the host ended early"
            health = next(line for line in lines if "health: [GET] " in line).split()[-1]
            assert loopback.get(health, timeout=DEADLINE_SECONDS).text == "hi"
            assert any("on_tick: timerTrigger 0 0 0 1 1 *" in line for line in lines)
        finally:
            run.send_signal(signal.SIGTERM)
        assert run.wait(DEADLINE_SECONDS) == 0


def test_the_log_level_is_that_of_host_json_or_of_the_setting_that_overrules_it(tmp_path: Path) -> None:
    app = _write_app(tmp_path / "app", "", '{"logging": {"logLevel": {"default": "Error"}}}')
    overruled = {"AzureFunctionsJobHost__logging__logLevel__default": "Warning"}

    assert read_host_json(app, {}).log_level == logging.ERROR
    assert read_host_json(app, overruled).log_level == logging.WARNING
    with pytest.raises(FunctionAppError, match="no log level 'Loud'"):
        read_host_json(app, {"AzureFunctionsJobHost__logging__logLevel__default": "Loud"})
