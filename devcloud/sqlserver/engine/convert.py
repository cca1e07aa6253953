"""Conversions between SQL Server's types, as DuckDB SQL.

Text constants are converted here and now; everything else becomes an expression that fails as SQL Server does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.conversions import INTEGER_BYTES
from devcloud.sqlserver.engine.library import ERROR_MARK, LIBRARY
from devcloud.sqlserver.engine.moment_conversions import MomentConverter
from devcloud.sqlserver.engine.values import Value, make_constant, quote_text
from devcloud.sqlserver.errors import SqlError, make_error
from devcloud.sqlserver.guids import STORAGE_FROM_WIRE, WIRE_FROM_STORAGE, permute_hex
from devcloud.sqlserver.types import (
    MAX,
    SqlType,
    nvarchar,
    varchar,
)

_LONGEST_GUID: Final = 36
_LONGEST_MOMENT: Final = 34
"""Characters of what CONVERT makes of them, in any style: none of it has to be cut for types of that length."""


class Converter(MomentConverter):
    """Converts values within one statement, whose parameters it shares."""

    def constant(self, value: Value, target: SqlType) -> Value:
        """Return a constant like ``value`` with another type of the same storage."""
        return make_constant(value.constant, target, self.parameters)

    def convert(self, value: Value, target: SqlType, style: int | None = None, attempt: bool = False) -> Value:
        """Return ``value`` as ``target``. Raises SqlError 206, 241, 245, 529 …; with ``attempt`` failures are NULL."""
        if value.undeclared is not None:
            if self.undeclared is not None:
                self.undeclared.setdefault(value.undeclared, target)
            return make_constant(None, target, self.parameters)
        source = value.type
        if source.name == "null" or (value.is_constant and value.constant is None):
            return make_constant(None, target, self.parameters)
        if source == target:
            return value
        try:
            converted = self._convert(value, target, style or 0, attempt)
        except SqlError as error:
            if attempt and error.number in (241, 242, 245, 8114, 8115, 8169, 220):
                return make_constant(None, target, self.parameters)
            raise
        return replace(converted, identity=False, computed=False)

    def _convert(self, value: Value, target: SqlType, style: int, attempt: bool) -> Value:
        if value.type.name == "sql_variant" and target.name != "sql_variant":
            value = self._from_variant(value, target)
            if value.type == target:
                return value
        if target.is_text:
            return self._to_text(value, target, style)
        if target.is_integer:
            return self._to_integer(value, target, attempt)
        if target.is_decimal:
            return self._to_decimal(value, target, attempt)
        if target.is_float:
            return self._to_float(value, target, attempt)
        if target.is_moment:
            return self._to_moment(value, target, attempt)
        if target.is_binary:
            return self._to_binary(value, target, style)
        if target.name == "uniqueidentifier":
            return self._to_guid(value, target, attempt)
        if target.name == "sql_variant":
            return self._to_variant(value, target)
        raise self._clash(value.type, target)

    # Numbers

    # Dates and times

    # Text

    def _to_text(self, value: Value, target: SqlType, style: int) -> Value:
        source = value.type
        if source.is_text:
            return self._text_to_text(value, target)
        text = self.format(value, style)
        if target.name == "xml":
            raise self._clash(source, target)
        if target.length not in (0, MAX) and source.is_number:
            failure = f"{LIBRARY}.fail('8115', 'expression{ERROR_MARK}{target.name}')"
            if source.is_integer and target.name in ("char", "varchar"):
                failure = "'*'"
            text = f"CASE WHEN length({text}) > {target.length} THEN {failure} ELSE {text} END"
        longest = _LONGEST_GUID if source.name == "uniqueidentifier" else _LONGEST_MOMENT if source.is_moment else 8000
        return self._text_to_text(self._made(value, text, varchar(longest)), target)

    def _text_to_text(self, value: Value, target: SqlType) -> Value:
        sql, source = value.sql, value.type
        fits = target.length == MAX or (0 < source.length <= target.length)
        padded = target.name in ("char", "nchar")
        narrowed = source.is_wide and not target.is_wide
        if value.is_constant and isinstance(value.constant, str):
            return make_constant(fit_text(value.constant, target, narrowed), target, self.parameters)
        if narrowed and target.codec == "cp1252":
            sql = f"{LIBRARY}.narrow({sql})"
        elif narrowed and target.codec != "utf-8":
            sql = f"tds_decode(tds_encode({sql}, '{target.codec}'), '{target.codec}')"
        if not fits:
            sql = cut_text(sql, target)
        if padded:
            sql = pad_text(sql, target)
        return self._made(value, sql, target)

    # Binary, uniqueidentifier, sql_variant

    def _to_binary(self, value: Value, target: SqlType, style: int) -> Value:
        source, sql = value.type, value.sql
        if source.is_binary:
            binary = sql
        elif source.is_text and style in (1, 2):
            binary = f"unhex({f'substr({sql}, 3)' if style == 1 else sql})"
        elif source.is_text and source.name != "xml":
            binary = f"tds_encode({sql}, '{'utf-16-le' if source.is_wide else source.codec}')"
        elif source.name == "uniqueidentifier":
            binary = f"unhex({permute_hex(f'hex({sql})', WIRE_FROM_STORAGE)})"
        elif source.is_integer:
            width = INTEGER_BYTES[source.name]
            full = 2 ** (8 * width)
            unsigned = f"CASE WHEN {sql} < 0 THEN CAST({sql} AS HUGEINT) + {full} ELSE CAST({sql} AS HUGEINT) END"
            binary = f"unhex(lpad(hex(CAST({unsigned} AS UBIGINT)), {2 * width}, '0'))"
            if target.length not in (0, MAX):
                digits = f"right(repeat('0', {2 * target.length}) || hex({binary}), {2 * target.length})"
                binary = f"unhex({digits})" if target.name == "binary" else binary
        else:
            raise self._clash(source, target)
        return self._fit_binary(self._made(value, binary, source), target, source)

    def _fit_binary(self, value: Value, target: SqlType, source: SqlType) -> Value:
        sql = value.sql
        if source.is_binary and (target.length == MAX or 0 < source.length <= target.length):
            fits = True
        else:
            fits = target.length == MAX
        if not fits:
            sql = f"unhex(left(hex({sql}), {2 * target.length}))"
        if target.name in ("binary", "timestamp"):
            sql = f"unhex(rpad(hex({sql}), {2 * target.length}, '0'))"
        return self._made(value, sql, target)

    def _to_guid(self, value: Value, target: SqlType, attempt: bool) -> Value:
        if value.type.is_text:
            digits = f"replace(rtrim(ltrim({value.sql}, '{{'), '}}'), '-', '')"
            shape = "[{]?[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}[}]?"
            good = f"regexp_full_match({value.sql}, '{shape}')"
            failure = "NULL" if attempt else f"{LIBRARY}.fail('8169', '')"
            sql = (
                f"CASE WHEN {good} THEN {LIBRARY}.guid_from_hex({digits}) "
                f"WHEN {value.sql} IS NOT NULL THEN CAST({failure} AS BLOB) END"
            )
            return self._made(value, sql, target, nullable=value.nullable or attempt)
        if value.type.is_binary:
            digits = f"rpad(left(hex({value.sql}), 32), 32, '0')"
            return self._made(value, f"unhex({permute_hex(digits, STORAGE_FROM_WIRE)})", target)
        raise self._clash(value.type, target)

    def _to_variant(self, value: Value, target: SqlType) -> Value:
        source = value.type
        if source.length == MAX or source.name in ("xml", "text", "ntext", "image", "timestamp"):
            raise make_error(206, str(source), "sql_variant")
        style = 3 if source.is_float else 2 if source.is_decimal or source.is_binary else 121
        body = value.sql if source.is_text else self.format(value, style)
        pair = f"{{'kind': {quote_text(str(source))}, 'body': {body}}}"
        return self._made(value, f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {pair} END", target)

    def _from_variant(self, value: Value, target: SqlType) -> Value:
        body = f"({value.sql}).body"
        text = replace(value, sql=body, type=nvarchar(4000), is_constant=False)
        if target.is_text or target.is_number or target.is_moment or target.name == "uniqueidentifier":
            return self._convert(text, target, 0, False)
        if target.is_binary:
            return self._made(value, f"unhex({body})", replace(target, length=target.length))
        raise self._clash(value.type, target)


def units(text: str) -> int:
    """Return the UTF-16 units of a text."""
    return len(text.encode("utf-16-le")) // 2


def cut_text(sql: str, kind: SqlType) -> str:
    """Return text cut to the length of its type."""
    return f"{LIBRARY}.left_units({sql}, {kind.length})" if kind.is_wide else f"left({sql}, {kind.length})"


def pad_text(sql: str, kind: SqlType) -> str:
    """Return text padded to the length of a char or nchar."""
    if kind.is_wide:
        return f"{LIBRARY}.pad_units({sql}, {kind.length})"
    return f"{LIBRARY}.pad_bytes({sql}, {kind.length})" if kind.counts_bytes else f"rpad({sql}, {kind.length}, ' ')"


def fit_text(text: str, target: SqlType, narrowed: bool) -> str:
    """Return text cut and padded as CAST does."""
    if narrowed:
        text = text.encode(target.codec, "replace").decode(target.codec)
    if target.length not in (0, MAX):
        text = _first_units(text, target.length) if target.is_wide else text[: target.length]
        if target.name in ("char", "nchar"):
            more = len(text.encode()) - len(text) if target.counts_bytes else 0
            more = units(text) - len(text) if target.is_wide else more
            text = text.ljust(target.length - more)
    return text


def _first_units(text: str, count: int) -> str:
    """The same as ``left_units`` of the library."""
    return text.encode("utf-16-le")[: 2 * count].decode("utf-16-le", "ignore")
