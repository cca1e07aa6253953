"""How fast the server is by itself: raw HTTP to a server process, so that no client library is measured."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Final
from urllib.parse import urlsplit

_MEBIBYTE: Final = 1 << 20
_UPLOAD_BYTES: Final = 64 * _MEBIBYTE
_UPLOADS: Final = 8
_SMALL_OPERATIONS: Final = 3000
_HEADERS: Final = {
    "Authorization": "Bearer ceiling",
    "x-ms-version": "2026-10-06",
    "x-ms-client-request-id": "00000000-0000-0000-0000-000000000000",
    "Accept": "application/json",
}


@contextmanager
def _served() -> Iterator[HTTPConnection]:
    command = [sys.executable, "-m", "devcloud.onelake", "--mode", "adls", "--filesystem", "fs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  (our own command)
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        address = urlsplit(process.stdout.readline().split()[1])
        connection = HTTPConnection(address.hostname or "", address.port)
        try:
            yield connection
        finally:
            connection.close()
            process.terminate()


def _send(connection: HTTPConnection, method: str, target: str, body: bytes = b"", **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, body or None, _HEADERS | named)
    response = connection.getresponse()
    while response.read(_MEBIBYTE):
        pass
    if response.status >= 400:
        raise RuntimeError(f"{method} {target}: {response.status}")


def measure() -> None:
    """Print megabytes per second of uploads and downloads, and small operations per second, over one connection."""
    data = bytes(_UPLOAD_BYTES)
    with _served() as connection:

        def put_blobs() -> None:
            for _ in range(_UPLOADS):
                _send(connection, "PUT", "/fs/blob", data, x_ms_blob_type="BlockBlob")

        def append_and_flush() -> None:
            for _ in range(_UPLOADS):
                _send(connection, "PUT", "/fs/file?resource=file")
                _send(connection, "PATCH", "/fs/file?action=append&position=0", data)
                _send(connection, "PATCH", f"/fs/file?action=flush&position={len(data)}")

        def append_pieces() -> None:
            piece = data[: 4 * _MEBIBYTE]
            for _ in range(_UPLOADS):
                _send(connection, "PUT", "/fs/pieces?resource=file")
                for position in range(0, len(data), len(piece)):
                    _send(connection, "PATCH", f"/fs/pieces?action=append&position={position}", piece)
                _send(connection, "PATCH", f"/fs/pieces?action=flush&position={len(data)}")

        def download() -> None:
            for _ in range(_UPLOADS):
                _send(connection, "GET", "/fs/blob")

        def create() -> None:
            for number in range(_SMALL_OPERATIONS):
                _send(connection, "PUT", f"/fs/small/{number}?resource=file")

        def head() -> None:
            for number in range(_SMALL_OPERATIONS):
                _send(connection, "HEAD", f"/fs/small/{number}")

        def put_small() -> None:
            for number in range(_SMALL_OPERATIONS):
                _send(connection, "PUT", f"/fs/small/{number}", b"{}", x_ms_blob_type="BlockBlob")

        def rename() -> None:
            for number in range(_SMALL_OPERATIONS):
                _send(connection, "PUT", f"/fs/renamed-{number}", x_ms_rename_source=f"/fs/small/{number}")

        def delete() -> None:
            for number in range(_SMALL_OPERATIONS):
                _send(connection, "DELETE", f"/fs/renamed-{number}")

        megabytes = _UPLOADS * _UPLOAD_BYTES / 1e6
        for job in (put_blobs, append_and_flush, append_pieces, download):
            print(f"{job.__name__.replace('_', ' '):<20} {megabytes / _timed(job):>8,.0f} MB/s")
        for job in (create, head, put_small, rename, delete):
            print(f"{job.__name__.replace('_', ' '):<20} {_SMALL_OPERATIONS / _timed(job):>8,.0f} operations/s")


def _timed(job: Callable[[], None]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started
