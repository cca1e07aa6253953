"""A SQL Server database as a store, over Microsoft's driver: crashes, lost responses, types, and errors that say what
to do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest

from hygge_engine.errors import NotOurs, StoreError, StoreUnavailable
from hygge_engine.flow import run as flow_run
from hygge_engine.homes.mssql.errors import Diagnosis
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.database.base import StoredState
from hygge_engine.stores.database.lease import StateRow
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.landing.state import LandingState, Mode, OpenLoad
from hygge_engine.stores.mssql import database as mssql_database
from hygge_engine.stores.mssql.database import MssqlDatabase
from hygge_engine.stores.mssql.errors import translate
from tests.integration.mssql_server import ADMINISTRATOR, DATABASE, READER, READER_PASSWORD, ServerProcess
from tests.integration.warehouse import AskedToStop, MssqlWarehouse
from tests.support.crowd import AT_ONCE, Crowd
from tests.support.process_death import Died

pytestmark = pytest.mark.any_server

# Rows come two at a time, so that a slice of no length is one batch.
SHORT = 1e-9


class MortalSession:
    """A session of a process that dies before one of its statements, or loses the response to one."""

    def __init__(self, session: Session, fate: Fate) -> None:
        self._session = session
        self._fate = fate

    def fetch_all(self, sql: str, parameters: Sequence[Any] = (), *, doing: str) -> list[tuple[Any, ...]]:
        self._fate.check_alive()
        return self._session.fetch_all(sql, parameters, doing=doing)

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, doing: str) -> None:
        self._fate.meet(sql, lambda: self._session.execute(sql, parameters, doing=doing))

    def insert(self, table: str, rows: pa.RecordBatch, *, doing: str) -> None:
        self._fate.meet("INSERT", lambda: self._session.insert(table, rows, doing=doing))

    def close(self) -> None:
        if self._fate.is_dead:  # the server finds the connection gone
            self._session.execute("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION", doing="dying")
        self._session.close()


class Fate:
    """When a process dies, and which response it never gets: before its ``dies_before``-th statement that changes
    anything, and that to its ``loses_answer_to_commit``-th COMMIT; both counted from 1."""

    def __init__(self) -> None:
        self.statements = 0
        self.dies_before = 0
        self.commits = 0
        self.loses_answer_to_commit = 0
        self.is_dead = False

    def meet(self, sql: str, action: Callable[[], None]) -> None:
        self.check_alive()
        self.statements += 1
        if self.statements == self.dies_before:
            self.is_dead = True
            raise Died
        action()
        if sql.startswith("COMMIT"):
            self.commits += 1
            if self.commits == self.loses_answer_to_commit:
                raise StoreUnavailable("the connection was lost")

    def check_alive(self) -> None:
        if self.is_dead:
            raise Died

    def revive(self, dies_before: int = 0) -> None:
        self.statements, self.dies_before, self.is_dead = 0, dies_before, False


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    return mssql_server


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ServerProcess) -> MssqlWarehouse:
    return MssqlWarehouse(tmp_path, monkeypatch, server)


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> Fate:
    fate = Fate()
    monkeypatch.setattr(
        mssql_database, "open_session", lambda *args, **keywords: MortalSession(open_session(*args, **keywords), fate)
    )
    return fate


class Calendar:
    """The server's clock, which can be put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = MssqlDatabase.now
        self.ahead = timedelta()
        monkeypatch.setattr(MssqlDatabase, "now", lambda database: now(database) + self.ahead)


