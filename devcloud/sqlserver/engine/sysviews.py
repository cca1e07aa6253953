"""The system views: sys.* and INFORMATION_SCHEMA.*, each a typed query over the catalogue's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final

from devcloud.sqlserver.engine.settings import DatabaseSettings
from devcloud.sqlserver.engine.values import quote_text
from devcloud.sqlserver.types import (
    BIGINT,
    BIT,
    DATETIME,
    DEFAULT_COLLATION,
    INT,
    SMALLINT,
    SYSNAME,
    SYSTEM_TYPES,
    TINYINT,
    SqlType,
    nvarchar,
    varchar,
)

_TYPES: Final[dict[str, SqlType]] = {
    "int": INT,
    "smallint": SMALLINT,
    "tinyint": TINYINT,
    "bigint": BIGINT,
    "bit": BIT,
    "sysname": SYSNAME,
    "datetime": DATETIME,
    "char2": SqlType("char", length=2),
    "nvarchar60": nvarchar(60),
    "nvarchar128": nvarchar(128),
    "nvarchar1035": nvarchar(1035),
    "nvarcharmax": nvarchar(-1),
    "varchar20": varchar(20),
    "varchar10": varchar(10),
    "varchar11": varchar(11),
    "varchar3": varchar(3),
}


@dataclass(frozen=True, slots=True)
class SystemView:
    """A system view: its columns and the DuckDB query behind it, in which ``{db}`` is the catalogue's schema."""

    columns: tuple[tuple[str, SqlType], ...]
    query: str


def _view(query: str, **columns: str) -> SystemView:
    """Make a view; each column is given as ``type expression``."""
    parts = {name: definition.split(" ", 1) for name, definition in columns.items()}
    items = ", ".join(
        f'CAST({expression} AS {_TYPES[kind].storage}) AS "{name}"' for name, (kind, expression) in parts.items()
    )
    return SystemView(tuple((name, _TYPES[kind]) for name, (kind, _) in parts.items()), f"SELECT {items} {query}")


_KIND_TEXT: Final = "CASE o.kind WHEN 'U' THEN 'USER_TABLE' WHEN 'V' THEN 'VIEW' WHEN 'SN' THEN 'SYNONYM' END"
_TYPE_ROWS: Final = ", ".join(
    f"('{name}', {system}, {user}, {length}, {precision}, {scale})"
    for name, (system, user, length, precision, scale) in SYSTEM_TYPES.items()
)
_TYPE_TABLE: Final = f"(VALUES {_TYPE_ROWS}) AS y(name, system_id, user_id, max_length, digits, places)"
_TEXT_TYPES: Final = "('char', 'varchar', 'nchar', 'nvarchar', 'text', 'ntext')"

_OBJECT: Final = {
    "name": "sysname o.name",
    "object_id": "int o.object_id",
    "principal_id": "int NULL",
    "schema_id": "int o.schema_id",
    "parent_object_id": "int 0",
    "type": "char2 rpad(o.kind, 2, ' ')",
    "type_desc": f"nvarchar60 {_KIND_TEXT}",
    "create_date": "datetime o.created",
    "modify_date": "datetime o.modified",
    "is_ms_shipped": "bit 0",
    "is_published": "bit 0",
    "is_schema_published": "bit 0",
}

_COLUMNS_FROM: Final = (
    f"FROM {{db}}.columns c JOIN {{db}}.objects o USING (object_id) JOIN {_TYPE_TABLE} ON y.name = c.type_name"
)

