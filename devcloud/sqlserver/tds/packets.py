"""Packets: messages in and out of a socket ([MS-TDS] 2.2.3)."""

from __future__ import annotations

import contextlib
import socket
import struct
from enum import IntEnum
from typing import Final, Protocol

import numpy as np

from devcloud.sqlserver.errors import ConnectionLostError

HEADER_BYTES: Final = 8
DEFAULT_PACKET_BYTES: Final = 4096
LARGEST_PACKET_BYTES: Final = 32_767
PREFERRED_PACKET_BYTES: Final = 16_000
"""The server's size for a client that leaves the packet size open; TLS allows 16,383."""

END_OF_MESSAGE: Final = 0x01
RESET_CONNECTION: Final = 0x08
RESET_CONNECTION_KEEP_TRANSACTION: Final = 0x10


class PacketType(IntEnum):
    """Types of messages."""

    SQL_BATCH = 1
    RPC = 3
    TABULAR_RESULT = 4
    ATTENTION = 6
    BULK_LOAD = 7
    TRANSACTION_MANAGER = 14
    LOGIN7 = 16
    PRELOGIN = 18


class Stream(Protocol):
    """A connected socket, or TLS over one."""

    def recv_into(self, buffer: memoryview) -> int:
        """Receive at most as many bytes as the buffer holds; 0 at the end."""

    def sendall(self, data: bytes | memoryview) -> None:
        """Send everything."""


class SocketStream:
    """A plain socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def recv_into(self, buffer: memoryview) -> int:
        """Receive at most as many bytes as the buffer holds; 0 at the end."""
        return self._socket.recv_into(buffer)

    def sendall(self, data: bytes | memoryview) -> None:
        """Send everything."""
        self._socket.sendall(data)


def read_exactly(stream: Stream, count: int) -> bytearray:
    """Return that many bytes. Raises ConnectionLostError if the stream ends before."""
    data = bytearray(count)
    view, position = memoryview(data), 0
    while position < count:
        try:
            received = stream.recv_into(view[position:])
        except OSError as error:
            raise ConnectionLostError(str(error)) from None
        if received == 0:
            raise ConnectionLostError("the client closed the connection")
        position += received
    return data


def read_message(stream: Stream) -> tuple[PacketType, int, bytes]:
    """Return the next message: its type, the status of its first packet, its body."""
    parts: list[bytes] = []
    first_status: int | None = None
    while True:
        header = read_exactly(stream, HEADER_BYTES)
        kind, status, length = struct.unpack(">BBH", header[:4])
        if length < HEADER_BYTES:
            raise ConnectionLostError(f"a packet of {length} bytes")
        first_status = status if first_status is None else first_status
        parts.append(bytes(read_exactly(stream, length - HEADER_BYTES)))
        if status & END_OF_MESSAGE:
            try:
                return PacketType(kind), first_status, b"".join(parts)
            except ValueError:
                raise ConnectionLostError(f"packet type {kind}") from None


class MessageWriter:
    """Writes one response as packets, full ones as they fill up, the last with ``finish``."""

    def __init__(
        self, stream: Stream, packet_bytes: int = DEFAULT_PACKET_BYTES, kind: PacketType = PacketType.TABULAR_RESULT
    ) -> None:
        self._stream = stream
        self._room = packet_bytes - HEADER_BYTES
        self._kind = kind
        self._buffer = bytearray()
        self._packet_id = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append to the message; whole packets go out at once. Blocks while the client does not read."""
        if len(data) > self._room and not self._buffer:
            self._write_large(data)
            return
        self._buffer += data
        if len(self._buffer) > self._room:
            pending, self._buffer = self._buffer, bytearray()
            self._write_large(pending)

    def _write_large(self, data: bytes | bytearray | memoryview) -> None:
        """Send all full packets of ``data``, their headers laid in by numpy, and keep the rest."""
        room = self._room
        count = (len(data) - 1) // room  # at least one byte stays for the last packet
        whole = count * room
        packets = np.empty((count, room + HEADER_BYTES), np.uint8)
        packets[:, HEADER_BYTES:] = np.frombuffer(data, np.uint8, whole).reshape(count, room)
        packets[:, :HEADER_BYTES] = np.frombuffer(
            struct.pack(">BBHHBB", self._kind, 0, room + HEADER_BYTES, 0, 0, 0), np.uint8
        )
        packets[:, 6] = (self._packet_id + 1 + np.arange(count)) & 0xFF
        self._packet_id += count
        self._buffer = bytearray(memoryview(data)[whole:])
        self._send(memoryview(packets).cast("B"))

    def flush(self) -> None:
        """Send what is there as a packet that is not the last, so that a slow response reaches the client."""
        if self._buffer:
            self._send(self._packet(0))

    def finish(self) -> None:
        """Send the last packet."""
        self._send(self._packet(END_OF_MESSAGE))

    def _packet(self, status: int) -> bytes:
        self._packet_id += 1
        header = struct.pack(
            ">BBHHBB", self._kind, status, len(self._buffer) + HEADER_BYTES, 0, self._packet_id & 0xFF, 0
        )
        packet = header + bytes(self._buffer)
        self._buffer.clear()
        return packet

    def _send(self, data: bytes | memoryview) -> None:
        try:
            self._stream.sendall(data)
        except OSError as error:
            raise ConnectionLostError(str(error)) from None


def reset(connection: socket.socket) -> None:
    """Cut a connection as a failing network does: with a reset, unsent data lost."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
