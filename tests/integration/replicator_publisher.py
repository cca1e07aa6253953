"""A publisher that writes a landing zone the way a good producer does, and what tests ask of a replicator."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from devcloud.replicator import Finding, Replicator, TableName

MARKER = "__rowMarker__"
FLIGHTS = TableName("dbo", "flights")
type Row = tuple[Any, ...]


def make_schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


SCHEMA = make_schema(id=pa.int64(), tail=pa.string())


class Publisher:
    """Writes one table's folder the way a good producer does."""

    def __init__(self, item: Path, table: str = "flights", schema: str = "dbo") -> None:
        self.item = item
        self.folder = item / "Files" / "LandingZone" / f"{schema}.schema" / table
        self.next_index = 1

    def begin(self, keys: Sequence[str] | None = ("id",), **metadata: Any) -> "Publisher":
        self.folder.mkdir(parents=True)
        self.next_index = 1
        self.write_metadata({"keyColumns": keys, **metadata} if keys is not None else metadata)
        return self

    def write_metadata(self, document: dict[str, Any]) -> None:
        staged = self.folder / "_metadata.tmp"
        staged.write_text(json.dumps(document))
        staged.rename(self.folder / "_metadata.json")

    def delete(self) -> None:
        shutil.rmtree(self.folder)

    def name(self, index: int) -> str:
        return f"{index:020}.parquet"

    def publish(
        self,
        rows: Sequence[Row],
        markers: Sequence[int] | None = None,
        schema: pa.Schema = SCHEMA,
        name: str | None = None,
        **options: Any,
    ) -> Path:
        columns = [pa.array([row[place] for row in rows], field.type) for place, field in enumerate(schema)]
        fields = list(schema)
        if markers is not None:
            columns.append(pa.array(markers, pa.int32()))
            fields.append(pa.field(MARKER, pa.int32(), nullable=False))
        return self.publish_table(pa.table(columns, schema=pa.schema(fields)), name, **options)

    def publish_table(self, table: pa.Table, name: str | None = None, **options: Any) -> Path:
        if name is None:
            name = self.name(self.next_index)
            self.next_index += 1
        staged = self.folder / f"_{name}"
        pq.write_table(table, staged, **options)
        return staged.rename(self.folder / name)


def rows_of(replicator: Replicator, name: TableName = FLIGHTS) -> list[Row]:
    table = replicator.table(*name)
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


def failure_of(replicator: Replicator, name: TableName = FLIGHTS) -> str | None:
    state = next(state for state in replicator.states() if state.name == name)
    return str(state.failure.code) if state.failure else None


def codes(findings: Iterable[Finding]) -> list[str]:
    return [str(finding.code) for finding in findings]
