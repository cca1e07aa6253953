"""Syntax trees of statements and batches."""

from __future__ import annotations

from dataclasses import field

from devcloud.sqlserver.tsql.syntax import CommonTable, Expression, Name, Node, Query, SelectItem, Source, TypeName


class Statement(Node):
    """A statement, and the line of the batch that it begins in."""

    line: int = field(default=1, kw_only=True)


class SelectStatement(Statement):
    """SELECT."""

    query: Query


class Insert(Statement):
    """INSERT; without source it is DEFAULT VALUES. A DEFAULT among the values is None."""

    table: Name
    columns: tuple[str, ...] | None
    rows: tuple[tuple[Expression | None, ...], ...] | None
    query: Query | None
    output: tuple[SelectItem, ...]


class Assignment(Node):
    """``column = value``, or ``column += value`` with its ``operator``; a value of None is DEFAULT."""

    column: str
    value: Expression | None
    operator: str | None = None


class Update(Statement):
    """UPDATE; ``target`` is a table's name or an alias of ``source``."""

    target: Name
    assignments: tuple[Assignment, ...]
    source: Source | None
    where: Expression | None
    top: Expression | None
    output: tuple[SelectItem, ...]
    common: tuple[CommonTable, ...] = ()


class Delete(Statement):
    """DELETE; ``target`` is a table's name or an alias of ``source``."""

    target: Name
    source: Source | None
    where: Expression | None
    top: Expression | None
    output: tuple[SelectItem, ...]
    common: tuple[CommonTable, ...] = ()


class Truncate(Statement):
    """TRUNCATE TABLE."""

    table: Name


class ColumnDefinition(Node):
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


class KeyDefinition(Node):
    """PRIMARY KEY, UNIQUE, or an index; columns with whether they descend."""

    name: str | None
    columns: tuple[tuple[str, bool], ...]
    unique: bool
    primary: bool
    clustered: bool | None = None
    included: tuple[str, ...] = ()


class CreateTable(Statement):
    """CREATE TABLE."""

    table: Name
    columns: tuple[ColumnDefinition, ...]
    keys: tuple[KeyDefinition, ...]


class AddToTable(Statement):
    """ALTER TABLE … ADD columns and constraints."""

    table: Name
    columns: tuple[ColumnDefinition, ...]
    keys: tuple[KeyDefinition, ...]
    defaults: tuple[tuple[str | None, str, str], ...] = ()


class AlterColumn(Statement):
    """ALTER TABLE … ALTER COLUMN."""

    table: Name
    column: str
    type: TypeName
    nullable: bool | None
    collation: str | None = None


class DropFromTable(Statement):
    """ALTER TABLE … DROP COLUMN or CONSTRAINT; kind is column or constraint."""

    table: Name
    kind: str
    names: tuple[str, ...]
    if_exists: bool


class CreateIndex(Statement):
    """CREATE INDEX."""

    table: Name
    key: KeyDefinition


class CreateView(Statement):
    """CREATE [OR ALTER] VIEW; ``definition`` is the whole statement's text, ``body`` that of its query."""

    name: Name
    columns: tuple[str, ...]
    query: Query
    definition: str
    body: str
    replace: bool


class CreateSynonym(Statement):
    """CREATE SYNONYM name FOR base."""

    name: Name
    base: Name


class Create(Statement):
    """CREATE DATABASE, SCHEMA, LOGIN, USER or ROLE; ``argument`` is a password or a login."""

    kind: str
    name: str
    argument: str | None = None


class Drop(Statement):
    """DROP of whatever kind; ``table`` for an index."""

    kind: str
    names: tuple[Name, ...]
    if_exists: bool
    table: Name | None = None


class Permission(Statement):
    """GRANT, DENY or REVOKE; ``securable`` None means the database, ``scope`` is object or schema; ``columns`` of an
    object, none for the whole."""

    verb: str
    permissions: tuple[str, ...]
    securable: Name | None
    scope: str
    principals: tuple[str, ...]
    columns: tuple[str, ...]


class TrackTable(Statement):
    """ALTER TABLE … ENABLE or DISABLE CHANGE_TRACKING."""

    table: Name
    enable: bool


class AlterDatabase(Statement):
    """ALTER DATABASE name SET options; without a name it is the current one.

    CHANGE_TRACKING may be ON, OFF or, where only its own options are given, absent.
    """

    name: str | None
    options: tuple[tuple[str, str], ...]


class Use(Statement):
    """USE database."""

    database: str


class Declare(Statement):
    """DECLARE @a type [= value], …."""

    variables: tuple[tuple[str, TypeName, Expression | None], ...]


class SetVariable(Statement):
    """SET @x = value."""

    name: str
    value: Expression


class SetOption(Statement):
    """SET option values, as in SET NOCOUNT ON."""

    name: str
    value: str
    table: Name | None = None


class Block(Statement):
    """BEGIN … END."""

    statements: tuple[Statement, ...]


class If(Statement):
    """IF condition statement [ELSE statement]."""

    condition: Expression
    then: Statement
    otherwise: Statement | None


class While(Statement):
    """WHILE condition statement."""

    condition: Expression
    body: Statement


class TryCatch(Statement):
    """BEGIN TRY … END TRY BEGIN CATCH … END CATCH."""

    attempt: Block
    handler: Block


class Flow(Statement):
    """BREAK, CONTINUE or RETURN."""

    kind: str


class Print(Statement):
    """PRINT."""

    value: Expression


class RaiseError(Statement):
    """RAISERROR."""

    message: Expression
    severity: Expression
    state: Expression
    arguments: tuple[Expression, ...]


class Throw(Statement):
    """THROW; without arguments it raises the caught error again."""

    number: Expression | None = None
    message: Expression | None = None
    state: Expression | None = None


class WaitFor(Statement):
    """WAITFOR DELAY."""

    delay: Expression


class TransactionStatement(Statement):
    """BEGIN, COMMIT, ROLLBACK or SAVE TRANSACTION."""

    kind: str
    name: str | None = None


class Argument(Node):
    """One argument of EXECUTE."""

    name: str | None
    value: Expression | None
    output: bool = False


class Execute(Statement):
    """EXECUTE procedure; ``result`` receives its return status."""

    procedure: Name
    arguments: tuple[Argument, ...]
    result: str | None = None


class ExecuteText(Statement):
    """EXECUTE ('…')."""

    text: Expression


class Batch(Node):
    """What one request holds."""

    statements: tuple[Statement, ...] = ()
