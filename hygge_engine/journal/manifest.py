"""The schema manifest: which columns each destination table has, had, and since when.

``schemas/<table>.json`` holds all versions of one table, and is replaced on condition that it is what was read. A new
version begins when a load lands other columns than the load before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pyarrow as pa

from hygge_engine.errors import JournalError, LakeConditionNotMet, LakeNotFound
from hygge_engine.journal.changes import Changes
from hygge_engine.journal.files import READERS
from hygge_engine.journal.names import file_name
from hygge_engine.lake.base import Lake, bounded, foreign
from hygge_engine.plain_text import document_fault

_ANEW = "Restore it from a copy, or move it away: the next load begins the table's history anew."

# Key: (table, column, version). `table` is the qualified name at the destination, times are ISO 8601 in UTC.
_MANIFEST_COLUMNS: dict[str, pa.DataType] = {
    "table": pa.string(),
    "column": pa.string(),
    "version": pa.int64(),
    "position": pa.int64(),
    "source_type": pa.string(),
    "arrow_type": pa.string(),
    "nullable": pa.bool_(),
    "loss": pa.string(),
    "flow": pa.string(),
    "entity": pa.string(),
    "valid_from": pa.string(),
    "load_id": pa.string(),
    "change": pa.string(),
}
MANIFEST_SCHEMA = pa.schema(_MANIFEST_COLUMNS)

# How often a record restarts because another load of the same table was faster.
ATTEMPTS = 10


class Manifest:
    """The schema manifest below a journal's root folder. Thread-safe, and safe between processes and machines."""

    def __init__(self, lake: Lake, root: str) -> None:
        self._lake = lake
        self._folder = f"{root.strip('/')}/schemas"

    def record(
        self,
        flow: str,
        entity: str,
        schema: str,
        table: str,
        columns: Sequence[Mapping[str, Any]],
        load_id: str,
        change: str = "",
    ) -> int:
        """Record the columns that a load has landed, and return their version, from 1.

        ``columns`` are mappings with ``name``, ``type`` (the Arrow type's name), ``source_type``, ``nullable`` and
        ``loss``, in the table's order. The same columns as before keep their version. ``change`` says what was decided
        about a difference to the version before. Raises JournalError where other writers of the same table are always
        faster.
        """
        name = f"{schema}.{table}" if schema else table
        path = f"{self._folder}/{file_name(name)}.json"
        landed = [_column(column) for column in columns]
        for _ in range(ATTEMPTS):
            try:
                content = self._lake.read(path)
                versions, condition = _document(content.data, path)["versions"], {"if_match": content.etag}
            except LakeNotFound:
                versions, condition = [], {}
            if versions and versions[-1]["columns"] == landed:
                return len(versions)
            version = {
                "valid_from": self._lake.now().isoformat(timespec="microseconds"),
                "load_id": load_id,
                "flow": flow,
                "entity": entity,
                "change": change,
                "columns": landed,
            }
            data = json.dumps({"table": name, "versions": [*versions, version]}, indent=1).encode()
            try:
                self._lake.put(path, data, if_absent=not condition, **condition)
            except LakeConditionNotMet:
                continue  # another load; or our own response was lost, and the next round finds the version
            return len(versions) + 1
        raise JournalError(f"The columns of {name} could not be written to {self._lake.url}/{path}.")

    def read(self) -> pl.DataFrame:
        """All versions of all tables, a row for each column (`MANIFEST_SCHEMA`), by table, version and position."""
        return pl.DataFrame(self.changes_since(None).upserts)

    def changes_since(self, position: Mapping[str, Any] | None) -> Changes:
        """What has happened to the mirrored table `schema_manifest` since a position.

        A position keeps each table's etag and version: only tables whose file has changed are read.
        """
        known: Mapping[str, Any] = {} if position is None else position
        found = (
            entry for entry in self._lake.list(self._folder) if entry.name.endswith(".json") and not foreign(entry)
        )
        listed = {entry.name: entry for entry in bounded(found, self._folder)}
        changed = [name for name, entry in listed.items() if name not in known or known[name][0] != entry.etag]
        with ThreadPoolExecutor(READERS) as readers:
            contents = list(readers.map(self._lake.read, [listed[name].path for name in changed]))
        reached = {name: known[name] for name in listed if name in known}
        rows: list[dict[str, Any]] = []
        for name, content in zip(changed, contents, strict=True):
            document = _document(content.data, listed[name].path)
            before = known[name][1] if name in known else 0
            rows += [row for row in _rows(document) if row["version"] > before]
            reached[name] = [content.etag, len(document["versions"])]
        if any(name not in reached or reached[name][1] < known[name][1] for name in known):
            return self.changes_since(None)  # a table's history was removed or replaced
        upserts = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
        ordered = upserts.sort_by([("table", "ascending"), ("version", "ascending"), ("position", "ascending")])
        return Changes(lambda: iter([ordered]), MANIFEST_SCHEMA.empty_table(), reached, snapshot=position is None)


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": str(column["name"]),
        "type": str(column["type"]),
        "source_type": str(column["source_type"]),
        "nullable": bool(column["nullable"]),
        "loss": str(column["loss"]),
    }


def _document(data: bytes, path: str) -> dict[str, Any]:
    """A table's document. Raises JournalError where it is damaged."""
    try:
        document: dict[str, Any] = json.loads(data)
        _rows(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise JournalError(
            f"The history of columns {path} cannot be read: {document_fault(error)}.", hint=_ANEW
        ) from error
    return document


def _rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "table": document["table"],
            "column": column["name"],
            "version": number,
            "position": place,
            "source_type": column["source_type"],
            "arrow_type": column["type"],
            "nullable": column["nullable"],
            "loss": column["loss"],
            "flow": version["flow"],
            "entity": version["entity"],
            "valid_from": version["valid_from"],
            "load_id": version["load_id"],
            "change": version.get("change", ""),
        }
        for number, version in enumerate(document["versions"], start=1)
        for place, column in enumerate(version["columns"], start=1)
    ]
