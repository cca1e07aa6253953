"""How long a native call keeps other threads from running while it waits for an answer (docs/native-calls.md).

Usage: python -m benchmarks.native_calls

Lake and SQL Server are in a process of their own, behind a relay that holds each of their answers back; meanwhile a
thread here notes the longest time for which it did not run. Anything near the relay's pause keeps the interpreter's
lock.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake
from deltalake.schema import Field, PrimitiveType, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from devcloud.onelake import OneLake
from devcloud.sqlserver import DEFAULT_LOGINS, SqlServer
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.lake.credentials import object_store_options
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

PAUSE_SECONDS = 0.3
CHUNK_BYTES = 8192
BEAT_SECONDS = 0.005

WORKSPACE, ITEM = "6e617469-7665-4000-8000-000000000001", "6e617469-7665-4000-8000-000000000002"
DATABASE = "slow"


def main() -> int:
    """Measure everything, and print a line for each call."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    lake_port, sql_port, credential = ours.recv()
    try:
        measure_delta(lake_port, credential)
        for driver in ("mssql-python", "pyodbc"):
            measure_driver(driver, sql_port)
    finally:
        process.kill()
        process.join()
    return 0


def serve(pipe: Connection) -> None:
    """Run both services, and a relay before each."""
    with tempfile.TemporaryDirectory() as directory, OneLake(Path(directory)) as lake:
        lake.create_workspace(WORKSPACE)
        lake.create_item(WORKSPACE, ITEM)
        with SqlServer(databases=[DATABASE], logins=DEFAULT_LOGINS) as server:
            rows = ", ".join(f"({number}, REPLICATE(CAST(N'x' AS nvarchar(max)), 9000))" for number in range(20))
            server.execute("CREATE TABLE large (id int NOT NULL PRIMARY KEY, text nvarchar(max))", DATABASE)
            server.execute(f"INSERT INTO large VALUES {rows}", DATABASE)
            server.execute("CREATE TABLE target (id int, text nvarchar(50))", DATABASE)
            asyncio.run(relay(pipe, lake, int(server.address.partition(",")[2])))


async def relay(pipe: Connection, lake: OneLake, sql_port: int) -> None:
    """Pass bytes on in both directions until the process is killed; answers wait."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, pause: float) -> None:
        while data := await source.read(CHUNK_BYTES):
            await asyncio.sleep(pause)
            target.write(data)
            await target.drain()
        target.close()

    async def listen(port: int) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, to_there = await asyncio.open_connection("127.0.0.1", port)
            both = copy(reader, to_there, 0), copy(there, writer, PAUSE_SECONDS)
            await asyncio.gather(*both, return_exceptions=True)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    pipe.send((await listen(lake.port), await listen(sql_port), lake.credential))
    await asyncio.Event().wait()


def measure_delta(port: int, credential: dict[str, str]) -> None:
    """The Delta package."""
    settings = {"type": "open_mirroring", "account_url": f"http://127.0.0.1:{port}", "credential": "account_key"}
    place = {"filesystem": WORKSPACE, "mirror_name": ITEM}
    options = object_store_options(OpenMirroringSettings.model_validate({**settings, **place, **credential}))
    root = f"az://{WORKSPACE}/{ITEM}/Tables"
    rows = pa.table({"id": range(1000)})
    write_deltalake(f"{root}/read", rows, storage_options=options)
    schema = Schema.from_arrow(rows.schema)
    written = CommitProperties(app_transactions=[Transaction("engine", 1)])
    added = [AddAction("a.parquet", 1, {}, 0, True, '{"numRecords": 1}')]

    table = measure("deltalake DeltaTable", lambda: DeltaTable(f"{root}/read", storage_options=options))
    for name in ("version", "metadata", "schema", "count"):
        measure(f"deltalake {name}", getattr(table, name))
    measure("deltalake get_add_actions", lambda: table.get_add_actions(flatten=True))
    measure("deltalake transaction_version", lambda: table.transaction_version("engine"))
    query = QueryBuilder().register("landed", table)
    stream = measure("deltalake execute", lambda: query.execute("SELECT id FROM landed"))
    measure("deltalake RecordBatchReader.from_stream", lambda: pa.RecordBatchReader.from_stream(stream).read_all())
    raw = query.execute("SELECT id FROM landed")
    measure("deltalake iterating the raw reader", lambda: list(raw))
    measure("deltalake history", lambda: table.history(1))
    new = f"{root}/new"
    measure(
        "deltalake create_table_with_add_actions",
        lambda: create_table_with_add_actions(new, schema, [], storage_options=options, commit_properties=written),
    )
    table = DeltaTable(new, storage_options=options)
    column = Field("name", PrimitiveType("string"), nullable=True)
    measure("deltalake add_columns", lambda: table.alter.add_columns([column]))
    measure(
        "deltalake create_write_transaction", lambda: table.create_write_transaction(added, "append", table.schema())
    )


def measure_driver(driver: str, port: int) -> None:
    """A SQL Server driver, as the engine's sessions use it."""
    login, password = next(iter(DEFAULT_LOGINS.items()))
    settings = {"type": "mssql", "server": f"127.0.0.1,{port}", "database": DATABASE, "encrypt": False}
    connection = MssqlConnection.model_validate({**settings, "username": login, "password": password, "driver": driver})
    session = measure(f"{driver} connect", lambda: open_session(connection))
    many = "SELECT a.id, b.id AS other FROM large AS a CROSS JOIN large AS b"
    parameters = ("SELECT id FROM large WHERE id < ?", (3,))
    measure(f"{driver} fetch_all", lambda: session.fetch_all(*parameters, doing="measuring"))
    large = "SELECT text FROM large"
    measure(f"{driver} fetch_all of large values", lambda: session.fetch_all(large, doing="measuring"))
    for what, sql, limit in (("small values", many, None), ("large values", large, CHUNK_BYTES * 5)):
        stream = measure(f"{driver} stream of {what}", lambda sql=sql: session.stream(sql, doing="measuring"))
        measure(f"{driver} fetch of {what}", lambda stream=stream, limit=limit: stream.fetch(5, limit))
        measure(f"{driver} close of {what}", stream.close)
    measure(f"{driver} execute", lambda: session.execute("SET LOCK_TIMEOUT 100; SELECT 1", doing="measuring"))
    batch = pa.RecordBatch.from_pydict({"id": list(range(1000)), "text": ["x", None] * 500})
    measure(f"{driver} insert", lambda: session.insert("target", batch, doing="measuring"))
    measure(f"{driver} close", session.close)


def measure(name: str, call: Callable[[], Any]) -> Any:
    """Call, and print how long it took and for how long no other thread ran."""
    began = time.monotonic()
    with beating() as gaps:
        answer = call()
    took, longest = time.monotonic() - began, max(gaps, default=0.0)
    verdict = "keeps the lock" if longest > PAUSE_SECONDS * 0.8 else ""
    sys.stdout.write(f"{name:45} {took:6.2f} s, others stood still for {longest:5.2f} s  {verdict}\n")
    sys.stdout.flush()
    return answer


@contextmanager
def beating() -> Iterator[list[float]]:
    """Gaps in seconds between the turns of a thread that wants to run all the time."""
    gaps: list[float] = []
    ended = threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not ended.wait(BEAT_SECONDS):
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield gaps
    finally:
        # A turn that has not come yet counts, too.
        time.sleep(BEAT_SECONDS * 2)
        ended.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
