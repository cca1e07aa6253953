"""Carries out data definition: tables, columns, keys, views, schemas, principals and permissions.

Everything runs on the session's DuckDB connection, inside its transaction, so that it commits or vanishes as a whole.
Keys are DuckDB unique indexes over the columns' sort keys: DuckDB cannot alter a table that has indexes, so that
altering drops them first and creates them again.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA, Catalogue, ColumnInfo, Key, Table
from devcloud.sqlserver.engine.expressions import declared_type
from devcloud.sqlserver.engine.moments import ticks_to_datetime
from devcloud.sqlserver.engine.queries import OutputColumn, name_columns
from devcloud.sqlserver.engine.scope import Environment, Scope, Source
from devcloud.sqlserver.engine.values import Value, quote
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import SqlError, make_error, refuse
from devcloud.sqlserver.tsql.statements import parse_expression
from devcloud.sqlserver.tsql.syntax import (
    AddToTable,
    AlterColumn,
    ColumnDefinition,
    Create,
    CreateIndex,
    CreateTable,
    CreateView,
    Drop,
    DropFromTable,
    KeyDefinition,
    Name,
    Permission,
)
from devcloud.sqlserver.types import COLLATIONS


class Definer:
    """Carries out the definitions of one statement."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, environment: Environment) -> None:
        self._connection = connection
        self._environment = environment

    def _run(self, sql: str, *values: object) -> None:
        self._connection.execute(sql, list(values))

    def _where(self, catalogue: Catalogue) -> str:
        return f"{quote(catalogue.database)}.{CATALOGUE_SCHEMA}"

    def _new_id(self, catalogue: Catalogue) -> int:
        rows = self._connection.execute(f"SELECT nextval('{self._where(catalogue)}.object_ids')").fetchall()
        return int(rows[0][0])

    def _locate(self, name: Name) -> tuple[Catalogue, str, str]:
        database, schema, own = ("", "", *name)[-3:]
        catalogue = self._environment.catalogue(database or self._environment.database)
        self._require_administrator(catalogue)
        schema = schema or "dbo"
        if schema.lower() not in catalogue.schemas:
            raise make_error(2760, schema)
        return catalogue, catalogue.schemas[schema.lower()][1], own

    def _require_administrator(self, catalogue: Catalogue) -> None:
        if self._environment.user != "dbo":
            raise make_error(262, "CREATE TABLE", catalogue.database)

    def _existing(self, name: Name, number: int = 4902) -> tuple[Catalogue, Table]:
        catalogue, schema, own = self._locate(name)
        table = catalogue.find(schema, own)
        if table is None:
            raise make_error(number, ".".join(part for part in name if part))
        return catalogue, table

    def _storage(self, catalogue: Catalogue, table: Table) -> str:
        return WriteBinder.storage_name(catalogue, table)

    # Tables

    def create_table(self, statement: CreateTable) -> None:
        """Carry out CREATE TABLE."""
        catalogue, schema, name = self._locate(statement.table)
        if name.startswith("#"):
            raise refuse("temporary table")
        if catalogue.find(schema, name) is not None:
            raise make_error(2714, name, state=6)
        keys = statement.keys
        primary = {column.lower() for key in keys if key.primary for column, _ in key.columns}
        if sum(key.primary for key in keys) > 1:
            raise SqlError(8110, f"Cannot add multiple PRIMARY KEY constraints to table '{name}'.")
        table = Table(self._new_id(catalogue), schema, name, "U", ())
        for definition in statement.columns:
            if definition.name.lower() in primary and definition.nullable is True:
                raise SqlError(8111, f"Cannot define PRIMARY KEY constraint on nullable column in table '{name}'.")
            if definition.name.lower() in primary:
                definition = replace(definition, nullable=False)
            table = replace(table, columns=(*table.columns, self._make_column(definition, table, catalogue)))
        self.store_table(catalogue, table)
        for key in keys:
            table = self._add_key(catalogue, table, key)

    def store_table(self, catalogue: Catalogue, table: Table) -> None:
        """Create a table's storage and its entries in the catalogue, without keys."""
        if not table.stored:
            raise refuse("a table of computed columns only")
        columns = ", ".join(
            f"{quote(column.name)} {column.type.storage}{'' if column.nullable else ' NOT NULL'}"
            for column in table.stored
        )
        self._run(f"CREATE TABLE {self._storage(catalogue, table)} ({columns})")
        now = ticks_to_datetime(self._environment.now)
        self._run(
            f"INSERT INTO {self._where(catalogue)}.objects VALUES (?, ?, ?, 'U', NULL, NULL, NULL, ?, ?)",
            table.object_id,
            catalogue.schemas[table.schema.lower()][0],
            table.name,
            now,
            now,
        )
        for column in table.columns:
            self._store_column(catalogue, table, column)

    def create_from_query(self, name: Name, outputs: tuple[OutputColumn, ...]) -> Table:
        """Create the table of SELECT … INTO and return it, without rows."""
        catalogue, schema, own = self._locate(name)
        if own.startswith("#"):
            raise refuse("temporary table")
        if catalogue.find(schema, own) is not None:
            raise make_error(2714, own, state=6)
        columns = []
        for place, output in enumerate(name_columns(outputs, (), own), start=1):
            if output.type.name == "timestamp":
                raise refuse("SELECT … INTO with a rowversion column")
            columns.append(ColumnInfo(place, output.name, output.shown_type, output.nullable))
        table = Table(self._new_id(catalogue), schema, own, "U", tuple(columns))
        self.store_table(catalogue, table)
        return table

    def _make_column(self, definition: ColumnDefinition, table: Table, catalogue: Catalogue) -> ColumnInfo:
        """Return the column that a definition describes. Raises SqlError 2705, 2738 or the errors of its expressions."""
        if table.column(definition.name) is not None:
            raise make_error(2705, definition.name, table.name)
        column_id = max((column.column_id for column in table.columns), default=0) + 1
        if definition.computed is not None:
            return self._make_computed(definition, table, catalogue, column_id)
        if definition.type is None:
            raise make_error(102, definition.name)
        kind = declared_type(definition.type)
        if kind.name == "timestamp" and table.rowversion is not None:
            raise make_error(2738, table.name, definition.name)
        if definition.collation is not None:
            collation = COLLATIONS.get(definition.collation.lower())
            if collation is None:
                raise make_error(448, definition.collation)
            kind = replace(kind, collation=collation)
        nullable = definition.nullable is not False and definition.identity is None and kind.name != "timestamp"
        if definition.identity is not None:
            if not (kind.is_integer or (kind.is_decimal and kind.scale == 0)) or kind.name == "bit":
                raise SqlError(
                    2749,
                    f"Identity column '{definition.name}' must be of data type int, bigint, smallint, tinyint, or decimal or numeric with a scale of 0, unencrypted, and constrained to be nonnullable.",
                )
            if table.identity is not None:
                raise SqlError(
                    2744,
                    f"Multiple identity columns specified for table '{table.name}'. Only one identity column per table is allowed.",
                )
            seed, increment = definition.identity
            limits = "MINVALUE -9223372036854775808" if seed < 1 or increment < 0 else ""
            sequence = WriteBinder.identity_sequence(catalogue, table)
            self._run(f"CREATE SEQUENCE {sequence} START {seed} INCREMENT {increment} {limits}")
        column = ColumnInfo(column_id, definition.name, kind, nullable, definition.identity)
        if definition.default is not None:
            column = self._with_default(column, table, definition.default, definition.default_name)
        return column

    def _with_default(self, column: ColumnInfo, table: Table, text: str, name: str | None) -> ColumnInfo:
        name = name or f"DF__{table.name[:9]}__{column.name[:5]}__{table.object_id & 0xFFFFFFFF:08X}"
        column = replace(column, default=text, default_name=name)
        binder = WriteBinder(self._environment)
        binder.assign(binder.default_of(column), column, table, "INSERT")
        return column

    def _make_computed(
        self, definition: ColumnDefinition, table: Table, catalogue: Catalogue, column_id: int
    ) -> ColumnInfo:
        binder = WriteBinder(self._environment)
        columns = tuple((c.name, Value(quote(c.name), c.type, c.nullable)) for c in table.stored)
        value = binder.bind(parse_expression(definition.computed or ""), Scope([Source(frozenset(), columns, "t")]))
        nullable = definition.nullable is not False
        return ColumnInfo(
            column_id,
            definition.name,
            value.type,
            nullable,
            computed=definition.computed,
            persisted=definition.persisted,
        )

    def _store_column(self, catalogue: Catalogue, table: Table, column: ColumnInfo) -> None:
        kind, identity = column.type, column.identity or (None, None)
        default_id = None if column.default is None else self._new_id(catalogue)
        self._run(
            f"INSERT INTO {self._where(catalogue)}.columns VALUES "
            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(table.object_id, column.column_id, column.name, kind.name, kind.length, kind.precision, kind.scale),
            *(kind.collation, column.nullable, identity[0], identity[1], column.default, column.default_name),
            *(column.computed, column.persisted, kind.max_length, kind.catalogue_precision, kind.catalogue_scale),
            default_id,
        )

    # Keys

    def _add_key(self, catalogue: Catalogue, table: Table, definition: KeyDefinition) -> Table:
        """Create a key or index; returns the table with it. Raises SqlError 1505 where rows contradict it."""
        if definition.primary and table.primary_key is not None:
            raise SqlError(1779, f"Table '{table.name}' already has a primary key defined on it.", state=0)
        constraint = definition.primary or (definition.unique and definition.clustered is not False)
        clustered = definition.clustered
        if clustered is None:
            clustered = definition.primary and not any(key.clustered for key in table.keys)
        index_id = 1 if clustered else max((key.index_id for key in table.keys), default=1) + 1
        prefix = "PK" if definition.primary else "UQ"
        name = definition.name or f"{prefix}__{table.name[:8]}__{table.object_id & 0xFFFFFFFF:08X}{index_id:04X}"
        columns = []
        for column_name, descending in definition.columns:
            column = table.column(column_name)
            if column is None:
                raise SqlError(1911, f"Column name '{column_name}' does not exist in the target table or view.")
            if column.computed is not None:
                raise refuse("index on a computed column")
            if definition.primary and column.nullable:
                raise SqlError(
                    8111, f"Cannot define PRIMARY KEY constraint on nullable column in table '{table.name}'."
                )
            columns.append((column.column_id, descending))
        included = tuple(found.column_id for name_ in definition.included if (found := table.column(name_)) is not None)
        key = Key(
            index_id, name, tuple(columns), definition.unique, definition.primary, constraint, clustered, included
        )
        where = self._where(catalogue)
        self._run(
            f"INSERT INTO {where}.indexes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(table.object_id, index_id, name, key.unique, key.primary, constraint, clustered),
            self._new_id(catalogue) if constraint else None,
        )
        members = [(column_id, descending, False) for column_id, descending in columns]
        members += [(column_id, False, True) for column_id in included]
        for position, (column_id, descending, is_included) in enumerate(members, start=1):
            self._run(
                f"INSERT INTO {where}.index_columns VALUES (?, ?, ?, ?, ?, ?)",
                *(table.object_id, index_id, position, column_id, descending, is_included),
            )
        table = replace(table, keys=(*table.keys, key))
        self._build_index(catalogue, table, key)
        return table

    def _build_index(self, catalogue: Catalogue, table: Table, key: Key) -> None:
        if not key.unique:
            return  # DuckDB scans faster than it looks up; an index that is not unique changes no result
        binder = WriteBinder(self._environment)
        expressions = []
        for column_id, _ in key.columns:
            column = next(column for column in table.columns if column.column_id == column_id)
            expression = binder.sort_key(Value(quote(column.name), column.type))
            if column.nullable:
                # SQL Server takes NULLs for equal in a unique index, DuckDB does not.
                expression = f"CASE WHEN {expression} IS NULL THEN '' ELSE '=' || CAST({expression} AS VARCHAR) END"
            expressions.append(expression if expression.startswith(('"', "CASE")) else f"({expression})")
        name = quote(index_name(table, key))
        try:
            self._run(f"CREATE UNIQUE INDEX {name} ON {self._storage(catalogue, table)} ({', '.join(expressions)})")
        except duckdb.ConstraintException as error:
            shown = duplicate_of(str(error))
            raise make_error(1505, table.full_name, key.name, shown) from None

    def _drop_indexes(self, catalogue: Catalogue, table: Table) -> None:
        for key in table.keys:
            if key.unique:
                name = f"{quote(catalogue.database)}.{quote(table.schema)}.{quote(index_name(table, key))}"
                self._run(f"DROP INDEX {name}")

    def create_index(self, statement: CreateIndex) -> None:
        """Carry out CREATE INDEX."""
        catalogue, table = self._existing(statement.table)
        if any(key.name.lower() == (statement.key.name or "").lower() for key in table.keys):
            raise SqlError(
                1913,
                f"The operation failed because an index or statistics with name '{statement.key.name}' already exists on "
                f"table '{table.full_name}'.",
            )
        self._add_key(catalogue, table, statement.key)

    # ALTER TABLE

    def add_to_table(self, statement: AddToTable) -> None:
        """Carry out ALTER TABLE … ADD."""
        catalogue, table = self._existing(statement.table)
        if statement.columns:
            self._drop_indexes(catalogue, table)
            for definition in statement.columns:
                table = self._add_column(catalogue, table, definition)
            for key in table.keys:
                self._build_index(catalogue, table, key)
        for key_definition in statement.keys:
            table = self._add_key(catalogue, table, key_definition)
        for name, column_name, text in statement.defaults:
            column = table.column(column_name)
            if column is None:
                raise make_error(207, column_name)
            column = self._with_default(column, table, text, name)
            self._run(
                f"UPDATE {self._where(catalogue)}.columns SET default_definition = ?, default_name = ?, default_id = ? "
                "WHERE object_id = ? AND column_id = ?",
                *(column.default, column.default_name, self._new_id(catalogue), table.object_id, column.column_id),
            )

    def _add_column(self, catalogue: Catalogue, table: Table, definition: ColumnDefinition) -> Table:
        column = self._make_column(definition, table, catalogue)
        self._store_column(catalogue, table, column)
        table = replace(table, columns=(*table.columns, column))
        if column.computed is not None:
            return table
        storage = self._storage(catalogue, table)
        self._run(f"ALTER TABLE {storage} ADD COLUMN {quote(column.name)} {column.type.storage}")
        filling: str | None = None
        if column.is_rowversion:
            filling = WriteBinder.next_rowversion(catalogue)
        elif column.identity is not None:
            filling = f"nextval('{WriteBinder.identity_sequence(catalogue, table)}')"
        elif not column.nullable:
            rows = self._connection.execute(f"SELECT 1 FROM {storage} LIMIT 1").fetchall()
            if column.default is None and rows:
                raise make_error(4901, column.name, table.name)
            binder = WriteBinder(self._environment)
            filling = binder.assign(binder.default_of(column), column, table, "ALTER") if rows else None
            if filling is not None:
                self._connection.execute(
                    f"UPDATE {storage} SET {quote(column.name)} = {filling}", dict(binder.parameters)
                )
                filling = None
        if filling is not None:
            self._run(f"UPDATE {storage} SET {quote(column.name)} = {filling}")
        if not column.nullable:
            self._run(f"ALTER TABLE {storage} ALTER COLUMN {quote(column.name)} SET NOT NULL")
        return table

    def alter_column(self, statement: AlterColumn) -> None:
        """Carry out ALTER TABLE … ALTER COLUMN: the column's values are converted as an UPDATE would."""
        catalogue, table = self._existing(statement.table)
        column = table.column(statement.column)
        if column is None:
            raise make_error(4924, "ALTER COLUMN", statement.column, table.name)
        if column.computed is not None or column.is_rowversion:
            raise SqlError(
                4928,
                f"Cannot alter column '{column.name}' because it is '{'COMPUTED' if column.computed else 'timestamp'}'.",
            )
        if any(column.column_id == member for key in table.keys for member, _ in key.columns):
            key = next(key for key in table.keys if any(column.column_id == member for member, _ in key.columns))
            raise SqlError(5074, f"The index '{key.name}' is dependent on column '{column.name}'.")
        kind = declared_type(statement.type)
        if statement.collation is not None:
            kind = replace(kind, collation=COLLATIONS.get(statement.collation.lower(), kind.collation))
        changed = replace(column, type=kind, nullable=statement.nullable is not False)
        binder = WriteBinder(self._environment)
        value = Value(quote(column.name), column.type, column.nullable)
        converted = binder.assign(value, changed, table, "ALTER TABLE ALTER COLUMN")
        storage, name = self._storage(catalogue, table), quote(column.name)
        self._drop_indexes(catalogue, table)
        if not column.nullable:
            self._run(f"ALTER TABLE {storage} ALTER COLUMN {name} DROP NOT NULL")
        self._run(f"ALTER TABLE {storage} ALTER COLUMN {name} SET DATA TYPE {kind.storage} USING {converted}")
        if not changed.nullable:
            self._run(f"ALTER TABLE {storage} ALTER COLUMN {name} SET NOT NULL")
        self._run(
            f"DELETE FROM {self._where(catalogue)}.columns WHERE object_id = ? AND column_id = ?",
            *(table.object_id, column.column_id),
        )
        self._store_column(catalogue, table, changed)
        for key in table.keys:
            self._build_index(catalogue, table, key)

    def drop_from_table(self, statement: DropFromTable) -> None:
        """Carry out ALTER TABLE … DROP."""
        catalogue, table = self._existing(statement.table)
        for name in statement.names:
            if statement.kind == "column":
                table = self._drop_column(catalogue, table, name, statement.if_exists)
            else:
                self._drop_constraint(catalogue, table, name, statement.if_exists)

    def _drop_column(self, catalogue: Catalogue, table: Table, name: str, if_exists: bool) -> Table:
        column = table.column(name)
        if column is None:
            if if_exists:
                return table
            raise make_error(4924, "DROP COLUMN", name, table.name)
        for key in table.keys:
            if any(member == column.column_id for member, _ in key.columns):
                raise SqlError(5074, f"The object '{key.name}' is dependent on column '{column.name}'.")
        self._drop_indexes(catalogue, table)
        if column.computed is None:
            self._run(f"ALTER TABLE {self._storage(catalogue, table)} DROP COLUMN {quote(column.name)}")
        self._run(
            f"DELETE FROM {self._where(catalogue)}.columns WHERE object_id = ? AND column_id = ?",
            *(table.object_id, column.column_id),
        )
        table = replace(table, columns=tuple(other for other in table.columns if other is not column))
        for key in table.keys:
            self._build_index(catalogue, table, key)
        return table

    def _drop_constraint(self, catalogue: Catalogue, table: Table, name: str, if_exists: bool) -> None:
        key = next((key for key in table.keys if key.name.lower() == name.lower()), None)
        where = self._where(catalogue)
        if key is not None:
            self._drop_key(catalogue, table, key)
            return
        column = next((c for c in table.columns if (c.default_name or "").lower() == name.lower()), None)
        if column is not None:
            self._run(
                f"UPDATE {where}.columns SET default_definition = NULL, default_name = NULL, default_id = NULL "
                "WHERE object_id = ? AND column_id = ?",
                *(table.object_id, column.column_id),
            )
        elif not if_exists:
            raise SqlError(3728, f"'{name}' is not a constraint.")

    def _drop_key(self, catalogue: Catalogue, table: Table, key: Key) -> None:
        if key.unique:
            self._run(f"DROP INDEX {quote(catalogue.database)}.{quote(table.schema)}.{quote(index_name(table, key))}")
        for part in ("indexes", "index_columns"):
            self._run(
                f"DELETE FROM {self._where(catalogue)}.{part} WHERE object_id = ? AND index_id = ?",
                *(table.object_id, key.index_id),
            )

    # Views, schemas, principals

    def create_view(self, statement: CreateView) -> None:
        """Carry out CREATE VIEW and ALTER VIEW."""
        catalogue, schema, name = self._locate(statement.name)
        existing = catalogue.find(schema, name)
        if existing is not None and not (statement.replace and existing.kind == "V"):
            raise make_error(2714, name, state=3)
        binder = WriteBinder(self._environment)
        bound = binder.bind_query(statement.query, None)
        columns = binder._named(bound.columns, statement.columns, name)
        where = self._where(catalogue)
        if existing is not None:
            self._forget(catalogue, existing)
        now = ticks_to_datetime(self._environment.now)
        table = Table(existing.object_id if existing else self._new_id(catalogue), schema, name, "V", ())
        self._run(
            f"INSERT INTO {where}.objects VALUES (?, ?, ?, 'V', ?, ?, ?, ?, ?)",
            *(table.object_id, catalogue.schemas[schema.lower()][0], name, statement.definition, statement.body),
            *(list(statement.columns) or None, now, now),
        )
        for place, column in enumerate(columns, start=1):
            self._store_column(catalogue, table, ColumnInfo(place, column.name, column.shown_type, column.nullable))

    def create(self, statement: Create) -> None:
        """Carry out CREATE SCHEMA, USER and ROLE (databases and logins are the server's)."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        where = self._where(catalogue)
        if statement.kind == "schema":
            if statement.name.lower() in catalogue.schemas:
                raise make_error(2714, statement.name, state=6)
            self._run(f"CREATE SCHEMA {quote(catalogue.database)}.{quote(statement.name)}")
            next_id = max(schema_id for schema_id, _ in catalogue.schemas.values()) + 1
            self._run(f"INSERT INTO {where}.schemas VALUES (?, ?, 1)", next_id, statement.name)
            return
        if statement.name.lower() in catalogue.principals:
            raise SqlError(15023, f"User, group, or role '{statement.name}' already exists in the current database.")
        next_id = max(principal[0] for principal in catalogue.principals.values()) + 1
        self._run(
            f"INSERT INTO {where}.principals VALUES (?, ?, ?, ?)",
            *(next_id, statement.name, "R" if statement.kind == "role" else "S", statement.argument),
        )

    def _forget(self, catalogue: Catalogue, table: Table) -> None:
        for part in ("objects", "columns", "indexes", "index_columns"):
            self._run(f"DELETE FROM {self._where(catalogue)}.{part} WHERE object_id = ?", table.object_id)

    def drop(self, statement: Drop) -> None:
        """Carry out DROP of tables, views, indexes, schemas, users and roles."""
        for name in statement.names:
            match statement.kind:
                case "table" | "view":
                    self._drop_table(statement, name)
                case "index":
                    self._drop_index(statement, name)
                case "schema":
                    self._drop_schema(statement, name[-1])
                case _:
                    self._drop_principal(statement, name[-1])

    def _drop_table(self, statement: Drop, name: Name) -> None:
        kind = "U" if statement.kind == "table" else "V"
        try:
            catalogue, schema, own = self._locate(name)
        except SqlError:
            if statement.if_exists:
                return
            raise
        table = catalogue.find(schema, own)
        if table is None or table.kind != kind:
            if statement.if_exists and table is None:
                return
            raise make_error(3701, statement.kind, ".".join(part for part in name if part), state=5)
        if kind == "U":
            self._run(f"DROP TABLE {self._storage(catalogue, table)}")
            if table.identity is not None:
                self._run(f"DROP SEQUENCE {WriteBinder.identity_sequence(catalogue, table)}")
        self._forget(catalogue, table)
        self._run(
            f"DELETE FROM {self._where(catalogue)}.permissions WHERE scope = 'object' AND target = ?", table.object_id
        )

    def _drop_index(self, statement: Drop, name: Name) -> None:
        catalogue, table = self._existing(statement.table or ())
        key = next((key for key in table.keys if key.name.lower() == name[-1].lower()), None)
        if key is None:
            if statement.if_exists:
                return
            raise make_error(3701, "index", f"{table.full_name}.{name[-1]}", state=7)
        if key.constraint:
            raise SqlError(
                3723,
                f"An explicit DROP INDEX is not allowed on index '{table.full_name}.{key.name}'. It is being used for constraint enforcement.",
            )
        self._drop_key(catalogue, table, key)

    def _drop_schema(self, statement: Drop, name: str) -> None:
        catalogue = self._environment.catalogue(self._environment.database)
        found = catalogue.schemas.get(name.lower())
        if found is None:
            if statement.if_exists:
                return
            raise make_error(15151, "schema", name)
        member = next((t for t in catalogue.tables.values() if t.schema.lower() == name.lower()), None)
        if member is not None:
            raise make_error(3729, "drop schema", found[1], member.name)
        self._run(f"DROP SCHEMA {quote(catalogue.database)}.{quote(found[1])}")
        self._run(f"DELETE FROM {self._where(catalogue)}.schemas WHERE schema_id = ?", found[0])

    def _drop_principal(self, statement: Drop, name: str) -> None:
        catalogue = self._environment.catalogue(self._environment.database)
        if name.lower() not in catalogue.principals:
            if statement.if_exists:
                return
            raise make_error(15151, statement.kind, name)
        for part, column in (("principals", "name"), ("permissions", "principal")):
            self._run(f"DELETE FROM {self._where(catalogue)}.{part} WHERE lower({column}) = ?", name.lower())

    def set_permission(self, statement: Permission) -> None:
        """Carry out GRANT, DENY and REVOKE."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        target = 0
        if statement.scope == "schema" and statement.securable is not None:
            found = catalogue.schemas.get(statement.securable[-1].lower())
            if found is None:
                raise make_error(15151, "schema", statement.securable[-1])
            target = found[0]
        elif statement.scope == "object" and statement.securable is not None:
            schema, own = ("dbo", *statement.securable)[-2:]
            table = catalogue.find(schema or "dbo", own)
            if table is None:
                raise make_error(15151, "object", own)
            target = table.object_id
        where = self._where(catalogue)
        for principal in statement.principals:
            if principal.lower() not in catalogue.principals:
                raise make_error(15151, "user", principal)
            for permission in statement.permissions:
                self._run(
                    f"DELETE FROM {where}.permissions WHERE lower(principal) = ? AND scope = ? AND target = ? "
                    "AND permission = ?",
                    *(principal.lower(), statement.scope, target, permission),
                )
                if statement.verb != "REVOKE":
                    self._run(
                        f"INSERT INTO {where}.permissions VALUES (?, ?, ?, ?, ?)",
                        *(principal, statement.scope, target, permission, statement.verb),
                    )


def index_name(table: Table, key: Key) -> str:
    """Return the name of the DuckDB index behind a key."""
    return f"{table.object_id}_{key.index_id}"


def duplicate_of(message: str) -> str:
    """Return the key values that a DuckDB message names, as SQL Server shows them: ``(1, abc)``."""
    shown = message.split('"')[1] if message.count('"') >= 2 else ""
    values = [part.rsplit(": ", 1)[-1] for part in shown.split(", ")]
    return f"({', '.join(values)})"
