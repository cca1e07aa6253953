"""Change data capture of devcloud's SQL Server, as the Microsoft driver meets it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import mssql_python
import pytest

from devcloud.sqlserver import DEFAULT_LOGINS
from tests.integration.mssql_server import READER_PASSWORD, ServerProcess, own_name
from tests.integration.tracked_shop import any_change

DATABASE = own_name("captured")
ENABLE = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'things', @role_name = NULL"
BOUNDS = "SELECT sys.fn_cdc_get_min_lsn('dbo_things'), sys.fn_cdc_get_max_lsn()"
CHANGES = """\
SELECT __$start_lsn, __$operation, id, value FROM cdc.fn_cdc_get_all_changes_dbo_things(?, ?, N'all update old') \
ORDER BY __$start_lsn, __$seqval, __$operation"""

DELETED, INSERTED, BEFORE, AFTER = 1, 2, 3, 4


class Client:
    """A session in the database."""

    def __init__(self, address: str, login: str = "sa", password: str = DEFAULT_LOGINS["sa"]) -> None:
        text = f"Server={address};Database={DATABASE};UID={login};PWD={password};Encrypt=no"
        self.connection = mssql_python.connect(text, autocommit=True)

    def ask(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, list(parameters)) if parameters else cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def changes(self) -> list[tuple[Any, ...]]:
        return self.ask(CHANGES, *self.ask(BOUNDS)[0])


@pytest.fixture
def client(mssql_server: ServerProcess) -> Iterator[Client]:
    mssql_server.run(f"CREATE DATABASE {DATABASE}")
    client = Client(mssql_server.address)
    try:
        client.ask("CREATE TABLE dbo.things (id int NOT NULL PRIMARY KEY, value nvarchar(20))")
        client.ask("INSERT INTO dbo.things VALUES (1, N'a'), (2, N'b'), (3, N'c')")
        client.ask("EXEC sys.sp_cdc_enable_db")
        client.ask(ENABLE)
        yield client
    finally:
        client.connection.close()
        mssql_server.run(f"USE master; DROP DATABASE {DATABASE}")


def test_rows_before_and_after_each_change_are_told_by_transaction(client: Client) -> None:
    assert client.changes() == []
    client.ask("UPDATE dbo.things SET value = N'A' WHERE id = 1")
    client.ask(
        "BEGIN TRANSACTION; UPDATE dbo.things SET id = 30 WHERE id = 3; DELETE FROM dbo.things WHERE id = 2; COMMIT"
    )
    client.ask("BEGIN TRANSACTION; INSERT INTO dbo.things VALUES (9, N'never'); ROLLBACK TRANSACTION")
    changes = client.changes()
    assert [change[1:] for change in changes] == [
        (BEFORE, 1, "a"),
        (AFTER, 1, "A"),
        (DELETED, 3, "c"),
        (INSERTED, 30, "c"),
        (DELETED, 2, "b"),
    ]
    assert len({change[0] for change in changes}) == 2
    assert client.ask("SELECT COUNT(*) FROM cdc.lsn_time_mapping") == [(3,)]  # with the one that capture began at


@pytest.mark.parametrize("seed", range(4))
def test_replayed_changes_make_the_table(client: Client, seed: int) -> None:
    chance = random.Random(seed)
    rows = {1: "a", 2: "b", 3: "c"}
    for number in range(25):
        statements = [any_change(chance, "dbo.things", "value", 6, number) for _ in range(chance.randint(1, 3))]
        client.ask(f"BEGIN TRANSACTION; {'; '.join(statements)}; COMMIT TRANSACTION")
    for _, operation, id_, value in client.changes():
        if operation in (DELETED, BEFORE):
            rows.pop(id_)
        else:
            rows[id_] = value
    assert sorted(rows.items()) == client.ask("SELECT id, value FROM dbo.things ORDER BY id")


def test_an_instance_keeps_its_columns_and_a_second_one_has_new_ones(client: Client) -> None:
    client.ask("ALTER TABLE dbo.things ADD size int")
    client.ask(f"{ENABLE}, @capture_instance = N'second'")
    client.ask("UPDATE dbo.things SET size = 5 WHERE id = 1")
    assert [change[1:] for change in client.changes()] == [(BEFORE, 1, "a"), (AFTER, 1, "a")]
    low, high = client.ask("SELECT sys.fn_cdc_get_min_lsn('second'), sys.fn_cdc_get_max_lsn()")[0]
    sizes = "SELECT size FROM cdc.fn_cdc_get_all_changes_second(?, ?, N'all')"
    assert client.ask(sizes, low, high) == [(5,)]
    listed = client.ask("EXEC sys.sp_cdc_help_change_data_capture @source_schema = N'dbo', @source_name = N'things'")
    assert [(row[2], row[-1]) for row in listed] == [
        ("dbo_things", "[id], [value]"),
        ("second", "[id], [value], [size]"),
    ]
    with pytest.raises(mssql_python.Error, match="at most two capture instances"):
        client.ask(f"{ENABLE}, @capture_instance = N'third'")
    client.ask("ALTER TABLE dbo.things DROP COLUMN size; UPDATE dbo.things SET value = N'z' WHERE id = 1")
    high = client.ask("SELECT sys.fn_cdc_get_max_lsn()")[0][0]
    assert client.ask(sizes, low, high) == [(5,), (None,)]
    client.ask(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'things', @capture_instance = N'second'"
    )
    with pytest.raises(mssql_python.Error, match="Invalid object name"):
        client.ask(sizes, low, high)


def test_what_is_cleaned_up_or_not_scanned_yet_is_out_of_range(client: Client) -> None:
    client.ask("UPDATE dbo.things SET value = N'A' WHERE id = 1")
    low, mark = client.ask(BOUNDS)[0]
    client.ask("UPDATE dbo.things SET value = N'B' WHERE id = 1")
    client.ask("EXEC sys.sp_cdc_cleanup_change_table @capture_instance = N'dbo_things', @low_water_mark = ?", mark)
    assert [change[3] for change in client.changes()] == ["a", "A", "A", "B"]
    with pytest.raises(mssql_python.Error, match="insufficient number of arguments"):
        client.ask(CHANGES, low, mark)
    client.ask("EXEC sys.sp_cdc_stop_job @job_type = N'capture'")
    client.ask("DELETE FROM dbo.things")
    assert len(client.changes()) == 4
    client.ask(f"{ENABLE}, @capture_instance = N'second'")
    assert client.ask("SELECT sys.fn_cdc_get_min_lsn('second')") == [(None,)]
    client.ask("EXEC sys.sp_cdc_start_job @job_type = N'capture'")
    assert len(client.changes()) == 7
    assert client.ask("SELECT sys.fn_cdc_get_min_lsn('none')") == [(bytes(10),)]


def test_the_gating_role_and_the_columns_decide_who_may_see_changes(
    client: Client, mssql_server: ServerProcess
) -> None:
    mssql_server.run(
        f"CREATE LOGIN watcher WITH PASSWORD = '{READER_PASSWORD}'; USE {DATABASE}; "
        "CREATE USER watcher FOR LOGIN watcher; CREATE ROLE readers_of_changes; GRANT SELECT ON dbo.things TO watcher; "
        f"EXEC sys.sp_cdc_disable_table N'dbo', N'things', N'all'; {ENABLE.replace('NULL', "N'readers_of_changes'")}"
    )
    watcher = Client(mssql_server.address, "watcher", READER_PASSWORD)
    try:
        assert watcher.ask("SELECT sys.fn_cdc_get_min_lsn('dbo_things')") == [(bytes(10),)]
        named = "EXEC sys.sp_cdc_help_change_data_capture @source_schema = N'dbo', @source_name = N'things'"
        with pytest.raises(mssql_python.Error, match="access is denied"):
            watcher.ask(named)
        client.ask("EXEC sp_addrolemember N'readers_of_changes', N'watcher'")
        client.ask("UPDATE dbo.things SET value = N'A' WHERE id = 1")
        assert len(watcher.changes()) == 2
        assert [row[9] for row in watcher.ask(named)] == ["readers_of_changes"]
        client.ask("DENY SELECT ON dbo.things (value) TO watcher")
        with pytest.raises(mssql_python.Error, match="access is denied"):
            watcher.ask(named)
    finally:
        watcher.connection.close()
        mssql_server.run("DROP LOGIN watcher")


def test_without_capture_its_procedures_and_tables_say_so(client: Client) -> None:
    with pytest.raises(mssql_python.Error, match="enabled for Change Data Capture"):
        client.ask("TRUNCATE TABLE dbo.things")
    client.ask("EXEC sys.sp_cdc_disable_db")
    assert client.ask("SELECT is_cdc_enabled FROM sys.databases WHERE database_id = DB_ID()") == [(False,)]
    assert client.ask("SELECT is_tracked_by_cdc FROM sys.tables") == [(False,)]
    with pytest.raises(mssql_python.Error, match="not enabled for Change Data Capture"):
        client.ask(ENABLE)
    with pytest.raises(mssql_python.Error, match="Invalid object name"):
        client.ask("SELECT * FROM cdc.change_tables")
