"""Bulk copy of Microsoft's driver into devcloud's SQL Server, and the renaming that goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import mssql_python
import pyarrow as pa
import pytest

from devcloud.sqlserver import DEFAULT_LOGINS
from tests.integration.mssql_server import DATABASE, ServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


@pytest.fixture
def cursor(server: ServerProcess) -> Iterator[Any]:
    login = f"UID=sa;PWD={DEFAULT_LOGINS['sa']};Encrypt=yes;TrustServerCertificate=yes"
    connection = mssql_python.connect(f"Server={server.address};Database={DATABASE};{login}", autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS dbo.[we]]ird, (name)], dbo.renamed")
        cursor.execute(
            "CREATE TABLE dbo.[we]]ird, (name)] (n int IDENTITY(5, 1), id int NOT NULL PRIMARY KEY, "
            "[a, (b)] nvarchar(5), price decimal(9, 2) DEFAULT 1.5, whole int)"
        )
        yield cursor
    connection.close()


TABLE = "[dbo].[we]]ird, (name)]"


def rows(server: ServerProcess, table: str = TABLE) -> list[tuple[object, ...]]:
    (found,) = server.run(f"SELECT n, id, [a, (b)], CAST(price AS nvarchar(20)), whole FROM {table} ORDER BY id")
    return found


def test_rows_arrive_by_column_name_and_the_rest_is_filled_in(server: ServerProcess, cursor: Any) -> None:
    batch = pa.record_batch({"a": ["x", None], "b": pa.array([2, 1], pa.int32())})
    done = cursor.bulkcopy_arrow(TABLE, batch, column_mappings=["a, (b)", "id"], table_lock=True)
    assert done["rows_copied"] == 2
    assert rows(server) == [(6, 1, None, "1.50", None), (5, 2, "x", "1.50", None)]


def test_rows_of_python_values_arrive_too(server: ServerProcess, cursor: Any) -> None:
    cursor.bulkcopy(TABLE, [(7, "x"), (8, None)], column_mappings=["id", "a, (b)"])
    assert [row[1:3] for row in rows(server)] == [(7, "x"), (8, None)]


def test_all_digits_of_a_decimal_arrive(server: ServerProcess, cursor: Any) -> None:
    cursor.execute("DROP TABLE IF EXISTS dbo.exact; CREATE TABLE dbo.exact (id int, value decimal(38, 10))")
    values = [Decimal("9" * 28 + "." + "9" * 10), Decimal("-" + "9" * 28 + ".5"), Decimal("1E-10"), Decimal(0)]
    batch = pa.record_batch({"id": pa.array(range(4), pa.int32()), "value": pa.array(values, pa.decimal128(38, 10))})
    cursor.bulkcopy_arrow("dbo.exact", batch)
    cursor.execute("SELECT value FROM dbo.exact ORDER BY id")
    assert [row[0] for row in cursor.fetchall()] == values


def test_all_rows_or_none(server: ServerProcess, cursor: Any) -> None:
    batch = pa.record_batch({"id": pa.array([1, 2, 1], pa.int32())})
    with pytest.raises(RuntimeError, match="2627"):
        cursor.bulkcopy_arrow(TABLE, batch, column_mappings=["id"])
    assert rows(server) == []


def test_a_table_that_is_not_there_is_error_208(cursor: Any) -> None:
    with pytest.raises(RuntimeError, match="208"):
        cursor.bulkcopy_arrow("dbo.nothing", pa.record_batch({"id": pa.array([1], pa.int32())}))


def test_a_renamed_table_keeps_rows_and_keys_and_a_rollback_keeps_its_name(server: ServerProcess, cursor: Any) -> None:
    cursor.execute(f"INSERT INTO {TABLE} (id) VALUES (1)")
    cursor.execute("BEGIN TRANSACTION; EXEC sp_rename 'dbo.[we]]ird, (name)]', 'renamed'; ROLLBACK TRANSACTION")
    assert len(rows(server)) == 1
    cursor.execute("EXEC sp_rename 'dbo.[we]]ird, (name)]', 'renamed'")
    assert len(rows(server, "dbo.renamed")) == 1
    with pytest.raises(mssql_python.Error, match="PRIMARY KEY"):
        cursor.execute("INSERT INTO dbo.renamed (id) VALUES (1)")
    with pytest.raises(mssql_python.Error, match="already in use"):
        cursor.execute("EXEC sp_rename 'dbo.renamed', 'renamed'")
    with pytest.raises(mssql_python.Error, match="No item by the name"):
        cursor.execute("EXEC sp_rename 'dbo.nothing', 'other'")