# Odd steps, so that every other point is another load's. Every statement of what both databases have in common is tried
# in test_sqlite_store_crashes.py.
@pytest.mark.parametrize(
    ("run_type", "slice_minutes", "step"),
    [("incremental", 4.0, 3), ("full_drop", 4.0, 5), ("full_drop", SHORT, 13)],
)
def test_a_load_that_dies_before_any_statement_is_carried_on(
    shop: MssqlWarehouse,
    fate: Fate,
    monkeypatch: pytest.MonkeyPatch,
    run_type: RunType,
    slice_minutes: float,
    step: int,
) -> None:
    calendar = Calendar(monkeypatch)
    shop.source.put(1, 2, 3, 4, 5)
    shop.run("first", run_type)
    point = 1
    while True:
        before = shop.source.rows
        shop.source.put(2, 3, 4)
        fate.revive(dies_before=point)
        try:
            shop.run(f"load-{point}", run_type, slice_minutes=slice_minutes)
            break  # there are no more statements
        except Died:
            fate.revive()
        if run_type == "full_drop":
            assert shop.rows() in (before, shop.source.rows)  # never anything between
        load_id = f"load-{point}"
        if point % 2:
            calendar.ahead += timedelta(minutes=3)  # another load takes over
            shop.source.put(5)
            load_id = f"next-{point}"
        result = shop.run(load_id, run_type, slice_minutes=slice_minutes)
        assert result.status == "done", result
        assert shop.rows() == shop.source.rows
        assert shop.tables() == ["__hygge_landing", "things"]
        point += step
    assert point > 10


def test_a_comparison_that_dies_before_any_statement_deletes_lost_rows_and_no_others(
    shop: MssqlWarehouse, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar = Calendar(monkeypatch)
    shop.more = "deletes: { compare: true, every: 0 }\n"
    shop.source.put(*range(1, 9))
    shop.run("first", "incremental")
    point, last = 2, 8
    while True:
        before = shop.source.rows
        gone, last = last - 3, last + 1
        shop.source.put(2, last)
        shop.source.remove(gone)
        fate.revive(dies_before=point)
        try:
            shop.run(f"load-{point}", "incremental")
            break  # there are no more statements
        except Died:
            fate.revive()
        ids = {row[0] for row in shop.rows()}
        assert ids >= {row[0] for row in before} - {gone}
        load_id = f"load-{point}"
        if point % 2:
            calendar.ahead += timedelta(minutes=3)  # another load takes over
            load_id = f"next-{point}"
        assert shop.run(load_id, "incremental").status == "done"
        assert shop.rows() == shop.source.rows
        point += 13
    assert point > 30


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_a_commit_whose_answer_is_lost_counts_once(
    shop: MssqlWarehouse, fate: Fate, monkeypatch: pytest.MonkeyPatch, run_type: RunType
) -> None:
    monkeypatch.setattr("hygge_engine.retry.FIRST_PAUSE_SECONDS", 0.001)
    source = shop.home.describe()
    monkeypatch.setattr(shop.home, "describe", lambda: replace(source, key=()))  # what lands twice is there twice
    lost = 0
    while True:
        lost += 1
        shop.source.put(2, lost)
        fate.commits, fate.loses_answer_to_commit = 0, lost
        assert shop.run(f"load-{lost}", run_type).status == "done"
        assert shop.rows() == (shop.source.rows if run_type == "full_drop" else sorted(shop.source.history))
        if fate.commits < lost:
            break  # there were no more
    assert lost > 2


def test_two_loads_of_a_table_take_turns(shop: MssqlWarehouse) -> None:
    shop.source.put(*range(10))
    shop.slice("before", "incremental")  # so that neither reads the project while the other writes it
    shop.source.put(*range(10, 20))
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda load_id: shop.run(load_id, "incremental"), ["one", "two"]))
    assert "done" in {result.status for result in results}
    assert {result.status for result in results} <= {"done", "skipped"}
    assert shop.rows() == shop.source.rows


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("loads", AT_ONCE)
def test_loads_of_a_table_at_once_end_well_in_any_order(
    shop: MssqlWarehouse, monkeypatch: pytest.MonkeyPatch, loads: str, seed: int
) -> None:
    shop.source.put(1, 2, 3)
    shop.source.put(4, 5)
    if loads == "everything":
        shop.slice("before", "incremental")
    project = shop.project("incremental")
    (entity,) = project.entities
    crowd = Crowd(seed, lambda task: flow_run.run_slice(project, entity, task, AskedToStop()), lambda: None)
    crowd.take_turns(monkeypatch)
    crowd.together(AT_ONCE[loads])
    assert shop.run("after", "full_drop").status == "done"
    assert shop.rows() == shop.source.rows


