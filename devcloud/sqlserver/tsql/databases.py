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

    def parse_alter_database(self) -> AlterDatabase:
        """Parse what follows ALTER DATABASE."""
        name = None if self.accept("CURRENT") else self.parse_identifier()
        self.expect("SET")
        if self.accept("CHANGE_TRACKING"):
            return AlterDatabase(name, tuple(self._parse_change_tracking()))
        option = self.accept_any(*_SNAPSHOTS)
        if option is None:
            raise self.refused(f"ALTER DATABASE … {self.token.upper}")
        value = self.expect_any("ON", "OFF")
        self._skip_termination()
        return AlterDatabase(name, ((option, value),))

    def _parse_change_tracking(self) -> list[tuple[str, str]]:
        options = []
        if self.accept("="):
            options.append(("CHANGE_TRACKING", self.expect_any("ON", "OFF")))
        if options == [("CHANGE_TRACKING", "OFF")] or (options and not self.at("(")):
            return options
        self.expect("(")
        while True:
            option = self.expect_any("AUTO_CLEANUP", "CHANGE_RETENTION")
            self.expect("=")
            if option == "AUTO_CLEANUP":
                options.append((option, self.expect_any("ON", "OFF")))
            else:
                length = self.parse_integer()
                unit = self.expect_any(*RETENTION_UNITS)
                options += [(option, str(length)), ("CHANGE_RETENTION_UNITS", str(RETENTION_UNITS[unit]))]
            if not self.accept(","):
                break
        self.expect(")")
        return options

    def parse_tracking(self, table: Name) -> TrackTable:
        """Parse ENABLE or DISABLE CHANGE_TRACKING."""
        enable = self.accept_any("ENABLE", "DISABLE") == "ENABLE"
        if not self.accept("CHANGE_TRACKING"):
            raise self.refused(f"ALTER TABLE … {self.token.upper}")
        if enable and self.accept("WITH", "("):
            self.expect("TRACK_COLUMNS_UPDATED", "=")
            if self.expect_any("ON", "OFF") == "ON":
                raise self.refused("TRACK_COLUMNS_UPDATED")
            self.expect(")")
        return TrackTable(table, enable)

    def _skip_termination(self) -> None:
        """Skip WITH ROLLBACK … or NO_WAIT: no other session is in the way here."""
        if not self.accept("WITH"):
            return
        if self.accept("NO_WAIT") or self.accept("ROLLBACK", "IMMEDIATE"):
            return
        self.expect("ROLLBACK", "AFTER")
        self.parse_integer()
        self.accept("SECONDS")
