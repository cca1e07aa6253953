"""The SQL Server of the tests: the emulator in a process of its own, or one that `make test-real` names.

mssql-python keeps the interpreter's lock while it waits for the rest of a large value, so a server among the threads of
the same process could not send it.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Self

import mssql_python
import pytest

from devcloud.sqlserver import DEFAULT_LOGINS, SqlError, SqlServer
from hygge_engine.homes.base import Home, Position, ReadWindow
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings

# Set by `make test-real` alone, so that no other run of the tests meets a real server by accident.
REAL_SERVER = os.environ.get("TEST_SQL_SERVER", "")

# Nothing of a server that holds more than tests may be met: names there are the run's own.
_PREFIX = f"hygge_test_{uuid.uuid4().hex[:8]}_" if REAL_SERVER else ""


def own_name(name: str) -> str:
    """A unique name for a database or a login."""
    return _PREFIX + name


def _administrator() -> dict[str, Any]:
    if not REAL_SERVER:
        return {"username": "sa", "password": DEFAULT_LOGINS["sa"], "encrypt": False}
    encrypt = os.environ.get("SQL_ENCRYPT", "true") == "true"
    login = {"username": os.environ["SQL_USERNAME"], "password": os.environ["SQL_PASSWORD"]}
    return login | {"encrypt": encrypt, "trust_server_certificate": True}


ADMINISTRATOR = _administrator()
DATABASE = own_name("shop")
DRIVERS = ("mssql-python", "pyodbc")
READER, READER_PASSWORD = own_name("reader"), "Looks-only!2025"
STOP_SECONDS = 20


def refusal() -> str:
    """Why a login to the server that `make test-real` names fails; empty where it succeeds."""
    encrypt = "yes" if ADMINISTRATOR["encrypt"] else "no"
    text = f"SERVER={REAL_SERVER};UID={{{ADMINISTRATOR['username']}}};PWD={{{_braced(ADMINISTRATOR['password'])}}};"
    try:
        mssql_python.connect(f"{text}Encrypt={encrypt};TrustServerCertificate=yes", timeout=10).close()
    except mssql_python.Error as error:
        return (
            f"{ADMINISTRATOR['username']} cannot log in to {REAL_SERVER}: {error}\n"
            "Look at SQL_SERVER (host,port), SQL_USERNAME, SQL_PASSWORD, and SQL_ENCRYPT (true or false)."
        )
    return ""


def _braced(value: str) -> str:
    return value.replace("}", "}}")


def stand_in_only(reason: str) -> pytest.MarkDecorator:
    """A test that needs what a real server may lack."""
    return pytest.mark.skipif(bool(REAL_SERVER), reason=reason)


class ServerProcess:
    """`SqlServer` over a pipe; a context manager."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.address: str = self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def run(self, *statements: str, database: str = DATABASE) -> list[list[tuple[object, ...]]]:
        """Run batches as administrator, and return the result sets of the last."""
        result: list[list[tuple[object, ...]]] = []
        for statement in statements:
            result = self._ask("execute", statement, database)
        return result

    def fault(self, kind: str, **keys: Any) -> None:
        """Let a fault wait for its occasion, as `SqlServer.fault`."""
        self._ask("fault", kind, keys)

    def clear_faults(self) -> None:
        """Discard the faults that still wait."""
        self._ask("clear")

    def stop(self) -> None:
        """End the process; a second time does nothing."""
        if self._process.is_alive():
            self._pipe.send(None)
            self._process.join(STOP_SECONDS)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, *request: object) -> Any:
        self._pipe.send(request)
        error, answer = self._pipe.recv()
        if error is not None:
            raise AssertionError(f"{request}: {error}")
        return answer


