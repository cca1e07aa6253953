"""Sessions by the settings of their connection, which name the driver."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from hygge_engine.errors import HomeError, HomeUnavailable
from hygge_engine.homes.mssql.connect import check_reachable, check_says_something
from hygge_engine.homes.mssql.errors import NUMBERS_OF_THE_NETWORK, Diagnosis, Translate, translate
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.silence import silent_servers


def open_session(connection: MssqlConnection, *, translation: Translate = translate) -> Session:
    """Connect with the driver that the settings name.

    Raises HomeUnavailable where nothing responds, or did not a short time ago, HomeLoginFailed where Entra refuses,
    else what ``translation`` returns.
    """
    with silent_servers.ask(connection.address, connection.login_timeout_seconds):
        # The drivers are imported here: only the one that is used has to load.
        check_reachable(connection)
        if connection.driver == "pyodbc":
            from hygge_engine.homes.mssql.pyodbc_session import PyodbcSession

            return PyodbcSession(connection, translation)
        from hygge_engine.homes.mssql.mssql_python_session import MssqlPythonSession

        return MssqlPythonSession(connection, translation)


def close_idle_sessions() -> None:
    """Close the connections that the driver keeps for the next session of this process. Those in use stay."""
    driver = sys.modules.get("mssql_python.pooling")
    if driver is not None and driver.PoolingManager.is_enabled():
        driver.PoolingManager.disable()
        driver.PoolingManager.enable()


def check_responds(connection: MssqlConnection) -> None:
    """Raise HomeUnavailable where nothing responds within ``login_timeout_seconds``, tried once.

    Only the driver can look up a named instance's port, so there a login is tried; any reply of the server counts as a
    response, even a refusal.
    """
    if "," in connection.address:
        check_reachable(connection)
        check_says_something(connection)
        return
    try:
        open_session(connection, translation=_nobody_there).close()
    except HomeUnavailable:
        raise
    except HomeError:
        return


def _nobody_there(diagnosis: Diagnosis, doing: str, *, secrets: Iterable[str] = ()) -> HomeError:
    """Whether an error has a server's own number: then the server has responded."""
    error = translate(diagnosis, doing, secrets=secrets)
    return error if diagnosis.number in NUMBERS_OF_THE_NETWORK else HomeError(error.message)
