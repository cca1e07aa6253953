"""The parser of expressions and conditions, by precedence climbing."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from devcloud.sqlserver.tsql import syntax
from devcloud.sqlserver.tsql.cursor import FUNCTIONS_NAMED_BY_KEYWORDS, RESERVED, Cursor
from devcloud.sqlserver.tsql.lexer import Kind

_COMPARISONS: Final = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">="} | {
    "!<": ">=",
    "!>": "<=",
}
_SESSION_VALUES: Final = ("CURRENT_TIMESTAMP", "CURRENT_USER", "SESSION_USER", "SYSTEM_USER", "USER", "CURRENT_DATE")
_METHODS: Final = frozenset(
    {"tostring", "stastext", "stasbinary", "asbinaryzm", "value", "query", "exist", "nodes", "getlevel", "getroot"}
)


class ExpressionParser(Cursor):
    """Parses what stands between keywords."""

    def parse_query(self) -> syntax.Query:
        """Parse a query; QueryParser does it."""
        raise NotImplementedError

    def parse_order(self) -> tuple[syntax.OrderItem, ...]:
        """Parse the items after ORDER BY."""
        return self.parse_list(
            lambda: syntax.OrderItem(self.parse_expression(), self.accept_any("ASC", "DESC") == "DESC"),
        )

    def parse_expressions(self) -> tuple[syntax.Expression, ...]:
        """Parse ``a, b, …``."""
        return self.parse_list(self.parse_expression)

    def parse_condition(self) -> syntax.Expression:
        """Parse a condition (OR binds weakest)."""
        left = self._parse_and()
        while self.accept("OR"):
            left = syntax.Logical("OR", left, self._parse_and())
        return left

    def _parse_and(self) -> syntax.Expression:
        left = self._parse_not()
        while self.accept("AND"):
            left = syntax.Logical("AND", left, self._parse_not())
        return left

    def _parse_not(self) -> syntax.Expression:
        if self.accept("NOT"):
            return syntax.Not(self._parse_not())
        return self._parse_predicate()

    def _parse_predicate(self) -> syntax.Expression:
        if self.at("EXISTS", "("):
            self.advance()
            return syntax.Exists(self.parse_enclosed(self.parse_query))
        left = self.parse_expression()
        if self.token.kind is Kind.OPERATOR and self.token.text in _COMPARISONS:
            operator = _COMPARISONS[self.advance().text]
            if self.at_any("ALL", "ANY", "SOME"):
                raise self.refused(f"{operator} {self.token.upper}")
            return syntax.Comparison(operator, left, self.parse_expression())
        if self.accept("IS"):
            negated = self.accept("NOT")
            if self.accept("DISTINCT"):
                raise self.refused("IS DISTINCT FROM")
            self.expect("NULL")
            return syntax.IsNull(left, negated)
        negated = self.at("NOT") and self.ahead().upper in ("IN", "BETWEEN", "LIKE") and self.accept("NOT")
        if self.accept("BETWEEN"):
            low = self.parse_expression()
            self.expect("AND")
            return syntax.Between(left, low, self.parse_expression(), negated)
        if self.accept("LIKE"):
            pattern = self.parse_expression()
            escape = self.parse_expression() if self.accept("ESCAPE") else None
            return syntax.Like(left, pattern, escape, negated)
        if self.accept("IN"):
            if self.ahead().upper in ("SELECT", "WITH") and self.ahead().kind is Kind.NAME:
                return syntax.InQuery(left, self.parse_enclosed(self.parse_query), negated)
            return syntax.InList(left, self.parse_enclosed(self.parse_expressions), negated)
        return left

    # Values

    def parse_expression(self) -> syntax.Expression:
        """Parse a value (additive and bitwise operators bind weakest, from left to right)."""
        left = self._parse_product()
        while self.token.kind is Kind.OPERATOR and self.token.text in "+-&|^":
            left = syntax.Binary(self.advance().text, left, self._parse_product())
        return left

    def _parse_product(self) -> syntax.Expression:
        left = self._parse_unary()
        while self.token.kind is Kind.OPERATOR and self.token.text in "*/%":
            left = syntax.Binary(self.advance().text, left, self._parse_unary())
        return left

    def _parse_unary(self) -> syntax.Expression:
        if self.token.kind is Kind.OPERATOR and self.token.text in "-+~":
            operator = self.advance().text
            operand = self._parse_unary()
            if (
                operator == "-"
                and isinstance(operand, syntax.Literal)
                and isinstance(operand.value, int | Decimal | float)
            ):
                # Unary minus would round a Decimal to the 28 digits of Python's default context.
                value = operand.value.copy_negate() if isinstance(operand.value, Decimal) else -operand.value
                return syntax.Literal(value, money=operand.money)
            return operand if operator == "+" else syntax.Unary(operator, operand)
        return self._parse_postfix(self._parse_primary())

    def _parse_postfix(self, operand: syntax.Expression) -> syntax.Expression:
        while True:
            if self.accept("COLLATE"):
                operand = syntax.Collate(operand, self.advance().text)
            elif self.accept("AT", "TIME", "ZONE"):
                operand = syntax.AtTimeZone(operand, self._parse_primary())
            elif self.at(".") and self.ahead().text.lower() in _METHODS and self.ahead(2).text == "(":
                self.advance()
                name = self.advance().text
                operand = syntax.Method(operand, name, self._parse_arguments())
            else:
                return operand

    def _parse_primary(self) -> syntax.Expression:
        token = self.token
        match token.kind:
            case Kind.STRING | Kind.NATIONAL:
                self.advance()
                return syntax.Literal(token.text, national=token.kind is Kind.NATIONAL)
            case Kind.NUMBER:
                self.advance()
                return syntax.Literal(_number(token.text))
            case Kind.MONEY:
                self.advance()
                return syntax.Literal(Decimal(token.text[1:]), money=True)
            case Kind.BINARY:
                self.advance()
                digits = token.text[2:]
                return syntax.Literal(bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits))
            case Kind.VARIABLE:
                self.advance()
                return syntax.Variable(token.text)
            case Kind.OPERATOR:
                return self._parse_operator_start()
            case Kind.NAME | Kind.QUOTED:
                return self._parse_name_start()
            case Kind.END:
                raise self.unexpected()

    def _parse_operator_start(self) -> syntax.Expression:
        if self.accept("*"):
            return syntax.Star()
        if self.at("("):
            if self.ahead().upper in ("SELECT", "WITH") and self.ahead().kind is Kind.NAME:
                return syntax.Scalar(self.parse_enclosed(self.parse_query))
            return self.parse_enclosed(self.parse_condition)
        raise self.unexpected()

    def _parse_name_start(self) -> syntax.Expression:
        token = self.token
        if token.kind is Kind.NAME:
            word = token.upper
            if word == "NULL":
                self.advance()
                return syntax.Literal(None)
            if word == "CASE":
                return self._parse_case()
            if word in ("CAST", "TRY_CAST") and self.ahead().text == "(":
                return self._parse_cast()
            if word in ("CONVERT", "TRY_CONVERT") and self.ahead().text == "(":
                return self._parse_convert()
            if word in _SESSION_VALUES:
                self.advance()
                return syntax.Call((word,), ())
            if word in FUNCTIONS_NAMED_BY_KEYWORDS and self.ahead().text == "(":
                self.advance()
                return self._parse_call((word,))
            if word in RESERVED:
                raise self.unexpected()
        return self._parse_reference()

    def _parse_reference(self) -> syntax.Expression:
        """Parse a column, ``t.*``, a function call or a method on a column."""
        parts = [self.parse_identifier()]
        while self.at("."):
            following = self.ahead()
            if following.text == "*" and following.kind is Kind.OPERATOR:
                self.advance()
                self.advance()
                return syntax.Star(tuple(parts))
            if following.text.lower() in _METHODS and self.ahead(2).text == "(":
                return syntax.Column(tuple(parts))
            self.advance()
            parts.append("" if self.at(".") else self.parse_identifier())
        name: syntax.Name = tuple(parts)
        return self._parse_call(name) if self.at("(") else syntax.Column(name)

    def _parse_arguments(self) -> tuple[syntax.Expression, ...]:
        return () if self.accept("(", ")") else self.parse_enclosed(self.parse_expressions)

    def _parse_call(self, name: syntax.Name) -> syntax.Expression:
        self.expect("(")
        distinct = star = False
        arguments: tuple[syntax.Expression, ...] = ()
        if not self.accept(")"):
            distinct = self.accept_any("DISTINCT", "ALL") == "DISTINCT"
            if self.at("*", ")"):
                self.advance()
                star = True
            elif name[-1].upper() == "IIF":
                condition = self.parse_condition()
                self.expect(",")
                arguments = (condition, *self.parse_expressions())
            else:
                arguments = self.parse_expressions()
            self.expect(")")
        within: tuple[syntax.OrderItem, ...] = ()
        if self.accept("WITHIN", "GROUP"):
            self.expect("(", "ORDER", "BY")
            within = self.parse_order()
            self.expect(")")
        return syntax.Call(
            name, arguments, distinct, star, self._parse_window() if self.accept("OVER") else None, within
        )

    def _parse_window(self) -> syntax.Window:
        self.expect("(")
        partition: tuple[syntax.Expression, ...] = ()
        order: tuple[syntax.OrderItem, ...] = ()
        if self.accept("PARTITION", "BY"):
            partition = self.parse_expressions()
        if self.accept("ORDER", "BY"):
            order = self.parse_order()
        frame: list[str] = []
        if self.at_any("ROWS", "RANGE"):
            while not self.at(")"):
                token = self.advance()
                allowed = ("ROWS", "RANGE", "BETWEEN", "AND", "UNBOUNDED", "PRECEDING", "FOLLOWING", "CURRENT", "ROW")
                if token.upper not in allowed and not token.text.isdigit():
                    raise self.unexpected()
                frame.append(token.upper or token.text)
        self.expect(")")
        return syntax.Window(partition, order, " ".join(frame))

    def _parse_case(self) -> syntax.Expression:
        self.expect("CASE")
        operand = None if self.at("WHEN") else self.parse_expression()
        branches = []
        while self.accept("WHEN"):
            test = self.parse_condition() if operand is None else self.parse_expression()
            self.expect("THEN")
            branches.append((test, self.parse_expression()))
        if not branches:
            raise self.unexpected()
        default = self.parse_expression() if self.accept("ELSE") else None
        self.expect("END")
        return syntax.Case(operand, tuple(branches), default)

    def _parse_cast(self) -> syntax.Expression:
        attempt = self.advance().upper == "TRY_CAST"
        self.expect("(")
        operand = self.parse_expression()
        self.expect("AS")
        kind = self.parse_type()
        self.expect(")")
        return syntax.Cast(operand, kind, attempt)

    def _parse_convert(self) -> syntax.Expression:
        attempt = self.advance().upper == "TRY_CONVERT"
        self.expect("(")
        kind = self.parse_type()
        self.expect(",")
        operand = self.parse_expression()
        style = self.parse_expression() if self.accept(",") else None
        self.expect(")")
        return syntax.Cast(operand, kind, attempt, style)


def _number(text: str) -> int | Decimal | float:
    if "e" in text.lower():
        return float(text)
    return Decimal(text.rstrip(".")) if "." in text else int(text)
