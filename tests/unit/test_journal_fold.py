"""Folding, retiring and reading at the same time, interrupted at every single operation."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hygge_engine.errors import LakeError
from hygge_engine.journal import Journal
from hygge_engine.journal import files as files_module
from hygge_engine.journal import journal as journal_module
from hygge_engine.journal.files import ROW_GROUP_ROWS, JournalFiles
from hygge_engine.lake import base
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import EPOCH, ROOT, InterruptedLake, Killed, LostAnswers, make_row


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


@pytest.fixture
def journal(lake: LocalLake) -> Journal:
    return Journal(lake, ROOT)


def identifiers(journal: Journal) -> list[str]:
    return sorted(journal.read()["entity_run_id"].to_list())


def canonical_identifiers(lake: LocalLake) -> list[str]:
    table = pq.read_table(io.BytesIO(lake.read(f"{ROOT}/journal.parquet").data))
    return [str(value) for value in table.column("entity_run_id").to_pylist()]


def fill(journal: Journal, loads: range) -> None:
    for load in loads:
        journal.append(f"load-{load}", [make_row(load, entity) for entity in range(2)])


def expected(loads: range) -> list[str]:
    return sorted(f"run-{load}-{entity}" for load in loads for entity in range(2))


def test_a_fold_moves_the_rows_and_changes_none(journal: Journal, lake: LocalLake) -> None:
    fill(journal, range(3))
    before = journal.read()
    assert journal.fold(after_loads=1) == 3
    assert journal.read().equals(before)
    assert list(lake.list(f"{ROOT}/runs")) == []
    assert canonical_identifiers(lake) == expected(range(3))


def test_a_fold_waits_until_it_is_worth_its_cost(journal: Journal, lake: LocalLake) -> None:
    fill(journal, range(4))
    assert journal.fold(after_loads=5) == 0
    assert len(list(lake.list(f"{ROOT}/runs"))) == 4
    fill(journal, range(4, 5))
    assert journal.fold(after_loads=5) == 5


def test_more_files_than_can_be_kept_in_mind_are_folded_in_parts(
    journal: Journal, lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal, range(9))
    monkeypatch.setattr(base, "LIST_LIMIT", 5)
    monkeypatch.setattr(journal_module, "FOLD_FILES_LIMIT", 3)
    with pytest.raises(LakeError, match="hygge compact"):
        journal.read()
    moved = [journal.fold(after_loads=1) for _ in range(4)]
    assert moved == [3, 3, 3, 0]
    assert identifiers(journal) == expected(range(9))
    # A fold that is asked for takes all of them, and one whose files are large takes fewer at a time.
    fill(journal, range(9, 14))
    monkeypatch.setattr(journal_module, "FOLD_BYTES_LIMIT", 1)
    assert journal.fold(after_loads=2) == 1
    assert journal.compact(at_once=True).folded == 4
    assert identifiers(journal) == expected(range(14))


def test_a_full_journal_takes_in_no_more_and_shrinks_by_itself_where_loads_may_leave(
    journal: Journal, lake: LocalLake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(journal, range(40))
    journal.fold(after_loads=1)
    fill(journal, range(40, 43))
    length = info.length if (info := lake.info(f"{ROOT}/journal.parquet")) else 0
    # What would be too long is not written, whatever the files' lengths had promised.
    monkeypatch.setattr(files_module, "FULL_BYTES", length)
    monkeypatch.setattr(JournalFiles, "has_room_for", lambda self, files: True)
    assert journal.fold(after_loads=1) == 0
    monkeypatch.undo()
    waiting = sum(entry.length for entry in lake.list(f"{ROOT}/runs"))
    monkeypatch.setattr(files_module, "FULL_BYTES", length + waiting - 1)
    monkeypatch.setattr(JournalFiles, "read_canonical", lambda self: pytest.fail("it was read, and had no room"))
    assert journal.compact(after_loads=3) == (0, 0, True)
    monkeypatch.undo()
    assert caplog.text.count("journal.retention") == 2
    monkeypatch.setattr(files_module, "FULL_BYTES", length + waiting - 1)
    assert journal.is_full()
    assert identifiers(journal) == expected(range(43))
    retention = lake.now() - EPOCH - timedelta(hours=20)
    assert journal.compact(after_loads=3, retention=retention) == (0, 40, False)
    assert journal.compact(after_loads=3, retention=retention) == (3, 0, False)
    monkeypatch.undo()
    monkeypatch.setattr(JournalFiles, "list_runs", lambda self: pytest.fail("it was listed, and has room"))
    assert not journal.is_full()
    monkeypatch.undo()
    assert sorted(canonical_identifiers(lake)) == identifiers(journal) == expected(range(20, 43))


def test_a_fold_can_be_restricted_to_some_loads(journal: Journal, lake: LocalLake) -> None:
    fill(journal, range(3))
    assert journal.fold(after_loads=1, only=["load-1", "load-9"]) == 1
    assert canonical_identifiers(lake) == ["run-1-0", "run-1-1"]
    assert identifiers(journal) == expected(range(3))


def test_many_small_folds_do_not_leave_many_small_row_groups(journal: Journal, lake: LocalLake) -> None:
    for load in range(5):
        fill(journal, range(load, load + 1))
        journal.fold(after_loads=1)
    metadata = pq.ParquetFile(io.BytesIO(lake.read(f"{ROOT}/journal.parquet").data)).metadata
    assert (metadata.num_rows, metadata.num_row_groups) == (10, 1)


def test_a_long_history_is_folded_in_row_groups_of_full_size(journal: Journal, lake: LocalLake) -> None:
    rows = [make_row("long", entity, start_time="2026", finish_time="2026") for entity in range(ROW_GROUP_ROWS + 10)]
    journal.append("long", rows)
    journal.fold(after_loads=1)
    fill(journal, range(1))
    journal.fold(after_loads=1)
    metadata = pq.ParquetFile(io.BytesIO(lake.read(f"{ROOT}/journal.parquet").data)).metadata
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [ROW_GROUP_ROWS, 12]
    assert len(set(canonical_identifiers(lake))) == ROW_GROUP_ROWS + 12
    assert journal.read("load-0").height == 2


def test_of_a_long_journal_only_as_much_is_read_as_is_looked_at(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "WHOLE_BYTES", 0)
    for module in (files_module, journal_module):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 5_000)
    long = [make_row("long", entity, start_time="2026", finish_time="2026") for entity in range(4 * 5_000)]
    journal.append("long", long)
    journal.fold(after_loads=1)
    fill(journal, range(2))
    journal.fold(after_loads=1)
    ranges: list[int] = []
    read_range = LocalLake.read_range

    def counted(self: LocalLake, path: str, start: int, length: int, **condition: str) -> bytes:
        ranges.append(length)
        return read_range(self, path, start, length, **condition)

    monkeypatch.setattr(LocalLake, "read_range", counted)
    monkeypatch.setattr(LocalLake, "read", lambda self, path: pytest.fail(f"{path} was read whole"))
    assert journal.read("load-1").height == 2
    (_, *after_the_footer) = ranges
    assert 0 < sum(after_the_footer) < (tmp_path / "lake" / ROOT / "journal.parquet").stat().st_size / 4
    assert len(after_the_footer) < 20  # one for the ids of each row group, some for the one that has the load
    assert journal.newest(1)["coordinator_run_id"].unique().to_list() == ["load-1"]


def test_a_journal_that_is_folded_while_it_is_looked_at_is_looked_at_again(
    journal: Journal, lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "WHOLE_BYTES", 0)
    fill(journal, range(2))
    journal.fold(after_loads=1)
    fill(journal, range(2, 3))
    read_range = LocalLake.read_range
    looks: list[str] = []

    def folded_meanwhile(self: LocalLake, path: str, start: int, length: int, **condition: str) -> bytes:
        looks.append(path)
        if len(looks) == 1:
            journal.fold(after_loads=1)
        return read_range(self, path, start, length, **condition)

    monkeypatch.setattr(LocalLake, "read_range", folded_meanwhile)
    assert identifiers(journal) == expected(range(3))
    assert list(lake.list(f"{ROOT}/runs")) == []


def test_the_oldest_loads_are_retired_whole(journal: Journal) -> None:
    fill(journal, range(6))
    journal.fold(after_loads=1)
    # Load 2's first entity finished before that time, its second did not.
    assert journal.retire(EPOCH + timedelta(hours=2, seconds=45)) == 4
    assert identifiers(journal) == expected(range(2, 6))
    assert journal.retire(EPOCH + timedelta(hours=2, seconds=45)) == 0
    fill(journal, range(6, 7))
    journal.fold(after_loads=1)
    assert identifiers(journal) == expected(range(2, 7))
    assert journal.retire(EPOCH + timedelta(days=1)) == 10
    assert journal.read().is_empty()


def test_loads_that_were_not_folded_are_retired_as_well(journal: Journal) -> None:
    fill(journal, range(2))
    assert journal.retire(EPOCH + timedelta(minutes=30)) == 2
    assert identifiers(journal) == expected(range(1, 2))


def test_a_fold_whose_answers_are_lost_finds_its_own_work(journal: Journal, lake: LocalLake) -> None:
    fill(journal, range(3))
    assert Journal(LostAnswers(lake), ROOT).fold(after_loads=1) == 3
    assert canonical_identifiers(lake) == expected(range(3))
    Journal(LostAnswers(lake), ROOT).retire(EPOCH + timedelta(hours=1, minutes=30))
    assert identifiers(journal) == expected(range(2, 3))


Action = Callable[[Journal], object]


def append_and_fold(journal: Journal) -> None:
    fill(journal, range(5, 6))
    journal.fold(after_loads=1)


ACTIONS: dict[str, Action] = {
    "append": lambda journal: fill(journal, range(5, 6)),
    "append again": lambda journal: fill(journal, range(4, 5)),
    "append more": lambda journal: journal.append("load-4", [make_row(4, entity) for entity in range(3)]),
    "fold": lambda journal: journal.fold(after_loads=1),
    "append and fold": append_and_fold,
    "retire": lambda journal: journal.retire(EPOCH + timedelta(hours=1)),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with loads 0 to 2 in the canonical file, 3 and 4 beside it."""
    folder = tmp_path_factory.mktemp("prepared")
    journal = Journal(LocalLake(folder), ROOT)
    fill(journal, range(3))
    journal.fold(after_loads=1)
    fill(journal, range(3, 5))
    return folder


