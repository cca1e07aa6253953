"""SQL Server's types: what each becomes in Arrow, how it is selected so that nothing is lost on the way, and what a
destination cannot hold of it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from hygge_engine.errors import CursorUnusable, UnsupportedType
from hygge_engine.homes.base import Folding
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.watermark import CursorType

TIMESTAMP = pa.timestamp("us", tz="UTC")

# Digits of a second that survive in a microsecond timestamp; datetime2, datetimeoffset and time know seven.
MICROSECOND_SCALE = 6

# Length of max types in sys.columns.
MAX_LENGTH = -1

_PLAIN: dict[str, pa.DataType] = {
    "bit": pa.bool_(),
    "tinyint": pa.int16(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "money": pa.decimal128(19, 4),
    "smallmoney": pa.decimal128(10, 4),
    "real": pa.float32(),
    "float": pa.float64(),
    "date": pa.date32(),
    "datetime": TIMESTAMP,
    "smalldatetime": TIMESTAMP,
    "datetime2": TIMESTAMP,
    "datetimeoffset": TIMESTAMP,
    "time": pa.string(),
    "uniqueidentifier": pa.string(),
    "sql_variant": pa.string(),
    "hierarchyid": pa.string(),
    "geometry": pa.binary(),
    "geography": pa.binary(),
}
_TEXT = frozenset({"char", "varchar", "nchar", "nvarchar", "text", "ntext", "xml", "json", "vector"})
_CHARACTERS = frozenset({"char", "varchar", "nchar", "nvarchar"})
# Collations to which i and I are two letters.
_TURKIC = ("turkish_", "azeri_", "sql_turkish_", "sql_cp1254_")
_BINARY = frozenset({"binary", "varbinary", "image", "rowversion"})
_DECIMAL = frozenset({"decimal", "numeric"})

# Types whose values have no length that the catalogue bounds.
_UNBOUNDED = frozenset({"text", "ntext", "image", "xml", "json", "vector", "geometry", "geography", "sql_variant"})

# Types that a unique index can order, and whose values travel to the server and back without a change.
_ORDERED = frozenset(
    {"bit", "tinyint", "smallint", "int", "bigint", "decimal", "numeric", "money", "smallmoney", "real", "float"}
    | {"date", "datetime", "smalldatetime", "datetime2", "datetimeoffset", "time"}
    | {"char", "varchar", "nchar", "nvarchar", "binary", "varbinary", "rowversion", "uniqueidentifier"}
)

# sys.types calls rowversion by its old name, which ISO SQL uses for something else.
_SYNONYMS = {"timestamp": "rowversion", "sysname": "nvarchar"}


@dataclass(frozen=True)
class SourceColumn:
    """A column as the catalogue has it. ``max_length`` counts bytes, -1 for (max); ``collation`` is empty where the
    column has none, or where it is unknown. ``as_text``: a timestamp that lands as text, with all its digits.
    ``masked``: this login gets masks in place of its values; ``encrypted``: the server itself cannot read them."""

    name: str
    type_name: str
    max_length: int = 0
    precision: int = 0
    scale: int = 0
    nullable: bool = True
    collation: str = ""
    as_text: bool = False
    masked: bool = False
    encrypted: bool = False

    @property
    def base_type(self) -> str:
        """The type's name in this module: lower case, synonyms resolved."""
        name = self.type_name.lower()
        return _SYNONYMS.get(name, name)

    @property
    def declaration(self) -> str:
        """The type as T-SQL declares it, for CAST and for the manifest."""
        name = self.base_type
        if name in _DECIMAL:
            return f"{name}({self.precision},{self.scale})"
        if name in ("datetime2", "datetimeoffset", "time"):
            return f"{name}({self.scale})"
        if name in ("char", "varchar", "binary", "varbinary"):
            return f"{name}({'max' if self.max_length == MAX_LENGTH else self.max_length})"
        if name in ("nchar", "nvarchar"):
            return f"{name}({'max' if self.max_length == MAX_LENGTH else self.max_length // 2})"
        return name

    @property
    def is_unbounded(self) -> bool:
        """Whether one value can be larger than any buffer."""
        return self.base_type in _UNBOUNDED or (
            self.max_length == MAX_LENGTH and (self.base_type in _TEXT or self.base_type in _BINARY)
        )

    @property
    def is_orderable(self) -> bool:
        """Whether the server can be asked for the rows after a value of this column."""
        return self.base_type in _ORDERED and not self.is_unbounded

    @property
    def has_tenths_of_microseconds(self) -> bool:
        """Whether the column holds a seventh digit of the second, which a timestamp in Arrow does not."""
        return self.base_type in ("datetime2", "datetimeoffset") and self.scale > MICROSECOND_SCALE

    @property
    def folding(self) -> Folding:
        """Which of its texts the server treats as equal, as far as the name of its collation says."""
        if self.base_type not in _CHARACTERS or not self.collation:
            return ""
        name = self.collation.lower()
        if "_ci" not in name:
            return "blanks"
        return "turkic" if name.startswith(_TURKIC) else "case"

    @property
    def order(self) -> str:
        """By what the server orders the column's texts: the collation, by rules of its own for texts in Unicode. Empty
        for what is no text, and where it is unknown."""
        if self.base_type not in _CHARACTERS or not self.collation:
            return ""
        return f"{'Unicode ' if self.base_type.startswith('n') else ''}{self.collation}"

    @property
    def fetch_bytes(self) -> int:
        """Upper bound of what one value takes in the driver's buffers, which hold text as UTF-16; 0 if unbounded."""
        if self.is_unbounded:
            return 0
        if self.as_text:
            return 2 * _TEXT_FORM_CHARACTERS
        if self.base_type in ("char", "varchar"):
            return 2 * self.max_length
        if self.base_type in ("hierarchyid", "time", "uniqueidentifier"):
            return 2 * _TEXT_FORM_CHARACTERS
        return max(self.max_length, _FIXED_BYTES)