_COLUMN: Final = {
    "object_id": "int c.object_id",
    "name": "sysname c.name",
    "column_id": "int c.column_id",
    "system_type_id": "tinyint y.system_id",
    "user_type_id": "int y.user_id",
    "max_length": "smallint c.max_length",
    "precision": "tinyint c.shown_precision",
    "scale": "tinyint c.shown_scale",
    "collation_name": f"sysname CASE WHEN c.type_name IN {_TEXT_TYPES} THEN c.collation_name END",
    "is_nullable": "bit c.is_nullable",
    "is_ansi_padded": "bit 1",
    "is_rowguidcol": "bit 0",
    "is_identity": "bit c.seed IS NOT NULL",
    "is_computed": "bit c.computed IS NOT NULL",
    "is_filestream": "bit 0",
    "is_sparse": "bit 0",
    "is_hidden": "bit 0",
    "is_masked": "bit 0",
    "encryption_type": "int NULL",
    "graph_type": "int NULL",
    "default_object_id": "int coalesce(c.default_id, 0)",
}

_INDEX_COLUMNS: Final = {
    "object_id": "int i.object_id",
    "index_id": "int i.index_id",
    "index_column_id": "int i.position",
    "column_id": "int i.column_id",
    "key_ordinal": "tinyint CASE WHEN i.is_included THEN 0 ELSE i.position END",
    "partition_ordinal": "tinyint 0",
    "is_descending_key": "bit i.is_descending",
    "is_included_column": "bit i.is_included",
}

_INDEXES_FROM: Final = (
    "FROM (SELECT object_id, name, index_id, is_unique, is_primary, is_constraint, is_clustered FROM {db}.indexes "
    "UNION ALL SELECT object_id, NULL, 0, false, false, false, false FROM {db}.objects AS h WHERE kind = 'U' AND NOT "
    "EXISTS (SELECT 1 FROM {db}.indexes AS g WHERE g.object_id = h.object_id AND g.is_clustered)) AS i"
)

_LENGTH: Final = (
    "CASE WHEN c.type_name IN ('xml') THEN -1 WHEN c.type_name IN ('text', 'image') THEN 2147483647 "
    "WHEN c.type_name = 'ntext' THEN 1073741823 WHEN c.type_name IN ('char', 'varchar', 'nchar', 'nvarchar', 'binary', "
    "'varbinary') THEN c.length WHEN c.type_name = 'sql_variant' THEN 0 END"
)
_IS_EXACT: Final = (
    "c.type_name IN ('tinyint', 'smallint', 'int', 'bigint', 'decimal', 'numeric', 'money', 'smallmoney')"
)
_IS_FLOAT: Final = "c.type_name IN ('real', 'float')"
_IS_TIME: Final = "c.type_name IN ('date', 'time', 'datetime', 'smalldatetime', 'datetime2', 'datetimeoffset')"

