"""The whole laptop cloud: SQL Server with the sample data, OneLake, Fabric's replicator and its status, a Functions
host."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devcloud.functions import FunctionsHost
from devcloud.onelake import OneLake
from devcloud.replicator import Replicator
from devcloud.replicator.status_api import StatusServer
from devcloud.sqlserver.child import run_in_child
from devcloud.sqlserver.nycflights import DATABASE
from devcloud.sqlserver.server import DEFAULT_LOGINS

# One workspace and one mirrored database, named by GUIDs as in Fabric; these two are made up.
WORKSPACE = "0fab0000-0000-4000-8000-000000000001"
MIRROR = "0fab0000-0000-4000-8000-000000000002"

LOGIN, PASSWORD = next(iter(DEFAULT_LOGINS.items()))

# The real replicator looks about every 20 seconds; a laptop need not wait for it.
REPLICATION_SECONDS = 1.0


# Function timers need a schedule; an extra load on a leap day does no harm.
NEVER = "0 0 0 29 2 *"


# As deployed: more than host.json lets run at once of activities and replays together, so that requests need not wait.
WORKER_THREADS = "16"


class LaptopCloud:
    """Every part on loopback, below one directory; use as a context manager. ``say`` receives what has been started."""

    def __init__(
        self,
        directory: Path,
        project: Path,
        *,
        say: Callable[[str, str, float], None] = lambda part, where, seconds: None,
        schedule: str = NEVER,
        functions_port: int = 0,
        instances: int = 1,
        sql_port: int = 0,
        lake_port: int = 0,
    ) -> None:
        self._directory = directory
        self._project = project
        self._say = say
        self._schedule = schedule
        self._instances = instances
        self._ports = {"functions": functions_port, "sql": sql_port, "lake": lake_port}
        self._stack = ExitStack()
        self.sql_address = ""
        self.lake: OneLake
        self.replicator: Replicator
        self.status: StatusServer
        self.host: FunctionsHost

    def __enter__(self) -> Self:
        try:
            self._start("SQL Server", self._start_sql_server)
            self._start("OneLake", self._start_lake)
            self._start("Fabric's replicator", self._start_replicator)
            self._start("Functions host", self._start_host)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def item(self) -> Path:
        """The mirrored database's item on disk."""
        return self.lake.path(WORKSPACE, MIRROR)

    def settings(self) -> dict[str, str]:
        """The variables of the sample project, for this cloud."""
        return {
            "SQL_SERVER": self.sql_address,
            "SQL_DATABASE": DATABASE,
            "SQL_AUTH": "sql",
            "SQL_USERNAME": LOGIN,
            "SQL_PASSWORD": PASSWORD,
            "SQL_ENCRYPT": "false",
            "SQL_TRUST_SERVER_CERTIFICATE": "true",
            "ONELAKE_URL": self.lake.url,
            "WORKSPACE_ID": WORKSPACE,
            "MIRROR_ID": MIRROR,
            "LAKE_CREDENTIAL": "account_key",
            "LAKE_ACCOUNT_NAME": self.lake.account_name,
            "LAKE_ACCOUNT_KEY": self.lake.account_key,
            "FABRIC_API_URL": self.status.url,
            "HYGGE_PROJECT": str(self._project),
            "HYGGE_SCHEDULE": self._schedule,
            # What each load logs is for queries; people read `hygge runs`.
            "AzureFunctionsJobHost__logging__logLevel__default": "Warning",
        }

    def connect(self) -> Any:
        """A connection to the source through the real driver, to read or change something there."""
        import mssql_python

        return mssql_python.connect(
            f"Server={self.sql_address};Database={DATABASE};UID={LOGIN};PWD={PASSWORD};"
            "Encrypt=no;TrustServerCertificate=yes",
            autocommit=True,
        )

    def _start(self, part: str, start: Callable[[], str]) -> None:
        began = time.monotonic()
        self._say(part, start(), time.monotonic() - began)

    def _start_sql_server(self) -> str:
        """In a process of its own: encoding rows for the wire would otherwise share this interpreter with the lake."""
        server = run_in_child(self._directory / "sqlserver", self._ports["sql"], sample=True)
        self.sql_address = self._stack.enter_context(server)
        return self.sql_address

    def _start_lake(self) -> str:
        self.lake = self._stack.enter_context(OneLake(self._directory / "onelake", self._ports["lake"]))
        self.lake.create_workspace(WORKSPACE)
        self.lake.create_item(WORKSPACE, MIRROR)
        return self.lake.url

    def _start_replicator(self) -> str:
        # Its warnings are about what Fabric's documents leave open; `python -m devcloud.replicator check` shows them.
        logging.getLogger("devcloud.replicator").setLevel(logging.ERROR)
        self.replicator = Replicator.on_disk(self.item)
        self.status = self._stack.enter_context(
            StatusServer({(WORKSPACE, MIRROR): self.replicator}, key=self.lake.account_key)
        )
        self.replicator.run_in_background(REPLICATION_SECONDS)
        self._stack.callback(self.replicator.stop)
        return self.status.url

    def _start_host(self) -> str:
        app = Path(__file__).parent.parent
        self.host = FunctionsHost(
            app,
            self._directory / "functions",
            self._ports["functions"],
            {**self.settings(), "PYTHON_THREADPOOL_THREAD_COUNT": WORKER_THREADS},
            instances=self._instances,
        )
        self._stack.enter_context(self.host)
        return self.host.url
