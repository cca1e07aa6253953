"""What the API returns: a status, a JSON payload, and problems in the form of RFC 9457."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from hygge_engine.errors import ConfigurationError, HyggeError, InvalidRequest, LakeError, UnknownSelection
from hygge_engine.masking import mask, mask_names

_log = logging.getLogger(__name__)

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"


# What holds messages of the engine, of servers or of drivers; the other texts are names, times and addresses of the app
# itself.
_MESSAGES = frozenset({"message", "detail", "problems", "hint"})


# What a response says changes from one second to the next, is for its caller alone, and is JSON whatever it looks like.
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

# Problems of one request that its response lists; the number says how many there are.
PROBLEMS_LIMIT = 100


@dataclass(frozen=True)
class Response:
    """An HTTP response, before it takes the form of any web framework.

    Its payload holds no secret, and its messages hold no address, wherever they come from: they are masked here.
    """

    status: int
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload", _shown(self.payload))
        object.__setattr__(self, "headers", _ALWAYS | self.headers)

    @property
    def body(self) -> str:
        """The payload as JSON text."""
        return json.dumps(self.payload, ensure_ascii=False).encode("utf-8", "replace").decode()


def _shown(value: Any, *, is_message: bool = False) -> Any:
    """A payload without what no caller may see."""
    if isinstance(value, str):
        return mask_names(value) if is_message else mask(value)
    if isinstance(value, dict):
        return {key: _shown(inner, is_message=is_message or key in _MESSAGES) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(inner, is_message=is_message) for inner in value]
    return value


def problem(status: HTTPStatus, detail: str, *, code: str = "", **more: Any) -> Response:
    """A failed request: what went wrong in words, and the error's code."""
    payload = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    if code:
        payload["code"] = code
    return Response(int(status), payload | more, content_type=PROBLEM_JSON)


def problem_of(error: HyggeError) -> Response:
    """The response to a request that failed with one of the engine's errors.

    Callers see what they can correct. Faults of the project or its lake are the operator's: the response has the code,
    for the project the number of problems, and the log the details.
    """
    if isinstance(error, InvalidRequest):
        shown, count = error.problems[:PROBLEMS_LIMIT], len(error.problems)
        detail = "The load request is not valid: " + " ".join(shown)
        detail += f" And {count - len(shown):,} more." if count > len(shown) else ""
        return problem(HTTPStatus.BAD_REQUEST, detail, code=error.code, problems=shown, problem_count=count)
    if isinstance(error, UnknownSelection):
        return problem(HTTPStatus.NOT_FOUND, str(error), code=error.code)
    if isinstance(error, ConfigurationError):
        _log.error("The project cannot be used: %s", error)
        count = max(1, len(error.problems))
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, error.brief, code=error.code, problem_count=count)
    if isinstance(error, LakeError) or error.transient:
        headers = {} if error.retry_after_seconds is None else {"Retry-After": f"{error.retry_after_seconds:.0f}"}
        _log.error("A request failed: %s", error)
        detail = f"A service that the app depends on failed ({error.code}). The app's log says more."
        response = problem(HTTPStatus.BAD_GATEWAY, detail, code=error.code)
        return Response(response.status, response.payload, headers, response.content_type)
    return problem(HTTPStatus.BAD_REQUEST, str(error), code=error.code)
