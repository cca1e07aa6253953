"""A SQL Server for one laptop: TDS 7.4 on loopback, T-SQL's subset bound to DuckDB. See docs/devcloud/sqlserver.md."""

from devcloud.sqlserver.errors import SqlError
from devcloud.sqlserver.faults import Fault, Faults
from devcloud.sqlserver.server import DEFAULT_LOGINS, SqlServer

__all__ = ["DEFAULT_LOGINS", "Fault", "Faults", "SqlError", "SqlServer"]
