"""A mirror that only ever gets the differences always equals the journal."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hygge_engine.journal import LOADS_SCHEMA, SCHEMA, Changes, EntityRunRow, Journal, Journals, files
from hygge_engine.journal.summaries import LEVELS, summarize
from hygge_engine.lake.base import Content
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import EPOCH, ROOT, STATUSES, InterruptedLake, Killed, make_row

KEYS = {"journal": "entity_run_id", "loads": "coordinator_run_id"}


class Mirror:
    """A mirrored table: rows by key, and the position that was committed with them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[str, dict[str, Any]] = {}
        self.position: Any = None
        self.upserted = 0

    def look(self, journal: Journal) -> Changes:
        changes_since = journal.changes_since if self.name == "journal" else journal.load_changes_since
        return changes_since(None if self.position is None else json.loads(self.position))

    def commit(self, changes: Changes) -> None:
        schema = SCHEMA if self.name == "journal" else LOADS_SCHEMA
        assert changes.upserts.schema.equals(schema)
        assert changes.deletes.schema.equals(schema)
        if changes.snapshot:
            self.rows.clear()
        for row in changes.deletes.to_pylist():
            self.rows.pop(row[KEYS[self.name]], None)
        for row in changes.upserts.to_pylist():
            self.rows[row[KEYS[self.name]]] = row
        self.upserted += changes.upserts.num_rows
        self.position = json.dumps(changes.position)

    def publish(self, journal: Journal) -> Changes:
        changes = self.look(journal)
        self.commit(changes)
        return changes

    def expected(self, journal: Journal) -> dict[str, dict[str, Any]]:
        rows = journal.read() if self.name == "journal" else journal.summary()
        return {row[KEYS[self.name]]: row for row in rows.to_dicts()}

    def assert_equals(self, journal: Journal) -> None:
        assert self.rows == self.expected(journal)


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


@pytest.fixture
def journal(lake: LocalLake) -> Journal:
    return Journal(lake, ROOT)


@pytest.fixture(params=list(KEYS))
def mirror(request: pytest.FixtureRequest) -> Mirror:
    return Mirror(request.param)


def fill(journal: Journal, loads: range) -> None:
    for load in loads:
        journal.append(f"load-{load}", [make_row(load, entity) for entity in range(2)])


def test_the_first_time_everything_is_published(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(3))
    journal.fold(after_loads=1)
    fill(journal, range(3, 5))
    changes = mirror.publish(journal)
    assert changes.snapshot
    mirror.assert_equals(journal)


def test_afterwards_a_load_costs_only_its_own_rows(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(10))
    mirror.publish(journal)
    for load in range(10, 30):
        before = mirror.upserted
        fill(journal, range(load, load + 1))
        changes = mirror.publish(journal)
        assert not changes.snapshot
        assert mirror.upserted - before == (2 if mirror.name == "journal" else 1)
        if load % 5 == 0:
            journal.fold(after_loads=1)
    mirror.assert_equals(journal)


def test_a_load_that_comes_back_with_more_rows_after_a_fold_is_complete(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(2))
    mirror.publish(journal)
    journal.fold(after_loads=1)
    journal.append("load-1", [make_row(1, entity) for entity in range(3)])
    mirror.publish(journal)
    mirror.assert_equals(journal)


def test_a_fold_is_no_change(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(3))
    mirror.publish(journal)
    journal.fold(after_loads=1)
    changes = mirror.publish(journal)
    assert changes.empty
    assert mirror.publish(journal).empty
    mirror.assert_equals(journal)


def test_the_canonical_file_is_not_read_where_it_has_not_changed(
    journal: Journal, mirror: Mirror, lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal, range(3))
    journal.fold(after_loads=1)
    mirror.publish(journal)
    fill(journal, range(3, 4))
    read: list[str] = []
    original = LocalLake.read

    def note(self: LocalLake, path: str) -> Content:
        read.append(path)
        return original(self, path)

    monkeypatch.setattr(LocalLake, "read", note)
    mirror.publish(journal)
    assert len(read) == 1
    assert read[0].startswith(f"{ROOT}/runs/load-3~")


def test_a_settle_that_runs_twice_publishes_once(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(2))
    mirror.publish(journal)
    fill(journal, range(2))
    assert mirror.publish(journal).empty


def test_a_position_need_not_move_while_nothing_changes(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(2))
    mirror.publish(journal)
    journal.fold(after_loads=1)
    for _ in range(2):
        assert mirror.look(journal).empty
    fill(journal, range(2, 4))
    journal.fold(after_loads=1)
    assert mirror.publish(journal).upserts.num_rows == (4 if mirror.name == "journal" else 2)
    mirror.assert_equals(journal)


