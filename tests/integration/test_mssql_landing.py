"""What SQL Server's tables become in a store: the same files by either driver, in bounded memory, and nothing lost to
commits that come late."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hygge_engine.homes.mssql import home as mssql_home
from hygge_engine.homes.mssql import throttle
from hygge_engine.homes.mssql.parallel import read_ranges
from tests.integration.mssql_server import DATABASE, DRIVERS, ServerProcess, log_in
from tests.support.mssql_landing import SQLITE, Landing
from tests.support.mssql_types import EVERY_TYPE, EXTREMES

pytestmark = pytest.mark.any_server

REPOSITORY = Path(__file__).parents[2]

MIB = 1 << 20

# A value that shows in the memory of a process, and is quickly made.
LARGE_BYTES = 32 * MIB

# What a load of large values may take beside them: batches and row groups that are on their way (docs/performance.md).
BOUND_BYTES = 80 * MIB


# Lands a small table, then a table of large values, and prints the peak of its memory after each.
LAND_AND_WEIGH = """
import sys
from pathlib import Path
from typer.testing import CliRunner
from hygge_engine.cli.app import app
from hygge_engine.memory import choose_allocator

choose_allocator()
for entity in sys.argv[2:]:
    result = CliRunner().invoke(app, ["go", "--json", "--project", sys.argv[1], "--entity", entity])
    assert result.exit_code == 0, result.output
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.fixture
def landing(mssql_server: ServerProcess, tmp_path: Path) -> Landing:
    return Landing(mssql_server, tmp_path / "project")


@pytest.mark.parametrize("flow", [{}, {"run_type": "incremental", "watermark": {"column": "m"}}])
@pytest.mark.parametrize("slice_minutes", [4.0, 1e-9])
def test_rows_whose_keys_the_source_tells_apart_never_take_each_other_s_place(
    mssql_server: ServerProcess, landing: Landing, flow: dict[str, Any], slice_minutes: float
) -> None:
    kept = f"kept_{flow.get('run_type', 'full_drop')}_{slice_minutes:.0f}"  # a load that fails leaves staging tables
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.spelt",
        "DROP TABLE IF EXISTS dbo.__hygge_landing",
        "CREATE TABLE dbo.spelt (id nvarchar(10) COLLATE Latin1_General_CS_AS PRIMARY KEY, m int NOT NULL)",
        "INSERT INTO dbo.spelt VALUES ('abc', 1)",
    )
    store = {"type": "mssql", "connection": "source", "schema_name": "dbo", "table_name": kept}
    keys: dict[str, Any] = {"home": {"batch_rows": 1}, "store": store, "journal": {"location": "./journal"}}
    landing.write("spelt", slice_minutes=slice_minutes, **keys, **flow)
    landing.load()
    mssql_server.run("INSERT INTO dbo.spelt VALUES ('ABC', 2)")
    assert "Violation of PRIMARY KEY" in landing.fail()["message"]
    assert mssql_server.run(f"SELECT id, m FROM dbo.{kept}")[0] == [("abc", 1)]


