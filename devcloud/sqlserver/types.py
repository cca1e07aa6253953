"""SQL Server's data types: what the catalogue says of them and how DuckDB holds their values.

Storage is chosen so that DuckDB's own comparison and ordering are SQL Server's:

======================================  =======================================================================
SQL Server                              DuckDB
======================================  =======================================================================
bit, tinyint · smallint · int · bigint  UTINYINT · SMALLINT · INTEGER · BIGINT
decimal, numeric, money, smallmoney     DECIMAL(p, s)
real · float                            FLOAT · DOUBLE
date                                    DATE
datetime                                BIGINT, ticks of 1/300 second since 1900-01-01
smalldatetime                           INTEGER, minutes since 1900-01-01
datetime2 · time                        BIGINT, ticks of 100 ns since 0001-01-01 · since midnight
datetimeoffset                          STRUCT(t BIGINT, o SMALLINT): the instant as datetime2, the offset in minutes
character types, xml                    VARCHAR
binary types, rowversion                BLOB
uniqueidentifier                        BLOB of 16 bytes in the order in which SQL Server compares them
sql_variant                             STRUCT(kind VARCHAR, body VARCHAR): the declared type, the value as text
======================================  =======================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Context
from typing import Final

EXACT: Final = Context(prec=38)
"""Arithmetic with all digits that a decimal can have; Python's own default rounds to 28."""

MAX: Final = -1
"""The length of ``varchar(max)`` and its like, as sys.columns has it."""

DEFAULT_COLLATION: Final = "SQL_Latin1_General_CP1_CI_AS"
COLLATIONS: Final = {
    name.lower(): name
    for name in (
        DEFAULT_COLLATION,
        "Latin1_General_CI_AS",
        "Latin1_General_CS_AS",
        "Latin1_General_100_CI_AS",
        "Latin1_General_100_CI_AS_SC_UTF8",
        "Latin1_General_100_BIN2_UTF8",
        "Latin1_General_BIN2",
        "Latin1_General_100_BIN2",
        "Latin1_General_BIN",
        "Polish_CI_AS",
        "Polish_CS_AS",
        "Polish_BIN2",
        "Cyrillic_General_CI_AS",
        "Cyrillic_General_BIN2",
    )
}
# How a collation's name begins: the code page of its narrow types, its locale. The others are of Western Europe.
_LOCALES: Final = {"polish_": ("cp1250", 0x0415), "cyrillic_": ("cp1251", 0x0419)}
_WESTERN: Final = ("cp1252", 0x0409)

_FACTS: Final = [
    line.split(None, 8)
    for line in """
sql_variant        98  98 8016  0  0 -150 other    STRUCT(kind VARCHAR, body VARCHAR)
xml               241 241   -1  0  0 -152 wide     VARCHAR
datetimeoffset     43  43   10 34  7 -155 moment   STRUCT(t BIGINT, o SMALLINT)
datetime2          42  42    8 27  7   93 moment   BIGINT
datetime           61  61    8 23  3   93 moment   BIGINT
smalldatetime      58  58    4 16  0   93 moment   INTEGER
date               40  40    3 10  0   91 moment   DATE
time               41  41    5 16  7 -154 moment   BIGINT
float              62  62    8 53  0    6 float    DOUBLE
real               59  59    4 24  0    7 float    FLOAT
numeric           108 108   17 38 38    2 decimal  DECIMAL
decimal           106 106   17 38 38    3 decimal  DECIMAL
money              60  60    8 19  4    3 decimal  DECIMAL
smallmoney        122 122    4 10  4    3 decimal  DECIMAL
bigint            127 127    8 19  0   -5 integer  BIGINT
int                56  56    4 10  0    4 integer  INTEGER
smallint           52  52    2  5  0    5 integer  SMALLINT
tinyint            48  48    1  3  0   -6 integer  UTINYINT
bit               104 104    1  1  0   -7 integer  UTINYINT
ntext              99  99   16  0  0  -10 wide     VARCHAR
text               35  35   16  0  0   -1 narrow   VARCHAR
image              34  34   16  0  0   -4 binary   BLOB
timestamp         189 189    8  0  0   -2 binary   BLOB
uniqueidentifier   36  36   16  0  0  -11 other    BLOB
nvarchar          231 231 8000  0  0   -9 wide     VARCHAR
nchar             239 239 8000  0  0   -8 wide     VARCHAR
varchar           167 167 8000  0  0   12 narrow   VARCHAR
char              175 175 8000  0  0    1 narrow   VARCHAR
varbinary         165 165 8000  0  0   -3 binary   BLOB
binary            173 173 8000  0  0   -2 binary   BLOB
sysname           231 256  256  0  0   -9 wide     VARCHAR
""".strip().splitlines()
]
"""The types in the order of their precedence, the highest first: the name, what sys.types has of it (system_type_id,
user_type_id, max_length, precision, scale), its number in ODBC (SQL_… of sql.h, sqlext.h and Microsoft's sqlncli.h),
its family, and the DuckDB type that holds it."""

