"""Where mirrored tables are kept: in memory for provers, as Delta tables for readers."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import pyarrow as pa

from devcloud.replicator.changes import Changes, key_values
from devcloud.replicator.delta_types import unite
from devcloud.replicator.rules import TableName
from devcloud.replicator.state import TableState

CHUNKS_LIMIT = 64  # of a column in memory; each append adds one, and every pass over the column visits them all


class MirroredTables(Protocol):
    """Tables and what the replicator knows of them. A commit changes a table's rows and its state, or neither."""

    def load_states(self) -> dict[TableName, TableState]:
        """Return the state of every table, as it was committed or kept last."""

    def remember_states(self, states: Mapping[TableName, TableState]) -> None:
        """Keep states whose tables did not change."""

    def append(self, state: TableState, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Add rows, and the columns that are new, and commit them with the state."""

    def apply(self, state: TableState, changes: Changes) -> None:
        """Delete and add rows, and columns that are new, and commit them with the state."""

    def drop(self, name: TableName) -> None:
        """Remove a table and its state, if it is there."""

    def schema(self, name: TableName) -> pa.Schema | None:
        """Return a table's columns, or None where it has none yet."""

    def read(self, name: TableName) -> pa.Table:
        """Return all rows. Raises KeyError for a table that has no rows and columns yet."""


class MemoryTables:
    """Arrow tables in memory; they end with the process."""

    def __init__(self) -> None:
        self._tables: dict[TableName, pa.Table] = {}

    def load_states(self) -> dict[TableName, TableState]:
        """Return nothing: memory starts empty."""
        return {}

    def remember_states(self, states: Mapping[TableName, TableState]) -> None:
        """Do nothing: the caller holds the states."""

    def append(self, state: TableState, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Add rows."""
        self.apply(state, Changes(None, pa.Table.from_batches(batches, schema)))

    def apply(self, state: TableState, changes: Changes) -> None:
        """Delete and add rows."""
        current = self._tables.get(state.name)
        if current is None:
            self._tables[state.name] = changes.rows
            return
        schema = unite(current.schema, changes.rows.schema)
        kept = current
        if changes.deleted_keys is not None:
            keys = changes.deleted_keys.column_names
            gone = set(key_values(changes.deleted_keys, keys))
            values = key_values(current, keys)
            rows = [row for row, key in enumerate(values) if key not in gone]
            if len(rows) < len(values):
                kept = current.take(pa.array(rows, pa.int64()))
        table = pa.concat_tables([_widen(kept, schema), _widen(changes.rows, schema)])
        self._tables[state.name] = table.combine_chunks() if table.column(0).num_chunks > CHUNKS_LIMIT else table

    def drop(self, name: TableName) -> None:
        """Drop a table."""
        self._tables.pop(name, None)

    def schema(self, name: TableName) -> pa.Schema | None:
        """Return a table's columns."""
        table = self._tables.get(name)
        return None if table is None else table.schema

    def read(self, name: TableName) -> pa.Table:
        """Return all rows."""
        return self._tables[name]


def _widen(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    if rows.schema.equals(schema):
        return rows
    columns = [
        rows.column(field.name) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
