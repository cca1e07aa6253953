"""Carries out ALTER TABLE … ENABLE and DISABLE CHANGE_TRACKING, and guards the tables that are tracked."""

from __future__ import annotations

from typing import Final

from devcloud.sqlserver.engine.capture import key_names
from devcloud.sqlserver.engine.catalogue import Catalogue, Key, Table
from devcloud.sqlserver.engine.settings import DatabaseSettings
from devcloud.sqlserver.engine.table_definitions import TableDefiner
from devcloud.sqlserver.engine.tracking import changes_table, current_version
from devcloud.sqlserver.engine.values import quote
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.tsql.commands import TrackTable

TRACKING_OPTIONS: Final = frozenset({"CHANGE_TRACKING", "AUTO_CLEANUP", "CHANGE_RETENTION"})


def check_tracking(catalogue: Catalogue, settings: DatabaseSettings, switch: str | None) -> None:
    """Check that Change Tracking of a database may be switched, or, without a switch, set up.

    Raises SqlError 5088, 5089, 5090 or 22115.
    """
    if catalogue.database == "master":
        raise make_error(5090, catalogue.database)
    if switch == "ON":
        if settings.change_tracking:
            raise make_error(5088, catalogue.database)
    elif not settings.change_tracking:
        raise make_error(5089, catalogue.database)
    elif switch == "OFF" and any(table.tracked for table in catalogue.tables.values()):
        raise make_error(22115, catalogue.database)


class TrackingDefiner(TableDefiner):
    """Begins and ends the tracking of tables."""

    def track(self, statement: TrackTable) -> None:
        """Carry out ENABLE or DISABLE CHANGE_TRACKING. Raises SqlError 1718, 4996, 4997 or 4998."""
        catalogue, table = self._existing(statement.table)
        if not statement.enable:
            if not table.tracked:
                raise make_error(4998, table.name)
            self._end_tracking(catalogue, table)
            return
        if not self._environment.settings(catalogue.database).change_tracking:
            raise make_error(1718, catalogue.database, table.name)
        if table.tracked:
            raise make_error(4996, table.name)
        if table.primary_key is None:
            raise make_error(4997, table.name)
        columns = {column.name: column for column in table.columns}
        keys = ", ".join(f"{quote(name)} {columns[name].type.storage}" for name in key_names(table))
        target = changes_table(catalogue.database, table)
        self._run(f"CREATE TABLE {target} (number BIGINT, step INTEGER, operation VARCHAR, {keys})")
        version = current_version(self._connection, catalogue.database)
        self._run(
            f"INSERT INTO {self._where(catalogue)}.tracked_tables VALUES (?, ?, ?)", table.object_id, version, version
        )

    def _end_tracking(self, catalogue: Catalogue, table: Table) -> None:
        if table.tracked:
            self._run(f"DROP TABLE {changes_table(catalogue.database, table)}")
            self._run(f"DELETE FROM {self._where(catalogue)}.tracked_tables WHERE object_id = ?", table.object_id)

    def _drop_key(self, catalogue: Catalogue, table: Table, key: Key) -> None:
        if key.primary and table.tracked:
            raise make_error(3735, key.name, table.name)
        super()._drop_key(catalogue, table, key)
