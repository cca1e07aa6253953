"""The SQL Server stand-in in a process of its own.

mssql-python keeps the interpreter's lock while it waits for the rest of a large value, so a server among the threads of
the same process could not send it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Self

from devcloud.sqlserver import DEFAULT_LOGINS, SqlError, SqlServer
from hygge_engine.homes.base import Home, Position, Window
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings

DATABASE = "shop"
DRIVERS = ("mssql-python", "pyodbc")
READER_PASSWORD = "Reader!2025"
STOP_SECONDS = 20


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
        """Forget the faults that still wait."""
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
            "username": "sa",
            "password": DEFAULT_LOGINS["sa"],
            "encrypt": False,
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


def read_all(home: Home, window: Window | None = None, after: Position | None = None) -> list[dict[str, Any]]:
    """All rows of a window after a position."""
    return [row for batch in home.read(window or Window(), after) for row in batch.rows.to_pylist()]
