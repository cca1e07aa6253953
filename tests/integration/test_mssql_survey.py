"""The survey of many tables says of each what the table's own home says of it, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomeError, HomeUnavailable
from hygge_engine.homes.mssql import survey as surveys
from hygge_engine.homes.mssql.driver_session import DriverSession as Session
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.opening import rows_of_many
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.homes.mssql.survey import Asked, NotSurveyed, survey
from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration import survey as orchestration
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project, load_project
from hygge_engine.project.models.settings import CHANGE_TRACKING
from tests.integration.mssql_server import READER, READER_PASSWORD, ServerProcess, connect, own_name
from tests.support.recorder import Recorder

pytestmark = pytest.mark.any_server

DATABASE = own_name("surveyed")
TIME = "2024-01-01T00:00:00"

# A table, its columns, its rows, and whether the survey knows it once it was loaded up to its largest value.
TABLES = [
    ("times", "id int PRIMARY KEY, at datetime2 NOT NULL", f"(1, '{TIME}.1234567'), (2, '{TIME}.1234567')", True),
    ("ticks", "id int PRIMARY KEY, at datetime NOT NULL", f"(1, '{TIME}.003'), (2, '{TIME}')", True),
    ("zoned", "id int PRIMARY KEY, at datetimeoffset(3) NOT NULL", f"(1, '{TIME}.5+02:00')", True),
    ("days", "id int, name nvarchar(9), at date NOT NULL, PRIMARY KEY (name, id)", "(1, N'ä', '2024-01-01')", True),
    ("numbers", "id bigint PRIMARY KEY, at bigint NOT NULL, INDEX by_at (at)", "(1, 7), (2, -7)", True),
    ("heap", "id int, at int NOT NULL", "(1, 7), (2, 7)", True),
    ("[odd ] name", "id int PRIMARY KEY, [a]]t] int NOT NULL", "(1, 7)", True),
    ("nullable", "id int PRIMARY KEY, at int NULL", "(1, 7)", True),
    ("with_null", "id int PRIMARY KEY, at int NULL", "(1, 7), (2, NULL)", False),
    ("empty", "id int PRIMARY KEY, at int NOT NULL", "", False),
    ("ahead", "id int PRIMARY KEY, at datetime2(3) NOT NULL", f"(1, '{TIME}'), (2, '2999-01-01T00:00:00')", False),
    ("texts", "id int PRIMARY KEY, at nvarchar(9) NOT NULL", "(1, N'a')", False),
    ("large", "id int PRIMARY KEY, at int NOT NULL", "(1, 7), (2, 8), (3, 9), (4, 9)", False),
    ("large_indexed", "id int PRIMARY KEY, at int NOT NULL, INDEX by_at (at)", "(1, 7), (2, 8), (3, 9), (4, 9)", True),
    ("versions", "id int PRIMARY KEY, at rowversion", "(1), (2)", True),
]


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> Iterator[ServerProcess]:
    mssql_server.run(
        f"CREATE DATABASE {DATABASE}",
        f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 4 HOURS)",
        database="master",
    )
    yield mssql_server
    mssql_server.run(f"USE master; DROP DATABASE {DATABASE}", database="master")


def settings_of(table: str) -> MssqlHomeSettings:
    return MssqlHomeSettings(type="mssql", connection="shop", table=f"dbo.{quoted(table)}")


def quoted(name: str) -> str:
    return "[" + name.removeprefix("[").replace("]", "]]") + "]"


def cursor_of(table: str) -> str:
    return "a]t" if table.startswith("[") else "at"


def asked(server: ServerProcess, table: str, cursor: str, reached: str | None = None) -> Asked:
    """A table that was loaded just now, up to where it is."""
    with MssqlHome(connect(server.address, database=DATABASE), settings_of(table)) as home:
        reached = reached or home.high_water(cursor).value or "0"
    return Asked(settings_of(table), cursor, reached)


def surveyed(server: ServerProcess, tables: dict[str, Asked], **keys: str) -> dict[str, surveys.SurveyedHome]:
    connection = connect(server.address, database=DATABASE, **keys)
    return survey(connection, tables, 60, lambda: False)


def test_a_survey_says_what_each_table_says_itself(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "SCANNED_ROWS", 3)
    monkeypatch.setattr(surveys, "TABLES_AT_ONCE", 3)
    statements = []
    for name, columns, rows, _ in TABLES:
        statements.append(f"CREATE TABLE dbo.{quoted(name)} ({columns})")
        into = f"dbo.{quoted(name)}" + (" (id)" if name == "versions" else "")
        statements += [f"INSERT INTO {into} VALUES {rows}"] if rows else []
    server.run("; ".join(statements), database=DATABASE)
    tables = {name: asked(server, name, cursor_of(name)) for name, *_ in TABLES if name != "texts"}
    tables["texts"] = Asked(settings_of("texts"), "at", "a")
    tables["TIMES"] = replace(tables["times"], settings=settings_of("TIMES"))
    tables["missing"] = replace(tables["times"], settings=settings_of("missing"))
    found = surveyed(server, tables)
    assert set(found) == {name for name, *_, known in TABLES if known} | {"TIMES"}
    for name, home in found.items():
        cursor = cursor_of(name)
        with MssqlHome(connect(server.address, database=DATABASE), tables[name].settings) as own:
            assert replace(home.describe(), approximate_rows=0) == replace(own.describe(), approximate_rows=0), name
            says, expected = home.high_water(cursor), own.high_water(cursor)
            assert replace(says, clock=None) == replace(expected, clock=None), name
            assert (says.clock is None) == (expected.clock is None), name
            assert home.count_at(cursor, says.value or "") == own.count_at(cursor, says.value or ""), name
        with pytest.raises(NotSurveyed):
            home.check_access()
    secondary = surveyed(server, {"times": tables["times"]}, application_intent="read_only")
    assert [home.high_water("at").may_lag for home in secondary.values()] == [True]


def test_a_rowversion_or_a_tracked_table_is_known_until_the_database_moves_on(server: ServerProcess) -> None:
    """A watermark that stayed behind while others move on would not show that the database was restored."""
    for name in ("moving", "still"):
        server.run(
            f"CREATE TABLE dbo.{name} (id int PRIMARY KEY, rv rowversion)",
            f"ALTER TABLE dbo.{name} ENABLE CHANGE_TRACKING",
            f"INSERT INTO dbo.{name} (id) VALUES (1)",
            database=DATABASE,
        )
    tables = {
        f"{name} {cursor}": asked(server, name, cursor)
        for name in ("moving", "still")
        for cursor in ("rv", CHANGE_TRACKING)
    }
    found = surveyed(server, tables)
    assert {name: home.high_water("").value for name, home in found.items()} == {
        name: one.reached for name, one in tables.items()
    }
    for name, table in tables.items():
        if table.cursor == CHANGE_TRACKING:
            with MssqlHome(connect(server.address, database=DATABASE), table.settings) as own:
                assert (found[name].high_water(""), bool(own.high_water(CHANGE_TRACKING).table)) == (
                    own.high_water(CHANGE_TRACKING),
                    True,
                )
    server.run("INSERT INTO dbo.moving (id) VALUES (2)", database=DATABASE)
    assert set(surveyed(server, tables)) == set()
    ahead = {"rv": "0x7FFFFFFFFFFFFFFF", CHANGE_TRACKING: "1000"}
    lost = {name: replace(one, reached=ahead[one.cursor]) for name, one in tables.items()}
    assert set(surveyed(server, lost)) == set()


@pytest.fixture
def wide(server: ServerProcess) -> dict[str, Asked]:
    """One table by seven names, and by two watermarks."""
    server.run(
        "DROP TABLE IF EXISTS dbo.asked",
        "CREATE TABLE dbo.asked (id int PRIMARY KEY, at int NOT NULL, rv rowversion)",
        "INSERT INTO dbo.asked (id, at) VALUES (1, 7)",
        database=DATABASE,
    )
    return {str(number): asked(server, "asked", "at") for number in range(7)}


def test_what_cannot_be_asked_takes_nothing_else_with_it(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, wide: dict[str, Asked]
) -> None:
    asks, failed = surveys._Survey._ask, []
    error: HomeError = HomeUnavailable("Another session holds a lock.")

    def ask(self: surveys._Survey, sql: str, *arguments: Any) -> list[tuple[object, ...]]:
        if "SELECT TOP (1) 3 AS number" in sql:
            failed.append(sql)
            raise error
        return asks(self, sql, *arguments)

    monkeypatch.setattr(surveys._Survey, "_ask", ask)
    assert set(surveyed(server, wide)) == set(wide) - {"3"}
    assert len(failed) == 4
    monkeypatch.setattr(surveys, "MOST_FAILURES", 1)
    error = HomeError("It is denied.")
    rv = asked(server, "asked", "rv")
    assert set(surveyed(server, {**wide, "rv": rv})) == {"rv", "0", "1", "2"}
    assert len(failed) == 6
    connection = connect(server.address, database=DATABASE)
    assert survey(connection, wide, 60, lambda: True) == {}
    assert survey(connection, wide, -1, lambda: False) == {}
    assert survey(connect("127.0.0.1,1", database=DATABASE), wide, 60, lambda: False) == {}


def test_rows_that_do_not_fit_the_question_say_nothing(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch, wide: dict[str, Asked]
) -> None:
    own = surveys._Survey._ask
    wrong: list[tuple[object, ...]]

    def ask(self: surveys._Survey, sql: str, *arguments: Any) -> list[tuple[object, ...]]:
        return wrong if "GROUP BY [at]" in sql else own(self, sql, *arguments)

    monkeypatch.setattr(surveys._Survey, "_ask", ask)
    answers: list[Any] = [[], [(0, 7, 1), (0, 7, 1)], [(5, 7, 1)], [("0", 7, 1)], [(0, 7, "many")], [(0,)]]
    for wrong in answers:
        assert surveyed(server, {"0": wide["0"]}) == {}, wrong


def test_rows_of_many_tables_are_told_in_one_statement(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    server.run(
        "CREATE TABLE dbo.[counted ]]1] (id int PRIMARY KEY NONCLUSTERED)",
        "INSERT INTO dbo.[counted ]]1] VALUES (1), (2)",
        "CREATE TABLE dbo.heaped (id int, INDEX by_id (id)); INSERT INTO dbo.heaped VALUES (1), (2), (3)",
        "CREATE VIEW dbo.viewed AS SELECT id FROM dbo.heaped",
        database=DATABASE,
    )
    tables = {name: settings_of(name) for name in ("[counted ]1", "HEAPED", "viewed", "missing")}
    tables["query"] = MssqlHomeSettings(type="mssql", connection="shop", query="SELECT 1 AS id")
    asks, asked = Session.fetch_some, []

    def ask(self: Session, sql: str, *arguments: Any, **keys: Any) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return asks(self, sql, *arguments, **keys)

    monkeypatch.setattr(Session, "fetch_some", ask)
    connection = connect(server.address, database=DATABASE)
    assert rows_of_many(connection, tables) == {"[counted ]1": 2, "HEAPED": 3}
    assert len(asked) == 1
    assert rows_of_many(connection, {"query": tables["query"]}) == {}
    with pytest.raises(HomeError):
        rows_of_many(connect("127.0.0.1,1", database=DATABASE), tables)


# What a login may no longer do with a table that has landed, and the watermark.
DENIED = {
    "whole": ("SELECT ON dbo.whole", {"column": "at"}),
    "its_mark": ("SELECT ON dbo.its_mark (at)", {"column": "at"}),
    "other_column": ("SELECT ON dbo.other_column (name)", {"column": "at"}),
    "by_version": ("SELECT ON dbo.by_version", {"column": "rv"}),
    "by_changes": ("VIEW CHANGE TRACKING ON dbo.by_changes", {"change_tracking": True}),
}


def denied_project(directory: Path, server: ServerProcess) -> Project:
    keys = {"database": DATABASE, "username": READER, "password": READER_PASSWORD}
    login = connect(server.address, **keys).model_dump(mode="json", exclude_defaults=True)
    flow = {
        "run_type": "incremental",
        "home": {"type": "mssql", "connection": "shop", "table": "dbo.{entity}"},
        "store": {"type": "open_mirroring", "account_url": "https://lake", "filesystem": "w", "mirror_name": "m"},
        "entities": [{"name": name, "watermark": watermark} for name, (_, watermark) in DENIED.items()],
    }
    (directory / "flows/denied").mkdir(parents=True)
    connections = {"shop": login | {"type": "mssql", "password": READER_PASSWORD}}
    options = {"lake_hosts": ["lake"]}
    document = {"name": "denied", "connections": connections, "options": options}
    (directory / "hygge.yml").write_text(json.dumps(document))
    (directory / "flows/denied/flow.yml").write_text(json.dumps(flow))
    return load_project(directory)


def test_what_is_denied_is_reported_as_an_activity_does(
    server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestration, "FEWEST_TABLES", 1)
    monkeypatch.setattr(opening, "open_lake", lambda _: LocalLake(tmp_path / "lake"))
    for name in DENIED:
        server.run(
            f"CREATE TABLE dbo.{name} (id int PRIMARY KEY, name nvarchar(9), at int NOT NULL, rv rowversion)",
            f"INSERT INTO dbo.{name} (id, name, at) VALUES (1, N'a', 1)",
            database=DATABASE,
        )
    server.run(
        "ALTER TABLE dbo.by_changes ENABLE CHANGE_TRACKING",
        f"CREATE USER {READER} FOR LOGIN {READER}",
        f"GRANT SELECT, VIEW CHANGE TRACKING ON SCHEMA::dbo TO {READER}",
        database=DATABASE,
    )
    project = denied_project(tmp_path, server)

    def load(skip_idle: bool) -> dict[str, tuple[Any, ...]]:
        recorder, options = Recorder(), project.options.model_copy(update={"skip_idle": skip_idle})
        run_load(replace(project, options=options), LoadRequest(), recorder)
        facts = ("status", "rows", "error", "message")
        return {
            name: tuple(result.get(fact) or None for fact in facts if result["attempts"] or fact != "message")
            for name, result in recorder.settled.items()
        }

    load(skip_idle=False)
    server.run(*(f"DENY {right} TO {READER}" for right, _ in DENIED.values()), database=DATABASE)
    with_survey, without = load(skip_idle=True), load(skip_idle=False)
    assert {name: said[:3] for name, said in with_survey.items()} == {name: said[:3] for name, said in without.items()}
    told = {name: said[3] for name, said in with_survey.items() if said[0] == "failed"}
    assert told == {name: without[name][3] for name in ("whole", "its_mark", "by_changes")}
