"""One contender reads one table, in this process: ``python -m benchmarks.sql_server.contenders <name> <task as JSON>``.

Prints one JSON object: rows and bytes that arrived, seconds of work (from the first connection to the last byte
written, imports apart), processor seconds and peak memory of the whole process.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.sql_server.drain import drain
from benchmarks.sql_server.tables import DATABASE, TABLES, BenchTable, Server

if TYPE_CHECKING:
    import sqlalchemy

# What hygge-engine asks for at once; the others are given the same.
_BATCH_ROWS = 50_000

# Rows with (max) columns, where a driver that is asked for 50,000 of them would hold them all.
_LOB_BATCH_ROWS = 500

# "l_tax decimal(15, 2) NOT NULL"
_COLUMN = re.compile(r"(?P<name>\w+) (?P<type>[a-z]\w*)(?:\((?P<size>[^)]*)\))?(?P<required> NOT)? NULL")


@dataclass(frozen=True)
class Task:
    """What to read and where to write. ``lake`` holds what OneLake's emulator printed about itself."""

    server: Server
    table: str
    folder: str
    lake: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        fields = json.loads(text)
        return cls(**fields | {"server": Server(**fields["server"])})

    @property
    def query(self) -> str:
        return f"SELECT * FROM dbo.{self.table}"

    @property
    def batch_rows(self) -> int:
        return _LOB_BATCH_ROWS if self.table == "lob" else _BATCH_ROWS


# What a contender has to do, ready to start: everything is imported. Returns the rows that arrived, or 0 where only
# the socket knows, and the bytes on the wire or in files.
Work = Callable[[], tuple[int, int]]


def socket_drain(task: Task) -> Work:
    return lambda: (0, drain(task.server, task.query))


def arrow_reader(task: Task) -> Work:
    import mssql_python

    def work() -> tuple[int, int]:
        connection = mssql_python.connect(task.server.connection_string, autocommit=True)
        try:
            cursor = connection.cursor()
            cursor.execute(task.query)
            reader = cursor.arrow_reader(batch_size=task.batch_rows)
            rows = size = 0
            for batch in reader:
                rows += batch.num_rows
                size += batch.nbytes
            return rows, size
        finally:
            connection.close()

    return work


def hygge(task: Task, readers: int | None = None) -> Work:
    """A load as `hygge go` runs it: plan, landing state, staging, rename, journal; with as many readers as it takes, or
    so many."""
    from hygge_engine.memory import choose_allocator

    choose_allocator()
    import hygge_engine.flow.run
    import hygge_engine.homes.mssql.home
    import hygge_engine.homes.mssql.mssql_python_session
    import hygge_engine.lake.datalake
    import hygge_engine.orchestration.settling
    import hygge_engine.stores.open_mirroring.store  # noqa: F401 - imported when first needed, which is not work
    from hygge_engine.orchestration.local import run_load
    from hygge_engine.orchestration.request import LoadRequest
    from hygge_engine.project import load_project

    directory = Path(task.folder)
    write_project(directory, task, [task.table], readers=readers)

    class Silent:
        def planned(self, *_: Any) -> None: ...
        def entity_progress(self, *_: Any) -> None: ...
        def entity_ended(self, *_: Any) -> None: ...

    def work() -> tuple[int, int]:
        summary = run_load(load_project(directory), LoadRequest((), (), None, requested_by="bench"), Silent())
        if summary["status"] != "success":
            raise RuntimeError(json.dumps(summary))
        return summary["rows"], summary.get("bytes", 0)

    return work


def hygge_one_reader(task: Task) -> Work:
    return hygge(task, readers=1)


def hygge_four_readers(task: Task) -> Work:
    return hygge(task, readers=4)


def write_project(
    directory: Path,
    task: Task,
    entities: Sequence[str],
    settings: dict[str, object] | None = None,
    readers: int | None = None,
) -> None:
    """A project with one flow, whose ``settings`` are added to what it needs; JSON is YAML."""
    connection: dict[str, object] = {
        "type": "mssql",
        "server": task.server.address,
        "database": DATABASE,
        "username": task.server.login,
    }
    connection |= {"password": task.server.password, "encrypt": False}
    project = {"name": "bench", "connections": {"source": connection}}
    lake = {"credential": "account_key", "account_name": task.lake["account_name"]}
    lake |= {"account_url": task.lake["url"], "account_key": task.lake["account_key"]}
    store = {"type": "open_mirroring", "filesystem": task.lake["workspace"], "mirror_name": str(uuid.uuid4())}
    home = {"type": "mssql", "connection": "source", "table": "dbo.{entity}", "readers": readers}
    flow = {"name": "bench", "home": home, "store": store | lake, "entities": list(entities)} | (settings or {})
    (directory / "flows" / "bench").mkdir(parents=True)
    (directory / "hygge.yml").write_text(json.dumps(project))
    (directory / "flows" / "bench" / "flow.yml").write_text(json.dumps(flow))


