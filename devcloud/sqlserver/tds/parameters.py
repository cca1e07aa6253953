"""RPC requests: procedure, parameters, their types and values ([MS-TDS] 2.2.6.6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from devcloud.sqlserver.engine.value_binder import declared_type
from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.guids import STORAGE_FROM_WIRE, permute_bytes
from devcloud.sqlserver.tds.typeinfo import BINARIES, CHARACTERS, FIXED, LOBS, SIZED, TIMES
from devcloud.sqlserver.tsql.syntax import TypeName
from devcloud.sqlserver.types import DATE, EXACT, MAX, UNIQUEIDENTIFIER, XML, SqlType, time_width

PROCEDURES_BY_NUMBER: Final = dict(
    enumerate(
        (
            *("sp_cursor", "sp_cursoropen", "sp_cursorprepare", "sp_cursorexecute", "sp_cursorprepexec"),
            *("sp_cursorunprepare", "sp_cursorfetch", "sp_cursoroption", "sp_cursorclose", "sp_executesql"),
            *("sp_prepare", "sp_execute", "sp_prepexec", "sp_prepexecrpc", "sp_unprepare"),
        ),
        start=1,
    )
)
_BY_REFERENCE: Final = 0x01
_TICKS_PER_DAY: Final = 864_000_000_000


def _named(name: str) -> SqlType:
    return declared_type(TypeName(name))


_FIXED: Final = {token: (_named(name), token, SIZED[name][1]) for name, token in FIXED.items()}
_SIZED: Final = {sized: _named(name) for name, sized in SIZED.items()} | {(0x24, 0): UNIQUEIDENTIFIER}
_SIZED_TOKENS: Final = frozenset(token for token, _ in _SIZED)
_BY_LENGTH: Final = {token: name for name, token in (CHARACTERS | BINARIES).items()}
_LONG: Final = {token: name for name, token in LOBS.items()}
_TIMES: Final = {token: name for name, token in TIMES.items()}


@dataclass(frozen=True, slots=True)
class RpcParameter:
    """One argument of an RPC request."""

    name: str
    type: SqlType
    value: Scalar
    by_reference: bool


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """A call of a procedure, by its name or number."""

    procedure: str
    parameters: tuple[RpcParameter, ...]


class Reader:
    """Reads little-endian fields from a message. Raises SqlError 4002 past its end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count < 0 or count > self.left:
            raise make_error(4002)
        start = self.position
        self.position += count
        return self.data[start : self.position]

    def byte(self) -> int:
        """Return the next byte as a number."""
        return self.take(1)[0]

    def number(self, form: str) -> int:
        """Return the next number, its form as struct has it."""
        return int(struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0])

    def text(self, characters: int) -> str:
        """Return the next UTF-16 text."""
        return self.take(2 * characters).decode("utf-16-le", "replace")


def skip_headers(data: bytes) -> tuple[int, bytes]:
    """Return where a request's body begins after ALL_HEADERS, and the transaction descriptor in them."""
    if len(data) < 4:
        return 0, bytes(8)
    total = struct.unpack_from("<I", data)[0]
    if not 4 <= total <= len(data):
        return 0, bytes(8)
    position, descriptor = 4, bytes(8)
    while position + 6 <= total:
        length, kind = struct.unpack_from("<IH", data, position)
        if length < 6:
            break
        if kind == 2:
            descriptor = data[position + 6 : position + 14]
        position += length
    return total, descriptor


def read_rpc_requests(data: bytes) -> list[RpcRequest]:
    """Return the calls of an RPC message; clients that execute for many rows put several into one."""
    reader = Reader(data, skip_headers(data)[0])
    requests = []
    while reader.left:
        requests.append(_read_request(reader))
    return requests


def _read_request(reader: Reader) -> RpcRequest:
    length = reader.number("H")
    if length == 0xFFFF:
        number = reader.number("H")
        name = PROCEDURES_BY_NUMBER.get(number, f"procedure {number}")
    else:
        name = reader.text(length)
    reader.number("H")  # options: recompile, no metadata
    parameters = []
    while reader.left:
        if reader.data[reader.position] in (0x80, 0xFF):  # the next call of the batch
            reader.byte()
            break
        parameters.append(_read_parameter(reader))
    return RpcRequest(name, tuple(parameters))


def _read_parameter(reader: Reader) -> RpcParameter:
    name = reader.text(reader.byte())
    flags = reader.byte()
    kind, token, size = read_type_info(reader)
    return RpcParameter(name, kind, read_value(reader, kind, token, size), bool(flags & _BY_REFERENCE))


