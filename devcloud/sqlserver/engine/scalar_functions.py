"""Binds scalar functions of numbers, text and NULLs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.expressions import ExpressionBinder
from devcloud.sqlserver.engine.library import LIBRARY
from devcloud.sqlserver.engine.scope import Scope
from devcloud.sqlserver.engine.values import Value, make_constant, quote_text
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.guids import STORAGE_FROM_TEXT, permute_hex
from devcloud.sqlserver.tsql.syntax import Call
from devcloud.sqlserver.types import (
    BIGINT,
    FLOAT,
    INT,
    MAX,
    NULL,
    UNIQUEIDENTIFIER,
    SqlType,
    common_type,
    nvarchar,
    varbinary,
    varchar,
)

Bind = Callable[[ExpressionBinder, Call, Scope], Value]


def arguments_of(
    binder: ExpressionBinder, call: Call, scope: Scope, least: int, most: int | None = None
) -> list[Value]:
    """Return the bound arguments of a call. Raises SqlError 174 for a wrong number of them."""
    most = least if most is None else most
    if not least <= len(call.arguments) <= most or call.star or call.distinct:
        raise make_error(174, call.name[-1].lower(), least if least == most else f"{least} to {most}")
    return [binder.bind(argument, scope) for argument in call.arguments]


def _nullable(*values: Value) -> bool:
    return any(value.nullable for value in values)


def _text(binder: ExpressionBinder, value: Value) -> Value:
    if value.type.is_text:
        return value
    return binder.convert(value, nvarchar(4000) if value.undeclared else varchar(8000))


def _wide(first: Value, *others: Value) -> bool:
    return any(value.type.is_wide for value in (first, *others))


def _int(binder: ExpressionBinder, value: Value) -> str:
    return binder.convert(value, INT).sql


# NULLs and choices


def _isnull(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    first, second = arguments_of(binder, call, scope, 2)
    kind = second.type if first.type.name == "null" else first.type
    left, right = binder.convert(first, kind), binder.convert(second, kind)
    return Value(f"COALESCE({left.sql}, {right.sql})", kind, first.nullable and second.nullable)


def _coalesce(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = [binder.bind(argument, scope) for argument in call.arguments]
    kind = NULL
    for value in values:
        kind = common_type(kind, value.type)
    if kind.name == "null":
        kind = INT
    parts = ", ".join(binder.convert(value, kind).sql for value in values)
    return Value(f"COALESCE({parts})", kind, all(value.nullable for value in values))


def _nullif(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    first, second = arguments_of(binder, call, scope, 2)
    return Value(f"CASE WHEN {binder.compare('=', first, second)} THEN NULL ELSE {first.sql} END", first.type)


def _iif(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    if len(call.arguments) != 3:
        raise make_error(174, "iif", 3)
    test = binder.bind_condition(call.arguments[0], scope)
    then, otherwise = (binder.bind(argument, scope) for argument in call.arguments[1:])
    return binder.choose([test], [then], otherwise)


# Numbers


def _numeric(function: str, result: SqlType | None = None) -> Bind:
    """Bind a function of one number that keeps its type, or has ``result``."""

    def bind(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
        (value,) = arguments_of(binder, call, scope, 1)
        if value.type.is_text or value.type.name == "null":
            value = binder.convert(value, FLOAT)
        if not value.type.is_number:
            raise make_error(206, value.type.name, "float")
        kind = result or (INT if value.type.name in ("bit", "tinyint", "smallint") else value.type)
        if result is not None:
            value = binder.convert(value, result)
        elif kind.is_decimal and function in ("ceil", "floor"):
            kind = replace(kind, scale=0) if "money" not in kind.name else kind
        return Value(f"CAST({function}({value.sql}) AS {kind.storage})", kind, value.nullable)

    return bind


def _round(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = arguments_of(binder, call, scope, 2, 3)
    value, places = values[0], values[1]
    if value.type.is_text:
        value = binder.convert(value, FLOAT)
    kind = INT if value.type.name in ("bit", "tinyint", "smallint") else value.type
    if not kind.is_number:
        raise make_error(206, kind.name, "float")
    cut = len(values) == 3 and values[2].constant != 0
    digits = places.constant if places.is_constant and isinstance(places.constant, int) else None
    if cut:
        power = f"power(10, {_int(binder, places)})"
        sql = f"trunc(CAST({value.sql} AS DOUBLE) * {power}) / {power}"
        if digits is not None and kind.is_decimal:
            step = 10 ** max(kind.scale - digits, 0)
            unscaled = f"CAST({value.sql} * CAST('{10**kind.scale}' AS DECIMAL({kind.scale + 1}, 0)) AS HUGEINT)"
            sql = f"({unscaled} // {step} * {step}) / {10**kind.scale}"
    else:
        sql = f"round({value.sql}, {_int(binder, places)})"
    return Value(f"CAST({sql} AS {kind.storage})", kind, _nullable(*values))


def _power(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    base, exponent = arguments_of(binder, call, scope, 2)
    kind = base.type if base.type.is_number and base.type.name not in ("bit", "tinyint", "smallint") else INT
    if base.type.is_text:
        kind = FLOAT
    sql = f"power({binder.convert(base, FLOAT).sql}, {binder.convert(exponent, FLOAT).sql})"
    return Value(f"CAST({sql} AS {kind.storage})", kind, _nullable(base, exponent))


# Text


def _len(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    (value,) = arguments_of(binder, call, scope, 1)
    kind = BIGINT if value.type.length == MAX else INT
    text = _text(binder, value)
    return Value(f"CAST({LIBRARY}.units(rtrim({text.sql}, ' ')) AS {kind.storage})", kind, value.nullable)


def _datalength(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    (value,) = arguments_of(binder, call, scope, 1)
    kind = BIGINT if value.type.length == MAX else INT
    if value.type.is_text:
        per_unit = 2 if value.type.is_wide else 1
        length = f"{LIBRARY}.units({value.sql}) * {per_unit}"
    elif value.type.is_binary:
        length = f"octet_length({value.sql})"
    else:
        width = 0 if value.type.name == "null" else value.type.max_length
        length = f"CASE WHEN {value.sql} IS NOT NULL THEN {width} END"
    return Value(f"CAST({length} AS {kind.storage})", kind, value.nullable)


def _side(function: str) -> Bind:
    def bind(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
        value, count = arguments_of(binder, call, scope, 2)
        text = _text(binder, value)
        amount = _int(binder, count)
        guarded = f"CASE WHEN {amount} < 0 THEN {LIBRARY}.fail('537', '') ELSE {amount} END"
        sql = f"{function}({text.sql}, CAST({guarded} AS INTEGER))"
        kind = _varying(text.type)
        if isinstance(count.constant, int) and kind.length != MAX:
            kind = replace(kind, length=max(1, min(kind.length, count.constant)))
        return Value(sql, kind, _nullable(value, count))

    return bind


def _varying(kind: SqlType) -> SqlType:
    length = kind.length or 8000
    make = nvarchar if kind.is_wide else varchar
    return _max_text(kind) if length == MAX else make(length, kind.collation)


def _max_text(kind: SqlType) -> SqlType:
    """Return nvarchar(max) or varchar(max)."""
    return replace(nvarchar(1) if kind.is_wide else varchar(1), length=MAX, collation=kind.collation)


def _substring(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    value, start, count = arguments_of(binder, call, scope, 3)
    first, amount = _int(binder, start), _int(binder, count)
    # SUBSTRING('abc', 0, 2) is 'a': characters before the first one count.
    begin = f"greatest({first}, 1)"
    length = f"greatest({first} + {amount} - {begin}, 0)"
    if value.type.is_binary:
        digits = f"substr(hex({value.sql}), {begin} * 2 - 1, {length} * 2)"
        return Value(f"unhex({digits})", varbinary(value.type.length), _nullable(value, start, count))
    text = _text(binder, value)
    sql = f"CASE WHEN {amount} < 0 THEN {LIBRARY}.fail('537', '') ELSE substr({text.sql}, {begin}, {length}) END"
    return Value(sql, _varying(text.type), _nullable(value, start, count))


def _charindex(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = arguments_of(binder, call, scope, 2, 3)
    needle, hay = _text(binder, values[0]), _text(binder, values[1])
    folded = needle.type.is_folded and hay.type.is_folded
    needle_sql, hay_sql = (f"lower({v.sql})" if folded else v.sql for v in (needle, hay))
    kind = BIGINT if hay.type.length == MAX else INT
    if len(values) == 3:
        start = f"greatest({_int(binder, values[2])}, 1)"
        rest = f"instr(substr({hay_sql}, {start}), {needle_sql})"
        sql = f"CASE WHEN {rest} = 0 THEN 0 ELSE {rest} + {start} - 1 END"
    else:
        sql = f"instr({hay_sql}, {needle_sql})"
    return Value(f"CAST({sql} AS {kind.storage})", kind, _nullable(*values))


def _replace(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = [_text(binder, value) for value in arguments_of(binder, call, scope, 3)]
    kind = (
        _max_text(values[0].type) if values[0].type.length == MAX else (nvarchar if _wide(*values) else varchar)(8000)
    )
    if kind.is_wide and kind.length != MAX:
        kind = nvarchar(4000)
    text, old, new = values
    if (
        text.type.is_folded
        and old.is_constant
        and isinstance(old.constant, str)
        and old.constant.lower() != old.constant.upper()
    ):
        pattern = quote_text(
            "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else f"\\x{{{ord(c):X}}}" for c in old.constant)
        )
        escaped = f"replace({new.sql}, '\\', '\\\\')"
        return Value(f"regexp_replace({text.sql}, {pattern}, {escaped}, 'g')", kind, _nullable(*values))
    return Value(f"replace({text.sql}, {old.sql}, {new.sql})", kind, _nullable(*values))


def _text_function(template: str, *, keep_length: bool = True) -> Bind:
    """Bind a function of one text; ``{}`` stands for it."""

    def bind(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
        (value,) = arguments_of(binder, call, scope, 1)
        text = _text(binder, value)
        return Value(template.format(text.sql), _varying(text.type) if keep_length else text.type, value.nullable)

    return bind


def _concat(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = [_text(binder, binder.bind(argument, scope)) for argument in call.arguments]
    if len(values) < 2:
        raise make_error(174, "concat", "2 to 254")
    kind = _joined_type(values)
    parts = ", ".join(value.sql for value in values)
    return Value(f"concat({parts})", kind, False)


def _concat_ws(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = [_text(binder, binder.bind(argument, scope)) for argument in call.arguments]
    if len(values) < 3:
        raise make_error(174, "concat_ws", "3 to 254")
    parts = ", ".join(value.sql for value in values)
    return Value(f"concat_ws({parts})", _joined_type(values), False)


def _joined_type(values: list[Value]) -> SqlType:
    make = nvarchar if _wide(values[0], *values[1:]) else varchar
    if any(value.type.length == MAX for value in values):
        return replace(make(1), length=MAX)
    limit = 4000 if make is nvarchar else 8000
    return make(min(limit, max(1, sum(value.type.length for value in values))))


def _replicate(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    value, count = arguments_of(binder, call, scope, 2)
    text = _text(binder, value)
    kind = _max_text(text.type) if text.type.length == MAX else (nvarchar(4000) if text.type.is_wide else varchar(8000))
    sql = f"repeat({text.sql}, {_int(binder, count)})"
    if kind.length != MAX:
        sql = f"left({sql}, {kind.length})"
    return Value(f"CASE WHEN {_int(binder, count)} >= 0 THEN {sql} END", kind)


def _space(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    (count,) = arguments_of(binder, call, scope, 1)
    return Value(f"repeat(' ', {_int(binder, count)})", varchar(8000), count.nullable)


def _stuff(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    value, start, count, insert = arguments_of(binder, call, scope, 4)
    text, other = _text(binder, value), _text(binder, insert)
    first, amount = _int(binder, start), _int(binder, count)
    sql = (
        f"CASE WHEN {first} BETWEEN 1 AND length({text.sql}) AND {amount} >= 0 THEN left({text.sql}, {first} - 1) || "
        f"coalesce({other.sql}, '') || substr({text.sql}, {first} + {amount}) END"
    )
    return Value(sql, (nvarchar(4000) if _wide(text, other) else varchar(8000)))


def _quotename(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    values = arguments_of(binder, call, scope, 1, 2)
    mark = values[1].constant if len(values) == 2 else "["
    opening, closing = {'"': ('"', '"'), "'": ("'", "'")}.get(str(mark), ("[", "]"))
    text = _text(binder, values[0])
    quoted = "''''" if closing == "'" else f"'{closing}'"
    doubled = f"replace({text.sql}, {quoted}, {quoted} || {quoted})"
    first = "''''" if opening == "'" else f"'{opening}'"
    return Value(f"({first} || {doubled} || {quoted})", nvarchar(258), values[0].nullable)


def _character(wide: bool) -> Bind:
    def bind(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
        (value,) = arguments_of(binder, call, scope, 1)
        code = _int(binder, value)
        if value.is_constant and isinstance(value.constant, int):
            kind = SqlType("nchar" if wide else "char", length=1)
            valid = 0 <= value.constant < (0x10000 if wide else 256)
            text = (
                chr(value.constant)
                if wide and valid
                else bytes([value.constant]).decode("cp1252", "replace")
                if valid
                else None
            )
            return make_constant(text, kind, binder.parameters)
        limit = 65_535 if wide else 127
        sql = f"CASE WHEN {code} BETWEEN 0 AND {limit} THEN chr({code}) END"
        return Value(sql, SqlType("nchar" if wide else "char", length=1))

    return bind


def _code(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    (value,) = arguments_of(binder, call, scope, 1)
    return Value(f"CAST(unicode({_text(binder, value).sql}) AS INTEGER)", INT, value.nullable)


# Others


def _newid(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    arguments_of(binder, call, scope, 0)
    if not scope.sources:
        digits = uuid.uuid4().bytes
        return make_constant(bytes(digits[place] for place in STORAGE_FROM_TEXT), UNIQUEIDENTIFIER, binder.parameters)
    fresh = "replace(CAST(uuid() AS VARCHAR), '-', '')"
    # The last group alone of a second uuid() would do, but each permuted part must come from the same one.
    permuted = permute_hex("h", STORAGE_FROM_TEXT)
    return Value(f"unhex(list_transform([{fresh}], lambda h: {permuted})[1])", UNIQUEIDENTIFIER, False)


def _hashbytes(binder: ExpressionBinder, call: Call, scope: Scope) -> Value:
    algorithm, value = arguments_of(binder, call, scope, 2)
    name = str(algorithm.constant).upper()
    if name not in ("SHA2_256", "MD5", "SHA1"):
        raise make_error(40510, f"HASHBYTES with {name}")
    blob = value if value.type.is_binary else binder.convert(value, replace(varbinary(1), length=MAX))
    function = {"SHA2_256": "sha256", "MD5": "md5", "SHA1": "sha1"}[name]
    return Value(f"unhex({function}({blob.sql}))", varbinary(8000), value.nullable)


SCALARS: Final[dict[str, Bind]] = {
    "ISNULL": _isnull,
    "COALESCE": _coalesce,
    "NULLIF": _nullif,
    "IIF": _iif,
    "ABS": _numeric("abs"),
    "SIGN": _numeric("sign"),
    "CEILING": _numeric("ceil"),
    "FLOOR": _numeric("floor"),
    "SQRT": _numeric("sqrt", FLOAT),
    "EXP": _numeric("exp", FLOAT),
    "LOG": _numeric("ln", FLOAT),
    "ROUND": _round,
    "POWER": _power,
    "LEN": _len,
    "DATALENGTH": _datalength,
    "LEFT": _side("left"),
    "RIGHT": _side("right"),
    "SUBSTRING": _substring,
    "CHARINDEX": _charindex,
    "REPLACE": _replace,
    "UPPER": _text_function("upper({})"),
    "LOWER": _text_function("lower({})"),
    "LTRIM": _text_function("ltrim({}, ' ')"),
    "RTRIM": _text_function("rtrim({}, ' ')"),
    "TRIM": _text_function("trim({}, ' ')"),
    "REVERSE": _text_function("reverse({})"),
    "CONCAT": _concat,
    "CONCAT_WS": _concat_ws,
    "REPLICATE": _replicate,
    "SPACE": _space,
    "STUFF": _stuff,
    "QUOTENAME": _quotename,
    "CHAR": _character(wide=False),
    "NCHAR": _character(wide=True),
    "ASCII": _code,
    "UNICODE": _code,
    "NEWID": _newid,
    "HASHBYTES": _hashbytes,
}
