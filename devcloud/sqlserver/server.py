"""The server: listens on loopback and gives each client a thread."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from devcloud.doors import listen
from devcloud.sqlserver.connection import Connection
from devcloud.sqlserver.engine.backend import Instance
from devcloud.sqlserver.faults import Fault, Faults
from devcloud.sqlserver.local import run_locally
from devcloud.sqlserver.session import Shared
from devcloud.sqlserver.tds.tls import make_server_context

DEFAULT_LOGINS: Final = {"sa": "Hygge-2013!"}
"""Of a server that listens on loopback only, and keeps no secrets."""
_FIRST_SESSION: Final = 51
"""SQL Server keeps the numbers up to 50 for itself."""


class SqlServer:
    """A SQL Server on loopback.

    ``directory`` holds one DuckDB file per database; without it everything is in memory. ``port`` 0 lets the system
    choose. ``logins`` are names and passwords; ``sa`` administers. Use it as a context manager, or start and stop it.
    With ``tls`` clients that insist on encryption get it, under a certificate that the server signs itself; all others
    talk in clear. Without ``has_change_tracking`` the server knows nothing of it, as some that speak TDS do not.
    """

    def __init__(
        self,
        directory: Path | None = None,
        port: int = 0,
        logins: Mapping[str, str] | None = None,
        databases: Sequence[str] = (),
        host: str = "127.0.0.1",
        *,
        tls: bool = True,
        has_change_tracking: bool = True,
    ) -> None:
        self._directory = directory
        self._wanted_port = port
        self._host = host
        self._logins = dict(DEFAULT_LOGINS if logins is None else logins)
        self._wanted_databases = tuple(databases)
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._connections: dict[int, tuple[Connection, threading.Thread]] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(_FIRST_SESSION)
        self._shared: Shared | None = None
        self._faults = Faults()
        self._tls = make_server_context(host) if tls else None
        self._has_change_tracking = has_change_tracking

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open the databases and listen. Raises OSError where the port is taken, duckdb.Error where a file is."""
        listener = listen(self._host, self._wanted_port)
        try:
            instance = Instance(self._directory, has_change_tracking=self._has_change_tracking)
            self._shared = Shared(instance, self._logins, self._faults, self._tls)
        except BaseException:
            listener.close()
            raise
        for name in self._wanted_databases:
            if name.lower() not in self._shared.instance.databases:
                self._shared.instance.create(name)
        self._listener = listener
        self._thread = threading.Thread(target=self._accept, args=(listener,), name="tds-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, roll back what they left open, and write the databases to disk."""
        listener, self._listener = self._listener, None
        if listener is None or self._shared is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            connections = list(self._connections.values())
        for connection, _ in connections:
            connection.close()
        for _, thread in connections:
            thread.join()
        self._shared.instance.close()
        self._shared = None

    @property
    def port(self) -> int:
        """The port on which it listens. Raises RuntimeError before it was started."""
        return int(self._running_listener().getsockname()[1])

    @property
    def address(self) -> str:
        """Host and port as connection strings have them: ``127.0.0.1,1433``."""
        return f"{self._host},{self.port}"

    @property
    def instance(self) -> Instance:
        """The engine underneath. Raises RuntimeError while the server does not run."""
        return self._running().instance

    @property
    def faults(self) -> Faults:
        """The deliberate faults: ``server.faults.add(Fault("deadlock", table="dbo.flights"))``."""
        return self._faults

    def fault(
        self,
        kind: str,
        *,
        table: str | None = None,
        login: str | None = None,
        times: int | None = 1,
        after_rows: int = 0,
        number: int = 40501,
        seconds: float = 1.0,
    ) -> None:
        """Let a fault wait for its occasion: see Fault."""
        self._faults.add(Fault(kind, table, login, times=times, after_rows=after_rows, number=number, seconds=seconds))

    def execute(self, text: str, database: str = "master") -> list[list[tuple[object, ...]]]:
        """Run a batch as ``sa``, without the wire, and return its result sets.

        Values are as DuckDB stores them (types.py): meant for set-up and checks. Raises SqlError.
        """
        return run_locally(self._running(), next(self._numbers), text, database)

    def _running(self) -> Shared:
        if self._shared is None:
            raise RuntimeError("the server is not running")
        return self._shared

    def _running_listener(self) -> socket.socket:
        if self._listener is None:
            raise RuntimeError("the server is not running")
        return self._listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            number = next(self._numbers)
            connection = Connection(client, self._running(), number)
            thread = threading.Thread(
                target=self._serve, args=(connection, number), name=f"tds-session-{number}", daemon=True
            )
            with self._lock:
                self._connections[number] = (connection, thread)
            thread.start()

    def _serve(self, connection: Connection, number: int) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._connections.pop(number, None)