def test_first_loads_of_two_tables_at_once_make_one_table_of_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ServerProcess
) -> None:
    """The second one finds no table of states, because the first has not committed its own, and cannot make it."""
    monkeypatch.setattr("hygge_engine.retry.FIRST_PAUSE_SECONDS", 0.001)
    shop = MssqlWarehouse(tmp_path, monkeypatch, server)
    connection = connect(server, database=shop.database)
    first, second = MssqlDatabase(connection, "dbo"), MssqlDatabase(connection, "dbo")
    refusals: list[StoreError] = []

    def noted(diagnosis: Diagnosis, doing: str, **more: Any) -> StoreError:
        refusals.append(translate(diagnosis, doing, **more))
        return refusals[-1]

    monkeypatch.setattr("hygge_engine.stores.mssql.database.translate", noted)
    state = LandingState()
    with ThreadPoolExecutor() as pool:
        with first.transaction() as transaction:
            stored = StoredState(state.to_json("a" * 32).decode(), "a" * 32)
            assert transaction.replace_state("flow.one", stored, None) == "a" * 32
            late = pool.submit(StateRow(second, "flow.two").write, state)
            wait([late], timeout=0.2)  # it waits for the first, or is refused: both are right
        late.result(timeout=60)
    assert first.state_names() == ["flow.one", "flow.two"]
    assert all(refusal.transient for refusal in refusals), refusals


def test_an_attempt_that_was_taken_over_touches_nothing(shop: MssqlWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.source.put(1, 2, 3)
    shop.run("first", "full_drop")
    shop.source.put(4, 5)
    replace_state = mssql_database.MssqlTransaction.replace_state

    def overtaken(transaction: mssql_database.MssqlTransaction, name: str, *state: Any) -> str | None:
        """Once its rows are staged, the same load is delivered again and comes to its end."""
        if any("stage" in table for table in shop.tables()):
            monkeypatch.setattr(mssql_database.MssqlTransaction, "replace_state", replace_state)
            assert shop.run("second", "full_drop").status == "done"
        return replace_state(transaction, name, *state)

    monkeypatch.setattr(mssql_database.MssqlTransaction, "replace_state", overtaken)
    result = shop.slice("second", "full_drop", 2)
    assert result.status == "continue", result
    assert "another attempt has taken over" in result.message
    assert shop.rows() == shop.source.rows
    assert shop.tables() == ["__hygge_landing", "things"]


def test_a_cancelled_reload_leaves_the_old_rows(shop: MssqlWarehouse) -> None:
    shop.source.put(1, 2, 3)
    shop.run("first", "full_drop")
    before = shop.source.rows
    shop.source.put(4, 5, 6)
    assert shop.slice("second", "full_drop", watch=AskedToStop(cancel_after=1)).status == "cancelled"
    assert shop.rows() == before
    assert shop.tables() == ["__hygge_landing", "things"]


@pytest.mark.parametrize("driver", ["mssql-python", "pyodbc"])
def test_a_passing_fault_of_the_server_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ServerProcess, driver: str
) -> None:
    monkeypatch.setattr("hygge_engine.retry.FIRST_PAUSE_SECONDS", 0.001)
    shop = MssqlWarehouse(tmp_path, monkeypatch, server, driver)
    shop.source.put(1, 2, 3)
    assert shop.run("first", "incremental").status == "done"
    shop.source.put(2, 4)
    server.fault("deadlock", table="dbo.things")
    server.fault("throttle", number=49920, table="dbo.__hygge_landing")
    assert shop.run("second", "incremental").status == "done"
    server.clear_faults()
    assert shop.rows() == shop.source.rows


# Types and tables, below the flow.


def connect(server: ServerProcess, driver: str = "mssql-python", **login: str) -> MssqlConnection:
    return MssqlConnection.model_validate(
        {"server": server.address, "database": DATABASE, "driver": driver} | ADMINISTRATOR | login
    )


