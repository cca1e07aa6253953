"""Readable secondaries, and the ways to write a server's address."""

from __future__ import annotations

import pytest

from hygge_engine.errors import CursorUnusable, HomeUnavailable
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql import home as home_module
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.project.models.settings import CHANGE_TRACKING
from tests.integration.mssql_server import DRIVERS, ServerProcess, connect, open_home, read_all

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    mssql_server.run(
        "CREATE TABLE dbo.lagging (id int NOT NULL PRIMARY KEY, n int NOT NULL, v rowversion)",
        "INSERT INTO dbo.lagging (id, n) VALUES (1, 1), (2, 2), (3, 3)",
    )
    return mssql_server


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_secondary(server: ServerProcess, driver: str = "mssql-python") -> MssqlHome:
    settings = MssqlHomeSettings.model_validate({"type": "mssql", "connection": "shop", "table": "dbo.lagging"})
    return MssqlHome(connect(server.address, driver, application_intent="read_only"), settings)


def test_a_window_is_read_where_its_bound_was_taken_and_elsewhere_only_once_that_is_there(
    server: ServerProcess, driver: str
) -> None:
    with open_secondary(server, driver) as home:
        bound = home.high_water("n").value
        # Deleted or not there yet: the connection that has shown the bound continues.
        server.run("DELETE FROM dbo.lagging WHERE n = 3")
        assert len(read_all(home, ReadWindow("n", None, bound))) == 2
    with open_secondary(server, driver) as other:
        with pytest.raises(HomeUnavailable, match="no row of n as new as 3"):
            read_all(other, ReadWindow("n", None, bound))
        server.run("INSERT INTO dbo.lagging (id, n) VALUES (3, 3)")
        assert len(read_all(other, ReadWindow("n", None, bound))) == 3
    with open_home(server, "dbo.lagging", driver) as primary:
        assert len(read_all(primary, ReadWindow("n", None, "7"))) == 3


@pytest.mark.parametrize(("says", "lags"), [("READ_WRITE", False), ("READ_ONLY", True), (None, True)])
def test_a_database_that_takes_writes_is_no_copy_that_lags(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, says: str | None, lags: bool
) -> None:
    monkeypatch.setattr(home_module, "_UPDATEABILITY", f"SELECT {f'N{says!r}' if says else 'NULL'}")
    with open_secondary(server) as home:
        assert home.high_water("n").may_lag == lags


def test_what_only_a_primary_knows_is_refused_on_a_copy(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_home(server, "dbo.lagging") as home:
        assert home.high_water("v").value
    monkeypatch.setattr(home_module, "_UPDATEABILITY", "SELECT N'READ_ONLY'")
    with open_secondary(server) as home:
        home.describe()
        with pytest.raises(CursorUnusable, match="does not know the transactions"):
            home.high_water("v")
        server.fault("error", number=22117)
        with pytest.raises(CursorUnusable, match="works on its primary alone") as caught:
            home.high_water(CHANGE_TRACKING)
        assert "application_intent" in caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1\\ANY", "localhost\\ANY", "tcp:127.0.0.1", ".", "(local)"])
def test_a_port_counts_whatever_stands_before_it(server: ServerProcess, driver: str, host: str) -> None:
    port = server.address.partition(",")[2]
    settings = MssqlHomeSettings.model_validate({"type": "mssql", "connection": "shop", "table": "dbo.lagging"})
    with MssqlHome(connect(f"{host},{port}", driver), settings) as home:
        assert home.describe().key == ("id",)
