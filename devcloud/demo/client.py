"""The app's HTTP API, as a user calls it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

# A local response takes milliseconds, on a busy machine seconds; after this long the host hangs.
ANSWER_SECONDS = 300.0


class Client:
    """Calls one Functions host with its function key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._key = key

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The response to a POST, decoded."""
        return self._send("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        """The response to a GET, decoded."""
        return self._send("GET", path, None)

    def _send(self, method: str, path: str, data: bytes | None) -> Any:
        headers = {"x-functions-key": self._key, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - loopback
            return json.load(answer)
