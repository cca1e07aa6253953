"""A client of the sample app: calls its routes as a caller would, and reads what its functions have traced."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from devcloud.functions import FunctionsHost
from tests.support import loopback

SAMPLE_APP = Path(__file__).parent / "durable_sample"
LOAD_APP = Path(__file__).parent / "load_sample"
DEADLINE_SECONDS = 30.0
NEVER = "0 0 0 31 12 *"


def sample_settings(folder: Path, **more: str) -> dict[str, str]:
    """Return the sample app's settings: its functions trace into ``folder``."""
    return {"SAMPLE_TRACE": str(folder), "SAMPLE_SCHEDULE": NEVER, **more}


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until a condition holds; fails after DEADLINE_SECONDS."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


class SampleClient:
    """Speaks to one running host of the sample app."""

    def __init__(self, host: FunctionsHost, folder: Path) -> None:
        self.host = host
        self.folder = folder

    def forget(self) -> None:
        """Delete what functions have traced, and what they wait for."""
        for left in self.folder.iterdir():
            if left.is_file():
                left.unlink()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request with the function key."""
        headers = {"x-functions-key": self.host.function_key} | options.pop("headers", {})
        return loopback.request(method, f"{self.host.url}/{path}", headers=headers, timeout=DEADLINE_SECONDS, **options)

    def start(self, orchestrator: str, value: Any = None, instance: str = "") -> dict[str, str]:
        """Start an orchestration through the SDK's client; returns its management links."""
        answer = self.call("POST", f"api/start/{orchestrator}/{instance}".rstrip("/"), json=value)
        assert answer.status_code == 202, answer.text
        links: dict[str, str] = answer.json()
        return links

    def status(self, links: dict[str, str], **query: str) -> dict[str, Any]:
        """Return an orchestration's status."""
        url = httpx.URL(links["statusQueryGetUri"]).copy_merge_params(query)
        status: dict[str, Any] = loopback.get(url).json()
        return status

    def finish(self, links: dict[str, str]) -> dict[str, Any]:
        """Wait until an orchestration is over; returns its status."""
        wait_until(lambda: self.status(links)["runtimeStatus"] in ("Completed", "Failed", "Terminated"))
        return self.status(links)

    def run(self, orchestrator: str, value: Any = None, instance: str = "") -> dict[str, Any]:
        """Start an orchestration and wait for its end."""
        return self.finish(self.start(orchestrator, value, instance))

    @property
    def trace(self) -> list[str]:
        """Return what the app's functions have written."""
        file = self.folder / "trace.txt"
        return file.read_text().splitlines() if file.is_file() else []

    def open_gate(self, name: str = "gate") -> None:
        """Release functions that wait for a gate."""
        (self.folder / name).touch()


class DurableWebhooks:
    """Starts and asks after orchestrations as an operator does, through the durable webhooks."""

    def __init__(self, host: FunctionsHost) -> None:
        self._host = host

    def _url(self, path: str) -> str:
        return f"{self._host.url}/runtime/webhooks/durabletask/{path}?code={self._host.system_key}"

    def start(self, orchestrator: str, instance: str, value: Any) -> None:
        """Start an orchestration."""
        answer = loopback.post(self._url(f"orchestrators/{orchestrator}/{instance}"), json=value)
        assert answer.status_code == 202, answer.text

    def status(self, instance: str) -> dict[str, Any]:
        """Return an orchestration's status, without a ``runtimeStatus`` if there is none."""
        answer = loopback.get(self._url(f"instances/{instance}"))
        status: dict[str, Any] = answer.json() if answer.status_code != 404 else {}
        return status

    def raise_event(self, instance: str, name: str) -> None:
        """Send an event with nothing in it."""
        assert loopback.post(self._url(f"instances/{instance}/raiseEvent/{name}"), json={}).status_code == 202
