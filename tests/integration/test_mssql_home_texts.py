"""Text keys and watermarks of any collation: what has been read is found again."""

from __future__ import annotations

import pytest

from hygge_engine.errors import CursorUnusable, HomeError
from hygge_engine.homes.base import ReadWindow
from tests.integration.mssql_server import DRIVERS, ServerProcess, open_home, read_all

pytestmark = pytest.mark.any_server

# Texts with letters that Windows-1252, the code page of the database, has and lacks.
COLLATIONS = {
    "Polish_CI_AS": ("łąka", "śnieg", "żaba", "zebra"),
    "Polish_BIN2": ("łąka", "Śnieg", "żaba", "zebra"),
    "Cyrillic_General_CI_AS": ("ёж", "дом", "я", "zebra"),
    "Latin1_General_100_CI_AS_SC_UTF8": ("łąka", "дом", "日本", "café"),
    "SQL_Latin1_General_CP1_CI_AS": ("äpfel", "œuvre", "žlutá", "zebra"),
}
TYPES = ("varchar(20)", "char(12)", "nvarchar(20)", "nchar(12)")


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    return mssql_server


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=COLLATIONS)
def collation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TYPES)
def table(server: ServerProcess, collation: str, request: pytest.FixtureRequest) -> str:
    """Two rows of each text, which ``note`` has in the key's place for a watermark."""
    name = f"[texts {collation} {request.param}]"
    text = f"{request.param} COLLATE {collation} NOT NULL"
    server.run(
        f"DROP TABLE IF EXISTS {name}", f"CREATE TABLE {name} (code {text}, n int, note {text}, PRIMARY KEY (code, n))"
    )
    rows = ", ".join(f"(N'{text}', {n}, N'{text}')" for text in COLLATIONS[collation] for n in (1, 2))
    server.run(f"INSERT INTO {name} VALUES {rows}")
    return name


def test_reading_goes_on_behind_any_text(server: ServerProcess, collation: str, table: str, driver: str) -> None:
    with open_home(server, table, driver, batch_rows=1) as home:
        batches = list(home.read(ReadWindow()))
        rows = [row for batch in batches for row in batch.rows.to_pylist()]
        assert sorted({row["code"].rstrip() for row in rows}) == sorted(COLLATIONS[collation])
        for number, batch in enumerate(batches, start=1):
            assert read_all(home, after=batch.position) == rows[number:]


def test_windows_of_texts_meet(server: ServerProcess, collation: str, table: str) -> None:
    with open_home(server, table) as home:
        high_water = home.high_water("note")
        assert high_water.ties == 2
        texts = sorted({row["note"] for row in read_all(home)})
        for text in texts:
            below = read_all(home, ReadWindow("note", None, text))
            above = read_all(home, ReadWindow("note", text, high_water.value))
            assert len(below) + len(above) == 2 * len(texts)
            assert {row["note"] for row in below} | {text} == {row["note"] for row in below}


@pytest.mark.parametrize("query", [False, True])
def test_a_column_says_its_collation_whoever_describes_it(server: ServerProcess, driver: str, query: bool) -> None:
    server.run(
        "DROP TABLE IF EXISTS described", "CREATE TABLE described (code varchar(9) COLLATE Polish_CI_AS NOT NULL)"
    )
    server.run("INSERT INTO described VALUES (N'łąka')")
    keys = {"query": "SELECT code FROM dbo.described"} if query else {}
    with open_home(server, None if query else "described", driver, **keys) as home:
        assert home.count_at("code", "łąka") == 1
        assert home.count_at("code", "laka") == 0


def test_a_server_that_does_not_find_its_own_largest_value_is_caught(
    server: ServerProcess, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose comparison knows other digits, letters or types than its answers show."""
    server.run("DROP TABLE IF EXISTS blind", "CREATE TABLE blind (code varchar(9) COLLATE Polish_CI_AS NOT NULL)")
    server.run("INSERT INTO blind VALUES (N'łąka')")
    monkeypatch.setattr("hygge_engine.homes.mssql.catalogue._collation", lambda name: "")
    with (
        open_home(server, "blind", driver) as home,
        pytest.raises(CursorUnusable, match=r"no row of dbo\.blind has it"),
    ):
        home.high_water("code")


@pytest.mark.parametrize("end", ["-- a comment", "; -- a comment; ", "/* a comment */;"])
def test_a_query_may_end_in_a_comment(server: ServerProcess, driver: str, end: str) -> None:
    with open_home(server, None, driver, query=f"SELECT 1 AS id -- one\n, 'a--b' AS note {end}", key=["id"]) as home:
        assert read_all(home) == [{"id": 1, "note": "a--b"}]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 1 AS id, 2 AS note, 3 AS id", "several columns of the name 'id'"),
        ("SELECT 1 AS id, 2 AS note, 3 AS ID", "columns 'ID' and 'id', which are one name to the server"),
        ("SELECT id, [Id] FROM (SELECT 1 AS id) AS s", "columns 'Id' and 'id', which are one name to the server"),
    ],
)
def test_a_query_that_names_a_column_twice_says_which(
    server: ServerProcess, driver: str, query: str, reason: str
) -> None:
    with (
        open_home(server, None, driver, query=query, key=["id"]) as home,
        pytest.raises(HomeError, match=reason),
    ):
        home.describe()
