"""Deliberate faults strike when and as often as they were asked to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import mssql_python
import pytest

from devcloud.sqlserver import Fault, SqlServer
from tests.integration.sqlserver_clients import connection_string, mssql

ROWS = 20_000


@pytest.fixture(scope="module")
def running() -> Iterator[SqlServer]:
    with SqlServer(databases=("db",)) as server:
        server.execute("CREATE TABLE dbo.t (id int PRIMARY KEY, filler char(100) NOT NULL)", "db")
        server.execute(f"INSERT INTO dbo.t SELECT value, 'x' FROM GENERATE_SERIES(1, {ROWS})", "db")
        server.execute("CREATE TABLE dbo.other (id int PRIMARY KEY)", "db")
        yield server


@pytest.fixture
def server(running: SqlServer) -> Iterator[SqlServer]:
    yield running
    running.faults.clear()


def _read(server: SqlServer, text: str = "SELECT * FROM dbo.t") -> int:
    with mssql(server.address, "db") as connection:
        cursor = connection.cursor()
        cursor.execute(text)
        reader = cursor.arrow_reader(batch_size=1_000)
        return sum(batch.num_rows for batch in reader)


def test_the_connection_drops_after_some_rows(server: SqlServer) -> None:
    server.fault("drop_connection", table="dbo.t", after_rows=12_345)
    # mssql-python now and then ends its reader without an error when the connection is reset; it never has all rows.
    with suppress(mssql_python.Error):
        assert _read(server) <= 12_345
    assert [fault.kind for fault in server.faults.happened][-1] == "drop_connection"
    assert _read(server) == ROWS


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        ("deadlock", 1205, "deadlock victim"),
        ("throttle", 40501, "service is currently busy"),
        ("throttle", 40613, "not currently available"),
        ("throttle", 10928, "Resource ID"),
        ("throttle", 49918, "Not enough resources"),
    ],
)
@pytest.mark.parametrize("after_rows", [0, 5_000])
def test_an_error_of_the_real_service_strikes(
    kind: str, number: int, text: str, after_rows: int, server: SqlServer
) -> None:
    server.fault(kind, table="t", number=number, after_rows=after_rows)
    assert _read(server, "SELECT * FROM dbo.other") == 0
    with pytest.raises(mssql_python.Error, match=text):
        _read(server)
    assert _read(server) == ROWS


def test_a_login_fails_as_often_as_asked(server: SqlServer) -> None:
    server.fault("login_failure", times=2)
    # A string of its own, for a pooled connection would not log in again.
    string = connection_string(server.address, "db") + ";PacketSize=8192"
    for _ in range(2):
        with pytest.raises(mssql_python.Error, match="Login failed"):
            mssql_python.connect(string)
    mssql_python.connect(string).close()
    assert _read(server) == ROWS


def test_rows_may_come_slowly_and_statements_late(server: SqlServer) -> None:
    server.fault("slow_rows", table="dbo.t", seconds=0.01)
    began = time.monotonic()
    assert _read(server) == ROWS
    assert time.monotonic() - began >= 0.01 * ROWS / 1000
    server.fault("delay", table="dbo.t", seconds=0.2)
    began = time.monotonic()
    assert _read(server) == ROWS
    assert time.monotonic() - began >= 0.2


def test_a_deadlock_rolls_the_writer_back(server: SqlServer) -> None:
    server.fault("deadlock", table="dbo.other")
    with mssql(server.address, "db", autocommit=False) as connection:
        cursor = connection.cursor()
        with pytest.raises(mssql_python.Error, match="deadlock victim"):
            cursor.execute("INSERT INTO dbo.other VALUES (1)")
    assert _read(server, "SELECT * FROM dbo.other") == 0


def test_a_client_can_ask_for_faults_in_t_sql(server: SqlServer) -> None:
    with mssql(server.address, "db") as connection:
        cursor = connection.cursor()
        cursor.execute("EXEC devcloud.fault @kind = 'error', @number = 50001, @message = 'as asked', @table = 'dbo.t'")
        with pytest.raises(mssql_python.Error, match="as asked"):
            cursor.execute("SELECT * FROM dbo.t")
        cursor.execute("EXEC devcloud.fault @kind = 'deadlock'; EXEC devcloud.clear_faults")
        assert cursor.execute("SELECT COUNT(*) FROM dbo.t").fetchone()[0] == ROWS


def test_a_fault_that_does_not_exist_is_refused(server: SqlServer) -> None:
    with pytest.raises(ValueError, match="not a fault"):
        Fault("earthquake")
    with mssql(server.address, "db") as connection, pytest.raises(mssql_python.Error, match="not a fault"):
        connection.cursor().execute("EXEC devcloud.fault @kind = 'earthquake'")
