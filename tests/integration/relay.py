"""A relay between a driver and the SQL Server emulator that spoils what the server says."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

HEADER = 8

# What becomes of the server's packet of a number, and whether anything is sent after it.
type Spoil = Callable[[int, bytes], tuple[bytes, bool]]


class Relay:
    """Passes packets on; a context manager. ``packets`` counts those of the server, over all connections."""

    def __init__(self, address: str, spoil: Spoil) -> None:
        self._server = address.partition(",")[0], int(address.partition(",")[2])
        self._spoil = spoil
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.packets = 0
        self.address = f"127.0.0.1,{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        _end(self._listener, *self._sockets)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for work, source, sink in ((self._up, client, server), (self._down, server, client)):
                    threading.Thread(target=work, args=(source, sink), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
        _end(client, server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        goes_on = True
        with suppress(OSError, struct.error):
            while True:
                header = server.recv(HEADER, socket.MSG_WAITALL)
                packet = header + server.recv(struct.unpack(">H", header[2:4])[0] - HEADER, socket.MSG_WAITALL)
                with self._lock:
                    number, self.packets = self.packets, self.packets + 1
                if goes_on:
                    sent, goes_on = self._spoil(number, packet)
                    client.sendall(sent)
        _end(server, client)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