# No fixed-length type is wider in a driver's buffer than a decimal, an offset timestamp or a number with its length.
_FIXED_BYTES = 32
# Enough for a time, a GUID, and the path of all but absurdly deep hierarchies.
_TEXT_FORM_CHARACTERS = 40


def arrow_type(column: SourceColumn) -> pa.DataType:
    """What a column becomes. Raises UnsupportedType."""
    if column.encrypted:
        raise UnsupportedType(
            f"Column {column.name!r} is kept by Always Encrypted, whose keys only its own applications have.",
            hint="Leave it out: name the other columns in a query: home, with its key in key.",
        )
    name = column.base_type
    if column.as_text:
        return pa.string()
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _DECIMAL:
        return pa.decimal128(column.precision, column.scale)
    if name in _TEXT:
        return pa.string()
    if name in _BINARY:
        return pa.binary()
    raise UnsupportedType(
        f"Column {column.name!r} has the type {column.type_name!r}, which the destination cannot hold.",
        hint="Leave it out with a query: home, or convert it there.",
    )


def loss(column: SourceColumn, *, keeps_offset: bool = False) -> str:
    """What of a column's values does not survive, as a phrase for the schema manifest; empty where all does."""
    lost: list[str] = []
    if column.masked:
        lost.append("this login lacks UNMASK, so that masks land in place of the values")
    if column.has_tenths_of_microseconds and not column.as_text:
        lost.append("digits below a microsecond are cut")
    match column.base_type:
        case "datetimeoffset" if not keeps_offset:
            lost.append("the offset is not kept, the instant is")
        case "sql_variant":
            lost.append("the text that SQL Server casts each value to; its own type is not kept")
        case "geometry" | "geography":
            lost.append("SRID, Z and M are not kept")
    return "; ".join(lost)


def keeps_apart(column: SourceColumn) -> bool:
    """Whether values that the server distinguishes still differ in the destination. Of a datetimeoffset it compares the
    instant, and that is kept."""
    if column.masked or column.base_type in ("sql_variant", "geometry", "geography"):
        return False
    return column.as_text or not column.has_tenths_of_microseconds


def exact_text(expression: str) -> str:
    """A timestamp or time with all its digits: style 126 is ISO 8601 whatever the session's language."""
    return f"CONVERT(nvarchar(40), {expression}, 126)"


def select_expression(column: SourceColumn, ticks_as_text: bool = False) -> str:
    """The column as a driver can fetch it; with ``ticks_as_text`` a time(7) as text, for a Python time has six
    digits."""
    name = quote(column.name)
    if column.as_text or (ticks_as_text and column.base_type == "time" and column.scale > MICROSECOND_SCALE):
        return exact_text(name)
    match column.base_type:
        case "sql_variant" | "xml" | "json" | "vector":
            return f"CAST({name} AS nvarchar(max))"
        case "hierarchyid":
            return f"{name}.ToString()"
        case "geometry" | "geography":
            return f"{name}.STAsBinary()"
        case _:
            return name


# Cursors that a load can resume from, and why the others cannot.
_CURSOR_TYPES: dict[str, CursorType] = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "int"),
    **dict.fromkeys(("date", "datetime", "smalldatetime", "datetime2", "datetimeoffset"), "datetime"),
    **dict.fromkeys(("char", "varchar", "nchar", "nvarchar"), "string"),
    "rowversion": "binary",
}
_NO_CURSOR = {
    "uniqueidentifier": "its values come in no order of time",
    "real": "its values are inexact",
    "float": "its values are inexact",
    "bit": "it has two values",
    "time": "it starts again every day",
}


def cursor_type(column: SourceColumn) -> CursorType:
    """How the journal calls a watermark over this column. Raises CursorUnusable with the reason."""
    name = column.base_type
    if name in _DECIMAL and column.scale == 0:
        return "int"
    if name in _CURSOR_TYPES and not column.is_unbounded:
        return _CURSOR_TYPES[name]
    reason = _NO_CURSOR.get(name, "the server cannot compare its values with a bound")
    raise CursorUnusable(
        f"Column {column.name!r} of type {column.declaration} cannot be a watermark: {reason}.",
        hint="Use a rowversion, a time of last change, or a number that grows with every change.",
    )
