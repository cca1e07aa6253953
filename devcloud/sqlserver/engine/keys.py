"""Carries out CREATE INDEX, and creates and drops the keys of tables.

Keys are DuckDB unique indexes over the columns' sort keys: DuckDB cannot alter a table that has indexes, so that
altering drops them first and creates them again.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA, Catalogue, Key, Table
from devcloud.sqlserver.engine.failures import duplicate_of
from devcloud.sqlserver.engine.scope import Environment
from devcloud.sqlserver.engine.values import Value, quote
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql.commands import (
    CreateIndex,
    KeyDefinition,
)
from devcloud.sqlserver.tsql.syntax import Name


class KeyDefiner:
    """Creates keys and indexes."""

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

    def _add_key(self, catalogue: Catalogue, table: Table, definition: KeyDefinition) -> Table:
        """Create a key or index; returns the table with it. Raises SqlError 1505 where rows contradict it."""
        if definition.primary and table.primary_key is not None:
            raise make_error(1779, table.name, state=0)
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
                raise make_error(1911, column_name)
            if column.computed is not None:
                raise refuse("index on a computed column")
            if definition.primary and column.nullable:
                raise make_error(8111, table.name)
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
            raise make_error(1913, statement.key.name, table.full_name)
        self._add_key(catalogue, table, statement.key)

    def _drop_key(self, catalogue: Catalogue, table: Table, key: Key) -> None:
        if key.unique:
            self._run(f"DROP INDEX {quote(catalogue.database)}.{quote(table.schema)}.{quote(index_name(table, key))}")
        for part in ("indexes", "index_columns"):
            self._run(
                f"DELETE FROM {self._where(catalogue)}.{part} WHERE object_id = ? AND index_id = ?",
                *(table.object_id, key.index_id),
            )


def index_name(table: Table, key: Key) -> str:
    """Return the name of the DuckDB index behind a key."""
    return f"{table.object_id}_{key.index_id}"
