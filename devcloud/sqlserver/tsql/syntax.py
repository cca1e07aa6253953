"""Syntax trees of T-SQL: what the parser makes and the binder reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
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
class TableSource:
    """A table or view by name."""

    name: Name
    alias: str | None = None
    hints: tuple[str, ...] = ()


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
class Join:
    """``left <kind> JOIN right``; kind is INNER, LEFT, RIGHT, FULL, CROSS, CROSS APPLY or OUTER APPLY."""

    kind: str
    left: Source
    right: Source
    condition: Expression | None


Source = TableSource | DerivedSource | ValuesSource | FunctionSource | Join


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


# Statements


@dataclass(frozen=True, slots=True)
class SelectStatement:
    """SELECT."""

    query: Query
    line: int = 1


@dataclass(frozen=True, slots=True)
class Insert:
    """INSERT; without source it is DEFAULT VALUES. A DEFAULT among the values is None."""

    table: Name
    columns: tuple[str, ...] | None
    rows: tuple[tuple[Expression | None, ...], ...] | None
    query: Query | None
    output: tuple[SelectItem, ...]
    line: int = 1


@dataclass(frozen=True, slots=True)
class Assignment:
    """``column = value``, or ``@variable = value``; a value of None is DEFAULT."""

    column: str
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Update:
    """UPDATE; ``target`` is a table's name or an alias of ``source``."""

    target: Name
    assignments: tuple[Assignment, ...]
    source: Source | None
    where: Expression | None
    top: Expression | None
    output: tuple[SelectItem, ...]
    common: tuple[CommonTable, ...] = ()
    line: int = 1


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE; ``target`` is a table's name or an alias of ``source``."""

    target: Name
    source: Source | None
    where: Expression | None
    top: Expression | None
    output: tuple[SelectItem, ...]
    common: tuple[CommonTable, ...] = ()
    line: int = 1