def each_interruption(
    action: Action, prepared: Path, folder: Path, *, deadly: bool = False
) -> Iterator[tuple[LocalLake, int, bool]]:
    """A prepared journal of its own for every operation of an action, to be interrupted before it, and after the last
    one; where that is ``deadly``, after each: who hears of no result may take an operation for one that failed."""
    shutil.copytree(prepared, folder / "counted")
    counted = InterruptedLake(LocalLake(folder / "counted"))
    action(Journal(counted, ROOT))
    for at in range(counted.calls):
        for after in (False, True) if deadly or at == counted.calls - 1 else (False,):
            shutil.copytree(prepared, folder / f"{at}-{after}")
            yield LocalLake(folder / f"{at}-{after}"), at, after


def expected_after(*actions: str) -> list[str]:
    """What a prepared journal holds in the end."""
    done = set(actions)
    loads = range(1 if "retire" in done else 0, 6 if done & {"append", "append and fold"} else 5)
    return sorted([*expected(loads), *(["run-4-2"] if "append more" in done else [])])


@pytest.mark.parametrize("inner", ACTIONS)
@pytest.mark.parametrize("outer", ["append", "append again", "append more", "fold", "retire", "read"])
def test_whatever_happens_in_between_no_row_is_lost_or_doubled(
    prepared: Path, tmp_path: Path, outer: str, inner: str
) -> None:
    found: list[str] = []

    def read(journal: Journal) -> None:
        found.extend(identifiers(journal))

    action = ACTIONS.get(outer, read)
    for lake, at, after in each_interruption(action, prepared, tmp_path):
        journal = Journal(lake, ROOT)
        interrupted = InterruptedLake(lake, at, partial(ACTIONS[inner], journal))
        interrupted.after = after
        found.clear()
        action(Journal(interrupted, ROOT))

        left = expected_after(outer, inner)
        assert identifiers(journal) == left, (at, after)
        journal.fold(after_loads=1)
        assert sorted(canonical_identifiers(lake)) == left, (at, after)
        if outer == "read":
            # A reader during writes sees every row that neither comes nor goes, once.
            assert len(found) == len(set(found))
            assert set(found) >= set(expected(range(1, 5))), (at, after)


