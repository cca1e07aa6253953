"""The Function app in the emulated Functions host."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from devcloud.functions import FunctionsHost
from tests.support.loopback import CERTIFICATES
from tests.unit.load_world import LoadWorld
from tests.unit.project_files import ENVIRONMENT

APP = Path(__file__).parents[2]

DEADLINE_SECONDS = 60.0

# Comes due on New Year's Day only: tests fire the timer themselves.
SETTINGS = {"HYGGE_SCHEDULE": "0 0 0 1 1 *", **ENVIRONMENT}


class App:
    """The app as its callers see it, and the world that it works in."""

    def __init__(self, host: FunctionsHost, world: LoadWorld) -> None:
        self.host = host
        self.world = world
        self.anonymous = httpx.Client(base_url=host.url, timeout=DEADLINE_SECONDS, verify=CERTIFICATES)
        self.http = httpx.Client(
            base_url=host.url,
            timeout=DEADLINE_SECONDS,
            headers={"x-functions-key": host.function_key},
            verify=CERTIFICATES,
        )

    def start(self, **body: Any) -> str:
        answer = self.http.post("/api/loads", json=body)
        assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
        assert not [key for key in (self.host.function_key, self.host.master_key) if key in answer.text]
        return str(answer.json()["load_id"])

    def status(self, load_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/loads/{load_id}")
        assert answer.status_code == HTTPStatus.OK, answer.text
        payload: dict[str, Any] = answer.json()
        return payload

    def settled(self, load_id: str) -> dict[str, Any]:
        """The load's status once it has settled."""
        return self.wait(lambda: found if (found := self.status(load_id))["state"] == "settled" else None)

    def tick(self, function: str = "load_on_schedule") -> None:
        """Fire a timer."""
        answer = self.anonymous.post(
            f"/admin/functions/{function}", json={}, headers={"x-functions-key": self.host.master_key}
        )
        assert answer.status_code == HTTPStatus.ACCEPTED

    def runs(self, **query: Any) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.http.get("/api/runs", params=query).json()["runs"]
        return runs

    @staticmethod
    def wait[T](condition: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self.http.close()
        self.anonymous.close()
