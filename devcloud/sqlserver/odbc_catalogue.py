"""The catalogue procedures behind ODBC's SQLTables, SQLColumns, SQLPrimaryKeys and SQLGetTypeInfo."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from devcloud.sqlserver.engine.catalogue import ColumnInfo, Table
from devcloud.sqlserver.engine.patterns import like_to_regex
from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.execution import Execution
from devcloud.sqlserver.metadata import Cell, result_columns
from devcloud.sqlserver.types import (
    INT,
    MAX,
    SMALLINT,
    SYSNAME,
    SYSTEM_TYPES,
    TINYINT,
    SqlType,
    nvarchar,
    varchar,
)

_ODBC_TYPES: Final[dict[str, int]] = {
    "bit": -7,
    "tinyint": -6,
    "smallint": 5,
    "int": 4,
    "bigint": -5,
    "decimal": 3,
    "numeric": 2,
    "money": 3,
    "smallmoney": 3,
    "real": 7,
    "float": 6,
    "date": 91,
    "time": -154,
    "datetime": 93,
    "smalldatetime": 93,
    "datetime2": 93,
    "datetimeoffset": -155,
    "char": 1,
    "varchar": 12,
    "text": -1,
    "nchar": -8,
    "nvarchar": -9,
    "sysname": -9,
    "ntext": -10,
    "xml": -152,
    "binary": -2,
    "varbinary": -3,
    "image": -4,
    "timestamp": -2,
    "uniqueidentifier": -11,
    "sql_variant": -150,
}
"""SQL_… numbers of sql.h, sqlext.h and Microsoft's sqlncli.h."""


def _matches(pattern: Scalar, text: str, *, is_pattern: bool = True) -> bool:
    if pattern is None or pattern == "":
        return True
    expression = like_to_regex(str(pattern), "\\") if is_pattern else re.escape(str(pattern))
    return re.fullmatch(expression, text, re.IGNORECASE | re.DOTALL) is not None


def _tables_like(executor: Execution, given: Mapping[str, Scalar], *, is_pattern: bool = True) -> list[Table]:
    session = executor.session
    database = str(given.get("table_qualifier") or session.database)
    tables = session.catalogue(database).tables.values()
    chosen = [
        table
        for table in tables
        if _matches(given.get("table_name"), table.name, is_pattern=is_pattern)
        and _matches(given.get("table_owner"), table.schema, is_pattern=is_pattern)
    ]
    return sorted(chosen, key=lambda table: (table.schema, table.name))


_COLUMN_COLUMNS: Final = result_columns(
    TABLE_CAT=SYSNAME,
    TABLE_SCHEM=SYSNAME,
    TABLE_NAME=SYSNAME,
    COLUMN_NAME=SYSNAME,
    DATA_TYPE=SMALLINT,
    TYPE_NAME=SYSNAME,
    COLUMN_SIZE=INT,
    BUFFER_LENGTH=INT,
    DECIMAL_DIGITS=SMALLINT,
    NUM_PREC_RADIX=SMALLINT,
    NULLABLE=SMALLINT,
    REMARKS=varchar(254),
    COLUMN_DEF=nvarchar(4000),
    SQL_DATA_TYPE=SMALLINT,
    SQL_DATETIME_SUB=SMALLINT,
    CHAR_OCTET_LENGTH=INT,
    ORDINAL_POSITION=INT,
    IS_NULLABLE=varchar(254),
    SS_IS_SPARSE=SMALLINT,
    SS_IS_COLUMN_SET=SMALLINT,
    SS_IS_COMPUTED=SMALLINT,
    SS_IS_IDENTITY=SMALLINT,
    SS_UDT_CATALOG_NAME=SYSNAME,
    SS_UDT_SCHEMA_NAME=SYSNAME,
    SS_UDT_ASSEMBLY_TYPE_NAME=nvarchar(4000),
    SS_XML_SCHEMACOLLECTION_CATALOG_NAME=SYSNAME,
    SS_XML_SCHEMACOLLECTION_SCHEMA_NAME=SYSNAME,
    SS_XML_SCHEMACOLLECTION_NAME=SYSNAME,
    SS_DATA_TYPE=TINYINT,
)


def list_columns(executor: Execution, given: Mapping[str, Scalar]) -> None:
    """Send the columns of tables: sp_columns_100, behind SQLColumns."""
    rows: list[list[Cell]] = []
    for table in _tables_like(executor, given):
        for place, column in enumerate(table.columns, start=1):
            if _matches(given.get("column_name"), column.name):
                rows.append(_describe_column(executor, table, column, place))
    executor.send_table(_COLUMN_COLUMNS, rows)


def _describe_column(executor: Execution, table: Table, column: ColumnInfo, place: int) -> list[Cell]:
    kind = column.type
    type_name = f"{kind.name} identity" if column.identity is not None else kind.name
    size, length, digits, radix = _odbc_size(kind)
    odbc = _ODBC_TYPES[kind.name]
    is_datetime = kind.is_moment and kind.name not in ("time", "datetimeoffset")
    octets = length if kind.is_text or kind.is_binary else None
    return [
        *(
            executor.session.database,
            table.schema,
            table.name,
            column.name,
            odbc,
            type_name,
            size,
            length,
            digits,
            radix,
        ),
        *(int(column.nullable), None, None if column.default is None else f"({column.default})"),
        *(9 if is_datetime else odbc, (1 if kind.name == "date" else 3) if is_datetime else None, octets, place),
        *("YES" if column.nullable else "NO", 0, 0, int(column.computed is not None), int(column.identity is not None)),
        *(None, None, None, None, None, None, SYSTEM_TYPES[kind.name][0]),
    ]