def make_table(connection: MssqlConnection) -> DatabaseTable:
    name = f"t{uuid.uuid4().hex[:12]}"
    return DatabaseTable(MssqlDatabase(connection, "dbo"), f"flow.{name}", name, key_columns=())


def land(
    table: DatabaseTable,
    rows: pa.RecordBatch,
    *,
    key: tuple[str, ...] = (),
    mode: Mode = "changes",
    told_apart: Mapping[str, str] = MappingProxyType({}),
    columns: pa.Schema | None = None,
) -> None:
    """One load in one slice; ``columns`` are those that it was begun with, the rows' own otherwise."""
    load_id = uuid.uuid4().hex
    lease = table.attach(load_id, 1)
    opened = OpenLoad(load_id, mode, "landing", datetime.now(UTC).isoformat(), told_apart=dict(told_apart))
    lease.begin(opened, key_columns=key, columns={field.name: str(field.type) for field in columns or rows.schema})
    writer = table.writer(lease, rows.schema, marked=False)
    writer.write(rows)
    table.publish(lease, writer.finish(), position=None, last=True, new_generation=mode == "reload")


NOON = datetime(2026, 11, 20, 12, 0, 0, 120, tzinfo=UTC)

# Arrow type, value, the declared type, and the value as text in style 121 where SQL Server converts it.
VALUES: list[tuple[pa.DataType, object, str, str]] = [
    (pa.bool_(), True, "bit", "1"),
    (pa.int8(), -128, "smallint", "-128"),
    (pa.int16(), -(2**15), "smallint", "-32768"),
    (pa.int32(), -(2**31), "int", "-2147483648"),
    (pa.int64(), 2**63 - 1, "bigint", "9223372036854775807"),
    (pa.uint8(), 255, "tinyint", "255"),
    (pa.uint16(), 65535, "int", "65535"),
    (pa.uint32(), 2**32 - 1, "bigint", "4294967295"),
    (pa.uint64(), 2**64 - 1, "decimal", "18446744073709551615"),
    (pa.float64(), 0.5, "float", "0.5"),
    (pa.float32(), -1.5, "real", "-1.5"),
    (pa.decimal128(38, 20), Decimal("0.00000000000000000001"), "decimal", "0.00000000000000000001"),
    (pa.decimal128(10, 2), Decimal("-12.30"), "decimal", "-12.30"),
    (pa.string(), "Æble 'og' pære 🫐", "nvarchar", "Æble 'og' pære 🫐"),
    (pa.string(), "", "nvarchar", ""),
    (pa.string(), "x" * 9000, "nvarchar", "x" * 9000),
    (pa.date32(), date(1, 1, 1), "date", "0001-01-01"),
    (pa.date32(), date(9999, 12, 31), "date", "9999-12-31"),
    (pa.time64("us"), time(23, 59, 59, 1), "time", "23:59:59.000001"),
    (pa.timestamp("us", tz="UTC"), NOON, "datetime2", "2026-11-20 12:00:00.000120"),
    (pa.timestamp("us", tz="Europe/Oslo"), NOON, "datetime2", "2026-11-20 12:00:00.000120"),
    (pa.timestamp("us"), datetime(1, 1, 1), "datetime2", "0001-01-01 00:00:00.000000"),
    (pa.timestamp("us"), datetime.max, "datetime2", "9999-12-31 23:59:59.999999"),
    (pa.timestamp("s"), datetime(2026, 1, 1), "datetime2", "2026-01-01 00:00:00"),
    (pa.timestamp("ns"), 1, "datetime2", "1970-01-01 00:00:00.0000000"),
    (pa.timestamp("ns"), 1_234_567_899, "datetime2", "1970-01-01 00:00:01.2345678"),
    (pa.time64("ns"), 1_234_567_899, "time", "00:00:01.2345678"),
    (pa.time32("s"), time(1, 2, 3), "time", "01:02:03"),
    (pa.duration("us"), timedelta(microseconds=7), "bigint", "7"),
]


