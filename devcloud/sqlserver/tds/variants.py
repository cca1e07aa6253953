"""Values of sql_variant on the wire ([MS-TDS] 2.2.5.5.4)."""

from __future__ import annotations

import struct
from decimal import Decimal

from devcloud.sqlserver.engine.moments import TICKS_PER_DAY, parse_as
from devcloud.sqlserver.guids import STORAGE_FROM_TEXT, WIRE_FROM_STORAGE, permute_bytes
from devcloud.sqlserver.tds.typeinfo import FIXED, make_collation
from devcloud.sqlserver.types import EXACT, SqlType, decimal_width, make_type, time_width


def parse_declaration(text: str) -> SqlType:
    """Return the type of a declaration that SqlType wrote, such as ``decimal(9,2)``."""
    name, _, rest = text.removesuffix(")").partition("(")
    arguments = tuple(-1 if part == "max" else int(part) for part in rest.split(",")) if rest else ()
    kind = make_type(name, arguments)
    if kind is None:
        raise ValueError(f"{text!r} is not a type")
    return kind


def encode_variant(declaration: str, body: str) -> bytes:
    """Return base type, properties and value."""
    kind = parse_declaration(declaration)
    token, properties, value = _encode(kind, body)
    return bytes([token, len(properties)]) + properties + value


def _encode(kind: SqlType, body: str) -> tuple[int, bytes, bytes]:
    match kind.name:
        case "bit" | "tinyint":
            return FIXED[kind.name], b"", struct.pack("<B", int(body))
        case "smallint" | "int" | "bigint":
            form = {"smallint": "<h", "int": "<i", "bigint": "<q"}[kind.name]
            return FIXED[kind.name], b"", struct.pack(form, int(body))
        case "real" | "float":
            return FIXED[kind.name], b"", struct.pack("<f" if kind.name == "real" else "<d", float(body))
        case "money" | "smallmoney":
            units = int(Decimal(body) * 10_000)
            if kind.name == "smallmoney":
                return FIXED[kind.name], b"", struct.pack("<i", units)
            return FIXED[kind.name], b"", struct.pack("<iI", units >> 32, units & 0xFFFFFFFF)
        case "decimal" | "numeric":
            units = int(Decimal(body).scaleb(kind.scale, EXACT))
            magnitude = abs(units).to_bytes(decimal_width(kind.precision) - 1, "little")
            token = 0x6A if kind.name == "decimal" else 0x6C
            return token, bytes([kind.precision, kind.scale]), bytes([units >= 0]) + magnitude
        case "char" | "varchar":
            return (
                0xA7 if kind.name == "varchar" else 0xAF,
                make_collation(kind) + struct.pack("<H", kind.length),
                body.encode(kind.codec, "replace"),
            )
        case "nchar" | "nvarchar":
            return (
                0xE7 if kind.name == "nvarchar" else 0xEF,
                make_collation(kind) + struct.pack("<H", kind.length * 2),
                body.encode("utf-16-le"),
            )
        case "binary" | "varbinary":
            return 0xA5 if kind.name == "varbinary" else 0xAD, struct.pack("<H", kind.length), bytes.fromhex(body)
        case "uniqueidentifier":
            storage = permute_bytes(bytes.fromhex(body.replace("-", "")), STORAGE_FROM_TEXT)
            return 0x24, b"", permute_bytes(storage, WIRE_FROM_STORAGE)
        case _:
            return _encode_moment(kind, body)


def _encode_moment(kind: SqlType, body: str) -> tuple[int, bytes, bytes]:
    parsed = parse_as(body, kind)
    ticks, offset = parsed if isinstance(parsed, tuple) else (parsed, 0)
    match kind.name:
        case "date":
            return 0x28, b"", ticks.to_bytes(3, "little")
        case "datetime":
            return FIXED["datetime"], b"", struct.pack("<iI", *divmod(ticks, 25_920_000))
        case "smalldatetime":
            return FIXED["smalldatetime"], b"", struct.pack("<HH", *divmod(ticks, 1440))
    days, of_day = divmod(ticks, TICKS_PER_DAY)
    clock = (of_day // kind.tick).to_bytes(time_width(kind.scale), "little")
    scale = bytes([kind.scale])
    if kind.name == "time":
        return 0x29, scale, clock
    moment = clock + days.to_bytes(3, "little")
    if kind.name == "datetime2":
        return 0x2A, scale, moment
    return 0x2B, scale, moment + struct.pack("<h", offset)
