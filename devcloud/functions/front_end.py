"""The host's HTTP server: function routes, admin verbs, the durable webhooks and the orders for faults."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from devcloud.doors import is_from_elsewhere, matches
from devcloud.functions.durable_api import RPC_PATH, WEBHOOK_PATH, DurableApi
from devcloud.functions.faults import Faults
from devcloud.functions.instances import InstancePool
from devcloud.functions.keys import Keys
from devcloud.functions.routes import Route, match_route
from devcloud.functions.worker_protocol import (
    DURABLE_CLIENT,
    Function,
    FunctionAppError,
    FunctionTimeoutError,
    HttpAnswer,
    HttpMessage,
    Input,
    Outcome,
    WorkerExitedError,
)

log = logging.getLogger("devcloud.functions.http")

# What a function app on Azure accepts by default (host.json, extensions.http; the platform's own limit is the same).
MAX_REQUEST_BYTES = 210 * 1024 * 1024
# How slowly a body may come on average, and from when on: the default of the host's server (Kestrel).
BODY_BYTES_PER_SECOND = 240
BODY_GRACE_SECONDS = 5.0
# The front end of Azure stops waiting for a response after this time; the function itself runs on.
HTTP_ANSWER_LIMIT_SECONDS = 230.0

_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}

# What an order that nobody understands, or that cannot be carried out, raises.
_NOT_UNDERSTOOD = (TypeError, ValueError, LookupError, AttributeError, RecursionError, FunctionAppError)

Invoke = Callable[[Function, list[Input]], Awaitable[Outcome]]


# What is the host's own and not the app's: nothing that a page of another origin may reach.
_OWN_PATHS = (f"{RPC_PATH}/", f"{WEBHOOK_PATH}/", "/admin/", "/devcloud/")


class FrontEnd:
    """Routes requests. ``run_now`` starts a function that has no HTTP trigger; ``control`` carries out a host order."""

    def __init__(
        self,
        routes: list[Route],
        keys: Keys,
        durable: DurableApi,
        invoke: Invoke,
        run_now: Callable[[str], bool],
        faults: Faults,
        control: Callable[[str], dict[str, Any]],
        instances: InstancePool,
        answer_limit_seconds: float = HTTP_ANSWER_LIMIT_SECONDS,
    ) -> None:
        self._routes = routes
        self._keys = keys
        self._durable = durable
        self._invoke = invoke
        self._run_now = run_now
        self._faults = faults
        self._control = control
        self._instances = instances
        self._answer_limit_seconds = answer_limit_seconds
        self._running: set[asyncio.Future[Outcome]] = set()
        self._cut_off = False
        self.application = web.Application(client_max_size=MAX_REQUEST_BYTES)
        self.application.router.add_route("*", "/{path:.*}", self._handle)

    def cut_off(self) -> None:
        """Stop responding, as a dead process does: waiting callers lose the connection."""
        self._cut_off = True

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response = web.Response() if self._cut_off else await self._answer(request)
        if self._cut_off and request.transport is not None:
            request.transport.abort()
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path.startswith(_OWN_PATHS) and is_from_elsewhere(request.headers):
            return web.Response(status=403)
        if path.startswith(f"{RPC_PATH}/"):
            return await self._durable.handle(request, path.removeprefix(RPC_PATH))
        if path.startswith(f"{WEBHOOK_PATH}/"):
            if not matches(self._given_key(request), self._keys.system, self._keys.master):
                return web.Response(status=401)
            return await self._durable.handle(request, path.removeprefix(WEBHOOK_PATH))
        if path.startswith("/admin/"):
            return self._administer(request, path.strip("/").split("/")[1:])
        if path.startswith("/devcloud/"):
            return await self._order(request, path.strip("/").split("/")[1:])
        found = match_route(self._routes, request.method, unquote(path))
        if found is None:
            return web.Response(status=404)
        route, parameters = found
        if not self._authorized(route, self._given_key(request)):
            return web.Response(status=401)
        return await self._run(route.function, request, parameters)

    @staticmethod
    def _given_key(request: web.Request) -> str:
        return request.headers.get("x-functions-key") or request.query.get("code", "")

    def _authorized(self, route: Route, key: str) -> bool:
        if route.auth_level == "anonymous":
            return True
        if route.auth_level == "admin":
            return matches(key, self._keys.master)
        return matches(key, self._keys.function, self._keys.master)

    async def _run(self, function: Function, request: web.Request, parameters: dict[str, str]) -> web.Response:
        try:
            body = await _read_body(request)
        except TimeoutError:
            # The rest may come for hours, and is not a request of its own.
            slow = web.Response(status=408)
            slow.force_close()
            return slow
        except web.RequestPayloadError as error:
            # Not what its own headers say of it.
            return web.Response(status=400, text=str(error))
        message = HttpMessage(
            method=request.method,
            url=str(request.url),
            headers={name.lower(): value for name, value in request.headers.items()},
            query=dict(request.query),
            route=parameters,
            body=body,
        )
        inputs = [Input(function.trigger["name"], "http", message), *self.client_inputs(function)]
        running = asyncio.ensure_future(self._invoke(function, inputs))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        try:
            # Shielded: the platform's front end gives up, the function does not.
            outcome = await asyncio.wait_for(asyncio.shield(running), self._answer_limit_seconds)
        except TimeoutError:
            return web.Response(status=502, text="The function did not respond in time.")
        except (WorkerExitedError, FunctionTimeoutError) as error:
            log.error("function '%s' failed: %s", function.name, error)
            return web.Response(status=500)
        if not outcome.succeeded:
            log.error("function '%s' failed\n%s", function.name, outcome.traceback)
            return web.Response(status=500)
        return _encode_answer(outcome.value)

    def client_inputs(self, function: Function) -> list[Input]:
        """Return the values of a function's durable client bindings."""
        return [
            Input(binding["name"], "string", self._durable.describe_client())
            for binding in function.bindings
            if binding["type"] == DURABLE_CLIENT
        ]

    def _administer(self, request: web.Request, parts: list[str]) -> web.Response:
        """Serve ``/admin/...``, which needs the master key as on Azure."""
        if not matches(self._given_key(request), self._keys.master):
            return web.Response(status=401)
        match request.method, parts:
            case "GET", ["host", "status"]:
                return web.json_response({"state": "Running"})
            case "GET", ["functions"]:
                return web.json_response([{"name": route.function.name} for route in self._routes])
            case "POST", ["functions", name]:
                return web.Response(status=202 if self._run_now(unquote(name)) else 404)
            case _:
                return web.Response(status=404)

    async def _order(self, request: web.Request, parts: list[str]) -> web.Response:
        """Carry out ``/devcloud/...``, which needs the master key: what no Azure host has, for tests of programs in
        other processes."""
        if not matches(self._given_key(request), self._keys.master):
            return web.Response(status=401)
        try:
            return await self._carry_out(request, parts)
        except _NOT_UNDERSTOOD as error:
            return web.json_response({"error": str(error)}, status=400)

    async def _carry_out(self, request: web.Request, parts: list[str]) -> web.Response:
        text = await request.text()
        match request.method, parts:
            case "GET", ["state"]:
                return web.json_response(self._control("state") | {"faults": self._faults.describe()})
            case "POST", ["faults", order]:
                self._faults.apply(order, json.loads(text) if text else {})
                return web.json_response(self._faults.describe())
            case "DELETE", ["faults"]:
                self._faults.clear()
                return web.json_response(self._faults.describe())
            case "POST", [("worker" | "host") as victim, "kill"]:
                return web.json_response(self._control(f"kill_{victim}"))
            case "GET", ["instances"]:
                return web.json_response(self._instances.describe())
            case (("POST" | "DELETE"), ["instances", *rest]):
                return await self._scale(request.method, rest, json.loads(text) if text else {})
            case _:
                return web.Response(status=404)

    async def _scale(self, method: str, parts: list[str], arguments: dict[str, Any]) -> web.Response:
        """Add an instance, or let one go in one way or another; answers with those that are there then."""
        if not isinstance(arguments, dict):
            raise ValueError("expected a JSON object")
        match method, parts:
            case "POST", []:
                await self._instances.add()
            case "POST", [id_, "kill"]:
                self._instances.kill(id_)
            case "POST", [id_, "drain"]:
                self._instances.drain(id_, **arguments)
            case "POST", [id_, "restart"]:
                self._instances.restart(id_, **arguments)
            case "DELETE", [id_]:
                self._instances.remove(id_)
            case _:
                return web.Response(status=404)
        return web.json_response(self._instances.describe())


async def _read_body(request: web.Request) -> bytes:
    """The whole body. Raises TimeoutError where it comes too slowly, HTTPRequestEntityTooLarge where it is too long."""
    began, body = asyncio.get_running_loop().time(), bytearray()
    while True:
        async with asyncio.timeout_at(began + max(BODY_GRACE_SECONDS, len(body) / BODY_BYTES_PER_SECOND)):
            chunk = await request.content.readany()
        if not chunk:
            return bytes(body)
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_REQUEST_BYTES, len(body))


def _encode_answer(value: str | HttpAnswer | None) -> web.Response:
    if value is None:
        return web.Response(status=204)
    if isinstance(value, str):
        return web.Response(text=value)
    response = web.Response(status=value.status, body=value.body)
    response.headers.popall("Content-Type", None)
    for name, text in value.headers:
        if name.lower() not in _HOP_BY_HOP:
            response.headers.add(name, text)
    return response
