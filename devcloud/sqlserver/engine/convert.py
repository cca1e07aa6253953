"""Conversions between SQL Server's types, as DuckDB SQL.

Text constants are converted here and now; everything else becomes an expression that fails as SQL Server does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.library import ERROR_MARK, LIBRARY
from devcloud.sqlserver.engine.moments import DATETIME_TICKS_PER_DAY, DAYS_TO_1900, TICKS_PER_DAY, parse_as
from devcloud.sqlserver.engine.values import Parameters, Value, make_constant, quote_text
from devcloud.sqlserver.errors import SqlError, make_error, refuse
from devcloud.sqlserver.guids import STORAGE_FROM_WIRE, WIRE_FROM_STORAGE, permute_hex
from devcloud.sqlserver.types import (
    FLOAT,
    MAX,
    SqlType,
    as_decimal,
    decimal,
    nvarchar,
    varchar,
)

_INTEGER_BYTES: Final = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
_INTEGER_RANGE: Final = {
    "tinyint": (0, 255),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
_MAX_TICKS: Final = 3_652_059 * TICKS_PER_DAY


class Converter:
    """Converts values within one statement, whose parameters it shares."""

    def __init__(self, parameters: Parameters, undeclared: dict[str, SqlType] | None = None) -> None:
        self.parameters = parameters
        self.undeclared = undeclared

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

    @staticmethod
    def _clash(source: SqlType, target: SqlType) -> SqlError:
        return make_error(529, source.name, target.name)

    @staticmethod
    def _made(value: Value, sql: str, target: SqlType, *, nullable: bool | None = None) -> Value:
        return Value(sql, target, value.nullable if nullable is None else nullable)

    # Numbers

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
            if _INTEGER_BYTES[source.name] < _INTEGER_BYTES[target.name] or source.name == "bit":
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
            width = _INTEGER_BYTES[target.name]
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
                f"WHEN regexp_full_match({word}, '[+-]?[0-9]+') THEN CAST({word} NOT SIMILAR TO '[+-]?0+' AS INTEGER) END"
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

    # Dates and times

    def _to_moment(self, value: Value, target: SqlType, attempt: bool) -> Value:
        if value.type.is_text:
            if value.is_constant and isinstance(value.constant, str):
                return make_constant(parse_as(value.constant, target), target, self.parameters)
            return self._parse_moment(value, target, attempt)
        if value.type.is_number and target.name == "datetime" and value.type.is_integer:
            base = f"CAST({value.sql} AS BIGINT) * {DATETIME_TICKS_PER_DAY}"
            return self._made(value, base, target)
        if not value.type.is_moment:
            raise self._clash(value.type, target)
        if value.type.name == "date" and target.name == "time":
            raise self._clash(value.type, target)
        if value.type.name == target.name == "datetimeoffset":
            return self._rescale_offset(value, target)
        if target.name == "datetimeoffset":
            ticks = self._ticks(value, target.scale)
            return self._made(value, f"{{'t': {ticks}, 'o': CAST(0 AS SMALLINT)}}", target)
        return self._made(value, self._from_ticks(value, target), target)

    def _parse_moment(self, value: Value, target: SqlType, attempt: bool) -> Value:
        prefix = "try " if attempt else ""
        ticks = f"tds_moment({value.sql}, '{prefix}{target}')"
        if target.name == "datetimeoffset":
            offset = f"tds_moment({value.sql}, '{prefix}offset({target.scale})')"
            sql = f"CASE WHEN {ticks} IS NULL THEN NULL ELSE {{'t': {ticks}, 'o': CAST({offset} AS SMALLINT)}} END"
        elif target.name == "date":
            sql = f"{LIBRARY}.date_of({ticks})"
        else:
            sql = f"CAST({ticks} AS {target.storage})"
        return self._made(value, sql, target, nullable=value.nullable or attempt)

    def _ticks(self, value: Value, scale: int = 7) -> str:
        """Return a moment as datetime2's ticks: wall clock, rounded to the scale; a time lies on 1900-01-01."""
        source, sql = value.type, value.sql
        match source.name:
            case "date":
                return f"(CAST({LIBRARY}.day_of({sql}) AS BIGINT) * {TICKS_PER_DAY})"
            case "datetime":
                ticks = f"{LIBRARY}.from_datetime({sql})"
            case "smalldatetime":
                return f"{LIBRARY}.from_smalldatetime({sql})"
            case "time":
                ticks = f"({DAYS_TO_1900 * TICKS_PER_DAY} + {sql})"
            case "datetimeoffset":
                ticks = f"(({sql}).t + ({sql}).o * CAST(600000000 AS BIGINT))"
            case _:
                ticks = sql
        return self._rescaled(ticks, source, scale)

    def _rescaled(self, ticks: str, source: SqlType, scale: int, limit: int = _MAX_TICKS) -> str:
        source_scale = 7 if source.name == "datetime" else source.scale
        if scale >= source_scale:
            return ticks
        step = 10 ** (7 - scale)
        return f"least({LIBRARY}.rescale({ticks}, {step}), {limit - step})"

    def _rescale_offset(self, value: Value, target: SqlType) -> Value:
        if target.scale >= value.type.scale:
            return replace(value, type=target, is_constant=False)
        instant = self._rescaled(f"({value.sql}).t", value.type, target.scale)
        pair = f"{{'t': {instant}, 'o': ({value.sql}).o}}"
        return self._made(value, f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {pair} END", target)

    def _from_ticks(self, value: Value, target: SqlType) -> str:
        match target.name:
            case "date":
                if value.type.name == "time":
                    raise self._clash(value.type, target)
                return f"{LIBRARY}.date_of({self._ticks(value)} // {TICKS_PER_DAY})"
            case "time":
                of_day = f"({self._ticks(value)} % {TICKS_PER_DAY})" if value.type.name != "time" else value.sql
                return self._rescaled(of_day, value.type, target.scale, TICKS_PER_DAY)
            case "datetime":
                return f"{LIBRARY}.to_datetime({self._ticks(value)})"
            case "smalldatetime":
                return f"{LIBRARY}.to_smalldatetime({self._ticks(value)})"
            case _:
                return self._ticks(value, target.scale)

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
        return self._text_to_text(self._made(value, text, varchar(8000)), target)

    def _text_to_text(self, value: Value, target: SqlType) -> Value:
        sql, source = value.sql, value.type
        fits = target.length == MAX or (0 < source.length <= target.length)
        padded = target.name in ("char", "nchar")
        narrowed = source.is_wide and not target.is_wide
        if value.is_constant and isinstance(value.constant, str):
            return make_constant(fit_text(value.constant, target, narrowed), target, self.parameters)
        if narrowed:
            sql = f"{LIBRARY}.narrow({sql})"
        if not fits:
            sql = f"left({sql}, {target.length})"
        if padded:
            sql = f"rpad({sql}, {target.length}, ' ')"
        return self._made(value, sql, target)

    def format(self, value: Value, style: int) -> str:
        """Return SQL that shows a value as CONVERT does in that style (0 is CAST's)."""
        source, sql = value.type, value.sql
        if source.name in ("money", "smallmoney"):
            places = 4 if style == 2 else 2
            return f"CAST(CAST({sql} AS DECIMAL(19, {places})) AS VARCHAR)"
        if source.is_integer or source.is_decimal:
            return f"CAST({sql} AS VARCHAR)"
        if source.is_float:
            return f"tds_float_text({sql}, {style})"
        if source.is_moment:
            return self._format_moment(value, style)
        if source.name == "uniqueidentifier":
            return f"{LIBRARY}.guid_text({sql})"
        if source.is_binary:
            if style in (1, 2):
                return f"'{'0x' if style == 1 else ''}' || hex({sql})"
            return f"tds_decode({sql}, 'cp1252')"
        raise self._clash(source, varchar(30))

    def _format_moment(self, value: Value, style: int) -> str:
        source, sql = value.type, value.sql
        if source.name == "time":
            if style not in (0, 8, 14, 20, 21, 24, 25, 108, 114, 120, 121, 126, 127) or style in (8, 24, 108):
                raise refuse(f"CONVERT of time with style {style}")
            return f"{LIBRARY}.clock_text({sql}, {source.scale if style != 20 and style != 120 else 0})"
        ticks = self._ticks(value)
        day = f"{LIBRARY}.date_text({LIBRARY}.date_of({ticks} // {TICKS_PER_DAY}))"
        if source.name == "date":
            if style in (0, 20, 21, 23, 120, 121, 126, 127):
                return day
            if style == 112:
                return f"replace({day}, '-', '')"
            raise refuse(f"CONVERT of date with style {style}")
        if style == 23:
            return day
        if style == 112:
            return f"replace({day}, '-', '')"
        if source.name in ("datetime", "smalldatetime"):
            return self._format_datetime(source, sql, ticks, day, style)
        scale = 0 if style in (20, 120) else source.scale
        if style not in (0, 20, 21, 25, 120, 121, 126, 127):
            raise refuse(f"CONVERT of {source.name} with style {style}")
        between = "T" if style in (126, 127) else " "
        text = f"{day} || '{between}' || {LIBRARY}.clock_text({ticks} % {TICKS_PER_DAY}, {scale})"
        if source.name == "datetimeoffset":
            gap = "" if style in (126, 127) else " "
            text += f" || '{gap}' || {LIBRARY}.offset_text(({sql}).o)"
        return f"({text})"

    def _format_datetime(self, source: SqlType, sql: str, ticks: str, day: str, style: int) -> str:
        """Format the two old types, whose default style is ``Jan  2 2020  3:04AM``."""
        if style in (0, 100):
            date = f"{LIBRARY}.date_of({ticks} // {TICKS_PER_DAY})"
            hour = f"({ticks} % {TICKS_PER_DAY} // 36000000000)"
            minute = f"({ticks} % {TICKS_PER_DAY} // 600000000 % 60)"
            return (
                f"(left(monthname({date}), 3) || ' ' || lpad(CAST(day({date}) AS VARCHAR), 2, ' ') || ' ' || "
                f"CAST(year({date}) AS VARCHAR) || ' ' || lpad(CAST(({hour} + 11) % 12 + 1 AS VARCHAR), 2, ' ') || ':' "
                f"|| lpad(CAST({minute} AS VARCHAR), 2, '0') || CASE WHEN {hour} < 12 THEN 'AM' ELSE 'PM' END)"
            )
        scale = 3 if style in (21, 25, 121, 126, 127) else 0
        if style not in (20, 21, 25, 120, 121, 126, 127):
            raise refuse(f"CONVERT of {source.name} with style {style}")
        between = "T" if style in (126, 127) else " "
        # 1/300 s ticks are shown to the nearest millisecond: .000, .003, .007.
        shown = f"{LIBRARY}.rescale({ticks}, 10000)" if source.name == "datetime" else ticks
        return f"({day} || '{between}' || {LIBRARY}.clock_text({shown} % {TICKS_PER_DAY}, {scale}))"

    # Binary, uniqueidentifier, sql_variant

    def _to_binary(self, value: Value, target: SqlType, style: int) -> Value:
        source, sql = value.type, value.sql
        if source.is_binary:
            binary = sql
        elif source.is_text and style in (1, 2):
            binary = f"unhex({f'substr({sql}, 3)' if style == 1 else sql})"
        elif source.is_text and source.name != "xml":
            binary = f"tds_encode({sql}, '{'utf-16-le' if source.is_wide else 'cp1252'}')"
        elif source.name == "uniqueidentifier":
            binary = f"unhex({permute_hex(f'hex({sql})', WIRE_FROM_STORAGE)})"
        elif source.is_integer:
            width = _INTEGER_BYTES[source.name]
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


def fit_text(text: str, target: SqlType, narrowed: bool) -> str:
    """Return text cut and padded as CAST does."""
    if narrowed:
        text = text.encode("cp1252", "replace").decode("cp1252")
    if target.length not in (0, MAX):
        text = text[: target.length]
        if target.name in ("char", "nchar"):
            text = text.ljust(target.length)
    return text


def arithmetic_type(operator: str, left: SqlType, right: SqlType) -> SqlType:
    """Return the type of a decimal operation (learn.microsoft.com, "Precision, scale, and length")."""
    first, second = as_decimal(left), as_decimal(right)
    if first is None or second is None:
        return FLOAT
    p1, s1, p2, s2 = first.precision, first.scale, second.precision, second.scale
    match operator:
        case "+" | "-":
            scale = max(s1, s2)
            precision = max(p1 - s1, p2 - s2) + scale + 1
        case "*":
            scale, precision = s1 + s2, p1 + p2 + 1
        case "/":
            scale = max(6, s1 + p2 + 1)
            precision = p1 - s1 + s2 + scale
        case _:
            scale = max(s1, s2)
            precision = min(p1 - s1, p2 - s2) + scale
    if precision > 38:
        whole = precision - scale
        if operator in ("*", "/"):
            scale = min(scale, 38 - whole if whole < 32 else 6)
        else:
            scale = max(38 - whole, 0)
        precision = 38
    return decimal(precision, scale)
