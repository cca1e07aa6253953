"""Conversions to dates and times, and of values to text in CONVERT's styles."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.conversions import NumberConverter
from devcloud.sqlserver.engine.library import LIBRARY
from devcloud.sqlserver.engine.moments import DATETIME_TICKS_PER_DAY, DAYS_TO_1900, TICKS_PER_DAY, parse_as
from devcloud.sqlserver.engine.values import Value, make_constant
from devcloud.sqlserver.errors import refuse
from devcloud.sqlserver.types import (
    SqlType,
    varchar,
)

_MAX_TICKS: Final = 3_652_059 * TICKS_PER_DAY


class MomentConverter(NumberConverter):
    """Converts to dates and times, and shows values."""

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
        """Return a timestamp as datetime2's ticks: wall clock, rounded to the scale; a time lies on 1900-01-01."""
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
        # DuckDB's least() passes over NULL, and would make of it the last moment that there is.
        return f"CASE WHEN {ticks} IS NOT NULL THEN least({LIBRARY}.rescale({ticks}, {step}), {limit - step}) END"

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
