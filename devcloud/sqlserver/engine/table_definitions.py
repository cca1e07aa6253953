"""Carries out CREATE TABLE and ALTER TABLE."""

from __future__ import annotations

from dataclasses import replace

from devcloud.sqlserver.engine.capture import key_names
from devcloud.sqlserver.engine.catalogue import Catalogue, ColumnInfo, Table
from devcloud.sqlserver.engine.keys import KeyDefiner
from devcloud.sqlserver.engine.moments import ticks_to_datetime
from devcloud.sqlserver.engine.outputs import OutputColumn, name_columns
from devcloud.sqlserver.engine.scope import Scope, Source
from devcloud.sqlserver.engine.value_binder import declared_type
from devcloud.sqlserver.engine.values import Value, quote, quote_text
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql import commands
from devcloud.sqlserver.tsql.statements import parse_expression
from devcloud.sqlserver.tsql.syntax import Name
from devcloud.sqlserver.types import COLLATIONS


class TableDefiner(KeyDefiner):
    """Creates and alters tables."""

    def create_table(self, statement: commands.CreateTable) -> None:
        """Carry out CREATE TABLE."""
        catalogue, schema, name = self._locate(statement.table)
        if name.startswith("#"):
            raise refuse("temporary table")
        if catalogue.find(schema, name) is not None:
            raise make_error(2714, name, state=6)
        keys = statement.keys
        primary = {column.lower() for key in keys if key.primary for column, _ in key.columns}
        if sum(key.primary for key in keys) > 1:
            raise make_error(8110, name)
        table = Table(self._new_id(catalogue), schema, name, "U", ())
        for definition in statement.columns:
            if definition.name.lower() in primary and definition.nullable is True:
                raise make_error(8111, name)
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

    def _make_column(self, definition: commands.ColumnDefinition, table: Table, catalogue: Catalogue) -> ColumnInfo:
        """Return the column that a definition describes. Raises SqlError 2705, 2738 and those of its expressions."""
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
                raise make_error(2749, definition.name)
            if table.identity is not None:
                raise make_error(2744, table.name)
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
        self, definition: commands.ColumnDefinition, table: Table, catalogue: Catalogue, column_id: int
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

    def add_to_table(self, statement: commands.AddToTable) -> None:
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

    def _add_column(self, catalogue: Catalogue, table: Table, definition: commands.ColumnDefinition) -> Table:
        column = self._make_column(definition, table, catalogue)
        self._store_column(catalogue, table, column)
        table = replace(table, columns=(*table.columns, column))
        if column.computed is not None:
            return table
        storage, name, kind = self._storage(catalogue, table), quote(column.name), column.type.storage
        filling = self._filling(catalogue, table, column)
        self._run(f"ALTER TABLE {storage} ADD COLUMN {name} {kind}")
        if filling is not None:
            # Not an UPDATE: DuckDB creates no index in a transaction that has updated the table.
            self._run(f"ALTER TABLE {storage} ALTER COLUMN {name} SET DATA TYPE {kind} USING CAST({filling} AS {kind})")
        if not column.nullable:
            self._run(f"ALTER TABLE {storage} ALTER COLUMN {name} SET NOT NULL")
        return table

    def _filling(self, catalogue: Catalogue, table: Table, column: ColumnInfo) -> str | None:
        """Return what a new column holds in the rows that are there; None for NULL. Raises SqlError 4901."""
        if column.is_rowversion:
            return WriteBinder.next_rowversion(catalogue)
        if column.identity is not None:
            return f"nextval({quote_text(WriteBinder.identity_sequence(catalogue, table))})"
        if column.nullable:
            return None
        if column.default is None:
            if self._connection.execute(f"SELECT 1 FROM {self._storage(catalogue, table)} LIMIT 1").fetchall():
                raise make_error(4901, column.name, table.name)
            return None
        binder = WriteBinder(self._environment)
        return binder.assign(binder.default_of(column), column, table, "ALTER")

    def alter_column(self, statement: commands.AlterColumn) -> None:
        """Carry out ALTER TABLE … ALTER COLUMN: the column's values are converted as an UPDATE would."""
        catalogue, table = self._existing(statement.table)
        column = table.column(statement.column)
        if column is None:
            raise make_error(4924, "ALTER COLUMN", statement.column, table.name)
        if column.computed is not None or column.is_rowversion:
            raise make_error(4928, column.name, "COMPUTED" if column.computed else "timestamp")
        if any(column.column_id == member for key in table.keys for member, _ in key.columns):
            key = next(key for key in table.keys if any(column.column_id == member for member, _ in key.columns))
            raise make_error(5074, "index", key.name, column.name)
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

    def rename_table(self, name: Name, new: str) -> None:
        """Carry out sp_rename of a table. Raises SqlError 15225 or 15335."""
        catalogue, schema, own = self._locate(name)
        table = catalogue.find(schema, own)
        if table is None:
            raise make_error(15225, own, catalogue.database)
        if catalogue.find(schema, new) is not None:
            raise make_error(15335, new)
        self._drop_indexes(catalogue, table)
        self._run(f"ALTER TABLE {self._storage(catalogue, table)} RENAME TO {quote(new)}")
        self._run(f"UPDATE {self._where(catalogue)}.objects SET name = ? WHERE object_id = ?", new, table.object_id)
        table = replace(table, name=new)
        for key in table.keys:
            self._build_index(catalogue, table, key)

    def rename_column(self, table_name: Name, old: str, new: str) -> None:
        """Carry out sp_rename of a column. Raises SqlError 15248, 15335 or 4902."""
        catalogue, table = self._existing(table_name)
        column = table.column(old)
        if column is None:
            raise make_error(15248)
        if table.column(new) not in (None, column):
            raise make_error(15335, new)
        if table.tracked and column.name in key_names(table):
            raise refuse("sp_rename of a key column of a tracked table")
        if any(other.computed is not None for other in table.columns):
            raise refuse("sp_rename of a column of a table with computed columns")
        self._drop_indexes(catalogue, table)
        self._run(f"ALTER TABLE {self._storage(catalogue, table)} RENAME COLUMN {quote(column.name)} TO {quote(new)}")
        self._run(
            f"UPDATE {self._where(catalogue)}.columns SET name = ? WHERE object_id = ? AND column_id = ?",
            *(new, table.object_id, column.column_id),
        )
        columns = tuple(replace(each, name=new) if each is column else each for each in table.columns)
        table = replace(table, columns=columns)
        for key in table.keys:
            self._build_index(catalogue, table, key)

    def drop_from_table(self, statement: commands.DropFromTable) -> None:
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
                raise make_error(5074, "object", key.name, column.name)
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
            raise make_error(3728, name)
