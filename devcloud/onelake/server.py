"""OneLake or ADLS Gen2 on a loopback port, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from aiohttp import web

from devcloud.doors import HTTP_LOG, HttpDoor, is_from_elsewhere, listen, matches
from devcloud.onelake.account import RESERVED_FILESYSTEM, Account
from devcloud.onelake.auth import DEFAULT_ACCOUNT_KEY, DEFAULT_ACCOUNT_NAME, Authenticator
from devcloud.onelake.behaviour import Behaviour, Mode
from devcloud.onelake.control import CONTROL_KEY_HEADER, Control
from devcloud.onelake.errors import NotModifiedError, ServiceError, default_code, error_body
from devcloud.onelake.exchange import (
    BODY_VERBS,
    MUTATING_VERBS,
    Request,
    Response,
    http_date,
    parse_query,
    parse_target,
)
from devcloud.onelake.faults import Fault, Faults
from devcloud.onelake.operations import Operation, OperationsLog
from devcloud.onelake.prohibitions import rejected_headers
from devcloud.onelake.service import execute
from devcloud.onelake.tls import make_server_context
from devcloud.onelake.transfer import DroppedConnectionError, TransferLimits, receive, send
from devcloud.onelake.tree import STATE_FOLDER, Clock, Node

type Phase = Literal["before", "after"]
type Callback = Callable[[Operation, Phase], None]

# Seconds that a closing server waits for requests in flight.
_SHUTDOWN_SECONDS: Final = 1.0

# Request lines and headers hold percent-encoded paths twice over in a rename.
_LINE_BYTES: Final = 64 * 1024

# What the service sends a client whose token it refuses; the tenant is made up.
_CHALLENGE: Final = (
    "Bearer authorization_uri=https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/oauth2/authorize "
    "resource_id=https://storage.azure.com"
)


class DropConnection(Exception):
    """Raised by a callback to cut the connection: before the operation it does not happen, after it the response is
    lost."""


class OneLake:
    """A storage account on loopback: DFS and Blob REST on one port, contents below `root`.

    `mode` "onelake": filesystems are workspaces made by `create_workspace` and `create_item`, as Fabric would; "adls":
    plain ADLS Gen2.
    `tls` serves https with a certificate made for the run: `ca_certificate` is the file to trust. `operations_file`
    receives the operations log as JSON lines. Start with `with`, or `start` and `close`; the same root continues where
    an earlier server stopped or was killed.
    """

    def __init__(
        self,
        root: Path,
        port: int = 0,
        mode: Mode = "onelake",
        account_name: str = DEFAULT_ACCOUNT_NAME,
        account_key: str = DEFAULT_ACCOUNT_KEY,
        *,
        bearer_tokens: Collection[str] | None = None,
        sas_tokens: Collection[str] = (),
        behaviour: Behaviour | None = None,
        tls: bool = False,
        operations_file: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.root = root
        self.mode = mode
        self.account_name = account_name
        self.account_key = account_key
        self.behaviour = behaviour or Behaviour()
        self.faults = Faults()
        self.operations = OperationsLog(operations_file)
        self._address = (host, port)
        self._tls = tls
        self._account = Account(root, mode, self.behaviour)
        self._authenticator = Authenticator(
            account_name,
            account_key,
            clock=self._account.clock,
            behaviour=self.behaviour,
            bearer_tokens=bearer_tokens,
            sas_tokens=sas_tokens,
        )
        self._control = Control(self._account, self.operations, self.faults)
        self._callbacks: list[Callback] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def clock(self) -> Clock:
        """The service's clock; set its `offset_seconds` to shift `Date`, Last-Modified and lease times."""
        return self._account.clock

    @property
    def port(self) -> int:
        """The bound port, once started."""
        return self._address[1]

    @property
    def url(self) -> str:
        """The account URL, for the DFS and the Blob client alike."""
        return f"{'https' if self._tls else 'http'}://{self._address[0]}:{self.port}"

    @property
    def credential(self) -> dict[str, str]:
        """The account's key as the Azure SDKs take it."""
        return {"account_name": self.account_name, "account_key": self.account_key}

    @property
    def ca_certificate(self) -> Path:
        """The certificate that https clients must trust (PEM)."""
        return self.root / STATE_FOLDER / "certificate.pem"

    def create_workspace(self, workspace: str) -> None:
        """Make a OneLake workspace; one that exists stays."""
        self._account.create_filesystem(workspace, "onelake")

    def create_filesystem(self, filesystem: str) -> None:
        """Make a plain ADLS filesystem, also beside workspaces; one that exists stays."""
        self._account.create_filesystem(filesystem, "adls")

    def create_item(self, workspace: str, item: str, folders: Iterable[str] = ("Files", "Tables")) -> None:
        """Make an item of a workspace, with its first-level folders."""
        self._account.create_item(workspace, item, folders)

    def path(self, filesystem: str, *parts: str) -> Path:
        """Where a path lies on disk. What is written there, by whole-file rename, is visible over REST."""
        return self.root.joinpath(filesystem, *parts)

    def find(self, filesystem: str, *parts: str) -> Node | None:
        """ETag, length and time of a path as REST would return them, or None."""
        with self._account.tree.lock:
            return self._account.tree.find("/".join((filesystem, *parts)))

    def on_operation(self, callback: Callback) -> Callable[[], None]:
        """Call `callback(operation, "before" | "after")` around every mutating operation; returns a function that ends
        it.

        The request waits meanwhile, other requests do not; callbacks run in a thread of their own and may use this
        object, its REST API and the disk. Raising `DropConnection` cuts the connection. After an operation,
        `operation.status` is what will be returned.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def start(self) -> Self:
        """Bind and serve. Raises OSError when the port is taken."""
        listener = listen(*self._address)
        self._address = (self._address[0], listener.getsockname()[1])
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listener, ready)), name="onelake")
        self._thread.start()
        ready.wait()
        return self

    def close(self) -> None:
        """Stop serving; contents and state stay on disk."""
        if self._thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None
        self.operations.close()
        self._account.tree.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = web.Server(
            self._handle,
            access_log=None,
            logger=HTTP_LOG,
            auto_decompress=False,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
        context = make_server_context(self.ca_certificate) if self._tls else None
        door = await HttpDoor.open(runner, listener, context)
        ready.set()
        await self._stop.wait()
        await door.close()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.headers.get("Expect", "").lower() == "100-continue" and http.transport is not None:
            http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if http.raw_path.startswith(f"/{RESERVED_FILESYSTEM}/"):
            if is_from_elsewhere(http.headers):
                return web.Response(status=403)
            if not matches(http.headers.get(CONTROL_KEY_HEADER, ""), self.account_key):
                return web.Response(status=401)
            path, _, query = http.raw_path.partition("?")
            response = self._control.answer(http.method, path, parse_query(query), await http.read())
            return await send(http, response, TransferLimits())
        try:
            return await self._handle_storage(http)
        except DroppedConnectionError:
            if http.transport is not None:
                http.transport.abort()
            return web.Response()

    async def _handle_storage(self, http: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        operation = Operation(0, http.method, "invalid", http.raw_path, False, time.time())
        operation.client_request_id = http.headers.get("x-ms-client-request-id")
        self.operations.begin(operation)
        try:
            response, pace = await self._exchange(http, operation)
        finally:
            # Before the response leaves: its receiver finds its operation in the log.
            operation.seconds = time.perf_counter() - started
            self.operations.finish(operation)
        return await send(http, response, pace)

    async def _exchange(self, http: web.BaseRequest, operation: Operation) -> tuple[Response, TransferLimits]:
        request: Request | None = None
        pace = TransferLimits()
        try:
            request = parse_target(http.method, http.raw_path, http.headers)
            operation.verb = request.verb
            operation.path = request.key
            operation.mutating = request.verb in MUTATING_VERBS
            operation.source = http.headers.get("x-ms-rename-source")
            self._authenticator.check(request)
        except ServiceError as error:
            await receive(http, None, pace)
            response = self._refuse(error, request, operation)
        else:
            response, pace = await self._carry_out(http, request, operation)
        self._finish_headers(http, request, response, operation)
        operation.bytes_out = response.length if response.file else len(response.body)
        return response, pace

    async def _carry_out(
        self, http: web.BaseRequest, request: Request, operation: Operation
    ) -> tuple[Response, TransferLimits]:
        """Faults, body, callbacks and the operation itself. Raises `DroppedConnectionError`."""
        faults = self.faults.hit(operation)
        operation.fault = ",".join(str(fault.id) for fault in faults) or None
        during = any(fault.when == "during" for fault in faults)
        pace = TransferLimits(min((fault.bytes_per_second for fault in faults if fault.bytes_per_second), default=None))
        receiving = (
            replace(pace, cut_after=(http.content_length or 0) // 2) if during and request.verb != "read" else pace
        )
        file = self._account.tree.spool() if request.verb in BODY_VERBS else None
        try:
            request.body = await receive(http, file, receiving)
            operation.bytes_in = request.body.length if request.body else 0
            if delay := sum(fault.delay_seconds for fault in faults):
                await asyncio.sleep(delay)
            response = self._apply(faults, "before", request, operation)
            if response is None:
                done = await self._perform(http, request, operation)
                try:
                    response = self._apply(faults, "after", request, operation) or done
                except DroppedConnectionError:
                    done.close()
                    raise
                if response is not done:
                    done.close()
        finally:
            # A handler that keeps the body takes it out of the request.
            if request.body is not None:
                request.body.file.unlink(missing_ok=True)
        if during and response.file is not None:
            operation.status = 0
            pace = replace(pace, cut_after=response.length // 2)
        return response, pace

    async def _perform(self, http: web.BaseRequest, request: Request, operation: Operation) -> Response:
        await self._call_back(operation, "before")
        try:
            expected = http.headers.get("Content-MD5")
            if request.body is not None and expected and request.body.md5 != expected:
                raise ServiceError("Md5Mismatch")
            response = execute(self._account, request)
            operation.done = True
            operation.status = response.status
        except ServiceError as error:
            response = self._refuse(error, request, operation)
        except OSError as error:
            response = self._refuse(ServiceError("InternalError", str(error)), request, operation)
        except NotModifiedError:
            response = Response(304, {"x-ms-error-code": "ConditionNotMet"})
            operation.status = 304
        await self._call_back(operation, "after")
        return response

    async def _call_back(self, operation: Operation, phase: Phase) -> None:
        if not operation.mutating:
            return
        for callback in tuple(self._callbacks):
            try:
                await asyncio.to_thread(callback, operation, phase)
            except DropConnection:
                operation.status = 0
                raise DroppedConnectionError from None

    def _apply(self, faults: list[Fault], phase: Phase, request: Request, operation: Operation) -> Response | None:
        for fault in faults:
            if fault.when != phase:
                continue
            if fault.drop:
                operation.status = 0
                raise DroppedConnectionError
            if fault.status is not None:
                code = fault.code or default_code(fault.status)
                error = ServiceError(code, fault.message, status=fault.status)
                response = self._refuse(error, request, operation)
                if fault.retry_after is not None:
                    response.headers["Retry-After"] = str(fault.retry_after)
                return response
        return None

    def _refuse(self, error: ServiceError, request: Request | None, operation: Operation) -> Response:
        dialect = request.dialect if request is not None else "dfs"
        code = error.code_for(dialect)
        operation.status = error.status
        operation.error_code = code
        headers = {"x-ms-error-code": code, "x-ms-request-id": str(uuid.uuid4())}
        body = b""
        if operation.method != "HEAD":
            date = http_date(self._account.clock.now_ns())
            body, headers["Content-Type"] = error_body(code, error.message, dialect, headers["x-ms-request-id"], date)
        if error.status == 401:
            headers["WWW-Authenticate"] = _CHALLENGE
        return Response(error.status, headers, body)

    def _finish_headers(
        self, http: web.BaseRequest, request: Request | None, response: Response, operation: Operation
    ) -> None:
        headers = response.headers
        headers["Date"] = http_date(self._account.clock.now_ns())
        headers["Server"] = "devcloud"
        headers["x-ms-version"] = http.headers.get("x-ms-version", "2021-06-08")
        headers.setdefault("x-ms-request-id", str(uuid.uuid4()))
        if operation.client_request_id:
            headers["x-ms-client-request-id"] = operation.client_request_id
        if request is not None and self._account.mode_of(request.filesystem) == "onelake":
            ignored = rejected_headers(request)
            if ignored:
                headers["x-ms-rejected-headers"] = ignored
