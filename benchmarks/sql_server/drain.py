"""The limit of every reader: the server's answer taken from the socket, packet by packet, and thrown away."""

from __future__ import annotations

import socket
import struct

from benchmarks.sql_server.tables import DATABASE, Server

_PRELOGIN, _LOGIN7, _SQL_BATCH = 18, 16, 1
_HEADER = struct.Struct(">BBHHBB")
_LAST_PACKET = 1
_RECEIVE_BYTES = 1 << 20
_PACKET_BYTES = 32_767

# PRELOGIN: version, and encryption "not supported", so that the login too comes in clear.
_PRELOGIN_BODY = (
    struct.pack(">BHH", 0, 11, 6)
    + struct.pack(">BHH", 1, 17, 1)
    + b"\xff"
    + struct.pack(">IH", 0x12000000, 0)
    + b"\x02"
)

# ALL_HEADERS: one header, the descriptor of no transaction.
_ALL_HEADERS = struct.pack("<IIHQI", 22, 18, 2, 0, 1)


def drain(server: Server, query: str) -> int:
    """Send the query and return how many bytes its answer has."""
    host, _, port = server.address.partition(",")
    with socket.create_connection((host, int(port))) as connection:
        reader = _Reader(connection)
        for kind, body in ((_PRELOGIN, _PRELOGIN_BODY), (_LOGIN7, _login(server))):
            connection.sendall(_packet(kind, body))
            reader.skip_message()
        connection.sendall(_packet(_SQL_BATCH, _ALL_HEADERS + query.encode("utf-16-le")))
        return reader.skip_message()


def _packet(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(kind, 1, len(body) + _HEADER.size, 0, 1, 0) + body


def _login(server: Server) -> bytes:
    """The least LOGIN7 that serves: no features; the password scrambled as the protocol wants it."""
    scrambled = bytes((byte << 4 & 0xF0 | byte >> 4) ^ 0xA5 for byte in server.password.encode("utf-16-le"))
    texts = dict.fromkeys((36, 40, 44, 48, 52, 56, 60, 64, 68), b"")
    texts |= {40: server.login.encode("utf-16-le"), 44: scrambled, 68: DATABASE.encode("utf-16-le")}
    fixed = bytearray(94)
    struct.pack_into("<III", fixed, 4, 0x74000004, _PACKET_BYTES, 7)
    body = b""
    for place, text in texts.items():
        struct.pack_into("<HH", fixed, place, len(fixed) + len(body), len(text) // 2)
        body += text
    struct.pack_into("<I", fixed, 0, len(fixed) + len(body))
    return bytes(fixed) + body


class _Reader:
    """Messages that are skipped: only packet headers are looked at."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._start = self._end = 0

    def skip_message(self) -> int:
        """Read to the end of a message; returns its bytes."""
        total: int = 0
        status = 0
        while not status & _LAST_PACKET:
            self._fill(_HEADER.size)
            status, length = _HEADER.unpack_from(self._buffer, self._start)[1:3]
            self._fill(length)
            self._start += length
            total += length
        return total

    def _fill(self, size: int) -> None:
        while self._end - self._start < size:
            left = self._end - self._start
            self._buffer[:left] = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, left
            received = self._connection.recv_into(self._buffer[left:])
            if not received:
                raise ConnectionError("the server closed the connection")
            self._end += received
