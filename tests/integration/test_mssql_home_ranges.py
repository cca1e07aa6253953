"""Several readers over one table, snapshots, and a limit to the pace."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from hygge_engine.errors import CursorUnusable, HomeError, HomeUnavailable
from hygge_engine.homes.base import Position, ReadWindow
from hygge_engine.homes.mssql import catalogue, dividing
from hygge_engine.homes.mssql import home as mssql_home
from hygge_engine.homes.mssql import session as mssql_session
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.query import sample_statement
from hygge_engine.homes.mssql.ranges import KeyRange, between, position_of, ranges_of, spread
from hygge_engine.homes.mssql.sessions import open_session
from tests.integration.mssql_server import DATABASE, DRIVERS, ServerProcess, connect, open_home, read_all

pytestmark = pytest.mark.any_server

ROWS = 500

KEYS = {
    "numbers": ("id int NOT NULL PRIMARY KEY", "value"),
    "guids": ("id uniqueidentifier NOT NULL PRIMARY KEY", "NEWID()"),
    "ticks": ("id datetime2(7) NOT NULL PRIMARY KEY", "DATEADD(ns, value * 100, CAST('2024-01-31' AS datetime2))"),
    "pairs": ("tenant int NOT NULL, id int NOT NULL, PRIMARY KEY (tenant, id)", "value % 3, value"),
}


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    mssql_server.run("CREATE SCHEMA ranged")
    for table, (columns, values) in KEYS.items():
        mssql_server.run(
            f"CREATE TABLE ranged.{table} ({columns}, note nvarchar(20) NOT NULL DEFAULT N'x')",
            f"INSERT INTO ranged.{table} ({'tenant, id' if table == 'pairs' else 'id'}) "
            f"SELECT {values} FROM GENERATE_SERIES(1, {ROWS})",
        )
    mssql_server.run("CREATE VIEW ranged.numbers_view AS SELECT id, note FROM ranged.numbers")
    return mssql_server


@pytest.fixture(autouse=True)
def _small_tables_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mssql_home, "ROWS_WORTH_A_READER", 100)


def counted(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(str(sorted(row.items())) for row in rows)


def open_with_readers(server: ServerProcess, table: str, driver: str = "mssql-python", **keys: Any) -> MssqlHome:
    return open_home(server, table, driver, readers=3, **{"batch_rows": 20, **keys})


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("table", KEYS)
def test_readers_share_a_table_of_any_key(server: ServerProcess, table: str, driver: str) -> None:
    with open_home(server, f"ranged.{table}") as home:
        expected = counted(read_all(home))
    with open_with_readers(server, f"ranged.{table}", driver) as home:
        batches = list(home.read(ReadWindow()))
    assert counted([row for batch in batches for row in batch.rows.to_pylist()]) == expected
    assert batches[0].position is not None
    assert len(ranges_of(batches[0].position, len(home.describe().key)) or []) == 12


@pytest.mark.parametrize("advice", [[], ["take"], ["", "take", "", "give back"], ["take", "give back"]])
def test_readers_that_come_and_go_leave_nothing_out(
    server: ServerProcess, advice: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told:
        def __init__(self) -> None:
            self.left = list(advice)

        def arrived(self, rows: int) -> str:
            return self.left.pop(0) if self.left else ""

    monkeypatch.setattr(mssql_home, "Trial", Told)
    home = open_home(server, "ranged.numbers", batch_rows=20)
    home._settings = home._settings.with_connections(2)
    with home:
        batches = list(home.read(ReadWindow()))
    assert sorted(row["id"] for batch in batches for row in batch.rows.to_pylist()) == list(range(1, ROWS + 1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("range reader")]


@pytest.mark.parametrize("table", ["ticks", "pairs"])
@pytest.mark.parametrize("taken", [1, 7, 20])
@pytest.mark.parametrize("readers", [1, 3])
def test_reading_goes_on_from_any_batch_also_with_fewer_readers(
    server: ServerProcess, table: str, taken: int, readers: int
) -> None:
    with open_home(server, f"ranged.{table}") as home:
        expected = counted(read_all(home))
    rows = []
    with open_with_readers(server, f"ranged.{table}") as home, closing(home.read(ReadWindow())) as batches:
        for _, batch in zip(range(taken), batches, strict=False):
            rows += batch.rows.to_pylist()
            position = batch.position
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("range reader")]
    with open_home(server, f"ranged.{table}", readers=readers, batch_rows=20) as home:
        rows += read_all(home, after=position)
    assert counted(rows) == expected


@pytest.mark.parametrize("readers", [1, 3])
def test_what_is_left_of_one_range_ends_where_it_ends(server: ServerProcess, readers: int) -> None:
    position: list[str] | None = position_of([KeyRange(["10"], ["100"])], 1)
    read: list[Any] = []
    while position is not None:
        with open_home(server, "ranged.numbers", readers=readers, batch_rows=20) as home:
            batch = next(home.read(ReadWindow(), position), None)
        position = batch.position if batch else None
        read += batch.rows["id"].to_pylist() if batch else []
    assert read == list(range(11, 101))


def test_a_server_that_takes_no_samples_is_asked_for_no_more_than_one(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dividing, "KEYS", 10)
    monkeypatch.setattr(dividing, "_SAMPLED_AT_MOST", 10)
    asked: list[str] = []

    def whole(source: str, key: Any, condition: str, *, most: int, **of_the_sample: Any) -> str:
        asked.append(sample_statement(source, key, condition, most=most, **of_the_sample))
        return asked[-1].replace("TABLESAMPLE SYSTEM (10 ROWS)", "").replace(f"TOP ({most}) ", "")

    monkeypatch.setattr(dividing, "sample_statement", whole)
    with open_with_readers(server, "ranged.numbers") as home:
        batches = list(home.read(ReadWindow()))
    assert "SELECT TOP (" in asked[0]
    assert [row["id"] for batch in batches for row in batch.rows.to_pylist()] == list(range(1, ROWS + 1))
    assert batches[0].position == ["20"]


def keys(*values: str) -> str:
    """A statement that returns these keys, in this order."""
    listed = ", ".join(f"({number}, {value})" for number, value in enumerate(values))
    return f"SELECT TOP (100) k FROM (VALUES {listed}) AS v (n, k) ORDER BY n"


LYING_SAMPLES = {
    "no key at all": "SELECT id FROM ranged.numbers WHERE id < 0",
    "the same key again and again": keys(*["7"] * 40),
    "out of order": keys("400", "300", "200", "100"),
    "one out of order": keys("50", "100", "150", "90", "200", "250", "300", "350", "400", "450", "460", "470"),
    "repeating ends": keys("1", "1", "250", "250", "500", "500"),
    "keys that no row has": keys("-5", "100000", "2147483647"),
    "NULL": keys("10", "NULL", "300"),
    "one text": keys(*["N'a'"] * 40),
    "texts": keys("N'a'", "N'b'", "N'c'"),
    "texts of numbers, out of order": keys("N'9'", "N'80'", "N'700'"),
    "fractions": keys("1.5", "20.25", "300.75"),
    "numbers beyond the type": keys("CAST(1000000000000000000 AS bigint)", "CAST(5 AS bigint)"),
    "two columns": "SELECT id, id FROM ranged.numbers",
    "bytes": keys("0x01", "0x02"),
    "days": keys("CAST('2024-01-01' AS date)", "CAST('2025-01-01' AS date)"),
}
LYING_COUNTS = ["NULL", "0", "-1", "1000000000000000000", "1.7E308", "N'many'", "CAST(1.5 AS decimal(5, 2))"]


@pytest.mark.parametrize(
    ("sample", "count"), [*((sample, "1000000") for sample in LYING_SAMPLES), *(("", count) for count in LYING_COUNTS)]
)
def test_what_a_server_says_of_its_rows_never_changes_which_rows_are_read(
    server: ServerProcess, sample: str, count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_ROWS", f"SELECT {count} WHERE ? IS NOT NULL")
    if sample:
        monkeypatch.setattr(dividing, "sample_statement", lambda *_, **__: LYING_SAMPLES[sample])
    with open_with_readers(server, "ranged.numbers") as home:
        shares: list[Position | None] = [*(home.divide(ReadWindow(), 4) if sample else [])]
        assert sorted(row["id"] for row in read_all(home)) == list(range(1, ROWS + 1))
        assert sorted(row["id"] for share in shares or [None] for row in read_all(home, after=share)) == list(
            range(1, ROWS + 1)
        )


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("limit", "value"), [("RESULT_ROWS", 99), ("RESULT_BYTES", 20_000)])
def test_an_answer_that_no_question_has_is_not_taken(
    server: ServerProcess, driver: str, limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = f"SELECT REPLICATE(N'x', 200) FROM GENERATE_SERIES(1, {ROWS})"
    session = open_session(connect(server.address, driver))
    try:
        assert len(session.fetch_all(statement, doing="Asking")) == ROWS
        assert len(session.fetch_some(statement, 7, doing="Asking")) == 7
        monkeypatch.setattr(mssql_session, limit, value)
        with pytest.raises(HomeError, match="Asking: the server responds with more than"):
            session.fetch_all(statement, doing="Asking")
        assert session.fetch_all("SELECT 1", doing="Asking") == [(1,)]
    finally:
        session.close()


def test_what_a_reader_meets_ends_the_reading(server: ServerProcess) -> None:
    server.fault("drop_connection", table="ranged.numbers", after_rows=30)
    try:
        with open_with_readers(server, "ranged.numbers") as home, pytest.raises(HomeUnavailable):
            read_all(home)
    finally:
        server.clear_faults()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("range reader")]


def test_a_view_and_a_window_have_one_reader(server: ServerProcess) -> None:
    with open_with_readers(server, "ranged.numbers_view", key=["id"]) as home:
        assert len(read_all(home)) == ROWS
    with open_with_readers(server, "ranged.numbers") as home:
        batches = list(home.read(ReadWindow("id", "10", "60")))
    assert [batch.position for batch in batches] == [["30"], ["50"], ["60"]]


def test_a_table_of_few_rows_has_one_reader(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mssql_home, "ROWS_WORTH_A_READER", ROWS)
    with open_with_readers(server, "ranged.numbers") as home:
        assert next(home.read(ReadWindow())).position == ["20"]


@pytest.mark.parametrize("position", [["0", "0"], ["7", ""], ["a", ""], ["[1]", ""], ["null", ""], ["0", "0", "0"]])
def test_a_position_in_another_key_is_refused(server: ServerProcess, position: list[str]) -> None:
    with open_home(server, "ranged.numbers") as home, pytest.raises(CursorUnusable, match="the key has 1"):
        read_all(home, after=position)


def test_ranges_meet_without_gap_or_overlap() -> None:
    assert between(spread([["a"], ["b"], ["c"]], 2)) == [KeyRange(None, ["b"]), KeyRange(["b"], None)]
    assert between(spread([["a"]], 8)) == [KeyRange(None, ["a"]), KeyRange(["a"], None)]
    assert between(spread([], 8)) == [KeyRange()]
    ranges = [KeyRange(["a", "1"], ["b", "2"]), KeyRange(["b", "2"], None)]
    assert ranges_of(position_of(ranges, 2), 2) == ranges


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_snapshot_shows_one_moment(server: ServerProcess, driver: str) -> None:
    server.run("CREATE TABLE ranged.moments (id int NOT NULL PRIMARY KEY)")
    server.run("INSERT INTO ranged.moments VALUES (1), (2)")
    try:
        with open_home(server, "ranged.moments", driver, consistency="snapshot", batch_rows=1) as home:
            assert home.high_water("id").value == "2"
            server.run("DELETE FROM ranged.moments WHERE id = 2", "INSERT INTO ranged.moments VALUES (3)")
            assert [row["id"] for row in read_all(home)] == [1, 2]
        with open_home(server, "ranged.moments", driver) as home:
            assert [row["id"] for row in read_all(home)] == [1, 3]
    finally:
        server.run("DROP TABLE ranged.moments")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_database_without_snapshots_says_what_to_do(server: ServerProcess, driver: str) -> None:
    server.run(f"ALTER DATABASE {DATABASE} SET ALLOW_SNAPSHOT_ISOLATION OFF")
    try:
        with (
            open_home(server, "ranged.numbers", driver, consistency="snapshot") as home,
            pytest.raises(HomeError, match="snapshot isolation is not allowed") as caught,
        ):
            read_all(home)
    finally:
        server.run(f"ALTER DATABASE {DATABASE} SET ALLOW_SNAPSHOT_ISOLATION ON")
    assert not caught.value.transient
    assert "ALLOW_SNAPSHOT_ISOLATION ON" in caught.value.hint


def test_a_held_back_reader_gives_a_second_s_rows_at_once(server: ServerProcess) -> None:
    with open_home(server, "ranged.numbers", max_rows_per_second=100_000_000) as home:
        assert len(read_all(home)) == ROWS
    with (
        open_home(server, "ranged.numbers", max_rows_per_second=30) as home,
        closing(home.read(ReadWindow())) as batches,
    ):
        assert next(batches).rows.num_rows == 30
