"""Change Tracking of devcloud's SQL Server, as the Microsoft driver meets it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import mssql_python
import pytest

from devcloud.sqlserver import DEFAULT_LOGINS, SqlServer
from tests.integration.mssql_server import READER_PASSWORD, ServerProcess

CHANGES = """\
SELECT c.SYS_CHANGE_OPERATION, c.id, t.value FROM CHANGETABLE(CHANGES dbo.things, ?) AS c \
LEFT JOIN dbo.things AS t ON t.id = c.id WHERE c.SYS_CHANGE_VERSION <= ? ORDER BY c.id"""


class Client:
    """A session in a database of its own in which Change Tracking is on."""

    def __init__(self, address: str, database: str, login: str = "sa", password: str = DEFAULT_LOGINS["sa"]) -> None:
        text = f"Server={address};Database={database};UID={login};PWD={password};Encrypt=no"
        self.connection = mssql_python.connect(text, autocommit=True)
        self.database = database

    def ask(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, list(parameters)) if parameters else cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def version(self) -> int:
        return int(self.ask("SELECT CHANGE_TRACKING_CURRENT_VERSION()")[0][0])

    def oldest(self) -> int | None:
        (found,) = self.ask("SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID('dbo.things'))")[0]
        return None if found is None else int(found)

    def changes(self, since: int | None, upper: int | None = None) -> list[tuple[Any, ...]]:
        return self.ask(CHANGES, since, self.version() if upper is None else upper)


@pytest.fixture
def client(mssql_server: ServerProcess) -> Iterator[Client]:
    mssql_server.run(
        "CREATE DATABASE tracked",
        "ALTER DATABASE tracked SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 5 DAYS, AUTO_CLEANUP = ON)",
    )
    client = Client(mssql_server.address, "tracked")
    try:
        client.ask("CREATE TABLE dbo.things (id int NOT NULL PRIMARY KEY, value nvarchar(20))")
        client.ask("INSERT INTO dbo.things VALUES (1, N'a'), (2, N'b'), (3, N'c')")
        client.ask("ALTER TABLE dbo.things ENABLE CHANGE_TRACKING WITH (TRACK_COLUMNS_UPDATED = OFF)")
        yield client
    finally:
        client.connection.close()
        mssql_server.run("USE master; DROP DATABASE tracked")


def test_each_changed_key_shows_once_with_what_became_of_it(client: Client) -> None:
    before = client.version()
    client.ask("UPDATE dbo.things SET value = N'A' WHERE id = 1")
    client.ask("INSERT INTO dbo.things VALUES (4, N'd'), (5, N'e')")
    client.ask("UPDATE dbo.things SET value = N'D' WHERE id = 4")
    client.ask("DELETE FROM dbo.things WHERE id IN (2, 5)")
    client.ask("DELETE FROM dbo.things WHERE id = 3; INSERT INTO dbo.things VALUES (3, N'again')")
    assert client.changes(before) == [
        ("U", 1, "A"),
        ("D", 2, None),
        ("U", 3, "again"),
        ("I", 4, "D"),
        ("D", 5, None),
    ]
    assert client.changes(client.version()) == []


def test_a_key_that_changes_is_a_delete_and_an_insert(client: Client) -> None:
    before = client.version()
    client.ask("UPDATE dbo.things SET id = id + 10 WHERE id >= 2")
    assert client.changes(before) == [("D", 2, None), ("D", 3, None), ("I", 12, "b"), ("I", 13, "c")]


def test_a_change_after_the_upper_version_is_left_out(client: Client) -> None:
    before = client.version()
    client.ask("UPDATE dbo.things SET value = N'x' WHERE id <= 2")
    upper = client.version()
    client.ask("UPDATE dbo.things SET value = N'y' WHERE id = 2")
    assert client.changes(before, upper) == [("U", 1, "x")]
    assert client.changes(upper) == [("U", 2, "y")]


def test_a_transaction_has_one_version_and_one_that_is_rolled_back_none(client: Client) -> None:
    before = client.version()
    client.ask("BEGIN TRANSACTION; UPDATE dbo.things SET value = N'x'; DELETE FROM dbo.things WHERE id = 1; COMMIT")
    assert client.version() == before + 1
    client.ask("BEGIN TRANSACTION; DELETE FROM dbo.things; ROLLBACK")
    assert client.version() == before + 1
    assert [row[:2] for row in client.changes(before)] == [("D", 1), ("U", 2), ("U", 3)]


def test_what_is_not_committed_is_nobody_else_s_business(client: Client, mssql_server: ServerProcess) -> None:
    before = client.version()
    other = Client(mssql_server.address, "tracked")
    with closing(other.connection):
        other.ask("BEGIN TRANSACTION; UPDATE dbo.things SET value = N'x' WHERE id = 1")
        assert (client.version(), client.changes(before)) == (before, [])
        other.ask("COMMIT")
    assert client.changes(before) == [("U", 1, "x")]


def test_truncating_a_table_makes_older_versions_invalid(client: Client) -> None:
    before = client.version()
    client.ask("UPDATE dbo.things SET value = N'x'")
    assert client.oldest() == before
    client.ask("TRUNCATE TABLE dbo.things")
    assert client.oldest() == client.version() == before + 2


def test_off_is_null_and_the_catalogue_says_so(client: Client) -> None:
    tracked = "SELECT COUNT(*) FROM sys.change_tracking_tables WHERE object_id = OBJECT_ID('dbo.things')"
    assert client.ask(tracked) == [(1,)]
    retention = "SELECT retention_period, retention_period_units_desc FROM sys.change_tracking_databases"
    assert client.ask(retention + " WHERE database_id = DB_ID()") == [(5, "DAYS")]
    client.ask("ALTER TABLE dbo.things DISABLE CHANGE_TRACKING")
    assert (client.oldest(), client.ask(tracked)) == (None, [(0,)])
    with pytest.raises(mssql_python.Error, match="Change tracking is not enabled on table"):
        client.changes(0)
    client.ask("ALTER DATABASE CURRENT SET CHANGE_TRACKING = OFF")
    assert client.ask("SELECT CHANGE_TRACKING_CURRENT_VERSION()") == [(None,)]


def test_a_tracked_table_needs_its_key_and_a_database_that_tracks(client: Client) -> None:
    client.ask("CREATE TABLE dbo.heap (a int)")
    for statement, message in (
        ("ALTER TABLE dbo.heap ENABLE CHANGE_TRACKING", "requires a primary key"),
        ("ALTER TABLE dbo.things ENABLE CHANGE_TRACKING", "already enabled for table"),
        ("ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON", "already enabled for database"),
        ("ALTER DATABASE CURRENT SET CHANGE_TRACKING = OFF", "enabled for one or more tables"),
        ("ALTER DATABASE CURRENT SET CHANGE_TRACKING (CHANGE_RETENTION = 0 MINUTES)", "is not valid"),
    ):
        with pytest.raises(mssql_python.Error, match=message):
            client.ask(statement)


def test_a_login_without_permission_learns_no_oldest_version(client: Client, mssql_server: ServerProcess) -> None:
    client.ask("CREATE USER reader FOR LOGIN reader; GRANT SELECT ON dbo.things TO reader")
    reader = Client(mssql_server.address, "tracked", "reader", READER_PASSWORD)
    with closing(reader.connection):
        assert reader.oldest() is None
        with pytest.raises(mssql_python.Error, match="permission was denied"):
            reader.changes(0)
        client.ask("GRANT VIEW CHANGE TRACKING ON dbo.things TO reader")
        assert reader.oldest() is not None
        assert reader.changes(reader.version()) == []


def test_a_server_may_know_nothing_of_it() -> None:
    with SqlServer(databases=["shop"], has_change_tracking=False) as server:
        client = Client(server.address, "shop")
        with closing(client.connection), pytest.raises(mssql_python.Error, match="CHANGE_TRACKING_CURRENT_VERSION"):
            client.version()
