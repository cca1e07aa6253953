"""The Function app in the real Functions Core Tools, in the place of devcloud's host: `make test-core-tools`."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.support import loopback

# The command that starts them, `func`; set by `make test-core-tools` alone.
COMMAND = os.environ.get("TEST_CORE_TOOLS", "")

# They load their extensions, from the internet at first, and then the app.
START_SECONDS = 240.0

not_in_core_tools = pytest.mark.skipif(bool(COMMAND), reason="asks what Core Tools do not show, or have not at home")


class CoreToolsHost:
    """`func start` in the app's directory, with durable state in Azurite; a context manager.

    ``state`` stands for a task hub: a host that is started again on it resumes. No key is required.
    """

    function_key = master_key = ""

    def __init__(self, app_directory: Path, state: Path, settings: Mapping[str, str]) -> None:
        self._directory = app_directory
        state.mkdir(exist_ok=True)
        name = state / "name"
        if not name.exists():
            name.write_text(f"test{uuid.uuid4().hex[:12]}")
        self._log = state / "func.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        python = Path(sys.executable).parent
        self._environment = {
            **settings,
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureFunctionsWebHost__hostid": name.read_text(),
            "AzureFunctionsJobHost__extensions__durableTask__hubName": name.read_text(),
            # The worker is the Python that these tests run with.
            "VIRTUAL_ENV": str(python.parent),
            "PATH": f"{python}{os.pathsep}{settings.get('PATH', os.defpath)}",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*shlex.split(COMMAND), "start", "--port", str(self._port)],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if loopback.get(f"{self.url}/api/health", timeout=10).is_success:
                    return
            except httpx.TransportError:
                pass
            ended, said = self._process.poll() is not None, self._log.read_text(errors="replace")[-4000:]
            assert not ended, f"Core Tools ended:\n{said}"
            assert time.monotonic() < deadline, f"Core Tools do not answer:\n{said}"
            time.sleep(0.2)

    def kill(self) -> None:
        """End host and workers at once, as a machine that loses its power."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_worker(self) -> None:
        pytest.skip("Core Tools say nothing of their worker")

    @property
    def history_events(self) -> int:
        pytest.skip("Core Tools say nothing of the history")
