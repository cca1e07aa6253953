"""The part of Fabric's REST API that reports the status of mirrored databases, starts and stops them, and gives and
takes their definitions."""

import base64
import json
import re
import secrets
import threading
from collections.abc import Mapping
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from devcloud.doors import BACKLOG, is_from_elsewhere, matches
from devcloud.replicator.replicator import Replicator

PAGE_SIZE = 100  # tables per response; Fabric's own number is not documented

_PATH = re.compile(
    r"/v1/workspaces/(?P<workspace>[^/]+)/mirroredDatabases/(?P<item>[^/]+)"
    r"/(?P<action>getMirroringStatus|getTablesMirroringStatus|startMirroring|stopMirroring"
    r"|getDefinition|updateDefinition)"
)

_ORDERS = ("startMirroring", "stopMirroring")

# Of definitions; no other request has a body that says anything.
_BODY_LIMIT_BYTES = 65_536

_PART = "mirroring.json"

# What Fabric says of a mirrored database that is fed through its landing zone, until somebody changes it.
_DEFINITION = {
    "properties": {
        "source": {"type": "GenericMirror", "typeProperties": {}},
        "target": {
            "type": "MountedRelationalDatabase",
            "typeProperties": {"defaultSchema": "dbo", "format": "Delta", "retentionInDays": 7},
        },
    }
}

# Of a place in a list of tables, and of a body's length.
_MOST_DIGITS = 10


class StatusServer:
    """Serves the status of several mirrors on one loopback port: `mirrors` maps (workspace id, item id) to replicators.

    Fabric wants a bearer token for `https://api.fabric.microsoft.com`. Here starting and stopping want `key` as one (by
    default a new key); status and definitions are open to every program of this machine, because no client sends a
    token without TLS. A definition is kept and given back; no replicator acts on it. Pages of other origins are
    refused, also where a name of their own leads here.
    """

    def __init__(
        self, mirrors: Mapping[tuple[str, str], Replicator], port: int = 0, *, page_size: int = PAGE_SIZE, key: str = ""
    ) -> None:
        self.key = key or secrets.token_urlsafe()
        self.mirrors = dict(mirrors)
        self._definitions = dict.fromkeys(self.mirrors, json.dumps(_DEFINITION).encode())
        self._page_size = page_size
        self._throttled = 0
        self._retry_after = 0

        class Handler(_Handler):
            server_of_status = self

        self._server = _Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="mirroring-status", daemon=True)

    @property
    def url(self) -> str:
        """The address that stands for `https://api.fabric.microsoft.com`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        """Serve in a thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def throttle(self, requests: int, retry_after_seconds: int) -> None:
        """Respond to the next requests with 429 and a Retry-After."""
        self._throttled, self._retry_after = requests, retry_after_seconds

    def lets_in(self, headers: "Message[str, str]") -> bool:
        """Whether a request comes from a program of this machine, and from no page of a browser."""
        host = urlsplit(f"//{headers.get('Host', '')}").hostname
        return host in ("127.0.0.1", "localhost") and not is_from_elsewhere(dict(headers.items()))

    def answer(
        self, target: str, token: str = "", content: bytes = b""
    ) -> tuple[HTTPStatus, dict[str, Any] | None, dict[str, str]]:
        """Return status, body and headers for a POST to a path with its query, a bearer token and a body."""
        if self._throttled:
            self._throttled -= 1
            body = _error("RequestBlocked", "The request was blocked by the upstream service")
            return HTTPStatus.TOO_MANY_REQUESTS, body, {"Retry-After": str(self._retry_after)}
        parts = urlsplit(target)
        match = _PATH.fullmatch(parts.path)
        if match is None:
            return HTTPStatus.NOT_FOUND, _error("EndpointNotFound", "The requested endpoint was not found"), {}
        replicator = self.mirrors.get((match["workspace"], match["item"]))
        if replicator is None:
            return HTTPStatus.NOT_FOUND, _error("ItemNotFound", "The requested item was not found"), {}
        if match["action"] in _ORDERS and not matches(token, self.key):
            return HTTPStatus.UNAUTHORIZED, _error("Unauthorized", "The caller is not authenticated"), {}
        match match["action"]:
            case "getMirroringStatus":
                return HTTPStatus.OK, {"status": replicator.status().value}, {}
            case "getTablesMirroringStatus":
                start = parse_qs(parts.query).get("continuationToken", ["0"])[0]
                if not (start.isascii() and start.isdecimal() and len(start) < _MOST_DIGITS):
                    return HTTPStatus.BAD_REQUEST, _error("InvalidParameter", "The continuation token is invalid"), {}
                return HTTPStatus.OK, self._page(replicator, int(start), parts.path), {}
            case "getDefinition":
                payload = base64.b64encode(self._definitions[match["workspace"], match["item"]]).decode()
                part = {"path": _PART, "payload": payload, "payloadType": "InlineBase64"}
                return HTTPStatus.OK, {"definition": {"parts": [part]}}, {}
            case "updateDefinition":
                if (definition := _definition_of(content)) is None:
                    return HTTPStatus.BAD_REQUEST, _error("CorruptedPayload", "The payload is corrupted"), {}
                self._definitions[match["workspace"], match["item"]] = definition
            case "startMirroring":
                replicator.start_mirroring()
            case _:
                replicator.stop_mirroring()
        return HTTPStatus.OK, None, {}

    def _page(self, replicator: Replicator, start: int, path: str) -> dict[str, Any]:
        tables = replicator.tables_status()
        page: dict[str, Any] = {"data": tables[start : start + self._page_size]}
        following = start + self._page_size
        if following < len(tables):
            page["continuationToken"] = str(following)
            page["continuationUri"] = f"{self.url}{path}?{urlencode({'continuationToken': following})}"
        return page


def _definition_of(content: bytes) -> bytes | None:
    """The part that says what a mirrored database is; None where Fabric would not take it."""
    try:
        parts = json.loads(content)["definition"]["parts"]
        (payload,) = [part["payload"] for part in parts if part["path"] == _PART]
        definition = base64.b64decode(payload, validate=True)
        properties = json.loads(definition)["properties"]
        return definition if {"source", "target"} <= set(properties) else None
    except (ValueError, KeyError, TypeError):
        return None


def _error(code: str, message: str) -> dict[str, Any]:
    return {"errorCode": code, "message": message}


class _Server(ThreadingHTTPServer):
    request_queue_size = BACKLOG


class _Handler(BaseHTTPRequestHandler):
    server_of_status: StatusServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        readable = length.isascii() and length.isdecimal() and len(length) < _MOST_DIGITS
        if not (self.server_of_status.lets_in(self.headers) and readable and int(length) < _BODY_LIMIT_BYTES):
            self.close_connection = True
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        asked = self.rfile.read(int(length))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        status, body, headers = self.server_of_status.answer(self.path, token, asked)
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the caller sees its own requests."""
