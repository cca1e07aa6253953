"""Binds queries: FROM, SELECT, grouping, ordering, set operations and common table expressions."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.functions import AGGREGATES, FunctionBinder
from devcloud.sqlserver.engine.outputs import BoundQuery, OutputColumn, name_columns
from devcloud.sqlserver.engine.scope import CommonBinding, Grouped, Scope
from devcloud.sqlserver.engine.sources import SourceBinder
from devcloud.sqlserver.engine.values import Value, quote
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql import syntax
from devcloud.sqlserver.tsql.queries import column_alias
from devcloud.sqlserver.types import SqlType, common_type, varchar

_UNORDERED: Final = frozenset({"text", "ntext", "image", "xml"})


class QueryBinder(SourceBinder, FunctionBinder):
    """Binds the queries of one statement."""

    def bind_query(self, query: syntax.Query, outer: Scope | None, *, outermost: bool = False) -> BoundQuery:
        """Bind a query within the scope of an outer one."""
        scope = Scope(parent=outer)
        for table in query.common:
            scope.common[table.name.lower()] = CommonBinding(table, replace_common(scope))
        body = query.body
        while isinstance(body, syntax.Query) and not (body.order or body.offset or body.fetch or body.common):
            body = body.body
        limit = self._bind_limits(query, body, scope)
        if query.order and not outermost and not limit:
            raise make_error(1033)
        match body:
            case syntax.Select():
                return self._bind_select(body, query.order, limit, scope)
            case syntax.SetOperation():
                bound = self._bind_set_operation(body, scope)
            case syntax.Query():
                bound = self.bind_query(body, scope, outermost=True)
        if not query.order and not limit:
            return bound
        return self._order_result(bound, query.order, limit, scope)

    def _bind_limits(
        self, query: syntax.Query, body: syntax.Select | syntax.SetOperation | syntax.Query, scope: Scope
    ) -> str:
        """Return LIMIT and OFFSET for TOP, OFFSET and FETCH."""
        if isinstance(body, syntax.Select) and body.top is not None:
            if query.offset is not None:
                raise make_error(10741, state=2)
            return f" LIMIT {self._count(body.top, scope)}"
        if query.offset is None:
            return ""
        fetch = "" if query.fetch is None else f" LIMIT {self._count(query.fetch, scope)}"
        return f"{fetch} OFFSET {self._count(query.offset, scope)}"

    def _count(self, expression: syntax.Expression, scope: Scope) -> int:
        value = self.bind(expression, scope)
        if value.undeclared is not None:
            self.convert(value, SqlType("bigint"))
            return 0
        if not value.is_constant:
            raise refuse("TOP or OFFSET with an expression")
        if not isinstance(value.constant, int) or value.constant < 0:
            raise make_error(1060)
        return value.constant

    # SELECT

    def _bind_select(
        self, select: syntax.Select, order: tuple[syntax.OrderItem, ...], limit: str, scope: Scope
    ) -> BoundQuery:
        from_sql = ""
        if select.source is not None:
            from_sql, scope.sources = self.bind_source(select.source, scope)
            from_sql = f" FROM {from_sql}"
        where = "" if select.where is None else f" WHERE {self.bind_condition(select.where, scope)}"
        group_sql = self._bind_group_by(select, order, scope)
        items = self._expand(select.items, scope)
        values = [self._bind_item(item, scope) for item in items]
        having = "" if select.having is None else f" HAVING {self.bind_condition(select.having, scope)}"
        columns = tuple(
            OutputColumn(column_alias(item), *self._described(value)) for item, value in zip(items, values, strict=True)
        )
        variables = tuple(item.variable for item in select.items if item.variable is not None)
        if variables and len(variables) != len(select.items):
            raise make_error(141)
        shown = ", ".join(f'{value.sql} AS "c{place}"' for place, value in enumerate(values, start=1))
        rest = f"{from_sql}{where}{group_sql}{having}"
        if select.distinct:
            keys = ", ".join(self.sort_key(value) for value in values)
            bound = BoundQuery(f"SELECT DISTINCT ON ({keys}) {shown}{rest}", columns, variables)
            return self._order_result(bound, order, limit, scope) if order or limit else bound
        order_sql = self._bind_order(order, items, values, scope)
        return BoundQuery(f"SELECT {shown}{rest}{order_sql}{limit}", columns, variables)

    @staticmethod
    def _described(value: Value) -> tuple[SqlType, bool, bool, bool]:
        return value.type, value.nullable or value.type.name == "null", value.identity, value.computed

    def _bind_item(self, item: syntax.SelectItem, scope: Scope) -> Value:
        value = self.bind(item.expression, scope)
        if value.undeclared is not None:
            value = self.convert(value, varchar(8000))
        return value

    def _expand(self, items: tuple[syntax.SelectItem, ...], scope: Scope) -> list[syntax.SelectItem]:
        """Replace each star by the columns it stands for."""
        expanded: list[syntax.SelectItem] = []
        for item in items:
            if not isinstance(item.expression, syntax.Star):
                expanded.append(item)
                continue
            if not scope.sources:
                raise make_error(263)
            qualifier = item.expression.qualifier
            sources = [source for source in scope.sources if not qualifier or source.answers(qualifier)]
            if not sources:
                raise make_error(4104, ".".join((*qualifier, "*")))
            for source in sources:
                expanded.extend(
                    syntax.SelectItem(syntax.Column(("\0" + source.alias, name))) for name, _ in source.columns
                )
        return expanded

    def _bind_group_by(self, select: syntax.Select, order: tuple[syntax.OrderItem, ...], scope: Scope) -> str:
        """Return GROUP BY, and from here on let the scope stand for groups, if the query groups at all."""
        if not select.group_by and select.having is None and not _aggregates(select, order):
            return ""
        grouping = []
        for expression in select.group_by:
            value = self.bind(expression, scope)
            if value.is_constant:
                raise make_error(164)
            key = self.sort_key(value)
            shown = value if key == value.sql else replace(value, sql=f"any_value({value.sql})")
            grouping.append((Grouped(expression, value.sql, shown), key))
        scope.grouping = [grouped for grouped, _ in grouping]
        return f" GROUP BY {', '.join(key for _, key in grouping)}" if grouping else ""

    # Order

    def _bind_order(
        self, order: tuple[syntax.OrderItem, ...], items: list[syntax.SelectItem], values: list[Value], scope: Scope
    ) -> str:
        parts = []
        for item in order:
            value = self._named_output(item.expression, items, values)
            if value is None:
                value = self.bind(item.expression, scope)
            if value.is_constant:
                raise make_error(408)
            parts.append(self._order_part(value, item.descending))
        return f" ORDER BY {', '.join(parts)}" if parts else ""

    @staticmethod
    def _named_output(
        expression: syntax.Expression, items: list[syntax.SelectItem], values: list[Value]
    ) -> Value | None:
        """Return the output that an ORDER BY item names, by place or alias."""
        if isinstance(expression, syntax.Literal) and isinstance(expression.value, int):
            if not 1 <= expression.value <= len(values):
                raise make_error(108, expression.value)
            return replace(values[expression.value - 1], is_constant=False)
        if isinstance(expression, syntax.Column) and len(expression.parts) == 1:
            folded = expression.parts[0].lower()
            for item, value in zip(items, values, strict=True):
                if item.alias is not None and item.alias.lower() == folded:
                    return replace(value, is_constant=False)
        return None

    def _order_part(self, value: Value, descending: bool) -> str:
        if value.type.name in _UNORDERED:
            self.comparison_type(value.type, value.type)
        # NULL is the lowest value in SQL Server.
        return f"{self.sort_key(value)} {'DESC NULLS LAST' if descending else 'ASC NULLS FIRST'}"

    def _order_result(
        self, bound: BoundQuery, order: tuple[syntax.OrderItem, ...], limit: str, scope: Scope
    ) -> BoundQuery:
        """Order a whole result, of which ORDER BY may name the columns only."""
        values = [
            Value(f'"c{place}"', column.type, column.nullable) for place, column in enumerate(bound.columns, start=1)
        ]
        items = [syntax.SelectItem(syntax.Column((column.name,)), column.name) for column in bound.columns]
        parts = []
        for item in order:
            value = self._named_output(_unqualified(item.expression), items, values)
            if value is None:
                raise make_error(145)
            parts.append(self._order_part(value, item.descending))
        order_sql = f" ORDER BY {', '.join(parts)}" if parts else ""
        return replace(bound, sql=f"SELECT * FROM ({bound.sql}) AS q{order_sql}{limit}")

    # Set operations

    def _bind_set_operation(self, operation: syntax.SetOperation, scope: Scope) -> BoundQuery:
        if operation.operator in ("UNION", "UNION ALL"):
            return self._bind_union(operation, scope)
        left = self._bind_operand(operation.left, scope)
        right = self._bind_operand(operation.right, scope)
        columns = _united(left, right, operation.operator)
        first_sql, second_sql = self._align(left, columns), self._align(right, columns)
        pairs = zip(self._keys("l.", columns), self._keys("r.", columns), strict=True)
        same = " AND ".join(f"{one} IS NOT DISTINCT FROM {other}" for one, other in pairs)
        negation = "NOT " if operation.operator == "EXCEPT" else ""
        sql = (
            f"SELECT DISTINCT ON ({', '.join(self._keys('', columns))}) * FROM ({first_sql}) AS l "
            f"WHERE {negation}EXISTS (SELECT 1 FROM ({second_sql}) AS r WHERE {same})"
        )
        return BoundQuery(sql, columns)

    def _bind_union(self, operation: syntax.SetOperation, scope: Scope) -> BoundQuery:
        """Bind a chain of one operator side by side: DuckDB takes the square of its length for one query in another."""
        operands = [operation.right]
        first = operation.left
        while isinstance(first, syntax.SetOperation) and first.operator == operation.operator:
            operands.append(first.right)
            first = first.left
        united = self._bind_operand(first, scope)
        parts = [f"SELECT * FROM ({united.sql}) AS q"]
        for operand in reversed(operands):
            right = self._bind_operand(operand, scope)
            columns = _united(united, right, operation.operator)
            if not self._is_aligned(united, columns):
                parts = [self._align(replace(united, sql=" UNION ALL ".join(parts)), columns)]
            parts.append(self._align(right, columns))
            united = replace(united, columns=columns)
        sql = " UNION ALL ".join(parts)
        if operation.operator == "UNION":
            sql = f"SELECT DISTINCT ON ({', '.join(self._keys('', united.columns))}) * FROM ({sql}) AS u"
        return BoundQuery(sql, united.columns)

    def _bind_operand(self, operand: syntax.Select | syntax.SetOperation | syntax.Query, scope: Scope) -> BoundQuery:
        match operand:
            case syntax.Select():
                top = self._bind_limits(syntax.Query(operand), operand, scope)
                return self._bind_select(operand, (), top, Scope(parent=scope))
            case syntax.SetOperation():
                return self._bind_set_operation(operand, scope)
            case syntax.Query():
                return self.bind_query(operand, scope)

    def _align(self, bound: BoundQuery, columns: tuple[OutputColumn, ...]) -> str:
        """Return a query whose columns have the united types."""
        if self._is_aligned(bound, columns):
            return f"SELECT * FROM ({bound.sql}) AS q"
        converted = enumerate(self._converted(bound, columns), start=1)
        shown = ", ".join(f'{sql} AS "c{place}"' for place, sql in converted)
        return f"SELECT {shown} FROM ({bound.sql}) AS q"

    def _is_aligned(self, bound: BoundQuery, columns: tuple[OutputColumn, ...]) -> bool:
        """Whether the values of a query are those of the united types already, as a shorter text is one of a longer."""
        if all(own.type == target.type for own, target in zip(bound.columns, columns, strict=True)):
            return True
        plain = [f'q."c{place}"' for place in range(1, len(columns) + 1)]
        return self._converted(bound, columns) == plain

    def _converted(self, bound: BoundQuery, columns: tuple[OutputColumn, ...]) -> list[str]:
        """Return a query's columns, each as an expression of the united type."""
        pairs = zip(bound.columns, columns, strict=True)
        return [
            self.convert(Value(f'q."c{place}"', own.type, own.nullable), target.type).sql
            for place, (own, target) in enumerate(pairs, start=1)
        ]

    def _keys(self, prefix: str, columns: tuple[OutputColumn, ...]) -> list[str]:
        return [
            self.sort_key(Value(f'{prefix}"c{place}"', column.type)) for place, column in enumerate(columns, start=1)
        ]

    # Common table expressions

    def bind_common(self, binding: CommonBinding) -> tuple[str, tuple[OutputColumn, ...]]:
        """Bind a common table expression where it is referred to."""
        table = binding.table
        if _refers_to_itself(table):
            bound = self._bind_recursive(binding)
        else:
            bound = self.bind_query(table.query, binding.scope)
        return bound.sql, name_columns(bound.columns, table.columns, table.name)

    def _bind_recursive(self, binding: CommonBinding) -> BoundQuery:
        table = binding.table
        body = table.query.body
        if not (isinstance(body, syntax.SetOperation) and body.operator == "UNION ALL"):
            raise make_error(252, table.name)
        anchor = self._bind_operand(body.left, binding.scope)
        columns = name_columns(anchor.columns, table.columns, table.name)
        name = quote(f"recursive {table.name}")
        visible = [(column.name, Value(f'"c{place}"', column.type)) for place, column in enumerate(columns, start=1)]
        scope = Scope(parent=binding.scope)
        scope.common[table.name.lower()] = CommonBinding(table, binding.scope, (name, visible))
        step = self._bind_operand(body.right, scope)
        if len(step.columns) != len(anchor.columns):
            raise make_error(205)
        for place, (first, second) in enumerate(zip(anchor.columns, step.columns, strict=True), start=1):
            if common_type(first.type, second.type).storage != first.type.storage:
                raise make_error(240, columns[place - 1].name, table.name)
        aligned = self._align(step, anchor.columns)
        sql = f"WITH RECURSIVE {name} AS ({anchor.sql} UNION ALL {aligned}) SELECT * FROM {name}"
        return BoundQuery(sql, tuple(replace(column, nullable=True) for column in columns))


