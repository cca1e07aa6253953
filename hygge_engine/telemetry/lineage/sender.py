"""Sends events one after the other from a thread of its own. A slow or dead receiver costs events, never time."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest

from hygge_engine.masking import masked_in
from hygge_engine.telemetry.lineage.settings import LineageSettings

_log = logging.getLogger(__name__)

# Events that wait to be sent. A load has two for each of its entities; what comes beyond is dropped, and counted.
WAITING_LIMIT = 10_000

# For a connection, and for the response to one event.
TIMEOUT_SECONDS = 5.0

_TIMEOUTS: dict[str, Any] = {"connection_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS}

# Nothing is sent for so long after a failure: a receiver that is gone is asked once a minute, not once an event.
PAUSE_SECONDS = 60.0

# How long the end of a load waits for its events to be sent.
FLUSH_SECONDS = 2.0


class Sender:
    """Posts events to a URL, or appends them to a file as lines of JSON. Its methods raise nothing and are quick."""

    def __init__(self, settings: LineageSettings) -> None:
        self._settings = settings
        self._waiting: queue.Queue[Mapping[str, Any]] = queue.Queue(WAITING_LIMIT)
        self._silent_until = 0.0
        self.dropped = 0
        self._client = _client(settings.url) if settings.url else None
        threading.Thread(target=self._send_all, name="hygge-lineage", daemon=True).start()

    def send(self, event: Mapping[str, Any]) -> None:
        """Send an event soon, or not at all."""
        try:
            self._waiting.put_nowait(masked_in(event))
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Wait until everything is sent, but no longer than `FLUSH_SECONDS`."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks and (left := deadline - time.monotonic()) > 0:
                self._waiting.all_tasks_done.wait(left)

    def _send_all(self) -> None:
        while True:
            event = self._waiting.get()
            if time.monotonic() < self._silent_until:
                self.dropped += 1
            elif problem := self._send(event):
                self.dropped += 1
                self._silent_until = time.monotonic() + PAUSE_SECONDS
                _log.warning(
                    "Lineage could not be sent (%s); nothing is sent for %.0f s. Dropped so far: %d events.",
                    problem,
                    PAUSE_SECONDS,
                    self.dropped,
                )
            self._waiting.task_done()

    def _send(self, event: Mapping[str, Any]) -> str:
        """Send one event; what went wrong, empty where nothing did."""
        if self._client is None:
            return self._append(event)
        request = HttpRequest("POST", self._settings.url, json=event)
        if self._settings.api_key:
            request.headers["Authorization"] = f"Bearer {self._settings.api_key}"
        try:
            response = self._client.send_request(request, **_TIMEOUTS)
        except AzureError as error:
            return type(error).__name__
        # A redirection is not followed: it would carry the key to wherever the receiver says.
        return "" if response.status_code < 300 else f"the receiver responded with {response.status_code}"

    def _append(self, event: Mapping[str, Any]) -> str:
        try:
            with Path(self._settings.path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            return type(error).__name__
        return ""


def _client(url: str) -> PipelineClient[HttpRequest, Any]:
    # No policies: no retries, no redirections, nothing logged.
    return PipelineClient(url, policies=[])
