"""Binds expressions and conditions: names to columns, operators to types, T-SQL to DuckDB SQL."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from devcloud.sqlserver.engine.arithmetic import ArithmeticBinder
from devcloud.sqlserver.engine.convert import units
from devcloud.sqlserver.engine.outputs import BoundQuery
from devcloud.sqlserver.engine.patterns import like_to_regex
from devcloud.sqlserver.engine.scope import Scope
from devcloud.sqlserver.engine.value_binder import declared_type
from devcloud.sqlserver.engine.values import Value, make_constant, quote_text
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql import syntax
from devcloud.sqlserver.types import (
    COLLATIONS,
    DATETIMEOFFSET,
    FLOAT,
    INT,
    MONEY,
    NULL,
    decimal,
    nvarchar,
    varbinary,
    varchar,
)


class ExpressionBinder(ArithmeticBinder):
    """Binds the expressions of one statement."""

    def bind_query(self, query: syntax.Query, outer: Scope | None) -> BoundQuery:
        """Bind a query; QueryBinder does it."""
        raise NotImplementedError

    def call_function(self, call: syntax.Call, scope: Scope) -> Value:
        """Bind a function call; FunctionBinder does it."""
        raise NotImplementedError

    # Values

    def bind(self, expression: syntax.Expression, scope: Scope) -> Value:
        """Bind an expression to a value. Raises SqlError for what is wrong with it."""
        if scope.grouping is not None and not scope.inside_aggregate:
            for grouped in scope.grouping:
                if grouped.expression == expression:
                    return grouped.value
        match expression:
            case syntax.Literal():
                return self._bind_literal(expression)
            case syntax.Variable():
                return self._bind_variable(expression)
            case syntax.Column():
                return self._bind_column(expression, scope)
            case syntax.Unary():
                return self._bind_unary(expression, scope)
            case syntax.Binary():
                left, right = self.bind(expression.left, scope), self.bind(expression.right, scope)
                return self.operate(expression.operator, left, right)
            case syntax.Case():
                return self._bind_case(expression, scope)
            case syntax.Cast():
                return self._bind_cast(expression, scope)
            case syntax.Call():
                return self.call_function(expression, scope)
            case syntax.Scalar():
                return self._bind_scalar(expression, scope)
            case syntax.Collate():
                return self._bind_collate(expression, scope)
            case syntax.AtTimeZone():
                return self._bind_time_zone(expression, scope)
            case syntax.Method():
                raise refuse(f"method {expression.name}")
            case syntax.Star():
                raise make_error(102, "*")
            case _:
                raise make_error(102, "=")

    def _bind_literal(self, literal: syntax.Literal) -> Value:
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

    def _bind_variable(self, variable: syntax.Variable) -> Value:
        if variable.name.startswith("@@"):
            found = self.environment.global_variable(variable.name.lower())
        else:
            found = self.environment.variables.get(variable.name.lower())
            if found is None and self.undeclared is not None:
                return replace(make_constant(None, NULL, self.parameters), undeclared=variable.name)
        if found is None:
            raise make_error(137, variable.name)
        return make_constant(found[1], found[0], self.parameters)

    def _bind_column(self, column: syntax.Column, scope: Scope) -> Value:
        value, owner = scope.resolve(column.parts)
        if owner.grouping is not None and not owner.inside_aggregate:
            for grouped in owner.grouping:
                if grouped.raw == value.sql:
                    return grouped.value
            raise make_error(8120, ".".join(column.parts))
        return value

    def _bind_unary(self, unary: syntax.Unary, scope: Scope) -> Value:
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

    def _bind_case(self, case: syntax.Case, scope: Scope) -> Value:
        tests: list[str] = []
        results: list[Value] = []
        for test, result in case.branches:
            condition = test if case.operand is None else syntax.Comparison("=", case.operand, test)
            tests.append(self.bind_condition(condition, scope))
            results.append(self.bind(result, scope))
        default = None if case.default is None else self.bind(case.default, scope)
        return self.choose(tests, results, default)

    def _bind_cast(self, cast: syntax.Cast, scope: Scope) -> Value:
        kind = declared_type(cast.type, 30)
        operand_expression = cast.operand
        if isinstance(operand_expression, syntax.Method):
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

    def _bind_scalar(self, scalar: syntax.Scalar, scope: Scope) -> Value:
        bound = self.bind_query(scalar.query, scope)
        if len(bound.columns) != 1:
            raise make_error(116)
        return Value(f"({bound.sql})", bound.columns[0].type, True)

    def _bind_collate(self, collate: syntax.Collate, scope: Scope) -> Value:
        operand = self.bind(collate.operand, scope)
        name = COLLATIONS.get(collate.collation.lower())
        if collate.collation.lower() == "database_default":
            name = COLLATIONS["sql_latin1_general_cp1_ci_as"]
        if name is None:
            raise make_error(448, collate.collation)
        if not operand.type.is_text:
            raise make_error(447, operand.type.name)
        return replace(operand, type=replace(operand.type, collation=name))

    def _bind_time_zone(self, node: syntax.AtTimeZone, scope: Scope) -> Value:
        zone = self.bind(node.zone, scope)
        if not (isinstance(zone.constant, str) and zone.constant.upper() == "UTC"):
            raise refuse("AT TIME ZONE other than 'UTC'")
        operand = self.bind(node.operand, scope)
        target = replace(DATETIMEOFFSET, scale=operand.type.scale if "2" in operand.type.name else 7)
        if operand.type.name == "datetimeoffset":
            target = operand.type
            pair = f"{{'t': ({operand.sql}).t, 'o': CAST(0 AS SMALLINT)}}"
            sql = f"CASE WHEN {operand.sql} IS NULL THEN NULL ELSE {pair} END"
            return Value(sql, target, operand.nullable)
        return self.convert(operand, target)

    # Conditions

    def bind_condition(self, expression: syntax.Expression, scope: Scope) -> str:
        """Bind a condition to DuckDB SQL of three-valued logic. Raises SqlError 4145 where a value stands alone."""
        match expression:
            case syntax.Logical():
                left, right = self.bind_condition(expression.left, scope), self.bind_condition(expression.right, scope)
                return f"({left} {expression.operator} {right})"
            case syntax.Not():
                return f"(NOT {self.bind_condition(expression.operand, scope)})"
            case syntax.Comparison():
                left_value, right_value = self.bind(expression.left, scope), self.bind(expression.right, scope)
                return self.compare(expression.operator, left_value, right_value)
            case syntax.IsNull():
                operand = self.bind(expression.operand, scope)
                return f"({operand.sql} IS {'NOT ' if expression.negated else ''}NULL)"
            case syntax.Between():
                operand = self.bind(expression.operand, scope)
                low = self.compare(">=", operand, self.bind(expression.low, scope))
                high = self.compare("<=", operand, self.bind(expression.high, scope))
                return f"({'NOT ' if expression.negated else ''}({low} AND {high}))"
            case syntax.InList():
                return self._bind_in_list(expression, scope)
            case syntax.InQuery():
                return self._bind_in_query(expression, scope)
            case syntax.Like():
                return self._bind_like(expression, scope)
            case syntax.Exists():
                return f"EXISTS ({self.bind_query(expression.query, scope).sql})"
            case _:
                raise make_error(4145, "the expression")

    def _bind_in_list(self, node: syntax.InList, scope: Scope) -> str:
        operand = self.bind(node.operand, scope)
        tests = [self.compare("=", operand, self.bind(item, scope)) for item in node.items]
        return f"({'NOT ' if node.negated else ''}({' OR '.join(tests)}))"

    def _bind_in_query(self, node: syntax.InQuery, scope: Scope) -> str:
        operand = self.bind(node.operand, scope)
        bound = self.bind_query(node.query, scope)
        if len(bound.columns) != 1:
            raise make_error(116)
        column = bound.columns[0]
        kind = self.comparison_type(operand.type, column.type)
        left = self.sort_key(self.convert(operand, kind))
        right = self.sort_key(self.convert(Value('q."c1"', column.type, column.nullable), kind))
        return f"({left} {'NOT ' if node.negated else ''}IN (SELECT {right} FROM ({bound.sql}) AS q))"

    def _bind_like(self, node: syntax.Like, scope: Scope) -> str:
        operand, pattern = self.bind(node.operand, scope), self.bind(node.pattern, scope)
        escape = None if node.escape is None else self.bind(node.escape, scope).constant
        if escape is not None and (not isinstance(escape, str) or len(escape) != 1):
            raise make_error(506)
        text = operand if operand.type.is_text else self.convert(operand, varchar(8000))
        if not pattern.type.is_text or not pattern.is_constant:
            raise refuse("LIKE with a pattern that is not a constant or a variable")
        if pattern.constant is None:
            return "CAST(NULL AS BOOLEAN)"
        regex = quote_text(like_to_regex(str(pattern.constant), escape if isinstance(escape, str) else None))
        options = "is" if operand.type.is_folded or not operand.type.is_text else "s"
        return f"({'NOT ' if node.negated else ''}regexp_full_match({text.sql}, {regex}, '{options}'))"
