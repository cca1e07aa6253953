"""Sessions over mssql-python, which turns rows into Arrow in native code and lets go of the GIL meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import mssql_python
import pyarrow as pa
from azure.core.credentials import AccessToken
from mssql_python.exceptions import ConnectionStringParseError
from mssql_python.exceptions import Exception as DriverError

from hygge_engine.homes.mssql.connect import (
    APPLICATION_NAME,
    LANGUAGE,
    access_token,
    connection_string,
    secrets_of,
    token_attributes,
)
from hygge_engine.homes.mssql.driver_thread import (
    CLOSING_SECONDS,
    LOGIN_OVERTIME_SECONDS,
    DriverThread,
    NoAnswer,
    seconds_of_a_call,
)
from hygge_engine.homes.mssql.errors import (
    Diagnosis,
    Translate,
    diagnose_bulk_copy,
    diagnose_messages,
    diagnose_mssql_python,
    translate,
)
from hygge_engine.homes.mssql.session import batch_of, gather, is_unbounded
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.values import Parameter

# Rows with (max) columns: eight at a time cost two thirds of what they cost one by one, and eight together is what may
# come in one fetch before the first large one has shown itself.
_ROWS_AT_ONCE = 8
_BYTES_AT_ONCE = 8 << 20


class _NamedConnection(mssql_python.Connection):
    """A connection that shows on the server under this application's name, and speaks English: the driver offers no
    setting for either."""

    def _construct_connection_string(self, connection_str: str = "", **kwargs: Any) -> tuple[str, dict[str, str]]:
        text, parameters = super()._construct_connection_string(connection_str, **kwargs)
        name = parameters.get("APP", "")
        return text.replace(f"APP={name};", f"APP={APPLICATION_NAME};{LANGUAGE}"), {
            **parameters,
            "APP": APPLICATION_NAME,
        }


class _KnownToken:
    """A credential that has its token already."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """The token, whatever it is asked for; the driver uses it at once, so nobody reads when it expires."""
        return AccessToken(self._token, 0)


class MssqlPythonSession:
    """One connection, taken from the driver's own pool, which checks that it is alive."""

    def __init__(self, connection: MssqlConnection, translation: Translate = translate) -> None:
        self._translate = translation
        self._secrets = secrets_of(connection)
        self._thread = DriverThread()
        self._seconds = seconds_of_a_call(connection.query_timeout_seconds)
        try:
            with self._errors(f"Connecting to {connection.address}"):
                attributes = token_attributes(connection)
                self._connection = self._thread.call(
                    lambda: _connect(connection, attributes), connection.login_timeout_seconds + LOGIN_OVERTIME_SECONDS
                )
        except BaseException:
            self._thread.close(lambda: None)
            raise

    def fetch_all(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> list[tuple[Any, ...]]:
        return self._fetch(sql, parameters, doing)

    def fetch_some(
        self, sql: str, rows: int, parameters: Sequence[Parameter] = (), *, doing: str
    ) -> list[tuple[Any, ...]]:
        return self._fetch(sql, parameters, doing, rows)

    def stream(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> _Stream:
        with self._errors(doing):
            return _Stream(self, self._call(lambda: self._begin(sql, parameters)), doing)

    def execute(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> None:
        with self._errors(doing):
            cursor = self._call(lambda: self._begin(sql, parameters))
            while self._call(cursor.nextset):  # errors of later statements come with their results
                pass
            self._check_messages(cursor, doing)
            self._call(cursor.close)

    def insert(self, table: str, rows: pa.RecordBatch, *, doing: str) -> None:
        """Bulk copy, over a connection of the driver's own."""
        with self._errors(doing):
            try:
                self._call(lambda: self._copy(table, rows))
            except RuntimeError as error:
                raise self._translate(diagnose_bulk_copy(str(error)), doing, secrets=self._secrets) from error
            except ValueError as error:  # rows that the driver itself refuses
                raise self._translate(Diagnosis("", 0, str(error)), doing, secrets=self._secrets) from error

    def close(self) -> None:
        # A connection that is gone already needs no closing.
        with suppress(DriverError, RuntimeError):
            self._thread.close(self._connection.close)

    def _call[T](self, function: Callable[[], T]) -> T:
        return self._thread.call(function, self._seconds)

    def _begin(self, sql: str, parameters: Sequence[Parameter]) -> mssql_python.Cursor:
        cursor = self._connection.cursor()
        _execute(cursor, sql, parameters)
        return cursor

    def _fetch(
        self, sql: str, parameters: Sequence[Parameter], doing: str, most: int | None = None
    ) -> list[tuple[Any, ...]]:
        def fetch() -> list[tuple[Any, ...]]:
            with self._connection.cursor() as cursor:
                _execute(cursor, sql, parameters)
                rows = gather(cursor.fetchmany, doing, most)
                self._check_messages(cursor, doing)
                return rows

        with self._errors(doing):
            return self._call(fetch)

    def _copy(self, table: str, rows: pa.RecordBatch) -> None:
        with self._connection.cursor() as cursor:
            cursor.bulkcopy_arrow(
                table,
                rows,
                timeout=self._connection.timeout,
                column_mappings=rows.schema.names,
                table_lock=True,
                keep_nulls=True,
            )

    def _check_messages(self, cursor: mssql_python.Cursor, doing: str) -> None:
        """Raise what a fetch has only noted: rows that end because the connection is gone look like their end."""
        found = diagnose_messages(cursor.messages) if cursor.messages else None
        if found is not None:
            raise self._translate(found, doing, secrets=self._secrets)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except NoAnswer as error:
            raise self._translate(Diagnosis("HYT00", 0, str(error)), doing, secrets=self._secrets) from error
        except DriverError as error:
            found = diagnose_mssql_python(error.driver_error, error.ddbc_error)
            raise self._translate(found, doing, secrets=self._secrets) from error
        except (RuntimeError, ConnectionStringParseError) as error:
            # What its native part reports without a SQLSTATE: a driver that does not load, a handle that is gone.
            raise self._translate(Diagnosis("", 0, str(error)), doing, secrets=self._secrets) from error
        except (ValueError, ArithmeticError) as error:  # what no Python object can be made of
            said = Diagnosis("", 0, f"The server has sent a value that cannot be read: {error}")
            raise self._translate(said, doing, secrets=self._secrets) from error


class _Stream:
    """Rows through ``arrow_batch``, whose size may differ from call to call; those that are counted in bytes through
    ``fetchmany``, which lets others run while the rest of a large value is awaited.

    The driver's ``arrow_reader`` is a loop around the former; a reader that nothing holds on to while it is read
    returns no rows and no error, which cannot happen here.
    """

    def __init__(self, session: MssqlPythonSession, cursor: mssql_python.Cursor, doing: str) -> None:
        self._session = session
        self._cursor = cursor
        self._doing = doing
        self._largest_row = 0

    @cached_property
    def schema(self) -> pa.Schema:
        return self.fetch(0).schema

    @property
    def is_unbounded(self) -> bool:
        return is_unbounded(self._cursor.description)

    def fetch(self, rows: int, limit_bytes: int | None = None) -> pa.RecordBatch:
        schema = None if limit_bytes is None else self.schema
        with self._session._errors(self._doing):
            return self._session._call(lambda: self._fetch(rows, limit_bytes, schema))

    def _fetch(self, rows: int, limit_bytes: int | None, schema: pa.Schema | None) -> pa.RecordBatch:
        if limit_bytes is None or schema is None:
            batch: pa.RecordBatch = self._cursor.arrow_batch(rows)
        else:
            batch = batch_of(self._fetch_within(rows, limit_bytes), schema)
        if rows and not batch.num_rows:
            # The server's own report may follow the last row: a deadlock victim learns of it here.
            self._cursor.nextset()
        self._session._check_messages(self._cursor, self._doing)
        return batch

    def _fetch_within(self, rows: int, limit_bytes: int) -> list[mssql_python.Row]:
        """Rows that hold so many bytes: one by one where they are large, or nobody knows yet how large they are."""
        fetched: list[mssql_python.Row] = []
        held = 0
        while len(fetched) < rows and held < limit_bytes:
            at_once = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // (self._largest_row or _BYTES_AT_ONCE)))
            more = self._cursor.fetchmany(min(at_once, rows - len(fetched)))
            if not more:
                break
            sizes = [sum(len(value) for value in row if isinstance(value, str | bytes)) for row in more]
            self._largest_row = max(self._largest_row, *sizes)
            held += sum(sizes)
            fetched += more
        return fetched

    def close(self) -> None:
        # Freeing a statement that is not read to its end cancels it on the server.
        with suppress(DriverError, RuntimeError, NoAnswer):
            self._session._thread.call(self._cursor.close, CLOSING_SECONDS)


def _connect(connection: MssqlConnection, attributes: dict[int, bytes]) -> _NamedConnection:
    opened = _NamedConnection(
        connection_string(connection),
        autocommit=True,
        attrs_before=dict(attributes),
        timeout=connection.login_timeout_seconds,
        native_uuid=False,
    )
    opened.timeout = connection.query_timeout_seconds
    if (token := access_token(connection)) is not None:
        # Bulk copy logs in by itself, and asks the connection for the credential.
        opened._token_provider = _KnownToken(token)
    return opened


def _execute(cursor: mssql_python.Cursor, sql: str, parameters: Sequence[Parameter]) -> None:
    if parameters:
        cursor.execute(sql, list(parameters))
    else:
        cursor.execute(sql)