SYSTEM_TYPES: Final[dict[str, tuple[int, ...]]] = {
    row[0]: tuple(int(number) for number in row[1:7])
    for row in sorted(_FACTS, key=lambda row: (int(row[1]), int(row[2])))
}
"""By name: system_type_id, user_type_id, max_length, precision, scale, and the number in ODBC."""

_FAMILIES: Final = {row[0]: row[7] for row in _FACTS}
_STORAGE: Final = {row[0]: row[8] for row in _FACTS} | {"null": "INTEGER"}
_RANKS: Final = {row[0]: rank for rank, row in enumerate(reversed(_FACTS))} | {"null": -1}

_SYNONYMS: Final = {
    "integer": "int",
    "dec": "decimal",
    "rowversion": "timestamp",
    "character": "char",
    "binary varying": "varbinary",
    "national character": "nchar",
    "national char": "nchar",
    "char varying": "varchar",
    "character varying": "varchar",
}

_INTEGER_DIGITS: Final = {"bit": 1, "tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}


@dataclass(frozen=True, slots=True)
class SqlType:
    """A SQL Server type with its facets.

    ``length`` counts characters for character types (UTF-16 units for the national ones), bytes for binary ones; MAX
    for ``(max)``. ``null`` is the type of a bare NULL, which takes the type of whatever it meets.
    """

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    collation: str = DEFAULT_COLLATION

    @property
    def _family(self) -> str:
        return _FAMILIES.get(self.name, "")

    @property
    def is_integer(self) -> bool:
        """Whether it is one of the exact whole-number types, bit included."""
        return self._family == "integer"

    @property
    def is_decimal(self) -> bool:
        """Whether it is decimal, numeric, money or smallmoney."""
        return self._family == "decimal"

    @property
    def is_float(self) -> bool:
        """Whether it is real or float."""
        return self._family == "float"

    @property
    def is_number(self) -> bool:
        """Whether arithmetic is defined on it."""
        return self._family in ("integer", "decimal", "float")

    @property
    def is_wide(self) -> bool:
        """Whether it is sent as UTF-16."""
        return self._family == "wide"

    @property
    def is_text(self) -> bool:
        """Whether it is a character type, or xml."""
        return self._family in ("narrow", "wide")

    @property
    def is_binary(self) -> bool:
        """Whether it is binary, varbinary, image or rowversion."""
        return self._family == "binary"

    @property
    def is_moment(self) -> bool:
        """Whether it is a date or time type."""
        return self._family == "moment"

    @property
    def is_folded(self) -> bool:
        """Whether comparisons ignore case: character types unless their collation is binary or says otherwise."""
        return self.is_text and "_ci_" in self.collation.lower()

    @property
    def codec(self) -> str:
        """How a narrow character type encodes its values: by the code page of its collation, or as UTF-8."""
        return "utf-8" if self.collation.lower().endswith("_utf8") else self._locale[0]

    @property
    def counts_bytes(self) -> bool:
        """Whether the length of a character type is that of its values in UTF-8."""
        return self.codec == "utf-8" and not self.is_wide

    @property
    def locale(self) -> int:
        """The locale of a character type's collation, as Windows numbers them."""
        return self._locale[1]

    @property
    def _locale(self) -> tuple[str, int]:
        name = self.collation.lower()
        return next((found for start, found in _LOCALES.items() if name.startswith(start)), _WESTERN)

    @property
    def rank(self) -> int:
        """Data type precedence: in a mixed expression the lower rank is converted to the higher."""
        return _RANKS[self.name]

    @property
    def storage(self) -> str:
        """The DuckDB type that holds it."""
        if self.is_decimal:
            return f"DECIMAL({self.precision}, {self.scale})"
        return _STORAGE[self.name]

    @property
    def digits(self) -> int:
        """How many decimal digits an exact number can have."""
        return _INTEGER_DIGITS[self.name] if self.is_integer else self.precision

    @property
    def tick(self) -> int:
        """For time types with a scale: the smallest step, in units of 100 ns."""
        return int(10 ** (7 - self.scale))

    @property
    def max_length(self) -> int:
        """``max_length`` of sys.columns, in bytes."""
        match self.name:
            case "nchar" | "nvarchar":
                return MAX if self.length == MAX else self.length * 2
            case "char" | "varchar" | "binary" | "varbinary":
                return self.length
            case "decimal" | "numeric":
                return decimal_width(self.precision)
            case "time":
                return time_width(self.scale)
            case "datetime2":
                return time_width(self.scale) + 3
            case "datetimeoffset":
                return time_width(self.scale) + 5
            case _:
                return SYSTEM_TYPES[self.name][2]

    @property
    def catalogue_precision(self) -> int:
        """``precision`` of sys.columns."""
        match self.name:
            case "decimal" | "numeric":
                return self.precision
            case "time":
                return 8 + (self.scale + 1 if self.scale else 0)
            case "datetime2":
                return 19 + (self.scale + 1 if self.scale else 0)
            case "datetimeoffset":
                return 26 + (self.scale + 1 if self.scale else 0)
            case _:
                return SYSTEM_TYPES[self.name][3]

    @property
    def catalogue_scale(self) -> int:
        """``scale`` of sys.columns."""
        if self.name in ("decimal", "numeric", "time", "datetime2", "datetimeoffset"):
            return self.scale
        return SYSTEM_TYPES[self.name][4]

    def __str__(self) -> str:
        match self.name:
            case "decimal" | "numeric":
                return f"{self.name}({self.precision},{self.scale})"
            case "time" | "datetime2" | "datetimeoffset":
                return f"{self.name}({self.scale})"
            case "char" | "varchar" | "nchar" | "nvarchar" | "binary" | "varbinary":
                return f"{self.name}({'max' if self.length == MAX else self.length})"
            case _:
                return self.name


def decimal_width(precision: int) -> int:
    """Return the bytes that a decimal of that precision takes on the wire, sign included."""
    return 5 if precision <= 9 else 9 if precision <= 19 else 13 if precision <= 28 else 17


def time_width(scale: int) -> int:
    """Return the bytes that the time of day takes on the wire at that scale."""
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


TINYINT: Final = SqlType("tinyint")
SMALLINT: Final = SqlType("smallint")
INT: Final = SqlType("int")
BIGINT: Final = SqlType("bigint")
FLOAT: Final = SqlType("float")
REAL: Final = SqlType("real")
MONEY: Final = SqlType("money", precision=19, scale=4)
SMALLMONEY: Final = SqlType("smallmoney", precision=10, scale=4)
DATE: Final = SqlType("date")
DATETIME: Final = SqlType("datetime")
DATETIME2: Final = SqlType("datetime2", scale=7)
DATETIMEOFFSET: Final = SqlType("datetimeoffset", scale=7)
TIME: Final = SqlType("time", scale=7)
UNIQUEIDENTIFIER: Final = SqlType("uniqueidentifier")
XML: Final = SqlType("xml", length=MAX)
ROWVERSION: Final = SqlType("timestamp", length=8)
SYSNAME: Final = SqlType("nvarchar", length=128)
NULL: Final = SqlType("null")


def decimal(precision: int, scale: int = 0) -> SqlType:
    """Return decimal(precision, scale)."""
    return SqlType("decimal", precision=precision, scale=scale)


def varchar(length: int, collation: str = DEFAULT_COLLATION) -> SqlType:
    """Return varchar of that many characters, (max) beyond what a row can hold."""
    return SqlType("varchar", length=length if length <= 8000 else MAX, collation=collation)


def nvarchar(length: int, collation: str = DEFAULT_COLLATION) -> SqlType:
    """Return nvarchar of that many UTF-16 units, (max) beyond what a row can hold."""
    return SqlType("nvarchar", length=length if length <= 4000 else MAX, collation=collation)


def varbinary(length: int) -> SqlType:
    """Return varbinary of that many bytes, (max) beyond what a row can hold."""
    return SqlType("varbinary", length=length if length <= 8000 else MAX)


def make_type(name: str, arguments: tuple[int, ...] = (), default_length: int = 1) -> SqlType | None:
    """Return the type that a declaration such as ``decimal(18, 2)`` names, or None for a name SQL Server lacks here.

    MAX stands for ``max`` among the arguments. ``default_length`` is 1 in a declaration and 30 in CAST and CONVERT,
    when no length is given. Raises ValueError for facets out of range.
    """
    name = _SYNONYMS.get(name.lower(), name.lower())
    first = arguments[0] if arguments else None
    match name:
        case "decimal" | "numeric":
            precision, scale = first or 18, arguments[1] if len(arguments) > 1 else 0
            if not (1 <= precision <= 38 and 0 <= scale <= precision):
                raise ValueError(f"precision {precision} and scale {scale} are out of range")
            return SqlType(name, precision=precision, scale=scale)
        case "char" | "varchar" | "binary" | "varbinary" | "nchar" | "nvarchar":
            length = default_length if first is None else first
            limit = 4000 if name.startswith("n") else 8000
            may_be_max = name in ("varchar", "nvarchar", "varbinary")
            if not (1 <= length <= limit or (length == MAX and may_be_max)):
                raise ValueError(f"length {length} is out of range")
            return SqlType(name, length=length)
        case "time" | "datetime2" | "datetimeoffset":
            scale = 7 if first is None else first
            if not 0 <= scale <= 7:
                raise ValueError(f"scale {scale} is out of range")
            return SqlType(name, scale=scale)
        case "float":
            return REAL if first is not None and first <= 24 else FLOAT
        case "money":
            return MONEY
        case "smallmoney":
            return SMALLMONEY
        case "timestamp":
            return ROWVERSION
        case "sysname":
            return SYSNAME
        case "text" | "ntext" | "image" | "xml":
            return SqlType(name, length=MAX)
        case _:
            return SqlType(name) if name in SYSTEM_TYPES else None


def common_type(left: SqlType, right: SqlType) -> SqlType:
    """Return the type in which the two are compared or united: the higher precedence, with room for both."""
    if left.name == "null" or right.name == "null":
        return right if left.name == "null" else left
    high, low = (left, right) if left.rank >= right.rank else (right, left)
    if high.name in ("decimal", "numeric"):
        other = as_decimal(low)
        if other is None:
            return high
        scale = max(high.scale, other.scale)
        whole = max(high.precision - high.scale, other.precision - other.scale)
        return SqlType(high.name, precision=min(38, whole + scale), scale=min(scale, max(38 - whole, 0)))
    if high.name in ("nvarchar", "nchar", "varchar", "char", "varbinary", "binary") and (
        low.is_text == high.is_text or low.is_binary
    ):
        length = MAX if MAX in (high.length, low.length) else max(high.length, low.length)
        collation = low.collation if low.is_text and high.collation == DEFAULT_COLLATION else high.collation
        name = high.name if high.name.endswith(("varchar", "varbinary")) or low.name == high.name else _varying(high)
        return replace(high, name=name, length=length, collation=collation)
    if high.name in ("time", "datetime2", "datetimeoffset"):
        scale = low.scale if low.name in ("time", "datetime2", "datetimeoffset") else 3 if low.name == "datetime" else 0
        return replace(high, scale=max(high.scale, scale))
    return high


def _varying(kind: SqlType) -> str:
    return {"nchar": "nvarchar", "char": "varchar", "binary": "varbinary"}[kind.name]


def as_decimal(kind: SqlType) -> SqlType | None:
    """Return the decimal type that holds every value of an exact number type, or None for other types."""
    if kind.is_integer:
        return decimal(kind.digits)
    if kind.is_decimal:
        return decimal(kind.precision, kind.scale)
    return None
