from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import LakeUnavailable
from hygge_engine.flow.slices import SliceObserver
from hygge_engine.journal import Journal, ProgressFiles, ProgressWatch
from hygge_engine.journal import progress as progress_module
from hygge_engine.lake.base import PathInfo
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import ROOT, make_row

DEADLINE_SECONDS = 30


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


@pytest.fixture
def progress(lake: LocalLake) -> ProgressFiles:
    return ProgressFiles(lake, ROOT)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.005)


def watch(progress: ProgressFiles, **intervals: float) -> ProgressWatch:
    fast: dict[str, Any] = {"report_interval_seconds": 0.01, "cancel_interval_seconds": 0.01, **intervals}
    return ProgressWatch(progress, "load-1", "flights", "planes", **fast)


def test_the_newest_state_of_each_entity_is_read(progress: ProgressFiles) -> None:
    progress.write("load-1", "flights", "weather", {"state": "running", "rows": 1})
    progress.write("load-1", "flights", "planes", {"state": "running", "rows": 5})
    progress.write("load-1", "flights", "weather", {"state": "running", "rows": 2})
    progress.write("load-2", "flights", "weather", {"state": "running", "rows": 9})
    found = [(state["entity"], state["rows"]) for state in progress.read("load-1")]
    assert found == [("planes", 5), ("weather", 2)]
    assert all(state["updated"] for state in progress.read("load-1"))
    assert progress.read("load-9") == []


def test_a_load_is_cancelled_by_a_marker(progress: ProgressFiles) -> None:
    progress.write("load-1", "flights", "planes", {"rows": 1})
    assert not progress.is_cancelled("load-1")
    progress.request_cancel("load-1")
    progress.request_cancel("load-1")
    assert progress.is_cancelled("load-1")
    assert not progress.is_cancelled("load-2")
    assert len(progress.read("load-1")) == 1


def test_nothing_is_left_of_a_settled_load(progress: ProgressFiles, lake: LocalLake) -> None:
    progress.write("load-1", "flights", "planes", {"rows": 1})
    progress.request_cancel("load-1")
    progress.write("load-2", "flights", "planes", {"rows": 1})
    progress.clear("load-1")
    progress.clear("load-1")
    assert not progress.is_cancelled("load-1")
    assert [entry.name for entry in lake.list(f"{ROOT}/progress")] == ["load-2"]


