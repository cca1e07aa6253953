"""What the durable client has on a load, in either SDK generation."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Protocol

# Durable Functions' words for an orchestration that has not ended.
RUNNING = frozenset({"Pending", "Running", "ContinuedAsNew", "Suspended"})


class RuntimeStatus(Protocol):
    """An enumeration member of either SDK generation."""

    @property
    def name(self) -> str: ...


class DurableStatus(Protocol):
    """What the durable client of either SDK generation knows of an orchestration; false where there is none."""

    @property
    def instance_id(self) -> str | None: ...
    @property
    def runtime_status(self) -> RuntimeStatus | None: ...
    @property
    def created_time(self) -> datetime | None: ...
    @property
    def last_updated_time(self) -> datetime | None: ...
    @property
    def input_(self) -> Any: ...
    @property
    def output(self) -> Any: ...
    @property
    def custom_status(self) -> Any: ...


def is_running(status: DurableStatus) -> bool:
    """Whether an orchestration has not ended."""
    return status.runtime_status is not None and status.runtime_status.name in RUNNING


def decoded(payload: Any) -> Any:
    """An orchestration's input, output or custom status: SDK 1.7 gives an input as the JSON text it was started
    with."""
    if not isinstance(payload, str):
        return payload
    try:
        return json.loads(payload)
    except ValueError:
        return payload


def request_of(status: DurableStatus) -> dict[str, Any]:
    """What a load was started with (`LoadRequest.to_json`)."""
    request = decoded(status.input_)
    return request if isinstance(request, dict) else {}


def custom_status_of(status: DurableStatus) -> dict[str, Any]:
    """What a load says of itself while it runs (`Totals.status`)."""
    custom_status = decoded(status.custom_status)
    return dict(custom_status) if isinstance(custom_status, dict) else {}


def output_of(status: DurableStatus) -> dict[str, Any] | None:
    """The summary of a load that has ended."""
    output = decoded(status.output)
    return output if isinstance(output, dict) and "results" in output else None
