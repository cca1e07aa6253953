"""The parser of ALTER DATABASE, and of Change Tracking in ALTER TABLE."""

from __future__ import annotations

from typing import Final

from devcloud.sqlserver.tsql.commands import AlterDatabase, TrackTable
from devcloud.sqlserver.tsql.queries import QueryParser
from devcloud.sqlserver.tsql.syntax import Name

RETENTION_UNITS: Final = {"MINUTES": 1, "HOURS": 2, "DAYS": 3}
"""As sys.change_tracking_databases numbers them."""

_SNAPSHOTS: Final = ("ALLOW_SNAPSHOT_ISOLATION", "READ_COMMITTED_SNAPSHOT")


class DatabaseParser(QueryParser):
    """Parses settings of databases, and whether a table is tracked."""

    def parse_alter_database(self, line: int) -> AlterDatabase:
        """Parse what follows ALTER DATABASE."""
        name = None if self.accept("CURRENT") else self.parse_identifier()
        self.expect("SET")
        if self.accept("CHANGE_TRACKING"):
            return AlterDatabase(name, tuple(self._parse_change_tracking()), line)
        option = self.accept_any(*_SNAPSHOTS)
        if option is None:
            raise self.refused(f"ALTER DATABASE … {self.token.upper}")
        value = self._parse_switch()
        self._skip_termination()
        return AlterDatabase(name, ((option, value),), line)

    def _parse_change_tracking(self) -> list[tuple[str, str]]:
        options = []
        if self.accept("="):
            options.append(("CHANGE_TRACKING", self._parse_switch()))
        if options == [("CHANGE_TRACKING", "OFF")] or (options and not self.at("(")):
            return options
        self.expect("(")
        while True:
            option = self.accept_any("AUTO_CLEANUP", "CHANGE_RETENTION")
            if option is None:
                raise self.unexpected()
            self.expect("=")
            if option == "AUTO_CLEANUP":
                options.append((option, self._parse_switch()))
            else:
                length = self.parse_integer()
                unit = self.accept_any(*RETENTION_UNITS)
                if unit is None:
                    raise self.unexpected()
                options += [(option, str(length)), ("CHANGE_RETENTION_UNITS", str(RETENTION_UNITS[unit]))]
            if not self.accept(","):
                break
        self.expect(")")
        return options

    def parse_tracking(self, table: Name, line: int) -> TrackTable:
        """Parse ENABLE or DISABLE CHANGE_TRACKING."""
        enable = self.accept_any("ENABLE", "DISABLE") == "ENABLE"
        if not self.accept("CHANGE_TRACKING"):
            raise self.refused(f"ALTER TABLE … {self.token.upper}")
        if enable and self.accept("WITH", "("):
            self.expect("TRACK_COLUMNS_UPDATED", "=")
            if self._parse_switch() == "ON":
                raise self.refused("TRACK_COLUMNS_UPDATED")
            self.expect(")")
        return TrackTable(table, enable, line)

    def _parse_switch(self) -> str:
        value = self.accept_any("ON", "OFF")
        if value is None:
            raise self.unexpected()
        return value

    def _skip_termination(self) -> None:
        """Skip WITH ROLLBACK … or NO_WAIT: nobody is in the way here."""
        if not self.accept("WITH"):
            return
        if self.accept("NO_WAIT") or self.accept("ROLLBACK", "IMMEDIATE"):
            return
        self.expect("ROLLBACK", "AFTER")
        self.parse_integer()
        self.accept("SECONDS")
