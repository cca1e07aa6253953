"""Runs queries and writes on a session's DuckDB connection and sends what comes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pyarrow as pa

from devcloud.sqlserver.engine.backend import used_parameters
from devcloud.sqlserver.engine.catalogue import Table
from devcloud.sqlserver.engine.definitions import Definer
from devcloud.sqlserver.engine.failures import ENGINE_ERRORS, ConflictError, translate_error
from devcloud.sqlserver.engine.outputs import OutputColumn
from devcloud.sqlserver.engine.scope import Scope
from devcloud.sqlserver.engine.values import Scalar, from_storage, make_constant
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import (
    CancelledError,
    ConnectionLostError,
    SqlError,
    make_error,
)
from devcloud.sqlserver.faults import Fault
from devcloud.sqlserver.results import Results
from devcloud.sqlserver.session import Session
from devcloud.sqlserver.tds import tokens
from devcloud.sqlserver.tds.typeinfo import ResultColumn
from devcloud.sqlserver.tsql import syntax
from devcloud.sqlserver.types import MAX, SqlType

ROWS_PER_BATCH: Final = 20_000

ROWS_PER_LARGE_BATCH: Final = 1_000
"""With (max) columns, whose values may be megabytes each."""

BYTES_PER_WRITE: Final = 16 * 2**20
"""Batches of more bytes are encoded in parts."""

SLOW_ROWS: Final = 1_000
"""Rows between the pauses of the fault `slow_rows`."""


class Execution(ABC):
    """Runs what is bound, for one request."""

    def __init__(self, session: Session, results: Results) -> None:
        self.session = session
        self.results = results

    @abstractmethod
    def run_text(self, text: str) -> None:
        """Run the statements of a text."""

    def binder(self) -> WriteBinder:
        """Return a binder for a statement of this session."""
        return WriteBinder(self.session)

    def roll_back_failed(self) -> None:
        """Give up the transaction that an error has ended, and tell the client where it was its own."""
        session = self.session
        transaction = session.transaction
        if transaction.is_open and transaction.count == 0:
            session.end_transaction(commit=False)
        elif transaction.is_open:
            descriptor = transaction.descriptor
            session.end_transaction(commit=False)
            self.results.token(tokens.make_environment_change(tokens.ENV_ROLLBACK, b"", descriptor))

    def _strike(self, tables: list[Table]) -> Fault | None:
        """Let a fault that waits for this statement happen."""
        session = self.session
        fault = session.faults.at_statement(session.number, session.login, [table.full_name for table in tables])
        if fault is not None and fault.kind == "delay":
            session.sleep(fault.seconds)
            return None
        return fault

    def send_rows(
        self,
        sql: str,
        parameters: dict[str, object],
        outputs: tuple[OutputColumn, ...],
        tables: list[Table],
        fault: Fault | None = None,
    ) -> int:
        """Stream a query's rows to the client; returns how many there were."""
        owner = tables[0].full_name if tables else ""
        columns = [
            ResultColumn(column.name, column.shown_type, column.nullable, column.identity, column.computed, owner)
            for column in outputs
        ]
        large = any(column.type.length == MAX for column in columns)
        count = 0
        sent_metadata = False
        for batch in self.stream(sql, parameters, ROWS_PER_LARGE_BATCH if large else ROWS_PER_BATCH):
            if not sent_metadata:
                self.results.columns(columns)
                sent_metadata = True
            slow = fault is not None and fault.kind == "slow_rows"
            for part in _portions(batch, SLOW_ROWS if slow else batch.num_rows):
                self.session.check_cancelled()
                part = self._harm(part, columns, count, fault)
                self.results.rows(part, columns)
                count += part.num_rows
        if not sent_metadata:
            self.results.columns(columns)
        return count

    def send_table(self, columns: Sequence[ResultColumn], rows: Sequence[Sequence[int | str | None]]) -> None:
        """Send a whole result set that was made here, as procedures do."""
        binder = self.binder()
        names = ", ".join(f"c{place}" for place in range(len(columns)))
        kinds = ", ".join(f"CAST(c{place} AS {column.type.storage})" for place, column in enumerate(columns))
        lines = []
        for row in rows:
            cells = zip(row, columns, strict=True)
            constants = [make_constant(cell, column.type, binder.parameters).sql for cell, column in cells]
            lines.append(f"({', '.join(constants)})")
        nothing = f"({', '.join('NULL' for _ in columns)})"
        sql = f"SELECT {kinds} FROM (VALUES {', '.join(lines) or nothing}) AS v({names})"
        self.send_query(columns, sql if rows else f"{sql} WHERE false", binder.parameters)

    def send_query(self, columns: Sequence[ResultColumn], sql: str, parameters: dict[str, object]) -> None:
        """Send the whole result of a DuckDB query, whose columns have the types' storage."""
        count = 0
        self.results.columns(columns)
        for batch in self.stream(sql, parameters, ROWS_PER_BATCH):
            self.results.rows(batch, columns)
            count += batch.num_rows
        self.results.done(count, tokens.SELECT_COMMAND)

    def _harm(
        self, batch: pa.RecordBatch, columns: list[ResultColumn], before: int, fault: Fault | None
    ) -> pa.RecordBatch:
        """Apply a fault that strikes among the rows."""
        if fault is None:
            return batch
        if fault.kind == "slow_rows":
            self.results.flush()
            self.session.sleep(fault.seconds * batch.num_rows / SLOW_ROWS)
            return batch
        if before + batch.num_rows < fault.after_rows:
            return batch
        self.results.rows(batch.slice(0, fault.after_rows - before), columns)
        if fault.kind == "drop_connection":
            self.results.flush()
            raise ConnectionLostError("a deliberate fault")
        raise fault.make_error(self.session.number, self.session.login)

    def stream(self, sql: str, parameters: dict[str, object], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a query. Raises SqlError, CancelledError."""
        session = self.session
        session.transaction.enter(writing=False)
        reader = None
        try:
            with session.executing():
                relation = session.connection.sql(sql, params=used_parameters(sql, parameters))
                reader = relation.to_arrow_reader(rows)
            while True:
                with session.executing():
                    batch = next(reader, None)
                if batch is None:
                    return
                yield batch
        except ENGINE_ERRORS as error:
            translated = translate_error(error)
            if isinstance(translated, ConflictError):
                raise make_error(1205, session.number, state=45) from None
            raise translated from None
        finally:
            if reader is not None:
                reader.close()

    def fetch(self, sql: str, parameters: dict[str, object]) -> list[tuple[object, ...]]:
        """Return all rows of a query. Raises SqlError, CancelledError."""
        session = self.session
        session.transaction.enter(writing=False)
        try:
            with session.executing():
                return session.connection.execute(sql, used_parameters(sql, parameters)).fetchall()
        except ENGINE_ERRORS as error:
            translated = translate_error(error)
            if isinstance(translated, ConflictError):
                raise make_error(1205, session.number, state=45) from None
            raise translated from None

    def evaluate(self, expression: syntax.Expression, kind: SqlType | None = None) -> tuple[SqlType, Scalar]:
        """Return the value of an expression, as that type if one is given."""
        binder = self.binder()
        value = binder.bind(expression, Scope())
        if kind is not None:
            value = binder.convert(value, kind)
        if value.is_constant:
            return value.type, value.constant
        rows = self.fetch(f"SELECT {value.sql}", binder.parameters)
        return value.type, from_storage(rows[0][0], value.type)

    def test(self, condition: syntax.Expression) -> bool:
        """Return whether a condition holds."""
        binder = self.binder()
        sql = binder.bind_condition(condition, Scope())
        return bool(self.fetch(f"SELECT coalesce({sql}, false)", binder.parameters)[0][0])

    def convert_scalar(self, source: SqlType, value: Scalar, kind: SqlType) -> Scalar:
        """Return a value of one type as another."""
        if source == kind or value is None:
            return value
        binder = self.binder()
        converted = binder.convert(make_constant(value, source, binder.parameters), kind)
        if converted.is_constant:
            return converted.constant
        return from_storage(self.fetch(f"SELECT {converted.sql}", binder.parameters)[0][0], kind)

    def in_transaction(self, action: Callable[[], None], table: Table | None = None, verb: str = "INSERT") -> None:
        """Do a write inside the session's transaction, or one of its own; wait where another one stands in the way.

        DuckDB refuses a conflicting write where SQL Server would wait for the lock. While nothing else was written in
        this transaction, the write is tried again as often as another transaction ends; then, or when it could never
        succeed, the session is the deadlock victim.
        """
        session = self.session
        transaction = session.transaction
        deadline = session.lock_deadline()
        while True:
            opened = transaction.enter(writing=True)
            fresh = opened or not transaction.has_written
            waits = session.instance_clock()
            try:
                action()
                if transaction.count == 0:
                    session.end_transaction(commit=True)
                else:
                    transaction.has_written = True
                return
            except (*ENGINE_ERRORS, SqlError, CancelledError) as error:
                translated = (
                    error
                    if isinstance(error, SqlError | CancelledError)
                    else translate_error(error, table, session.database, verb)
                )
                if not isinstance(translated, ConflictError):
                    if isinstance(translated, CancelledError):
                        self.roll_back_failed()
                    raise translated from None
                if not fresh:
                    number = 3960 if transaction.isolation == "SNAPSHOT" else 1205
                    if number == 3960:
                        raise make_error(3960, table.full_name if table else "", session.database) from None
                    raise make_error(1205, session.number, state=51) from None
            session.abandon_transaction()
            session.wait_for_others(waits, deadline)

    def define(self, action: Callable[[Definer], None]) -> None:
        """Change definitions, in the session's transaction or one of its own."""
        session = self.session

        def define() -> None:
            try:
                action(Definer(session.connection, session))
            finally:
                session.forget_catalogue()
            session.has_defined = True

        self.in_transaction(define)
        self.results.done()

    def end_transaction(self, *, commit: bool) -> None:
        """Commit or roll back, and tell the client."""
        descriptor = self.session.transaction.descriptor
        kind = tokens.ENV_COMMIT if commit else tokens.ENV_ROLLBACK
        try:
            self.session.end_transaction(commit=commit)
        except ENGINE_ERRORS as error:
            self.results.token(tokens.make_environment_change(tokens.ENV_ROLLBACK, b"", descriptor))
            translated = translate_error(error)
            if isinstance(translated, ConflictError):
                raise make_error(1205, self.session.number, state=51) from None
            raise translated from None
        self.results.token(tokens.make_environment_change(kind, b"", descriptor))


def _portions(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Yield a batch in parts of bounded size, of ``most`` rows each."""
    step = max(1, min(most, batch.num_rows // (batch.nbytes // BYTES_PER_WRITE + 1)))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)
