"""Places that do not respond: reported within seconds, tried once, and no reason to leave out what can be reached."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from hygge_engine.cli.doctor import examine
from hygge_engine.cli.reachability import Reachability
from hygge_engine.errors import HomeUnavailable
from hygge_engine.homes.mssql import connect, sessions, silence
from hygge_engine.homes.mssql.connect import check_reachable
from hygge_engine.homes.mssql.errors import Translate, diagnose_mssql_python
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.project import load_project
from tests.unit.project_files import FLOW

HYGGE = Path(sys.executable).parent / "hygge"
REPOSITORY = Path(__file__).parents[2]

# Below the minutes that a load takes to give up, above what a busy machine needs.
_SOON_SECONDS = 90


def hygge(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(HYGGE), *arguments]
    return subprocess.run(
        command, cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, timeout=_SOON_SECONDS, check=False
    )


ENVIRONMENT = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}


class Silent:
    """Listens on a port and says nothing, once ``answers`` connections have had an HTTP response; or hangs up."""

    def __init__(self, answers: int = 0, *, hangs_up: bool = False) -> None:
        self._answers = answers
        self._hangs_up = hangs_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.asked = threading.Event()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            if len(self.connections) <= self._answers:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                connection.close()
            elif self._hangs_up:
                connection.close()
            else:
                self.asked.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, which would take one more connection otherwise
        self._listening.join()
        self._listener.close()
        for connection in self.connections:
            connection.close()


@contextmanager
def silent(answers: int = 0, *, hangs_up: bool = False) -> Iterator[Silent]:
    server = Silent(answers, hangs_up=hangs_up)
    try:
        yield server
    finally:
        server.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def write_project(directory: Path, lake: str, lake_flows: int = 9, *, made_by: str = "") -> None:
    """A flow from file to folder, and others from the same file to a lake."""
    (directory / "hygge.yml").write_text("name: shop\n")
    (directory / "orders.csv").write_text("id\n1\n")
    home = "home: {type: local, path: orders.csv, format: csv}"
    stores = {"here": "store: {type: local}"}
    store = f"type: adls, account_url: '{lake}', filesystem: raw, credential: account_key, account_name: a"
    for number in range(lake_flows):
        stores[f"lake{number}"] = f"store: {{{store}, account_key: a2V5, path: shop{number}}}"
    for name, text in stores.items():
        (directory / f"flows/{name}").mkdir(parents=True)
        (directory / f"flows/{name}/flow.yml").write_text(f"{home}\n{text}\nentities: [orders]\n")
    if made_by:
        (directory / "local.settings.json").write_text(json.dumps({"MadeBy": made_by, "Values": {"ONELAKE_URL": lake}}))


def test_one_place_is_asked_once_and_the_rest_loads(tmp_path: Path) -> None:
    with silent(hangs_up=True) as lake:
        write_project(tmp_path, f"http://127.0.0.1:{lake.port}")
        planned = hygge(tmp_path, "plan")
        assert (planned.returncode, planned.stdout.count("cannot reach")) == (1, 9)
        assert len(lake.connections) == 1
        gone = hygge(tmp_path, "go")
        assert gone.returncode == 1
        assert "1 settled, 9 failed: 1 row" in gone.stdout
        assert gone.stderr.count("cannot reach") == 1
        assert len(lake.connections) == 2
        one = hygge(tmp_path, "runs", "--flow", "here")
        assert (one.returncode, one.stderr) == (0, "")
        assert len(lake.connections) == 2
        every = hygge(tmp_path, "runs")
        assert every.returncode == 1
        assert "success" in every.stdout
        assert every.stderr.count("cannot reach") == 1
    assert list(tmp_path.glob("warehouse/orders/*.parquet"))


OF_ONE_FLOW = ["--flow", "lake0"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["go", *OF_ONE_FLOW], 2),
        (["go", "--json", *OF_ONE_FLOW], 2),
        (["plan", *OF_ONE_FLOW], 1),
        (["plan", "--json", *OF_ONE_FLOW], 1),
        (["runs", *OF_ONE_FLOW], 2),
        (["runs", "some-load"], 2),
        (["doctor", *OF_ONE_FLOW], 1),
        (["reconcile", *OF_ONE_FLOW], 1),
        (["reconcile", "--json"], 1),
        (["adopt", "lake0.orders"], 2),
        (["compact"], 1),
        (["compact", "--dry-run"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_laptop_cloud_that_was_stopped_is_said_to_be_missing(tmp_path: Path, command: list[str], code: int) -> None:
    write_project(tmp_path, f"http://127.0.0.1:{closed_port()}", 1, made_by="devcloud")
    ended = hygge(tmp_path, *command)
    assert (ended.returncode, "hygge dev" in ended.stdout + ended.stderr) == (code, True), ended


def test_doctor_says_that_the_laptop_cloud_of_a_connection_is_missing(tmp_path: Path) -> None:
    port = closed_port()
    written = {"MadeBy": "devcloud", "Values": {"SQL_SERVER": f"127.0.0.1,{port}"}}
    (tmp_path / "local.settings.json").write_text(json.dumps(written))
    connection = f"{{type: mssql, server: '127.0.0.1,{port}', database: d, username: u, password: p}}"
    (tmp_path / "hygge.yml").write_text(f"name: shop\nconnections: {{db: {connection}}}\n")
    (tmp_path / "flows/f").mkdir(parents=True)
    home = "home: {type: mssql, connection: db, table: 'dbo.{entity}'}"
    (tmp_path / "flows/f/flow.yml").write_text(f"{home}\nstore: {{type: local}}\nentities: [t]\n")
    project = load_project(tmp_path, {})
    sections = {section.kind: section for section in examine(project, list(project.entities))}
    failed = [check.remedy for check in sections["connection"].checks if check.result == "failed"]
    assert ["`hygge dev`" in remedy for remedy in failed] == [True]


@pytest.mark.parametrize("server", ["127.0.0.1,%d", "tcp:localhost,%d", "[::1],%d", "(local),%d", "localhost"])
def test_the_laptop_cloud_is_not_missed_at_another_port_of_this_machine(tmp_path: Path, server: str) -> None:
    """The one of a server that settings name by themselves, beside a cloud whose settings are there."""
    port, other = closed_port(), closed_port()
    written = {
        "MadeBy": "devcloud",
        "Values": {"SQL_SERVER": f"127.0.0.1,{port}", "ONELAKE_URL": f"http://[::1]:{port}"},
    }
    (tmp_path / "local.settings.json").write_text(json.dumps(written))
    named = [server % number for number in (port, other)] if "%" in server else [f"{server},{port}", server]
    hints = []
    for server_of in named:
        text = f"connections: {{db: {{type: mssql, server: '{server_of}', database: d, username: u, password: p}}}}"
        (tmp_path / "hygge.yml").write_text(f"name: shop\n{text}\n")
        (tmp_path / "flows/f").mkdir(parents=True, exist_ok=True)
        home = "home: {type: mssql, connection: db, table: 'dbo.{entity}'}"
        (tmp_path / "flows/f/flow.yml").write_text(f"{home}\nstore: {{type: local}}\nentities: [t]\n")
        project = load_project(tmp_path)
        hints += Reachability(project, list(project.entities)).hints
    assert ["hygge dev" in hint for hint in hints] == [True, False]


def test_a_place_that_accepts_and_says_nothing_is_given_up(tmp_path: Path) -> None:
    with silent() as lake:
        write_project(tmp_path, f"http://127.0.0.1:{lake.port}")
        planned = hygge(tmp_path, "plan", "--flow", "lake0")
        assert (planned.returncode, len(lake.connections)) == (1, 1)
    assert "no response" in planned.stdout


def write_source(directory: Path, server: str) -> None:
    """Two tables of a server that is waited for no longer than a second, and a file beside them."""
    write_project(directory, "", 0)
    login = "database: d, auth: sql, username: u, password: p, login_timeout_seconds: 1"
    (directory / "hygge.yml").write_text(
        f"name: shop\nconnections: {{shop_db: {{type: mssql, server: '{server}', {login}}}}}\n"
    )
    flow = FLOW[: FLOW.index("store:")] + "store: {type: local}\nwatermark: {column: v}\n"
    (directory / "flows/orders_to_fabric").mkdir(parents=True)
    (directory / "flows/orders_to_fabric/flow.yml").write_text(flow + "entities: [invoices, customers]\n")


def test_a_source_that_is_down_is_remembered_by_the_journal(tmp_path: Path) -> None:
    write_source(tmp_path, f"127.0.0.1,{closed_port()}")
    gone = hygge(tmp_path, "go")
    assert gone.returncode == 1
    assert "1 settled, 2 failed" in gone.stdout
    assert "Connection refused" in hygge(tmp_path, "runs", "--failed").stdout


def test_a_server_that_accepts_and_says_nothing_is_given_up_once(tmp_path: Path) -> None:
    with silent() as server:
        write_source(tmp_path, f"127.0.0.1,{server.port}")
        for number, (command, left) in enumerate({"doctor": "here", "go": "1 settled"}.items(), 1):
            ended = hygge(tmp_path, command)
            assert (ended.returncode, "says nothing within 1 s" in ended.stdout + ended.stderr) == (1, True), ended
            assert left in ended.stdout
            assert len(server.connections) <= 4 * number  # of which each entity would have many


def test_a_refused_login_is_an_answer_of_a_named_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(text: str, name: str = "General error") -> Callable[..., Session]:
        def open_(*_: object, translation: Translate) -> Session:
            raise translation(diagnose_mssql_python(name, f"[Microsoft]{text}"), "Connecting")

        return open_

    named = MssqlConnection.model_validate(
        {"server": "sql.example\\INST", "database": "d", "username": "u", "password": "p"}
    )
    for text in ("Login failed for user 'u'.", "Database 'd' is being recovered. Waiting until recovery is finished."):
        monkeypatch.setattr(sessions, "open_session", answer(text))
        sessions.check_responds(named)
    monkeypatch.setattr(
        sessions, "open_session", answer("Error Locating Server", "Client unable to establish connection")
    )
    with pytest.raises(HomeUnavailable, match="Error Locating"):
        sessions.check_responds(named)


def test_a_named_instance_of_a_host_without_an_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    nobody = MssqlConnection(
        type="mssql", server="db.invalid\\SQL", database="d", auth="sql", username="u", password=SecretStr("p")
    )
    with pytest.raises(HomeUnavailable, match="Cannot find the address"):
        check_reachable(nobody)
    check_reachable(nobody.model_copy(update={"server": ".\\SQL"}))


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_ends_a_load_that_waits_for_somebody_silent(tmp_path: Path, signals: int) -> None:
    with silent(answers=1) as lake:
        write_project(tmp_path, f"http://127.0.0.1:{lake.port}", 1)
        load = subprocess.Popen(
            [str(HYGGE), "go", "--json"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert lake.asked.wait(_SOON_SECONDS)
        while not list(tmp_path.rglob("begun.json")):  # the flow whose journal responds has begun, too
            assert load.poll() is None
            time.sleep(0.05)
        assert load.stderr is not None
        load.send_signal(signal.SIGINT)
        while "Stopping" not in load.stderr.readline():
            assert load.poll() is None
        if signals == 2:
            load.send_signal(signal.SIGINT)
        # Its request waits for a minute, and is made again.
        said, _ = load.communicate(timeout=_SOON_SECONDS)
        assert load.returncode in (130, -signal.SIGINT)
        runs = hygge(tmp_path, "runs", "--flow", "here")
        if signals == 1:
            # What could be reached has its rows, and the other is named.
            summary = json.loads(said.splitlines()[-1])
            assert {result["flow"]: result["status"] for result in summary["results"]}["lake0"] == "cancel"
            assert "lake0.orders" in summary["journal"]["message"]
            assert (summary["load_id"] in runs.stdout, runs.stderr) == (True, "")
            return
        # No row tells of it, but the mark that it left beside the journal that it could reach.
        assert "its end is not recorded" in runs.stderr
        assert "its end is not recorded" in hygge(tmp_path, "doctor", "--flow", "here").stdout
        assert hygge(tmp_path, "go", "--flow", "here").returncode == 0
        assert hygge(tmp_path, "runs", "--flow", "here").stderr.count("its end is not recorded") == 1


def test_ctrl_c_ends_a_load_whose_only_journal_is_silent(tmp_path: Path) -> None:
    with silent(answers=1) as lake:
        write_project(tmp_path, f"http://127.0.0.1:{lake.port}", 1)
        command = [str(HYGGE), "go", "--flow", "lake0"]
        load = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        assert lake.asked.wait(_SOON_SECONDS)
        load.send_signal(signal.SIGTERM)
        _, said = load.communicate(timeout=_SOON_SECONDS)
    assert load.returncode == 130
    assert "Gave up what did not respond" in said


@pytest.mark.parametrize("command", ["plan", "runs", "doctor"])
def test_ctrl_c_ends_every_command(tmp_path: Path, command: str) -> None:
    with silent(answers=1) as lake:
        write_project(tmp_path, f"http://127.0.0.1:{lake.port}", 1)
        process = subprocess.Popen([HYGGE, command], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        assert lake.asked.wait(_SOON_SECONDS)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=_SOON_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_told_with_the_option_that_chooses_another(tmp_path: Path) -> None:
    with silent() as other:
        arguments = ["--sql-port", str(other.port), "--lake-port", "0", "--functions-port", "0"]
        command = [sys.executable, "-m", "devcloud", "up", "--directory", str(tmp_path), *arguments]
        started = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert started.returncode == 2
    assert f"port {other.port}: Address already in use; choose another with --sql-port" in started.stderr
    assert "--lake-port" not in started.stderr


@pytest.mark.parametrize(
    ("entra", "server", "is_silent"), [(60, 0, False), (60, 1, False), (0, 10, True), (60, 10, True), (0, 1, False)]
)
def test_a_silent_entra_is_no_silent_server(
    monkeypatch: pytest.MonkeyPatch, entra: float, server: float, is_silent: bool
) -> None:
    now = [100.0]
    monkeypatch.setattr(silence, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def get_token(scope: str) -> SimpleNamespace:
        now[0] += entra
        return SimpleNamespace(token="a token")

    monkeypatch.setattr(connect, "_credential", lambda connection: SimpleNamespace(get_token=get_token))
    connection = MssqlConnection(server="server,1433", database="shop", auth="managed_identity")
    silences = silence.SilentServers()

    def log_in() -> None:
        connect.access_token(connection)
        now[0] += server
        raise HomeUnavailable("refused for now")

    with pytest.raises(HomeUnavailable, match="refused"), silences.ask("server,1433", 10.0):
        log_in()
    told = pytest.raises(HomeUnavailable, match="did not respond to a login") if is_silent else nullcontext()
    with told, silences.ask("server,1433", 10.0):
        pass


def test_a_silent_server_is_waited_for_by_one_and_not_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with silent() as server:
        connection = MssqlConnection.model_validate(
            {"server": "127.0.0.1", "port": server.port, "database": "shop", "username": "reader", "password": "p"}
            | {"login_timeout_seconds": 1}
        )
        with pytest.raises(HomeUnavailable):
            sessions.open_session(connection)
        waited = len(server.connections)
        for _ in range(100):
            with pytest.raises(HomeUnavailable, match=rf",{server.port} did not respond to a login") as told:
                sessions.open_session(connection)
            assert told.value.transient
            assert 0 < (told.value.retry_after_seconds or 0) <= silence.REMEMBERED_SECONDS
        assert len(server.connections) == waited
        monkeypatch.setattr(silence, "REMEMBERED_SECONDS", 0.0)
        with silence.silent_servers.ask(connection.address, 1.0), pytest.raises(HomeUnavailable):
            sessions.open_session(connection)  # while a connection tries it again
    for _ in range(2):  # a further try, and a refusal, count as responses
        with pytest.raises(HomeUnavailable) as told:
            sessions.open_session(connection)
        assert "sent nothing" not in str(told.value)
