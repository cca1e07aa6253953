"""Fifty tables with nothing new, loaded in this process: ``python -m benchmarks.sql_server.idle <task as JSON>``.

The first load lands their rows; the later ones find nothing. Prints one JSON object with the seconds of each of these,
imports and the first load apart.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.sql_server.contenders import Task, write_project
from benchmarks.sql_server.tables import Server, connected, execute

TABLES = 50
LOADS = 3
_ROWS = 100


@contextmanager
def idle_tables(server: Server) -> Iterator[None]:
    """Tables of a hundred rows each, dropped in the end."""
    with connected(server) as connection:
        for name in _names():
            execute(
                connection, f"CREATE TABLE dbo.{name} (id int PRIMARY KEY, note nvarchar(40), changed datetime2(3))"
            )
            rows = "value, CONCAT(N'row ', value), DATEADD(second, value, CAST('2024-01-01' AS datetime2(3)))"
            execute(connection, f"INSERT INTO dbo.{name} SELECT {rows} FROM GENERATE_SERIES(1, {_ROWS})")
        yield
        for name in _names():
            execute(connection, f"DROP TABLE dbo.{name}")


def _names() -> list[str]:
    return [f"idle_{number:02}" for number in range(1, TABLES + 1)]


class _Silent:
    def planned(self, *_: Any) -> None: ...
    def entity_progress(self, *_: Any) -> None: ...
    def entity_ended(self, *_: Any) -> None: ...


def main() -> int:
    """Load, then load again."""
    from hygge_engine.memory import choose_allocator
    from hygge_engine.orchestration.local import run_load
    from hygge_engine.orchestration.request import LoadRequest
    from hygge_engine.project import load_project

    choose_allocator()
    task = Task.from_json(sys.argv[1])
    directory = Path(task.folder)
    write_project(directory, task, _names(), {"run_type": "incremental", "watermark": {"column": "changed"}})
    seconds = []
    for expected in (TABLES * _ROWS, *[0] * LOADS):
        began = time.perf_counter()
        summary = run_load(load_project(directory), LoadRequest((), (), None, requested_by="bench"), _Silent())
        seconds.append(time.perf_counter() - began)
        if summary["status"] != "success" or summary["rows"] != expected:
            raise RuntimeError(json.dumps(summary))
    print(json.dumps({"seconds": seconds[1:]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