class RealServer(ServerProcess):
    """A SQL Server that runs already. What is made in it is dropped again."""

    def __init__(self) -> None:
        self.address = REAL_SERVER
        (version,) = _execute("SELECT CAST(SERVERPROPERTY('ProductMajorVersion') AS int)", "master")[0][0]
        self._version = int(str(version))
        self.run(f"CREATE DATABASE {DATABASE}", database="master")
        # As the emulator's databases have it.
        self.run(f"ALTER DATABASE {DATABASE} SET ALLOW_SNAPSHOT_ISOLATION ON", database="master")
        self.run(f"CREATE LOGIN {READER} WITH PASSWORD = '{READER_PASSWORD}'", database="master")

    def run(self, *statements: str, database: str = DATABASE) -> list[list[tuple[object, ...]]]:
        result: list[list[tuple[object, ...]]] = []
        for statement in statements:
            if "GENERATE_SERIES" in statement and self._version < 16:
                pytest.skip("GENERATE_SERIES is of SQL Server 2022")
            dropped = re.fullmatch(r"(?:USE master; )?DROP DATABASE (?:IF EXISTS )?(\w+)", statement)
            if dropped is None:
                result = _execute(statement, database)
            else:
                self._drop(dropped[1])
        return result

    def fault(self, kind: str, **keys: Any) -> None:
        pytest.skip(f"a SQL Server has no {kind} to order")

    def clear_faults(self) -> None: ...

    def stop(self) -> None:
        (found,) = _execute(f"SELECT name FROM sys.databases WHERE name LIKE '{_PREFIX}%'", "master")
        for (name,) in found:
            self._drop(str(name))
        _execute(f"DROP LOGIN {READER}", "master")

    def _drop(self, name: str) -> None:
        """Drop a database, if it is there, with the sessions that a pool may keep in it."""
        if not _execute(f"SELECT name FROM sys.databases WHERE name = '{name}'", "master")[0]:
            return
        try:
            _execute(f"DROP DATABASE {name}", "master")
        except AssertionError:
            _execute(f"ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE", "master")
            _execute(f"DROP DATABASE {name}", "master")


def start_server() -> ServerProcess:
    """The server that the tests run on."""
    return RealServer() if REAL_SERVER else ServerProcess()


def log_in(address: str, database: str, **options: Any) -> Any:
    """A connection of the driver's own, as administrator."""
    encrypt = "yes" if ADMINISTRATOR["encrypt"] else "no"
    return mssql_python.connect(
        f"Server={address};Database={database};UID={ADMINISTRATOR['username']};PWD={{{ADMINISTRATOR['password']}}};"
        f"Encrypt={encrypt};TrustServerCertificate=yes",
        **options,
    )


def _execute(statement: str, database: str) -> list[list[tuple[object, ...]]]:
    """The result sets of a batch."""
    results = []
    try:
        with log_in(REAL_SERVER, database, autocommit=True) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            more = True
            while more:
                if cursor.description:
                    results.append([tuple(row) for row in cursor.fetchall()])
                more = bool(cursor.nextset())
    except mssql_python.Error as error:
        raise AssertionError(f"{statement}: {error}") from None
    return results


def _serve(pipe: Connection) -> None:
    logins: Mapping[str, str] = {**DEFAULT_LOGINS, "reader": READER_PASSWORD}
    with SqlServer(databases=[DATABASE], logins=logins) as server:
        pipe.send(server.address)
        while (request := pipe.recv()) is not None:
            try:
                if request[0] == "execute":
                    pipe.send((None, server.execute(request[1], request[2])))
                elif request[0] == "clear":
                    server.faults.clear()
                    pipe.send((None, None))
                else:
                    server.fault(request[1], **request[2])
                    pipe.send((None, None))
            except SqlError as error:
                pipe.send((str(error), None))


def connect(address: str, driver: str = "mssql-python", **keys: Any) -> MssqlConnection:
    """Settings that log in as administrator."""
    return MssqlConnection.model_validate(
        {
            "type": "mssql",
            "server": address,
            "database": DATABASE,
            **ADMINISTRATOR,
            "driver": driver,
            "login_timeout_seconds": 5,
            **keys,
        }
    )


def open_home(
    server: ServerProcess,
    table: str | None,
    driver: str = "mssql-python",
    *,
    key: Sequence[str] = (),
    database: str = DATABASE,
    **keys: Any,
) -> MssqlHome:
    """A home over a table, or over a query where ``table`` is None."""
    settings = {"type": "mssql", "connection": "shop", "table": table, "key": key, **keys}
    return MssqlHome(connect(server.address, driver, database=database), MssqlHomeSettings.model_validate(settings))


def read_all(home: Home, window: ReadWindow | None = None, after: Position | None = None) -> list[dict[str, Any]]:
    """All rows of a window after a position."""
    return [row for batch in home.read(window or ReadWindow(), after) for row in batch.rows.to_pylist()]
