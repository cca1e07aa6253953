"""Logins, transactions, concurrency, cancellation and errors, as drivers meet them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import mssql_python
import pyodbc
import pytest

from devcloud.sqlserver.child import run_in_child
from tests.integration.sqlserver_clients import connection_string, mssql, number_of, odbc


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with run_in_child(databases=("db", "other")) as address:
        yield address


@pytest.fixture
def table(address: str) -> str:
    with odbc(address, "db") as connection:
        connection.execute("DROP TABLE IF EXISTS dbo.t")
        connection.execute("CREATE TABLE dbo.t (id int PRIMARY KEY, note varchar(20) NULL, rv rowversion)")
        connection.execute("INSERT INTO dbo.t (id, note) VALUES (1, 'one'), (2, 'two'), (3, 'three')")
    return "dbo.t"


# Logins


def test_a_wrong_password_is_18456(address: str) -> None:
    with pytest.raises(pyodbc.InterfaceError) as caught, odbc(address, "db", password="wrong"):
        pass
    assert caught.value.args[0] == "28000"
    assert number_of(caught.value) == 18456


def test_an_unknown_database_is_4060(address: str) -> None:
    with pytest.raises(pyodbc.Error) as caught, odbc(address, "nowhere"):
        pass
    assert "Cannot open database" in str(caught.value)
    assert "4060" in str(caught.value)


def test_a_login_without_a_user_gets_no_database(address: str) -> None:
    with odbc(address, "master") as connection:
        connection.execute("CREATE LOGIN stranger WITH PASSWORD = 'Stranger!1'")
    with pytest.raises(pyodbc.Error, match="4060"), odbc(address, "db", "stranger", "Stranger!1"):
        pass


def test_permissions_are_denied_and_granted(address: str, table: str) -> None:
    with odbc(address, "db") as connection:
        connection.execute("CREATE LOGIN reader WITH PASSWORD = 'Reader!1'; CREATE USER reader FOR LOGIN reader")
        with odbc(address, "db", "reader", "Reader!1") as reading:
            with pytest.raises(pyodbc.ProgrammingError) as caught:
                reading.execute(f"SELECT * FROM {table}")
            assert number_of(caught.value) == 229
            assert reading.execute("SELECT HAS_PERMS_BY_NAME('dbo.t', 'OBJECT', 'SELECT')").fetchone()[0] == 0
            connection.execute(f"GRANT SELECT ON {table} TO reader")
            assert reading.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 3
            assert reading.execute("SELECT HAS_PERMS_BY_NAME('dbo.t', 'OBJECT', 'SELECT')").fetchone()[0] == 1
            with pytest.raises(pyodbc.ProgrammingError, match="229"):
                reading.execute(f"DELETE FROM {table}")
            connection.execute("GRANT SELECT ON SCHEMA::dbo TO reader")
            connection.execute(f"DENY SELECT ON {table} TO reader")
            with pytest.raises(pyodbc.ProgrammingError, match="229"):
                reading.execute(f"SELECT * FROM {table}")
        connection.execute("DROP USER reader; DROP LOGIN reader")


# Transactions


@pytest.mark.parametrize("connect", [mssql, odbc])
def test_rollback_undoes_and_commit_keeps(connect: Any, address: str, table: str) -> None:
    with connect(address, "db", autocommit=False) as connection, odbc(address, "db") as other:
        cursor = connection.cursor()
        cursor.execute(f"UPDATE {table} SET note = 'changed' WHERE id = 1")
        assert cursor.execute(f"SELECT note FROM {table} WHERE id = 1").fetchone()[0] == "changed"
        assert other.execute(f"SELECT note FROM {table} WHERE id = 1").fetchone()[0] == "one"
        connection.rollback()
        assert cursor.execute(f"SELECT note FROM {table} WHERE id = 1").fetchone()[0] == "one"
        cursor.execute(f"DELETE FROM {table} WHERE id = 3")
        connection.commit()
        assert other.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 2


def test_read_committed_sees_what_others_commit_meanwhile(address: str, table: str) -> None:
    with odbc(address, "db", autocommit=False) as reading, odbc(address, "db") as writing:
        assert reading.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 3
        writing.execute(f"INSERT INTO {table} (id) VALUES (4)")
        assert reading.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 4


def test_snapshot_does_not(address: str, table: str) -> None:
    with odbc(address, "db", autocommit=False) as reading, odbc(address, "db") as writing:
        reading.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")
        reading.commit()
        assert reading.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 3
        writing.execute(f"INSERT INTO {table} (id) VALUES (4)")
        assert reading.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 3
        reading.rollback()
        assert reading.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 4


def test_a_transaction_that_did_not_begin_under_snapshot_cannot_change_to_it(address: str, table: str) -> None:
    with odbc(address, "db") as connection:
        connection.execute("BEGIN TRANSACTION; SET TRANSACTION ISOLATION LEVEL SNAPSHOT")
        with pytest.raises(pyodbc.Error) as caught:
            connection.execute(f"SELECT COUNT(*) FROM {table}")
        assert number_of(caught.value) == 3951


def test_a_database_may_keep_no_snapshots(address: str) -> None:
    state = "SELECT snapshot_isolation_state_desc, is_read_committed_snapshot_on FROM sys.databases WHERE name = ?"
    with odbc(address, "master") as connection:
        connection.execute("CREATE DATABASE bare; ALTER DATABASE bare SET ALLOW_SNAPSHOT_ISOLATION OFF")
        connection.execute("ALTER DATABASE bare SET READ_COMMITTED_SNAPSHOT OFF WITH ROLLBACK IMMEDIATE")
        assert list(connection.execute(state, "bare").fetchone()) == ["OFF", False]
        assert list(connection.execute(state, "db").fetchone()) == ["ON", True]
    with odbc(address, "bare") as connection:
        connection.execute("CREATE TABLE dbo.t (id int PRIMARY KEY)")
        connection.execute("SET TRANSACTION ISOLATION LEVEL SNAPSHOT")
        with pytest.raises(pyodbc.Error) as caught:
            connection.execute("SELECT COUNT(*) FROM dbo.t")
        assert number_of(caught.value) == 3952
        connection.execute("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON")
        assert connection.execute("SELECT COUNT(*) FROM dbo.t").fetchone()[0] == 0
    with odbc(address, "master") as connection:
        connection.execute("DROP DATABASE bare")


def test_min_active_rowversion_stays_below_what_is_not_committed(address: str, table: str) -> None:
    def bound(connection: Any) -> bytes:
        return bytes(connection.execute("SELECT MIN_ACTIVE_ROWVERSION()").fetchone()[0])

    with odbc(address, "db", autocommit=False) as slow, odbc(address, "db") as quick:
        quiet = bound(quick)
        slow.execute(f"INSERT INTO {table} (id) VALUES (10)")
        quick.execute(f"INSERT INTO {table} (id) VALUES (11)")
        during = bound(quick)
        committed = quick.execute(f"SELECT MAX(rv) FROM {table}").fetchone()[0]
        assert during == quiet < committed
        slow.commit()
        after = bound(quick)
        assert after > committed
        below = quick.execute(f"SELECT COUNT(*) FROM {table} WHERE rv < CAST(? AS binary(8))", after).fetchone()[0]
        assert below == 5


def test_a_writer_waits_for_the_row_that_another_holds(address: str, table: str) -> None:
    with odbc(address, "db", autocommit=False) as holding, odbc(address, "db") as waiting:
        holding.execute(f"UPDATE {table} SET note = 'held' WHERE id = 1")
        done = threading.Event()

        def update() -> None:
            waiting.execute(f"UPDATE {table} SET note = note + '!' WHERE id = 1")
            done.set()

        thread = threading.Thread(target=update)
        thread.start()
        assert not done.wait(0.3)
        holding.commit()
        assert done.wait(10)
        thread.join()
        assert waiting.execute(f"SELECT note FROM {table} WHERE id = 1").fetchone()[0] == "held!"


def test_a_lock_timeout_is_1222(address: str, table: str) -> None:
    with odbc(address, "db", autocommit=False) as holding, odbc(address, "db") as waiting:
        holding.execute(f"UPDATE {table} SET note = 'held' WHERE id = 1")
        waiting.execute("SET LOCK_TIMEOUT 100")
        with pytest.raises(pyodbc.Error) as caught:
            waiting.execute(f"UPDATE {table} SET note = 'mine' WHERE id = 1")
        assert number_of(caught.value) == 1222
        holding.rollback()


def test_readers_see_whole_commits_while_another_writes(address: str) -> None:
    with odbc(address, "db") as setup:
        setup.execute("DROP TABLE IF EXISTS dbo.pairs; CREATE TABLE dbo.pairs (id int PRIMARY KEY, side int NOT NULL)")
    stop = threading.Event()

    def write() -> None:
        with mssql(address, "db", autocommit=False) as connection:
            cursor, number = connection.cursor(), 0
            while not stop.is_set():
                cursor.execute("INSERT INTO dbo.pairs VALUES (?, 0)", (2 * number,))
                cursor.execute("INSERT INTO dbo.pairs VALUES (?, 1)", (2 * number + 1,))
                connection.commit()
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with mssql(address, "db") as connection:
            cursor, seen = connection.cursor(), 0
            deadline = time.monotonic() + 20
            while seen < 20 and time.monotonic() < deadline:
                count, total = cursor.execute("SELECT COUNT(*), SUM(side) FROM dbo.pairs").fetchone()
                assert count == 2 * (total or 0)
                seen = count
    finally:
        stop.set()
        writer.join()
    assert seen >= 20


def test_t_sql_transactions_count_and_end(address: str, table: str) -> None:
    with odbc(address, "db") as connection:
        cursor = connection.cursor()
        cursor.execute(f"BEGIN TRAN; BEGIN TRAN; DELETE FROM {table}; COMMIT")
        assert cursor.execute("SELECT @@TRANCOUNT").fetchone()[0] == 1
        cursor.execute("ROLLBACK")
        assert cursor.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 3
        with pytest.raises(pyodbc.Error) as caught:
            cursor.execute("COMMIT")
        assert number_of(caught.value) == 3902


# Results


def test_a_batch_gives_its_results_and_counts_in_order(address: str, table: str) -> None:
    with odbc(address, "db") as connection:
        cursor = connection.cursor()
        cursor.execute(
            f"SELECT id FROM {table} ORDER BY id; UPDATE {table} SET note = 'x' WHERE id < 3; SELECT @@ROWCOUNT; "
            "SELECT 'last'"
        )
        assert [row[0] for row in cursor.fetchall()] == [1, 2, 3]
        assert cursor.nextset()
        assert cursor.rowcount == 2
        assert cursor.nextset()
        assert cursor.fetchone()[0] == 2
        assert cursor.nextset()
        assert cursor.fetchone()[0] == "last"
        assert not cursor.nextset()


@pytest.mark.parametrize("connect", [mssql, odbc])
def test_a_result_may_be_left_unread(connect: Any, address: str) -> None:
    with connect(address, "db") as connection:
        for _ in range(3):
            cursor = connection.cursor()
            cursor.execute("SELECT value, REPLICATE('x', 500) FROM GENERATE_SERIES(1, 200000)")
            assert cursor.fetchone()[0] == 1
            cursor.close()
        assert connection.cursor().execute("SELECT 42").fetchone()[0] == 42


def test_a_query_timeout_cancels(address: str) -> None:
    with odbc(address, "db") as connection:
        connection.timeout = 1
        with pytest.raises(pyodbc.OperationalError) as caught:
            connection.execute("WAITFOR DELAY '00:01:00'")
        assert caught.value.args[0] == "HYT00"
        with pytest.raises(pyodbc.OperationalError, match="HYT00"):
            connection.execute(
                "SELECT COUNT_BIG(*) FROM GENERATE_SERIES(1, 1000000) AS a CROSS JOIN GENERATE_SERIES(1, 1000000) AS b "
                "WHERE a.value % 7 = b.value % 5"
            )
        assert connection.execute("SELECT 42").fetchone()[0] == 42


def test_a_pooled_connection_starts_afresh(address: str) -> None:
    with mssql(address, "db", autocommit=False) as connection:
        connection.cursor().execute("CREATE TABLE dbo.forgotten (id int); USE other")
    with mssql(address, "db") as connection:
        assert connection.cursor().execute("SELECT DB_NAME()").fetchone()[0] == "db"
        assert connection.cursor().execute("SELECT OBJECT_ID('dbo.forgotten')").fetchone()[0] is None


def test_fast_executemany_sends_many_calls_in_one_message(address: str, table: str) -> None:
    with odbc(address, "db") as connection:
        cursor = connection.cursor()
        cursor.fast_executemany = True
        cursor.executemany(f"INSERT INTO {table} (id, note) VALUES (?, ?)", [(n, f"row {n}") for n in range(100, 200)])
        count, last = cursor.execute(f"SELECT COUNT(*), MAX(note) FROM {table} WHERE id >= 100").fetchone()
    assert (count, last) == (100, "row 199")


# Errors


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SELECT * FROM dbo.nowhere", 208),
        ("SELECT nothing FROM dbo.t", 207),
        ("SELECT t.id FROM dbo.t AS u", 4104),
        ("SELECT 1/0", 8134),
        ("SELECT CAST('abc' AS int)", 245),
        ("SELECT * FROM dbo.t WHERE id = 'abc'", 245),
        ("SELECT CAST('2024-02-30' AS date)", 241),
        ("SELECT CAST('x' AS uniqueidentifier)", 8169),
        ("SELECT CAST(300 AS tinyint)", 220),
        ("SELECT 2147483647 + 1", 8115),
        ("SELECT FROM dbo.t", 156),
        ("SELECT 1 +", 102),
        ("SELECT nofunction(1)", 195),
        ("INSERT INTO dbo.t (id) VALUES (1)", 2627),
        ("INSERT INTO dbo.t (id) VALUES (NULL)", 515),
        ("INSERT INTO dbo.t (id, note) VALUES (9, REPLICATE('x', 21))", 2628),
        ("INSERT INTO dbo.t (id, rv) VALUES (9, 0x01)", 273),
        ("CREATE TABLE dbo.t (id int)", 2714),
        ("DROP TABLE dbo.nowhere", 3701),
        ("USE nowhere", 911),
        ("EXEC nowhere", 2812),
        ("SELECT note, COUNT(*) FROM dbo.t GROUP BY id", 8120),
        ("THROW 51234, 'mine', 1", 51234),
        ("MERGE dbo.t AS a USING dbo.t AS b ON a.id = b.id WHEN MATCHED THEN DELETE;", 40510),
        ("SELECT * FROM dbo.t FOR JSON PATH", 40510),
    ],
)
def test_errors_have_sql_servers_numbers(text: str, number: int, address: str, table: str) -> None:
    with odbc(address, "db") as connection:
        with pytest.raises(pyodbc.Error) as caught:
            connection.execute(text).fetchall()
        assert number_of(caught.value) == number
        assert connection.execute("SELECT 42").fetchone()[0] == 42


def test_try_catch_sees_the_error(address: str, table: str) -> None:
    with odbc(address, "db") as connection:
        row = connection.execute(
            f"BEGIN TRY INSERT INTO {table} (id) VALUES (1) END TRY "
            "BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_MESSAGE() END CATCH"
        ).fetchone()
    assert row[0] == 2627
    assert "dbo.t" in row[1]


def test_variables_and_control_of_flow(address: str) -> None:
    with odbc(address, "db") as connection:
        row = connection.execute(
            "SET NOCOUNT ON DECLARE @n int = 0, @total bigint = 0 "
            "WHILE 1 = 1 BEGIN SET @n += 1 IF @n > 10 BREAK IF @n % 2 = 0 CONTINUE SET @total = @total + @n END "
            "IF EXISTS (SELECT 1 FROM sys.databases WHERE name = 'db') SELECT @n, @total ELSE SELECT 0, 0"
        ).fetchone()
    assert tuple(row) == (11, 25)


def test_databases_are_apart_and_reach_each_other_by_name(address: str) -> None:
    with odbc(address, "other") as connection:
        connection.execute("CREATE TABLE dbo.here (id int PRIMARY KEY); INSERT INTO dbo.here VALUES (7)")
        assert connection.execute("SELECT DB_NAME()").fetchone()[0] == "other"
        connection.execute("USE db")
        assert connection.execute("SELECT id FROM other.dbo.here").fetchone()[0] == 7
        with pytest.raises(pyodbc.Error, match="208"):
            connection.execute("SELECT id FROM dbo.here")


# Encryption


@pytest.mark.parametrize("more", ["Encrypt=yes", "Encrypt=no"])
def test_encryption_is_there_for_who_asks(more: str, address: str) -> None:
    string = connection_string(address, "db", more=more)
    connection = mssql_python.connect(string, autocommit=True)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT value, REPLICATE('x', 300) AS filler FROM GENERATE_SERIES(1, 50000)")
        reader = cursor.arrow_reader(batch_size=10_000)
        assert sum(batch.num_rows for batch in reader) == 50_000
    finally:
        connection.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(address: str) -> None:
    string = connection_string(address, "db", more="Encrypt=yes").replace("TrustServerCertificate=yes", "")
    with pytest.raises(mssql_python.Error, match=r"(?i)certificate|SSL"):
        mssql_python.connect(string)
