"""The sample database, the command line, and what survives a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcloud.sqlserver import SqlServer
from devcloud.sqlserver.ceiling import measure
from devcloud.sqlserver.child import run_in_child
from devcloud.sqlserver.nycflights import DATABASE, change_flights, load_sample
from tests.integration.sqlserver_clients import mssql

ROWS = {"flights": 336_776, "weather": 26_115, "planes": 3_322, "airports": 1_458, "airlines": 16}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    with SqlServer(directory) as server:
        assert load_sample(server)
    return directory


def test_the_sample_is_all_there_after_a_restart(directory: Path) -> None:
    with run_in_child(directory, sample=True) as address, mssql(address, DATABASE) as connection:
        cursor = connection.cursor()
        for table, rows in ROWS.items():
            assert cursor.execute(f"SELECT COUNT_BIG(*) FROM dbo.{table}").fetchone()[0] == rows
        row = cursor.execute(
            "SELECT id, carrier, flight, tailnum, dep_delay, time_hour FROM dbo.flights WHERE id = 1"
        ).fetchone()
        assert tuple(row[:5]) == (1, "UA", 1545, "N14228", 2)
        assert row[5].isoformat() == "2013-01-01T10:00:00"
        assert cursor.execute("SELECT COUNT(*) FROM dbo.flights WHERE tailnum IS NULL").fetchone()[0] == 2512


def test_changes_bump_modified_at_and_rowversion(directory: Path) -> None:
    with SqlServer(directory) as server:
        assert not load_sample(server)
        with mssql(server.address, DATABASE) as connection:
            cursor = connection.cursor()
            rowversion, modified_at, highest = cursor.execute(
                "SELECT MAX(row_version), MAX(modified_at), MAX(id) FROM dbo.flights"
            ).fetchone()
            assert change_flights(connection) == (1000, 500)
            count, later, new = cursor.execute(
                "SELECT COUNT(*), COUNT(CASE WHEN modified_at > ? THEN 1 END), COUNT(CASE WHEN id > ? THEN 1 END) "
                "FROM dbo.flights WHERE row_version > CAST(? AS binary(8))",
                (modified_at, highest, rowversion),
            ).fetchone()
    assert (count, later, new) == (1500, 1500, 500)


def test_every_row_arrives_through_arrow(directory: Path) -> None:
    with SqlServer(directory) as server, mssql(server.address, DATABASE) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT * FROM dbo.weather ORDER BY id")
        reader = cursor.arrow_reader(batch_size=10_000)
        identifiers = [number for batch in reader for number in batch.column("id").to_pylist()]
    assert identifiers == list(range(1, ROWS["weather"] + 1))


def test_the_ceiling_is_measured_with_every_row_read() -> None:
    results = measure(rows=20_000)
    assert len(results) == 2
    assert all(speed > 0 and megabytes > 0 for speed, megabytes in results.values())


def test_a_directory_belongs_to_one_server(directory: Path) -> None:
    with run_in_child(directory), pytest.raises(RuntimeError, match="exit code 2"), run_in_child(directory):
        pass
