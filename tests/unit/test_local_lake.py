from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hygge_engine.errors import LakeConditionNotMet, LakeConflict, LakeDenied, LakeError, LakeNotFound
from hygge_engine.lake import base
from hygge_engine.lake.base import Lake, PathInfo
from hygge_engine.lake.local import WORK_FOLDER, LocalLake
from tests.lake_contract import LakeContract, stage


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


class TestContract(LakeContract):
    """The local lake keeps what every lake promises."""


class TestContractWithoutRename2(LakeContract):
    """So it does on a filesystem whose rename cannot refuse."""

    @pytest.fixture(autouse=True)
    def _plain_rename(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hygge_engine.lake.local_os._rename_no_replace", lambda source, destination: False)


def test_a_lake_that_is_only_read_leaves_no_trace(tmp_path: Path) -> None:
    lake: Lake = LocalLake(tmp_path / "missing")
    assert list(lake.list("", recursive=True)) == []
    assert lake.info("file") is None
    assert not lake.delete("file")
    assert not lake.delete_directory("folder")
    assert not (tmp_path / "missing").exists()


def test_of_a_folder_without_an_end_no_more_is_looked_at_than_can_be_kept_in_mind(
    lake: LocalLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lake").mkdir()
    for number in range(40):
        (tmp_path / f"lake/{number}").mkdir()
    monkeypatch.setattr(base, "LISTED_LIMIT", 5)
    looked_at: list[str] = []
    listed = LocalLake._listed

    def look(lake: LocalLake, path: str) -> PathInfo | None:
        looked_at.append(path)
        return listed(lake, path)

    monkeypatch.setattr(LocalLake, "_listed", look)
    for recursive in (False, True):
        looked_at.clear()
        with pytest.raises(LakeError, match="more than 5 files"):
            list(lake.list("", recursive=recursive))
        assert len(looked_at) == 6


def test_nobody_sees_the_lakes_own_folder(lake: LocalLake) -> None:
    lake.put("file", b"1")
    assert [entry.path for entry in lake.list("", recursive=True)] == ["file"]
    for path in (WORK_FOLDER, f"{WORK_FOLDER}/00.lock"):
        with pytest.raises(LakeError):
            lake.read(path)


@pytest.mark.parametrize("path", ["../outside", "/etc/hosts", "a//b", "a/./b", "a/../../b", "a\0b"])
@pytest.mark.parametrize(
    "verb",
    [
        lambda lake, path: lake.put(path, b"1"),
        lambda lake, path: lake.read(path),
        lambda lake, path: lake.read_range(path, 0, 1, if_match="x"),
        lambda lake, path: lake.info(path),
        lambda lake, path: list(lake.list(path)),
        lambda lake, path: list(lake.list(path, recursive=True)),
        lambda lake, path: lake.stage(path),
        lambda lake, path: lake.make_directory(path),
        lambda lake, path: lake.delete(path),
        lambda lake, path: lake.delete_directory(path),
        lambda lake, path: lake.rename(path, "inside"),
        lambda lake, path: lake.rename("file", path),
    ],
)
def test_no_path_leads_out_of_the_lake(lake: LocalLake, path: str, verb: Callable[[LocalLake, str], object]) -> None:
    lake.put("file", b"1")
    with pytest.raises(LakeError, match="not a path inside the lake"):
        verb(lake, path)


def test_the_root_is_never_deleted(lake: LocalLake) -> None:
    with pytest.raises(LakeError):
        lake.delete_directory("")


def test_files_and_folders_are_not_mistaken_for_each_other(lake: LocalLake) -> None:
    lake.put("folder/file", b"1")
    with pytest.raises(LakeConflict):
        lake.put("folder", b"1")
    with pytest.raises(LakeConflict):
        lake.delete("folder")
    with pytest.raises(LakeConflict):
        lake.delete_directory("folder/file")
    with pytest.raises(LakeConflict):
        lake.make_directory("folder/file")
    with pytest.raises(LakeConflict):
        lake.read("folder")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such files")
@pytest.mark.parametrize("name", ["fifo", "socket", "device"])
@pytest.mark.parametrize("read", [LocalLake.read, lambda lake, name: lake.read_range(name, 0, 1, if_match="")])
def test_what_is_no_file_is_not_waited_for(name: str, read: Callable[[LocalLake, str], object]) -> None:
    with TemporaryDirectory() as short:  # the name of a socket has 107 bytes at most
        os.mkfifo(f"{short}/fifo")
        Path(short, "device").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{short}/socket")
        with pytest.raises(LakeConflict, match=f"{name} is no plain file"):
            read(LocalLake(Path(short)), name)


def test_a_rename_does_not_make_the_folder_it_goes_to(lake: LocalLake) -> None:
    lake.put("staged", b"1")
    with pytest.raises(LakeNotFound):
        lake.rename("staged", "missing/final")
    assert lake.read("staged").data == b"1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(LakeDenied, match="file"):
        LocalLake(closed).put("file", b"1")


def test_a_full_disk_is_told_as_such(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.put("file", b"before")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(LakeError, match=r"No space left on device\. Free some disk space\."):
        lake.put("file", b"after")
    monkeypatch.undo()
    assert lake.read("file").data == b"before"


def test_the_etag_changes_even_where_the_clock_stands_still(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hygge_engine.lake.local.time.time_ns", lambda: 1_000_000_000)
    etags = [lake.put("state", b"%d" % (turn % 2)) for turn in range(20)]
    assert len(set(etags)) == len(etags)


def test_a_file_changed_by_another_program_has_another_etag(lake: LocalLake, tmp_path: Path) -> None:
    etag = lake.put("state", b"1")
    (tmp_path / "lake" / "state").write_bytes(b"2")
    with pytest.raises(LakeConditionNotMet):
        lake.put("state", b"3", if_match=etag)


def test_a_deleted_folder_is_gone_at_once_and_swept_later(lake: LocalLake, tmp_path: Path) -> None:
    left_behind = tmp_path / "lake" / WORK_FOLDER / "deleted-by-a-process-that-died"
    lake.put("table/1", b"1")
    (left_behind / "sub").mkdir(parents=True)
    inode = left_behind.stat().st_ino
    lake.delete_directory("table")
    (shell,) = (tmp_path / "lake" / WORK_FOLDER).rglob(left_behind.name)
    assert (list(shell.iterdir()), shell.stat().st_ino) == ([], inode)  # a holder of its etag finds nothing else
    yesterday = shell.parent.rename(shell.parent.with_name("yesterday"))
    os.utime(yesterday, (0, 0))
    lake.put("table/1", b"1")
    lake.delete_directory("table")
    assert not yesterday.exists()
    assert list(lake.list("", recursive=True)) == []


def test_whoever_abandons_a_staged_file_leaves_a_newer_one_alone(lake: LocalLake) -> None:
    zombie = lake.stage("staging/1.bin")
    zombie.write(b"old")
    stage(lake, "staging/1.bin", b"new")
    zombie.abandon()
    assert lake.read("staging/1.bin").data == b"new"


def test_whoever_finishes_a_staged_file_notices_a_newer_one(lake: LocalLake) -> None:
    zombie = lake.stage("staging/1.bin")
    zombie.write(b"old")
    stage(lake, "staging/1.bin", b"new")
    with pytest.raises(LakeError, match="Something else writes"):
        zombie.finish()
    assert lake.read("staging/1.bin").data == b"new"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that stops in the middle of replacing ``state``, with its lock held and its write unfinished."""
    program = """
import os, sys, time
from pathlib import Path
from hygge_engine.lake.local import LocalLake
def stop(*_):
    print("held", flush=True)
    time.sleep(600)
os.replace = stop
LocalLake(Path(sys.argv[1])).put("state", b"never")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lake")], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_writer_blocks_nobody_and_changes_nothing(
    lake: LocalLake, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    etag = lake.put("state", b"before")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert lake.read("state").data == b"before"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lake.put("state", b"after", if_match=etag)
    assert lake.read("state").data == b"after"
    assert not list((tmp_path / "lake" / WORK_FOLDER).glob("*.unfinished"))


def test_processes_with_many_threads_wait_for_each_other_without_an_error(tmp_path: Path) -> None:
    """The system knows no threads: it sees a deadlock where threads of two processes hold what others wait for."""
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from hygge_engine.lake.local import LocalLake
lake = LocalLake(Path(sys.argv[1]))
def write(number):
    for each in range(40):
        lake.put(f"{sys.argv[2]}-{number}/{each}", b"x")
        lake.rename(f"{sys.argv[2]}-{number}/{each}", f"{sys.argv[2]}-{number}/to-{each}")
list(ThreadPoolExecutor(6).map(write, range(6)))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "lake")]
    processes = [
        subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in ("one", "two", "three")
    ]
    assert [process.communicate()[1] for process in processes] == [""] * 3
    assert [process.returncode for process in processes] == [0] * 3


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(LakeError, match="taken is a file") as refused:
        LocalLake(tmp_path / "taken" / below).put("a", b"b")
    assert "another path" in refused.value.hint
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(LakeError, match=r"/proc/shop cannot be made in /proc"):
        LocalLake(Path("/proc/shop")).put("a", b"b")
