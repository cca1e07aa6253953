"""The tokens of a response, but for rows ([MS-TDS] 2.2.7)."""

from __future__ import annotations

import struct
from typing import Final

from devcloud.sqlserver.errors import SqlError
from devcloud.sqlserver.version import SERVER_VERSION

TDS_7_4: Final = 0x74000004
SERVER_NAME: Final = "devcloud"
COLLATION_CI_AS: Final = bytes.fromhex("0904d00034")
"""SQL_Latin1_General_CP1_CI_AS: locale 1033, ignoring case, kana and width, sort order 52."""

DONE: Final = 0xFD
DONE_PROC: Final = 0xFE
DONE_IN_PROC: Final = 0xFF

MORE: Final = 0x0001
ERROR: Final = 0x0002
IN_TRANSACTION: Final = 0x0004
COUNT: Final = 0x0010
ATTENTION: Final = 0x0020

SELECT_COMMAND: Final = 0xC1
COMMANDS: Final = {"SELECT": 0xC1, "INSERT": 0xC3, "DELETE": 0xC4, "UPDATE": 0xC5, "TRUNCATE": 0xC4}

ENV_DATABASE: Final = 1
ENV_LANGUAGE: Final = 2
ENV_PACKET_SIZE: Final = 4
ENV_COLLATION: Final = 7
ENV_BEGIN: Final = 8
ENV_COMMIT: Final = 9
ENV_ROLLBACK: Final = 10
ENV_RESET: Final = 18


def b_varchar(text: str) -> bytes:
    """Return a string with its length in characters as one byte."""
    encoded = text.encode("utf-16-le")[:510]
    return bytes([len(encoded) // 2]) + encoded


def us_varchar(text: str) -> bytes:
    """Return a string with its length in characters as two bytes."""
    encoded = text.encode("utf-16-le")[:131_070]
    return struct.pack("<H", len(encoded) // 2) + encoded


def make_done(kind: int, status: int, command: int = 0, count: int = 0) -> bytes:
    """Return DONE, DONEPROC or DONEINPROC."""
    return struct.pack("<BHHQ", kind, status, command, count)


def make_message(error: SqlError) -> bytes:
    """Return ERROR, or INFO for severities up to 10."""
    body = (
        struct.pack("<iBB", error.number, error.state, error.severity)
        + us_varchar(error.message)
        + b_varchar(SERVER_NAME)
        + b_varchar(error.procedure)
        + struct.pack("<i", error.line)
    )
    return struct.pack("<BH", 0xAA if error.severity > 10 else 0xAB, len(body)) + body


def make_environment_change(kind: int, new: str | bytes, old: str | bytes = "") -> bytes:
    """Return ENVCHANGE; bytes for collations and transaction descriptors, text for the rest."""
    body = bytes([kind])
    for value in (new, old):
        body += b_varchar(value) if isinstance(value, str) else bytes([len(value)]) + value
    return struct.pack("<BH", 0xE3, len(body)) + body


def make_reset_acknowledgement() -> bytes:
    """Return ENVCHANGE 18: the session was reset as the client asked."""
    return struct.pack("<BHBBB", 0xE3, 3, ENV_RESET, 0, 0)


def make_login_acknowledgement() -> bytes:
    """Return LOGINACK."""
    major, minor, build = SERVER_VERSION
    body = b"\x01" + struct.pack(">I", TDS_7_4) + b_varchar("Microsoft SQL Server")
    body += bytes([major, minor]) + struct.pack(">H", build)
    return struct.pack("<BH", 0xAD, len(body)) + body


def make_feature_acknowledgement(features: dict[int, bytes]) -> bytes:
    """Return FEATUREEXTACK for the features that are granted."""
    body = b"".join(struct.pack("<BI", feature, len(data)) + data for feature, data in features.items())
    return b"\xae" + body + b"\xff"


def make_return_status(status: int) -> bytes:
    """Return RETURNSTATUS."""
    return struct.pack("<Bi", 0x79, status)
