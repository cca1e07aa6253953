"""What one connection is to the server: login, database, variables, settings, transaction."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from devcloud.sqlserver.engine import state
from devcloud.sqlserver.engine.backend import Database, Instance
from devcloud.sqlserver.engine.catalogue import Catalogue, load_catalogue
from devcloud.sqlserver.engine.moments import now_in_ticks
from devcloud.sqlserver.engine.settings import DatabaseSettings
from devcloud.sqlserver.engine.tracking import PendingChanges
from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.errors import CancelledError, ConnectionLostError, SqlError, make_error
from devcloud.sqlserver.faults import Faults
from devcloud.sqlserver.tds import tokens
from devcloud.sqlserver.transactions import Transaction
from devcloud.sqlserver.types import SqlType

ADMINISTRATOR: Final = "sa"


class TransactionEnds:
    """Counts the transactions that ended, and lets sessions wait for the next."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How many have ended."""
        return self._count

    def announce(self) -> None:
        """Count one and wake who waits."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Wait until more than ``seen`` have ended, or the time is up."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, seconds)


@dataclass(slots=True)
class Shared:
    """What all sessions of a server have in common."""

    instance: Instance
    logins: dict[str, str]
    faults: Faults
    tls: ssl.SSLContext | None
    ends: TransactionEnds = field(default_factory=TransactionEnds)


class Session:
    """The state of one connection. It is the binder's Environment."""

    def __init__(self, shared: Shared, number: int) -> None:
        self._shared = shared
        self.instance = shared.instance
        self.faults = shared.faults
        self.number = number
        self.connection = shared.instance.connect()
        self.transaction = Transaction(self.connection, lambda: shared.instance.definitions)
        self.changes = PendingChanges(shared.instance, self.connection)
        self.login: str = ""
        self.user: str = "dbo"
        self.database: str = "master"
        self._home = (self.database, self.user)
        """Database and user right after login."""
        self.application: str = ""
        self.host: str = ""
        self.caught: SqlError | None = None
        self.prepared: dict[int, tuple[str, str]] = {}
        """Prepared statements by handle: the declaration of their parameters, and their text."""
        self._cancelled = threading.Event()
        self._closed = threading.Event()
        self._executing = threading.Lock()
        self._is_executing = False
        self._own_catalogues: dict[str, Catalogue] = {}
        """Of databases in which the open transaction may see other definitions than were committed last."""
        self.now = now_in_ticks()
        self.reset()

    def reset(self) -> None:
        """Return to the state after login, as RESETCONNECTION asks."""
        self.end_transaction(commit=False)
        self.database, self.user = self._home
        self.transaction.isolation = "READ COMMITTED"
        self.variables: dict[str, tuple[SqlType, Scalar]] = {}
        self.rowcount = 0
        self.last_error = 0
        self.last_identity: int | None = None
        self.nocount = False
        self.xact_abort = False
        self.identity_insert: int | None = None
        self.try_depth = 0
        self.lock_timeout_milliseconds = -1
        self.has_defined = False
        self.forget_catalogue()

    # Login and databases

    def log_in(self, user: str, password: str, database: str) -> None:
        """Log in. Raises SqlError 18456 or 4060."""
        expected = next((p for name, p in self._shared.logins.items() if name.lower() == user.lower()), None)
        if expected is None or expected != password:
            raise make_error(18456, user)
        self.login = user
        try:
            self._enter(database or "master")
            self._home = (self.database, self.user)
        except SqlError:
            refused = make_error(4060, database)
            refused.also.append(make_error(18456, user))
            raise refused from None

    def _enter(self, name: str) -> str:
        """Make a database the current one; returns its name. Raises SqlError 911 or 916."""
        database = self.instance.databases.get(name.lower())
        if database is None:
            raise make_error(911, name)
        user = self.user_in(database.name)
        if user is None:
            raise make_error(916, self.login, database.name)
        self.database, self.user = database.name, user
        return database.name

    def user_in(self, database: str) -> str | None:
        """Return the user that this login is in a database, or None."""
        if self.login.lower() == ADMINISTRATOR:
            return "dbo"
        if database.lower() == "master":
            return "guest"
        return self._catalogue(database).user_of(self.login)

    def use(self, name: str) -> list[bytes]:
        """Change the current database; returns the tokens that say so. Raises SqlError 911 or 916."""
        before = self.database
        after = self._enter(name)
        return [
            tokens.make_environment_change(tokens.ENV_DATABASE, after, before),
            tokens.make_message(make_error(5701, after, state=2)),
        ]

    def add_login(self, name: str, password: str) -> None:
        """Create a login. Raises SqlError 15025."""
        if any(known.lower() == name.lower() for known in self._shared.logins):
            raise make_error(15025, name)
        self._shared.logins[name] = password

    def drop_login(self, name: str) -> None:
        """Drop a login. Raises SqlError 15151."""
        known = next((known for known in self._shared.logins if known.lower() == name.lower()), None)
        if known is None:
            raise make_error(15151, "login", name)
        del self._shared.logins[known]

    def require_administrator(self, permission: str) -> None:
        """Raise SqlError 262 for everybody but administrators."""
        if self.login.lower() != ADMINISTRATOR:
            raise make_error(262, permission, "master")

    @property
    def databases(self) -> list[tuple[int, str, DatabaseSettings]]:
        """The id, name and settings of every database, in order of their ids."""
        return [(d.number, d.name, d.settings) for d in self.instance.databases.values()]

    @property
    def current(self) -> Database:
        """The current database."""
        return self.database_of(self.database)

    def database_of(self, name: str) -> Database:
        """Return a database by its name. Raises SqlError 911."""
        database = self.instance.databases.get(name.lower())
        if database is None:
            raise make_error(911, name)
        return database

    @property
    def has_change_tracking(self) -> bool:
        """Whether this server has Change Tracking at all."""
        return self.instance.has_change_tracking

    def settings(self, database: str) -> DatabaseSettings:
        """Return the settings of a database. Raises SqlError 911."""
        return self.database_of(database).settings

    def check_isolation(self, database: str) -> None:
        """Check that the session may read from a database as isolated as it asked. Raises SqlError 3951 or 3952."""
        if self.transaction.isolation != "SNAPSHOT":
            return
        if not self.database_of(database).settings.snapshot_isolation:
            raise make_error(3952, database)
        if self.transaction.count and not self.transaction.began_in_snapshot:
            raise make_error(3951, database)

    # The catalogue

    def catalogue(self, database: str) -> Catalogue:
        """Return a database's catalogue as this session's transaction sees it. Raises SqlError 911 or 916."""
        name = self.database_of(database).name
        if name.lower() != self.database.lower() and self.user_in(name) is None:
            raise make_error(916, self.login, name)
        return self._catalogue(name)

    def _catalogue(self, name: str) -> Catalogue:
        database = self.database_of(name)
        if not self.has_defined and self.transaction.sees_last_definitions:
            return self.instance.catalogue(database)
        own = self._own_catalogues.get(database.name)
        if own is None:
            own = self._own_catalogues[database.name] = load_catalogue(self.connection, database.name)
        return own

    def forget_catalogue(self) -> None:
        """Load the open transaction's own catalogues again when they are next asked for."""
        self._own_catalogues.clear()

    # Variables and state

    def declared(self, name: str) -> SqlType:
        """Return the type of a variable. Raises SqlError 137."""
        found = self.variables.get(name.lower())
        if found is None:
            raise make_error(137, name)
        return found[0]

    def store(self, name: str, value: Scalar) -> None:
        """Give a variable a value of its type."""
        self.variables[name.lower()] = (self.declared(name), value)

    @contextlib.contextmanager
    def own_variables(self, variables: dict[str, tuple[SqlType, Scalar]]) -> Iterator[None]:
        """Run something with variables of its own, as dynamic SQL and calls do."""
        outer, self.variables = self.variables, variables
        try:
            yield
        finally:
            self.variables = outer

    def global_variable(self, name: str) -> tuple[SqlType, Scalar] | None:
        """Return the value of ``@@name``, or None."""
        return state.global_variable(self, name)

    def session_function(self, name: str, arguments: tuple[Scalar, ...]) -> tuple[SqlType, Scalar] | None:
        """Return the value of a function of the session's state, or None."""
        return state.session_function(self, name, arguments)

    def begin_statement(self) -> None:
        """Set the statement's clock."""
        self.now = now_in_ticks()

    # Transactions

    def end_transaction(self, *, commit: bool) -> None:
        """Commit or roll back. Raises duckdb.Error."""
        has_defined, self.has_defined = getattr(self, "has_defined", False), False
        try:
            if commit:
                self._commit()
            else:
                self.transaction.rollback()
        finally:
            self.changes.forget()
            if has_defined and commit:
                self.instance.note_definitions()
            self.forget_catalogue()
            for database in list(self.instance.databases.values()):
                database.leave_rowversions(self.number)
            self._shared.ends.announce()

    def _commit(self) -> None:
        try:
            with self.changes.committing():
                self.transaction.commit()
        finally:
            self.transaction.rollback()

    def abandon_transaction(self) -> None:
        """Drop a transaction that met a conflict with its first write."""
        self.transaction.abandon()
        self.changes.forget()
        self.has_defined = False
        self.forget_catalogue()
        for database in list(self.instance.databases.values()):
            database.leave_rowversions(self.number)

    def instance_clock(self) -> int:
        """Return how many transactions of the server have ended."""
        return self._shared.ends.count

    def lock_deadline(self) -> float | None:
        """Return until when a write may wait for others, None for ever."""
        timeout = self.lock_timeout_milliseconds
        return None if timeout < 0 else time.monotonic() + timeout / 1000

    def wait_for_others(self, seen: int, deadline: float | None) -> None:
        """Wait for another transaction to end. Raises SqlError 1222, CancelledError, ConnectionLostError."""
        self.check_cancelled()
        if deadline is not None and time.monotonic() >= deadline:
            raise make_error(1222, state=51)
        self._shared.ends.wait(seen, 0.05)

    # Cancellation

    def cancel(self) -> None:
        """Stop what runs: called by the thread that reads from the client."""
        self._cancelled.set()
        with self._executing:
            if self._is_executing:
                self.connection.interrupt()

    def hang_up(self) -> None:
        """Note that the client is gone, and stop what runs."""
        self._closed.set()
        self.cancel()

    def take_cancellation(self) -> bool:
        """Return whether a cancellation came, and clear it."""
        cancelled = self._cancelled.is_set()
        self._cancelled.clear()
        return cancelled

    def check_closed(self) -> None:
        """Raise ConnectionLostError if the client is gone."""
        if self._closed.is_set():
            raise ConnectionLostError("the client is gone")

    def check_cancelled(self) -> None:
        """Raise CancelledError or ConnectionLostError if the client wants nothing more."""
        self.check_closed()
        if self._cancelled.is_set():
            raise CancelledError

    def sleep(self, seconds: float) -> None:
        """Wait, unless cancelled."""
        self._cancelled.wait(seconds)
        self.check_cancelled()

    @contextlib.contextmanager
    def executing(self) -> Iterator[None]:
        """Mark that DuckDB works for this session, so that a cancellation interrupts it."""
        with self._executing:
            self.check_cancelled()
            self._is_executing = True
        try:
            yield
        finally:
            with self._executing:
                self._is_executing = False

    def close(self) -> None:
        """Roll back and close the connection."""
        self.end_transaction(commit=False)
        self.connection.close()