def test_what_a_lost_load_left_behind_is_swept(
    progress: ProgressFiles, lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress.write("lost", "flights", "planes", {"rows": 1})
    progress.request_cancel("lost")
    progress.sweep(timedelta(hours=1))
    assert progress.is_cancelled("lost")
    later = lake.now() + timedelta(hours=2)
    monkeypatch.setattr(LocalLake, "now", lambda self: later)
    progress.sweep(timedelta(hours=1))
    assert list(lake.list(f"{ROOT}/progress")) == []


class Listing(LocalLake):
    """Remembers the folders that it was asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        self.asked.append(directory)
        return super().list(directory, recursive=recursive)


def test_a_sweep_looks_into_old_folders_alone_and_into_so_many_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Listing(tmp_path)
    progress = ProgressFiles(lake, ROOT)
    monkeypatch.setattr(progress_module, "SWEPT_AT_ONCE", 2)
    for number in range(5):
        progress.write(f"load-{number}", "flights", "planes", {"rows": 1})
    assert progress.sweep(timedelta(hours=1)) == 0
    assert lake.asked == [f"{ROOT}/progress"]  # loads under way cost nothing, however many there are
    later = lake.now() + timedelta(hours=2)
    monkeypatch.setattr(LocalLake, "now", lambda self: later)
    assert [progress.sweep(timedelta(hours=1)) for _ in range(4)] == [2, 2, 1, 0]


def test_progress_is_no_part_of_the_journal(progress: ProgressFiles, lake: LocalLake) -> None:
    progress.write("load-1", "flights", "planes", {"rows": 1})
    journal = Journal(lake, ROOT)
    assert journal.read().is_empty()
    journal.append("load-1", [make_row(1)])
    progress.clear("load-1")
    assert journal.read().height == 1


def test_a_running_slice_tells_how_far_it_is(progress: ProgressFiles) -> None:
    with watch(progress) as slice_watch:
        typed: SliceObserver = slice_watch
        typed.progress(10, 100)
        eventually(lambda: progress.read("load-1") != [])
        typed.progress(20, 200)
        eventually(lambda: progress.read("load-1")[0]["rows"] == 20)
        assert progress.read("load-1")[0]["bytes"] == 200
        assert not typed.cancelled()


def test_a_running_slice_sees_that_it_should_stop(progress: ProgressFiles) -> None:
    with watch(progress) as slice_watch:
        assert not slice_watch.cancelled()
        progress.request_cancel("load-1")
        eventually(slice_watch.cancelled)
        progress.clear("load-1")
        assert slice_watch.cancelled()


def test_reports_are_no_more_frequent_than_their_interval(
    progress: ProgressFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    written: list[object] = []

    def look(progress: ProgressFiles, load_id: str) -> bool:
        looked.set()
        return False

    monkeypatch.setattr(ProgressFiles, "is_cancelled", look)
    monkeypatch.setattr(ProgressFiles, "write", lambda self, *state: written.append(state))
    with watch(progress, report_interval_seconds=3600, cancel_interval_seconds=3600) as slice_watch:
        for rows in range(1000):
            slice_watch.progress(rows, rows)
        assert looked.wait(DEADLINE_SECONDS)
    assert written == []


def test_the_same_state_is_not_written_again(progress: ProgressFiles, lake: LocalLake) -> None:
    with watch(progress) as slice_watch:
        slice_watch.progress(1, 1)
        eventually(lambda: progress.read("load-1") != [])
        path = f"{ROOT}/progress/load-1/flights/planes.json"
        etag = lake.read(path).etag
        slice_watch.progress(1, 1)
        progress.request_cancel("load-1")
        eventually(slice_watch.cancelled)
        assert lake.read(path).etag == etag


def test_a_slice_outlives_a_lake_that_fails(
    progress: ProgressFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: set[str] = set()

    def fail_to_put(lake: LocalLake, path: str, data: bytes, **conditions: object) -> str:
        tried.add("put")
        raise LakeUnavailable("The lake asks to come back later.")

    def fail_to_look(lake: LocalLake, path: str) -> PathInfo | None:
        tried.add("info")
        raise LakeUnavailable("The lake asks to come back later.")

    monkeypatch.setattr(LocalLake, "put", fail_to_put)
    monkeypatch.setattr(LocalLake, "info", fail_to_look)
    with caplog.at_level(logging.WARNING), watch(progress) as slice_watch:
        slice_watch.progress(1, 1)
        eventually(lambda: tried == {"put", "info"})
        assert not slice_watch.cancelled()
    assert "Cannot write the progress of flights.planes" in caplog.text
    assert "Cannot see whether load load-1 should stop" in caplog.text


def test_a_lake_that_hangs_does_not_hold_up_the_rows(progress: ProgressFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, release = threading.Event(), threading.Event()

    def hang(lake: LocalLake, path: str, data: bytes, **conditions: object) -> str:
        hanging.set()
        release.wait(DEADLINE_SECONDS)
        return ""

    monkeypatch.setattr(LocalLake, "put", hang)
    monkeypatch.setattr("hygge_engine.journal.progress.LAST_REQUEST_SECONDS", 0.0)
    with watch(progress) as slice_watch:
        slice_watch.progress(1, 1)
        assert hanging.wait(DEADLINE_SECONDS)
        slice_watch.progress(2, 2)
        assert not slice_watch.cancelled()
    release.set()
