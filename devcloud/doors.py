"""Who may come in: what every server of the laptop cloud asks of a caller beyond its own protocol."""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from aiohttp import web

OWNER_ONLY = 0o600

# Connections that may wait until a server takes them. Where more come at once, Linux drops or resets some, and their
# callers have no answer; the system's own bound (net.core.somaxconn) is 4096.
BACKLOG = 4096


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port, 0 for one that is free. Raises OSError where it is taken."""
    return socket.create_server((host, port), backlog=BACKLOG)


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
        cls, runner: web.ServerRunner | web.AppRunner, listening: socket.socket, context: ssl.SSLContext | None = None
    ) -> HttpDoor:
        """Serve what the runner serves on a socket that listens; with a context, by TLS."""
        await runner.setup()
        taken_by = cast("Callable[[], asyncio.Protocol]", runner.server)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(taken_by, sock=listening, ssl=context, backlog=BACKLOG)
        return cls(runner, listening, server)

    async def close(self) -> None:
        """Listen no longer, wait for requests that are being answered, for the runner's time, and cut off the rest."""
        asyncio.get_running_loop().remove_reader(self._listening)
        # Those who were taken a moment ago are known to the server a turn later, and only to one that is still open.
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
