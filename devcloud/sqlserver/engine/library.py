"""DuckDB macros and functions on which the translation rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL
from duckdb.sqltypes import BIGINT, BLOB, DOUBLE, INTEGER, VARCHAR

from devcloud.sqlserver.engine.moments import (
    DAYS_TO_1900,
    TICKS_PER_DAY,
    parse_as,
)
from devcloud.sqlserver.errors import SqlError
from devcloud.sqlserver.guids import STORAGE_FROM_TEXT, TEXT_FROM_STORAGE, permute_hex
from devcloud.sqlserver.types import make_type

ERROR_MARK: Final = "\x1f"
"""Separates number and text where SQL raises one of SQL Server's errors through DuckDB's error()."""

LIBRARY: Final = "memory.main"

_CP1252_CLASS: Final = "".join(
    rf"\x{{{ord(character):X}}}"
    for byte in range(0x80, 0xA0)
    if (character := bytes([byte]).decode("cp1252", "ignore"))
)
"""What Windows-1252 has beyond Latin-1, as a regular expression's class."""

_MACROS: Final = f"""
-- Failing with one of SQL Server's own errors.
fail(number, text) AS error(number || '{ERROR_MARK}' || text)

-- How character values compare: without case, and without trailing spaces.
fold(x) AS lower(rtrim(x, ' '))
trim_end(x) AS rtrim(x, ' ')
-- UTF-16 units: characters beyond the basic plane, four bytes in UTF-8, count twice.
units(x) AS CASE WHEN strlen(x) = length(x) THEN length(x)
    ELSE length(x) + length(regexp_replace(x, '[\\x{{0}}-\\x{{FFFF}}]', '', 'g')) END
-- A fixed length counts bytes of UTF-8, or units of UTF-16.
pad_bytes(x, n) AS x || repeat(' ', greatest(0, n - strlen(x)))
pad_units(x, n) AS CASE WHEN strlen(x) = length(x) THEN rpad(x, n, ' ')
    ELSE x || repeat(' ', greatest(0, n - memory.main.units(x))) END
-- The first units of a text. SQL Server leaves half a character where it cuts one, which no text here can hold.
left_units(x, n) AS CASE WHEN strlen(x) = length(x) THEN left(x, n) ELSE replace(regexp_replace(
    left(regexp_replace(x, '([\\x{{10000}}-\\x{{10FFFF}}])', '\\1' || chr(65534), 'g'), n),
    '[\\x{{10000}}-\\x{{10FFFF}}]$', ''), chr(65534), '') END
narrow(x) AS CASE WHEN strlen(x) = length(x) THEN x
    ELSE regexp_replace(x, '[^\\x{{0}}-\\x{{7F}}\\x{{A0}}-\\x{{FF}}{_CP1252_CLASS}]', '?', 'g') END

-- Days, ticks and dates.
day_of(d) AS (d - DATE '0001-01-01')
date_of(n) AS (DATE '0001-01-01' + CAST(n AS INTEGER))
from_datetime(x) AS ({DAYS_TO_1900 * TICKS_PER_DAY} + (x * 200000 + 3) // 6)
to_datetime(x) AS CASE WHEN x < 552877920000000000 THEN
    memory.main.fail('242', 'datetime2{ERROR_MARK}datetime') ELSE
    ((x - {DAYS_TO_1900 * TICKS_PER_DAY}) * 3 + 50000) // 100000 END
from_smalldatetime(x) AS ({DAYS_TO_1900 * TICKS_PER_DAY} + CAST(x AS BIGINT) * 600000000)
to_smalldatetime(x) AS CASE WHEN x < {DAYS_TO_1900 * TICKS_PER_DAY} OR
    x >= {(DAYS_TO_1900 + 65_536) * TICKS_PER_DAY} - 300000000 THEN
    memory.main.fail('242', 'datetime2{ERROR_MARK}smalldatetime') ELSE
    CAST((x - {DAYS_TO_1900 * TICKS_PER_DAY} + 300000000) // 600000000 AS INTEGER) END
rescale(x, step) AS ((x + step // 2) // step * step)
clock_text(t, scale) AS left(strftime(make_timestamp(CAST(t // 10 AS BIGINT)), '%H:%M:%S.%f') || t % 10,
    CASE WHEN scale = 0 THEN 8 ELSE 9 + scale END)
date_text(d) AS CAST(d AS VARCHAR)
offset_text(o) AS CASE WHEN o < 0 THEN '-' ELSE '+' END || format('{{:02d}}:{{:02d}}', abs(o) // 60, abs(o) % 60)

-- uniqueidentifier: from storage order to text and to the order of the wire, and back.
guid_text(b) AS regexp_replace({permute_hex("hex(b)", TEXT_FROM_STORAGE)},
    '(.{{8}})(.{{4}})(.{{4}})(.{{4}})(.{{12}})', '\\1-\\2-\\3-\\4-\\5')
guid_from_hex(h) AS unhex({permute_hex("h", STORAGE_FROM_TEXT)})
"""


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Define macros and functions, once per DuckDB instance."""
    for definition in _MACROS.split("\n\n"):
        lines = [line for line in definition.splitlines() if line and not line.startswith("--")]
        for macro in _join_continuations(lines):
            connection.execute(f"CREATE MACRO {LIBRARY}.{macro}")
    functions: tuple[tuple[str, Callable[[Any, Any], pa.Array[Any]], list[Any], Any], ...] = (
        ("tds_moment", _parse_moments, [VARCHAR, VARCHAR], BIGINT),
        ("tds_float_text", _format_floats, [DOUBLE, INTEGER], VARCHAR),
        ("tds_encode", _encode, [VARCHAR, VARCHAR], BLOB),
        ("tds_decode", _decode, [BLOB, VARCHAR], VARCHAR),
    )
    for name, function, kinds, result in functions:
        connection.create_function(name, _plain(function), kinds, result, type=ARROW, null_handling=SPECIAL)


def _plain(function: Callable[[Any, Any], pa.Array[Any]]) -> Callable[..., Any]:
    """Return a function without annotations: DuckDB evaluates them, and pyarrow's are for type checkers only."""
    return lambda first, second: function(first, second)


