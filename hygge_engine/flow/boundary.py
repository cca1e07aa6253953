"""Which rows at exactly the watermark's value have landed: what a store that cannot merge by key needs to know.

Rows may appear later with the same value. A store that merges reads the value again and replaces; a store that only
appends would keep the rows it has twice, so their keys are remembered, and what is read again is compared with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.stores.landing.state import Boundary

# More rows than this at one value are not remembered: the landing state has to stay a small document.
REMEMBERED_KEYS = 1_000


class BoundaryKeys:
    """Gathers the keys of the rows with the largest cursor, over all batches of a load; ``before`` is where the slice
    before stopped. Columns by their names in the batches."""

    def __init__(self, cursor: str, key: Sequence[str], before: Boundary | None) -> None:
        self.cursor = cursor
        self._key = list(key)
        self.boundary = before
        self._largest: pa.Scalar[pa.DataType] | None = None

    def add(self, rows: pa.RecordBatch) -> None:
        """Take a batch into account."""
        column = rows.column(self.cursor)
        largest = pc.max(column)
        if not largest.is_valid:
            return
        if self._largest is None and self.boundary is not None:
            self._largest = pc.cast(pa.scalar(self.boundary.value), column.type)
        if self._largest is not None and pc.less(largest, self._largest).as_py():
            return
        at_largest = rows.select(self._key).filter(pc.equal(column, largest))
        known: tuple[str, ...] = ()
        if self._largest is not None and self.boundary is not None and pc.equal(largest, self._largest).as_py():
            known = self.boundary.keys
            if not self.boundary.complete:
                return
        self._largest = largest
        value = str(pc.cast(largest, pa.string()).as_py())
        if len(known) + at_largest.num_rows > REMEMBERED_KEYS:
            self.boundary = Boundary(value, (), complete=False)
        else:
            self.boundary = Boundary(value, (*known, *_texts(at_largest)))


def without_landed(rows: pa.RecordBatch, cursor: str, key: Sequence[str], landed: Boundary) -> pa.RecordBatch:
    """``rows`` without those that the boundary says have landed."""
    texts = pc.cast(rows.column(cursor), pa.string()).to_pylist()
    if landed.value not in texts:
        return rows
    known = set(landed.keys)
    keys = _texts(rows.select(list(key)))
    fresh = [text != landed.value or own not in known for text, own in zip(texts, keys, strict=True)]
    return rows.filter(pa.array(fresh))


def _texts(keys: pa.RecordBatch) -> list[str]:
    columns = [column.to_pylist() for column in keys.columns]
    return [json.dumps([str(value) for value in values]) for values in zip(*columns, strict=True)]
