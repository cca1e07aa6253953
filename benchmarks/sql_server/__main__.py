"""Reads SQL Server's emulator side by side with others, reloads tables by difference and by drop, and writes
docs/performance.md: ``make bench``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import reload
from benchmarks.document import PERFORMANCE
from benchmarks.sql_server import report
from benchmarks.sql_server.contenders import CONTENDERS, Task
from benchmarks.sql_server.idle import TABLES as IDLE_TABLES
from benchmarks.sql_server.idle import idle_tables
from benchmarks.sql_server.report import Result
from benchmarks.sql_server.tables import DATABASE, LINEITEM, LOB, NARROW, TABLES, WIDE, BenchTable, Server, filled
from devcloud.sqlserver.child import run_in_child
from devcloud.sqlserver.server import DEFAULT_LOGINS

_ROOT = Path(__file__).parent.parent.parent
_EVERYBODY = ("drain", "arrow_reader", "hygge", "dlt_connectorx", "dlt_pyarrow", "polars")
_FAST = ("drain", "arrow_reader", "hygge")
_READERS = ("hygge_one_reader", "hygge_four_readers")
_MILLION = 1_000_000


@dataclass(frozen=True)
class Case:
    """One table of one size, and who reads it in turns, how often."""

    table: BenchTable
    rows: int
    contenders: Sequence[str]
    runs: int


def _cases(rows: int, runs: int) -> list[Case]:
    """All tables at ``rows``, the wide one at a quarter and the one of large values at a hundredth of them; lineitem
    also at twice, four and ten times as many for those who need no patience."""
    return [
        Case(LINEITEM, 2 * rows, (*_FAST, "hygge_one_reader"), runs),
        Case(LINEITEM, rows, (*_EVERYBODY[:3], *_READERS, *_EVERYBODY[3:]), runs),
        Case(NARROW, rows, _EVERYBODY, runs),
        Case(WIDE, rows // 4, _EVERYBODY, runs),
        Case(LOB, LOB.rows(rows), _EVERYBODY, runs),
        Case(LINEITEM, 4 * rows, (*_FAST, *_READERS), 1),
        Case(LINEITEM, 10 * rows, (*_FAST, *_READERS), 1),
    ]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=_MILLION, help="rows of the tables (default 1000000)")
    parser.add_argument("--runs", type=int, default=3, help="alternations; figures are their medians (default 3)")
    parser.add_argument(
        "--table", action="append", choices=(*TABLES, "idle", "reload"), help="only this table; repeatable"
    )
    parser.add_argument("--contender", action="append", choices=tuple(CONTENDERS), help="only this one; repeatable")
    parser.add_argument("--document", type=Path, default=PERFORMANCE, help="what is written")
    options = parser.parse_args()
    command = " ".join(["make bench", *([f'BENCH="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
    if options.table != ["reload"]:
        _read_side_by_side(options, command)
    if options.table and "reload" not in options.table:
        return 0
    return 0 if reload.measure([options.rows, 10 * options.rows], options.runs, options.document, command) else 1


def _read_side_by_side(options: argparse.Namespace, command: str) -> None:
    """Measure who reads the tables of one server, and write it."""
    results: list[Result] = []
    idle: list[float] = []

    def write() -> None:
        report.write(options.document, results, idle, command)

    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        run_in_child(Path(folder), databases=[DATABASE]) as address,
    ):
        server = Server(address, *next(iter(DEFAULT_LOGINS.items())))
        if not options.table or "idle" in options.table:
            idle = _measure_idle(server)
            write()
        for case in _cases(options.rows, options.runs):
            if options.table and case.table.name not in options.table:
                continue
            contenders = [name for name in case.contenders if not options.contender or name in options.contender]
            results += _measure(server, case, contenders)
            write()  # what has been measured stays, whatever happens to the rest
    print(report.tables(results, idle))


def _measure_idle(server: Server) -> list[float]:
    """Seconds of each load of fifty tables with nothing new, in one process."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _lake("hygge", Path(folder) / "lake") as lake,
        idle_tables(server),
    ):
        task = Task(server, "idle", str(Path(folder) / "work"), lake)
        Path(task.folder).mkdir()
        command = [sys.executable, "-m", "benchmarks.sql_server.idle", task.to_json()]
        done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
        seconds: list[float] = json.loads(done.stdout.splitlines()[-1])["seconds"]
    print(f"{IDLE_TABLES} tables with nothing new: {seconds}", file=sys.stderr)
    return seconds


def _measure(server: Server, case: Case, contenders: Sequence[str]) -> Iterator[Result]:
    """Everybody in turns, several times: what else the machine does hits all alike."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    failures: dict[str, str] = {}
    with filled(server, case.table, case.rows):
        for run in range(1, case.runs + 1):
            for name in contenders:
                if name in failures:
                    continue
                try:
                    figures = _run(name, server, case)
                except RuntimeError as error:
                    failures[name] = str(error)
                    continue
                measured[name].append(figures)
                print(
                    f"{case.table.name} {case.rows:,} rows, {run}/{case.runs}: {CONTENDERS[name][0]}: "
                    f"{figures['seconds']:.2f} s, {figures['peak_mb']:.0f} MB",
                    file=sys.stderr,
                )
    for name in contenders:
        label = CONTENDERS[name][0]
        yield Result(case.table.name, case.rows, name, label, measured[name], failures.get(name, ""))


def _run(name: str, server: Server, case: Case) -> dict[str, float]:
    """One contender in a process of its own, with a lake of its own. Raises RuntimeError where it fails."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _lake(name, Path(folder) / "lake") as lake:
        work = Path(folder) / "work"
        work.mkdir()
        task = Task(server, case.table.name, str(work), lake)
        command = [sys.executable, "-m", "benchmarks.sql_server.contenders", name, task.to_json()]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
        whole = time.perf_counter() - began
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeError(lines[-1][:200] if lines else f"exit code {done.returncode}")
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        if figures["rows"] not in (0, case.rows):
            raise RuntimeError(f"{figures['rows']:,.0f} rows of {case.rows:,} arrived")
        return figures | {"process_seconds": whole}


@contextmanager
def _lake(name: str, root: Path) -> Iterator[dict[str, str]]:
    """OneLake's emulator in a process of its own, for the contender that needs it."""
    if not name.startswith("hygge"):
        yield {}
        return
    workspace = str(uuid.uuid4())
    command = [sys.executable, "-m", "devcloud.onelake", "--mode", "adls", "--filesystem", workspace]
    with subprocess.Popen([*command, "--root", str(root)], stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        try:
            facts = {"workspace": workspace}
            for line in process.stdout or ():
                key, _, value = line.partition(" ")
                facts[key] = value.strip()
                if key == "contents":
                    break
            yield facts
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
