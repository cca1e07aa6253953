"""From rows with markers, in source order, to the keys to delete and the rows to add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import types

from devcloud.replicator.data_file import DELETE, INSERT, MARKER


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run of files does to a table: first every row with one of the keys goes, then the rows come.

    `deleted_keys` has the key columns only, each key once; None where nothing is deleted or replaced.
    """

    deleted_keys: pa.Table | None
    rows: pa.Table


def resolve_changes(rows: pa.Table, keys: Sequence[str]) -> Changes:
    """Compress rows that end in the marker column into their net effect.

    An update, delete or upsert replaces everything of its key that came before, in this run or in the table; an insert
    adds a row, even where the key is there (no duplicate check). So per key only what follows its last replacement
    counts.
    """
    data = rows.drop_columns([MARKER])
    markers = rows.column(MARKER).to_pylist()
    if not keys or not any(markers):
        return Changes(None, data)
    values = key_values(data, keys)
    resets = {key: row for row, (key, marker) in enumerate(zip(values, markers, strict=True)) if marker != INSERT}
    kept = [
        row
        for row, (key, marker) in enumerate(zip(values, markers, strict=True))
        if row > (reset := resets.get(key, -1)) or (row == reset and marker != DELETE)
    ]
    deleted_keys = data.select(keys).take(pa.array(resets.values(), pa.int64()))
    return Changes(deleted_keys, data if len(kept) == len(values) else data.take(pa.array(kept, pa.int64())))


def key_values(rows: pa.Table, keys: Sequence[str]) -> list[Any]:
    """Return one hashable value per row, equal where the keys are equal.

    Plain Python, not a join: it costs microseconds for the small tables of the fault suite, which calls it all the
    time, and starts no threads, which the suite's forks could not use.
    """
    columns = [_comparable(rows.column(key)).to_pylist() for key in keys]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _comparable(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Return dates and times as numbers, which are cheaper to make and have no calendar's limits."""
    if types.is_timestamp(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.int32()) if types.is_date32(column.type) else column
