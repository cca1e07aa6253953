"""Binds expressions and conditions: names to columns, operators to types, T-SQL to DuckDB SQL."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from devcloud.sqlserver.engine.convert import Converter, arithmetic_type
from devcloud.sqlserver.engine.library import ERROR_MARK, LIBRARY
from devcloud.sqlserver.engine.patterns import like_to_regex
from devcloud.sqlserver.engine.scope import Environment, Scope
from devcloud.sqlserver.engine.values import Parameters, Value, make_constant, quote_text
from devcloud.sqlserver.errors import SqlError, make_error, refuse
from devcloud.sqlserver.tsql.syntax import (
    AtTimeZone,
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Collate,
    Column,
    Comparison,
    Exists,
    Expression,
    InList,
    InQuery,
    IsNull,
    Like,
    Literal,
    Logical,
    Method,
    Not,
    Query,
    Scalar,
    Star,
    TypeName,
    Unary,
    Variable,
)
from devcloud.sqlserver.types import (
    COLLATIONS,
    DATETIME,
    DATETIMEOFFSET,
    FLOAT,
    INT,
    MAX,
    MONEY,
    NULL,
    SqlType,
    as_decimal,
    common_type,
    decimal,
    make_type,
    nvarchar,
    varbinary,
    varchar,
)

if TYPE_CHECKING:
    from devcloud.sqlserver.engine.queries import BoundQuery

CONDITIONS: Final = (Comparison, Logical, Not, IsNull, InList, InQuery, Between, Like, Exists)
_LOBS: Final = frozenset({"text", "ntext", "image", "xml"})


def declared_type(name: TypeName, default_length: int = 1) -> SqlType:
    """Return the type that a declaration names. Raises SqlError 243 or 2716, or 40510 for types not spoken."""
    try:
        kind = make_type(name.name, name.arguments, default_length)
    except ValueError as error:
        raise SqlError(2750, f"Column or parameter #1: {error} for data type {name.name}.") from None
    if kind is None:
        if name.name in ("hierarchyid", "geometry", "geography", "json", "vector"):
            raise refuse(f"type {name.name}")
        raise SqlError(243, f"Type {name.name} is not a defined system type.")
    return kind


class ExpressionBinder:
    """Binds the expressions of one statement."""

    def __init__(self, environment: Environment, undeclared: dict[str, SqlType] | None = None) -> None:
        self.environment = environment
        self.parameters = Parameters()
        self.undeclared = undeclared
        self.converter = Converter(self.parameters, undeclared)

    def bind_query(self, query: Query, outer: Scope | None) -> BoundQuery:
        """Bind a query; QueryBinder does it."""
        raise NotImplementedError

    def call_function(self, call: Call, scope: Scope) -> Value:
        """Bind a function call; FunctionBinder does it."""
        raise NotImplementedError

    def constant(self, value: int | str | Decimal | float | bytes | None, kind: SqlType) -> Value:
        """Return a constant."""
        return make_constant(value, kind, self.parameters)

    def convert(self, value: Value, target: SqlType) -> Value:
        """Return a value as another type, as T-SQL converts implicitly."""
        return self.converter.convert(value, target)

    # Values

    def bind(self, expression: Expression, scope: Scope) -> Value:
        """Bind an expression to a value. Raises SqlError for what is wrong with it."""
        if scope.grouping is not None and not scope.inside_aggregate:
            for grouped in scope.grouping:
                if grouped.expression == expression:
                    return grouped.value
        match expression:
            case Literal():
                return self._bind_literal(expression)
            case Variable():
                return self._bind_variable(expression)
            case Column():
                return self._bind_column(expression, scope)
            case Unary():
                return self._bind_unary(expression, scope)
            case Binary():
                left, right = self.bind(expression.left, scope), self.bind(expression.right, scope)
                return self.operate(expression.operator, left, right)
            case Case():
                return self._bind_case(expression, scope)
            case Cast():
                return self._bind_cast(expression, scope)
            case Call():
                return self.call_function(expression, scope)
            case Scalar():
                return self._bind_scalar(expression, scope)
            case Collate():
                return self._bind_collate(expression, scope)
            case AtTimeZone():
                return self._bind_time_zone(expression, scope)
            case Method():
                raise refuse(f"method {expression.name}")
            case Star():
                raise make_error(102, "*")
            case _:
                raise make_error(102, "=")

    def _bind_literal(self, literal: Literal) -> Value:
        value = literal.value
        match value:
            case None:
                return make_constant(None, NULL, self.parameters)
            case str():
                # An empty string is of length 1, for no type has length 0.
                make = nvarchar if literal.national else varchar
                if not literal.national:
                    value = value.encode("cp1252", "replace").decode("cp1252")
                return self.constant(value, make(max(1, units(value) if literal.national else len(value))))
            case bytes():
                return self.constant(value, varbinary(max(1, len(value))))
            case Decimal():
                if literal.money:
                    return self.constant(value, MONEY)
                _, digits, exponent = value.as_tuple()
                scale = -int(exponent)
                return self.constant(value, decimal(max(len(digits), scale, 1), scale))
            case int():
                if -(2**31) <= value < 2**31:
                    return self.constant(value, INT)
                return self.constant(Decimal(value), decimal(len(str(abs(value)))))
            case float():
                return self.constant(value, FLOAT)

    def _bind_variable(self, variable: Variable) -> Value:
        if variable.name.startswith("@@"):
            found = self.environment.global_variable(variable.name.lower())
        else:
            found = self.environment.variables.get(variable.name.lower())
            if found is None and self.undeclared is not None:
                return replace(make_constant(None, NULL, self.parameters), undeclared=variable.name)
        if found is None:
            raise make_error(137, variable.name)
        return make_constant(found[1], found[0], self.parameters)

    def _bind_column(self, column: Column, scope: Scope) -> Value:
        value, owner = scope.resolve(column.parts)
        if owner.grouping is not None and not owner.inside_aggregate:
            for grouped in owner.grouping:
                if grouped.raw == value.sql:
                    return grouped.value
            raise make_error(8120, ".".join(column.parts))
        return value

    def _bind_unary(self, unary: Unary, scope: Scope) -> Value:
        operand = self.bind(unary.operand, scope)
        if unary.operator == "~":
            if not operand.type.is_integer:
                raise make_error(402, operand.type.name, operand.type.name, "'~'")
            sql = f"(1 - {operand.sql})" if operand.type.name == "bit" else f"(~{operand.sql})"
            if operand.type.name == "tinyint":
                sql = f"(255 - {operand.sql})"
            return Value(f"CAST({sql} AS {operand.type.storage})", operand.type, operand.nullable)
        if not operand.type.is_number:
            if operand.type.name == "null":
                return operand
            raise make_error(402, operand.type.name, operand.type.name, "'-'")
        kind = INT if operand.type.name in ("bit", "tinyint") else operand.type
        return Value(f"(-CAST({operand.sql} AS {kind.storage}))", kind, operand.nullable)

    def operate(self, operator: str, left: Value, right: Value) -> Value:
        """Bind a binary operator."""
        if left.type.name == "null" and right.type.name == "null":
            return make_constant(None, INT, self.parameters)
        if left.undeclared is not None:
            left = self.convert(left, right.type)
        if right.undeclared is not None:
            right = self.convert(right, left.type)
        if operator == "+" and (left.type.is_text or left.type.is_binary or left.type.name == "null"):
            if right.type.is_text or right.type.is_binary or (right.type.name == "null" and left.type.name != "null"):
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

    def _bind_case(self, case: Case, scope: Scope) -> Value:
        tests: list[str] = []
        results: list[Value] = []
        for test, result in case.branches:
            condition = test if case.operand is None else Comparison("=", case.operand, test)
            tests.append(self.bind_condition(condition, scope))
            results.append(self.bind(result, scope))
        default = None if case.default is None else self.bind(case.default, scope)
        return self.choose(tests, results, default)

    def choose(self, tests: list[str], results: list[Value], default: Value | None) -> Value:
        """Return CASE WHEN test THEN result … ELSE default END, in the type of highest precedence."""
        kind = NULL
        for value in (*results, *(() if default is None else (default,))):
            kind = common_type(kind, value.type)
        kind = INT if kind.name == "null" else kind
        branches = " ".join(
            f"WHEN {test} THEN {self.convert(result, kind).sql}" for test, result in zip(tests, results, strict=True)
        )
        otherwise = f"CAST(NULL AS {kind.storage})" if default is None else self.convert(default, kind).sql
        nullable = default is None or default.nullable or any(result.nullable for result in results)
        return Value(f"CASE {branches} ELSE {otherwise} END", kind, nullable)

    def _bind_cast(self, cast: Cast, scope: Scope) -> Value:
        kind = declared_type(cast.type, 30)
        operand_expression = cast.operand
        if isinstance(operand_expression, Method):
            raise refuse(f"method {operand_expression.name}")
        operand = self.bind(operand_expression, scope)
        style = None
        if cast.style is not None:
            bound = self.bind(cast.style, scope)
            if not (bound.is_constant and isinstance(bound.constant, int)):
                raise refuse("CONVERT with a style that is not a constant")
            style = bound.constant
        if kind.is_text and operand.type.is_text:
            kind = replace(kind, collation=operand.type.collation)
        if operand.undeclared is not None:
            return self.convert(operand, kind)
        return self.converter.convert(operand, kind, style, cast.attempt)

    def _bind_scalar(self, scalar: Scalar, scope: Scope) -> Value:
        bound = self.bind_query(scalar.query, scope)
        if len(bound.columns) != 1:
            raise SqlError(
                116,
                "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.",
            )
        return Value(f"({bound.sql})", bound.columns[0].type, True)

    def _bind_collate(self, collate: Collate, scope: Scope) -> Value:
        operand = self.bind(collate.operand, scope)
        name = COLLATIONS.get(collate.collation.lower())
        if collate.collation.lower() == "database_default":
            name = COLLATIONS["sql_latin1_general_cp1_ci_as"]
        if name is None:
            raise make_error(448, collate.collation)
        if not operand.type.is_text:
            raise SqlError(447, f"Expression type {operand.type.name} is invalid for COLLATE clause.")
        return replace(operand, type=replace(operand.type, collation=name))

    def _bind_time_zone(self, node: AtTimeZone, scope: Scope) -> Value:
        zone = self.bind(node.zone, scope)
        if not (isinstance(zone.constant, str) and zone.constant.upper() == "UTC"):
            raise refuse("AT TIME ZONE other than 'UTC'")
        operand = self.bind(node.operand, scope)
        target = replace(DATETIMEOFFSET, scale=operand.type.scale if "2" in operand.type.name else 7)
        if operand.type.name == "datetimeoffset":
            target = operand.type
            sql = f"CASE WHEN {operand.sql} IS NULL THEN NULL ELSE {{'t': ({operand.sql}).t, 'o': CAST(0 AS SMALLINT)}} END"
            return Value(sql, target, operand.nullable)
        return self.convert(operand, target)

    # Conditions

    def bind_condition(self, expression: Expression, scope: Scope) -> str:
        """Bind a condition to DuckDB SQL of three-valued logic. Raises SqlError 4145 where a value stands alone."""
        match expression:
            case Logical():
                left, right = self.bind_condition(expression.left, scope), self.bind_condition(expression.right, scope)
                return f"({left} {expression.operator} {right})"
            case Not():
                return f"(NOT {self.bind_condition(expression.operand, scope)})"
            case Comparison():
                left_value, right_value = self.bind(expression.left, scope), self.bind(expression.right, scope)
                return self.compare(expression.operator, left_value, right_value)
            case IsNull():
                operand = self.bind(expression.operand, scope)
                return f"({operand.sql} IS {'NOT ' if expression.negated else ''}NULL)"
            case Between():
                operand = self.bind(expression.operand, scope)
                low = self.compare(">=", operand, self.bind(expression.low, scope))
                high = self.compare("<=", operand, self.bind(expression.high, scope))
                return f"({'NOT ' if expression.negated else ''}({low} AND {high}))"
            case InList():
                return self._bind_in_list(expression, scope)
            case InQuery():
                return self._bind_in_query(expression, scope)
            case Like():
                return self._bind_like(expression, scope)
            case Exists():
                return f"EXISTS ({self.bind_query(expression.query, scope).sql})"
            case _:
                raise make_error(4145, "the expression")

    def compare(self, operator: str, left: Value, right: Value) -> str:
        """Return the comparison of two values in their common type."""
        if left.undeclared is not None:
            left = self.convert(left, right.type)
        if right.undeclared is not None:
            right = self.convert(right, left.type)
        if left.type.name == "null" or right.type.name == "null":
            return "CAST(NULL AS BOOLEAN)"
        kind = self.comparison_type(left.type, right.type)
        first, second = (self.sort_key(self.convert(value, kind)) for value in (left, right))
        return f"({first} {operator} {second})"

    @staticmethod
    def comparison_type(left: SqlType, right: SqlType) -> SqlType:
        """Return the type in which two values are compared. Raises SqlError 306 or 402."""
        for kind in (left, right):
            if kind.name in _LOBS:
                raise SqlError(
                    306,
                    "The text, ntext, and image data types cannot be compared or sorted, except when using IS NULL or LIKE "
                    "operator.",
                )
        kind = common_type(left, right)
        if (left.is_moment and right.is_number) or (right.is_moment and left.is_number and kind.name == "date"):
            raise make_error(206, left.name, right.name)
        if kind.name in ("char", "nchar"):  # comparing pads anyway; padding here would cost
            kind = replace(kind, name="varchar" if kind.name == "char" else "nvarchar")
        if kind.name == "binary":
            kind = replace(kind, name="varbinary")
        return kind

    def sort_key(self, value: Value) -> str:
        """Return what DuckDB must compare so that the order is SQL Server's."""
        kind = value.type
        if kind.name == "datetimeoffset":
            return f"({value.sql}).t"
        if kind.name == "sql_variant":
            raise refuse("comparison of sql_variant")
        if kind.is_text:
            function = "fold" if kind.is_folded else "trim_end"
            if value.is_constant and isinstance(value.constant, str):
                text = value.constant.rstrip(" ")
                return make_constant(text.lower() if kind.is_folded else text, kind, self.parameters).sql
            return f"{LIBRARY}.{function}({value.sql})"
        return value.sql

    def _bind_in_list(self, node: InList, scope: Scope) -> str:
        operand = self.bind(node.operand, scope)
        tests = [self.compare("=", operand, self.bind(item, scope)) for item in node.items]
        return f"({'NOT ' if node.negated else ''}({' OR '.join(tests)}))"

    def _bind_in_query(self, node: InQuery, scope: Scope) -> str:
        operand = self.bind(node.operand, scope)
        bound = self.bind_query(node.query, scope)
        if len(bound.columns) != 1:
            raise SqlError(
                116,
                "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.",
            )
        column = bound.columns[0]
        kind = self.comparison_type(operand.type, column.type)
        left = self.sort_key(self.convert(operand, kind))
        right = self.sort_key(self.convert(Value('q."c1"', column.type, column.nullable), kind))
        return f"({left} {'NOT ' if node.negated else ''}IN (SELECT {right} FROM ({bound.sql}) AS q))"

    def _bind_like(self, node: Like, scope: Scope) -> str:
        operand, pattern = self.bind(node.operand, scope), self.bind(node.pattern, scope)
        escape = None if node.escape is None else self.bind(node.escape, scope).constant
        if escape is not None and (not isinstance(escape, str) or len(escape) != 1):
            raise SqlError(506, 'The invalid escape character "" was specified in a LIKE predicate.')
        text = operand if operand.type.is_text else self.convert(operand, varchar(8000))
        if not pattern.type.is_text or not pattern.is_constant:
            raise refuse("LIKE with a pattern that is not a constant or a variable")
        if pattern.constant is None:
            return "CAST(NULL AS BOOLEAN)"
        regex = quote_text(like_to_regex(str(pattern.constant), escape if isinstance(escape, str) else None))
        options = "is" if operand.type.is_folded or not operand.type.is_text else "s"
        return f"({'NOT ' if node.negated else ''}regexp_full_match({text.sql}, {regex}, '{options}'))"


def units(text: str) -> int:
    """Return the UTF-16 units of a text."""
    return len(text.encode("utf-16-le")) // 2


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
