"""Command line: ``python -m devcloud.sqlserver`` serves, ``python -m devcloud.sqlserver ceiling`` measures."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import duckdb

from devcloud.sqlserver.nycflights import DATABASE, load_sample
from devcloud.sqlserver.server import DEFAULT_LOGINS, SqlServer


def main() -> int:
    """Serve until SIGTERM or SIGINT, or measure."""
    parser = argparse.ArgumentParser(prog="python -m devcloud.sqlserver", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("serve", "ceiling"), default="serve")
    parser.add_argument("--port", type=int, default=1433, help="0 lets the system choose (default 1433)")
    parser.add_argument("--directory", type=Path, help="where databases are kept; without it they live in memory")
    parser.add_argument("--database", action="append", default=[], help="create this database, if it is not there")
    parser.add_argument("--password", help="of the login sa")
    parser.add_argument("--sample", action="store_true", help=f"load the sample database {DATABASE}")
    parser.add_argument(
        "--until-input-ends", action="store_true", help="end with standard input, as it does when the parent dies"
    )
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows that the ceiling is measured with")
    arguments = parser.parse_args()
    if arguments.command == "ceiling":
        return _measure(arguments.rows)
    return _serve(arguments)


def _measure(rows: int) -> int:
    from devcloud.sqlserver.ceiling import measure

    for reader, (speed, megabytes) in measure(rows).items():
        print(f"{speed:>10,} rows/s  {megabytes:>7.1f} MB/s  {reader}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    logins = dict(DEFAULT_LOGINS)
    if arguments.password:
        logins["sa"] = arguments.password
    server = SqlServer(arguments.directory, arguments.port, logins, tuple(arguments.database))
    try:
        server.start()
    except OSError as error:
        print(f"cannot listen on port {arguments.port}: {error.strerror}", file=sys.stderr)
        return 2
    except duckdb.Error as error:
        print(f"cannot open the databases in {arguments.directory}: {error}", file=sys.stderr)
        return 2
    try:
        if arguments.sample:
            load_sample(server)
        print(f"SQL Server: {server.address}, login sa, password {logins['sa']}", flush=True)
        if arguments.until_input_ends:
            threading.Thread(target=_wait_for_end, args=(stopped,), daemon=True).start()
        stopped.wait()
    finally:
        server.stop()
    return 0


def _wait_for_end(stopped: threading.Event) -> None:
    os.read(sys.stdin.fileno(), 1)
    stopped.set()


if __name__ == "__main__":
    sys.exit(main())
