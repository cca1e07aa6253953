"""Microsoft's Python worker library (``azure_functions_runtime``) driven directly: index an app, run its functions.

The library expects a host that speaks gRPC; it reads the host's messages by attribute only, so plain namespaces serve
in their place. Its state is global, so one process holds one app at a time.
"""

import importlib
import json
import logging
import re
import sys
import uuid
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime
from azure_functions_runtime import native_invocation
from azure_functions_runtime.bindings.datumdef import Datum

from devcloud.functions.worker_protocol import (
    ACTIVITY_TRIGGER,
    DURABLE_CLIENT,
    HTTP_TRIGGER,
    ORCHESTRATION_TRIGGER,
    TIMER_TRIGGER,
    Function,
    FunctionAppError,
    HttpAnswer,
    HttpMessage,
    Input,
    Outcome,
)

SUPPORTED_BINDINGS = {HTTP_TRIGGER, "http", TIMER_TRIGGER, ORCHESTRATION_TRIGGER, ACTIVITY_TRIGGER, DURABLE_CLIENT}
APP_MODULE = "function_app"


class _StatusResult(SimpleNamespace):
    Failure = 0
    Success = 1


class _BindingInfo(SimpleNamespace):
    # Directions and data types as the host's protocol numbers them.
    undefined = 0
    out = 1
    inout = 2


# Replacements for the host's generated messages, by the names that the library looks up.
_PROTOS = SimpleNamespace(
    StatusResult=_StatusResult,
    BindingInfo=_BindingInfo,
    WorkerInitResponse=SimpleNamespace,
    WorkerMetadata=SimpleNamespace,
    FunctionMetadataResponse=SimpleNamespace,
    RpcFunctionMetadata=SimpleNamespace,
    RpcRetryOptions=SimpleNamespace,
    RpcException=SimpleNamespace,
)


async def load_app(directory: Path) -> list[Function]:
    """Index the app in ``directory`` and start the thread pool; raises FunctionAppError with the worker's reason."""
    if not (directory / f"{APP_MODULE}.py").is_file():
        raise FunctionAppError(f"{directory} has no {APP_MODULE}.py")
    # The library logs each failure with its traceback; the host does so too.
    logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
    _forget_previous_app()
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    azure_functions_runtime.start_threadpool_executor()
    request = SimpleNamespace(
        request=SimpleNamespace(
            worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(directory))
        ),
        properties={"host": "127.0.0.1", "protos": _PROTOS},
    )
    started = await azure_functions_runtime.worker_init_request(request)
    if started.result.status != _StatusResult.Success:
        raise FunctionAppError(f"{started.result.exception.message}\n{started.result.exception.stack_trace}")
    answer = await azure_functions_runtime.functions_metadata_request(request)
    functions = [
        Function(found.name, found.function_id, tuple(json.loads(binding) for binding in found.raw_bindings))
        for found in answer.function_metadata_results or []
    ]
    for function in functions:
        unknown = {str(binding["type"]) for binding in function.bindings} - SUPPORTED_BINDINGS
        if unknown:
            raise FunctionAppError(
                f"function '{function.name}' uses bindings this host lacks: {', '.join(sorted(unknown))}"
            )
    return functions


def _forget_previous_app() -> None:
    """Make room for another app: the library's registry and the imported module outlive the host that loaded them."""
    previous = sys.modules.pop(APP_MODULE, None)
    if previous is not None and previous.__file__ is not None:
        folder = str(Path(previous.__file__).parent)
        if folder in sys.path:
            sys.path.remove(folder)
    native_invocation._functions._functions.clear()


async def invoke(function_id: str, inputs: list[Input]) -> Outcome:
    """Run one function: coroutines on this event loop, plain functions on the worker's thread pool."""
    succeeded, returned, _, error, traceback = await native_invocation.invocation_request_native(
        str(uuid.uuid4()), function_id, [(given.name, _encode_input(given)) for given in inputs], {}
    )
    if not succeeded:
        return Outcome(False, None, _describe_error(error or "", traceback or ""), traceback or "")
    return Outcome(True, _decode_return(returned))


def _encode_input(given: Input) -> Datum:
    if not isinstance(given.value, HttpMessage):
        return Datum(given.value, given.kind)
    message = given.value
    return Datum(
        {
            "method": Datum(message.method, "string"),
            "url": Datum(message.url, "string"),
            "headers": {name: Datum(value, "string") for name, value in message.headers.items()},
            "query": {name: Datum(value, "string") for name, value in message.query.items()},
            "params": {name: Datum(value, "string") for name, value in message.route.items()},
            "body": Datum(message.body, "bytes"),
        },
        "http",
    )


def _decode_return(returned: Any) -> str | HttpAnswer | None:
    if returned is None or returned.type is None:
        return None
    if returned.type != "http":
        return returned.value if isinstance(returned.value, str) else json.dumps(returned.value)
    answer = returned.value
    headers = [(name, value.value) for name, value in answer["headers"].items()]
    cookies: list[SimpleCookie] = answer["cookies"] or []
    headers += [("Set-Cookie", morsel.OutputString()) for cookie in cookies for morsel in cookie.values()]
    return HttpAnswer(int(answer["status_code"].value), tuple(headers), answer["body"].value)


def _describe_error(representation: str, traceback: str) -> str:
    """Return ``Type: message`` from the end of the traceback: the library hands out the exception's repr only."""
    name = re.match(r"[A-Za-z_]\w*", representation)
    if name is not None:
        headings = list(re.finditer(rf"^(?:\w+\.)*{name.group()}(?:: |$)", traceback, re.MULTILINE))
        if headings:
            text = traceback[headings[-1].start() :].strip()
            return text[text.index(name.group()) :]
    return representation
