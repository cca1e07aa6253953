"""What host and worker say to each other: functions, inputs, outcomes, and how they travel over a socket.

One frame is a 12-byte head (length of the JSON part, length of the binary part), a JSON object, and at most one binary
body: the body of an HTTP request or response. Everything else in an invocation is text.
"""

import asyncio
import json
import struct
from dataclasses import dataclass, field
from typing import Any

FRAME_HEAD = struct.Struct(">IQ")
# A socket's read buffer; large enough for a big orchestration history in few wake-ups.
STREAM_LIMIT_BYTES = 1 << 20

HTTP_TRIGGER = "httpTrigger"
TIMER_TRIGGER = "timerTrigger"
ORCHESTRATION_TRIGGER = "orchestrationTrigger"
ACTIVITY_TRIGGER = "activityTrigger"
DURABLE_CLIENT = "durableClient"


class FunctionAppError(Exception):
    """The worker could not index the app, or the app uses what this host does not have."""


class WorkerExitedError(Exception):
    """The worker process ended while an invocation was running in it."""


class FunctionTimeoutError(Exception):
    """An invocation ran longer than ``functionTimeout``; the worker was killed, as the platform does."""


@dataclass(frozen=True)
class Function:
    """One indexed function: its name, the worker's id for it, and its bindings as the worker reported them."""

    name: str
    function_id: str
    bindings: tuple[dict[str, Any], ...]

    @property
    def trigger(self) -> dict[str, Any]:
        """Return the trigger binding."""
        return next(binding for binding in self.bindings if str(binding["type"]).endswith("Trigger"))

    @property
    def kind(self) -> str:
        """Return the trigger's type, ``httpTrigger`` for instance."""
        return str(self.trigger["type"])


@dataclass(frozen=True)
class HttpMessage:
    """An HTTP request on its way to a function; ``route`` holds the route's parameters."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, str]
    route: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Input:
    """One input binding's value: ``kind`` is ``string``, ``json`` or ``http``."""

    name: str
    kind: str
    value: str | HttpMessage


@dataclass(frozen=True)
class HttpAnswer:
    """What an HTTP function returned."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended: its return value (text, or an HTTP response), or the exception's text and traceback."""

    succeeded: bool
    value: str | HttpAnswer | None = None
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Frame:
    """One message: a JSON object and the binary body that belongs to it."""

    content: dict[str, Any]
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        text = json.dumps(self.content, separators=(",", ":")).encode()
        return FRAME_HEAD.pack(len(text), len(self.body)) + text + self.body


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Read one frame; raises ``asyncio.IncompleteReadError`` or ``ConnectionError`` when the other side is gone."""
    text_length, body_length = FRAME_HEAD.unpack(await reader.readexactly(FRAME_HEAD.size))
    text = await reader.readexactly(text_length)
    return Frame(json.loads(text), await reader.readexactly(body_length))


def encode_invocation(invocation_id: str, function_id: str, inputs: list[Input]) -> Frame:
    """Return the frame that asks the worker to run a function."""
    body = b""
    described: list[dict[str, Any]] = []
    for given in inputs:
        value: Any = given.value
        if isinstance(value, HttpMessage):
            body = value.body
            value = {
                "method": value.method,
                "url": value.url,
                "headers": value.headers,
                "query": value.query,
                "route": value.route,
            }
        described.append({"name": given.name, "kind": given.kind, "value": value})
    return Frame({"kind": "invoke", "id": invocation_id, "function": function_id, "inputs": described}, body)


def decode_inputs(frame: Frame) -> list[Input]:
    """Return the inputs of an ``invoke`` frame."""
    return [
        Input(
            given["name"],
            given["kind"],
            HttpMessage(**given["value"], body=frame.body) if given["kind"] == "http" else given["value"],
        )
        for given in frame.content["inputs"]
    ]


def encode_outcome(invocation_id: str, outcome: Outcome) -> Frame:
    """Return the frame that carries an invocation's outcome."""
    content: dict[str, Any] = {"kind": "outcome", "id": invocation_id, "succeeded": outcome.succeeded}
    if isinstance(outcome.value, HttpAnswer):
        content |= {"status": outcome.value.status, "headers": outcome.value.headers}
        return Frame(content, outcome.value.body)
    return Frame(content | {"value": outcome.value, "error": outcome.error, "traceback": outcome.traceback})


def decode_outcome(frame: Frame) -> Outcome:
    """Return the outcome that an ``outcome`` frame carries."""
    content = frame.content
    if "status" in content:
        headers = tuple((name, value) for name, value in content["headers"])
        return Outcome(content["succeeded"], HttpAnswer(content["status"], headers, frame.body))
    return Outcome(content["succeeded"], content["value"], content["error"], content["traceback"])
