"""Every store that is a database, by every run type: rows replace those with their key, and land once, whichever
process dies."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from hygge_engine.flow import planner
from hygge_engine.homes.base import Batch, Position, ReadWindow
from hygge_engine.project.models.settings import RunType
from tests.faults.source import Row
from tests.integration.mssql_server import ServerProcess
from tests.integration.warehouse import AskedToStop, DatabaseWarehouse, MssqlWarehouse
from tests.support.hostile_table import HostileTable
from tests.support.sqlite_warehouse import SqliteWarehouse

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    return mssql_server


@pytest.fixture(params=["sqlite", "mssql"])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DatabaseWarehouse]:
    if request.param == "sqlite":
        yield SqliteWarehouse(tmp_path, monkeypatch)
        return
    yield MssqlWarehouse(tmp_path, monkeypatch, request.getfixturevalue("server"))


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
@pytest.mark.parametrize("incremental", [None, True, False])
def test_run_type_and_the_stores_own_word_decide_between_merge_and_reload(
    warehouse: DatabaseWarehouse, run_type: RunType, incremental: bool | None
) -> None:
    merges = incremental if incremental is not None else run_type == "incremental"
    warehouse.source.put(1, 2, 3, 4, 5)
    warehouse.load(run_type, incremental)
    first = warehouse.source.rows
    assert warehouse.rows() == first
    warehouse.source.put(2, 6)
    warehouse.source.remove(5)
    warehouse.load(run_type, incremental)
    removed = [row for row in first if row[0] == 5] if merges else []
    assert warehouse.rows() == sorted(warehouse.source.rows + removed)
    assert warehouse.tables() == ["__hygge_landing", "things"]


def test_another_table_name_takes_a_reload_and_leaves_the_old_table_alone(warehouse: DatabaseWarehouse) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.load()
    warehouse.source.put(4, 5, 6)
    assert warehouse.slice("begun", "incremental", watch=AskedToStop(0)).status == "cancelled"
    old = warehouse.rows()
    warehouse.settle_in("others")
    refused = warehouse.run("moved", "incremental")
    assert (refused.error, refused.transient) == ("store.landing_broken", False)
    assert "things so far, the settings now say others" in refused.message
    assert warehouse.load("full_drop")["rows"] == len(warehouse.source.rows)
    assert warehouse.rows() == old
    assert sorted(map(tuple, warehouse.ask("SELECT id, value, modified FROM others"))) == warehouse.source.rows
    warehouse.source.put(1)
    assert warehouse.load()["rows"] == 1


def test_rows_that_come_late_are_merged(warehouse: DatabaseWarehouse) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.load()
    warehouse.source.put_late(4)  # bears the time of the rows before, and came after the load
    warehouse.load()
    assert warehouse.load()["rows"] == 0
    warehouse.source.put(1)
    assert warehouse.load()["rows"] == 1
    assert warehouse.rows() == warehouse.source.rows


def test_a_reload_of_an_empty_source_leaves_an_empty_table(warehouse: DatabaseWarehouse) -> None:
    warehouse.source.put(1, 2)
    warehouse.load("full_drop")
    warehouse.source.remove(1, 2)
    warehouse.load("full_drop")
    assert warehouse.rows() == []
    warehouse.source.put(3)
    warehouse.load("incremental")
    assert warehouse.rows() == warehouse.source.rows


def test_old_versions_leave_a_history_and_how_the_table_was_can_still_be_asked(
    warehouse: DatabaseWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = timedelta()

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + passed

    monkeypatch.setattr(planner, "datetime", Ahead)
    warehouse.more = "history: versions\nhistory_retention: 1d\n"

    def versions() -> list[tuple[int, str]]:
        sql = "SELECT id, __operation FROM things_history ORDER BY id, __version"
        return [(id_, operation) for id_, operation in warehouse.ask(sql)]

    warehouse.source.put(1, 2, 3)
    warehouse.load()
    passed = timedelta(hours=1)
    warehouse.source.put(1)
    warehouse.load()
    first = [(2, "baseline"), (3, "baseline")]
    assert versions() == [(1, "baseline"), (1, "upsert"), *first]
    passed = timedelta(hours=26)
    warehouse.source.put(2)
    warehouse.load()
    assert versions() == [(1, "upsert"), (2, "baseline"), (2, "upsert"), (3, "baseline")]
    passed = timedelta(hours=27)
    warehouse.source.remove(3)
    warehouse.load("full_drop")
    assert versions()[-2:] == [(3, "baseline"), (3, "delete")]
    passed = timedelta(hours=60)
    warehouse.source.put(1)
    warehouse.load()
    assert versions() == [(1, "upsert"), (1, "upsert"), (2, "upsert")]


def test_a_reload_by_difference_lands_what_differs_and_says_where_it_cannot(warehouse: DatabaseWarehouse) -> None:
    warehouse.more = "reload: difference\n"
    warehouse.source.put(1, 2, 3, 4, 5)
    warehouse.load()
    warehouse.source.put(2, 6)
    warehouse.load()
    warehouse.source.correct(1)
    warehouse.source.remove(5)
    told = warehouse.run("differs", "full_drop", slice_minutes=1e-9).message
    assert "by difference: 1 new or changed, 1 deleted, 4 unchanged" in told
    assert warehouse.rows() == warehouse.source.rows
    assert warehouse.run("equal", "full_drop").rows == 0
    digests, *_ = [table for table in warehouse.tables() if table not in ("__hygge_landing", "things")]
    warehouse.ask(f"DROP TABLE {digests}")
    warehouse.source.remove(4)
    assert f"by a drop, not by difference: {digests} is missing" in warehouse.run("lost", "full_drop").message
    assert warehouse.rows() == warehouse.source.rows
    assert len(warehouse.tables()) == 3


def test_rows_that_the_source_has_lost_are_found_by_their_keys(warehouse: DatabaseWarehouse) -> None:
    warehouse.more = "deletes: { compare: true, every: 0 }\n"
    warehouse.source.put(1, 2, 3, 4, 5)
    warehouse.load()
    warehouse.source.put(2, 6)
    warehouse.source.remove(1, 5)
    told = warehouse.run("some", "incremental", slice_minutes=1e-9)
    assert (told.rows, told.rows_deleted, told.message) == (4, 2, "keys compared: 2 of 6 rows deleted")
    assert warehouse.rows() == warehouse.source.rows
    warehouse.source.remove(2, 3, 4, 6)
    assert "reloaded by difference: 0 new or changed, 4 deleted" in warehouse.run("all", "incremental").message
    assert warehouse.rows() == []
    warehouse.source.put(1)
    warehouse.load()
    assert warehouse.rows() == warehouse.source.rows


@pytest.mark.parametrize("how", ["tracked", "compared", "reloaded"])
def test_deleted_rows_are_marked_and_stay_as_they_were(warehouse: DatabaseWarehouse, how: str) -> None:
    warehouse.watermark = "{ change_tracking: true }" if how == "tracked" else "{ column: modified }"
    every = "compare: true, every: 0, " if how == "compared" else ""
    warehouse.more = f"deletes: {{ {every}mark: true, column: gone }}\nreload: difference\n"
    run_type: RunType = "full_drop" if how == "reloaded" else "incremental"
    random_, seen, marks = random.Random(how), dict[int, Row](), dict[int, object]()
    warehouse.source.put(*range(9))
    for number in range(5):
        warehouse.run(f"load{number}", run_type if number else "incremental", slice_minutes=1e-9 if number % 2 else 4)
        there = {row[0]: row for row in warehouse.source.rows}
        landed = warehouse.ask("SELECT id, value, modified, gone FROM things")
        assert {row[0]: tuple(row[:3]) for row in landed} == seen | there
        assert {row[0] for row in landed if row[3] is not None} == seen.keys() - there.keys()
        assert all(row[3] == marks[row[0]] for row in landed if row[3] is not None and row[0] in marks)
        seen |= there
        marks = {row[0]: row[3] for row in landed if row[3] is not None}
        warehouse.source.remove(*random_.sample(sorted(there), min(3, len(there))))
        warehouse.source.put(*random_.sample(range(12), 2))


def test_a_row_that_comes_and_goes_in_one_slice_is_marked_as_it_came(warehouse: DatabaseWarehouse) -> None:
    warehouse.more = "deletes: { mark: true }\n"
    warehouse.source.put(1, 2)
    warehouse.load()
    warehouse.source.put(1, 3, 4)
    rows = warehouse.source.rows
    reading = warehouse.home.read

    def read(window: ReadWindow, after: Position | None = None) -> Iterator[Batch]:
        for batch in reading(window, after):
            ids = batch.rows.column("id")
            gone = batch.rows.filter(pc.is_in(ids, pa.array([1, 3])))
            yield replace(batch, deleted=gone if gone.num_rows else None)

    warehouse.home.read = read  # type: ignore[assignment]
    warehouse.load()
    landed = warehouse.ask("SELECT id, value, modified, __deleted_at FROM things")
    assert sorted(tuple(row[:3]) for row in landed) == rows
    assert {row[0] for row in landed if row[3] is not None} == {1, 3}


def test_a_difference_respells_a_key_that_the_database_takes_for_the_same(warehouse: DatabaseWarehouse) -> None:
    table = HostileTable(((pa.string(), lambda number: "aA"[number]),))
    warehouse.home = cast("Any", table)
    warehouse.more, warehouse.watermark = "reload: difference\n", "{ column: modified }"
    for number in (0, 1):
        table.change(random.Random(1), number)
        table.rows[number]["real"] = 1.5  # SQL Server has no NaN
    respelt = table.rows.pop(1)
    warehouse.load()
    table.rows = {1: respelt}
    warehouse.run("respelt", "full_drop")
    assert [row[0] for row in warehouse.ask("SELECT k0 FROM things")] == ["A"]
    again = warehouse.run("again", "full_drop").message
    # Where the database may take "a" for "A", a delete of one might remove the other's row.
    assert ("by difference: 0 new or changed, 0 deleted" in again) != ("may take different values" in again)
    assert [row[0] for row in warehouse.ask("SELECT k0 FROM things")] == ["A"]


@pytest.fixture
def without_key(warehouse: DatabaseWarehouse, monkeypatch: pytest.MonkeyPatch) -> DatabaseWarehouse:
    source = warehouse.home.describe()
    monkeypatch.setattr(warehouse.home, "describe", lambda: replace(source, key=()))
    return warehouse


def test_without_a_key_each_version_of_a_row_lands_once(without_key: DatabaseWarehouse) -> None:
    without_key.source.put(1, 2, 3)
    without_key.load()
    without_key.source.put(1)
    without_key.load()
    assert without_key.load()["rows"] == 0
    assert without_key.rows() == sorted(without_key.source.history)


def test_without_a_key_lag_would_double_rows_and_is_refused(without_key: DatabaseWarehouse) -> None:
    without_key.watermark = "{ column: modified, lag: 5m }"
    without_key.source.put(1)
    with pytest.raises(AssertionError, match=r"home\.cursor_unusable.*key_columns"):
        without_key.load()
    assert "things" not in without_key.tables()
