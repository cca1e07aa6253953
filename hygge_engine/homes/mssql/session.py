"""What the home needs of a driver, so that either of two can serve it, and how to open one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from hygge_engine.homes.mssql.connect import check_reachable
from hygge_engine.homes.mssql.errors import Translate, translate
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.values import Parameter


class Stream(Protocol):
    """The rows of one statement that is being read."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as the driver delivers them; `hygge_engine.homes.mssql.home` casts them to the home's own."""
        ...

    @property
    def counts_bytes(self) -> bool:
        """Whether `fetch` can end a batch by its bytes, because it takes row after row."""
        ...

    def fetch(self, rows: int, limit_bytes: int | None = None) -> pa.RecordBatch:
        """The next rows, at most so many; an empty batch once, when the server has sent its last row.

        With ``limit_bytes``, where the stream counts them, no more rows than it takes to hold so many bytes of text and
        binary values. Raises HomeError, also for what the server reports after its last row.
        """
        ...

    def close(self) -> None:
        """Cancel what is left of the statement and free it."""
        ...


class Session(Protocol):
    """One connection to the server. Every method raises what its translation makes of errors: HomeError by default."""

    def fetch_all(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> list[tuple[Any, ...]]:
        """All rows of a small result. ``doing`` says in an error what was attempted."""
        ...

    def stream(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> Stream:
        """Begin to read a large result; nothing else can be asked of the session until the stream is closed."""
        ...

    def execute(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> None:
        """Run statements that return no rows."""
        ...

    def insert(self, table: str, rows: pa.RecordBatch, *, doing: str) -> None:
        """Add rows to a table, which is quoted already, by the names of their columns; without the session's own
        transaction, all of them or none."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


def open_session(connection: MssqlConnection, *, translation: Translate = translate) -> Session:
    """Connect with the driver that the settings name.

    Raises HomeUnavailable where nobody answers, HomeLoginFailed where Entra refuses, else what ``translation`` returns.
    """
    check_reachable(connection)
    if connection.driver == "pyodbc":
        from hygge_engine.homes.mssql.pyodbc_session import PyodbcSession

        return PyodbcSession(connection, translation)
    from hygge_engine.homes.mssql.mssql_python_session import MssqlPythonSession

    return MssqlPythonSession(connection, translation)
