"""What is asked of a SQL Server driver lets other threads run: the server is one of them here, or could not respond."""

from __future__ import annotations

import faulthandler
import multiprocessing

import pyarrow as pa
import pytest

from devcloud.sqlserver import DEFAULT_LOGINS, SqlServer
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql import home as mssql_home
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from tests.integration.mssql_server import DATABASE, DRIVERS, connect

# More than what is on its way through sockets.
LARGE = 8_000_000

# A call that keeps the lock waits for ever: the process ends then, and says where.
PATIENCE_SECONDS = 60


def read_and_write(driver: str) -> None:
    """In a process of its own, with server and client as its threads."""
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
    setattr(mssql_home, "loads_pyodbc", lambda: False)  # noqa: B010 - each driver by itself
    with SqlServer(databases=[DATABASE], logins=DEFAULT_LOGINS) as server:
        server.execute("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, text nvarchar(max))", DATABASE)
        session = open_session(connect(server.address, driver))
        texts = ["x" * LARGE, None, *(["y"] * 2000)]
        rows = pa.record_batch({"id": pa.array(range(len(texts)), pa.int32()), "text": texts})
        session.insert("[dbo].[t]", rows, doing="inserting")
        assert session.fetch_all("SELECT text FROM dbo.t WHERE id < 1", doing="asking") == [(texts[0],)]
        session.close()
        settings = MssqlHomeSettings(connection="shop", table="dbo.t")
        with mssql_home.MssqlHome(connect(server.address, driver), settings) as home:
            assert [row["text"] for batch in home.read(ReadWindow()) for row in batch.rows.to_pylist()] == texts


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_that_is_a_thread_of_the_same_process_is_read_and_written(driver: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=read_and_write, args=(driver,), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == 0
