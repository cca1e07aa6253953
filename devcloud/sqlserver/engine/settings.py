"""What ALTER DATABASE … SET changes. It is kept in a table of the database, and takes effect at once, as there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Final

import duckdb

from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA
from devcloud.sqlserver.engine.values import quote
from devcloud.sqlserver.errors import make_error

_MINUTES: Final = {1: 1, 2: 60, 3: 24 * 60}
"""By unit of retention, as sys.change_tracking_databases numbers them: minutes, hours, days."""

_MOST_MINUTES: Final = 2**31 - 1

_NAMES: Final = {
    "ALLOW_SNAPSHOT_ISOLATION": "snapshot_isolation",
    "READ_COMMITTED_SNAPSHOT": "read_committed_snapshot",
    "CHANGE_TRACKING": "change_tracking",
    "AUTO_CLEANUP": "auto_cleanup",
    "CHANGE_RETENTION": "retention",
    "CHANGE_RETENTION_UNITS": "retention_units",
}


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """A database's settings. Both kinds of snapshots are on from the start, as in Azure SQL Database."""

    snapshot_isolation: bool = True
    read_committed_snapshot: bool = True
    change_tracking: bool = False
    auto_cleanup: bool = True
    retention: int = 2
    retention_units: int = 3
    change_data_capture: bool = False
    captured_up_to: int = -1
    """The last commit that the capture job has seen before it was stopped; -1 while it runs."""

    def changed(self, options: Iterable[tuple[str, str]]) -> DatabaseSettings:
        """Return the settings as options of ALTER DATABASE change them. Raises SqlError 5092."""
        settings = self
        for option, value in options:
            name = _NAMES[option]
            change: dict[str, Any] = {name: value == "ON" if value in ("ON", "OFF") else int(value)}
            settings = replace(settings, **change)
        if not 1 <= settings.retention * _MINUTES[settings.retention_units] <= _MOST_MINUTES:
            raise make_error(5092, "CHANGE_RETENTION")
        return settings


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