def read_type_info(reader: Reader) -> tuple[SqlType, int, int]:
    """Return a TYPE_INFO as type, token and declared size."""
    token = reader.byte()
    if token in _FIXED:
        return _FIXED[token]
    if token in _SIZED_TOKENS:
        size = reader.byte()
        return _SIZED[token, size], token, size
    if token in (0x6A, 0x6C, 0x37, 0x3F):
        size, precision, scale = reader.byte(), reader.byte(), reader.byte()
        return SqlType("decimal" if token in (0x6A, 0x37) else "numeric", precision=precision, scale=scale), token, size
    if token == 0x28:
        return DATE, token, 3
    if token in _TIMES:
        return SqlType(_TIMES[token], scale=reader.byte()), token, 0
    if token in _BY_LENGTH:
        return _read_length_type(reader, token)
    if token in _LONG:
        size = reader.number("I")
        if token != 0x22:
            reader.take(5)
        return SqlType(_LONG[token], length=MAX), token, size
    if token == 0xF1:
        if reader.byte():
            reader.text(reader.byte())
            reader.text(reader.byte())
            reader.text(reader.number("H"))
        return XML, token, 0xFFFF
    if token == 0x62:
        return SqlType("sql_variant"), token, reader.number("I")
    if token == 0x1F:
        return SqlType("null"), token, 0
    raise make_error(40510, f"parameter of type 0x{token:02X}")


def _read_length_type(reader: Reader, token: int) -> tuple[SqlType, int, int]:
    size = reader.number("H")
    name = _BY_LENGTH[token]
    if token not in (0xA5, 0xAD):
        reader.take(5)
    if size == 0xFFFF:
        return SqlType(name, length=MAX), token, size
    return SqlType(name, length=max(1, size // (2 if name.startswith("n") else 1))), token, size


def read_value(reader: Reader, kind: SqlType, token: int, size: int) -> Scalar:
    """Return the value that follows a TYPE_INFO, in the form of its storage."""
    if token in _FIXED:
        return _decode(kind, reader.take(size))
    if token in _BY_LENGTH:
        if size == 0xFFFF:
            return _decode(kind, read_chunks(reader))
        length = reader.number("H")
        return None if length == 0xFFFF else _decode(kind, reader.take(length))
    if token == 0xF1:
        return _decode(kind, read_chunks(reader))
    if token in _LONG:
        length = reader.number("i")
        return None if length < 0 else _decode(kind, reader.take(length))
    if token == 0x62:
        return _read_variant(reader)
    if token == 0x1F:
        return None
    length = reader.byte()
    return None if length == 0 else _decode(kind, reader.take(length))


def read_chunks(reader: Reader) -> bytes | None:
    """Return a value sent in chunks (PLP), None for NULL."""
    if reader.number("Q") == 0xFFFFFFFFFFFFFFFF:
        return None
    chunks = []
    while length := reader.number("I"):
        chunks.append(reader.take(length))
    return b"".join(chunks)


def _read_variant(reader: Reader) -> Scalar:
    length = reader.number("I")
    if length == 0:
        return None
    raise make_error(40510, "sql_variant parameter")


def _decode(kind: SqlType, data: bytes | None) -> Scalar:
    if data is None:
        return None
    match kind.name:
        case "bit":
            return int(data[0] != 0)
        case "tinyint":
            return data[0]
        case "smallint" | "int" | "bigint":
            return int.from_bytes(data, "little", signed=True)
        case "real":
            return float(struct.unpack("<f", data)[0])
        case "float":
            return float(struct.unpack("<d", data)[0])
        case "money":
            high, low = struct.unpack("<iI", data)
            return Decimal((high << 32) + low).scaleb(-4)
        case "smallmoney":
            return Decimal(struct.unpack("<i", data)[0]).scaleb(-4)
        case "decimal" | "numeric":
            magnitude = int.from_bytes(data[1:], "little")
            return Decimal(magnitude if data[0] else -magnitude).scaleb(-kind.scale, EXACT)
        case "uniqueidentifier":
            return permute_bytes(data, STORAGE_FROM_WIRE)
        case "xml":
            return data.decode("utf-16-le", "replace").removeprefix("\ufeff")
        case "nchar" | "nvarchar" | "ntext":
            return data.decode("utf-16-le", "replace")
        case "char" | "varchar" | "text":
            return data.decode(kind.codec, "replace")
        case "date" | "time" | "datetime" | "smalldatetime" | "datetime2" | "datetimeoffset":
            return _decode_moment(kind, data)
        case _:
            return data


def _decode_moment(kind: SqlType, data: bytes) -> Scalar:
    if kind.name == "date":
        return int.from_bytes(data, "little")
    if kind.name == "datetime":
        days, ticks = struct.unpack("<iI", data)
        return int(days * 25_920_000 + ticks)
    if kind.name == "smalldatetime":
        days, minutes = struct.unpack("<HH", data)
        return int(days * 1440 + minutes)
    width = time_width(kind.scale)
    of_day = int.from_bytes(data[:width], "little") * kind.tick
    if kind.name == "time":
        return of_day
    ticks = int.from_bytes(data[width : width + 3], "little") * _TICKS_PER_DAY + of_day
    if kind.name == "datetime2":
        return ticks
    return ticks, int.from_bytes(data[width + 3 :], "little", signed=True)
