"""Syntax trees of statements and batches."""

from __future__ import annotations

from dataclasses import dataclass, field

from devcloud.sqlserver.tsql.syntax import CommonTable, Expression, Name, Query, SelectItem, Source, TypeName


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
class CreateSynonym:
    """CREATE SYNONYM name FOR base."""

    name: Name
    base: Name
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
    """GRANT, DENY or REVOKE; ``securable`` None means the database, ``scope`` is object or schema; ``columns`` of an
    object, none for the whole."""

    verb: str
    permissions: tuple[str, ...]
    securable: Name | None
    scope: str
    principals: tuple[str, ...]
    columns: tuple[str, ...]
    line: int = 1


@dataclass(frozen=True, slots=True)
class TrackTable:
    """ALTER TABLE … ENABLE or DISABLE CHANGE_TRACKING."""

    table: Name
    enable: bool
    line: int = 1


@dataclass(frozen=True, slots=True)
class AlterDatabase:
    """ALTER DATABASE name SET options; without a name it is the current one.

    CHANGE_TRACKING may be ON, OFF or, where only its own options are given, absent.
    """

    name: str | None
    options: tuple[tuple[str, str], ...]
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
    | CreateSynonym
    | Create
    | Drop
    | Permission
    | TrackTable
    | AlterDatabase
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
