"""Conversions between numbers, and from text to numbers, as DuckDB SQL; what the other conversions share."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.library import ERROR_MARK, LIBRARY
from devcloud.sqlserver.engine.values import Parameters, Value, quote_text
from devcloud.sqlserver.errors import SqlError, make_error
from devcloud.sqlserver.types import (
    SqlType,
)

INTEGER_BYTES: Final = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}

_INTEGER_RANGE: Final = {
    "tinyint": (0, 255),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}


class NumberConverter:
    """Converts to numbers."""

    def __init__(self, parameters: Parameters, undeclared: dict[str, SqlType] | None = None) -> None:
        self.parameters = parameters
        self.undeclared = undeclared

    @staticmethod
    def _clash(source: SqlType, target: SqlType) -> SqlError:
        return make_error(529, source.name, target.name)

    @staticmethod
    def _made(value: Value, sql: str, target: SqlType, *, nullable: bool | None = None) -> Value:
        return Value(sql, target, value.nullable if nullable is None else nullable)

    def _checked(
        self, value: Value, parse: str, target: SqlType, attempt: bool, number: str = "245", storage: str = ""
    ) -> Value:
        """Return text parsed by ``parse``, which is NULL for what cannot be parsed: there it fails, or stays NULL."""
        if attempt:
            return self._made(value, parse, target, nullable=True)
        detail = f"{quote_text(value.type.name)} || '{ERROR_MARK}' || {value.sql} || '{ERROR_MARK}{target.name}'"
        if number == "8114":
            detail = quote_text(f"{value.type.name}{ERROR_MARK}{target.name}")
        failure = f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {LIBRARY}.fail('{number}', {detail}) END"
        return self._made(value, f"COALESCE({parse}, CAST({failure} AS {storage or target.storage}))", target)

    def _to_integer(self, value: Value, target: SqlType, attempt: bool) -> Value:
        source, sql = value.type, value.sql
        if target.name == "bit":
            return self._to_bit(value, target, attempt)
        if source.is_text:
            trimmed = f"trim({sql})"
            shape = f"regexp_full_match({trimmed}, '[+-]?[0-9]*')"
            wide = f"CASE WHEN {trimmed} = '' THEN 0 WHEN {shape} THEN TRY_CAST({trimmed} AS HUGEINT) END"
            checked = self._checked(value, wide, target, attempt, storage="HUGEINT")
            return self._in_range(replace(checked, type=source), checked.sql, target, attempt)
        if source.is_integer:
            if INTEGER_BYTES[source.name] < INTEGER_BYTES[target.name] or source.name == "bit":
                return self._made(value, f"CAST({sql} AS {target.storage})", target)
            return self._in_range(value, sql, target, attempt)
        if source.is_decimal:
            # Money rounds to whole numbers, decimal is cut (learn.microsoft.com, CAST and CONVERT).
            whole = f"round({sql}, 0)" if "money" in source.name else f"trunc({sql})"
            return self._in_range(value, f"CAST({whole} AS HUGEINT)", target, attempt)
        if source.is_float:
            whole = f"CASE WHEN abs({sql}) < 1e19 THEN CAST(trunc({sql}) AS HUGEINT) ELSE 9223372036854775808 END"
            return self._in_range(value, whole, target, attempt)
        if source.is_binary:
            width = INTEGER_BYTES[target.name]
            digits = f"right(repeat('0', {2 * width}) || hex({sql}), {2 * width})"
            unsigned = f"CAST('0x' || {digits} AS UBIGINT)"
            if target.name == "tinyint":
                return self._made(value, f"CAST({unsigned} AS UTINYINT)", target)
            half, full = 2 ** (8 * width - 1), 2 ** (8 * width)
            signed = f"CASE WHEN {unsigned} >= {half} THEN CAST({unsigned} AS HUGEINT) - {full} ELSE {unsigned} END"
            return self._made(value, f"CAST({signed} AS {target.storage})", target)
        raise self._clash(source, target)

    def _in_range(self, value: Value, sql: str, target: SqlType, attempt: bool) -> Value:
        low, high = _INTEGER_RANGE[target.name]
        if attempt:
            otherwise = "NULL"
        elif value.type.is_integer and target.name in ("tinyint", "smallint"):
            otherwise = f"{LIBRARY}.fail('220', '{target.name}{ERROR_MARK}' || CAST({sql} AS VARCHAR))"
        else:
            words = "expression" if not value.type.is_text else f"{value.type.name} value"
            otherwise = f"{LIBRARY}.fail('8115', '{words}{ERROR_MARK}{target.name}')"
        guarded = f"CASE WHEN {sql} BETWEEN {low} AND {high} THEN {sql} WHEN {sql} IS NOT NULL THEN {otherwise} END"
        return self._made(value, f"CAST({guarded} AS {target.storage})", target, nullable=value.nullable or attempt)

    def _to_bit(self, value: Value, target: SqlType, attempt: bool) -> Value:
        if value.type.is_text:
            word = f"lower(trim({value.sql}))"
            parse = (
                f"CASE WHEN {word} IN ('true', 'yes') THEN 1 WHEN {word} IN ('false', 'no', '') THEN 0 "
                f"WHEN regexp_full_match({word}, '[+-]?[0-9]+') THEN CAST({word} NOT SIMILAR TO '[+-]?0+' AS "
                "INTEGER) END"
            )
            checked = self._checked(value, parse, target, attempt)
            return replace(checked, sql=f"CAST({checked.sql} AS UTINYINT)")
        if value.type.is_number:
            return self._made(value, f"CAST({value.sql} <> 0 AS UTINYINT)", target)
        if value.type.is_binary:
            return self._made(value, f"CAST(hex({value.sql}) NOT SIMILAR TO '0*' AS UTINYINT)", target)
        raise self._clash(value.type, target)

    def _to_decimal(self, value: Value, target: SqlType, attempt: bool) -> Value:
        source, sql = value.type, value.sql
        if source.is_text:
            text = f"trim({sql})"
            if "money" in target.name:
                text = f"CASE WHEN {text} = '' THEN '0' ELSE replace(ltrim({text}, '$'), ',', '') END"
            shape = f"regexp_full_match({text}, '[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)')"
            # Parsed wide and then cast, so that a number too large fails as an overflow, not as bad text.
            wide = f"CASE WHEN {shape} THEN TRY_CAST({text} AS {target.storage}) END"
            return self._checked(value, wide, target, attempt, "8114")
        if source.is_number:
            cast = "TRY_CAST" if attempt else "CAST"
            return self._made(value, f"{cast}({sql} AS {target.storage})", target, nullable=value.nullable or attempt)
        raise self._clash(source, target)

    def _to_float(self, value: Value, target: SqlType, attempt: bool) -> Value:
        if value.type.is_text:
            text = f"trim({value.sql})"
            shape = f"regexp_full_match({text}, '[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?')"
            parse = f"CASE WHEN {text} = '' THEN 0 WHEN {shape} THEN TRY_CAST({text} AS {target.storage}) END"
            return self._checked(value, parse, target, attempt, "8114")
        if value.type.is_number:
            return self._made(value, f"CAST({value.sql} AS {target.storage})", target)
        raise self._clash(value.type, target)
