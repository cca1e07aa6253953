"""Binds functions of dates and times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.expressions import ExpressionBinder
from devcloud.sqlserver.engine.library import LIBRARY
from devcloud.sqlserver.engine.moments import TICKS_PER_DAY, TICKS_PER_MINUTE, TICKS_PER_SECOND
from devcloud.sqlserver.engine.scalar_functions import arguments_of
from devcloud.sqlserver.engine.scope import Scope
from devcloud.sqlserver.engine.values import Value, make_constant
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql.syntax import Call, Column
from devcloud.sqlserver.types import BIGINT, DATE, DATETIME, DATETIME2, DATETIMEOFFSET, INT, SqlType, nvarchar

Bind = Callable[[ExpressionBinder, Call, Scope], Value]

_PARTS: Final = {
    alias: part
    for part, aliases in {
        "year": "year yy yyyy",
        "quarter": "quarter qq q",
        "month": "month mm m",
        "dayofyear": "dayofyear dy y",
        "day": "day dd d",
        "week": "week wk ww",
        "weekday": "weekday dw w",
        "iso_week": "iso_week isowk isoww",
        "hour": "hour hh",
        "minute": "minute mi n",
        "second": "second ss s",
        "millisecond": "millisecond ms",
        "microsecond": "microsecond mcs",
        "nanosecond": "nanosecond ns",
        "tzoffset": "tzoffset tz",
    }.items()
    for alias in aliases.split()
}
_TICKS: Final = {
    "week": 7 * TICKS_PER_DAY,
    "day": TICKS_PER_DAY,
    "dayofyear": TICKS_PER_DAY,
    "weekday": TICKS_PER_DAY,
    "hour": 3600 * TICKS_PER_SECOND,
    "minute": TICKS_PER_MINUTE,
    "second": TICKS_PER_SECOND,
    "millisecond": 10_000,
    "microsecond": 10,
}
_MONTHS: Final = {"year": 12, "quarter": 3, "month": 1}


def _part(call: Call) -> str:
    first = call.arguments[0] if call.arguments else None
    if not (isinstance(first, Column) and len(first.parts) == 1):
        raise make_error(1023, call.name[-1].lower())
    part = _PARTS.get(first.parts[0].lower())
    if part is None:
        raise make_error(155, first.parts[0], call.name[-1].lower())
    return part


def _moment(binder: ExpressionBinder, value: Value) -> Value:
    """Return an argument as a timestamp; text is read as datetime2, numbers as datetime."""
    if value.type.is_moment:
        return value
    if value.type.is_text or value.type.name == "null":
        return binder.convert(value, DATETIME2)
    return binder.convert(value, DATETIME)


def _ticks(binder: ExpressionBinder, value: Value) -> str:
    """Return a timestamp's wall clock in ticks."""
    return binder.convert(value, DATETIME2).sql


def _date(ticks: str) -> str:
    return f"{LIBRARY}.date_of({ticks} // {TICKS_PER_DAY})"


