"""Synonyms: read by their own name, described as what they stand for."""

from __future__ import annotations

import pytest

from hygge_engine.errors import CursorUnusable, HomeNotFound
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql import catalogue
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.project.models.settings import CHANGE_TRACKING
from tests.integration.mssql_server import DRIVERS, READER, READER_PASSWORD, ServerProcess, connect, own_name, read_all

pytestmark = pytest.mark.any_server

DATABASE, ELSEWHERE = own_name("synonyms"), own_name("elsewhere")

TYPES = (
    "datetime",
    "smalldatetime",
    "datetime2(7)",
    "datetimeoffset(3)",
    "date",
    "decimal(20, 0)",
    "varchar(8) COLLATE Polish_CI_AS",
    "rowversion",
)


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    moved = ", ".join(f"c{number} {kind} NOT NULL" for number, kind in enumerate(TYPES))
    mssql_server.run(f"CREATE DATABASE {DATABASE}", f"CREATE DATABASE {ELSEWHERE}")
    mssql_server.run("CREATE SCHEMA hidden", f"CREATE USER reader FOR LOGIN {READER}", database=DATABASE)
    values = "'2013-01-01T00:00:00.007', '2013-01-01T00:01', '2013-01-01T00:00:00.1234567', '2013-01-01', '2013-01-01'"
    for database, table in ((DATABASE, "hidden.[base.t]"), (ELSEWHERE, "dbo.base")):
        mssql_server.run(
            f"CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, {moved})",
            *(
                f"INSERT INTO {table} (id, c0, c1, c2, c3, c4, c5, c6) VALUES ({n}, {values}, {n}, N'ł{n}')"
                for n in (1, 2, 3)
            ),
            database=database,
        )
    mssql_server.run(
        "CREATE SYNONYM dbo.near FOR hidden.[base.t]",
        f"CREATE SYNONYM dbo.same FOR {DATABASE}.hidden.[base.t]",
        f"CREATE SYNONYM dbo.far FOR {ELSEWHERE}.dbo.base",
        "CREATE SYNONYM dbo.linked FOR [other server].shop.dbo.base",
        "CREATE SYNONYM dbo.dangling FOR dbo.nothing",
        database=DATABASE,
    )
    return mssql_server


def open_home(server: ServerProcess, table: str, driver: str = "mssql-python", **login: str) -> MssqlHome:
    settings = MssqlHomeSettings.model_validate({"type": "mssql", "connection": "shop", "table": table})
    return MssqlHome(connect(server.address, driver, database=DATABASE, **login), settings)


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("synonym", ["near", "same", "far"])
def test_a_synonym_is_described_as_its_table_and_loses_no_row(server: ServerProcess, synonym: str, driver: str) -> None:
    with open_home(server, "hidden.[base.t]", driver) as base, open_home(server, synonym, driver) as home:
        there, here = base.describe(), home.describe()
        assert (here.columns, here.key, here.name) == (there.columns, ("id",), f"dbo.{synonym}")
        assert read_all(home) != []
        for number in range(len(TYPES) - 1):
            high = home.high_water(f"c{number}")
            assert high.ties >= 1
            assert len(read_all(home, ReadWindow(f"c{number}", None, high.value))) == 3


def test_a_login_that_may_read_the_synonym_alone_reads_it(server: ServerProcess, driver: str) -> None:
    server.run("GRANT SELECT ON dbo.near TO reader", database=DATABASE)
    with open_home(server, "dbo.near", driver, username=READER, password=READER_PASSWORD) as home:
        assert len(read_all(home)) == 3


def test_a_server_that_shows_no_catalogue_still_tells_the_types(
    server: ServerProcess, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As to a login that may read a synonym and not see its base."""
    monkeypatch.setattr(catalogue, "_described_by_catalogue", lambda *arguments: None)
    with open_home(server, "hidden.[base.t]", driver) as base, open_home(server, "near", driver) as home:
        assert home.describe().columns == base.describe().columns


def test_a_synonym_of_a_tracked_table_follows_its_changes(server: ServerProcess) -> None:
    server.run(
        f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = ON",
        "CREATE TABLE hidden.tracked (id int NOT NULL PRIMARY KEY)",
        "ALTER TABLE hidden.tracked ENABLE CHANGE_TRACKING",
        "CREATE SYNONYM dbo.followed FOR hidden.tracked",
        database=DATABASE,
    )
    with open_home(server, "followed") as home:
        before = home.high_water(CHANGE_TRACKING)
        server.run("INSERT INTO hidden.tracked VALUES (7)", database=DATABASE)
        after = home.high_water(CHANGE_TRACKING)
        assert read_all(home, ReadWindow(CHANGE_TRACKING, before.value, after.value)) == [{"id": 7}]
    with open_home(server, "far") as home, pytest.raises(CursorUnusable, match="another database"):
        home.high_water(CHANGE_TRACKING)


@pytest.mark.parametrize(("synonym", "number"), [("linked", 7202), ("dangling", 5313)])
def test_a_synonym_that_leads_nowhere_says_so(server: ServerProcess, synonym: str, number: int, driver: str) -> None:
    with open_home(server, synonym, driver) as home, pytest.raises(HomeNotFound, match=f"error {number}"):
        home.describe()


def test_a_missing_name_is_answered_with_the_nearest_synonym(server: ServerProcess) -> None:
    with open_home(server, "dbo.neer") as home, pytest.raises(HomeNotFound) as caught:
        home.describe()
    assert "dbo.near" in caught.value.hint