@dataclass(frozen=True, slots=True)
class Truncate:
    """TRUNCATE TABLE."""

    table: Name
    line: int = 1


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column of CREATE TABLE or ALTER TABLE ADD; ``computed`` replaces the type."""

    name: str
    type: TypeName | None
    nullable: bool | None = None
    identity: tuple[int, int] | None = None
    default: str | None = None
    default_name: str | None = None
    computed: str | None = None
    persisted: bool = False
    collation: str | None = None


@dataclass(frozen=True, slots=True)
class KeyDefinition:
    """PRIMARY KEY, UNIQUE, or an index; columns with whether they descend."""

    name: str | None
    columns: tuple[tuple[str, bool], ...]
    unique: bool
    primary: bool
    clustered: bool | None = None
    included: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateTable:
    """CREATE TABLE."""

    table: Name
    columns: tuple[ColumnDefinition, ...]
    keys: tuple[KeyDefinition, ...]
    line: int = 1


@dataclass(frozen=True, slots=True)
class AddToTable:
    """ALTER TABLE … ADD columns and constraints."""

    table: Name
    columns: tuple[ColumnDefinition, ...]
    keys: tuple[KeyDefinition, ...]
    defaults: tuple[tuple[str | None, str, str], ...] = ()
    line: int = 1


@dataclass(frozen=True, slots=True)
class AlterColumn:
    """ALTER TABLE … ALTER COLUMN."""

    table: Name
    column: str
    type: TypeName
    nullable: bool | None
    collation: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class DropFromTable:
    """ALTER TABLE … DROP COLUMN or CONSTRAINT; kind is column or constraint."""

    table: Name
    kind: str
    names: tuple[str, ...]
    if_exists: bool
    line: int = 1


@dataclass(frozen=True, slots=True)
class CreateIndex:
    """CREATE INDEX."""

    table: Name
    key: KeyDefinition
    line: int = 1


@dataclass(frozen=True, slots=True)
class CreateView:
    """CREATE [OR ALTER] VIEW; ``definition`` is the whole statement's text, ``body`` that of its query."""

    name: Name
    columns: tuple[str, ...]
    query: Query
    definition: str
    body: str
    replace: bool
    line: int = 1


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE DATABASE, SCHEMA, LOGIN, USER or ROLE; ``argument`` is a password or a login."""

    kind: str
    name: str
    argument: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Drop:
    """DROP of whatever kind; ``table`` for an index."""

    kind: str
    names: tuple[Name, ...]
    if_exists: bool
    table: Name | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Permission:
    """GRANT, DENY or REVOKE; ``securable`` None means the database, ``scope`` is object or schema."""

    verb: str
    permissions: tuple[str, ...]
    securable: Name | None
    scope: str
    principals: tuple[str, ...]
    line: int = 1


@dataclass(frozen=True, slots=True)
class Use:
    """USE database."""

    database: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class Declare:
    """DECLARE @a type [= value], …."""

    variables: tuple[tuple[str, TypeName, Expression | None], ...]
    line: int = 1


@dataclass(frozen=True, slots=True)
class SetVariable:
    """SET @x = value."""

    name: str
    value: Expression
    line: int = 1


@dataclass(frozen=True, slots=True)
class SetOption:
    """SET option values, as in SET NOCOUNT ON."""

    name: str
    value: str
    table: Name | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Block:
    """BEGIN … END."""

    statements: tuple[Statement, ...]
    line: int = 1


@dataclass(frozen=True, slots=True)
class If:
    """IF condition statement [ELSE statement]."""

    condition: Expression
    then: Statement
    otherwise: Statement | None
    line: int = 1


@dataclass(frozen=True, slots=True)
class While:
    """WHILE condition statement."""

    condition: Expression
    body: Statement
    line: int = 1


@dataclass(frozen=True, slots=True)
class TryCatch:
    """BEGIN TRY … END TRY BEGIN CATCH … END CATCH."""

    attempt: Block
    handler: Block
    line: int = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """BREAK, CONTINUE or RETURN."""

    kind: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class Print:
    """PRINT."""

    value: Expression
    line: int = 1


@dataclass(frozen=True, slots=True)
class RaiseError:
    """RAISERROR."""

    message: Expression
    severity: Expression
    state: Expression
    arguments: tuple[Expression, ...]
    line: int = 1


@dataclass(frozen=True, slots=True)
class Throw:
    """THROW; without arguments it raises the caught error again."""

    number: Expression | None = None
    message: Expression | None = None
    state: Expression | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class WaitFor:
    """WAITFOR DELAY."""

    delay: Expression
    line: int = 1


@dataclass(frozen=True, slots=True)
class Transaction:
    """BEGIN, COMMIT, ROLLBACK or SAVE TRANSACTION."""

    kind: str
    name: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of EXECUTE."""

    name: str | None
    value: Expression | None
    output: bool = False


@dataclass(frozen=True, slots=True)
class Execute:
    """EXECUTE procedure; ``result`` receives its return status."""

    procedure: Name
    arguments: tuple[Argument, ...]
    result: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class ExecuteText:
    """EXECUTE ('…')."""

    text: Expression
    line: int = 1


Statement = (
    SelectStatement
    | Insert
    | Update
    | Delete
    | Truncate
    | CreateTable
    | AddToTable
    | AlterColumn
    | DropFromTable
    | CreateIndex
    | CreateView
    | Create
    | Drop
    | Permission
    | Use
    | Declare
    | SetVariable
    | SetOption
    | Block
    | If
    | While
    | TryCatch
    | Flow
    | Print
    | RaiseError
    | Throw
    | WaitFor
    | Transaction
    | Execute
    | ExecuteText
)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request holds."""

    statements: tuple[Statement, ...] = field(default_factory=tuple)


def walk(node: object, *, into_queries: bool = True) -> Iterator[object]:
    """Yield a node and all nodes below it; without ``into_queries`` not those of nested queries."""
    yield node
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item, into_queries=into_queries)
    elif is_dataclass(node) and (into_queries or not isinstance(node, Query)):
        for part in fields(node):
            yield from walk(getattr(node, part.name), into_queries=into_queries)
