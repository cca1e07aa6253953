"""What the API answers with: a status, a JSON payload, and problems in the form of RFC 9457."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from hygge_engine.errors import ConfigurationError, HyggeError, InvalidRequest, LakeError, UnknownSelection

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, before it takes the form of any web framework."""

    status: int
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON

    @property
    def body(self) -> str:
        """The payload as JSON text."""
        return json.dumps(self.payload, ensure_ascii=False)


def problem(status: HTTPStatus, detail: str, *, code: str = "", **more: Any) -> Answer:
    """A failed request: what went wrong in words, and the error's code."""
    payload = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    if code:
        payload["code"] = code
    return Answer(int(status), payload | more, content_type=PROBLEM_JSON)


def problem_of(error: HyggeError) -> Answer:
    """The answer to a request that failed with one of our own errors, whose messages never hold a secret."""
    if isinstance(error, InvalidRequest):
        return problem(HTTPStatus.BAD_REQUEST, error.message, code=error.code, problems=error.problems)
    if isinstance(error, UnknownSelection):
        return problem(HTTPStatus.NOT_FOUND, str(error), code=error.code)
    if isinstance(error, ConfigurationError):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), code=error.code)
    if isinstance(error, LakeError) or error.transient:
        headers = {} if error.retry_after_seconds is None else {"Retry-After": f"{error.retry_after_seconds:.0f}"}
        answer = problem(HTTPStatus.BAD_GATEWAY, str(error), code=error.code)
        return Answer(answer.status, answer.payload, headers, answer.content_type)
    return problem(HTTPStatus.BAD_REQUEST, str(error), code=error.code)
