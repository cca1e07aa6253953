"""What goes wrong between the SQL Server home and its server: one clear error each, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from devcloud.sqlserver import SqlServer
from hygge_engine.errors import (
    HomeError,
    HomeLoginFailed,
    HomeNotFound,
    HomePermissionDenied,
    HomeUnavailable,
)
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql import home as mssql_home
from hygge_engine.homes.mssql import throttle
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.opening import close_idle
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from tests.integration.mssql_server import DATABASE, READER, READER_PASSWORD, ServerProcess, connect, stand_in_only

pytestmark = pytest.mark.any_server

ROWS = 5000


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    tenth = ROWS // 10
    mssql_server.run(
        "CREATE TABLE dbo.numbers (id int NOT NULL PRIMARY KEY, name nvarchar(50))",
        "INSERT INTO dbo.numbers VALUES " + ", ".join(f"({number}, N'n')" for number in range(tenth)),
        *(
            f"INSERT INTO dbo.numbers SELECT id + {tenth * n}, name FROM dbo.numbers WHERE id < {tenth}"
            for n in range(1, 10)
        ),
    )
    return mssql_server


@pytest.fixture(params=["mssql-python", "pyodbc"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_numbers(to: ServerProcess, driver: str, home: dict[str, Any] | None = None, **keys: Any) -> MssqlHome:
    settings = MssqlHomeSettings.model_validate(
        {"type": "mssql", "connection": "shop", "table": "dbo.numbers", "batch_rows": 500, **(home or {})}
    )
    return MssqlHome(connect(to.address, driver, **keys), settings)


def count_rows(home: MssqlHome) -> int:
    return sum(batch.rows.num_rows for batch in home.read(ReadWindow()))


def test_a_wrong_password_is_a_failed_login_that_does_not_repeat_it(server: ServerProcess, driver: str) -> None:
    with open_numbers(server, driver, password="hunter2") as home, pytest.raises(HomeLoginFailed) as caught:
        home.describe()
    error: BaseException | None = caught.value
    assert "18456" in str(error)
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


def test_an_unknown_database_is_an_error_that_points_at_it(server: ServerProcess, driver: str) -> None:
    with (
        open_numbers(server, driver, database="shoop") as home,
        pytest.raises(HomeUnavailable, match=r'Cannot open database "shoop".*4060'),
    ):
        home.describe()


def test_a_table_that_the_login_may_not_read_is_a_missing_permission(server: ServerProcess, driver: str) -> None:
    server.run(
        "DROP USER IF EXISTS reader", f"CREATE USER reader FOR LOGIN {READER}", "DENY SELECT ON dbo.numbers TO reader"
    )
    with (
        open_numbers(server, driver, username=READER, password=READER_PASSWORD) as home,
        pytest.raises(HomePermissionDenied, match=r"numbers.*229.*Grant SELECT"),
    ):
        count_rows(home)


@pytest.mark.parametrize("after_rows", [0, 2000])
@pytest.mark.parametrize(
    ("fault", "keys", "text"),
    [
        ("deadlock", {}, "1205"),
        ("drop_connection", {}, r"Reading dbo\.numbers.*connection was reset"),
        ("throttle", {"number": 40501}, "40501"),
        ("throttle", {"number": 40613}, "40613"),
        ("throttle", {"number": 10928}, "10928"),
        ("throttle", {"number": 49918}, "49918"),
    ],
)
def test_what_passes_by_itself_is_transient_and_the_next_attempt_reads_everything(
    server: ServerProcess, driver: str, fault: str, keys: dict[str, int], text: str, after_rows: int
) -> None:
    with open_numbers(server, driver) as home:
        home.describe()
        server.fault(fault, table="dbo.numbers", after_rows=after_rows, **keys)
        with pytest.raises(HomeUnavailable, match=text):
            count_rows(home)
    with open_numbers(server, driver) as home:
        assert count_rows(home) == ROWS


@pytest.mark.parametrize(
    ("number", "after_rows", "home"),
    [(40501, 0, {}), (40501, 2000, {}), (10928, 2000, {"readers": 3}), (49918, 700, {"max_rows_per_second": 10**6})],
)
def test_a_source_that_is_short_is_read_on_more_slowly_where_the_settings_say_so(
    server: ServerProcess,
    driver: str,
    number: int,
    after_rows: int,
    home: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(throttle, "pause", paused.append)
    monkeypatch.setattr(mssql_home, "ROWS_WORTH_A_READER", 1000)
    with open_numbers(server, driver, {"throttle": "auto", **home}) as opened:
        opened.describe()
        server.fault("throttle", table="dbo.numbers", after_rows=after_rows, number=number, times=2)
        rows = [row["id"] for batch in opened.read(ReadWindow()) for row in batch.rows.to_pylist()]
        assert sorted(rows) == list(range(ROWS))
        assert list(opened.remarks()) == [f"slowed down: the source is short of resources (SQL Server error {number})"]
    assert paused


def test_a_password_that_is_rotated_in_mid_load_is_a_failed_login_from_then_on(
    server: ServerProcess, driver: str
) -> None:
    server.fault("drop_connection", table="dbo.numbers", after_rows=2000)
    with open_numbers(server, driver) as home, pytest.raises(HomeUnavailable):
        count_rows(home)
    with open_numbers(server, driver, password="the one before") as home, pytest.raises(HomeLoginFailed) as caught:
        count_rows(home)
    assert not caught.value.transient
    assert "the one before" not in str(caught.value)
    with open_numbers(server, driver) as home:
        assert count_rows(home) == ROWS


def test_throttling_says_when_to_come_back(server: ServerProcess, driver: str) -> None:
    server.fault("throttle", table="dbo.numbers", number=40501)
    with open_numbers(server, driver) as home, pytest.raises(HomeUnavailable) as caught:
        count_rows(home)
    assert caught.value.retry_after_seconds == 10


def test_a_database_that_fails_over_during_login_is_unavailable(server: ServerProcess) -> None:
    server.fault("login_failure", login="sa", number=40613)
    # pyodbc opens a connection of its own; mssql-python might take one from its pool.
    with open_numbers(server, "pyodbc") as home, pytest.raises(HomeUnavailable, match="40613"):
        home.describe()


def test_a_server_that_does_not_answer_in_time_is_unavailable(server: ServerProcess, driver: str) -> None:
    with open_numbers(server, driver, query_timeout_seconds=1) as home:
        home.describe()
        server.fault("delay", table="dbo.numbers", seconds=3, times=2)
        assert home.divide(ReadWindow(), 4) == []  # an offer, which is not made then
        with pytest.raises(HomeUnavailable, match=r"(?i)timeout.*query_timeout_seconds"):
            count_rows(home)


def test_a_table_that_is_gone_since_it_was_described_is_not_found(server: ServerProcess, driver: str) -> None:
    server.run("DROP TABLE IF EXISTS dbo.brief", "CREATE TABLE dbo.brief (id int NOT NULL PRIMARY KEY)")
    settings = MssqlHomeSettings(connection="shop", table="dbo.brief")
    with MssqlHome(connect(server.address, driver), settings) as home:
        home.describe()
        server.run("DROP TABLE dbo.brief")
        with pytest.raises(HomeNotFound, match=r"dbo\.brief"):
            count_rows(home)


@stand_in_only("its certificate may be one that is trusted")
def test_a_certificate_that_nobody_vouches_for_is_refused(server: ServerProcess, driver: str) -> None:
    with open_numbers(server, driver, encrypt=True) as home, pytest.raises(HomeError, match="trust_server_certificate"):
        home.describe()
    with open_numbers(server, driver, encrypt=True, trust_server_certificate=True) as home:
        assert count_rows(home) == ROWS


@stand_in_only("stops the server, and starts it again")
def test_a_restarted_server_is_reached_again() -> None:
    """A pooled connection to a server that is gone must not be handed out as alive."""
    settings = MssqlHomeSettings(connection="shop", query="SELECT 1 AS a")
    with SqlServer(databases=[DATABASE]) as first:
        address, port = first.address, first.port
        with MssqlHome(connect(address), settings) as home:
            assert count_rows(home) == 1
    with SqlServer(databases=[DATABASE], port=port), MssqlHome(connect(address), settings) as home:
        assert count_rows(home) == 1


def test_sessions_show_under_the_applications_name(server: ServerProcess, driver: str) -> None:
    settings = MssqlHomeSettings(connection="shop", query="SELECT APP_NAME() AS name")
    with MssqlHome(connect(server.address, driver), settings) as home:
        assert next(home.read(ReadWindow())).rows.to_pylist() == [{"name": "hygge-engine"}]


def connections_to(server: ServerProcess) -> int:
    """The connections of this process to a server's port."""
    own = {os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
    port = int(server.address.split(",")[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[2].split(":")[1], 16) == port and row[3] == "01" and f"socket:[{row[9]}]" in own for row in rows)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="counts by /proc")
def test_what_the_driver_keeps_for_later_is_closed_and_what_is_in_use_stays(server: ServerProcess) -> None:
    settings = MssqlHomeSettings(connection="shop", query="SELECT 1 AS a")
    close_idle(settings)
    before = connections_to(server)
    with MssqlHome(connect(server.address), settings) as in_use:
        assert count_rows(in_use) == 1
        with MssqlHome(connect(server.address), settings) as other:
            assert count_rows(other) == 1
        assert connections_to(server) == before + 2  # the driver keeps the other's
        close_idle(settings)
        assert connections_to(server) == before + 1
        assert count_rows(in_use) == 1
    close_idle(settings)
    assert connections_to(server) == before
