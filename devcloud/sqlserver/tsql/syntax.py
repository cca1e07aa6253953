"""Syntax trees of T-SQL: what the parser makes and the binder reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from decimal import Decimal
from typing import Any, ClassVar, dataclass_transform

Name = tuple[str, ...]
"""One to four parts: [[[server.]database.]schema.]object."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Node:
    """What the trees are made of: each kind is a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


class TypeName(Node):
    """A type as declared; arguments are its facets, -1 for ``max``."""

    name: str
    arguments: tuple[int, ...] = ()


# Expressions


class Literal(Node):
    """A constant: str with ``national``, int, Decimal, float, bytes, or None for NULL; ``money`` marks $1.50."""

    value: str | int | Decimal | float | bytes | None
    national: bool = False
    money: bool = False


class Variable(Node):
    """@name, or @@name."""

    name: str


class Column(Node):
    """A column by its name, qualified or not."""

    parts: Name


class Star(Node):
    """``*`` or ``t.*``."""

    qualifier: Name = ()


class Unary(Node):
    """``-x``, ``+x`` or ``~x``."""

    operator: str
    operand: Expression


class Binary(Node):
    """Arithmetic, bitwise operators and concatenation."""

    operator: str
    left: Expression
    right: Expression


class Comparison(Node):
    """``=``, ``<>``, ``<`` and their like."""

    operator: str
    left: Expression
    right: Expression


class Logical(Node):
    """AND or OR of two conditions."""

    operator: str
    left: Expression
    right: Expression


class Not(Node):
    """NOT condition."""

    operand: Expression


class IsNull(Node):
    """``x IS [NOT] NULL``."""

    operand: Expression
    negated: bool


class InList(Node):
    """``x [NOT] IN (a, b, …)``."""

    operand: Expression
    items: tuple[Expression, ...]
    negated: bool


class InQuery(Node):
    """``x [NOT] IN (SELECT …)``."""

    operand: Expression
    query: Query
    negated: bool


class Between(Node):
    """``x [NOT] BETWEEN low AND high``."""

    operand: Expression
    low: Expression
    high: Expression
    negated: bool


class Like(Node):
    """``x [NOT] LIKE pattern [ESCAPE escape]``."""

    operand: Expression
    pattern: Expression
    escape: Expression | None
    negated: bool


class Exists(Node):
    """``EXISTS (SELECT …)``."""

    query: Query


class Case(Node):
    """CASE, simple (with ``operand``) or searched."""

    operand: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    default: Expression | None


class Cast(Node):
    """CAST and CONVERT; ``attempt`` for their TRY_ forms."""

    operand: Expression
    type: TypeName
    attempt: bool
    style: Expression | None = None


class Window(Node):
    """The OVER clause; ``frame`` is its text."""

    partition: tuple[Expression, ...]
    order: tuple[OrderItem, ...]
    frame: str


class Call(Node):
    """A function call; ``star`` for COUNT(*)."""

    name: Name
    arguments: tuple[Expression, ...]
    distinct: bool = False
    star: bool = False
    window: Window | None = None
    within: tuple[OrderItem, ...] = ()


class Method(Node):
    """A method of a CLR or xml value: ``x.ToString()``."""

    operand: Expression
    name: str
    arguments: tuple[Expression, ...]


class Scalar(Node):
    """A subquery as a value."""

    query: Query


class Collate(Node):
    """``x COLLATE name``."""

    operand: Expression
    collation: str


class AtTimeZone(Node):
    """``x AT TIME ZONE zone``."""

    operand: Expression
    zone: Expression


Expression = (
    Literal
    | Variable
    | Column
    | Star
    | Unary
    | Binary
    | Comparison
    | Logical
    | Not
    | IsNull
    | InList
    | InQuery
    | Between
    | Like
    | Exists
    | Case
    | Cast
    | Call
    | Method
    | Scalar
    | Collate
    | AtTimeZone
)

# Queries


class OrderItem(Node):
    """An ORDER BY item."""

    expression: Expression
    descending: bool


class SelectItem(Node):
    """An item of the select list; ``variable`` for ``SELECT @x = …``."""

    expression: Expression
    alias: str | None = None
    variable: str | None = None


class Sample(Node):
    """``TABLESAMPLE``: a number of rows, or per cent of them."""

    size: int
    percent: bool


class TableSource(Node):
    """A table or view by name."""

    name: Name
    alias: str | None = None
    hints: tuple[str, ...] = ()
    sample: Sample | None = None


class DerivedSource(Node):
    """A subquery in FROM."""

    query: Query
    alias: str
    columns: tuple[str, ...] = ()


class ValuesSource(Node):
    """``(VALUES (…), (…)) AS v(a, b)``."""

    rows: tuple[tuple[Expression, ...], ...]
    alias: str
    columns: tuple[str, ...]


class FunctionSource(Node):
    """A table-valued function."""

    call: Call
    alias: str | None
    columns: tuple[str, ...] = ()


class ChangesSource(Node):
    """``CHANGETABLE(CHANGES table, since) AS ct``."""

    table: Name
    since: Expression
    alias: str | None
    columns: tuple[str, ...] = ()


class Join(Node):
    """``left <kind> JOIN right``; kind is INNER, LEFT, RIGHT, FULL, CROSS, CROSS APPLY or OUTER APPLY."""

    kind: str
    left: Source
    right: Source
    condition: Expression | None


Source = TableSource | DerivedSource | ValuesSource | FunctionSource | ChangesSource | Join


class Select(Node):
    """One SELECT, without ORDER BY."""

    items: tuple[SelectItem, ...]
    source: Source | None
    where: Expression | None
    group_by: tuple[Expression, ...]
    having: Expression | None
    distinct: bool
    top: Expression | None
    into: Name | None = None


class SetOperation(Node):
    """UNION [ALL], EXCEPT or INTERSECT."""

    operator: str
    left: Select | SetOperation | Query
    right: Select | SetOperation | Query


class Query(Node):
    """A whole query with its common table expressions and its order."""

    body: Select | SetOperation | Query
    order: tuple[OrderItem, ...] = ()
    offset: Expression | None = None
    fetch: Expression | None = None
    common: tuple[CommonTable, ...] = ()


class CommonTable(Node):
    """One common table expression."""

    name: str
    columns: tuple[str, ...]
    query: Query


def walk(node: object, *, into_queries: bool = True) -> Iterator[object]:
    """Yield a node and all nodes below it; without ``into_queries`` not those of nested queries."""
    yield node
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item, into_queries=into_queries)
    elif isinstance(node, Node) and (into_queries or not isinstance(node, Query)):
        for part in fields(node):
            yield from walk(getattr(node, part.name), into_queries=into_queries)