def test_of_two_settles_at_once_the_fenced_one_changes_nothing(journal: Journal, mirror: Mirror) -> None:
    """Both look from the same position; the landing state lets one commit, and the other looks again."""
    fill(journal, range(2))
    mirror.publish(journal)
    fill(journal, range(2, 3))
    mirror.look(journal)
    fill(journal, range(3, 4))
    mirror.publish(journal)
    assert mirror.look(journal).empty
    mirror.assert_equals(journal)


def test_retired_rows_leave_the_mirror(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(4))
    mirror.publish(journal)
    journal.fold(after_loads=1)
    journal.retire(EPOCH + timedelta(hours=1, minutes=30))
    fill(journal, range(4, 5))
    changes = mirror.publish(journal)
    assert not changes.snapshot
    assert changes.deletes.num_rows == (4 if mirror.name == "journal" else 2)
    mirror.assert_equals(journal)


def test_rows_that_come_and_go_between_two_looks_leave_no_trace(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(2))
    mirror.publish(journal)
    fill(journal, range(2, 4))
    journal.fold(after_loads=1)
    journal.retire(EPOCH + timedelta(days=1))
    fill(journal, range(4, 5))
    mirror.publish(journal)
    mirror.assert_equals(journal)


def test_a_late_copy_of_a_retired_load_stays_as_long_as_it_is_there(journal: Journal, mirror: Mirror) -> None:
    fill(journal, range(3))
    mirror.publish(journal)
    journal.fold(after_loads=1)

    journal.retire(EPOCH + timedelta(hours=1, minutes=30))
    fill(journal, range(1))
    assert journal.read("load-0").height == 2
    mirror.publish(journal)
    mirror.assert_equals(journal)
    journal.fold(after_loads=1)
    mirror.publish(journal)
    mirror.assert_equals(journal)


@pytest.mark.parametrize("damage", ["restored", "emptied", "removed"])
def test_a_journal_that_was_replaced_is_published_anew(
    journal: Journal, mirror: Mirror, lake: LocalLake, damage: str
) -> None:
    fill(journal, range(2))
    journal.fold(after_loads=1)
    backup = lake.read(f"{ROOT}/journal.parquet").data
    fill(journal, range(2, 6))
    journal.fold(after_loads=1)
    mirror.publish(journal)
    if damage == "restored":
        lake.put(f"{ROOT}/journal.parquet", backup)
        fill(journal, range(10, 16))
        journal.fold(after_loads=1)
    elif damage == "emptied":
        sink = io.BytesIO()
        pq.write_table(SCHEMA.empty_table(), sink)
        lake.put(f"{ROOT}/journal.parquet", sink.getvalue())
    else:
        lake.delete(f"{ROOT}/journal.parquet")
    fill(journal, range(6, 7))
    assert mirror.publish(journal).snapshot
    mirror.assert_equals(journal)


def test_a_lost_note_of_retired_rows_costs_a_snapshot_not_a_row(
    journal: Journal, mirror: Mirror, lake: LocalLake
) -> None:
    fill(journal, range(4))
    journal.fold(after_loads=1)
    mirror.publish(journal)
    journal.retire(EPOCH + timedelta(hours=1, minutes=30))
    lake.delete_directory(f"{ROOT}/retired")
    assert mirror.publish(journal).snapshot
    mirror.assert_equals(journal)


def test_the_original_frameworks_journal_is_mirrored_and_carried_on(
    journal: Journal, mirror: Mirror, lake: LocalLake
) -> None:
    original = pa.Table.from_pylist([replace_version(make_row(number)) for number in range(3)])
    sink = io.BytesIO()
    pq.write_table(original.select(SCHEMA.names[:18]), sink)
    lake.put(f"{ROOT}/journal.parquet", sink.getvalue())
    mirror.publish(journal)
    fill(journal, range(5, 6))
    journal.fold(after_loads=1)
    assert not mirror.publish(journal).snapshot
    mirror.assert_equals(journal)


def replace_version(row: EntityRunRow) -> dict[str, Any]:
    return vars(replace(row, schema_version="1.0"))


INNER: dict[str, Callable[[Journal], object]] = {
    "append": lambda journal: fill(journal, range(8, 9)),
    "fold": lambda journal: journal.fold(after_loads=1),
    "retire": lambda journal: journal.retire(EPOCH + timedelta(hours=1, minutes=30)),
}