@pytest.mark.parametrize("driver", ["mssql-python", "pyodbc"])
def test_values_are_kept_exactly_and_null_is_null(server: ServerProcess, driver: str) -> None:
    names = [f"c{number}" for number in range(len(VALUES))]
    columns = [pa.array([value, None], type_) for type_, value, _, _ in VALUES]
    binary = pa.array([b"\x00\xff", None], pa.binary())
    rows = pa.RecordBatch.from_arrays([pa.array([1, 2]), binary, *columns], ["id", "b", *names])
    table = make_table(connect(server, driver))
    land(table, rows, key=("id",))
    texts = ", ".join(f"CONVERT(nvarchar(max), {name}, 121)" for name in names)
    full, empty = server.run(f"SELECT b, {texts} FROM dbo.{table.table_name} ORDER BY id")[0]
    assert full[0] == b"\x00\xff"
    assert [str(value) for value in full[1:]] == [text for _, _, _, text in VALUES]
    assert set(empty) == {None}
    declared = server.run(
        "SELECT DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS "
        f"WHERE TABLE_NAME = '{table.table_name}' ORDER BY ORDINAL_POSITION"
    )[0]
    assert [name for (name,) in declared] == ["bigint", "varbinary", *(name for _, _, name, _ in VALUES)]


@pytest.mark.parametrize("driver", ["mssql-python", "pyodbc"])
def test_rows_that_travel_together_keep_each_its_own_digits_and_length(server: ServerProcess, driver: str) -> None:
    rest = [None] * 447
    columns: list[pa.Array[Any]] = [
        pa.array(range(450)),
        pa.array([Decimal("1E-20"), None, Decimal("123456789012345678.5"), *rest], pa.decimal128(38, 20)),
        pa.array(["", "x" * 4001, "é", *rest]),
        pa.array([b"", None, b"\x00" * 8001, *rest], pa.binary()),
        pa.array([0.1, -2.5e-308, 1.7976931348623157e308, *rest]),
    ]
    table = make_table(connect(server, driver))
    land(table, pa.RecordBatch.from_arrays(columns, ["id", "amount", "text", "blob", "size"]), key=("id",))
    rows = server.run(f"SELECT amount, text, blob, size FROM dbo.{table.table_name} ORDER BY id")[0]
    assert rows == list(zip(*(column.to_pylist() for column in columns[1:]), strict=True))


def numbers(*ids: int | None, **columns: list[Any]) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(ids, pa.int64()), **columns})


@pytest.mark.parametrize("mode", ["changes", "reload"])
def test_the_later_of_two_rows_with_a_key_counts(server: ServerProcess, mode: Mode) -> None:
    table = make_table(connect(server))
    land(table, numbers(1, 2, n=["a", "b"]), key=("id",))
    land(table, numbers(2, 3, 3, n=["c", "d", "e"]), key=("id",), mode=mode)
    kept = [(1, "a")] if mode == "changes" else []
    rows = server.run(f"SELECT * FROM dbo.{table.table_name} ORDER BY id")[0]
    assert rows == [*kept, (2, "c"), (3, "e")]


def test_columns_that_come_are_added_and_those_that_go_are_null_from_then_on(server: ServerProcess) -> None:
    table = make_table(connect(server))
    land(table, numbers(1, 2, old=["a", "b"]), key=("id",))
    land(table, numbers(2, 3, **{"ne]w": [b"x", b"y"]}), key=("id",))
    rows = server.run(f"SELECT * FROM dbo.{table.table_name} ORDER BY id")[0]
    assert rows == [(1, "a", None), (2, None, b"x"), (3, None, b"y")]
    # What the server takes for one name is one column.
    land(table, numbers(3, OLD=["b"]), key=("id",))
    assert server.run(f"SELECT * FROM dbo.{table.table_name} WHERE id = 3")[0] == [(3, "b", None)]
    # This one goes while its load is open.
    land(
        table, numbers(4, old=["c"]), key=("id",), columns=pa.schema([*numbers(4, old=["c"]).schema, ("n", pa.int32())])
    )
    assert server.run(f"SELECT * FROM dbo.{table.table_name} WHERE id = 4")[0] == [(4, "c", None, None)]


