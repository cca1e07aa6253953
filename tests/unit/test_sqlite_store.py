"""What a SQLite file holds of Arrow's types, and what SQLite's errors are called here."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hygge_engine.errors import LandingBroken, NotOurs, StoreError, StoreUnavailable
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.landing.state import Mode, OpenLoad
from hygge_engine.stores.sqlite import database as sqlite_database
from hygge_engine.stores.sqlite.database import SqliteDatabase
from hygge_engine.stores.sqlite.statements import quote

NOON = datetime(2026, 11, 20, 12, 0, 0, 120, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def table(file: Path) -> DatabaseTable:
    return DatabaseTable(SqliteDatabase(file), "flow.orders", "orders", key_columns=())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waits and retries."""
    monkeypatch.setattr(sqlite_database, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(sqlite_database, "call_with_retries", lambda call: call())


def land(
    table: DatabaseTable,
    rows: pa.RecordBatch,
    *,
    key: tuple[str, ...] = (),
    mode: Mode = "changes",
    deleted: pa.RecordBatch | None = None,
    again: pa.RecordBatch | None = None,
    columns: pa.Schema | None = None,
) -> None:
    """One load in one slice; rows that are deleted before the others, and after them. ``columns`` are those that the
    load was begun with, the rows' own otherwise."""
    load_id = uuid.uuid4().hex
    lease = table.attach(load_id, 1)
    opened = OpenLoad(load_id, mode, "landing", NOON.isoformat())
    lease.begin(opened, key_columns=key, columns={field.name: str(field.type) for field in columns or rows.schema})
    writer = table.writer(lease, rows.schema, marked=deleted is not None)
    if deleted is not None:
        writer.delete(deleted)
    writer.write(rows)
    if again is not None:
        writer.delete(again)
    table.publish(lease, writer.finish(), position=None, last=True, new_generation=mode == "reload")


def ask(file: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("type_", "value", "kind", "stored"),
    [
        (pa.bool_(), True, "integer", 1),
        (pa.int16(), -(2**15), "integer", -(2**15)),
        (pa.int64(), 2**63 - 1, "integer", 2**63 - 1),
        (pa.uint64(), 2**64 - 1, "text", "18446744073709551615"),
        (pa.float32(), 1.5, "real", 1.5),
        (pa.float64(), float("inf"), "real", float("inf")),
        (pa.decimal128(38, 20), Decimal("0.00000000000000000001"), "text", "0.00000000000000000001"),
        (pa.decimal128(10, 2), Decimal("12.30"), "text", "12.30"),
        (pa.string(), "Æble 'og' \0 pære", "text", "Æble 'og' \0 pære"),
        (pa.binary(), b"\x00\xff", "blob", b"\x00\xff"),
        (pa.date32(), date(1, 1, 1), "text", "0001-01-01"),
        (pa.time64("us"), time(23, 59, 59, 1), "text", "23:59:59.000001"),
        (pa.timestamp("us", tz="UTC"), NOON, "text", "2026-11-20T12:00:00.000120Z"),
        (pa.timestamp("us", tz="Europe/Oslo"), NOON, "text", "2026-11-20T12:00:00.000120Z"),
        (pa.timestamp("ms"), datetime(9999, 12, 31), "text", "9999-12-31T00:00:00.000"),
        (pa.duration("us"), timedelta(microseconds=7), "integer", 7),
    ],
    ids=str,
)
def test_a_value_is_kept_exactly_and_null_is_null(
    table: DatabaseTable, file: Path, type_: pa.DataType, value: object, kind: str, stored: object
) -> None:
    rows = pa.RecordBatch.from_arrays([pa.array([1, 2]), pa.array([value, None], type_)], ["id", "v"])
    land(table, rows, key=("id",))
    assert ask(file, "SELECT typeof(v), v FROM orders ORDER BY id") == [(kind, stored), ("null", None)]


def numbers(*ids: int | None, **columns: Any) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(ids, pa.int64()), **columns})