def _odbc_size(kind: SqlType) -> tuple[int, int, int | None, int | None]:
    """Return column size, buffer length, decimal digits and radix as ODBC counts them."""
    if kind.length == MAX:
        return 0, 0, None, None
    if kind.is_text:
        return kind.length, kind.max_length, None, None
    if kind.is_binary:
        return kind.max_length, kind.max_length, None, None
    if kind.name in ("real", "float"):
        return kind.catalogue_precision, kind.max_length, None, 2
    if kind.is_number:
        precision = kind.catalogue_precision
        length = precision + 2 if kind.is_decimal else kind.max_length
        return precision, length, kind.catalogue_scale, None if kind.name == "bit" else 10
    if kind.name == "uniqueidentifier":
        return 36, 16, None, None
    length = {"date": 6, "time": 12, "datetimeoffset": 20}.get(kind.name, 16)
    return kind.catalogue_precision, length, kind.catalogue_scale, None


def list_primary_keys(executor: Execution, given: Mapping[str, Scalar]) -> None:
    """Send the primary keys of tables: sp_pkeys, behind SQLPrimaryKeys."""
    columns = result_columns(
        TABLE_QUALIFIER=SYSNAME,
        TABLE_OWNER=SYSNAME,
        TABLE_NAME=SYSNAME,
        COLUMN_NAME=SYSNAME,
        KEY_SEQ=SMALLINT,
        PK_NAME=SYSNAME,
    )
    rows: list[list[Cell]] = []
    for table in _tables_like(executor, given, is_pattern=False):
        key = table.primary_key
        names = {column.column_id: column.name for column in table.columns}
        for place, (column_id, _) in enumerate(key.columns if key is not None else (), start=1):
            name = key.name if key is not None else None
            rows.append([executor.session.database, table.schema, table.name, names[column_id], place, name])
    executor.send_table(columns, rows)


def list_tables(executor: Execution, given: Mapping[str, Scalar]) -> None:
    """Send tables and views: sp_tables, behind SQLTables."""
    columns = result_columns(
        TABLE_QUALIFIER=SYSNAME, TABLE_OWNER=SYSNAME, TABLE_NAME=SYSNAME, TABLE_TYPE=varchar(32), REMARKS=varchar(254)
    )
    wanted = str(given.get("table_type") or "").upper()
    rows: list[list[Cell]] = []
    for table in _tables_like(executor, given):
        kind = "TABLE" if table.kind == "U" else "VIEW"
        if not wanted or f"'{kind}'" in wanted or wanted == kind:
            rows.append([executor.session.database, table.schema, table.name, kind, None])
    executor.send_table(columns, rows)


def _data_type_order(item: tuple[str, int]) -> tuple[int, bool, str]:
    """Order by ODBC type, the closest match first: pyodbc takes the precision of datetimes from that row."""
    name, odbc = item
    return odbc, name not in ("datetime2", "decimal", "binary", "nvarchar"), name


def list_data_types(executor: Execution, wanted: Scalar) -> None:
    """Send the server's types: sp_datatype_info_100, behind SQLGetTypeInfo."""
    columns = result_columns(
        TYPE_NAME=SYSNAME,
        DATA_TYPE=SMALLINT,
        PRECISION=INT,
        LITERAL_PREFIX=varchar(32),
        LITERAL_SUFFIX=varchar(32),
        CREATE_PARAMS=varchar(32),
        NULLABLE=SMALLINT,
        CASE_SENSITIVE=SMALLINT,
        SEARCHABLE=SMALLINT,
        UNSIGNED_ATTRIBUTE=SMALLINT,
        MONEY=SMALLINT,
        AUTO_INCREMENT=SMALLINT,
        LOCAL_TYPE_NAME=SYSNAME,
        MINIMUM_SCALE=SMALLINT,
        MAXIMUM_SCALE=SMALLINT,
        SQL_DATA_TYPE=SMALLINT,
        SQL_DATETIME_SUB=SMALLINT,
        NUM_PREC_RADIX=INT,
        INTERVAL_PRECISION=SMALLINT,
        USERTYPE=SMALLINT,
    )
    rows: list[list[Cell]] = []
    for name, odbc in sorted(_ODBC_TYPES.items(), key=_data_type_order):
        if isinstance(wanted, int) and wanted not in (0, odbc):
            continue
        _, _, length, precision, scale = SYSTEM_TYPES[name]
        kind = SqlType("nvarchar" if name == "sysname" else name)
        quote = None if kind.is_number else "0x" if kind.is_binary else "'"
        parameters = "length" if length == 8000 else "precision,scale" if name in ("decimal", "numeric") else None
        if name in ("time", "datetime2", "datetimeoffset"):
            parameters = "scale"
        size = {"text": 2**31 - 1, "image": 2**31 - 1, "ntext": 2**30 - 1, "uniqueidentifier": 36}.get(
            name, precision or (4000 if name in ("nchar", "nvarchar") else length)
        )
        is_datetime = name in ("date", "datetime", "smalldatetime", "datetime2")
        unsigned = (1 if name in ("tinyint", "bit") else 0) if kind.is_number else None
        rows.append(
            [
                *(name, odbc, size, quote, None if quote == "0x" else quote, parameters, int(name != "timestamp"), 0),
                *(3 if kind.is_text else 2, unsigned, int("money" in name), 0 if kind.is_number else None, name),
                *(0 if kind.is_number and not kind.is_float else None, scale, 9 if is_datetime else odbc),
                *((1 if name == "date" else 3) if is_datetime else None, 10 if kind.is_number else None, None, 0),
            ]
        )
    executor.send_table(columns, rows)