def test_a_key_of_text_may_be_as_long_as_an_index_takes(server: ServerProcess) -> None:
    table = make_table(connect(server))
    land(table, pa.record_batch({"id": ["k" * 450]}), key=("id",))
    with pytest.raises(StoreError, match="450 characters") as caught:
        land(table, pa.record_batch({"id": ["k" * 451]}), key=("id",))
    assert "450 characters" in caught.value.hint
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("folding", "spelling", "is_same"),
    [
        (None, "ABC", True),
        (None, "abc ", True),
        ("blanks", "ABC", False),
        ("blanks", "abc ", True),
        ("", "ABC", False),
        ("", "abc ", False),
        ("", "abc", True),
    ],
)
def test_a_row_takes_another_one_s_place_only_where_the_source_takes_their_keys_for_one(
    server: ServerProcess, folding: str | None, spelling: str, is_same: bool
) -> None:
    table = make_table(connect(server))
    told_apart = {} if folding is None else {"id": folding}
    land(table, pa.record_batch({"id": ["abc"], "v": [1]}), key=("id",))
    later = pa.record_batch({"id": [spelling], "v": [2]})
    if is_same:
        land(table, later, key=("id",), told_apart=told_apart)
    else:
        with pytest.raises(StoreError, match="Violation of PRIMARY KEY") as caught:
            land(table, later, key=("id",), told_apart=told_apart)
        assert "a collation that distinguishes them" in caught.value.hint
    rows = server.run(f"SELECT v FROM dbo.{table.table_name}")[0]
    assert rows == [(2 if is_same else 1,)]


@pytest.mark.parametrize("mode", ["changes", "reload"])
def test_of_two_keys_that_are_one_to_the_server_none_vanishes(server: ServerProcess, mode: Mode) -> None:
    table = make_table(connect(server))
    land(table, pa.record_batch({"id": ["x", "y"]}), key=("id",))
    land(table, pa.record_batch({"id": ["X"]}), key=("id",))
    with pytest.raises(StoreError, match="duplicate key value is …") as caught:
        land(table, pa.record_batch({"id": ["abc", "ABC", "z"]}), key=("id",), mode=mode)
    assert "without case" in caught.value.hint
    assert server.run(f"SELECT id FROM dbo.{table.table_name} ORDER BY id")[0] == [("X",), ("y",)]


def test_null_in_a_key_is_refused_and_lands_nothing(server: ServerProcess) -> None:
    table = make_table(connect(server))
    land(table, numbers(1), key=("id",))
    with pytest.raises(StoreError, match="NULL") as caught:
        land(table, numbers(2, None), key=("id",))
    assert not caught.value.transient
    assert server.run(f"SELECT id FROM dbo.{table.table_name}")[0] == [(1,)]


def test_a_login_without_rights_is_told_which_it_needs(server: ServerProcess) -> None:
    server.run("DROP USER IF EXISTS reader", f"CREATE USER reader FOR LOGIN {READER}")
    table = make_table(connect(server, username=READER, password=READER_PASSWORD))
    with pytest.raises(StoreError) as caught:
        land(table, numbers(1))
    assert not caught.value.transient
    assert "CREATE TABLE" in caught.value.hint
    assert READER_PASSWORD not in str(caught.value)


def test_a_table_of_somebody_else_is_left_alone(server: ServerProcess) -> None:
    table = make_table(connect(server))
    server.run(f"CREATE TABLE dbo.{table.table_name} (id int)")
    server.run(f"INSERT INTO dbo.{table.table_name} VALUES (1)")
    for reload in (False, True):
        with pytest.raises(NotOurs, match="a table of 1 row with the columns id"):
            table.check_place(table.attach("load", 1).state, numbers().schema, reload=reload)


def test_a_server_that_is_not_there_is_a_passing_fault(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mssql_database, "call_with_retries", lambda call: call())
    monkeypatch.setattr("hygge_engine.stores.database.lease.call_with_retries", lambda call: call())
    connection = connect(server).model_copy(update={"server": "127.0.0.1,1"})
    with pytest.raises(StoreUnavailable):
        make_table(connection).state()
