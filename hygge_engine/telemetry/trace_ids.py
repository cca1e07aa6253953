"""The ids of a load's trace: derived from the journal's names, so that every activity, on whichever machine and however
often it is delivered, adds to the same trace without anything being carried from one to the other.

An orchestrator has to replay, so it may neither make an id nor hold a span open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context


def trace_id_of(load_id: str) -> int:
    """The trace of a load. Hashed also where the id is a UUID: samplers by ratio look at the low bits, of which a UUID
    fixes two."""
    return _number(f"trace/{load_id}", 16)


def load_span_id(load_id: str) -> int:
    """The span of a load as a whole: the root of its trace."""
    return _number(f"load/{load_id}", 8)


def entity_span_id(entity_run_id: str) -> int:
    """The span of an entity run, whose children are its slices."""
    return _number(f"entity/{entity_run_id}", 8)


def context_below(load_id: str, span_id: int) -> Context:
    """The context of spans whose parent is a span of the load's trace that another process sends, or has sent."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    parent = SpanContext(trace_id_of(load_id), span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent), Context())


@contextmanager
def in_trace_of(load_id: str) -> Iterator[None]:
    """What is started here belongs to the load's trace: the durable client sends the current trace with an
    orchestration, and the Functions host puts its own spans of the load below it."""
    from opentelemetry.context import attach, detach

    token = attach(context_below(load_id, load_span_id(load_id)))
    try:
        yield
    finally:
        detach(token)


def _number(text: str, size: int) -> int:
    # Zero is not an id (W3C Trace Context); no text that hashes to it is known.
    return int.from_bytes(hashlib.sha256(f"hygge/{text}".encode()).digest()[:size])
