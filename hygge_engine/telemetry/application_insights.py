"""Application Insights as a receiver. Its exporter is made when there is something to export, on the exporting thread:
importing it takes a second of the processor, which no load should wait for.

It reads ``APPLICATIONINSIGHTS_AUTHENTICATION_STRING`` by itself: with Entra ID there is no key to send.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

# Application Insights adds up what arrives, so that what is sent has to be the difference.
_TEMPORALITY: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}

# For one request. The exporter's own default of ten seconds is for processes that have the time.
TIMEOUT_SECONDS = 5.0


class LateSpanExporter(SpanExporter):
    """Sends spans to Application Insights; knows how once the first has come."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        self._lock = threading.Lock()
        self._exporter: SpanExporter | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._made().export(spans)

    def shutdown(self) -> None:
        if self._exporter is not None:
            self._exporter.shutdown()

    def _made(self) -> SpanExporter:
        with self._lock:
            if self._exporter is None:
                from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

                self._exporter = AzureMonitorTraceExporter(**_options(self._connection_string))
            return self._exporter


class LateMetricExporter(MetricExporter):
    """Sends measurements to Application Insights; knows how once the first has come."""

    def __init__(self, connection_string: str) -> None:
        super().__init__(preferred_temporality=_TEMPORALITY)
        self._connection_string = connection_string
        self._lock = threading.Lock()
        self._exporter: MetricExporter | None = None

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        return self._made().export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._exporter is None or self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        if self._exporter is not None:
            self._exporter.shutdown(timeout_millis, **kwargs)

    def _made(self) -> MetricExporter:
        with self._lock:
            if self._exporter is None:
                from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

                self._exporter = AzureMonitorMetricExporter(**_options(self._connection_string))
            return self._exporter


def _options(connection_string: str) -> dict[str, Any]:
    # What could not be sent is not kept on the instance's disk, which goes with the instance and may fill before.
    return {
        "connection_string": connection_string,
        "disable_offline_storage": True,
        "timeout": TIMEOUT_SECONDS,
    }
