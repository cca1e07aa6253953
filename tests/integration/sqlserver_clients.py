"""Both drivers, connected to devcloud's SQL Server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mssql_python
import mssql_python_odbc
import pyodbc

from devcloud.sqlserver import DEFAULT_LOGINS

PASSWORD = DEFAULT_LOGINS["sa"]


def find_driver() -> str:
    """Return the path of Microsoft's driver in the wheel mssql-python-odbc."""
    libraries = Path(mssql_python_odbc.__file__).parent / "libs" / "linux" / "debian_ubuntu"
    return str(next(libraries.glob("*/lib/libmsodbcsql-18*")))


def connection_string(address: str, database: str, user: str = "sa", password: str = PASSWORD, more: str = "") -> str:
    return (
        f"Server={address};Database={database};UID={user};PWD={password};"
        f"{more or 'Encrypt=no'};TrustServerCertificate=yes"
    )


@contextmanager
def mssql(address: str, database: str, user: str = "sa", password: str = PASSWORD, **options: Any) -> Iterator[Any]:
    """Connect with mssql-python; commits by itself by default."""
    options.setdefault("autocommit", True)
    connection = mssql_python.connect(connection_string(address, database, user, password), **options)
    try:
        yield connection
    finally:
        with suppress(mssql_python.Error):  # where the server has ended the connection, closing it fails
            connection.close()


@contextmanager
def odbc(address: str, database: str, user: str = "sa", password: str = PASSWORD, **options: Any) -> Iterator[Any]:
    """Connect with pyodbc; commits by itself by default."""
    options.setdefault("autocommit", True)
    string = f"DRIVER={{{find_driver()}}};" + connection_string(address, database, user, password)
    connection = pyodbc.connect(string, **options)
    try:
        yield connection
    finally:
        connection.close()


def number_of(error: BaseException) -> int:
    """Return SQL Server's number of a pyodbc error, which stands in parentheses in its text."""
    text = str(error.args[-1])
    inside = [part.split(")")[0] for part in text.split("(")]
    return next(int(part) for part in reversed(inside) if part.isdigit())