def test_both_drivers_land_the_same_bytes(
    mssql_server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ", ".join(EXTREMES)
    mssql_server.run(
        EVERY_TYPE.replace("dbo.everything", "dbo.alike"),
        "INSERT INTO dbo.alike (id) VALUES (0)",
        *(
            f"INSERT INTO dbo.alike (id, {names}) VALUES "
            f"({row + 1}, {', '.join(literals[row][0] for literals in EXTREMES.values())})"
            for row in range(3)
        ),
        # More than one batch.
        "CREATE TABLE dbo.many (id int NOT NULL PRIMARY KEY, name nvarchar(200) NULL, code char(9), at datetime2(7), "
        "amount decimal(15, 2) NULL, token uniqueidentifier)",
        "INSERT INTO dbo.many SELECT value, CASE WHEN value % 7 = 0 THEN NULL ELSE REPLICATE(N'né', value % 100) END, "
        "'code', DATEADD(second, value, CAST('2013-01-01' AS datetime2(7))), value / 4.0, "
        "'6f9619ff-8b86-d011-b42d-00c04fc964ff' FROM GENERATE_SERIES(1, 60000)",
    )
    # Each driver by itself, also for what the one leaves to the other.
    monkeypatch.setattr("hygge_engine.homes.mssql.home.loads_pyodbc", lambda: False)
    landed = []
    for driver in DRIVERS:
        project = Landing(mssql_server, tmp_path / driver)
        project.write("alike", "many", driver=driver)
        project.load()
        landed.append([file.read_bytes() for entity in ("alike", "many") for file in project.files(entity)])
        assert pq.read_table(project.files("alike")[0]).num_rows == 4
        assert project.ids("many") == list(range(1, 60_001))
    assert landed[0] == landed[1]


@pytest.mark.parametrize(
    ("home", "pool_size", "readers"),
    [({}, 4, 2), ({}, 1, 1), ({"readers": 1}, 4, 1), ({"readers": 3}, 1, 3), ({"max_rows_per_second": 10**6}, 4, 1)],
)
def test_a_large_table_alone_is_read_by_two_where_the_pool_has_room(
    mssql_server: ServerProcess,
    landing: Landing,
    monkeypatch: pytest.MonkeyPatch,
    home: dict[str, int],
    pool_size: int,
    readers: int,
) -> None:
    monkeypatch.setattr(mssql_home, "ROWS_WORTH_A_READER", 1000)
    begun: list[int] = []

    def count_readers(ranges: Any, count: int, *arguments: Any) -> Any:
        begun.append(count)
        return read_ranges(ranges, count, *arguments)

    monkeypatch.setattr(mssql_home, "read_ranges", count_readers)
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.parcels",
        "CREATE TABLE dbo.parcels (id int NOT NULL PRIMARY KEY, changed datetime2(3) NOT NULL)",
        "INSERT INTO dbo.parcels SELECT value, DATEADD(second, value % 60, CAST('2013-01-01' AS datetime2(3))) "
        "FROM GENERATE_SERIES(1, 20000)",
    )
    landing.write("parcels", run_type="incremental", watermark={"column": "changed"}, home=home, pool_size=pool_size)
    assert landing.load()["rows"] == 20_000
    assert begun == ([readers] if readers > 1 else [])
    assert landing.ids("parcels") == list(range(1, 20_001))
    mssql_server.run("INSERT INTO dbo.parcels VALUES (20001, '2013-02-01')")
    assert landing.load()["rows"] == 1


@pytest.mark.parametrize("range_rows", [0, 20])
def test_the_journal_says_once_that_a_load_was_slowed_down(
    mssql_server: ServerProcess, landing: Landing, monkeypatch: pytest.MonkeyPatch, range_rows: int
) -> None:
    monkeypatch.setattr(throttle, "pause", lambda seconds: None)
    monkeypatch.setattr(throttle, "RESOURCES", "SELECT 99.5, 1, 2, 3")
    monkeypatch.setattr(throttle, "_LOOK_SECONDS", 0.0)  # before every slice
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.hurried",
        "CREATE TABLE dbo.hurried (id int NOT NULL PRIMARY KEY)",
        "INSERT INTO dbo.hurried SELECT value FROM GENERATE_SERIES(1, 50)",
    )
    home = {"throttle": "auto", "batch_rows": 30, "range_rows": range_rows}
    landing.write("hurried", home=home, slice_minutes=1e-9, run_type="incremental", watermark={"column": "id"})
    settled = landing.load()
    assert (settled["rows"], landing.ids("hurried")) == (50, list(range(1, 51)))
    assert ("read in 2 ranges" in settled["message"]) is bool(range_rows)
    assert settled["message"].count("slowed down: the source's CPU at 90 % or more of its limit") == 1
    monkeypatch.setattr(throttle, "RESOURCES", "SELECT 1, 1, 2, 3")
    mssql_server.run("INSERT INTO dbo.hurried VALUES (51)")
    assert "slowed" not in landing.load().get("message", "")


