"""The app behind its HTTP API, from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx

from devcloud.functions import FunctionsHost
from tests.e2e.core_tools import CoreToolsHost
from tests.e2e.site import Site
from tests.support import loopback

DEADLINE_SECONDS = 90.0

# Comes due on New Year's Day only: tests fire the timer themselves.
SCHEDULE = "0 0 0 1 1 *"

ROWS = 8_000


class App:
    """The Function app on a host, over one site."""

    def __init__(self, site: Site, host: FunctionsHost | CoreToolsHost) -> None:
        self.site = site
        self.host = host
        self.headers = {"x-functions-key": host.function_key}

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return loopback.request(
            method, f"{self.host.url}{path}", **{"headers": self.headers, "timeout": DEADLINE_SECONDS, **options}
        )

    def start(self, **body: Any) -> str:
        answer = self.call("POST", "/api/loads", json=body)
        assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
        return str(answer.json()["load_id"])

    def status(self, load_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/api/loads/{load_id}")
        assert answer.status_code == HTTPStatus.OK, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def settled(self, load_id: str) -> dict[str, Any]:
        return wait(lambda: found if (found := self.status(load_id))["state"] == "settled" else None)

    def moving(self, load_id: str, entity: str) -> dict[str, Any]:
        """The load's status once rows of the entity are on their way."""

        def look() -> dict[str, Any] | None:
            status = self.status(load_id)
            assert status["state"] != "settled", status
            rows = [state["rows"] for state in status["entities"] if state["entity"] == entity]
            return status if rows and 0 < rows[0] < ROWS else None

        return wait(look)

    def tables_agree(self) -> bool:
        """Whether every table is what the source holds."""
        for table in ("parcels", "labels"):
            [rows] = self.site.server.run(f"SELECT id, text FROM dbo.{table} ORDER BY id")
            mirrored = self.site.mirrored(table).sort_by("id").to_pylist()
            if [(row["id"], row["text"]) for row in mirrored] != [tuple(row) for row in rows]:
                return False
        return not self.site.breaches()


def wait[T](look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found
