"""What answers about many tables and long histories cost: python -m benchmarks.answers [--tables 5000] [--rows 1000000]

A load of so many tables and a journal of so many rows lie in a OneLake of this project's emulator. Each answer is given
by a process of its own: seconds, processor seconds, requests to the lake and the process's peak memory in MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import memory
from benchmarks.journal import history
from devcloud.onelake import OneLake
from hygge_engine.journal import EntityRunRow
from hygge_engine.orchestration.identifiers import entity_run_id
from hygge_engine.orchestration.places import JournalPlace, place_of
from hygge_engine.orchestration.settling import settle
from hygge_engine.project import Entity, Project, load_project
from hygge_engine.web.api import Api
from hygge_engine.web.responses import Response

WORKSPACE, MIRROR = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
FLOW = "flights_to_fabric"
RUNNING, BEGUN = 400, 2_400
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
OLD_LOAD = "load-before"

PROJECT = """\
name: benchmark
connections:
  source: {{ type: mssql, server: localhost, database: none, auth: sql, username: nobody, password: nothing-1 }}
"""
FLOW_YML = """\
name: {flow}
run_type: incremental
home: {{ type: mssql, connection: source, table: "dbo.{{entity}}" }}
store: {{ type: open_mirroring, account_url: "{url}", filesystem: {workspace}, mirror_name: {mirror},
  credential: account_key, account_name: "{name}", account_key: "{key}", key_columns: [id], mirror_journal: true }}
watermark: {{ column: modified_at, primary_key: id }}
entities: [{entities}]
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answers", description=__doc__)
    parser.add_argument("--tables", type=int, default=5_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="those whose name has this in it")
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = spawn.Pipe()
        spawn.Process(target=_serve, args=(theirs, Path(folder) / "lake"), daemon=True).start()

        def asked() -> int:
            ours.send(None)
            return int(ours.recv())

        directory = _write_project(Path(folder) / "project", ours.recv(), given.tables)
        _fill(load_project(directory), given.rows)
        asked()
        print(f"{'':34}{'s':>8}{'processor s':>13}{'requests':>10}{'peak MB':>9}")
        for name in [name for name in [*ANSWERS, *COMMANDS] if given.only in name]:
            figures = _command(directory, name) if name in COMMANDS else _answer(spawn, directory, name, asked)
            requests = asked()
            print(
                f"{name:34}{figures['s']:8.2f}{figures['processor']:13.2f}{requests:10}{figures['peak']:9.0f}",
                flush=True,
            )
        ours.send("end")
    return 0


def _serve(pipe: Connection, root: Path) -> None:
    with OneLake(root) as lake:
        lake.create_workspace(WORKSPACE)
        lake.create_item(WORKSPACE, MIRROR)
        pipe.send({"url": lake.url, "name": lake.account_name, "key": lake.account_key})
        while pipe.recv() is None:
            pipe.send(len(lake.operations))
            lake.operations.clear()


def _write_project(directory: Path, lake: dict[str, str], tables: int) -> Path:
    (directory / "flows" / FLOW).mkdir(parents=True)
    (directory / "hygge.yml").write_text(PROJECT.format())
    entities = ", ".join(f"table_{number}" for number in range(tables))
    text = FLOW_YML.format(flow=FLOW, workspace=WORKSPACE, mirror=MIRROR, entities=entities, **lake)
    (directory / "flows" / FLOW / "flow.yml").write_text(text)
    return directory


def _fill(project: Project, rows: int) -> None:
    """A history of many rows, and a load under way."""
    place = _place(project)
    place.lake.put(f"{place.root}/journal.parquet", history(rows, len(project.entities)))
    place.journal.append(OLD_LOAD, [_run(entity, OLD_LOAD) for entity in project.entities])
    progress = place.progress
    for number, entity in enumerate(project.entities[:BEGUN]):
        word = "running" if number < RUNNING else "failed" if number % 100 == 0 else "done"
        state = {"state": word, "rows": number, "bytes": number * 100}
        progress.write("now", entity.flow, entity.name, state | ({"message": "gone"} if word == "failed" else {}))


def _run(entity: Entity, load_id: str) -> EntityRunRow:
    return EntityRunRow(
        entity_run_id=entity_run_id(load_id, entity.flow, entity.name),
        coordinator_run_id=load_id,
        flow_run_id="flow-before",
        coordinator="benchmark",
        flow=entity.flow,
        entity=entity.name,
        start_time=NOW.isoformat(),
        finish_time=(NOW + timedelta(minutes=1)).isoformat(),
        status="success",
        run_type="incremental",
    )


