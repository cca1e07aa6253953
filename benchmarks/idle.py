"""What a load of tables without news costs: python -m benchmarks.idle [--tables 5000] [--sources 250]

``hygge go`` from SQL Server's emulator into Open Mirroring on OneLake's, both in processes of their own, once all
tables have landed and the summary of their landing states was written. Making a table takes the emulator a tenth of a
second, so that the tables read a few ``sources``, each many times; every one has a landing state of its own. The first
of each thousand is loaded, and the others' states are written as copies of its own.

Prints seconds and processor seconds of the process from its start to its end, its peak memory in MB, requests to the
lake, statements to the source, and how many tables ended without an activity; last the seconds of the same load in a
process that has loaded before, as the app's has, which no longer imports anything.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import batched
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import memory
from devcloud.onelake import OneLake
from devcloud.sqlserver import DEFAULT_LOGINS, SqlServer
from devcloud.sqlserver.executor import Executor
from hygge_engine.flow.claims import author_of
from hygge_engine.flow.factory import open_table
from hygge_engine.orchestration import survey
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project, load_project
from hygge_engine.project.models.project import Entity
from hygge_engine.stores.folder_table import FolderTable
from hygge_engine.stores.landing.state import LandingState

WORKSPACE, MIRROR = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-{number:012}"
DATABASE = "bench"

# A mirrored database takes no more: each thousand is a flow into one of its own.
TABLES_PER_FLOW = 1_000

PROJECT = """\
name: benchmark
connections:
  source: {{ type: mssql, server: "{address}", database: {database}, username: sa, password: "{password}",
    encrypt: false }}
"""
FLOW_YML = """\
run_type: incremental
home: {{ type: mssql, connection: source, table: "dbo.{{entity}}" }}
store: {{ type: open_mirroring, account_url: "{url}", filesystem: {workspace}, mirror_name: {mirror},
  credential: account_key, account_name: "{name}", account_key: "{key}", key_columns: [id] }}
watermark: {{ column: modified_at, primary_key: id }}
entities: {entities}
"""
TABLE = (
    "CREATE TABLE dbo.source_{number} (id int PRIMARY KEY, name nvarchar(40), modified_at datetime2 NOT NULL, "
    "INDEX by_time (modified_at)); INSERT INTO dbo.source_{number} VALUES (1, N'a', '2024-01-01')"
)

_FILLERS = 8


class _Counted:
    """A server in a process of its own; ``count`` is what it has been asked since the last time."""

    def __init__(self, serve: Callable[[Connection, Any], None], argument: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        spawn.Process(target=serve, args=(theirs, argument), daemon=True).start()
        self.facts: dict[str, str] = self._pipe.recv()

    def count(self) -> int:
        self._pipe.send(None)
        return int(self._pipe.recv())


def main() -> int:
    """Measure, print, and return the exit code: 1 where a table had an activity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=5_000)
    parser.add_argument("--sources", type=int, default=250)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = _Counted(_serve_source, min(given.sources, given.tables))
        lake = _Counted(_serve_lake, (Path(folder) / "lake", -(-given.tables // TABLES_PER_FLOW)))
        directory = _write_project(Path(folder) / "project", source.facts, lake.facts, given.tables, given.sources)
        _fill(load_project(directory))
        print(
            f"{'tables':>8}{'idle':>8}{'s':>8}{'processor s':>13}{'peak MB':>9}{'requests':>10}{'statements':>12}"
            f"{'again s':>9}"
        )
        source.count(), lake.count()
        began = time.perf_counter()
        command = [sys.executable, "-c", memory.COMMAND, "go", "--json", "--verbose", "--project", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"})
        seconds = time.perf_counter() - began
        processor, peak = map(float, done.stderr.split()[-2:])
        ended = [json.loads(line) for line in done.stdout.splitlines() if '"settled"' in line]
        idle = sum(line.get("event") == "settled" and line["attempts"] == 0 for line in ended)
        asked = f"{lake.count():10,}{source.count():12,}"
        project = load_project(directory)
        began = time.perf_counter()
        _load(project)
        again = time.perf_counter() - began
        print(f"{given.tables:8,}{idle:8,}{seconds:8.2f}{processor:13.2f}{peak:9.0f}{asked}{again:9.2f}")
        if idle < given.tables:
            print(done.stderr, file=sys.stderr)
    return 0 if idle == given.tables else 1


def _serve_source(pipe: Connection, tables: int) -> None:
    run, count = Executor.run_statement, [0]

    def counted(self: Executor, statement: Any) -> None:
        count[0] += 1
        run(self, statement)

    Executor.run_statement = counted  # type: ignore[method-assign]
    with SqlServer(databases=[DATABASE]) as server:
        for number in range(tables):
            server.execute(TABLE.format(number=number), DATABASE)
        pipe.send({"address": server.address, "password": DEFAULT_LOGINS["sa"]})
        with suppress(EOFError):  # whoever asks has ended
            while pipe.recv() is None:
                pipe.send(count[0])
                count[0] = 0


def _serve_lake(pipe: Connection, argument: tuple[Path, int]) -> None:
    root, mirrors = argument
    with OneLake(root) as lake:
        lake.create_workspace(WORKSPACE)
        for number in range(mirrors):
            lake.create_item(WORKSPACE, MIRROR.format(number=number))
        pipe.send({"url": lake.url, "name": lake.account_name, "key": lake.account_key})
        with suppress(EOFError):  # whoever asks has ended
            while pipe.recv() is None:
                pipe.send(len(lake.operations))
                lake.operations.clear()


def _write_project(directory: Path, source: dict[str, str], lake: dict[str, str], tables: int, sources: int) -> Path:
    directory.mkdir()
    (directory / "hygge.yml").write_text(PROJECT.format(database=DATABASE, **source))
    for number, some in enumerate(batched(range(tables), TABLES_PER_FLOW, strict=False)):
        entities = [{"name": f"t{table}", "home": {"table": f"dbo.source_{table % sources}"}} for table in some]
        mirror = MIRROR.format(number=number)
        text = FLOW_YML.format(workspace=WORKSPACE, mirror=mirror, entities=json.dumps(entities), **lake)
        flow = directory / "flows" / f"idle{number}"
        flow.mkdir(parents=True)
        (flow / "flow.yml").write_text(text)
    return directory


def _fill(project: Project) -> None:
    """Load the first table of each flow, and give the flow's others landing states like it; then the summary of all."""
    for first, *others in batched(project.entities, TABLES_PER_FLOW, strict=False):
        _load(project, (first.id,))
        loaded = open_table(project, first).state()
        assert loaded is not None
        with ThreadPoolExecutor(_FILLERS) as pool:
            list(pool.map(partial(_copy, project, loaded), others))
    survey._remember(project, project.entities, time.monotonic() + 3_600)


def _load(project: Project, entities: tuple[str, ...] = ()) -> None:
    observer: Any = _Nobody()
    summary = run_load(project, LoadRequest(entities=entities, requested_by="benchmark"), observer)
    assert summary["status"] == "success", summary


def _copy(project: Project, loaded: LandingState, entity: Entity) -> None:
    table = open_table(project, entity)
    assert isinstance(table, FolderTable)
    folder = table.places.folder
    table.states().write(replace(loaded, place=folder, landed_in=folder, author=author_of(project, entity)))


class _Nobody:
    """Whom nothing is shown."""

    def planned(self, *_: object) -> None: ...

    def entity_progress(self, *_: object) -> None: ...

    def entity_ended(self, *_: object) -> None: ...


if __name__ == "__main__":
    sys.exit(main())
