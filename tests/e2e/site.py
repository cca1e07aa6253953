"""A source, a data lake and a project on disk, for the commands and hosts that a user starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from devcloud.onelake import OneLake
from devcloud.replicator import Replicator, check_landing_zone
from devcloud.sqlserver import DEFAULT_LOGINS
from tests.integration.mssql_server import DATABASE, ServerProcess

REPOSITORY = Path(__file__).parents[2]
WORKSPACE = "5ca1ab1e-0000-4000-8000-000000000001"
MIRROR = "5ca1ab1e-0000-4000-8000-000000000002"

# How long a command may take before something is wrong with it.
PATIENCE_SECONDS = 90.0

# What a test's own project does not say about its store: plain ADLS, where the item's folders do not exist beforehand.
STORE = f"""\
store:
  type: open_mirroring
  account_url: "${{LAKE_URL}}"
  filesystem: {WORKSPACE}
  mirror_name: {MIRROR}
  credential: account_key
  account_name: "${{LAKE_ACCOUNT_NAME}}"
  account_key: "${{LAKE_ACCOUNT_KEY}}"
  mirror_journal: true
  folder_deletion_wait_seconds: 2
"""

CONNECTION = f"""\
  shop_db:
    type: mssql
    server: "${{SQL_SERVER}}"
    database: {DATABASE}
    username: sa
    password: "${{SQL_PASSWORD}}"
    trust_server_certificate: true
"""


class Site:
    """One test's lake and project below ``root``, beside a SQL Server that it shares; a context manager."""

    def __init__(self, root: Path, server: ServerProcess) -> None:
        self.root = root
        self.server = server
        self.lake = OneLake(root / "lake", 0, "adls")
        self.lake.create_filesystem(WORKSPACE)
        self.project = root / "project"
        self.replicator = Replicator.on_disk(self.item, in_memory=True)
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self.lake.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.replicator.stop()
        self.lake.close()

    @property
    def item(self) -> Path:
        """The mirrored database's item on disk."""
        return self.root / "lake" / WORKSPACE / MIRROR

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a command: the project's variables, and none of this process's own."""
        own = ("SQL_", "LAKE_", "HYGGE_", "ONELAKE_", "AZURE_")
        return {name: value for name, value in os.environ.items() if not name.startswith(own)} | {
            "SQL_SERVER": self.server.address,
            "SQL_PASSWORD": DEFAULT_LOGINS["sa"],
            "LAKE_URL": self.lake.url,
            "LAKE_ACCOUNT_NAME": self.lake.account_name,
            "LAKE_ACCOUNT_KEY": self.lake.account_key,
        }

    def write_project(self, flow: str, *, connections: str = "", options: str = "", name: str = "shop") -> None:
        """Write the project, of one flow; ``flow`` is what follows its store."""
        self.write("hygge.yml", f"name: shop\nconnections:\n{CONNECTION}{connections}{options}")
        self.write(f"flows/{name}/flow.yml", f"name: {name}\nrun_type: incremental\n{STORE}{flow}")

    def write(self, path: str, text: str) -> None:
        """Write one of the project's files."""
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a ``hygge`` command on the project."""
        return subprocess.Popen(
            [*HYGGE, *arguments, "--project", str(self.project)],
            env=self.variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> Outcome:
        """Run a ``hygge`` command on the project to its end."""
        with self.start(*arguments, **variables) as process:
            return Outcome(process)

    def journal(self) -> list[dict[str, Any]]:
        """The journal's rows, read as a user of the lake would, without the engine."""
        rows: list[dict[str, Any]] = []
        for file in sorted((self.item / "Files/.hygge_journal").glob("**/*.parquet")):
            if "staging" not in file.parts:
                rows += pq.read_table(file).to_pylist()
        return rows

    def mirrored(self, table: str, schema: str = "dbo") -> pa.Table:
        """A table as Fabric's readers see it, once all that has landed has been replicated."""
        self.replicator.tick()
        return self.replicator.table(schema, table)

    def breaches(self) -> list[str]:
        """What in the landing zone would stop a table, and what stopped one."""
        stopping = [*check_landing_zone(self.item), *self.replicator.checks]
        return [str(finding) for finding in stopping if finding.stops]


HYGGE = [sys.executable, "-c", "from hygge_engine.cli import main; main()"]


class Outcome:
    """How a command ended: ``code``, ``output`` (standard output) and ``errors`` (standard error)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.output, self.errors = process.communicate(timeout=PATIENCE_SECONDS)
        self.code = process.returncode

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.output}\n{self.errors}"

    @property
    def summary(self) -> dict[str, Any]:
        """The last object of a command with ``--json``."""
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        assert found.get("event") != "error", str(self)
        return found

    @property
    def results(self) -> Mapping[str, dict[str, Any]]:
        """The results of a load, by entity."""
        return {result["entity"]: result for result in self.summary["results"]}
