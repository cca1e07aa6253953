"""Bodies over HTTP: spooled to disk as they arrive, streamed from disk as they leave, slowed down or cut on request."""

from __future__ import annotations

import asyncio
import hashlib
import os
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from devcloud.onelake.exchange import Body, Response

# Files up to this size are read and sent at once; larger ones in pieces of it.
PIECE_BYTES: Final = 256 * 1024


class DroppedConnectionError(Exception):
    """The connection was cut on purpose, or by the client in the middle of a body."""


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """How a body travels: at a limited rate, and the connection cut after a number of bytes; None: without a limit."""

    bytes_per_second: int | None = None
    cut_after: int | None = None

    async def wait(self, length: int) -> None:
        """Wait as long as `length` bytes take."""
        if self.bytes_per_second:
            await asyncio.sleep(length / self.bytes_per_second)


async def receive(http: web.BaseRequest, file: Path | None, pace: TransferLimits) -> Body | None:
    """Read the body into `file`; None only reads it. Raises `DroppedConnectionError` where the pace cuts it."""
    if file is None:
        await _receive(http, pace, lambda _: None)
        return None
    digest = hashlib.md5(usedforsecurity=False) if "Content-MD5" in http.headers else None
    try:
        with file.open("xb", buffering=0) as output:

            def keep(piece: bytes) -> None:
                _write_all(output.fileno(), piece)
                if digest is not None:
                    digest.update(piece)

            length = await _receive(http, pace, keep)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return Body(file, length, b64encode(digest.digest()).decode() if digest else None)


async def _receive(http: web.BaseRequest, pace: TransferLimits, keep: Callable[[bytes], None]) -> int:
    """Hand over the body piece by piece; returns its length."""
    length = 0
    try:
        while piece := await http.content.readany():
            length += len(piece)
            keep(piece)
            if pace.cut_after is not None and length >= pace.cut_after:
                break
            await pace.wait(len(piece))
    except (ConnectionError, web.RequestPayloadError) as error:
        raise DroppedConnectionError from error
    if pace.cut_after is not None:
        raise DroppedConnectionError
    return length


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def send(http: web.BaseRequest, response: Response, pace: TransferLimits) -> web.StreamResponse:
    """Send a response and close its file. Raises `DroppedConnectionError` where the pace cuts the body."""
    if response.file is None:
        response.length = len(response.body)
    try:
        if response.length <= PIECE_BYTES and pace == TransferLimits():
            body = response.body
            if response.file is not None:
                body = os.pread(response.file.fileno(), response.length, response.offset)
            return web.Response(status=response.status, headers=response.headers, body=body or None)
        return await _stream(http, response, pace)
    finally:
        response.close()


async def _stream(http: web.BaseRequest, response: Response, pace: TransferLimits) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    if http.method != "HEAD":
        stream.content_length = response.length
    await stream.prepare(http)
    # A slow body trickles in tenths of a second.
    size = min(PIECE_BYTES, max(1, pace.bytes_per_second // 10)) if pace.bytes_per_second else PIECE_BYTES
    sent = 0
    while sent < response.length:
        wanted = min(size, response.length - sent)
        if pace.cut_after is not None:
            wanted = min(wanted, pace.cut_after - sent)
        piece = _piece(response, sent, wanted)
        if not piece:
            # Cut on purpose, or the file on disk was truncated: it is shorter than the announced length.
            raise DroppedConnectionError
        await pace.wait(len(piece))
        await stream.write(piece)
        sent += len(piece)
    await stream.write_eof()
    return stream


def _piece(response: Response, start: int, length: int) -> bytes:
    if response.file is not None:
        return os.pread(response.file.fileno(), length, response.offset + start)
    return response.body[start : start + length]
