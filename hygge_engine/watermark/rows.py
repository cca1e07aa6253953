"""Which rows at exactly the watermark's value have landed.

Rows may appear later with the same value, also in the place of others that have moved on, where counting finds
nothing new. The rows at the value are therefore recorded, as far as they are few: the next load reads the value
again, and what it finds is compared with them.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.watermark.values import order_of
from hygge_engine.watermark.watermark import Boundary, Watermark

# More rows than this at one value are not recorded: the landing state has to stay a small document.
REMEMBERED_ROWS = 1_000

_DIGEST_BYTES = 8


class BoundaryRows:
    """Gathers the rows with the largest cursor, over all batches of a load; ``before`` is where the slice before
    stopped. ``cursor`` by its name in the batches. ``at``: those with this very value instead, because only the source
    can order texts, and says which is its largest."""

    def __init__(self, cursor: str, before: Boundary | None, at: str | None = None) -> None:
        self.cursor = cursor
        self.boundary = before if at is None or (before is not None and before.value == at) else None
        self._at = at

    def add(self, rows: pa.RecordBatch) -> None:
        """Take a batch into account."""
        column = rows.column(self.cursor)
        largest = pc.max(column) if self._at is None else _scalar(self._at, column.type)
        if not largest.is_valid:
            return
        known: tuple[str, ...] = ()
        if self.boundary is not None:
            before = _scalar(self.boundary.value, column.type)
            if pc.less(largest, before).as_py():
                return
            if pc.equal(largest, before).as_py():
                if not self.boundary.complete:
                    return
                known = self.boundary.rows
        value = str(pc.cast(largest, pa.string()).as_py())
        at_largest = rows.filter(pc.equal(column, largest))
        if len(known) + at_largest.num_rows > REMEMBERED_ROWS:
            self.boundary = Boundary(value, (), complete=False)
        else:
            self.boundary = Boundary(value, (*known, *_digests(at_largest)))


class LargestRead:
    """The largest value of the cursor among a load's rows, as far as its upper bound: of all batches and slices.

    ``value`` is the bound itself once a row had it, else the text of the largest value below it; None where there was
    none. ``cursor`` by its name in the batches; ``before`` is what earlier slices have seen. Texts are compared by the
    source alone, so that of them nothing but the bound is known.
    """

    def __init__(self, cursor: str, upper: Watermark, before: str | None) -> None:
        self._cursor = cursor
        self._upper = upper
        self.value = before

    def add(self, rows: pa.RecordBatch) -> None:
        """Take a batch into account."""
        column = rows.column(self._cursor)
        if self.value == self._upper.value or not len(column):
            return
        bound = _bound(self._upper, column.type)
        if pc.any(pc.equal(column, bound)).as_py():
            self.value = self._upper.value
        elif self._upper.type != "string":
            largest = pc.max(column.filter(pc.less(column, bound)))
            if largest.is_valid and (self.value is None or pc.less(_scalar(self.value, column.type), largest).as_py()):
                self.value = str(pc.cast(largest, pa.string()).as_py())


def without_landed(rows: pa.RecordBatch, cursor: str, landed: Boundary) -> pa.RecordBatch:
    """``rows`` without those that have landed as they are, by what the boundary holds."""
    column = rows.column(cursor)
    equal: pa.Array[Any] = pc.equal(column, _scalar(landed.value, column.type))
    if not pc.any(equal).as_py():
        return rows
    at_boundary = [bool(value) for value in equal.to_pylist()]
    known = set(landed.rows)
    digests = iter(_digests(rows.filter(pa.array(at_boundary))))
    return rows.filter(pa.array([not at or next(digests) not in known for at in at_boundary]))


def _scalar(value: str, type_: pa.DataType) -> pa.Scalar[pa.DataType]:
    return pc.cast(pa.scalar(value), type_)


def _bound(upper: Watermark, type_: pa.DataType) -> pa.Scalar[pa.DataType]:
    """An upper bound as a value of the rows' own type, which may have fewer digits of a second."""
    if upper.type != "datetime":
        return _scalar(upper.value or "", type_)
    whole, billionths = order_of(upper.value or "", "datetime")
    moment = whole.replace(tzinfo=None) + timedelta(microseconds=billionths // 1000)
    return pc.cast(pa.scalar(moment, pa.timestamp("us")), type_, safe=False)


def _digests(rows: pa.RecordBatch) -> list[str]:
    """A digest of a row's content, the same in every process."""
    columns = [_plain(column).to_pylist() for column in rows.columns]
    return [_digest(values) for values in zip(*columns, strict=True)]


def _digest(values: tuple[object, ...]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for value in values:
        content = value if isinstance(value, bytes) else str(value).encode()
        digest.update(b"%s %d " % (type(value).__name__.encode(), len(content)))
        digest.update(content)
    return digest.hexdigest()


def _plain(column: pa.Array[Any]) -> pa.Array[Any]:
    """Times as numbers, because Python's have no nanoseconds."""
    if not pa.types.is_temporal(column.type):
        return column
    return column.view(pa.int64() if column.type.bit_width == 64 else pa.int32())
