"""Traces and metrics of loads. Imported where telemetry is configured only: it needs OpenTelemetry's SDK."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, Span, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hygge_engine import __version__
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.masking import mask_places, masked_in
from hygge_engine.telemetry import names
from hygge_engine.telemetry.facts import EntityRun, LoadRun
from hygge_engine.telemetry.trace_ids import context_below, entity_span_id, load_span_id, trace_id_of

# How long the end of a load waits until its report is sent. Longer would cost every load of a dead receiver.
FLUSH_SECONDS = 2.0

# The text of an exception may hold anything; failures that may be reported are values.
_WITHOUT_EXCEPTIONS: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}

# The trace and span that the next span of this thread is given.
_CHOSEN: ContextVar[tuple[int, int] | None] = ContextVar("hygge_chosen_ids", default=None)


class ChosenIds(RandomIdGenerator):
    """Random ids, but for the spans of loads and entities: their children name them before they exist."""

    def generate_trace_id(self) -> int:
        chosen = _CHOSEN.get()
        return super().generate_trace_id() if chosen is None else chosen[0]

    def generate_span_id(self) -> int:
        chosen = _CHOSEN.get()
        return super().generate_span_id() if chosen is None else chosen[1]


class _PastSpan(NamedTuple):
    """A span of something that is over. ``failure`` is empty where it went well."""

    name: str
    span_id: int
    started: datetime
    finished: datetime
    failure: str


class Signals:
    """Spans and measurements of loads. The tracer provider has to make its ids with `ChosenIds`."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        self._tracers = tracers
        self._meters = meters
        self._tracer = tracers.get_tracer(names.SCOPE, __version__)
        meter = meters.get_meter(names.SCOPE, __version__)
        self._rows = meter.create_counter(*names.ROWS)
        self._changes = meter.create_counter(*names.CHANGES)
        self._bytes = meter.create_counter(*names.BYTES)
        self._entities = meter.create_counter(*names.ENTITIES)
        self._loads = meter.create_counter(*names.LOADS)
        self._retries = meter.create_counter(*names.RETRIES)
        self._entity_duration: Histogram = meter.create_histogram(*names.ENTITY_DURATION)
        self._load_duration: Histogram = meter.create_histogram(*names.LOAD_DURATION)
        self._lag = meter.create_gauge(*names.LAG)

    @contextmanager
    def step(self, name: str, load_id: str, attempt: int) -> Iterator[None]:
        """The span of planning or settling, below that of the load."""
        context = context_below(load_id, load_span_id(load_id))
        attributes: dict[str, Any] = {names.LOAD_ID: load_id, names.ATTEMPT: attempt}
        shown = masked_in(attributes)
        with self._tracer.start_as_current_span(name, context, attributes=shown, **_WITHOUT_EXCEPTIONS):
            yield

    @contextmanager
    def slice(self, task: SliceTask) -> Iterator[Span]:
        """The span of one activity's work on one slice, below that of its entity run."""
        context = context_below(task.load_id, entity_span_id(task.entity_run_id))
        attributes: dict[str, Any] = {
            names.LOAD_ID: task.load_id,
            names.ENTITY_RUN_ID: task.entity_run_id,
            names.FLOW: task.flow,
            names.ENTITY: task.entity,
            names.RUN_TYPE: task.run_type,
            names.ATTEMPT: task.attempt,
        }
        with self._tracer.start_as_current_span(
            names.SPAN_SLICE, context, attributes=masked_in(attributes), **_WITHOUT_EXCEPTIONS
        ) as span:
            yield span

    def record_slice(self, span: Span, task: SliceTask, result: SliceResult) -> None:
        """How a slice ended. Its rows and bytes are those of the whole entity run so far."""
        span.set_attribute(names.STATUS, result.status)
        span.set_attribute(names.ROW_COUNT, result.rows)
        span.set_attribute(names.BYTE_COUNT, result.bytes)
        span.set_attribute(names.FILE_COUNT, result.files)
        if result.status != "failed":
            return
        span.set_attribute(names.ERROR_TYPE, result.error)
        span.set_status(Status(StatusCode.ERROR, mask_places(result.message)))
        if result.transient:
            kind = {names.FLOW: task.flow, names.ENTITY: task.entity, names.ERROR_TYPE: result.error}
            self._retries.add(1, masked_in(kind))

    def record_load(self, load: LoadRun, traceparent: str = "") -> None:
        """The spans of a load that has ended and of its entity runs, and what they amount to. ``traceparent`` (W3C
        Trace Context) is a span of the caller's, which the load's links to."""
        for run in load.entities:
            self._entity_ended(load, run)
        attributes = {
            names.LOAD_ID: load.load_id,
            names.STATUS: load.status,
            names.REQUESTED_BY: load.requested_by,
            **_principal(load.principal),
            names.ENTITY_COUNT: len(load.entities),
            names.ROW_COUNT: sum(run.rows for run in load.entities),
            names.BYTE_COUNT: sum(run.bytes for run in load.entities),
            **_error_type(load.error),
        }
        span = _PastSpan(names.SPAN_LOAD, load_span_id(load.load_id), load.started, load.finished, load.failure)
        self._record(span, load.load_id, attributes, links=_links(traceparent))
        self._loads.add(1, {names.STATUS: load.status})
        self._load_duration.record(_seconds(load.started, load.finished), {names.STATUS: load.status})

    def flush(self) -> None:
        """Send what has been reported, but wait no longer than `FLUSH_SECONDS`; the rest is sent later or never."""
        flushing = threading.Thread(target=self._flush, name="hygge-telemetry-flush", daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)

    def _flush(self) -> None:
        self._tracers.force_flush(int(FLUSH_SECONDS * 1000))
        self._meters.force_flush(FLUSH_SECONDS * 1000)

    def _entity_ended(self, load: LoadRun, run: EntityRun) -> None:
        counts = {name: rows for name, rows in run.counts.by_name().items() if rows is not None}
        attributes = {
            names.LOAD_ID: load.load_id,
            names.ENTITY_RUN_ID: run.entity_run_id,
            names.FLOW: run.flow,
            names.ENTITY: run.entity,
            names.RUN_TYPE: run.run_type,
            names.STATUS: run.status,
            names.ATTEMPTS: run.attempts,
            names.ROW_COUNT: run.rows,
            **{names.ROW_COUNTS[name]: rows for name, rows in counts.items()},
            names.BYTE_COUNT: run.bytes,
            names.FILE_COUNT: run.files,
            **_error_type(run.error),
        }
        times = (run.started or load.finished, run.finished or load.finished)
        span = _PastSpan(names.SPAN_ENTITY, entity_span_id(run.entity_run_id), *times, run.failure)
        self._record(span, load.load_id, attributes, parent=load_span_id(load.load_id))
        kind = masked_in({names.FLOW: run.flow, names.ENTITY: run.entity})
        self._entities.add(1, {**kind, names.STATUS: run.status})
        self._rows.add(run.rows, kind)
        for name, rows in counts.items():
            self._changes.add(rows, {**kind, names.CHANGE: name.removeprefix("rows_")})
        self._bytes.add(run.bytes, kind)
        if run.started:
            self._entity_duration.record(_seconds(*times), {**kind, names.STATUS: run.status})
        if run.lag_seconds is not None:
            self._lag.set(run.lag_seconds, kind)

    def _record(
        self,
        past: _PastSpan,
        load_id: str,
        attributes: Mapping[str, Any],
        *,
        parent: int | None = None,
        links: Sequence[Link] = (),
    ) -> None:
        """Send a span of a load's trace, below its span ``parent`` where there is one."""
        context = Context() if parent is None else context_below(load_id, parent)
        token = _CHOSEN.set((trace_id_of(load_id), past.span_id))
        try:
            span = self._tracer.start_span(
                past.name,
                context,
                attributes=masked_in(dict(attributes)),
                links=links,
                start_time=_nanoseconds(past.started),
            )
        finally:
            _CHOSEN.reset(token)
        if past.failure:
            span.set_status(Status(StatusCode.ERROR, mask_places(past.failure)))
        span.end(_nanoseconds(past.finished))


def _links(traceparent: str) -> list[Link]:
    if not traceparent:
        return []
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    caller = get_current_span(context).get_span_context()
    return [Link(caller)] if caller.is_valid else []


def _principal(principal: str) -> dict[str, str]:
    return {names.PRINCIPAL: principal} if principal else {}


def _error_type(error: str) -> dict[str, str]:
    return {names.ERROR_TYPE: error} if error else {}


def _seconds(started: datetime, finished: datetime) -> float:
    return max(0.0, (finished - started).total_seconds())


_EPOCH = datetime.fromtimestamp(0, UTC)


def _nanoseconds(time: datetime) -> int:
    """Since 1970, without a detour over floating point."""
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