@pytest.mark.parametrize("name", ACTIONS)
def test_whoever_is_killed_can_be_repeated(prepared: Path, tmp_path: Path, name: str) -> None:
    action = ACTIONS[name]

    def die() -> None:
        raise Killed

    for lake, at, after in each_interruption(action, prepared, tmp_path, deadly=True):
        interrupted = InterruptedLake(lake, at, die)
        interrupted.after = after
        with pytest.raises(Killed):
            action(Journal(interrupted, ROOT))
        journal = Journal(lake, ROOT)
        action(journal)
        journal.fold(after_loads=1)
        assert sorted(canonical_identifiers(lake)) == expected_after(name), (at, after)


def test_a_fold_that_always_comes_second_leaves_the_rest_to_the_others(journal: Journal, lake: LocalLake) -> None:
    """Another process folds one load after another, each time just before our own fold is written."""

    class Busy(LocalLake):
        turn = 0

        def put(
            self,
            path: str,
            data: bytes,
            *,
            if_match: str | None = None,
            if_absent: bool = False,
            staged: str | None = None,
        ) -> str:
            self.turn += 1
            other = Journal(lake, ROOT)
            fill(other, range(self.turn + 10, self.turn + 11))
            other.fold(after_loads=1)
            return super().put(path, data, if_match=if_match, if_absent=if_absent)

    fill(journal, range(1))
    busy = Busy(Path(lake.url.removeprefix("file://")))
    assert Journal(busy, ROOT).fold(after_loads=1) == 0
    assert set(expected(range(1))) <= set(identifiers(journal))


def test_a_fold_that_cannot_delete_says_so_and_loses_nothing(journal: Journal, lake: LocalLake) -> None:
    fill(journal, range(5))

    class ReadOnlyRuns(LocalLake):
        def delete(self, path: str) -> bool:
            raise LakeError(f"{path} may not be deleted.")

    with pytest.raises(LakeError):
        Journal(ReadOnlyRuns(Path(lake.url.removeprefix("file://"))), ROOT).fold(after_loads=1)
    assert identifiers(journal) == expected(range(5))
