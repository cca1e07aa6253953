"""Many processes write one journal at once, and nothing is lost, doubled or torn."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from hygge_engine.journal import Journal
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import ROOT, make_row

WRITERS = 8
FOLDERS = 2
RUNS = 200

# Ten processes start and sync 1,600 files to disk: seconds on a quiet machine, minutes on a very busy one.
TIMEOUT_SECONDS = 280


def write(lake: Path, writer: int, start: Barrier) -> None:
    """Append one load after another, some of them twice."""
    journal = Journal(LocalLake(lake), ROOT)
    start.wait(TIMEOUT_SECONDS)
    for number in range(RUNS):
        load = f"{writer}-{number}"
        journal.append(load, [make_row(load)])
        if number % 10 == 0:
            journal.append(load, [make_row(load)])


def fold_and_read(lake: Path, start: Barrier, stop: Event) -> None:
    """Fold whatever there is, and see each row once at any time."""
    journal = Journal(LocalLake(lake), ROOT)
    start.wait(TIMEOUT_SECONDS)
    while not stop.is_set():
        journal.fold(after_loads=50)
        rows = journal.read()["entity_run_id"]
        assert rows.n_unique() == len(rows), "a row is there twice"
        time.sleep(0.2)  # leaves the processors to the writers


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[tuple[list[ForkServerProcess], Event]]:
    """All processes at work, and the event that ends those that fold. They are forked from one that has imported
    everything, but has done nothing yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    start, stop = context.Barrier(WRITERS + FOLDERS), context.Event()
    lake = tmp_path / "lake"
    started = [context.Process(target=write, args=(lake, writer, start)) for writer in range(WRITERS)]
    started += [context.Process(target=fold_and_read, args=(lake, start, stop)) for _ in range(FOLDERS)]
    try:
        for process in started:
            process.start()
        yield started, stop
    finally:
        for process in started:
            process.kill()
            process.join()


@pytest.mark.timeout(TIMEOUT_SECONDS + 20)
def test_eight_processes_append_at_once_while_two_fold(
    tmp_path: Path, processes: tuple[list[ForkServerProcess], Event]
) -> None:
    started, stop = processes
    for process in started[:WRITERS]:
        process.join(TIMEOUT_SECONDS)
    stop.set()
    for process in started[WRITERS:]:
        process.join(TIMEOUT_SECONDS)
    assert [process.exitcode for process in started] == [0] * (WRITERS + FOLDERS)

    journal = Journal(LocalLake(tmp_path / "lake"), ROOT)
    expected = sorted(f"run-{writer}-{number}-0" for writer in range(WRITERS) for number in range(RUNS))
    assert len(expected) == 1600
    assert sorted(journal.read()["entity_run_id"].to_list()) == expected
    while list(LocalLake(tmp_path / "lake").list(f"{ROOT}/runs")):
        assert journal.fold(after_loads=1)  # so many at a time
    assert sorted(journal.read()["entity_run_id"].to_list()) == expected
    assert list(LocalLake(tmp_path / "lake").list(f"{ROOT}/runs")) == []
