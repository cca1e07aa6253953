"""Who may come in: what every server of the laptop cloud asks of a caller beyond its own protocol."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import secrets
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

OWNER_ONLY = 0o600

# Connections that may wait until a server takes them. Where more come at once, Linux drops or resets some, and their
# callers get no response; the system's own bound (net.core.somaxconn) is 4096.
BACKLOG = 4096


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port, 0 for one that is free. Raises OSError where it is taken."""
    return socket.create_server((host, port), backlog=BACKLOG)


# How long the headers of a connection's first request may take from its first byte, and how long they may be in all:
# the defaults of the host's server on Azure (Kestrel: RequestHeadersTimeout, MaxRequestHeadersTotalSize).
HEADERS_SECONDS = 30.0
HEADERS_BYTES = 32 * 1024

_END_OF_HEADERS = b"\r\n\r\n"


def _without_trace(record: logging.LogRecord) -> bool:
    """A request that is none is its sender's mistake: one line says so."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.args = f"{record.getMessage()}: {error.message!r:.200}", ()
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


# The logger for servers of aiohttp.
HTTP_LOG = logging.getLogger("devcloud.http")
HTTP_LOG.addFilter(_without_trace)


class _AtTheDoor(asyncio.Protocol):
    """Watches a connection until the headers of its first request are there; later data is passed to the server's own
    protocol. ``longest``: bytes of these headers, the request line among them; None for any number."""

    def __init__(self, inside: asyncio.Protocol, longest: int | None) -> None:
        self._inside = inside
        self._longest = longest
        self._seen: bytes | None = b""
        self._taken = 0
        self._refused = False
        self._transport: asyncio.Transport | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._inside.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._seen is not None:
            self._look_at(data)
        if not self._refused:
            self._inside.data_received(data)

    def _look_at(self, data: bytes) -> None:
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(HEADERS_SECONDS, self._refuse, 408, "Request Timeout")
        seen = (self._seen or b"") + data
        end = seen.find(_END_OF_HEADERS)
        self._taken += len(data) if end < 0 else end - len(self._seen or b"")
        if self._longest is not None and self._taken > self._longest:
            self._refuse(431, "Request Header Fields Too Large")
        elif end < 0:
            self._seen = seen[-len(_END_OF_HEADERS) + 1 :]
        else:
            self._let_in()

    def _let_in(self) -> None:
        self._seen = None
        if self._late is not None:
            self._late.cancel()

    def _refuse(self, status: int, reason: str) -> None:
        self._let_in()
        self._refused = True
        if self._transport is not None and not self._transport.is_closing():
            answer = f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            self._transport.write(answer.encode())
            self._transport.close()

    def eof_received(self) -> bool | None:
        return self._inside.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_in()
        self._inside.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inside.pause_writing()

    def resume_writing(self) -> None:
        self._inside.resume_writing()


class HttpDoor:
    """Where callers of an aiohttp server come in, and out again: once it is closed no connection is left open."""

    def __init__(
        self, runner: web.ServerRunner | web.AppRunner, listening: socket.socket, server: asyncio.Server
    ) -> None:
        self._runner = runner
        self._listening = listening
        self._server = server

    @classmethod
    async def open(
        cls,
        runner: web.ServerRunner | web.AppRunner,
        listening: socket.socket,
        context: ssl.SSLContext | None = None,
        headers_bytes: int | None = None,
    ) -> HttpDoor:
        """Serve what the runner serves on a socket that listens; with a context, by TLS. Requests whose headers take
        longer than `HEADERS_SECONDS`, or are longer than ``headers_bytes``, are refused."""
        await runner.setup()
        taken_by = cast("Callable[[], asyncio.Protocol]", runner.server)
        loop = asyncio.get_running_loop()

        def visitor() -> _AtTheDoor:
            return _AtTheDoor(taken_by(), headers_bytes)

        server = await loop.create_server(visitor, sock=listening, ssl=context, backlog=BACKLOG)
        return cls(runner, listening, server)

    async def close(self) -> None:
        """Listen no longer, wait for requests in progress, for the runner's time, and cut off the rest."""
        asyncio.get_running_loop().remove_reader(self._listening)
        # Connections that were just accepted are known to the server a turn later, and only to one that is still open.
        await asyncio.sleep(0)
        self._server.close()
        await self._runner.cleanup()
        self._server.abort_clients()
        await self._server.wait_closed()


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this request for a page of another origin, which any page can make it do."""
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.casefold() != headers.get("Host", "").casefold():
        return True
    return headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def matches(given: str, *keys: str) -> bool:
    """Whether a key is one of these; any text may be given."""
    offered = given.encode("utf-8", "backslashreplace")
    return any(hmac.compare_digest(offered, key.encode()) for key in keys)


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whatever was there before."""
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w", encoding="utf-8") as file:
        file.write(text)
    staged.replace(path)