def _join_continuations(lines: list[str]) -> list[str]:
    macros: list[str] = []
    for line in lines:
        if line.startswith(" "):
            macros[-1] += line
        else:
            macros.append(line)
    return macros


def _parse_moments(texts: pa.Array[Any], kinds: pa.Array[Any]) -> pa.Array[Any]:
    """Parse each text as a type such as ``datetime2(7)``; ``offset`` gives a datetimeoffset's minutes."""
    results: list[int | None] = []
    for text, name in zip(texts.to_pylist(), kinds.to_pylist(), strict=True):
        results.append(None if text is None else _parse_one(text, str(name)))
    return pa.array(results, pa.int64())


def _parse_one(text: str, name: str) -> int | None:
    attempt, name = name.startswith("try "), name.removeprefix("try ")
    base, _, scale = name.removesuffix(")").partition("(")
    kind = make_type("datetimeoffset" if base == "offset" else base, (int(scale),) if scale else ())
    assert kind is not None  # noqa: S101
    try:
        parsed = parse_as(text, kind)
    except SqlError as error:
        if attempt:
            return None
        raise ValueError(f"{error.number}{ERROR_MARK}{error.message}") from None
    if isinstance(parsed, tuple):
        return parsed[1] if base == "offset" else parsed[0]
    return parsed


def format_float(value: float, style: int) -> str:
    """Return a float as CONVERT shows it: six digits, or 16 or 17 in scientific notation for styles 1, 2 and 3."""
    if style in (1, 2, 3):
        mantissa, exponent = f"{value:.{ {1: 7, 2: 15, 3: 16}[style] }e}".split("e")
        return f"{mantissa}e{exponent[0]}{int(exponent[1:]):03d}"
    text = f"{value:.6g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa}e{exponent[0]}{int(exponent[1:]):03d}"
    return text


def _format_floats(values: pa.Array[Any], styles: pa.Array[Any]) -> pa.Array[Any]:
    pairs = zip(values.to_pylist(), styles.to_pylist(), strict=True)
    return pa.array(
        [None if value is None else format_float(value, int(style or 0)) for value, style in pairs], pa.string()
    )


def _encode(texts: pa.Array[Any], codecs: pa.Array[Any]) -> pa.Array[Any]:
    pairs = zip(texts.to_pylist(), codecs.to_pylist(), strict=True)
    return pa.array([None if text is None else text.encode(codec, "replace") for text, codec in pairs], pa.binary())


def _decode(values: pa.Array[Any], codecs: pa.Array[Any]) -> pa.Array[Any]:
    pairs = zip(values.to_pylist(), codecs.to_pylist(), strict=True)
    return pa.array([None if value is None else value.decode(codec, "replace") for value, codec in pairs], pa.string())
