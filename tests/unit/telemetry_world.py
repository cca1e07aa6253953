"""Receivers of telemetry: in memory, and on a loopback port with the real exporters before it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hygge_engine.telemetry import Telemetry, signals
from hygge_engine.telemetry.lineage import sender
from hygge_engine.telemetry.signals import ChosenIds, Signals


def wait_for_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the end of a load wait until everything has arrived, however busy the machine is."""
    monkeypatch.setattr(signals, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(sender, "FLUSH_SECONDS", 60.0)


class Machine:
    """What one process reports: spans and measurements, kept in memory."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        tracers = TracerProvider(id_generator=ChosenIds(), shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.telemetry = Telemetry(Signals(tracers, MeterProvider([self._metrics], shutdown_on_exit=False)))

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """The spans that have ended, of one name or of all."""
        return [span for span in self._spans.get_finished_spans() if span.name == name or not name]

    def metrics(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """The measurements since the last call: by name, then by attributes, the value or the histogram's sum."""
        data = self._metrics.get_metrics_data()
        found: dict[str, dict[tuple[tuple[str, Any], ...], Any]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        key = tuple(sorted((point.attributes or {}).items()))
                        value = point.value if isinstance(point, NumberDataPoint) else point.sum
                        found.setdefault(metric.name, {})[key] = value
        return found


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Receiver:
    """An HTTP server that records what is posted. ``answer`` gives the status of each response, and may wait."""

    answer: Callable[[], int] = lambda: 200
    requests: list[Request] = field(default_factory=list)
    location: str = ""

    def __enter__(self) -> Receiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.requests.append(Request(self.path, headers, json.loads(body)))
                self.send_response(receiver.answer())
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def bodies(self, path: str) -> list[Any]:
        """What was posted to one path."""
        return [request.body for request in self.requests if request.path == path]