def test_a_row_replaces_the_one_with_its_key_and_the_later_of_two_counts(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1, 2, n=["a", "b"]), key=("id",))
    land(table, numbers(2, 3, 3, n=["c", "d", "e"]), key=("id",))
    assert ask(file, "SELECT * FROM orders ORDER BY id") == [(1, "a"), (2, "c"), (3, "e")]


def test_a_deleted_row_goes_and_may_come_back(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1, 2, 3, 4, n=["a", "b", "c", "d"]), key=("id",))
    gone, again = numbers(1, 2, 9, n=pa.nulls(3, pa.string())), numbers(4, 5, n=pa.nulls(2, pa.string()))
    land(table, numbers(2, 5, 6, n=["e", "f", "g"]), key=("id",), deleted=gone, again=again)
    assert ask(file, "SELECT * FROM orders ORDER BY id") == [(2, "e"), (3, "c"), (6, "g")]
    assert not [name for (name,) in ask(file, "SELECT name FROM sqlite_schema") if "stage" in name]


def test_without_a_key_nobody_knows_which_row_is_gone(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1, 2))
    with pytest.raises(StoreError, match="without a key") as caught:
        land(table, numbers(3), deleted=numbers(1))
    assert "key_columns" in caught.value.hint
    other = DatabaseTable(SqliteDatabase(file), "flow.lines", "lines", key_columns=("n",))
    with pytest.raises(StoreError, match="the table's has n"):
        land(other, numbers(3, n=["a"]), key=("n",), deleted=numbers(1, n=pa.nulls(1, pa.string())))
    assert ask(file, "SELECT id FROM orders ORDER BY id") == [(1,), (2,)]


def test_columns_that_come_are_added_and_those_that_go_are_null_from_then_on(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1, 2, old=["a", "b"]), key=("id",))
    land(table, numbers(2, 3, **{'ne"w': [b"x", b"y"]}), key=("id",))
    assert ask(file, "SELECT * FROM orders ORDER BY id") == [(1, "a", None), (2, None, b"x"), (3, None, b"y")]


@pytest.mark.parametrize(
    ("before", "after"), [("name", "NAME"), ("ä", "Ä"), ("μ", "µ"), ("il", "\u0131l"), ("k", "\u212a")]
)
def test_a_column_in_another_case_is_the_same_for_letters_from_a_to_z(
    table: DatabaseTable, file: Path, before: str, after: str
) -> None:
    land(table, numbers(1, 2, **{before: ["a", "b"]}), key=("id",))
    land(table, numbers(2, **{after: ["c"]}), key=("id",))
    is_one = before == "name"
    found = [(1, "a"), (2, "c")] if is_one else [(1, "a", None), (2, None, "c")]
    assert ask(file, "SELECT * FROM orders ORDER BY id") == found
    rows = [row for batch in table.read_back().read(["id", after]) for row in batch.to_pylist()]
    assert rows == [{"id": 1, after: "a" if is_one else None}, {"id": 2, after: "c"}]


@pytest.mark.parametrize("key", [("id",), ()])
@pytest.mark.parametrize("mode", ["changes", "reload"])
@pytest.mark.parametrize("gone", ["note", "no`te"])
def test_a_column_that_goes_while_a_load_is_open_lands_as_null(
    table: DatabaseTable, file: Path, gone: str, mode: Mode, key: tuple[str, ...]
) -> None:
    begun = numbers(1, **{gone: ["x"], "n": ["a"]}).schema
    land(table, numbers(1, n=["a"]), key=key, mode=mode, columns=begun)
    assert ask(file, "SELECT * FROM orders") == [(1, None, "a")]


