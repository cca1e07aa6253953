"""Runs the statements of a batch: binds each, lets DuckDB do it, and sends what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import duckdb

from devcloud.sqlserver.engine.backend import used_parameters
from devcloud.sqlserver.engine.definitions import Definer
from devcloud.sqlserver.engine.moments import parse_moment
from devcloud.sqlserver.engine.outputs import BoundQuery
from devcloud.sqlserver.engine.tracking import forget_versions
from devcloud.sqlserver.engine.tracking_definitions import TRACKING_OPTIONS, check_tracking
from devcloud.sqlserver.engine.value_binder import declared_type
from devcloud.sqlserver.engine.values import Scalar, from_storage
from devcloud.sqlserver.engine.writes import BoundWrite, WriteBinder
from devcloud.sqlserver.errors import (
    UNFORESEEN,
    SessionEndedError,
    SqlError,
    make_error,
    not_understood,
    refuse,
)
from devcloud.sqlserver.execution import Execution
from devcloud.sqlserver.procedures import run_procedure
from devcloud.sqlserver.results import Results
from devcloud.sqlserver.session import Session
from devcloud.sqlserver.tds import tokens
from devcloud.sqlserver.tsql import commands, syntax
from devcloud.sqlserver.tsql.statements import parse_batch
from devcloud.sqlserver.types import INT, SqlType, nvarchar

_ABORTING: Final = frozenset(
    {102, 105, 156, 207, 208, 209, 229, 241, 242, 245, 8114, 8115, 8134, 137, 40510, 4104, 195}
)


_KEPT_OPTIONS: Final = {
    **dict.fromkeys(("IMPLICIT_TRANSACTIONS", "FMTONLY", "NOEXEC", "PARSEONLY"), ("OFF",)),
    **dict.fromkeys(("CONCAT_NULL_YIELDS_NULL", "ANSI_NULLS", "QUOTED_IDENTIFIER"), ("ON",)),
    "ROWCOUNT": ("0",),
    "DATEFIRST": ("7",),
    "DATEFORMAT": ("MDY", "YMD"),
    "LANGUAGE": ("US_ENGLISH", "ENGLISH"),
}
"""Options of SET that stay as they are, with the values that say so; others of theirs are refused."""


@dataclass(frozen=True, slots=True)
class _Leave(Exception):
    """BREAK, CONTINUE or RETURN on its way out."""

    kind: str


class Executor(Execution):
    """Runs one request's statements."""

    def __init__(self, session: Session, results: Results) -> None:
        super().__init__(session, results)
        self._statements: dict[type, Callable[[Any], None]] = {
            commands.SelectStatement: self._select,
            commands.Insert: lambda s: self._write(lambda b: b.bind_insert(s, self.session.identity_insert)),
            commands.Update: lambda s: self._write(lambda b: b.bind_update(s)),
            commands.Delete: lambda s: self._write(lambda b: b.bind_delete(s)),
            commands.Truncate: lambda s: self._write(lambda b: b.bind_truncate(s)),
            commands.CreateTable: lambda s: self.define(lambda d: d.create_table(s)),
            commands.AddToTable: lambda s: self.define(lambda d: d.add_to_table(s)),
            commands.AlterColumn: lambda s: self.define(lambda d: d.alter_column(s)),
            commands.DropFromTable: lambda s: self.define(lambda d: d.drop_from_table(s)),
            commands.CreateIndex: lambda s: self.define(lambda d: d.create_index(s)),
            commands.CreateView: lambda s: self.define(lambda d: d.create_view(s)),
            commands.CreateSynonym: lambda s: self.define(lambda d: d.create_synonym(s)),
            commands.TrackTable: self._track,
            commands.Permission: lambda s: self.define(lambda d: d.set_permission(s)),
            commands.Create: self._create,
            commands.AlterDatabase: self._alter_database,
            commands.Drop: self._drop,
            commands.Use: self._use,
            commands.Declare: self._declare,
            commands.SetVariable: self._set_variable,
            commands.SetOption: self._set_option,
            commands.Block: self._block,
            commands.If: self._if,
            commands.While: self._while,
            commands.TryCatch: self._try,
            commands.Flow: self._flow,
            commands.Print: self._print,
            commands.RaiseError: self._raise,
            commands.Throw: self._throw,
            commands.WaitFor: self._wait,
            commands.TransactionStatement: self._transaction,
            commands.Execute: lambda s: run_procedure(self, s),
            commands.ExecuteText: self._execute_text,
        }

    # Batches

    def run(self, text: str) -> bool:
        """Run a batch and send its results; returns whether it failed. Raises CancelledError, ConnectionLostError
        and SessionEndedError.
        """
        try:
            self.run_text(text)
        except _Leave:
            return False
        except SqlError as error:
            self.fail(error)
            return True
        return False

    def fail(self, error: SqlError) -> None:
        """Send an error that ended the batch."""
        self.session.last_error = error.number
        self.results.message(error)
        self.results.done(failed=True)
        if error.severity >= 20:
            self.results.finish()
            raise SessionEndedError

    def run_text(self, text: str) -> None:
        """Run the statements of a text."""
        try:
            statements = parse_batch(text).statements
        except UNFORESEEN as error:
            raise not_understood("a text", error) from error
        for statement in statements:
            self.run_statement(statement)

    def run_statement(self, statement: commands.Statement) -> None:
        """Run a statement. Errors that end only the statement are sent; those that end the batch are raised."""
        session = self.session
        session.check_cancelled()
        session.begin_statement()
        try:
            self._perform(statement)
        except SqlError as error:
            if error.line == 1:
                error.line = statement.line
            session.last_error = error.number
            # As under XACT_ABORT: DuckDB gives up a whole transaction with its first error.
            self.roll_back_failed()
            nested = isinstance(statement, commands.Block | commands.If | commands.While | commands.TryCatch)
            if nested or session.try_depth or error.number in _ABORTING or error.severity >= 20 or session.xact_abort:
                raise
            self.results.message(error)
            self.results.done(failed=True)
            return
        if not isinstance(
            statement, commands.If | commands.While | commands.Block | commands.TryCatch | commands.Print
        ):
            session.last_error = 0

    def _perform(self, statement: commands.Statement) -> None:
        try:
            self._statements[type(statement)](statement)
        except UNFORESEEN as error:
            raise not_understood(f"a statement ({type(statement).__name__})", error) from error

    # Queries

    def _select(self, statement: commands.SelectStatement) -> None:
        body = statement.query.body
        if isinstance(body, syntax.Select) and body.into is not None:
            self._select_into(statement, body.into)
            return
        binder = self.binder()
        bound = binder.bind_query(statement.query, None, outermost=True)
        fault = self._strike(binder.tables)
        if bound.variables:
            self._assign(bound, binder)
            return
        count = self.send_rows(bound.sql, binder.parameters, bound.columns, binder.tables, fault)
        self._close(count, tokens.SELECT_COMMAND)

    def _close(self, count: int, command: int) -> None:
        self.session.rowcount = count
        self.results.done(None if self.session.nocount else count, command)

    def _assign(self, bound: BoundQuery, binder: WriteBinder) -> None:
        rows = self.fetch(bound.sql, binder.parameters)
        self.session.rowcount = len(rows)
        if rows:
            for name, column, value in zip(bound.variables, bound.columns, rows[-1], strict=True):
                self.session.store(name, self.coerce(column.type, from_storage(value, column.type), name))
        self.results.done(None if self.session.nocount else len(rows), tokens.SELECT_COMMAND)

    def coerce(self, source: SqlType, value: Scalar, name: str) -> Scalar:
        """Return a value as the type of the variable that it goes into."""
        kind = self.session.declared(name)
        return self.convert_scalar(source, value, kind)

    # Writes

    def _write(self, bind: Callable[[WriteBinder], BoundWrite]) -> None:
        binder = self.binder()
        bound = bind(binder)
        fault = self._strike(binder.tables)
        if fault is not None and fault.kind != "slow_rows":
            raise fault.make_error(self.session.number, self.session.login)
        count = 0

        def run(sql: str) -> int:
            with self.session.executing():
                rows = self.session.connection.execute(sql, used_parameters(sql, binder.parameters)).fetchall()
            return int(rows[0][0])

        def write() -> None:
            nonlocal count
            session = self.session
            if bound.bumps_rowversion:
                session.database_of(bound.catalogue.database).enter_rowversions(session.number, session.connection)
            with session.changes.recording(bound.capture, run):
                if bound.columns:
                    count = self.send_rows(bound.sql, binder.parameters, bound.columns, [bound.table])
                else:
                    count = run(bound.sql)
            if bound.verb == "TRUNCATE" and bound.table.identity is not None and bound.table.identity.identity:
                self._restart_identity(bound)

        self.in_transaction(write, bound.table, bound.verb)
        if bound.takes_identity and count:
            sequence = WriteBinder.identity_sequence(bound.catalogue, bound.table).replace("'", "''")
            self.session.last_identity = int(str(self.fetch(f"SELECT currval('{sequence}')", {})[0][0]))
        self._close(count, tokens.COMMANDS[bound.verb])

    def _restart_identity(self, bound: BoundWrite) -> None:
        identity = bound.table.identity
        if identity is None or identity.identity is None:
            return
        seed, increment = identity.identity
        limits = "MINVALUE -9223372036854775808" if seed < 1 or increment < 0 else ""
        name = WriteBinder.identity_sequence(bound.catalogue, bound.table)
        self.session.connection.execute(
            f"CREATE OR REPLACE SEQUENCE {name} START {seed} INCREMENT {increment} {limits}"
        )

    def _select_into(self, statement: commands.SelectStatement, name: syntax.Name) -> None:
        binder = self.binder()
        bound = binder.bind_query(statement.query, None, outermost=True)
        self._strike(binder.tables)
        count = 0

        def write() -> None:
            nonlocal count
            session = self.session
            try:
                table = Definer(session.connection, session).create_from_query(name, bound.columns)
            finally:
                session.forget_catalogue()
            session.has_defined = True
            catalogue = session.catalogue(session.database)
            target = f"INSERT INTO {WriteBinder.storage_name(catalogue, table)} {bound.sql}"
            with session.executing():
                rows = session.connection.execute(target, used_parameters(target, binder.parameters)).fetchall()
            count = int(rows[0][0])

        self.in_transaction(write)
        self._close(count, tokens.COMMANDS["INSERT"])

    # Definitions beyond one database

    def _create(self, statement: commands.Create) -> None:
        if statement.kind == "database":
            self.session.require_administrator("CREATE DATABASE")
            self.session.instance.create(statement.name)
            self.results.done()
        elif statement.kind == "login":
            self.session.require_administrator("CREATE LOGIN")
            self.session.add_login(statement.name, statement.argument or "")
            self.results.done()
        else:
            self.define(lambda definer: definer.create(statement))

    def _drop(self, statement: commands.Drop) -> None:
        if statement.kind not in ("database", "login"):
            self.define(lambda definer: definer.drop(statement))
            return
        self.session.require_administrator(f"DROP {statement.kind.upper()}")
        for name in statement.names:
            if statement.kind == "login":
                self.session.drop_login(name[-1])
            elif not (statement.if_exists and name[-1].lower() not in self.session.instance.databases):
                try:
                    self.session.instance.drop(name[-1])
                except duckdb.Error:
                    raise make_error(3702, name[-1]) from None
        self.results.done()

    def _alter_database(self, statement: commands.AlterDatabase) -> None:
        session = self.session
        session.require_administrator("ALTER DATABASE")
        if session.transaction.count:
            raise make_error(226, "ALTER DATABASE")
        database = session.database_of(statement.name or session.database)
        named = dict(statement.options)
        if named.keys() & TRACKING_OPTIONS:
            if not session.has_change_tracking:
                raise refuse("ALTER DATABASE … CHANGE_TRACKING")
            check_tracking(session.catalogue(database.name), database.settings, named.get("CHANGE_TRACKING"))
        if named.get("CHANGE_TRACKING") == "OFF":
            forget_versions(session.connection, database.name)
        session.instance.change_settings(database, database.settings.changed(statement.options))
        self.results.done()

    def _track(self, statement: commands.TrackTable) -> None:
        if not self.session.has_change_tracking:
            raise refuse("ALTER TABLE … CHANGE_TRACKING")
        self.define(lambda definer: definer.track(statement))

    # Variables and settings

    def _use(self, statement: commands.Use) -> None:
        for token in self.session.use(statement.database):
            self.results.token(token)
        self.results.done()

    def _declare(self, statement: commands.Declare) -> None:
        for name, declared, expression in statement.variables:
            kind = declared_type(declared)
            if name.lower() in self.session.variables:
                raise make_error(134, name)
            value = None if expression is None else self.evaluate(expression, kind)[1]
            self.session.variables[name.lower()] = (kind, value)

    def _set_variable(self, statement: commands.SetVariable) -> None:
        kind = self.session.declared(statement.name)
        self.session.store(statement.name, self.evaluate(statement.value, kind)[1])
        self.results.done()

    def _set_option(self, statement: commands.SetOption) -> None:
        session = self.session
        kept = _KEPT_OPTIONS.get(statement.name)
        if kept is not None and statement.value.upper() not in kept:
            raise refuse(f"SET {statement.name} {statement.value}")
        match statement.name:
            case "NOCOUNT":
                session.nocount = statement.value == "ON"
            case "XACT_ABORT":
                session.xact_abort = statement.value == "ON"
            case "ISOLATION":
                levels = ("READ COMMITTED", "READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT")
                if statement.value not in levels:
                    raise make_error(102, statement.value)
                session.transaction.isolation = statement.value
            case "LOCK_TIMEOUT":
                session.lock_timeout_milliseconds = int(statement.value)
            case "IDENTITY_INSERT":
                _, table = self.binder().find_table(statement.table or (), "INSERT")
                session.identity_insert = table.object_id if statement.value == "ON" else None
        self.results.done()

    # Control of flow

    def _block(self, statement: commands.Block) -> None:
        for inner in statement.statements:
            self.run_statement(inner)

    def _if(self, statement: commands.If) -> None:
        if self.test(statement.condition):
            self.run_statement(statement.then)
        elif statement.otherwise is not None:
            self.run_statement(statement.otherwise)

    def _while(self, statement: commands.While) -> None:
        while self.test(statement.condition):
            try:
                self.run_statement(statement.body)
            except _Leave as leave:
                if leave.kind == "RETURN":
                    raise
                if leave.kind == "BREAK":
                    return

    def _try(self, statement: commands.TryCatch) -> None:
        session = self.session
        session.try_depth += 1
        try:
            self._block(statement.attempt)
            return
        except SqlError as error:
            if error.severity >= 20:
                raise
            caught = error
        finally:
            session.try_depth -= 1
        outer, session.caught = session.caught, caught
        try:
            self._block(statement.handler)
        finally:
            session.caught = outer

    def _flow(self, statement: commands.Flow) -> None:
        raise _Leave(statement.kind)

    def _print(self, statement: commands.Print) -> None:
        _, value = self.evaluate(statement.value, nvarchar(4000))
        self.results.message(SqlError(0, _shown(value) or " ", 0, 1, statement.line))

    def _raise(self, statement: commands.RaiseError) -> None:
        kind, message = self.evaluate(statement.message)
        severity = int(str(self.evaluate(statement.severity, INT)[1]))
        state = int(str(self.evaluate(statement.state, INT)[1]))
        arguments = tuple(self.evaluate(argument)[1] for argument in statement.arguments)
        number = message if kind.is_integer and isinstance(message, int) else 50_000
        text = f"Error {number}" if kind.is_integer else str(message)
        error = SqlError(number, text % arguments if arguments else text, severity, state, statement.line)
        if severity <= 10:
            self.results.message(error)
            return
        raise error

    def _throw(self, statement: commands.Throw) -> None:
        if statement.number is None or statement.message is None or statement.state is None:
            if self.session.caught is None:
                raise make_error(10704)
            raise replace(self.session.caught)
        number = int(str(self.evaluate(statement.number, INT)[1]))
        message = str(self.evaluate(statement.message, nvarchar(2048))[1])
        state = int(str(self.evaluate(statement.state, INT)[1]))
        self.roll_back_failed()
        raise SqlError(number, message, 16, state, statement.line)

    def _wait(self, statement: commands.WaitFor) -> None:
        _, value = self.evaluate(statement.delay, nvarchar(30))
        try:
            _, ticks, _ = parse_moment(_shown(value))
        except ValueError:
            raise make_error(148, _shown(value)) from None
        self.session.sleep(ticks / 10_000_000)
        self.results.done()

    def _transaction(self, statement: commands.TransactionStatement) -> None:
        session = self.session
        transaction = session.transaction
        if statement.kind == "BEGIN":
            transaction.begin()
            if transaction.count == 1:
                self.results.token(tokens.make_environment_change(tokens.ENV_BEGIN, transaction.descriptor, b""))
        elif transaction.count == 0:
            raise make_error(3902 if statement.kind == "COMMIT" else 3903)
        elif statement.kind == "COMMIT" and transaction.count > 1:
            transaction.count -= 1
        else:
            self.end_transaction(commit=statement.kind == "COMMIT")
        self.results.done()

    def _execute_text(self, statement: commands.ExecuteText) -> None:
        _, value = self.evaluate(statement.text, nvarchar(-1))
        with self.session.own_variables({}):
            self.run_text(_shown(value))


def _shown(value: Scalar) -> str:
    return value if isinstance(value, str) else ""
