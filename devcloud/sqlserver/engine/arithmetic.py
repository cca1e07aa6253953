"""Operators: arithmetic in SQL Server's types, concatenation, bits."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from devcloud.sqlserver.engine.library import ERROR_MARK, LIBRARY
from devcloud.sqlserver.engine.values import Value, make_constant
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.types import (
    DATETIME,
    FLOAT,
    INT,
    MAX,
    SqlType,
    as_decimal,
    common_type,
    decimal,
    nvarchar,
    varchar,
)

if TYPE_CHECKING:
    pass
from devcloud.sqlserver.engine.value_binder import ValueBinder


class ArithmeticBinder(ValueBinder):
    """Binds operators."""

    def operate(self, operator: str, left: Value, right: Value) -> Value:
        """Bind a binary operator."""
        if left.type.name == "null" and right.type.name == "null":
            return make_constant(None, INT, self.parameters)
        if left.undeclared is not None:
            left = self.convert(left, right.type)
        if right.undeclared is not None:
            right = self.convert(right, left.type)
        if operator == "+" and all(_is_string(value.type) or value.type.name == "null" for value in (left, right)):
            return self._concatenate(left, right)
        if left.type.is_moment or right.type.is_moment:
            return self._shift_moment(operator, left, right)
        if operator in "&|^":
            return self._operate_bits(operator, left, right)
        kind = self._arithmetic_operand(common_type(left.type, right.type))
        if kind is None:
            raise make_error(
                402, left.type.name, right.type.name, {"+": "add", "-": "subtract"}.get(operator, operator)
            )
        return self._calculate(operator, left, right, kind)

    @staticmethod
    def _arithmetic_operand(kind: SqlType) -> SqlType | None:
        if kind.name in ("bit", "null"):
            return INT
        return kind if kind.is_number else None

    def _calculate(self, operator: str, left: Value, right: Value, kind: SqlType) -> Value:
        nullable = left.nullable or right.nullable
        if kind.name in ("decimal", "numeric"):
            return self._calculate_decimal(operator, left, right, nullable)
        first, second = self.convert(left, kind).sql, self.convert(right, kind).sql
        if operator in "/%":
            zero = f"CASE WHEN {second} = 0 THEN {LIBRARY}.fail('8134', '') ELSE {second} END"
            second = f"CAST({zero} AS {kind.storage})"
        if kind.is_float:
            if operator == "%":
                raise make_error(402, left.type.name, right.type.name, "modulo")
            result = f"({first} {operator} {second})"
            overflow = f"{LIBRARY}.fail('8115', 'expression{ERROR_MARK}{kind.name}')"
            sql = f"CASE WHEN isinf({result}) THEN CAST({overflow} AS {kind.storage}) ELSE {result} END"
            return Value(sql, kind, nullable)
        if kind.is_decimal:  # money
            wide = f"(CAST({first} AS DECIMAL(38, 4)) {operator} {second})" if operator in "+-" else None
            if operator == "*":
                wide = f"(CAST({first} AS DECIMAL(19, 4)) * CAST({second} AS DECIMAL(19, 4)))"
            if wide is None:
                units_of = f"CAST({first} * 10000 AS HUGEINT)", f"CAST({second} * 10000 AS HUGEINT)"
                quotient = (
                    f"{units_of[0]} * 10000 // {units_of[1]}" if operator == "/" else f"{units_of[0]} % {units_of[1]}"
                )
                wide = f"(CAST({quotient} AS DECIMAL(38, 0)) * CAST('0.0001' AS DECIMAL(4, 4)))"
            return Value(f"CAST({wide} AS {kind.storage})", kind, nullable)
        if operator == "/":
            return Value(f"CAST(CAST({first} AS HUGEINT) // {second} AS {kind.storage})", kind, nullable)
        if operator == "%":
            return Value(f"({first} % {second})", kind, nullable)
        return Value(f"CAST((CAST({first} AS HUGEINT) {operator} {second}) AS {kind.storage})", kind, nullable)

    def _calculate_decimal(self, operator: str, left: Value, right: Value, nullable: bool) -> Value:
        first, second = self._as_decimal(left), self._as_decimal(right)
        kind = arithmetic_type(operator, first.type, second.type)
        if operator in "+-*":
            if operator == "*":
                sql = f"({first.sql} * {second.sql})"
            else:
                scale = max(first.type.scale, second.type.scale)
                wide = f"DECIMAL(38, {scale})"
                sql = f"(CAST({first.sql} AS {wide}) {operator} CAST({second.sql} AS {wide}))"
            return Value(f"CAST({sql} AS {kind.storage})", kind, nullable)
        s1, s2 = first.type.scale, second.type.scale
        zero = f"CASE WHEN {second.sql} = 0 THEN {LIBRARY}.fail('8134', '') ELSE {second.sql} END"
        divisor = f"CAST({zero} AS {second.type.storage})"
        if operator == "%":
            unit = max(s1, s2)
            sql = (
                f"({_unscaled(first.sql, s1)} * {10 ** (unit - s1)}) % ({_unscaled(divisor, s2)} * {10 ** (unit - s2)})"
            )
            return Value(_scaled(sql, unit, kind), kind, nullable)
        # The quotient in units of the result's last digit; digits beyond it are cut, as SQL Server does.
        shift = kind.scale + s2 - s1
        above, below = (10**shift, 1) if shift >= 0 else (1, 10**-shift)
        sql = f"({_unscaled(first.sql, s1)} * {above}) // ({_unscaled(divisor, s2)} * {below})"
        return Value(_scaled(sql, kind.scale, kind), kind, nullable)

    def _as_decimal(self, value: Value) -> Value:
        """Return an operand as decimal: a whole constant has as many digits as are written."""
        if value.is_constant and isinstance(value.constant, int) and value.type.is_integer:
            return self.convert(value, decimal(max(1, len(str(abs(value.constant))))))
        kind = as_decimal(value.type)
        return self.convert(value, kind if kind is not None else decimal(38, 0))

    def _concatenate(self, left: Value, right: Value) -> Value:
        if left.type.is_binary and right.type.is_binary:
            kind = common_type(left.type, right.type)
        elif left.type.is_text or right.type.is_text:
            kind = common_type(left.type, right.type)
            kind = nvarchar(1, kind.collation) if kind.is_wide else varchar(1, kind.collation)
        else:
            raise make_error(402, left.type.name, right.type.name, "add")
        limit = 4000 if kind.is_wide else 8000
        if MAX in (left.type.length, right.type.length):
            length = MAX
        else:
            length = min(limit, max(1, left.type.length + right.type.length))
        target = replace(kind, length=length)
        sides = []
        for value in (left, right):
            own = target if not value.type.is_text or value.type.is_wide != target.is_wide else value.type
            sides.append(self.convert(value, own).sql)
        joined = f"({sides[0]} || {sides[1]})"
        if length != MAX and left.type.length + right.type.length > limit:
            joined = f"left({joined}, {limit})" if target.is_text else joined
        return Value(joined, target, left.nullable or right.nullable)

    def _shift_moment(self, operator: str, left: Value, right: Value) -> Value:
        moment, number = (left, right) if left.type.is_moment else (right, left)
        if moment.type.name not in ("datetime", "smalldatetime") or operator not in "+-" or not number.type.is_number:
            raise make_error(206, number.type.name, moment.type.name)
        if operator == "-" and right is moment:
            raise make_error(206, number.type.name, moment.type.name)
        at = self.convert(moment, DATETIME).sql
        ticks = f"CAST(round({self.convert(number, FLOAT).sql} * 25920000) AS BIGINT)"
        shifted = Value(f"({at} {operator} {ticks})", DATETIME, moment.nullable or number.nullable)
        return self.convert(shifted, moment.type)

    def _operate_bits(self, operator: str, left: Value, right: Value) -> Value:
        kind = common_type(left.type, right.type)
        if not kind.is_integer:
            raise make_error(402, left.type.name, right.type.name, f"'{operator}'")
        first, second = self.convert(left, kind).sql, self.convert(right, kind).sql
        sql = f"xor({first}, {second})" if operator == "^" else f"({first} {operator} {second})"
        return Value(f"CAST({sql} AS {kind.storage})", kind, left.nullable or right.nullable)


def _is_string(kind: SqlType) -> bool:
    return kind.is_text or kind.is_binary


def _unscaled(sql: str, scale: int) -> str:
    return (
        f"CAST({sql} * CAST('{10**scale}' AS DECIMAL({scale + 1}, 0)) AS HUGEINT)"
        if scale
        else f"CAST({sql} AS HUGEINT)"
    )


def _scaled(sql: str, scale: int, kind: SqlType) -> str:
    """Return a whole number of units as a decimal of that scale."""
    if scale == 0:
        return f"CAST(({sql}) AS {kind.storage})"
    unit = f"CAST('{Decimal(1).scaleb(-scale):f}' AS DECIMAL({scale}, {scale}))"
    return f"CAST((CAST(({sql}) AS DECIMAL({38 - scale}, 0)) * {unit}) AS {kind.storage})"


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
        scale = min(scale, 38 - whole if whole < 32 else 6) if operator in "*/" else max(38 - whole, 0)
        precision = 38
    return decimal(precision, scale)
