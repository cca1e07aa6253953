"""Keys, origins and private files of the laptop cloud."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devcloud import up
from devcloud.doors import is_from_elsewhere, listen, matches, write_private
from devcloud.functions.keys import load_keys
from devcloud.functions.service import LOOPBACK
from devcloud.onelake import OneLake
from devcloud.replicator.status_api import StatusServer
from devcloud.up import _hold, _write_settings, main

ROOT = Path(__file__).parents[2]


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("given", ["", "ke", "key ", "schl\u00fcssel", "\udcff\udcfe", "\ud800", "\0", "\u202e"])
def test_any_text_may_be_offered_as_a_key(given: str) -> None:
    assert not matches(given, "key", "other")
    assert matches("key", "other", "key")


@pytest.mark.parametrize("server", ["lake", "status", "database"])
def test_hundreds_may_wait_while_a_server_takes_nobody(server: str, tmp_path: Path) -> None:
    go_on = threading.Event()
    with contextlib.ExitStack() as stack:
        if server == "lake":
            lake = stack.enter_context(OneLake(tmp_path, 0))
            loop = lake._loop
            assert loop is not None
            loop.call_soon_threadsafe(go_on.wait)
            port = urlsplit(lake.url).port
        elif server == "status":
            status = StatusServer({})  # never started
            stack.callback(status._server.server_close)
            port = urlsplit(status.url).port
        else:
            port = stack.enter_context(listen("127.0.0.1", 0)).getsockname()[1]
        stack.callback(go_on.set)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
    gc.collect()  # A connection that the server has left open is reported here, and not in a test that comes later.


def test_no_server_listens_beyond_this_machine() -> None:
    """None is told another address, whatever its parameters take."""
    hosts = set()
    for path in (ROOT / "devcloud").rglob("*.py"):
        text = path.read_text()
        hosts |= {*re.findall(r"^        host: str = (.+),$", text, re.MULTILINE)}
        hosts |= {*re.findall(r"(?:\.bind\(\(|(?<!def )\blisten\(|create_server\(\(|_Server\(\()(\S.*?),", text)}
        assert "--host" not in text
        assert "0.0.0.0" not in text
    assert hosts == {'"127.0.0.1"', "LOOPBACK", "host", "self._host"}
    assert LOOPBACK == "127.0.0.1"


def test_files_with_keys_are_their_owners_alone(tmp_path: Path) -> None:
    for path in (tmp_path / "keys.json", tmp_path / "local.settings.json", tmp_path / "new"):
        path.write_text('{"MadeBy": "somebody"}') if path.name != "new" else None
        if path.exists():
            path.chmod(0o644)
        write_private(path, "{}")
        assert (mode_of(path), path.read_text()) == (0o600, "{}")
    keys = tmp_path / "host" / "keys.json"
    keys.parent.mkdir()
    made = load_keys(keys, None)
    assert mode_of(keys) == 0o600
    assert load_keys(keys, None) == made
    project = tmp_path / "project"
    project.mkdir()
    _write_settings(project, {"LAKE_ACCOUNT_KEY": "a2V5"})
    settings = project / "local.settings.json"
    assert mode_of(settings) == 0o600
    assert json.loads(settings.read_text())["Values"] == {"LAKE_ACCOUNT_KEY": "a2V5"}
    assert sorted(path.name for path in project.iterdir()) == ["local.settings.json"]
    with _hold(tmp_path / "cloud"):
        assert mode_of(tmp_path / "cloud") == 0o700


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),
        ({"Host": "127.0.0.1:7071", "Origin": "http://127.0.0.1:7071"}, False),
        ({"Host": "127.0.0.1:7071", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Host": "127.0.0.1:7071", "Sec-Fetch-Site": "none"}, False),
        ({"Host": "127.0.0.1:7071", "Origin": "http://127.0.0.1:7072"}, True),
        ({"Host": "127.0.0.1:7071", "Origin": "https://evil.example.com"}, True),
        ({"Host": "127.0.0.1:7071", "Origin": "null"}, True),
        ({"Host": "127.0.0.1:7071", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Host": "127.0.0.1:7071", "Sec-Fetch-Site": "same-site"}, True),
    ],
)
def test_pages_of_other_origins_are_told(headers: dict[str, str], elsewhere: bool) -> None:
    assert is_from_elsewhere(headers) is elsewhere


@pytest.mark.skipif(sys.platform == "win32", reason="flock is of Unix")
def test_a_second_cloud_on_one_directory_names_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ports = [word for part in ("functions", "sql", "lake") for word in (f"--{part}-port", "0")]
    with _hold(tmp_path) as holder:
        assert holder is None
        assert main(["up", "--project", str(tmp_path), "--directory", str(tmp_path), *ports]) == 2
    said = capsys.readouterr().err
    assert f"(process {os.getpid()}) uses {tmp_path}" in said
    assert "--directory OTHER" in said
    with _hold(tmp_path) as holder:
        assert holder is None


class SlowToStart:
    """A laptop cloud that is asked to stop while it starts."""

    def __init__(self, *arguments: object, **options: object) -> None: ...

    def __enter__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    def __exit__(self, *exc_info: object) -> None: ...


def test_a_cloud_that_is_asked_to_stop_while_it_starts_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "LaptopCloud", SlowToStart)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ports = [word for part in ("functions", "sql", "lake") for word in (f"--{part}-port", "0")]
    try:
        assert main(["up", "--directory", str(tmp_path / "data"), *ports]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert "Stopped; the data stays in" in capsys.readouterr().out
