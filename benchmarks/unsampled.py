"""Reads a large table of a server that answers a sample with every key, and of one that keeps to it.

``python -m benchmarks.unsampled --rows 2000000`` prints seconds and the peak MB of the process that reads.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue

from devcloud.sqlserver import DEFAULT_LOGINS, SqlServer
from devcloud.sqlserver.engine import sources

_DATABASE = "bench"
_TABLE = "dbo.readings"
_ROWS_AT_ONCE = 500_000


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unsampled", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the table (default 2000000)")
    rows = parser.parse_args().rows
    spawn = multiprocessing.get_context("spawn")
    for honest in (True, False):
        ours, theirs = spawn.Pipe()
        server = spawn.Process(target=_serve, args=(theirs, rows, honest), daemon=True)
        server.start()
        address = ours.recv()
        results: SimpleQueue[tuple[int, float, float]] = spawn.SimpleQueue()
        reader = spawn.Process(target=_read, args=(address, results))
        reader.start()
        found, seconds, peak = results.get()
        reader.join()
        ours.send(None)
        server.join()
        name = "keeps to samples" if honest else "answers samples with every key"
        sys.stdout.write(f"{name}: {found:,} rows, {seconds:.1f} s, {peak:.0f} MB\n")
    return 0


def _serve(pipe: Connection, rows: int, honest: bool) -> None:
    if not honest:
        sources._sample = lambda sample: "bernoulli(100 PERCENT)"
    with SqlServer(databases=[_DATABASE], logins=DEFAULT_LOGINS) as server:
        server.execute(
            f"CREATE TABLE {_TABLE} (id int PRIMARY KEY, sensor int, value float, note nvarchar(40))", _DATABASE
        )
        for first in range(1, rows + 1, _ROWS_AT_ONCE):
            series = f"GENERATE_SERIES({first}, {min(first + _ROWS_AT_ONCE - 1, rows)})"
            insert = (
                f"INSERT INTO {_TABLE} SELECT value, value % 97, value * 0.5, CONCAT(N'note ', value) FROM {series}"
            )
            server.execute(insert, _DATABASE)
        pipe.send(server.address)
        pipe.recv()


def _read(address: str, results: SimpleQueue[tuple[int, float, float]]) -> None:
    from hygge_engine.homes.base import ReadWindow
    from hygge_engine.homes.mssql.home import MssqlHome
    from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
    from hygge_engine.memory import give_memory_back

    give_memory_back()
    login = {"username": "sa", "password": DEFAULT_LOGINS["sa"], "encrypt": False}
    connection = {"type": "mssql", "server": address, "database": _DATABASE, **login}
    home = {"type": "mssql", "connection": "bench", "table": _TABLE}
    began, rows = time.monotonic(), 0
    with MssqlHome(MssqlConnection.model_validate(connection), MssqlHomeSettings.model_validate(home)) as opened:
        for batch in opened.read(ReadWindow()):
            rows += batch.rows.num_rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results.put((rows, time.monotonic() - began, peak))


if __name__ == "__main__":
    sys.exit(main())
