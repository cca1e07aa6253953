"""TYPE_INFO, COLMETADATA and single values ([MS-TDS] 2.2.5.4, 2.2.7.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from devcloud.sqlserver.tds.tokens import COLLATION_CI_AS, b_varchar, us_varchar
from devcloud.sqlserver.types import DEFAULT_COLLATION, MAX, SqlType, decimal_width

FIXED: Final = {
    "tinyint": 0x30,
    "bit": 0x32,
    "smallint": 0x34,
    "int": 0x38,
    "smalldatetime": 0x3A,
    "real": 0x3B,
    "money": 0x3C,
    "datetime": 0x3D,
    "float": 0x3E,
    "smallmoney": 0x7A,
    "bigint": 0x7F,
}
"""Types without a length, for columns that are never NULL."""

SIZED: Final = {
    "tinyint": (0x26, 1),
    "smallint": (0x26, 2),
    "int": (0x26, 4),
    "bigint": (0x26, 8),
    "bit": (0x68, 1),
    "real": (0x6D, 4),
    "float": (0x6D, 8),
    "smallmoney": (0x6E, 4),
    "money": (0x6E, 8),
    "smalldatetime": (0x6F, 4),
    "datetime": (0x6F, 8),
    "uniqueidentifier": (0x24, 16),
}
"""Token and bytes of types whose values carry their length in one byte, 0 for NULL."""

CHARACTERS: Final = {"varchar": 0xA7, "char": 0xAF, "nvarchar": 0xE7, "nchar": 0xEF}
BINARIES: Final = {"varbinary": 0xA5, "binary": 0xAD}
TIMES: Final = {"time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B}
LOBS: Final = {"text": 0x23, "ntext": 0x63, "image": 0x22}
_ROWVERSION_USER_TYPE: Final = 0x50

# Bits of a collation ([MS-TDS] 2.2.5.1.2); the locale takes the lowest twenty.
_IGNORE_CASE: Final = 1 << 20
_IGNORE_WIDTH: Final = 1 << 22
_IGNORE_KANA: Final = 1 << 23
_BINARY2: Final = 1 << 25
_UTF8: Final = 1 << 26
_VERSION_100: Final = 2 << 28


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result as described to the client."""

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    computed: bool = False
    table: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether values are sent without a length, because none can be NULL."""
        return not self.nullable and self.type.name in FIXED


def make_collation(kind: SqlType) -> bytes:
    """Return the five bytes of a character type's collation."""
    if kind.collation == DEFAULT_COLLATION:
        return COLLATION_CI_AS
    name = kind.collation.lower()
    flags = kind.locale
    if "_bin" in name:
        flags |= _BINARY2
    else:
        flags |= _IGNORE_KANA | _IGNORE_WIDTH | (_IGNORE_CASE if kind.is_folded else 0)
    flags |= (_UTF8 if kind.codec == "utf-8" else 0) | (_VERSION_100 if "_100_" in name else 0)
    return struct.pack("<IB", flags, 0)


def make_type_info(kind: SqlType, fixed: bool = False) -> bytes:
    """Return TYPE_INFO; ``fixed`` for a column that is never NULL."""
    name = kind.name
    if fixed and name in FIXED:
        return bytes([FIXED[name]])
    if name in SIZED:
        return bytes(SIZED[name])
    match name:
        case "decimal" | "numeric":
            token = 0x6A if name == "decimal" else 0x6C
            return bytes([token, decimal_width(kind.precision), kind.precision, kind.scale])
        case "date":
            return b"\x28"
        case "time" | "datetime2" | "datetimeoffset":
            return bytes([TIMES[name], kind.scale])
        case "char" | "varchar" | "nchar" | "nvarchar":
            length = 0xFFFF if kind.length == MAX else kind.length * (2 if kind.is_wide else 1)
            return struct.pack("<BH", CHARACTERS[name], max(length, 1)) + make_collation(kind)
        case "binary" | "varbinary":
            return struct.pack("<BH", BINARIES[name], 0xFFFF if kind.length == MAX else max(kind.length, 1))
        case "timestamp":
            return struct.pack("<BH", 0xAD, 8)
        case "text" | "ntext":
            return struct.pack("<BI", LOBS[name], 0x7FFFFFFF if name == "text" else 0x7FFFFFFE) + make_collation(kind)
        case "image":
            return struct.pack("<BI", LOBS[name], 0x7FFFFFFF)
        case "xml":
            return b"\xf1\x00"
        case "sql_variant":
            return struct.pack("<BI", 0x62, 8009)
        case _:
            return bytes(SIZED["int"])


def make_column_metadata(columns: Sequence[ResultColumn]) -> bytes:
    """Return COLMETADATA."""
    parts = [struct.pack("<BH", 0x81, len(columns))]
    for column in columns:
        # Bits: nullable, case-sensitive, updateability unknown (0x08), identity, computed.
        flags = column.nullable * 0x01 | 0x08 | column.identity * 0x10 | column.computed * 0x20
        if column.type.is_text and not column.type.is_folded:
            flags |= 0x02
        user_type = _ROWVERSION_USER_TYPE if column.type.name == "timestamp" else 0
        parts.append(struct.pack("<IH", user_type, flags) + make_type_info(column.type, column.is_fixed))
        if column.type.name in LOBS:
            parts.append(b"\x01" + us_varchar(column.table))
        parts.append(b_varchar(column.name))
    return b"".join(parts)


def make_integer_return_value(name: str, value: int | None, ordinal: int = 0) -> bytes:
    """Return RETURNVALUE for an int output parameter."""
    data = b"\x00" if value is None else struct.pack("<Bi", 4, value)
    return struct.pack("<BH", 0xAC, ordinal) + b_varchar(name) + struct.pack("<BIH", 1, 0, 0) + bytes((0x26, 4)) + data
