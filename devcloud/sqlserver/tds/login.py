"""PRELOGIN and LOGIN7 ([MS-TDS] 2.2.6.4, 2.2.6.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from devcloud.sqlserver.errors import ConnectionLostError
from devcloud.sqlserver.version import SERVER_VERSION

UTF8_SUPPORT: Final = 0x0A


class Encryption(IntEnum):
    """Values of PRELOGIN's ENCRYPTION option."""

    OFF = 0
    ON = 1
    NOT_SUPPORTED = 2
    REQUIRED = 3


def read_prelogin(data: bytes) -> Encryption:
    """Return what the client asks for. Raises ConnectionLostError for what is not a PRELOGIN."""
    position = 0
    while position + 5 <= len(data) and data[position] != 0xFF:
        option, offset, length = struct.unpack_from(">BHH", data, position)
        if option == 1 and length and offset < len(data):
            try:
                return Encryption(data[offset])
            except ValueError:
                raise ConnectionLostError(f"encryption option {data[offset]}") from None
        position += 5
    return Encryption.NOT_SUPPORTED


def make_prelogin(encryption: Encryption) -> bytes:
    """Return the server's PRELOGIN response: version, encryption, no instance check, no MARS."""
    major, minor, build = SERVER_VERSION
    options = [
        (0, bytes([major, minor]) + struct.pack(">HH", build, 0)),
        (1, bytes([encryption])),
        (2, b"\x00"),
        (3, b""),
        (4, b"\x00"),
    ]
    offset = 5 * len(options) + 1
    table, values = b"", b""
    for option, value in options:
        table += struct.pack(">BHH", option, offset + len(values), len(value))
        values += value
    return table + b"\xff" + values


@dataclass(frozen=True, slots=True)
class Login:
    """What a client says of itself in LOGIN7; the password is not shown by repr."""

    packet_bytes: int
    host: str
    user: str
    password: str = field(repr=False)
    application: str
    database: str
    features: frozenset[int]


def read_login(data: bytes) -> Login:
    """Return a LOGIN7 message. Raises ConnectionLostError where it is cut short."""
    if len(data) < 94:
        raise ConnectionLostError("LOGIN7 is too short")

    def text(place: int) -> str:
        offset, length = struct.unpack_from("<HH", data, place)
        return data[offset : offset + 2 * length].decode("utf-16-le", "replace")

    offset, length = struct.unpack_from("<HH", data, 44)
    scrambled = data[offset : offset + 2 * length]
    # Each byte of the password is XORed with 0xA5 after its halves were swapped.
    plain = bytes((byte ^ 0xA5) >> 4 | ((byte ^ 0xA5) << 4 & 0xF0) for byte in scrambled)
    return Login(
        struct.unpack_from("<I", data, 8)[0],
        text(36),
        text(40),
        plain.decode("utf-16-le", "replace"),
        text(48),
        text(68),
        _read_features(data),
    )


def _read_features(data: bytes) -> frozenset[int]:
    """Return the feature extensions that the client names."""
    if not data[27] & 0x10:  # OptionFlags3: extension
        return frozenset()
    pointer = struct.unpack_from("<H", data, 56)[0]
    if pointer + 4 > len(data):
        return frozenset()
    position = struct.unpack_from("<I", data, pointer)[0]
    features = set()
    while position + 5 <= len(data) and data[position] != 0xFF:
        feature, length = struct.unpack_from("<BI", data, position)
        features.add(feature)
        position += 5 + length
    return frozenset(features)
