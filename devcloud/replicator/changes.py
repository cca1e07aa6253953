"""From rows with markers, in source order, to the keys to delete and the rows to add."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from devcloud.replicator.data_file import DELETE, INSERT, MARKER


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run of files does to a table: first every row with one of the keys goes, then the rows come.

    `deleted_keys` has the key columns only, each key once; None where nothing is deleted or replaced.
    """

    deleted_keys: pa.Table | None
    rows: pa.Table


_ROW, _RESET = "__row__", "__reset__"


def resolve_changes(rows: pa.Table, keys: Sequence[str]) -> Changes:
    """Compress rows that end in the marker column into their net effect.

    An update, delete or upsert replaces everything of its key that came before, in this run or in the table; an insert
    adds a row, even where the key is there (no duplicate check). So per key only what follows its last replacement
    counts.
    """
    markers = rows.column(MARKER)
    data = rows.drop_columns([MARKER])
    if not keys or not pc.any(pc.not_equal(markers, pa.scalar(INSERT, markers.type))).as_py():
        return Changes(None, data)
    frame = pl.DataFrame(pl.from_arrow(rows.select([*keys, MARKER]))).with_row_index(_ROW)
    resets = frame.filter(pl.col(MARKER) != INSERT).group_by(list(keys)).agg(pl.col(_ROW).max().alias(_RESET))
    kept = (
        frame.join(resets, on=list(keys), how="left")
        .filter(
            pl.col(_RESET).is_null()
            | (pl.col(_ROW) > pl.col(_RESET))
            | ((pl.col(_ROW) == pl.col(_RESET)) & (pl.col(MARKER) != DELETE))
        )
        .get_column(_ROW)
        .sort()
    )
    if len(kept) < len(data):
        data = data.take(kept.to_arrow())
    key_schema = pa.schema([rows.schema.field(key) for key in keys])
    return Changes(resets.select(list(keys)).to_arrow().cast(key_schema), data)
