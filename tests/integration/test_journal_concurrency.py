"""Many processes write one journal at once, and nothing is lost, doubled or torn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hygge_engine.journal import Journal
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import ROOT

WRITERS = 8
RUNS = 200

# Ten processes start and sync 1,600 files to disk: seconds on a quiet machine, minutes on a very busy one.
TIMEOUT_SECONDS = 280

# Each process begins when a file says so, so that none has finished before the last has started.
PROGRAM = """
import sys, time
from pathlib import Path
from hygge_engine.journal import Journal
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import ROOT, make_row

folder, role = Path(sys.argv[1]), sys.argv[2]
journal = Journal(LocalLake(folder / "lake"), ROOT)
(folder / f"ready-{role}").touch()
while not (folder / "go").exists():
    time.sleep(0.01)
if role.startswith("writer"):
    for number in range(int(sys.argv[3])):
        load = f"{role}-{number}"
        journal.append(load, [make_row(load)])
        if number % 10 == 0:
            journal.append(load, [make_row(load)])
else:
    while not (folder / "stop").exists():
        journal.fold(after_loads=50)
        rows = journal.read()["entity_run_id"]
        assert rows.n_unique() == len(rows), "a row is there twice"
        time.sleep(0.2)  # leaves the processors to the writers
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Writers, and two that fold and read all the while."""
    started: dict[str, subprocess.Popen[str]] = {}
    try:
        for role in [*(f"writer-{number}" for number in range(WRITERS)), "folder-0", "folder-1"]:
            command: Sequence[str] = (sys.executable, "-c", PROGRAM, str(tmp_path), role, str(RUNS))
            started[role] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        yield started
    finally:
        for process in started.values():
            process.kill()
            process.communicate()


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, errors


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        finish(process)


@pytest.mark.timeout(TIMEOUT_SECONDS + 20)
def test_eight_processes_append_at_once_while_two_fold(
    tmp_path: Path, processes: dict[str, subprocess.Popen[str]]
) -> None:
    for role, process in processes.items():
        wait_for(tmp_path / f"ready-{role}", process)
    (tmp_path / "go").touch()
    for role, process in processes.items():
        if role.startswith("writer"):
            finish(process)
    (tmp_path / "stop").touch()
    for role, process in processes.items():
        if role.startswith("folder"):
            finish(process)

    journal = Journal(LocalLake(tmp_path / "lake"), ROOT)
    expected = sorted(f"run-writer-{writer}-{number}-0" for writer in range(WRITERS) for number in range(RUNS))
    assert len(expected) == 1600
    assert sorted(journal.read()["entity_run_id"].to_list()) == expected
    journal.fold(after_loads=1)
    assert sorted(journal.read()["entity_run_id"].to_list()) == expected
    assert list(LocalLake(tmp_path / "lake").list(f"{ROOT}/runs")) == []