SYSTEM_VIEWS: Final[dict[tuple[str, str], SystemView]] = {
    ("sys", "schemas"): _view(
        "FROM {db}.schemas s", name="sysname s.name", schema_id="int s.schema_id", principal_id="int s.principal_id"
    ),
    ("sys", "objects"): _view("FROM {db}.objects o", **_OBJECT),
    ("sys", "all_objects"): _view("FROM {db}.objects o", **_OBJECT),
    ("sys", "tables"): _view(
        "FROM {db}.objects o WHERE o.kind = 'U'",
        **_OBJECT,
        temporal_type="tinyint 0",
        is_external="bit 0",
        is_memory_optimized="bit 0",
        lob_data_space_id="int 0",
    ),
    ("sys", "views"): _view("FROM {db}.objects o WHERE o.kind = 'V'", **_OBJECT),
    ("sys", "synonyms"): _view(
        "FROM {db}.objects o WHERE o.kind = 'SN'", **_OBJECT, base_object_name="nvarchar1035 o.body"
    ),
    ("sys", "columns"): _view(_COLUMNS_FROM, **_COLUMN),
    ("sys", "all_columns"): _view(_COLUMNS_FROM, **_COLUMN),
    ("sys", "identity_columns"): _view(
        f"{_COLUMNS_FROM} WHERE c.seed IS NOT NULL",
        **_COLUMN,
        seed_value="bigint c.seed",
        increment_value="bigint c.increment",
    ),
    ("sys", "computed_columns"): _view(
        f"{_COLUMNS_FROM} WHERE c.computed IS NOT NULL",
        **_COLUMN,
        definition="nvarcharmax c.computed",
        uses_database_collation="bit 1",
        is_persisted="bit c.is_persisted",
    ),
    ("sys", "default_constraints"): _view(
        "FROM {db}.columns c JOIN {db}.objects o USING (object_id) WHERE c.default_id IS NOT NULL",
        name="sysname c.default_name",
        object_id="int c.default_id",
        schema_id="int o.schema_id",
        parent_object_id="int c.object_id",
        type="char2 'D '",
        parent_column_id="int c.column_id",
        definition="nvarcharmax '(' || c.default_definition || ')'",
    ),
    ("sys", "types"): _view(
        f"FROM {_TYPE_TABLE}",
        name="sysname y.name",
        system_type_id="tinyint y.system_id",
        user_type_id="int y.user_id",
        schema_id="int 4",
        principal_id="int NULL",
        max_length="smallint y.max_length",
        precision="tinyint y.digits",
        scale="tinyint y.places",
        collation_name=f"sysname CASE WHEN y.name IN {_TEXT_TYPES[:-1]}, 'sysname') THEN '{DEFAULT_COLLATION}' END",
        is_nullable="bit y.name <> 'sysname' AND y.name <> 'timestamp'",
        is_user_defined="bit 0",
        is_assembly_type="bit 0",
        default_object_id="int 0",
        rule_object_id="int 0",
        is_table_type="bit 0",
    ),
    ("sys", "indexes"): _view(
        _INDEXES_FROM,
        object_id="int i.object_id",
        name="sysname i.name",
        index_id="int i.index_id",
        type="tinyint CASE WHEN i.index_id = 0 THEN 0 WHEN i.is_clustered THEN 1 ELSE 2 END",
        type_desc="nvarchar60 CASE WHEN i.index_id = 0 THEN 'HEAP' WHEN i.is_clustered THEN 'CLUSTERED' "
        "ELSE 'NONCLUSTERED' END",
        is_unique="bit i.is_unique",
        data_space_id="int 1",
        ignore_dup_key="bit 0",
        is_primary_key="bit i.is_primary",
        is_unique_constraint="bit i.is_constraint AND NOT i.is_primary",
        fill_factor="tinyint 0",
        is_disabled="bit 0",
        is_hypothetical="bit 0",
        has_filter="bit 0",
        filter_definition="nvarcharmax NULL",
    ),
    ("sys", "index_columns"): _view("FROM {db}.index_columns i", **_INDEX_COLUMNS),
    ("sys", "key_constraints"): _view(
        "FROM {db}.indexes i JOIN {db}.objects o USING (object_id) WHERE i.is_constraint",
        name="sysname i.name",
        object_id="int i.constraint_id",
        schema_id="int o.schema_id",
        parent_object_id="int i.object_id",
        type="char2 CASE WHEN i.is_primary THEN 'PK' ELSE 'UQ' END",
        type_desc="nvarchar60 CASE WHEN i.is_primary THEN 'PRIMARY_KEY_CONSTRAINT' ELSE 'UNIQUE_CONSTRAINT' END",
        unique_index_id="int i.index_id",
        is_system_named="bit 0",
    ),
    ("sys", "partitions"): _view(
        f"{_INDEXES_FROM} JOIN {{db}}.objects o USING (object_id) JOIN {{db}}.schemas s USING (schema_id) "
        "JOIN (SELECT schema_name, table_name, estimated_size FROM duckdb_tables() WHERE database_name = {database}) t "
        "ON lower(t.schema_name) = lower(s.name) AND lower(t.table_name) = lower(o.name)",
        partition_id="bigint i.object_id",
        object_id="int i.object_id",
        index_id="int i.index_id",
        partition_number="int 1",
        hobt_id="bigint i.object_id",
        rows="bigint t.estimated_size",
        data_compression="tinyint 0",
    ),
    ("sys", "sql_modules"): _view(
        "FROM {db}.objects o WHERE o.kind = 'V'", object_id="int o.object_id", definition="nvarcharmax o.definition"
    ),
    ("sys", "databases"): _view(
        "FROM {databases}",
        name="sysname k.name",
        database_id="int k.number",
        compatibility_level="tinyint 160",
        collation_name=f"sysname '{DEFAULT_COLLATION}'",
        state="tinyint 0",
        state_desc="nvarchar60 'ONLINE'",
        is_read_only="bit 0",
        snapshot_isolation_state="tinyint k.snapshot_isolation",
        snapshot_isolation_state_desc="nvarchar60 CASE k.snapshot_isolation WHEN 1 THEN 'ON' ELSE 'OFF' END",
        is_read_committed_snapshot_on="bit k.read_committed_snapshot",
    ),
    ("sys", "change_tracking_databases"): _view(
        "FROM {databases} WHERE k.change_tracking = 1",
        database_id="int k.number",
        is_auto_cleanup_on="bit k.auto_cleanup",
        retention_period="int k.retention",
        retention_period_units="tinyint k.retention_units",
        retention_period_units_desc="nvarchar60 CASE k.retention_units WHEN 1 THEN 'MINUTES' WHEN 2 THEN 'HOURS' "
        "ELSE 'DAYS' END",
        max_cleanup_version="bigint NULL",
    ),
    ("sys", "change_tracking_tables"): _view(
        "FROM {db}.tracked_tables t",
        object_id="int t.object_id",
        is_track_columns_updated_on="bit 0",
        min_valid_version="bigint t.min_version",
        begin_version="bigint t.begin_version",
        cleanup_version="bigint CASE WHEN t.min_version > t.begin_version THEN t.min_version END",
    ),
    ("sys", "database_principals"): _view(
        "FROM {db}.principals p",
        name="sysname p.name",
        principal_id="int p.principal_id",
        type="char2 rpad(p.kind, 2, ' ')",
        type_desc="nvarchar60 CASE p.kind WHEN 'R' THEN 'DATABASE_ROLE' ELSE 'SQL_USER' END",
    ),
    ("sys", "database_permissions"): _view(
        "FROM {db}.permissions p JOIN {db}.principals q ON lower(q.name) = lower(p.principal)",
        major_id="int p.target",
        grantee_principal_id="int q.principal_id",
        permission_name="nvarchar128 p.permission",
        state_desc="nvarchar60 p.state",
    ),
    ("information_schema", "schemata"): _view(
        "FROM {db}.schemas s", CATALOG_NAME="sysname {database}", SCHEMA_NAME="nvarchar128 s.name"
    ),
    ("information_schema", "tables"): _view(
        "FROM {db}.objects o JOIN {db}.schemas s USING (schema_id) WHERE o.kind <> 'SN'",
        TABLE_CATALOG="nvarchar128 {database}",
        TABLE_SCHEMA="sysname s.name",
        TABLE_NAME="sysname o.name",
        TABLE_TYPE="varchar10 CASE o.kind WHEN 'U' THEN 'BASE TABLE' ELSE 'VIEW' END",
    ),
    ("information_schema", "views"): _view(
        "FROM {db}.objects o JOIN {db}.schemas s USING (schema_id) WHERE o.kind = 'V'",
        TABLE_CATALOG="nvarchar128 {database}",
        TABLE_SCHEMA="sysname s.name",
        TABLE_NAME="sysname o.name",
        VIEW_DEFINITION="nvarcharmax o.definition",
    ),
    ("information_schema", "columns"): _view(
        "FROM {db}.columns c JOIN {db}.objects o USING (object_id) JOIN {db}.schemas s USING (schema_id)",
        TABLE_CATALOG="nvarchar128 {database}",
        TABLE_SCHEMA="nvarchar128 s.name",
        TABLE_NAME="sysname o.name",
        COLUMN_NAME="sysname c.name",
        ORDINAL_POSITION="int c.column_id",
        COLUMN_DEFAULT="nvarcharmax '(' || c.default_definition || ')'",
        IS_NULLABLE="varchar3 CASE WHEN c.is_nullable THEN 'YES' ELSE 'NO' END",
        DATA_TYPE="nvarchar128 c.type_name",
        CHARACTER_MAXIMUM_LENGTH=f"int {_LENGTH}",
        CHARACTER_OCTET_LENGTH=f"int CASE WHEN c.type_name IN ('nchar', 'nvarchar') AND c.length > 0 THEN 2 * c.length "
        f"WHEN c.type_name = 'ntext' THEN 2147483646 ELSE {_LENGTH} END",
        NUMERIC_PRECISION=f"tinyint CASE WHEN {_IS_EXACT} OR {_IS_FLOAT} THEN c.shown_precision END",
        NUMERIC_PRECISION_RADIX=f"smallint CASE WHEN {_IS_EXACT} THEN 10 WHEN {_IS_FLOAT} THEN 2 END",
        NUMERIC_SCALE=f"int CASE WHEN {_IS_EXACT} THEN c.shown_scale END",
        DATETIME_PRECISION=f"smallint CASE WHEN {_IS_TIME} THEN c.shown_scale END",
        COLLATION_NAME=f"sysname CASE WHEN c.type_name IN {_TEXT_TYPES} THEN c.collation_name END",
    ),
    ("information_schema", "table_constraints"): _view(
        "FROM {db}.indexes i JOIN {db}.objects o USING (object_id) JOIN {db}.schemas s USING (schema_id) "
        "WHERE i.is_constraint",
        CONSTRAINT_CATALOG="nvarchar128 {database}",
        CONSTRAINT_SCHEMA="nvarchar128 s.name",
        CONSTRAINT_NAME="sysname i.name",
        TABLE_CATALOG="nvarchar128 {database}",
        TABLE_SCHEMA="nvarchar128 s.name",
        TABLE_NAME="sysname o.name",
        CONSTRAINT_TYPE="varchar11 CASE WHEN i.is_primary THEN 'PRIMARY KEY' ELSE 'UNIQUE' END",
        IS_DEFERRABLE="varchar3 'NO'",
        INITIALLY_DEFERRED="varchar3 'NO'",
    ),
    ("information_schema", "key_column_usage"): _view(
        "FROM {db}.indexes i JOIN {db}.index_columns k USING (object_id, index_id) JOIN {db}.columns c "
        "USING (object_id, column_id) JOIN {db}.objects o USING (object_id) JOIN {db}.schemas s USING (schema_id) "
        "WHERE i.is_constraint",
        CONSTRAINT_CATALOG="nvarchar128 {database}",
        CONSTRAINT_SCHEMA="nvarchar128 s.name",
        CONSTRAINT_NAME="nvarchar128 i.name",
        TABLE_CATALOG="nvarchar128 {database}",
        TABLE_SCHEMA="nvarchar128 s.name",
        TABLE_NAME="nvarchar128 o.name",
        COLUMN_NAME="nvarchar128 c.name",
        ORDINAL_POSITION="int k.position",
    ),
}


def system_query(
    view: SystemView, database: str, catalogue: str, databases: Sequence[tuple[int, str, DatabaseSettings]]
) -> str:
    """Return the DuckDB query of a system view in one database."""
    columns = ["number", "name", *(field.name for field in fields(DatabaseSettings))]
    rows = ", ".join(
        f"({', '.join([str(number), quote_text(name), *(str(int(value)) for value in astuple(settings))])})"
        for number, name, settings in databases
    )
    table = f"(VALUES {rows}) AS k({', '.join(columns)})"
    return (
        view.query.replace("{db}", catalogue).replace("{database}", quote_text(database)).replace("{databases}", table)
    )
