"""The parser of ALTER DATABASE."""

from __future__ import annotations

from typing import Final

from devcloud.sqlserver.tsql.commands import AlterDatabase
from devcloud.sqlserver.tsql.queries import QueryParser

_SNAPSHOTS: Final = ("ALLOW_SNAPSHOT_ISOLATION", "READ_COMMITTED_SNAPSHOT")


class DatabaseParser(QueryParser):
    """Parses ALTER DATABASE."""

    def parse_alter_database(self, line: int) -> AlterDatabase:
        """Parse what follows ALTER DATABASE."""
        name = None if self.accept("CURRENT") else self.parse_identifier()
        self.expect("SET")
        option = self.accept_any(*_SNAPSHOTS)
        if option is None:
            raise self.refused(f"ALTER DATABASE … {self.token.upper}")
        value = self._parse_switch()
        self._skip_termination()
        return AlterDatabase(name, ((option, value),), line)

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