def _datepart(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    part = _part(call)
    if len(call.arguments) != 2:
        raise make_error(174, "datepart", 2)
    value = _moment(binder, binder.bind(call.arguments[1], scope))
    return Value(f"CAST({_extract(binder, part, value)} AS INTEGER)", INT, value.nullable)


def _extract(binder: ExpressionBinder, part: str, value: Value) -> str:
    if part == "tzoffset":
        if value.type.name != "datetimeoffset":
            return f"CASE WHEN {value.sql} IS NOT NULL THEN 0 END"
        return f"({value.sql}).o"
    if value.type.name == "time" and part in (
        "year",
        "quarter",
        "month",
        "day",
        "dayofyear",
        "week",
        "weekday",
        "iso_week",
    ):
        raise make_error(9810, part, "datepart", "time")
    if value.type.name == "date" and part in ("hour", "minute", "second", "millisecond", "microsecond", "nanosecond"):
        raise make_error(9810, part, "datepart", "date")
    ticks = _ticks(binder, value)
    of_day = f"({ticks} % {TICKS_PER_DAY})"
    match part:
        case "hour" | "minute" | "second":
            limit = {"hour": 24, "minute": 60, "second": 60}[part]
            return f"{of_day} // {_TICKS[part]} % {limit}"
        case "millisecond" | "microsecond":
            shown = f"{LIBRARY}.rescale({of_day}, 10000)" if value.type.name == "datetime" else of_day
            return f"{shown} % {TICKS_PER_SECOND} // {_TICKS[part]}"
        case "nanosecond":
            return f"{of_day} % {TICKS_PER_SECOND} * 100"
        case "weekday":
            return f"isodow({_date(ticks)}) % 7 + 1"  # DATEFIRST 7: the week begins on Sunday
        case "week":
            date = _date(ticks)
            return f"(dayofyear({date}) + (isodow(make_date(year({date}), 1, 1)) % 7) + 6) // 7"
        case "iso_week":
            return f"weekofyear({_date(ticks)})"
        case _:
            return f"{part}({_date(ticks)})"


def _named_part(part: str) -> Bind:
    """Bind YEAR, MONTH or DAY."""

    def bind(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
        (value,) = arguments_of(binder, call, scope, 1)
        moment = _moment(binder, value)
        return Value(f"CAST({_extract(binder, part, moment)} AS INTEGER)", INT, value.nullable)

    return bind


def _datename(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    part = _part(call)
    value = _moment(binder, binder.bind(call.arguments[1], scope))
    if part in ("month", "weekday"):
        function = "monthname" if part == "month" else "dayname"
        return Value(f"{function}({_date(_ticks(binder, value))})", nvarchar(30), value.nullable)
    return Value(f"CAST({_extract(binder, part, value)} AS VARCHAR)", nvarchar(30), value.nullable)


def _dateadd(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    part = _part(call)
    if len(call.arguments) != 3:
        raise make_error(174, "dateadd", 3)
    number = binder.convert(binder.bind(call.arguments[1], scope), INT)
    value = binder.bind(call.arguments[2], scope)
    target = value.type if value.type.is_moment else DATETIME
    value = value if value.type.is_moment else binder.convert(value, DATETIME)
    nullable = number.nullable or value.nullable
    if part in ("tzoffset", "iso_week"):
        raise make_error(9810, part, "dateadd", target.name)
    if part in _MONTHS:
        ticks = _ticks(binder, value)
        date = f"CAST({_date(ticks)} + to_months(CAST({number.sql} * {_MONTHS[part]} AS INTEGER)) AS DATE)"
        moved = f"({LIBRARY}.day_of({date}) * CAST({TICKS_PER_DAY} AS BIGINT) + {ticks} % {TICKS_PER_DAY})"
    elif target.name == "time":
        steps = _steps(part, number.sql)
        moved = f"((({value.sql} + {steps}) % {TICKS_PER_DAY} + {TICKS_PER_DAY}) % {TICKS_PER_DAY})"
        return Value(moved, target, nullable)
    else:
        moved = f"({_ticks(binder, value)} + {_steps(part, number.sql)})"
    end = 3_652_059 * TICKS_PER_DAY
    failure = f"{LIBRARY}.fail('517', '{target.name}')"
    checked = (
        f"CASE WHEN {moved} < 0 OR {moved} >= {end} THEN CAST({failure} AS BIGINT) ELSE CAST({moved} AS BIGINT) END"
    )
    if target.name == "datetimeoffset":
        pair = f"{{'t': {checked} - ({value.sql}).o * CAST({TICKS_PER_MINUTE} AS BIGINT), 'o': ({value.sql}).o}}"
        return Value(
            f"CASE WHEN {value.sql} IS NOT NULL AND {number.sql} IS NOT NULL THEN {pair} END", target, nullable
        )
    return binder.convert(Value(checked, DATETIME2, nullable), target)


def _steps(part: str, number: str) -> str:
    if part == "nanosecond":
        return f"(CAST({number} AS BIGINT) // 100)"
    return f"CAST({number} AS BIGINT) * {_TICKS[part]}"


def _datediff(result: SqlType) -> Bind:
    """Bind DATEDIFF or DATEDIFF_BIG: how many boundaries of the part lie between two timestamps."""

    def bind(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
        part = _part(call)
        if len(call.arguments) != 3:
            raise make_error(174, call.name[-1].lower(), 3)
        start, end = (_moment(binder, binder.bind(argument, scope)) for argument in call.arguments[1:])
        first, last = (_instant(binder, value) for value in (start, end))
        count = f"({_ordinal(part, last)} - {_ordinal(part, first)})"
        failure = f"{LIBRARY}.fail('535', '{call.name[-1].lower()}')"
        limit = 2**31 if result is INT else 2**63
        sql = f"CASE WHEN {count} NOT BETWEEN {-limit} AND {limit - 1} THEN {failure} ELSE {count} END"
        return Value(f"CAST({sql} AS {result.storage})", result, start.nullable or end.nullable)

    return bind


def _instant(binder: ExpressionBinder, value: Value) -> str:
    return f"({value.sql}).t" if value.type.name == "datetimeoffset" else _ticks(binder, value)


def _ordinal(part: str, ticks: str) -> str:
    date = _date(ticks)
    match part:
        case "year":
            return f"year({date})"
        case "quarter":
            return f"(year({date}) * 4 + quarter({date}))"
        case "month":
            return f"(year({date}) * 12 + month({date}))"
        case "week" | "iso_week":
            return f"(({ticks} // {TICKS_PER_DAY} + 1) // 7)"  # weeks begin on Sunday, and 0001-01-01 is a Monday
        case "nanosecond":
            return f"(CAST({ticks} AS HUGEINT) * 100)"
        case "tzoffset":
            raise make_error(9810, part, "datediff", "datetimeoffset")
        case _:
            return f"({ticks} // {_TICKS[part]})"


def _clock(kind: SqlType) -> Bind:
    """Bind a clock. The server's time zone is UTC, so that local and UTC clocks agree."""

    def bind(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
        arguments_of(binder, call, scope, 0)
        now = make_constant(binder.environment.now, DATETIME2, binder.parameters)
        return replace(binder.convert(now, kind), nullable=False)

    return bind


def _eomonth(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = arguments_of(binder, call, scope, 1, 2)
    date = binder.convert(_moment(binder, values[0]), DATE).sql
    if len(values) == 2:
        date = f"CAST({date} + to_months({binder.convert(values[1], INT).sql}) AS DATE)"
    return Value(f"last_day({date})", DATE, any(value.nullable for value in values))


def _datefromparts(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = arguments_of(binder, call, scope, 3)
    parts = ", ".join(binder.convert(value, INT).sql for value in values)
    return Value(f"make_date({parts})", DATE, any(value.nullable for value in values))


def _datetime2fromparts(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = arguments_of(binder, call, scope, 8)
    numbers = [binder.convert(value, BIGINT).sql for value in values]
    scale = values[7].constant
    if not isinstance(scale, int):
        raise refuse("DATETIME2FROMPARTS with a precision that is not a constant")
    days = f"{LIBRARY}.day_of(make_date({', '.join(numbers[:3])}))"
    seconds = f"({numbers[3]} * 3600 + {numbers[4]} * 60 + {numbers[5]})"
    sql = f"({days} * {TICKS_PER_DAY} + {seconds} * {TICKS_PER_SECOND} + {numbers[6]} * {10 ** (7 - scale)})"
    return Value(sql, replace(DATETIME2, scale=scale), any(value.nullable for value in values))


def _offset_minutes(binder: ExpressionBinder, value: Value) -> str:
    if value.type.is_text:
        text = str(value.constant) if value.is_constant else ""
        try:
            sign = {"+": 1, "-": -1}[text[0]]
            return str(sign * (int(text[1:3]) * 60 + int(text[4:6])))
        except (KeyError, ValueError, IndexError):
            raise make_error(9812) from None
    return binder.convert(value, INT).sql


def _switchoffset(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    value, zone = arguments_of(binder, call, scope, 2)
    value = binder.convert(value, DATETIMEOFFSET) if value.type.name != "datetimeoffset" else value
    pair = f"{{'t': ({value.sql}).t, 'o': CAST({_offset_minutes(binder, zone)} AS SMALLINT)}}"
    return Value(f"CASE WHEN {value.sql} IS NOT NULL THEN {pair} END", value.type, value.nullable)


def _todatetimeoffset(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    value, zone = arguments_of(binder, call, scope, 2)
    scale = value.type.scale if value.type.name in ("datetime2", "datetimeoffset") else 7
    minutes = _offset_minutes(binder, zone)
    ticks = _ticks(binder, _moment(binder, value))
    pair = f"{{'t': {ticks} - ({minutes}) * CAST({TICKS_PER_MINUTE} AS BIGINT), 'o': CAST({minutes} AS SMALLINT)}}"
    kind = replace(DATETIMEOFFSET, scale=scale)
    return Value(f"CASE WHEN {value.sql} IS NOT NULL THEN {pair} END", kind, value.nullable)


TIME_FUNCTIONS: Final[dict[str, Bind]] = {
    "DATEPART": _datepart,
    "DATENAME": _datename,
    "YEAR": _named_part("year"),
    "MONTH": _named_part("month"),
    "DAY": _named_part("day"),
    "DATEADD": _dateadd,
    "DATEDIFF": _datediff(INT),
    "DATEDIFF_BIG": _datediff(BIGINT),
    "GETDATE": _clock(DATETIME),
    "GETUTCDATE": _clock(DATETIME),
    "CURRENT_TIMESTAMP": _clock(DATETIME),
    "SYSDATETIME": _clock(DATETIME2),
    "SYSUTCDATETIME": _clock(DATETIME2),
    "SYSDATETIMEOFFSET": _clock(DATETIMEOFFSET),
    "CURRENT_DATE": _clock(DATE),
    "EOMONTH": _eomonth,
    "DATEFROMPARTS": _datefromparts,
    "DATETIME2FROMPARTS": _datetime2fromparts,
    "SWITCHOFFSET": _switchoffset,
    "TODATETIMEOFFSET": _todatetimeoffset,
}
