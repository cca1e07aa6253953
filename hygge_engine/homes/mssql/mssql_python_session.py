"""Sessions over mssql-python, which turns rows into Arrow in native code and releases the GIL meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import mssql_python
import pyarrow as pa
from azure.core.credentials import AccessToken
from mssql_python.exceptions import ConnectionStringParseError
from mssql_python.exceptions import Exception as DriverError

from hygge_engine.homes.mssql.connect import APPLICATION_NAME, LANGUAGE, access_token, connection_string
from hygge_engine.homes.mssql.driver_session import DriverSession
from hygge_engine.homes.mssql.errors import (
    CANNOT_OPEN,
    LOGIN_FAILED,
    Diagnosis,
    diagnose_bulk_copy,
    diagnose_messages,
    diagnose_mssql_python,
)
from hygge_engine.homes.mssql.session import batch_of, gather, is_unbounded
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.values import Parameter

# Rows with (max) columns: eight at a time cost two thirds of what they cost one by one, and eight together is what may
# come in one fetch before the first large one has shown itself.
_ROWS_AT_ONCE = 8
_BYTES_AT_ONCE = 8 << 20

# The database that each login may open, but for those that a database of Azure SQL keeps for itself.
_ALWAYS_THERE = "master"


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
        """The token, for any scope; the driver uses it at once, so its expiry is never read."""
        return AccessToken(self._token, 0)


class MssqlPythonSession(DriverSession):
    """One connection, taken from the driver's own pool, which checks that it is alive."""

    # Its native part reports without a SQLSTATE: a driver that does not load, a handle that is gone.
    driver_errors: ClassVar[tuple[type[Exception], ...]] = (DriverError, RuntimeError, ConnectionStringParseError)

    def insert(self, table: str, rows: pa.RecordBatch, *, doing: str) -> None:
        """Bulk copy, over a connection of the driver's own."""
        self.call(lambda: self._copy(table, rows, doing), doing)

    def _connect(self, connection: MssqlConnection, attributes: dict[int, bytes]) -> _NamedConnection:
        try:
            return self._open(connection, attributes)
        except DriverError as error:
            if self._diagnose(error).number != LOGIN_FAILED or connection.database == _ALWAYS_THERE:
                raise
            # Of a database that cannot be opened the driver reports only that the login has failed by it.
            try:
                self._open(connection.model_copy(update={"database": _ALWAYS_THERE}), attributes).close()
            except DriverError:
                raise error from None
            said = f'Cannot open database "{connection.database}" requested by the login.'
            raise self.error(Diagnosis("", CANNOT_OPEN, said), f"Connecting to {connection.address}") from error

    def _open(self, connection: MssqlConnection, attributes: dict[int, bytes]) -> _NamedConnection:
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

    def _begin(self, sql: str, parameters: Sequence[Parameter]) -> mssql_python.Cursor:
        cursor: mssql_python.Cursor = self._connection.cursor()
        _execute(cursor, sql, parameters)
        return cursor

    def _fetch(self, sql: str, parameters: Sequence[Parameter], doing: str, most: int | None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            _execute(cursor, sql, parameters)
            rows = gather(cursor.fetchmany, doing, most)
            self.check_messages(cursor, doing)
            return rows

    def _stream(self, cursor: mssql_python.Cursor, doing: str) -> _MssqlPythonStream:
        return _MssqlPythonStream(self, cursor, doing)

    def _copy(self, table: str, rows: pa.RecordBatch, doing: str) -> None:
        with self._connection.cursor() as cursor:
            try:
                cursor.bulkcopy_arrow(
                    table,
                    rows,
                    timeout=self._connection.timeout,
                    column_mappings=rows.schema.names,
                    table_lock=True,
                    keep_nulls=True,
                )
            except RuntimeError as error:
                raise self.error(diagnose_bulk_copy(str(error)), doing) from error
            except ValueError as error:  # rows that the driver itself refuses
                raise self.error(Diagnosis("", 0, str(error)), doing) from error

    def check_messages(self, cursor: mssql_python.Cursor, doing: str) -> None:
        """Rows that end because the connection is gone look like their end."""
        found = diagnose_messages(cursor.messages) if cursor.messages else None
        if found is not None:
            raise self.error(found, doing)

    def _diagnose(self, error: Any) -> Diagnosis:
        if isinstance(error, DriverError):
            return diagnose_mssql_python(error.driver_error, error.ddbc_error)
        return Diagnosis("", 0, str(error))


class _MssqlPythonStream:
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
        return self._session.call(lambda: self._fetch(rows, limit_bytes, schema), self._doing)

    def _fetch(self, rows: int, limit_bytes: int | None, schema: pa.Schema | None) -> pa.RecordBatch:
        if limit_bytes is None or schema is None:
            batch: pa.RecordBatch = self._cursor.arrow_batch(rows)
        else:
            batch = batch_of(self._fetch_within(rows, limit_bytes), schema)
        if rows and not batch.num_rows:
            # The server's own report may follow the last row: a deadlock victim learns of it here.
            self._cursor.nextset()
        self._session.check_messages(self._cursor, self._doing)
        return batch

    def _fetch_within(self, rows: int, limit_bytes: int) -> list[mssql_python.Row]:
        """The number of rows that hold a number of bytes: one where they are large, or their size is not known yet."""
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
        self._session.release(self._cursor.close)


def _execute(cursor: mssql_python.Cursor, sql: str, parameters: Sequence[Parameter]) -> None:
    if parameters:
        cursor.execute(sql, list(parameters))
    else:
        cursor.execute(sql)
