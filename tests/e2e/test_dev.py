"""``hygge dev``: the sample project on the laptop cloud, as the README describes it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import HYGGE, REPOSITORY
from tests.support import loopback

PATIENCE_SECONDS = 90.0


class Dev:
    """A running ``hygge dev``; ``output`` is what it printed until it was ready."""

    def __init__(self, project: Path, *options: str) -> None:
        command = [*HYGGE, "dev", "--project", str(project), "--directory", str(project / "data"), *options]
        free_ports = ["--functions-port", "0", "--lake-port", "0"]
        own = ("SQL_", "LAKE_", "HYGGE_", "ONELAKE_")
        self.project = project
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.process = subprocess.Popen(
            [*command, *free_ports],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if "Ctrl-C" in line:
                return
        raise AssertionError(f"it ended with {self.process.wait()}: {self.output}")

    def port(self, part: str) -> str:
        found = re.search(rf"{part} .*127\.0\.0\.1[:,](\d+)", self.output)
        assert found, self.output
        return found[1]

    def curl(self, path: str) -> Any:
        """Do what the printed curl line for a path says."""
        words = shlex.split(next(line for line in self.output.splitlines() if "curl" in line and path in line))
        name, _, value = words[words.index("-H") + 1].partition(": ")
        body = words[words.index("-d") + 1] if "-d" in words else None
        url = next(word for word in words if word.startswith("http"))
        answer = loopback.request("POST" if body else "GET", url, headers={name: value}, content=body, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def hygge(self, *arguments: str) -> str:
        command = [*HYGGE, *arguments, "--project", str(self.project)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def family(self) -> list[int]:
        """The processes of its session that still run."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended while we looked
            if fields[0] != "Z" and int(fields[3]) == self.process.pid:
                found.append(int(status.parent.name))
        return found


@contextmanager
def running(project: Path, *options: str) -> Iterator[Dev]:
    dev = Dev(project, *options)
    try:
        dev.wait_until_ready()
        yield dev
    finally:
        for pid in dev.family():
            os.kill(pid, signal.SIGKILL)
        dev.process.communicate()


def ends(dev: Dev) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while dev.family() and time.monotonic() < deadline:
        dev.process.poll()
        time.sleep(0.05)
    return not dev.family()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(REPOSITORY / "hygge.yml", tmp_path)
    shutil.copytree(REPOSITORY / "flows", tmp_path / "flows")
    return tmp_path


def test_a_newcomer_starts_it_loads_stops_it_and_starts_it_again(project: Path) -> None:
    with running(project, "--sql-port", "0") as dev:
        assert dev.curl("/api/loads")["state"] == "pending"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (runs := dev.curl("/api/runs")["runs"]):
            assert time.monotonic() < deadline, "the load does not settle"
            time.sleep(0.2)
        assert (runs[0]["status"], runs[0]["rows"]) == ("success", 336_776 + 26_115 + 3_322 + 1_458 + 16)
        summary = json.loads(dev.hygge("go", "--json").splitlines()[-1])
        assert (summary["status"], summary["rows"]) == ("success", 16)

        second = Dev(project, "--sql-port", dev.port("SQL Server"))
        errors = second.process.communicate(timeout=PATIENCE_SECONDS)[1]
        assert second.process.returncode == 2
        assert "Address already in use" in errors
        assert "Is it running already?" in errors
        assert "Traceback" not in errors

        dev.process.send_signal(signal.SIGTERM)
        assert ends(dev), "something is left running"
        assert dev.process.wait(PATIENCE_SECONDS) == 0

    with running(project, "--sql-port", "0") as dev:
        assert len(json.loads(dev.hygge("runs", "--json"))) == 2
        os.killpg(dev.process.pid, signal.SIGINT)
        assert ends(dev), "Ctrl-C leaves something running"
        assert dev.process.wait(PATIENCE_SECONDS) == 0


def test_a_settings_file_that_is_somebodys_own_is_left_alone(project: Path) -> None:
    own = '{"Values": {"SQL_SERVER": "elsewhere"}}'
    (project / "local.settings.json").write_text(own)
    with running(project, "--sql-port", "0") as dev:
        assert "is yours and was left alone" in dev.output
        assert re.search(r"export SQL_SERVER='?127", dev.output)
        os.kill(dev.process.pid, signal.SIGKILL)
        assert ends(dev), "what a killed cloud had started goes on"
    assert (project / "local.settings.json").read_text() == own
