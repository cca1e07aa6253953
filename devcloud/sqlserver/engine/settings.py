"""What ALTER DATABASE … SET changes. It is kept in a table of the database, and takes effect at once, as there."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace
from typing import Final

import duckdb

from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA
from devcloud.sqlserver.engine.values import quote

RETENTION_UNITS: Final = {"MINUTES": 1, "HOURS": 2, "DAYS": 3}
"""As sys.change_tracking_databases numbers them."""

_MINUTES: Final = {1: 1, 2: 60, 3: 24 * 60}
MOST_RETENTION_MINUTES: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """A database's settings. Both kinds of snapshots are on from the start, as in Azure SQL Database."""

    snapshot_isolation: bool = True
    read_committed_snapshot: bool = True
    change_tracking: bool = False
    auto_cleanup: bool = True
    retention: int = 2
    retention_units: int = RETENTION_UNITS["DAYS"]

    @property
    def retention_minutes(self) -> int:
        """How long changes are kept, in minutes."""
        return self.retention * _MINUTES[self.retention_units]


def load_settings(connection: duckdb.DuckDBPyConnection, database: str) -> DatabaseSettings:
    """Return the settings of a database that was just attached."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_table(database)}(name VARCHAR, value INTEGER)")
    found = dict(connection.execute(f"SELECT name, value FROM {_table(database)}").fetchall())
    usual = DatabaseSettings()
    return replace(usual, **{name: type(getattr(usual, name))(value) for name, value in found.items()})


def store_settings(connection: duckdb.DuckDBPyConnection, database: str, settings: DatabaseSettings) -> None:
    """Keep the settings of a database."""
    names = [field.name for field in fields(DatabaseSettings)]
    connection.execute("BEGIN TRANSACTION")
    connection.execute(f"DELETE FROM {_table(database)}")
    for name, value in zip(names, astuple(settings), strict=True):
        connection.execute(f"INSERT INTO {_table(database)} VALUES (?, ?)", [name, int(value)])
    connection.execute("COMMIT")


def _table(database: str) -> str:
    return f"{quote(database)}.{CATALOGUE_SCHEMA}.settings"