@pytest.mark.parametrize("inner", INNER)
def test_whatever_happens_while_we_look_the_next_look_makes_it_good(tmp_path: Path, mirror: Mirror, inner: str) -> None:
    prepared = tmp_path / "prepared"
    journal = Journal(LocalLake(prepared), ROOT)
    fill(journal, range(3))
    journal.fold(after_loads=1)
    fill(journal, range(3, 5))
    mirror.publish(journal)
    fill(journal, range(5, 6))
    journal.fold(after_loads=1, only=["load-3", "load-5"])
    fill(journal, range(6, 8))
    rows, position = dict(mirror.rows), mirror.position

    counted = InterruptedLake(LocalLake(prepared))
    mirror.look(Journal(counted, ROOT))
    for at in range(counted.calls):
        for after in (False, True):
            folder = tmp_path / f"{at}-{after}"
            # A copy keeps the modification times but not the inodes, so it is looked at as a changed file.
            shutil.copytree(prepared, folder)
            mirror.rows, mirror.position = dict(rows), position
            lake = LocalLake(folder)
            interrupted = InterruptedLake(lake, at, partial(INNER[inner], Journal(lake, ROOT)))
            interrupted.after = after
            mirror.publish(Journal(interrupted, ROOT))
            mirror.publish(Journal(lake, ROOT))
            mirror.assert_equals(Journal(lake, ROOT))