def polars(task: Task) -> Work:
    import polars as pl
    import pyodbc

    def work() -> tuple[int, int]:
        connection = pyodbc.connect(_odbc(task))
        try:
            batches = pl.read_database(task.query, connection, iter_batches=True, batch_size=task.batch_rows)
            for number, frame in enumerate(batches):
                frame.write_parquet(Path(task.folder) / f"{number}.parquet")
        finally:
            connection.close()
        return _parquet(task)

    return work


def dlt_pyarrow(task: Task) -> Work:
    return _dlt(task, "pyarrow", {})


def dlt_connectorx(task: Task) -> Work:
    host, _, port = task.server.address.partition(",")
    # Nothing said of encryption means none; "false" would still encrypt the login.
    url = f"mssql://{task.server.login}:{task.server.password}@{host}:{port}/{DATABASE}"
    return _dlt(task, "connectorx", {"conn": url})


def _dlt(task: Task, backend: str, backend_settings: dict[str, str]) -> Work:
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DLT_DATA_DIR": f"{task.folder}/dlt",
    }
    import dlt
    import sqlalchemy
    from dlt.sources.sql_database import sql_table

    def work() -> tuple[int, int]:
        url = sqlalchemy.URL.create("mssql+pyodbc", query={"odbc_connect": _odbc(task)})
        source = sql_table(
            credentials=sqlalchemy.create_engine(url),
            schema="dbo",
            table=task.table,
            metadata=_metadata(TABLES[task.table]),
            backend=backend,
            chunk_size=task.batch_rows,
            backend_kwargs=backend_settings,
            reflection_level="full_with_precision",
        )
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=f"{task.folder}/pipelines",
            destination=dlt.destinations.filesystem(f"file://{task.folder}/landed"),
            dataset_name="landed",
        )
        pipeline.run(source, loader_file_format="parquet", write_disposition="replace")
        return _parquet(task, f"landed/landed/{task.table}")

    return work


def _metadata(table: BenchTable) -> sqlalchemy.MetaData:
    """The table as reflection would find it, which asks for more of the catalogue than the emulator has."""
    import sqlalchemy
    from sqlalchemy.dialects.mssql.base import ischema_names

    metadata = sqlalchemy.MetaData(schema="dbo")
    columns = [
        sqlalchemy.Column(
            column["name"],
            ischema_names[column["type"]](
                *(int(size) for size in (column["size"] or "").split(",") if size.strip().isdigit())
            ),
            nullable=not column["required"],
            primary_key=column["name"] in table.key,
        )
        for column in _COLUMN.finditer(table.columns)
    ]
    sqlalchemy.Table(table.name, metadata, *columns)
    return metadata


def _odbc(task: Task) -> str:
    """A connection string that names Microsoft's driver by its file: the one that mssql-python uses."""
    import mssql_python_odbc

    files = Path(mssql_python_odbc.get_libs_dir()).glob("linux/debian_ubuntu/x86_64/lib/libmsodbcsql-*.so*")
    return f"Driver={{{next(files)}}};{task.server.connection_string}"


def _parquet(task: Task, below: str = "") -> tuple[int, int]:
    from pyarrow.parquet import read_metadata

    files = list((Path(task.folder) / below).rglob("*.parquet"))
    return sum(read_metadata(file).num_rows for file in files), sum(file.stat().st_size for file in files)


CONTENDERS: dict[str, tuple[str, Callable[[Task], Work]]] = {
    "drain": ("the socket, drained", socket_drain),
    "arrow_reader": ("arrow_reader, thrown away", arrow_reader),
    "hygge": ("hygge-engine", hygge),
    "hygge_one_reader": ("hygge-engine, readers: 1", hygge_one_reader),
    "hygge_four_readers": ("hygge-engine, readers: 4", hygge_four_readers),
    "dlt_connectorx": ("dlt, connectorx", dlt_connectorx),
    "dlt_pyarrow": ("dlt, pyarrow", dlt_pyarrow),
    "polars": ("polars over pyodbc", polars),
}


@dataclass(frozen=True)
class Measured:
    """What one run cost."""

    rows: int
    size: int
    seconds: float
    processor_seconds: float
    peak_mb: float


def main() -> int:
    """Do one task and print what it cost."""
    name, task = sys.argv[1], Task.from_json(sys.argv[2])
    work = CONTENDERS[name][1](task)
    started = time.perf_counter()
    rows, size = work()
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(asdict(Measured(rows, size, seconds, used.ru_utime + used.ru_stime, _peak_mb()))), flush=True)
    return 0


def _peak_mb() -> float:
    """The peak since this program began: getrusage would count the memory of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


if __name__ == "__main__":
    sys.exit(main())