def test_a_column_that_is_not_there_is_never_taken_for_a_text(file: Path, table: DatabaseTable) -> None:
    land(table, numbers(1, n=["a"]), key=("id",))
    for name in ("missing", "mis`sing"):
        with pytest.raises(sqlite3.OperationalError, match="no such column"):
            ask(file, f"SELECT {quote(name)} FROM orders")


def test_a_reload_keeps_what_others_have_built_on_the_table(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1, 2, n=["a", "b"]), key=("id",))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE INDEX by_n ON orders (n)")
        connection.execute("CREATE VIEW named AS SELECT n FROM orders")
    land(table, numbers(3, n=["c"]), key=("id",), mode="reload")
    assert ask(file, "SELECT n FROM named") == [("c",)]
    assert ask(file, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL") == [("by_n",)]
    land(table, numbers(4, n=["d"], m=[1.5]), key=("id",), mode="reload")  # recreated, with another column
    assert ask(file, "SELECT id, n, m FROM orders") == [(4, "d", 1.5)]
    assert ask(file, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL") == [("by_n",)]
    with pytest.raises(StoreError, match="the index by_n on orders does not fit"):
        land(table, numbers(5, m=[2.5]), key=("id",), mode="reload")
    assert ask(file, "SELECT id, n, m FROM orders") == [(4, "d", 1.5)]


def test_readers_read_on_while_a_load_writes(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1), key=("id",))
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT id FROM orders").fetchall() == [(1,)]
        land(table, numbers(2), key=("id",), mode="reload")
        assert reader.execute("SELECT id FROM orders").fetchall() == [(1,)]
        reader.execute("COMMIT")
        assert reader.execute("SELECT id FROM orders").fetchall() == [(2,)]


def lock(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


@pytest.mark.usefixtures("impatient")
def test_another_writer_is_waited_for(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1))
    with closing(lock(file)), pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        SqliteDatabase(file).create_stage("orders__hygge_stage_1", numbers().schema, ())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("spoil", "error", "hint"),
    [
        (
            lambda file: file.write_bytes(b"no database at all" * 100),
            LandingBroken,
            "names a file that is not a SQLite",
        ),
        (lambda file: file.mkdir(), StoreError, "Check the store's path"),
    ],
    ids=["no database", "a directory"],
)
def test_a_path_that_is_no_database_says_what_to_do(
    table: DatabaseTable, file: Path, spoil: Callable[[Path], object], error: type[StoreError], hint: str
) -> None:
    spoil(file)
    with pytest.raises(error) as caught:
        land(table, numbers(1))
    assert hint in caught.value.hint
    assert not caught.value.transient


@pytest.mark.usefixtures("impatient")
def test_a_full_disk_is_no_reason_to_try_again(
    table: DatabaseTable, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(table, numbers(1))
    connect = sqlite3.connect

    def small(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **keywords)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StoreError, match="SQLITE_FULL") as caught:
        land(table, numbers(*range(10_000)))
    assert "Free space" in caught.value.hint
    assert not caught.value.transient


def test_null_in_a_key_is_refused_and_lands_nothing(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1), key=("id",))
    with pytest.raises(StoreError, match="SQLITE_CONSTRAINT_NOTNULL") as caught:
        land(table, numbers(2, None), key=("id",))
    assert "key_columns" in caught.value.hint
    assert ask(file, "SELECT id FROM orders") == [(1,)]


def test_a_table_of_somebody_else_is_left_alone(table: DatabaseTable, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE orders (id)")
    before = file.read_bytes()
    for reload in (False, True):
        with pytest.raises(NotOurs, match=r"orders exists, and no load of .* a table of 0 rows with the columns id"):
            table.check_place(table.attach("load", 1).state, numbers().schema, reload=reload)
    assert file.read_bytes() == before


def test_a_table_that_vanished_is_not_silently_begun_anew(table: DatabaseTable, file: Path) -> None:
    land(table, numbers(1))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE orders")
    with pytest.raises(LandingBroken, match="missing"):
        table.check_history(table.attach("next", 1))
