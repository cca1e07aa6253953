"""The parser of queries: SELECT, set operations, common table expressions, FROM."""

from __future__ import annotations

from typing import Final

from devcloud.sqlserver.tsql import syntax
from devcloud.sqlserver.tsql.expressions import ExpressionParser
from devcloud.sqlserver.tsql.lexer import Kind

_HINTS: Final = frozenset(
    {"NOLOCK", "READUNCOMMITTED", "READCOMMITTED", "READCOMMITTEDLOCK", "SNAPSHOT", "ROWLOCK", "PAGLOCK", "UPDLOCK"}
    | {"HOLDLOCK", "SERIALIZABLE", "REPEATABLEREAD", "TABLOCK", "TABLOCKX", "XLOCK", "NOWAIT", "FORCESCAN", "FORCESEEK"}
)
"""Table hints that change locking or plans, not results: accepted, without effect."""


_JOINS: Final = {
    **dict.fromkeys(("JOIN", "INNER JOIN", "INNER HASH JOIN", "INNER LOOP JOIN"), "INNER"),
    **{f"{kind}{outer} JOIN": kind for kind in ("LEFT", "RIGHT", "FULL") for outer in ("", " OUTER")},
}


class QueryParser(ExpressionParser):
    """Parses queries."""

    def parse_query(self) -> syntax.Query:
        """Parse a query with its common table expressions, order, offset and fetch."""
        common = self.parse_common_tables()
        body = self._parse_set_operation()
        order = self.parse_order() if self.accept("ORDER", "BY") else ()
        offset = fetch = None
        if order and self.accept("OFFSET"):
            offset = self.parse_expression()
            self.expect_any("ROW", "ROWS")
            if self.accept("FETCH"):
                self.expect_any("NEXT", "FIRST")
                fetch = self.parse_expression()
                self.expect_any("ROW", "ROWS")
                self.expect("ONLY")
        if self.accept("FOR") and not self.accept("BROWSE"):
            raise self.refused(f"FOR {self.token.upper}")
        self._skip_option()
        return syntax.Query(body, order, offset, fetch, common)

    def _skip_option(self) -> None:
        """Skip OPTION (…): query hints steer plans, not results."""
        if self.at("OPTION", "("):
            self.advance()
            self._skip_parentheses()

    def _skip_parentheses(self) -> None:
        self.expect("(")
        depth = 1
        while depth:
            if self.token.kind is Kind.END:
                raise self.unexpected()
            text = self.advance().text
            depth += (text == "(") - (text == ")")

    def parse_common_tables(self) -> tuple[syntax.CommonTable, ...]:
        """Parse WITH a AS (…), b AS (…), if it is there."""
        return self.parse_list(self._parse_common_table) if self.accept("WITH") else ()

    def _parse_common_table(self) -> syntax.CommonTable:
        name = self.parse_identifier()
        columns = self.parse_names() if self.at("(") else ()
        self.expect("AS")
        return syntax.CommonTable(name, columns, self.parse_enclosed(self.parse_query))

    def _parse_set_operation(self) -> syntax.Select | syntax.SetOperation | syntax.Query:
        left = self._parse_intersection()
        while operator := self.accept_any("UNION", "EXCEPT"):
            if operator == "UNION" and self.accept("ALL"):
                operator = "UNION ALL"
            left = syntax.SetOperation(operator, left, self._parse_intersection())
        return left

    def _parse_intersection(self) -> syntax.Select | syntax.SetOperation | syntax.Query:
        left: syntax.Select | syntax.SetOperation | syntax.Query = self._parse_term()
        while self.accept("INTERSECT"):
            left = syntax.SetOperation("INTERSECT", left, self._parse_term())
        return left

    def _parse_term(self) -> syntax.Select | syntax.Query:
        return self.parse_enclosed(self.parse_query) if self.at("(") else self._parse_select()

    def _parse_select(self) -> syntax.Select:
        self.expect("SELECT")
        distinct = self.accept_any("DISTINCT", "ALL") == "DISTINCT"
        top = self.parse_top()
        items = self.parse_list(self.parse_select_item)
        into = self.parse_name() if self.accept("INTO") else None
        source = self.parse_source() if self.accept("FROM") else None
        where = self.parse_condition() if self.accept("WHERE") else None
        group_by: tuple[syntax.Expression, ...] = ()
        if self.accept("GROUP", "BY"):
            if self.at_any("ROLLUP", "CUBE", "GROUPING"):
                raise self.refused(f"GROUP BY {self.token.upper}")
            group_by = self.parse_expressions()
        having = self.parse_condition() if self.accept("HAVING") else None
        return syntax.Select(items, source, where, group_by, having, distinct, top, into)

    def parse_top(self) -> syntax.Expression | None:
        """Parse TOP, if it is there."""
        if not self.accept("TOP"):
            return None
        top = self.parse_enclosed(self.parse_expression) if self.at("(") else syntax.Literal(self.parse_integer())
        if self.at("PERCENT") or self.at("WITH", "TIES"):
            raise self.refused(f"TOP … {self.token.upper}")
        return top

    def parse_select_item(self) -> syntax.SelectItem:
        """Parse an item of a select list, in any of its four spellings."""
        if self.token.kind is Kind.VARIABLE and self.ahead().text == "=" and not self.token.text.startswith("@@"):
            name = self.advance().text
            self.advance()
            return syntax.SelectItem(self.parse_expression(), variable=name)
        if (self.at_name() or self.token.kind is Kind.STRING) and self.ahead().text == "=":
            alias = self.advance().text
            self.advance()
            return syntax.SelectItem(self.parse_expression(), alias)
        expression = self.parse_expression()
        if self.accept("AS"):
            if self.token.kind in (Kind.STRING, Kind.NATIONAL):
                return syntax.SelectItem(expression, self.advance().text)
            return syntax.SelectItem(expression, self.parse_identifier())
        if self.token.kind is Kind.STRING or self.at_name():
            return syntax.SelectItem(expression, self.advance().text)
        return syntax.SelectItem(expression)

    # FROM

    def parse_source(self) -> syntax.Source:
        """Parse what follows FROM."""
        left = self._parse_joined()
        while self.accept(","):
            left = syntax.Join("CROSS", left, self._parse_joined(), None)
        return left

    def _parse_joined(self) -> syntax.Source:
        left = self._parse_table()
        while True:
            if self.accept("CROSS", "JOIN"):
                left = syntax.Join("CROSS", left, self._parse_table(), None)
            elif self.accept("CROSS", "APPLY"):
                left = syntax.Join("CROSS APPLY", left, self._parse_table(), None)
            elif self.accept("OUTER", "APPLY"):
                left = syntax.Join("OUTER APPLY", left, self._parse_table(), None)
            elif kind := self._accept_join():
                right = self._parse_joined_operand()
                self.expect("ON")
                left = syntax.Join(kind, left, right, self.parse_condition())
            elif self.at_any("PIVOT", "UNPIVOT"):
                raise self.refused(self.token.upper)
            else:
                return left

    def _parse_joined_operand(self) -> syntax.Source:
        """Parse the right side of a join, where ``a JOIN b JOIN c ON … ON …`` nests."""
        right = self._parse_table()
        while kind := self._accept_join(nested=True):
            inner = self._parse_joined_operand()
            self.expect("ON")
            right = syntax.Join(kind, right, inner, self.parse_condition())
        return right

    def _accept_join(self, nested: bool = False) -> str | None:
        if nested and self.at("ON"):
            return None
        return next(
            (words.split()[0].replace("JOIN", "INNER") for words in _JOINS if self.accept(*words.split())), None
        )

    def _parse_table(self) -> syntax.Source:
        if self.accept("("):
            return self._parse_parenthesised_source()
        if self.token.kind is Kind.VARIABLE:
            raise self.refused("table variable")
        if self.accept("CHANGETABLE", "("):
            return self._parse_changes()
        name = self.parse_name()
        if self.at("(") and self.ahead().upper not in _HINTS:
            call = self._parse_call(name)
            if not isinstance(call, syntax.Call):
                raise self.unexpected()
            alias = self._parse_alias()
            return syntax.FunctionSource(call, alias, self.parse_names() if alias and self.at("(") else ())
        if self.accept("FOR"):
            raise self.refused("FOR SYSTEM_TIME")
        alias = self._parse_alias()
        sample = self._parse_sample() if self.accept("TABLESAMPLE") else None
        return syntax.TableSource(name, alias, self._parse_hints(), sample)

    def _parse_sample(self) -> syntax.Sample:
        self.accept("SYSTEM")
        self.expect("(")
        size = self.parse_expression()
        if not isinstance(size, syntax.Literal) or not isinstance(size.value, int):
            raise self.refused("TABLESAMPLE of another size than a whole number")
        unit = self.expect_any("ROWS", "PERCENT")
        self.expect(")")
        if self.at("REPEATABLE"):
            raise self.refused("TABLESAMPLE REPEATABLE")
        return syntax.Sample(size.value, percent=unit == "PERCENT")

    def _parse_changes(self) -> syntax.Source:
        if self.at("VERSION"):
            raise self.refused("CHANGETABLE(VERSION …)")
        self.expect("CHANGES")
        table = self.parse_name()
        self.expect(",")
        since = self.parse_expression()
        self.expect(")")
        alias = self._parse_alias()
        return syntax.ChangesSource(table, since, alias, self.parse_names() if alias and self.at("(") else ())

    def _parse_parenthesised_source(self) -> syntax.Source:
        if self.accept("VALUES"):
            rows = self.parse_rows()
            self.expect(")")
            alias = self._parse_alias()
            if alias is None:
                raise self.unexpected()
            values = tuple(tuple(item or syntax.Literal(None) for item in row) for row in rows)
            return syntax.ValuesSource(values, alias, self.parse_names())
        if self.at("WITH"):
            raise self.unexpected()  # common tables stand before a statement, or after AS in a view
        if self.at("SELECT") or self.at("(", "SELECT"):
            query = self.parse_query()
            self.expect(")")
            alias = self._parse_alias()
            if alias is None:
                raise self.unexpected()
            return syntax.DerivedSource(query, alias, self.parse_names() if self.at("(") else ())
        source = self.parse_source()
        self.expect(")")
        return source

    def parse_rows(self) -> tuple[tuple[syntax.Expression | None, ...], ...]:
        """Parse ``(a, DEFAULT, …), (…)``, as after VALUES; DEFAULT is None."""
        return self.parse_list(lambda: self.parse_enclosed(lambda: self.parse_list(self.parse_value)))

    def parse_value(self) -> syntax.Expression | None:
        """Parse an expression, or DEFAULT, which is None."""
        return None if self.accept("DEFAULT") else self.parse_expression()

    def _parse_alias(self) -> str | None:
        if self.accept("AS"):
            return self.parse_identifier()
        if self.at_name() and not (self.token.kind is Kind.NAME and self.token.upper in ("APPLY", "TABLESAMPLE")):
            return self.advance().text
        return None

    def _parse_hints(self) -> tuple[str, ...]:
        if not (self.at("WITH", "(") or (self.at("(") and self.ahead().upper in _HINTS)):
            return ()
        self.accept("WITH")
        self.expect("(")
        hints = []
        while not self.accept(")"):
            if self.token.upper not in _HINTS:
                raise self.refused(f"table hint {self.token.upper}")
            hints.append(self.advance().upper)
            self.accept(",")
        return tuple(hints)


def column_alias(item: syntax.SelectItem) -> str:
    """Return the name of the column that an item makes; empty where it has none."""
    if item.alias is not None:
        return item.alias
    return item.expression.parts[-1] if isinstance(item.expression, syntax.Column) else ""
