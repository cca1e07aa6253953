"""Mirrored tables as Delta tables on disk: what DuckDB, polars and Spark read, and what Fabric itself writes."""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, write_deltalake
from deltalake.exceptions import TableNotFoundError
from deltalake.schema import Schema

from devcloud.replicator.changes import Changes
from devcloud.replicator.landing_zone import remove_tree
from devcloud.replicator.rules import TableName
from devcloud.replicator.state import TableState

STATE_KEY = "replicatorState"  # in the commit's own metadata, so that rows and state are one commit
STATES_FILE = "_replicator.json"
COMMITS_SEARCHED = 20  # maintenance commits carry no state; more than two in a row do not occur
VACUUM_EVERY_COMMITS = 50
VACUUM_AGE = timedelta(hours=1)  # long enough for a reader in the middle of a query
_CHANGE, _ADD, _DELETE = "__change__", "add", "delete"


class DeltaTables:
    """Delta tables at `<directory>/<schema>/<table>`; each commit carries the state of its table.

    States that change without a commit (a table seen but still empty, a failure) are kept in `_replicator.json`; such
    an entry counts only while it has seen as many files as the table's last commit.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[TableName, DeltaTable] = {}

    def load_states(self) -> dict[TableName, TableState]:
        """Return every table's state, after removing what a killed drop left behind."""
        states: dict[TableName, TableState] = {}
        for path in sorted(self._directory.glob("*/*")):
            if path.name.startswith("_removed-"):
                remove_tree(path)
            elif (path / "_delta_log").is_dir():
                state = self._read_state(TableName(path.parent.name, path.name))
                if state is not None:
                    states[state.name] = state
        for state in self._read_remembered():
            committed = states.get(state.name)
            if committed is None and state.files_applied:
                continue
            if committed is None or (committed.folder, committed.files_applied) == (state.folder, state.files_applied):
                states[state.name] = state
        return states

    def _read_state(self, name: TableName) -> TableState | None:
        table = self._table(name)
        for commit in table.history(COMMITS_SEARCHED) if table is not None else []:
            if STATE_KEY in commit:
                return TableState.from_json(commit[STATE_KEY])
        return None

    def _read_remembered(self) -> list[TableState]:
        try:
            documents = json.loads((self._directory / STATES_FILE).read_text())
        except FileNotFoundError:
            return []
        return [TableState.from_json(document) for document in documents]

    def remember_states(self, states: Mapping[TableName, TableState]) -> None:
        """Write all states to one small file, replaced at once."""
        self._directory.mkdir(parents=True, exist_ok=True)
        staged = self._directory / f"{STATES_FILE}.{os.getpid()}"
        staged.write_text(json.dumps([state.to_json() for state in states.values()]))
        os.replace(staged, self._directory / STATES_FILE)

    def append(self, state: TableState, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Add rows in one commit, a bounded number of them in memory at a time."""
        name = state.name
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        table = self._table(name)
        write_deltalake(
            table if table is not None else self._path(name),
            reader,
            mode="append",
            schema_mode="merge" if table is not None else None,
            commit_properties=_properties(state),
        )
        self._settle(name)

    def apply(self, state: TableState, changes: Changes) -> None:
        """Merge in one commit; files of the table that hold none of the deleted keys are left as they are."""
        table = self._table(state.name)
        if table is None or changes.deleted_keys is None:
            self.append(state, changes.rows.schema, changes.rows.to_batches())
            return
        self.add_columns(table, state, changes.rows.schema)
        keys = changes.deleted_keys.column_names
        source = pa.concat_tables(
            [
                changes.rows.append_column(_CHANGE, _constant(_ADD, changes.rows.num_rows)),
                changes.deleted_keys.append_column(_CHANGE, _constant(_DELETE, changes.deleted_keys.num_rows)),
            ],
            promote_options="default",
        )
        version = table.version()
        matches = [f"target.{_quote(key)} = source.{_quote(key)}" for key in keys]
        (
            table.merge(
                source,
                " AND ".join([*matches, f"source.{_CHANGE} = '{_DELETE}'"]),
                source_alias="source",
                target_alias="target",
                commit_properties=_properties(state),
            )
            .when_matched_delete()
            .when_not_matched_insert(
                {_quote(name): f"source.{_quote(name)}" for name in changes.rows.column_names},
                predicate=f"source.{_CHANGE} = '{_ADD}'",
            )
            .execute()
        )
        table.update_incremental()
        if table.version() == version:
            # A merge that changes no row writes no commit, and the state has to be kept all the same.
            self.append(state, changes.rows.schema, [])
            return
        self._settle(state.name)

    def add_columns(self, table: DeltaTable, state: TableState, schema: pa.Schema) -> None:
        """Widen a table to a schema. A commit of its own: a kill after it leaves only columns of nulls."""
        known = {field.name for field in table.schema().fields}
        added = [field for field in schema if field.name not in known]
        if added:
            # The state of the rows as they are, because this commit is the newest for a while.
            before = self._read_state(state.name)
            fields: list[Field] = Schema.from_arrow(pa.schema(added)).fields
            table.alter.add_columns(fields, commit_properties=_properties(before) if before else None)

    def drop(self, name: TableName) -> None:
        """Remove the table's directory."""
        self._open.pop(name, None)
        remove_tree(self._path(name))

    def schema(self, name: TableName) -> pa.Schema | None:
        """Return a table's columns."""
        table = self._table(name)
        # The stubs of pyarrow do not know that it takes any Arrow schema.
        return None if table is None else pa.schema(cast(Any, table.schema().to_arrow()))

    def read(self, name: TableName) -> pa.Table:
        """Return all rows."""
        table = self._table(name)
        if table is None:
            raise KeyError(str(name))
        return table.to_pyarrow_table()

    def _path(self, name: TableName) -> Path:
        return self._directory / name.schema / name.table

    def _table(self, name: TableName) -> DeltaTable | None:
        if name not in self._open:
            try:
                self._open[name] = DeltaTable(self._path(name))
            except TableNotFoundError:
                return None
        return self._open[name]

    def _settle(self, name: TableName) -> None:
        table = self._table(name)
        if table is None:
            return
        table.update_incremental()
        if table.version() % VACUUM_EVERY_COMMITS == VACUUM_EVERY_COMMITS - 1:
            hours = int(VACUUM_AGE.total_seconds() // 3600)
            table.vacuum(hours, dry_run=False, enforce_retention_duration=False)


def _properties(state: TableState) -> CommitProperties:
    return CommitProperties(custom_metadata={STATE_KEY: state.to_json()})


def _constant(value: str, count: int) -> pa.StringArray:
    return pa.repeat(pa.scalar(value), count)


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
