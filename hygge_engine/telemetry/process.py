"""The telemetry of this process, as the environment wants it: decided once, at the first load, and never before.

Names of the variables are the standards' own, so that what is known of them elsewhere holds here.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hygge_engine import __version__
from hygge_engine.masking import remember_secret
from hygge_engine.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    from hygge_engine.telemetry.lineage.lineage import Lineage
    from hygge_engine.telemetry.signals import Signals

_log = logging.getLogger(__name__)

CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OTEL_DISABLED = "OTEL_SDK_DISABLED"
SERVICE_NAME = "OTEL_SERVICE_NAME"

# Set by the platform: the app and its instance, by whose names the host's half of the telemetry goes too.
SITE_NAME = "WEBSITE_SITE_NAME"
INSTANCE_ID = "WEBSITE_INSTANCE_ID"

# Measurements are sent at the end of each load, and this often while one runs.
METRICS_INTERVAL_SECONDS = 60.0


_lock = threading.Lock()
_decided: Telemetry | None = None


def telemetry_of_process() -> Telemetry:
    """What the environment asks for; costs nothing where that is nothing. Thread-safe."""
    global _decided
    with _lock:
        if _decided is None:
            _decided = telemetry_from(os.environ)
        return _decided


def telemetry_from(environment: Mapping[str, str]) -> Telemetry:
    """The telemetry that these variables ask for. Raises nothing: what cannot be set up is left out, and said."""
    return Telemetry(_signals(environment), _lineage(environment))


def _signals(environment: Mapping[str, str]) -> Signals | None:
    if environment.get(OTEL_DISABLED, "").lower() == "true":
        return None
    if not environment.get(CONNECTION_STRING) and not environment.get(OTLP_ENDPOINT):
        return None
    spans: list[SpanExporter] = []
    metrics: list[MetricExporter] = []
    if connection_string := environment.get(CONNECTION_STRING):
        remember_secret(connection_string)
        from hygge_engine.telemetry.application_insights import LateMetricExporter, LateSpanExporter

        spans.append(LateSpanExporter(connection_string))
        metrics.append(LateMetricExporter(connection_string))
    if environment.get(OTLP_ENDPOINT):
        from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter

        spans.append(OTLPSpanExporter())
        metrics.append(OTLPMetricExporter())
    return signals_to(spans, metrics, environment)


def signals_to(
    spans: list[SpanExporter], metrics: list[MetricExporter], environment: Mapping[str, str] | None = None
) -> Signals:
    """Signals that go to these exporters, in batches and from threads of their own."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from hygge_engine.telemetry.signals import ChosenIds, Signals

    environment = environment or {}
    resource = Resource.create(
        {
            "service.name": environment.get(SERVICE_NAME) or environment.get(SITE_NAME) or "hygge-engine",
            "service.version": __version__,
            "service.instance.id": environment.get(INSTANCE_ID) or f"{socket.gethostname()}-{os.getpid()}",
        }
    )
    # Not at exit: a receiver that does not respond would hold the process; every load ends with a flush.
    tracers = TracerProvider(resource=resource, id_generator=ChosenIds(), shutdown_on_exit=False)
    for exporter in spans:
        tracers.add_span_processor(BatchSpanProcessor(exporter))
    interval = METRICS_INTERVAL_SECONDS * 1000
    readers = [PeriodicExportingMetricReader(exporter, export_interval_millis=interval) for exporter in metrics]
    return Signals(tracers, MeterProvider(readers, resource=resource, shutdown_on_exit=False))


def _lineage(environment: Mapping[str, str]) -> Lineage | None:
    from hygge_engine.telemetry.lineage.settings import LineageRefused, lineage_settings

    try:
        settings = lineage_settings(environment)
    except LineageRefused as refused:
        _log.warning("No lineage is sent: %s", refused)
        return None
    if settings is None:
        return None
    from hygge_engine.telemetry.lineage.lineage import Lineage

    return Lineage(settings)
