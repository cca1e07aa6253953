"""The server's own ceiling: rows per second that it serves to readers who do less and less with them."""

from __future__ import annotations

import socket
import struct
import time
from typing import Final

import mssql_python

from devcloud.sqlserver.child import run_in_child
from devcloud.sqlserver.server import DEFAULT_LOGINS
from devcloud.sqlserver.tds.packets import PacketType

_DATABASE: Final = "ceiling"
_RECEIVE_BYTES: Final = 1 << 20

_COLUMNS: Final = (
    "l_orderkey bigint NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL, "
    "l_quantity decimal(15, 2) NOT NULL, l_extendedprice decimal(15, 2) NOT NULL, l_discount decimal(15, 2) NOT NULL, "
    "l_tax decimal(15, 2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, "
    "l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, "
    "l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL, "
    "l_note nvarchar(40) NULL, modified_at datetime2(7) NOT NULL"
)
"""TPC-H's lineitem with a national text and a time of change: 18 columns."""

_ROWS: Final = """
INSERT INTO dbo.lineitem SELECT value / 4, value % 200000, value % 10000, value % 7, value % 50, value % 90000 + 0.99,
    (value % 11) / 100.0, (value % 9) / 100.0, CHAR(65 + value % 3), 'O',
    DATEADD(day, value % 2500, CAST('1992-01-02' AS date)),
    DATEADD(day, value % 2500 + 30, CAST('1992-01-02' AS date)),
    DATEADD(day, value % 2500 + 45, CAST('1992-01-02' AS date)),
    'DELIVER IN PERSON', 'TRUCK', CONCAT('carefully final deposits ', value % 99991),
    CASE WHEN value % 10 = 0 THEN NULL ELSE CONCAT(N'note of line ', value % 1013) END,
    DATEADD(second, value, CAST('2024-01-01' AS datetime2(7))) FROM GENERATE_SERIES(1, {rows})"""


def measure(rows: int = 2_000_000) -> dict[str, tuple[int, float]]:
    """Return rows per second and megabytes per second by reader. The server runs in a process of its own."""
    with run_in_child(databases=(_DATABASE,)) as address:
        login, password = next(iter(DEFAULT_LOGINS.items()))
        connection = mssql_python.connect(
            f"Server={address};Database={_DATABASE};UID={login};PWD={password};Encrypt=no;TrustServerCertificate=yes",
            autocommit=True,
        )
        try:
            cursor = connection.cursor()
            cursor.execute(f"CREATE TABLE dbo.lineitem ({_COLUMNS})")
            cursor.execute(_ROWS.format(rows=rows))
            started = time.perf_counter()
            received = _drain(int(address.split(",")[1]), login, password)
            drained = time.perf_counter() - started
            started = time.perf_counter()
            cursor.execute("SELECT * FROM dbo.lineitem")
            reader = cursor.arrow_reader(batch_size=50_000)
            count = sum(batch.num_rows for batch in reader)
            read = time.perf_counter() - started
        finally:
            connection.close()
    if count != rows:
        raise RuntimeError(f"mssql-python read {count} rows of {rows}")
    return {
        "a reader that throws the bytes away": (int(rows / drained), received / drained / 1e6),
        "mssql-python's arrow_reader": (int(rows / read), received / read / 1e6),
    }


def _packet(kind: PacketType, body: bytes) -> bytes:
    return struct.pack(">BBHHBB", kind, 1, len(body) + 8, 0, 1, 0) + body


def _drain(port: int, login: str, password: str) -> int:
    """Log in by hand, ask for all rows, count the bytes of the response."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_packet(PacketType.LOGIN7, _login(login, password)))
        _receive_message(connection)
        headers = struct.pack("<IIHQI", 22, 18, 2, 0, 1)
        batch = headers + "SELECT * FROM dbo.lineitem".encode("utf-16-le")
        connection.sendall(_packet(PacketType.SQL_BATCH, batch))
        return _receive_message(connection)


def _login(login: str, password: str) -> bytes:
    """Return the least LOGIN7 that serves: packets of 32 KB, no features."""
    scrambled = bytes((byte << 4 & 0xF0 | byte >> 4) ^ 0xA5 for byte in password.encode("utf-16-le"))
    texts = {36: b"", 40: login.encode("utf-16-le"), 44: scrambled, 48: b"", 52: b"", 60: b"", 64: b"", 68: b""}
    texts[68] = _DATABASE.encode("utf-16-le")
    fixed = bytearray(94)
    struct.pack_into("<III", fixed, 4, 0x74000004, 32_767, 7)
    body = b""
    for place, text in texts.items():
        struct.pack_into("<HH", fixed, place, 94 + len(body), len(text) // 2)
        body += text
    struct.pack_into("<I", fixed, 0, 94 + len(body))
    return bytes(fixed) + body


def _receive_message(connection: socket.socket) -> int:
    """Read one message packet by packet and throw it away; returns its bytes."""
    buffer = memoryview(bytearray(_RECEIVE_BYTES))
    total, filled, position = 0, 0, 0
    while True:
        while filled - position < 8:
            position, filled = _refill(connection, buffer, position, filled)
        length = int(struct.unpack_from(">H", buffer, position + 2)[0])
        last = buffer[position + 1] & 1
        while filled - position < length:
            position, filled = _refill(connection, buffer, position, filled)
        position += length
        total += length
        if last:
            return total


def _refill(connection: socket.socket, buffer: memoryview, position: int, filled: int) -> tuple[int, int]:
    left = filled - position
    if left:
        buffer[:left] = bytes(buffer[position:filled])
    received = connection.recv_into(buffer[left:])
    if received == 0:
        raise ConnectionError("the server closed the connection")
    return 0, left + received
