"""What a table of a million rows takes: time, and the largest memory of the process that loads it.

python -m benchmarks.million [--rows 1000000] [--at-once 4]

With ``--at-once`` so many loads of the table are read beside each other, by one connection each, as the activities of
one instance are. From SQL Server's emulator, in a process of its own, into Parquet on the local disk and into Open
Mirroring on OneLake's emulator, by `hygge go`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import uuid
from pathlib import Path

from benchmarks.main_job import LOGIN, PASSWORD, WORKSPACE, Figures, lake
from devcloud.sqlserver.child import run_in_child
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection

DATABASE = "bench"

TABLE = (
    "CREATE TABLE dbo.million (id int NOT NULL PRIMARY KEY, changed datetime2(6) NOT NULL, name nvarchar(40), "
    "code varchar(30), amount decimal(18, 4), share float, day date)"
)
ROWS = (
    "INSERT INTO dbo.million SELECT value, DATEADD(second, value, '2024-01-01'), CONCAT(N'note ', value), "
    "CONCAT('code ', value % 977), value * 1.5, value / 3e0, '2024-05-05' FROM GENERATE_SERIES(1, {rows})"
)


def main() -> int:
    """Measure, print one line for each destination, and return the exit code: 1 where rows are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--at-once", type=int, default=0)
    options = parser.parse_args()
    rows, at_once = options.rows, options.at_once
    whole = True
    with (
        tempfile.TemporaryDirectory() as folder,
        run_in_child(databases=[DATABASE]) as server,
        lake(Path(folder) / "lake") as facts,
    ):
        fill(server, rows)
        variables = variables_of(server, facts)
        for name, store in _stores().items():
            project = Path(folder) / name.split()[0]
            _write(project, store, at_once)
            figures = Figures()
            command = [sys.executable, "-c", "from hygge_engine.cli import main; main()", "go", "--json"]
            output = figures.measure(command, variables | {"HYGGE_PROJECT": str(project)})
            landed = json.loads(output.splitlines()[-1])["rows"]
            whole = whole and landed == rows * max(1, at_once)
            print(
                f"{name:28}{landed:12,} rows{figures.seconds[0]:8.1f} s{figures.processor[0]:8.1f} s processor"
                f"{figures.megabytes[0]:8.0f} MB at most",
                flush=True,
            )
    return 0 if whole else 1


def fill(server: str, rows: int) -> None:
    """Make the table."""
    connection = MssqlConnection.model_validate(
        {"server": server, "database": DATABASE, "username": LOGIN, "password": PASSWORD, "encrypt": False}
    )
    session = open_session(connection)
    for statement in (TABLE, ROWS.format(rows=rows)):
        session.execute(statement, doing="making the table")
    session.close()


def variables_of(server: str, facts: dict[str, str]) -> dict[str, str]:
    """What the projects leave to the environment: the server's address, and the lake's as `lake` tells them."""
    return {
        "SERVER": server,
        "LOGIN": LOGIN,
        "SECRET": PASSWORD,
        "URL": facts["url"],
        "ACCOUNT": facts["account_name"],
        "ACCOUNT_KEY": facts["account_key"],
    }


def _stores() -> dict[str, str]:
    account = "credential: account_key, account_name: '${ACCOUNT}', account_key: '${ACCOUNT_KEY}'"
    mirror = f"mirror_name: {uuid.uuid4()}, account_url: '${{URL}}', filesystem: '{WORKSPACE}'"
    return {
        "parquet on disk": "{type: local}",
        "mirroring on the emulator": f"{{type: open_mirroring, {mirror}, {account}}}",
    }


def _write(project: Path, store: str, at_once: int) -> None:
    flow = project / "flows" / "million"
    flow.mkdir(parents=True)
    login = "username: '${LOGIN}', password: '${SECRET}', encrypt: false"
    pool = max(4, at_once)
    server = f"type: mssql, server: '${{SERVER}}', database: {DATABASE}, pool_size: {pool}, {login}"
    (project / "hygge.yml").write_text(
        f"name: million\nconnections: {{source: {{{server}}}}}\noptions: {{concurrency: {pool}}}\n"
    )
    readers = ", readers: 1" if at_once else ""
    entities = [f"copy_{number}" for number in range(at_once)] or ["million"]
    (flow / "flow.yml").write_text(
        f"home: {{type: mssql, connection: source, table: dbo.million{readers}}}\n"
        f"store: {store}\nrun_type: full_drop\nentities: [{', '.join(entities)}]\n"
    )


if __name__ == "__main__":
    sys.exit(main())