class MirroredJournal(RuleBasedStateMachine):
    """Loads, folds, retirements, crashes and publications in any order; after each publication the mirrors are equal.

    ``loads`` are those that are certainly not retired.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.lake = LocalLake(Path(self.folder))
        self.journal = Journal(self.lake, ROOT)
        self.mirrors = [Mirror(name) for name in KEYS]
        self.loads: dict[int, list[EntityRunRow]] = {}
        self.all_loads: dict[int, list[EntityRunRow]] = {}
        self.next = 0
        self.hours = 0

    def teardown(self) -> None:
        self.journal.fold(after_loads=1)
        for mirror in self.mirrors:
            mirror.publish(self.journal)
            mirror.assert_equals(self.journal)
        shutil.rmtree(self.folder)

    @rule(entities=st.integers(1, 3))
    def append(self, entities: int) -> None:
        self.loads[self.next] = [make_row(self.next, entity) for entity in range(entities)]
        self.all_loads[self.next] = self.loads[self.next]
        self.journal.append(f"load-{self.next}", self.loads[self.next])
        self.next += 1

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), more=st.booleans())
    def append_again(self, data: st.DataObject, more: bool) -> None:
        load = data.draw(st.sampled_from(sorted(self.loads)))
        if more:
            self.loads[load] = [*self.loads[load], make_row(load, len(self.loads[load]))]
            self.all_loads[load] = self.loads[load]
        self.journal.append(f"load-{load}", self.loads[load])

    @precondition(lambda self: self.all_loads)
    @rule(data=st.data())
    def settle_very_late(self, data: st.DataObject) -> None:
        load = data.draw(st.sampled_from(sorted(self.all_loads)))
        self.journal.append(f"load-{load}", self.all_loads[load])

    @rule()
    def fold(self) -> None:
        self.journal.fold(after_loads=1)

    @precondition(lambda self: self.loads)
    @rule(data=st.data())
    def fold_some(self, data: st.DataObject) -> None:
        some = data.draw(st.sets(st.sampled_from(sorted(self.loads))))
        self.journal.fold(after_loads=1, only=[f"load-{load}" for load in some])

    @rule(at=st.integers(0, 12), after=st.booleans(), retire=st.booleans())
    def fold_and_die(self, at: int, after: bool, retire: bool) -> None:
        def die() -> None:
            raise Killed

        interrupted = InterruptedLake(self.lake, at, die)
        interrupted.after = after
        try:
            self.journal_on(interrupted, retire)
        except Killed:
            return

    def journal_on(self, lake: InterruptedLake, retire: bool) -> None:
        if retire:
            self.forget()
            Journal(lake, ROOT).retire(EPOCH + timedelta(hours=self.hours))
        else:
            Journal(lake, ROOT).fold(after_loads=1)

    def forget(self) -> None:
        self.loads = {load: rows for load, rows in self.loads.items() if load > self.hours}

    @rule(hours=st.integers(0, 3))
    def retire(self, hours: int) -> None:
        self.hours = min(self.hours + hours, self.next)
        self.forget()
        self.journal.retire(EPOCH + timedelta(hours=self.hours))

    @rule()
    def publish(self) -> None:
        for mirror in self.mirrors:
            mirror.publish(self.journal)
        # Only the table of entity runs is exact at once where a load came back with more rows than it had.
        self.mirrors[0].assert_equals(self.journal)

    @rule(at=st.integers(0, 10), after=st.booleans())
    def publish_while_others_fold(self, at: int, after: bool) -> None:
        for mirror in self.mirrors:
            interrupted = InterruptedLake(self.lake, at, lambda: self.journal.fold(after_loads=1))
            interrupted.after = after
            mirror.publish(Journal(interrupted, ROOT))
        self.mirrors[0].assert_equals(self.journal)

    @rule()
    def look_and_die(self) -> None:
        for mirror in self.mirrors:
            mirror.look(self.journal)

    @invariant()
    def each_entity_run_is_there_once(self) -> None:
        identifiers = self.journal.read()["entity_run_id"].to_list()
        assert len(identifiers) == len(set(identifiers))
        assert {row.entity_run_id for rows in self.loads.values() for row in rows} <= set(identifiers)


def test_the_mirror_equals_the_journal_after_any_history() -> None:
    run_state_machine_as_test(
        MirroredJournal,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def expected_loads(rows: list[EntityRunRow]) -> dict[str, tuple[Any, ...]]:
    """What `summary("load")` says of each load, worked out row by row."""
    found: dict[str, tuple[Any, ...]] = {}
    for load in {row.coordinator_run_id for row in rows}:
        own = [row for row in rows if row.coordinator_run_id == load]
        inserted = [row.rows_inserted for row in own if row.row_count]
        compared = [row.rows_unchanged for row in own if row.rows_unchanged is not None]
        words = {row.status for row in own}
        ends: dict[bool, list[str]] = {}
        for row in sorted(own, key=lambda row: row.finish_time):
            if row.status != "success":
                ends.setdefault(row.status == "fail", []).append(row.message)
        found[load] = (
            next(word for word in ("cancel", "fail", "success", "skip") if word in words),
            len(own),
            sum(row.status == "fail" for row in own),
            sum(row.row_count for row in own),
            None if None in inserted else sum(number for number in inserted if number),
            sum(compared) if compared else None,
            min(row.start_time for row in own),
            max(row.finish_time for row in own),
            "mixed" if len({row.run_type for row in own}) > 1 else own[0].run_type,
            next(iter([*ends.get(True, []), *ends.get(False, [])]), None),
        )
    return found


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(STATUSES), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=8, deadline=None)
def test_a_history_in_pieces_says_and_publishes_what_it_is_as_a_whole(runs: list[tuple[int, Any, bool]]) -> None:
    """In row groups of three, some loads over several of them and one load not folded yet."""
    rows = [
        make_row(
            load,
            number % 3,
            entity_run_id=f"run-{number}",
            start_time=(EPOCH + timedelta(hours=load, seconds=number)).isoformat(),
            finish_time=(EPOCH + timedelta(hours=load, seconds=1000 - number)).isoformat(),
            status=status,
            run_type="full_drop" if is_reload else "incremental",
            message=f"why {number}",
            row_count=number,
            rows_inserted=None if is_reload else number // 2,
            rows_unchanged=number if is_reload and number % 2 else None,
        )
        for number, (load, status, is_reload) in enumerate(runs)
    ]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "ROW_GROUP_ROWS", 3)
        journal = Journal(LocalLake(Path(folder)), ROOT)
        *folded, last = dict.fromkeys(row.coordinator_run_id for row in rows)
        for load in (*folded, last):
            journal.append(load, [row for row in rows if row.coordinator_run_id == load])
            if folded and load == folded[-1]:
                journal.fold(after_loads=1)
        columns = ["status", "entities", "failed", "rows", "rows_inserted", "rows_unchanged"]
        columns += ["started", "finished", "run_type", "message"]
        for copies in (1, 2):
            summary = Journals([journal] * copies).summary()
            assert {
                line["coordinator_run_id"]: tuple(line[name] for name in columns) for line in summary.to_dicts()
            } == (expected_loads(rows))
        assert summary.equals(journal.summary(limit=100))
        for by in LEVELS:
            assert journal.summary(by).equals(summarize(journal.read(), by))
        snapshot = journal.changes_since(None)
        assert all(piece.num_rows <= 3 for piece in list(snapshot.pieces())[:-1])
        found = snapshot.upserts.column("entity_run_id").to_pylist()
        assert sorted(map(str, found)) == sorted(row.entity_run_id for row in rows)
