"""A SQLite store whose process dies before any statement: the next attempt ends with the table as its source."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.sqlite.database import SqliteDatabase
from tests.faults.source import Row
from tests.integration.warehouse import AskedToStop, DatabaseWarehouse
from tests.support.process_death import Died


class Mortal:
    """Counts the writing statements of all connections and dies before one of them; the dead do nothing any more."""

    def __init__(self) -> None:
        self.statements = 0
        self.dies_before = 0

    def count(self, statement: str) -> None:
        self.statements += not statement.startswith(("SELECT", "PRAGMA"))
        if 0 < self.dies_before <= self.statements:
            raise Died


class Shop(DatabaseWarehouse):
    """A table of a SQLite file, loaded slice by slice in this thread."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory.mkdir()
        super().__init__(directory, monkeypatch, "things", {"type": "sqlite", "path": "shop.db"})
        self.file = directory / "project" / "shop.db"
        self.mortal = mortal = Mortal()
        plain = sqlite3.connect

        class MortalConnection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                mortal.count(sql)
                return super().execute(sql, *arguments)

            def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                mortal.count(sql)
                return super().executemany(sql, *arguments)

        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: plain(*a, **k, factory=MortalConnection))

    def tables(self) -> list[str]:
        return [name for (name,) in self.ask("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]

    def ask(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(sql).fetchall()


def expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time pass after which a load may take over from another one that says nothing."""
    now = SqliteDatabase.now
    monkeypatch.setattr(SqliteDatabase, "now", lambda self: now(self) + timedelta(minutes=3))


# Rows come two at a time, so that a slice of no length is one batch.
SHORT = 1e-9


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path / "shop", monkeypatch)


@pytest.mark.parametrize(("slice_minutes", "step"), [(4.0, 1), (SHORT, 5)], ids=["one slice", "many slices"])
@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
@pytest.mark.parametrize("successor", ["itself", "another load"])
def test_a_load_that_dies_before_any_statement_is_carried_on(
    tmp_path: Path, shop: Shop, run_type: RunType, successor: str, slice_minutes: float, step: int
) -> None:
    shop.source.put(1, 2, 3, 4, 5)
    shop.run("first", run_type)
    before = shop.source.rows
    shop.source.put(2, 3, 6, 7)
    shutil.copytree(shop.directory, tmp_path / "before")
    for point in itertools.count(1, step):
        shutil.rmtree(shop.directory)
        shutil.copytree(tmp_path / "before", shop.directory)
        shop.mortal.statements, shop.mortal.dies_before = 0, point
        try:
            shop.run("second", run_type, slice_minutes=slice_minutes)
            break  # there are no more statements
        except Died:
            shop.mortal.dies_before = 0
        if run_type == "full_drop":
            assert shop.rows() in (before, shop.source.rows)  # never anything between
        with pytest.MonkeyPatch.context() as patched:
            load_id = "second"
            if successor == "another load":
                expire(patched)
                shop.source.put(1, 8)
                load_id = "third"
            result = shop.run(load_id, run_type, slice_minutes=slice_minutes)
        assert result.status == "done", result
        assert shop.rows() == shop.source.rows
        assert shop.tables() == ["__hygge_landing", "things"]
    assert point > 10


@pytest.mark.parametrize("successor", ["itself", "another load"])
def test_a_comparison_that_dies_before_any_statement_marks_each_lost_row_once(
    tmp_path: Path, shop: Shop, successor: str
) -> None:
    shop.more = "deletes: { compare: true, every: 0, mark: true, column: gone }\n"
    shop.source.put(1, 2, 3, 4, 5)
    shop.run("first", "incremental")
    lost = [row for row in shop.source.rows if row[0] in (1, 4)]
    shop.source.put(2, 6)
    shop.source.remove(1, 4)
    shutil.copytree(shop.directory, tmp_path / "before")
    for point in itertools.count(1, 2):
        shutil.rmtree(shop.directory)
        shutil.copytree(tmp_path / "before", shop.directory)
        shop.mortal.statements, shop.mortal.dies_before = 0, point
        try:
            shop.run("second", "incremental")
            break
        except Died:
            shop.mortal.dies_before = 0
        with pytest.MonkeyPatch.context() as patched:
            if successor == "another load":
                expire(patched)
            assert shop.run("second" if successor == "itself" else "third", "incremental").status == "done"
        assert shop.rows() == sorted(shop.source.rows + lost)
        assert shop.ask("SELECT id FROM things WHERE gone IS NOT NULL ORDER BY id") == [(1,), (4,)]
    assert point > 20
    shop.mortal.dies_before = 0
    shop.run("last", "incremental")
    assert all(name in shop.ask("SELECT state FROM __hygge_landing")[0][0] for name in shop.tables() if "stage" in name)


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_an_attempt_that_was_taken_over_touches_nothing(
    shop: Shop, run_type: RunType, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.source.put(1, 2, 3)
    shop.run("first", run_type)
    shop.source.put(4, 5)
    merged: list[list[Row]] = []
    transaction = SqliteDatabase.transaction

    def overtaken(database: SqliteDatabase) -> Any:
        """Before its rows become visible, the same load is delivered again and comes to its end."""
        stages = [table for table in shop.tables() if "stage" in table]
        if stages:
            monkeypatch.setattr(SqliteDatabase, "transaction", transaction)
            assert shop.run("second", run_type).status == "done"
            merged.append(shop.rows())
        return transaction(database)

    monkeypatch.setattr(SqliteDatabase, "transaction", overtaken)
    result = shop.slice("second", run_type, 2)
    assert result.status == "continue", result
    assert "another attempt has taken over" in result.message
    assert merged == [shop.source.rows]
    assert shop.rows() == shop.source.rows
    assert shop.tables() == ["__hygge_landing", "things"]


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_a_cancelled_load_leaves_whole_slices(shop: Shop, run_type: RunType) -> None:
    shop.source.put(1, 2, 3)
    shop.run("first", run_type)
    before = shop.source.rows
    shop.source.put(*range(10, 20))
    result = shop.slice("second", run_type, watch=AskedToStop(cancel_after=2))
    assert result.status == "cancelled"
    landed = [row for row in shop.rows() if row not in before]
    assert len(landed) == (0 if run_type == "full_drop" else 3)  # of two batches, whose first row had landed before
    assert set(landed) < set(shop.source.rows)
    assert shop.run("third", run_type).status == "done"
    assert shop.rows() == shop.source.rows


def test_two_loads_of_a_table_take_turns_and_two_tables_share_the_file(shop: Shop) -> None:
    shop.source.put(*range(100))
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda load_id: shop.run(load_id, "incremental"), ["one", "two"]))
    assert [result.status for result in results] == ["done", "done"], results
    assert shop.rows() == shop.source.rows
