"""Syntax trees of T-SQL: what the parser makes and the binder reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal

Name = tuple[str, ...]
"""One to four parts: [[[server.]database.]schema.]object."""


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as declared; arguments are its facets, -1 for ``max``."""

    name: str
    arguments: tuple[int, ...] = ()


# Expressions


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: str with ``national``, int, Decimal, float, bytes, or None for NULL; ``money`` marks $1.50."""

    value: str | int | Decimal | float | bytes | None
    national: bool = False
    money: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """@name, or @@name."""

    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name, qualified or not."""

    parts: Name


@dataclass(frozen=True, slots=True)
class Star:
    """``*`` or ``t.*``."""

    qualifier: Name = ()


@dataclass(frozen=True, slots=True)
class Unary:
    """``-x``, ``+x`` or ``~x``."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, bitwise operators and concatenation."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Comparison:
    """``=``, ``<>``, ``<`` and their like."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Logical:
    """AND or OR of two conditions."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Not:
    """NOT condition."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class IsNull:
    """``x IS [NOT] NULL``."""

    operand: Expression
    negated: bool


@dataclass(frozen=True, slots=True)
class InList:
    """``x [NOT] IN (a, b, …)``."""

    operand: Expression
    items: tuple[Expression, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class InQuery:
    """``x [NOT] IN (SELECT …)``."""

    operand: Expression
    query: Query
    negated: bool


@dataclass(frozen=True, slots=True)
class Between:
    """``x [NOT] BETWEEN low AND high``."""

    operand: Expression
    low: Expression
    high: Expression
    negated: bool


@dataclass(frozen=True, slots=True)
class Like:
    """``x [NOT] LIKE pattern [ESCAPE escape]``."""

    operand: Expression
    pattern: Expression
    escape: Expression | None
    negated: bool


@dataclass(frozen=True, slots=True)
class Exists:
    """``EXISTS (SELECT …)``."""

    query: Query


@dataclass(frozen=True, slots=True)
class Case:
    """CASE, simple (with ``operand``) or searched."""

    operand: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    default: Expression | None


@dataclass(frozen=True, slots=True)
class Cast:
    """CAST and CONVERT; ``attempt`` for their TRY_ forms."""

    operand: Expression
    type: TypeName
    attempt: bool
    style: Expression | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The OVER clause; ``frame`` is its text."""

    partition: tuple[Expression, ...]
    order: tuple[OrderItem, ...]
    frame: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; ``star`` for COUNT(*)."""

    name: Name
    arguments: tuple[Expression, ...]
    distinct: bool = False
    star: bool = False
    window: Window | None = None
    within: tuple[OrderItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a CLR or xml value: ``x.ToString()``."""

    operand: Expression
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A subquery as a value."""

    query: Query


@dataclass(frozen=True, slots=True)
class Collate:
    """``x COLLATE name``."""

    operand: Expression
    collation: str


@dataclass(frozen=True, slots=True)
class AtTimeZone:
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


@dataclass(frozen=True, slots=True)
class OrderItem:
    """An ORDER BY item."""

    expression: Expression
    descending: bool


@dataclass(frozen=True, slots=True)
class SelectItem:
    """An item of the select list; ``variable`` for ``SELECT @x = …``."""

    expression: Expression
    alias: str | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """``TABLESAMPLE``: so many rows, or per cent of them."""

    size: int
    percent: bool


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table or view by name."""

    name: Name
    alias: str | None = None
    hints: tuple[str, ...] = ()
    sample: Sample | None = None


@dataclass(frozen=True, slots=True)
class DerivedSource:
    """A subquery in FROM."""

    query: Query
    alias: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ValuesSource:
    """``(VALUES (…), (…)) AS v(a, b)``."""

    rows: tuple[tuple[Expression, ...], ...]
    alias: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FunctionSource:
    """A table-valued function."""

    call: Call
    alias: str | None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangesSource:
    """``CHANGETABLE(CHANGES table, since) AS ct``."""

    table: Name
    since: Expression
    alias: str | None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """``left <kind> JOIN right``; kind is INNER, LEFT, RIGHT, FULL, CROSS, CROSS APPLY or OUTER APPLY."""

    kind: str
    left: Source
    right: Source
    condition: Expression | None


Source = TableSource | DerivedSource | ValuesSource | FunctionSource | ChangesSource | Join


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT, without ORDER BY."""

    items: tuple[SelectItem, ...]
    source: Source | None
    where: Expression | None
    group_by: tuple[Expression, ...]
    having: Expression | None
    distinct: bool
    top: Expression | None
    into: Name | None = None


@dataclass(frozen=True, slots=True)
class SetOperation:
    """UNION [ALL], EXCEPT or INTERSECT."""

    operator: str
    left: Select | SetOperation | Query
    right: Select | SetOperation | Query


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query with its common table expressions and its order."""

    body: Select | SetOperation | Query
    order: tuple[OrderItem, ...] = ()
    offset: Expression | None = None
    fetch: Expression | None = None
    common: tuple[CommonTable, ...] = ()


@dataclass(frozen=True, slots=True)
class CommonTable:
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
    elif is_dataclass(node) and (into_queries or not isinstance(node, Query)):
        for part in fields(node):
            yield from walk(getattr(node, part.name), into_queries=into_queries)
