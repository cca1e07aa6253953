"""Sessions by the settings of their connection, which name the driver."""

from __future__ import annotations

from hygge_engine.homes.mssql.connect import check_reachable
from hygge_engine.homes.mssql.errors import Translate, translate
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.settings import MssqlConnection


def open_session(connection: MssqlConnection, *, translation: Translate = translate) -> Session:
    """Connect with the driver that the settings name.

    Raises HomeUnavailable where nobody answers, HomeLoginFailed where Entra refuses, else what ``translation`` returns.
    """
    # The drivers are imported here: only the one that is used has to load.
    check_reachable(connection)
    if connection.driver == "pyodbc":
        from hygge_engine.homes.mssql.pyodbc_session import PyodbcSession

        return PyodbcSession(connection, translation)
    from hygge_engine.homes.mssql.mssql_python_session import MssqlPythonSession

    return MssqlPythonSession(connection, translation)