def test_a_value_is_held_three_times_at_most(mssql_server: ServerProcess, landing: Landing) -> None:
    text = f"REPLICATE(CAST('0123456789abcdef' AS varchar(max)), {LARGE_BYTES // 16})"
    mssql_server.run(
        "CREATE TABLE dbo.small (id int NOT NULL PRIMARY KEY, body varchar(max))",
        "INSERT INTO dbo.small VALUES (1, 'x')",
        "CREATE TABLE dbo.documents (id int NOT NULL PRIMARY KEY, body varchar(max), picture varbinary(max))",
        f"INSERT INTO dbo.documents VALUES (1, {text}, NULL), (2, NULL, CAST({text} AS varbinary(max)))",
        f"INSERT INTO dbo.documents VALUES (3, 'x', 0x01), (4, {text}, NULL)",
    )
    landing.write("small", "documents")
    command = [sys.executable, "-c", LAND_AND_WEIGH, str(landing.directory), "shop.small", "shop.documents"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    before, after = (int(kilobytes) * 1024 for kilobytes in done.stdout.split())
    assert after - before <= BOUND_BYTES + 3 * LARGE_BYTES
    tables = [pq.read_table(file) for file in landing.files("documents")]
    bodies = {row["id"]: (row["body"], row["picture"]) for table in tables for row in table.to_pylist()}
    expected = "0123456789abcdef" * (LARGE_BYTES // 16)
    assert bodies == {
        1: (expected, None),
        2: (None, expected.encode()),
        3: ("x", b"\1"),
        4: (expected, None),
    }


def test_a_commit_with_an_older_time_is_found_where_lag_reaches(mssql_server: ServerProcess, landing: Landing) -> None:
    mssql_server.run(
        "CREATE TABLE dbo.tardy (id int NOT NULL PRIMARY KEY, at datetime2(3) NULL)",
        "INSERT INTO dbo.tardy VALUES (1, '2024-01-01T12:00:00'), (2, '2024-01-01T12:10:00'), (3, NULL)",
    )
    watermark = {"column": "at", "lag": "5m"}
    landing.write("tardy", run_type="incremental", watermark=watermark, store=SQLITE)
    first = landing.load()
    assert first["rows"] == 3
    assert "1 row has no at" in first["message"]
    mssql_server.run(
        "INSERT INTO dbo.tardy VALUES (4, '2024-01-01T12:06:00'), (5, '2024-01-01T12:10:00')",
        "INSERT INTO dbo.tardy VALUES (6, '2024-01-01T12:11:00')",
    )
    landing.load()
    with closing(sqlite3.connect(landing.directory / "shop.db")) as database:
        assert database.execute("SELECT id FROM tardy ORDER BY id").fetchall() == [(id_,) for id_ in range(1, 7)]


def test_a_transaction_that_ends_after_the_load_is_in_the_next_by_its_rowversion(
    mssql_server: ServerProcess, landing: Landing
) -> None:
    mssql_server.run(
        "CREATE TABLE dbo.committed_late (id int NOT NULL PRIMARY KEY, version rowversion)",
        "INSERT INTO dbo.committed_late (id) VALUES (1)",
    )
    landing.write("committed_late", run_type="incremental", watermark={"column": "version"})
    open_transaction = log_in(mssql_server.address, DATABASE)
    try:
        open_transaction.cursor().execute("INSERT INTO dbo.committed_late (id) VALUES (2)")
        mssql_server.run("INSERT INTO dbo.committed_late (id) VALUES (3)")
        landing.load()
        open_transaction.commit()
    finally:
        open_transaction.close()
    landing.load()
    assert landing.ids("committed_late") == [1, 2, 3]
    assert landing.load()["rows"] == 0