def _place(project: Project) -> JournalPlace:
    return place_of(project, project.entities[0])


def _answer(spawn: Any, directory: Path, name: str, asked: Callable[[], int]) -> dict[str, float]:
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_measure, args=(theirs, directory, name))
    process.start()
    ours.recv()
    asked()
    ours.send("go")
    figures: dict[str, float] = ours.recv()
    process.join()
    return figures


def _measure(pipe: Connection, directory: Path, name: str) -> None:
    os.environ["WEBSITE_HOSTNAME"] = "app.example.com"
    project = load_project(directory)
    # The first request of a process opens a connection and imports what it needs.
    if name.startswith("status"):
        _status(project)
    else:
        _place(project).lake.info("any")
    pipe.send("ready")
    pipe.recv()
    began, used = time.perf_counter(), time.process_time()
    ANSWERS[name](project)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    pipe.send({"s": seconds, "processor": processor, "peak": memory.peak_megabytes()})


def _command(directory: Path, name: str) -> dict[str, float]:
    began = time.perf_counter()
    arguments = [sys.executable, "-c", memory.COMMAND, *COMMANDS[name], "--project", str(directory)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    processor, peak = map(float, done.stderr.split()[-2:])
    return {"s": seconds, "processor": processor, "peak": peak}


class _Client:
    """A durable client that knows one load."""

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> Any:
        running = SimpleNamespace(name="Running")
        known = {"runtime_status": running, "input_": "{}", "output": None, "custom_status": {"phase": "loading"}}
        return SimpleNamespace(instance_id=instance_id, created_time=NOW, last_updated_time=NOW, **known)


def _ok(response: Response) -> None:
    assert response.status == HTTPStatus.OK, response.payload
    assert response.body


def _status(project: Project) -> None:
    client: Any = _Client()
    _ok(asyncio.run(Api(lambda: project).load_status("now", client)))


def _settle(project: Project) -> None:
    """A load of all tables, of which every tenth has failed."""
    load_id = "settled"
    results: list[Any] = []
    for number, entity in enumerate(project.entities):
        failed = number % 10 == 0
        why = {"message": f"The source dropped the connection. {'x' * 300}", "error": "home.unavailable"}
        results.append(
            {
                "status": "failed" if failed else "done",
                "rows": number,
                "bytes": number * 100,
                "files": 1,
                "started": NOW.isoformat(),
                "finished": (NOW + timedelta(seconds=number)).isoformat(),
                "primary_key": "id",
                "watermark_column": "modified_at",
                "watermark_type": "datetime",
                "watermark": NOW.isoformat(),
                "flow": entity.flow,
                "entity": entity.name,
                "entity_run_id": entity_run_id(load_id, entity.flow, entity.name),
                "run_type": "incremental",
                "attempts": 1,
                **(why if failed else {}),
            }
        )
    times = {"started": NOW.isoformat(), "finished": (NOW + timedelta(hours=1)).isoformat(), "duration": 3600.0}
    words = {"status": "fail", "message": "", "error": "", "requested_by": "http", "principal": ""}
    summary: Any = {"load_id": load_id, **times, **words, "rows": 1, "entities": len(results)}
    # As it comes out of the host.
    task = json.loads(json.dumps({"summary": summary, "request": {}, "results": results}))
    answer = settle(project, task)
    assert answer["status"] == "settled", answer


ANSWERS: dict[str, Callable[[Project], None]] = {
    "status, 400 of 5,000 running": _status,
    "settle, the mirror from anew": _settle,
    "settle": _settle,
    "GET /api/flows": lambda project: _ok(Api(lambda: project).flows()),
    "GET /api/runs": lambda project: _ok(Api(lambda: project).runs(None, None)),
    "GET /api/runs?by=entity": lambda project: _ok(Api(lambda: project).runs(None, None, "entity")),
    "GET /api/runs/{id}": lambda project: _ok(Api(lambda: project).run(OLD_LOAD)),
}
COMMANDS: dict[str, list[str]] = {
    "hygge runs": ["runs"],
    "hygge runs --failed": ["runs", "--failed"],
    "hygge runs --by entity": ["runs", "--by", "entity"],
    "hygge runs LOAD_ID": ["runs", OLD_LOAD],
    "hygge runs --entity": ["runs", "--entity", "table_1"],
}

if __name__ == "__main__":
    sys.exit(main())