def _united(left: BoundQuery, right: BoundQuery, operator: str) -> tuple[OutputColumn, ...]:
    """Return the columns of two queries' union. Raises SqlError 205."""
    if len(left.columns) != len(right.columns):
        raise make_error(205)
    return tuple(
        OutputColumn(
            first.name,
            common_type(first.type, second.type),
            first.nullable or (second.nullable and operator != "EXCEPT"),
        )
        for first, second in zip(left.columns, right.columns, strict=True)
    )


def replace_common(scope: Scope) -> Scope:
    """Return the scope that a common table expression sees: those before it, not itself."""
    return Scope(parent=scope.parent, common=dict(scope.common))


def _unqualified(expression: syntax.Expression) -> syntax.Expression:
    return syntax.Column(expression.parts[-1:]) if isinstance(expression, syntax.Column) else expression


def _refers_to_itself(table: syntax.CommonTable) -> bool:
    return _mentions(table.query, table.name.lower())


def _mentions(node: object, name: str) -> bool:
    return any(
        isinstance(found, syntax.TableSource) and len(found.name) == 1 and found.name[0].lower() == name
        for found in syntax.walk(node)
    )


def _aggregates(select: syntax.Select, order: tuple[syntax.OrderItem, ...]) -> bool:
    """Return whether a query without GROUP BY has an aggregate."""
    nodes: list[object] = [*(item.expression for item in select.items), *(item.expression for item in order)]
    return any(
        isinstance(found, syntax.Call) and found.window is None and found.name[-1].upper() in AGGREGATES
        for node in nodes
        for found in syntax.walk(node, into_queries=False)
    )
