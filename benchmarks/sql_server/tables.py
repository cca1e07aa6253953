"""The tables that are read: a narrow one, a wide one and one of large values, made on the server itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

DATABASE = "bench"

# One INSERT of so many rows at a time keeps the server's own memory within bounds.
_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class BenchTable:
    """A table whose rows are functions of their number. ``share`` of the rows asked for is what it gets."""

    name: str
    key: tuple[str, ...]
    columns: str
    values: str
    share: float = 1.0

    def rows(self, wanted: int) -> int:
        return max(1, int(wanted * self.share))


NARROW = BenchTable(
    "narrow",
    ("id",),
    "id bigint NOT NULL, customer int NOT NULL, amount decimal(12, 2) NULL, changed datetime2(3) NOT NULL",
    "value, value % 100003, CASE WHEN value % 20 = 0 THEN NULL ELSE (value % 90000) / 100.0 END, "
    "DATEADD(second, value, CAST('2024-01-01' AS datetime2(3)))",
)

# TPC-H's lineitem as its specification declares it, with values as far apart as dbgen's: four lines to an order, prices
# that rarely repeat, a comment of its own for every line.
LINEITEM = BenchTable(
    "lineitem",
    ("l_orderkey", "l_linenumber"),
    "l_orderkey int NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL, "
    "l_quantity decimal(15, 2) NOT NULL, l_extendedprice decimal(15, 2) NOT NULL, l_discount decimal(15, 2) NOT NULL, "
    "l_tax decimal(15, 2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, "
    "l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, "
    "l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL",
    "value / 4 + 1, value * CAST(7919 AS bigint) % 200003, value * CAST(6007 AS bigint) % 10007, value % 4 + 1, "
    "value * CAST(31 AS bigint) % 50 + 1, (value * CAST(7368787 AS bigint) % 10400003 + 90000) / 100.0, "
    "(value * CAST(17 AS bigint) % 11) / 100.0, (value * CAST(13 AS bigint) % 9) / 100.0, "
    "SUBSTRING('ANR', value % 3 + 1, 1), SUBSTRING('OF', value % 2 + 1, 1), "
    "DATEADD(day, value * CAST(7907 AS bigint) % 2526, CAST('1992-01-02' AS date)), "
    "DATEADD(day, value * CAST(6997 AS bigint) % 2466, CAST('1992-01-31' AS date)), "
    "DATEADD(day, value * CAST(5987 AS bigint) % 2554, CAST('1992-01-03' AS date)), "
    "CASE value % 4 WHEN 0 THEN 'DELIVER IN PERSON' WHEN 1 THEN 'COLLECT COD' WHEN 2 THEN 'NONE' "
    "ELSE 'TAKE BACK RETURN' END, CASE value % 7 WHEN 0 THEN 'TRUCK' WHEN 1 THEN 'RAIL' WHEN 2 THEN 'REG AIR' "
    "WHEN 3 THEN 'SHIP' WHEN 4 THEN 'FOB' WHEN 5 THEN 'AIR' ELSE 'MAIL' END, "
    "SUBSTRING(CONCAT(CASE value % 5 WHEN 0 THEN 'carefully final deposits ' WHEN 1 THEN 'slyly ironic ' "
    "WHEN 2 THEN 'quickly express requests sleep ' WHEN 3 THEN 'blithely ' ELSE 'furiously bold accounts ' END, "
    "value * CAST(104729 AS bigint) % 15485863, "
    "CASE value % 3 WHEN 0 THEN ' haggle along the' WHEN 1 THEN ' above' ELSE '' END), 1, 44)",
)

# TPC-H's lineitem, with a national text and a time of change: 18 columns.
WIDE = BenchTable(
    "wide",
    ("l_orderkey", "l_linenumber"),
    "l_orderkey bigint NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL, "
    "l_quantity decimal(15, 2) NOT NULL, l_extendedprice decimal(15, 2) NOT NULL, l_discount decimal(15, 2) NOT NULL, "
    "l_tax decimal(15, 2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, "
    "l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, "
    "l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL, "
    "l_note nvarchar(40) NULL, modified_at datetime2(7) NOT NULL",
    "value / 4, value % 199999, value % 9973, value % 4, value % 50, value % 90000 + 0.99, (value % 11) / 100.0, "
    "(value % 9) / 100.0, SUBSTRING('ANR', value % 3 + 1, 1), SUBSTRING('OF', value % 2 + 1, 1), "
    "DATEADD(day, value * 7 % 2500, CAST('1992-01-02' AS date)), "
    "DATEADD(day, value * 11 % 2500 + 30, CAST('1992-01-02' AS date)), "
    "DATEADD(day, value * 13 % 2500 + 45, CAST('1992-01-02' AS date)), "
    "CASE value % 4 WHEN 0 THEN 'DELIVER IN PERSON' WHEN 1 THEN 'COLLECT COD' WHEN 2 THEN 'NONE' "
    "ELSE 'TAKE BACK RETURN' END, CASE value % 3 WHEN 0 THEN 'TRUCK' WHEN 1 THEN 'RAIL' ELSE 'REG AIR' END, "
    "CONCAT('carefully final deposits ', value * 197 % 999983), "
    "CASE WHEN value % 10 = 0 THEN NULL ELSE CONCAT(N'note of line ', value * 31 % 100003) END, "
    "DATEADD(second, value, CAST('2024-01-01' AS datetime2(7)))",
)

# Documents of up to 60 KB and pictures of up to 64 KB; every five-hundredth document has four million characters.
LOB = BenchTable(
    "lob",
    ("id",),
    "id int NOT NULL, title nvarchar(100) NOT NULL, body nvarchar(max) NULL, picture varbinary(max) NULL",
    "value, CONCAT(N'document ', value), REPLICATE(CAST(N'a document''s text ' AS nvarchar(max)), "
    "CASE WHEN value % 500 = 0 THEN 222222 ELSE value % 1700 END), "
    "CAST(REPLICATE(CAST('picture ' AS varchar(max)), value * 7 % 8000) AS varbinary(max))",
    share=0.01,
)

TABLES = {table.name: table for table in (NARROW, LINEITEM, WIDE, LOB)}


@dataclass(frozen=True)
class Server:
    """Where the tables are. ``address`` is ``host,port``."""

    address: str
    login: str
    password: str

    @property
    def connection_string(self) -> str:
        """What every driver here understands; nothing is encrypted, for anybody."""
        return (
            f"Server={self.address};Database={DATABASE};UID={self.login};PWD={self.password};Encrypt=no;"
            "TrustServerCertificate=yes"
        )


@contextmanager
def connected(server: Server) -> Iterator[Any]:
    """A connection, closed in the end."""
    import mssql_python  # Not for those who only want to know how a table is called.

    connection = mssql_python.connect(server.connection_string, autocommit=True)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def filled(server: Server, table: BenchTable, rows: int) -> Iterator[None]:
    """The table with its rows, dropped in the end."""
    with connected(server) as connection:
        execute(connection, f"CREATE TABLE dbo.{table.name} ({table.columns}, PRIMARY KEY ({', '.join(table.key)}))")
        for first in range(1, rows + 1, _ROWS_AT_ONCE):
            series = f"GENERATE_SERIES({first}, {min(first + _ROWS_AT_ONCE - 1, rows)})"
            execute(connection, f"INSERT INTO dbo.{table.name} SELECT {table.values} FROM {series}")
        yield
        execute(connection, f"DROP TABLE dbo.{table.name}")


def execute(connection: Any, sql: str) -> None:
    """Run one statement that returns no rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
