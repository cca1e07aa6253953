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


def rows_of(progress: ProgressFiles, load_id: str = "load-1") -> dict[str, int]:
    """The rows of each entity of a load, by its name."""
    states = progress.states(load_id)
    texts = progress.explanations(load_id, states.values())
    return {texts[key]["entity"]: state.rows for key, state in states.items()}


def watch(progress: ProgressFiles, **intervals: float) -> ProgressWatch:
    fast: dict[str, Any] = {"report_interval_seconds": 0.01, "cancel_interval_seconds": 0.01, **intervals}
    return ProgressWatch(progress, "load-1", "flights", "planes", **fast)


def test_the_newest_state_of_each_entity_is_read(progress: ProgressFiles) -> None:
    progress.write("load-1", "flights", "weather", {"state": "running", "rows": 1})
    progress.write("load-1", "flights", "planes", {"state": "running", "rows": 5})
    progress.write("load-1", "flights", "weather", {"state": "running", "rows": 2})
    progress.write("load-2", "flights", "weather", {"state": "running", "rows": 9})
    assert rows_of(progress) == {"planes": 5, "weather": 2}
    assert rows_of(progress, "load-9") == {}


@pytest.mark.parametrize("between", [LocalLake.delete, None], ids=["its file vanished", "nothing"])
def test_a_state_replaces_the_one_before_whatever_has_become_of_its_file(
    progress: ProgressFiles, lake: LocalLake, between: Callable[[LocalLake, str], object] | None
) -> None:
    says = {"message": "connection lost", "error": "home.unavailable"}
    for state in ({"rows": 1}, {"rows": 2}, {"rows": 2, "state": "failed", **says}, {"rows": 2}, {"rows": 3}):
        progress.write("load-1", "flights", "planes", state)
        files = [entry for entry in lake.list(ROOT, recursive=True) if not entry.is_directory]
        assert len(files) == 1
        [shown] = progress.states("load-1").values()
        assert (shown.rows, shown.status) == (state["rows"], "fail" if "state" in state else "running")
        explained = progress.explanations("load-1", [shown])[shown.key]
        assert explained == {"flow": "flights", "entity": "planes"} | (says if "state" in state else {})
        if between:
            between(lake, files[0].path)


def test_a_slice_that_was_given_up_speaks_for_its_table_no_longer(progress: ProgressFiles, lake: LocalLake) -> None:
    progress.write("load-1", "flights", "planes", {"rows": 9})
    later = ProgressFiles(lake, ROOT)
    later.write("load-1", "flights", "planes", {"rows": 5, "attempt": 2})
    progress.write("load-1", "flights", "planes", {"rows": 10})
    assert rows_of(progress) == {"planes": 5}
    later.write("load-1", "flights", "planes", {"rows": 6, "attempt": 2})
    assert rows_of(progress) == {"planes": 6}


@pytest.mark.parametrize(
    "name", ["x.json", "~" * 9, f"{'0' * 32}~1~running~x~1~1.json", f"{'0' * 32}~1~r~1~1~{'9' * 99}.json"]
)
def test_a_foreign_file_is_no_state(progress: ProgressFiles, lake: LocalLake, name: str) -> None:
    lake.put(f"{ROOT}/progress/load-1/00/{name}", b"not JSON")
    assert progress.states("load-1") == {}


def test_what_is_no_explanation_is_left_out(progress: ProgressFiles, lake: LocalLake) -> None:
    for data in (b"", b"[1]", b'{"flow": 1}', b"\xff"):
        progress.write("load-1", "flights", "planes", {"rows": len(data), "message": "m"})
        [state] = progress.states("load-1").values()
        lake.put(f"{ROOT}/progress/load-1/{state.path}", data)
        assert progress.explanations("load-1", [state]) == {}


def test_a_load_is_cancelled_by_a_marker(progress: ProgressFiles) -> None:
    progress.write("load-1", "flights", "planes", {"rows": 1})
    assert not progress.is_cancelled("load-1")
    progress.request_cancel("load-1")
    progress.request_cancel("load-1")
    assert progress.is_cancelled("load-1")
    assert not progress.is_cancelled("load-2")
    assert len(rows_of(progress)) == 1


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
        eventually(lambda: rows_of(progress) != {})
        typed.progress(20, 200)
        eventually(lambda: rows_of(progress) == {"planes": 20})
        assert [state.bytes for state in progress.states("load-1").values()] == [200]
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


def test_the_same_state_is_not_written_again(progress: ProgressFiles) -> None:
    with watch(progress) as slice_watch:
        slice_watch.progress(1, 1)
        eventually(lambda: rows_of(progress) != {})
        (before,) = progress.states("load-1").values()
        slice_watch.progress(1, 1)
        progress.request_cancel("load-1")
        eventually(slice_watch.cancelled)
        assert [*progress.states("load-1").values()] == [before]


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
