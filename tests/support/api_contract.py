"""An API whose every response is compared with what its OpenAPI document promises."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache, wraps
from typing import Any

from jsonschema import Draft202012Validator

from hygge_engine.web.api import Api
from hygge_engine.web.contract import document
from hygge_engine.web.responses import Response

# Each method of `Api`, and what it serves.
SERVED = {
    "start_load": ("post", "/api/loads"),
    "load_status": ("get", "/api/loads/{load_id}"),
    "cancel_load": ("post", "/api/loads/{load_id}/cancel"),
    "flows": ("get", "/api/flows"),
    "runs": ("get", "/api/runs"),
    "run": ("get", "/api/runs/{coordinator_run_id}"),
    "health": ("get", "/api/health"),
    "openapi": ("get", "/api/openapi.json"),
}


@cache
def _closed() -> dict[str, Any]:
    """The document, by which nothing is returned that it does not name."""
    found = deepcopy(document())
    for schema in found["components"]["schemas"].values():
        schema["additionalProperties"] = False
    return found


def check(name: str, response: Response) -> None:
    """Raises ValidationError, or KeyError for a status or kind of content that is not promised."""
    method, path = SERVED[name]
    promised = _closed()["paths"][path][method]["responses"][str(response.status)]["content"]
    schema = promised[response.content_type]["schema"]
    Draft202012Validator({**_closed(), **schema}).validate(json.loads(response.body))


def promised(api: Api) -> Api:
    """The same API, each of whose responses is checked."""

    def checked(name: str, route: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(route):

            @wraps(route)
            async def respond(*args: Any, **keywords: Any) -> Response:
                response: Response = await route(*args, **keywords)
                check(name, response)
                return response

            return respond

        @wraps(route)
        def respond_at_once(*args: Any, **keywords: Any) -> Response:
            response: Response = route(*args, **keywords)
            check(name, response)
            return response

        return respond_at_once

    for name in SERVED:
        setattr(api, name, checked(name, getattr(api, name)))
    return api
