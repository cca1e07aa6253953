"""Which rows at exactly the watermark's value have landed.

Rows may appear later with the same value, also in the place of others that have moved on, where counting finds
nothing new. The rows at the value are therefore recorded, as far as they are few: the next load reads the value
again, and what it finds is compared with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.watermark.values import CursorType, order_of
from hygge_engine.watermark.watermark import Boundary, Watermark

# More rows than this at one value are not recorded: the landing state has to stay a small document.
REMEMBERED_ROWS = 1_000

# Digests of their single columns are recorded up to this number, for the same reason.
REMEMBERED_VALUES = 3_000

_DIGEST_BYTES = 8
_DIGITS = 2 * _DIGEST_BYTES


class BoundaryRows:
    """Gathers the rows with the largest cursor, over all batches of a load; ``before`` is where the slice before
    stopped. ``cursor`` by its name in the batches. ``at``: those with this very value instead, because only the source
    can order texts, and says which is its largest. ``upto``: rows above it do not count."""

    def __init__(
        self, cursor: str, before: Boundary | None, at: str | None = None, upto: Watermark | None = None
    ) -> None:
        self.cursor = cursor
        self.boundary = before if at is None or (before is not None and before.value == at) else None
        self._at = at
        self._upto = upto if at is None else None

    def add(self, rows: pa.RecordBatch) -> None:
        """Take a batch into account."""
        if self._upto is not None:
            found = rows.column(self.cursor)
            rows = rows.filter(pc.less_equal(found, _bound(self._upto, found.type)))
        column = rows.column(self.cursor)
        largest = pc.max(column) if self._at is None else _scalar(self._at, column.type)
        if not largest.is_valid:
            return
        known: Boundary | None = None
        if self.boundary is not None:
            before = _scalar(self.boundary.value, column.type)
            if pc.less(largest, before).as_py():
                return
            if pc.equal(largest, before).as_py():
                if not self.boundary.complete:
                    return
                known = self.boundary
        value = str(pc.cast(largest, pa.string()).as_py())
        self.boundary = _with_more(known, value, rows.filter(pc.equal(column, largest)))


def newest_boundary(found: Sequence[Boundary], type_: CursorType) -> Boundary | None:
    """The rows with the largest cursor of several reads that have no row in common, each with its own; None of none."""
    if not found:
        return None
    largest = max(order_of(each.value, type_) for each in found)
    (first, *others) = [each for each in found if order_of(each.value, type_) == largest]
    return reduce(_joined, others, first)


def _joined(one: Boundary, other: Boundary) -> Boundary:
    """The rows at one value of the cursor that two reads have found."""
    rows = len(one.rows) + len(other.rows)
    if not (one.complete and other.complete and one.columns == other.columns) or rows > REMEMBERED_ROWS:
        return Boundary(one.value, complete=False)
    detailed = one.detailed and other.detailed and rows * len(one.columns) <= REMEMBERED_VALUES
    found = [_condensed(each) if each.detailed and not detailed else each.rows for each in (one, other)]
    return replace(one, rows=(*found[0], *found[1]), detailed=detailed)


def _condensed(known: Boundary) -> tuple[str, ...]:
    """One digest for each row, where there was one for each of its columns."""
    return tuple(_digest((digests,)) for digests in known.rows)


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
    landed = _restricted(landed, rows.schema.names)
    known = set(landed.rows)
    digests = iter(_digests(rows.filter(pa.array(at_boundary)), landed.columns, detailed=landed.detailed))
    return rows.filter(pa.array([not at or next(digests) not in known for at in at_boundary]))


def _with_more(known: Boundary | None, value: str, rows: pa.RecordBatch) -> Boundary:
    """The rows at a value of the cursor: those that are known so far, and more."""
    names = tuple(rows.schema.names)
    before = Boundary(value, columns=names, detailed=True) if known is None else _restricted(known, names)
    count = len(before.rows) + rows.num_rows
    if not before.complete or count > REMEMBERED_ROWS:
        return Boundary(value, complete=False)
    detailed = before.detailed and count * len(before.columns) <= REMEMBERED_VALUES
    found = [*before.rows, *_digests(rows, before.columns, detailed=before.detailed)]
    if before.detailed and not detailed:
        found = [*_condensed(replace(before, rows=tuple(found)))]
    return replace(before, rows=tuple(found), detailed=detailed)


def _restricted(known: Boundary, names: Sequence[str]) -> Boundary:
    """What is known of rows by those of their columns that the source still has."""
    kept = [number for number, name in enumerate(known.columns) if name in names]
    if len(kept) == len(known.columns):
        return known
    if not known.detailed:
        return Boundary(known.value, complete=False)
    rows = tuple("".join(row[at * _DIGITS : (at + 1) * _DIGITS] for at in kept) for row in known.rows)
    return replace(known, rows=rows, columns=tuple(known.columns[at] for at in kept))


def _scalar(value: str, type_: pa.DataType) -> pa.Scalar[pa.DataType]:
    return pc.cast(pa.scalar(value), type_)


def _bound(upper: Watermark, type_: pa.DataType) -> pa.Scalar[pa.DataType]:
    """An upper bound as a value of the rows' own type, which may have fewer digits of a second."""
    if upper.type != "datetime":
        return _scalar(upper.value or "", type_)
    whole, billionths = order_of(upper.value or "", "datetime")
    moment = whole.replace(tzinfo=None) + timedelta(microseconds=billionths // 1000)
    return pc.cast(pa.scalar(moment, pa.timestamp("us")), type_, safe=False)


def _digests(rows: pa.RecordBatch, columns: Sequence[str], *, detailed: bool) -> list[str]:
    """A digest of each row's content in these columns, the same in every process; see `Boundary`."""
    if not columns:
        return [_digest(values) for values in zip(*map(_values, rows.columns), strict=True)]
    of_columns = ([_digest((value,)) for value in _values(rows.column(name))] for name in columns)
    joined = ["".join(digests) for digests in zip(*of_columns, strict=True)]
    return joined if detailed else [_digest((digests,)) for digests in joined]


def _digest(values: tuple[object, ...]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for value in values:
        content = value if isinstance(value, bytes) else str(value).encode()
        digest.update(b"%s %d " % (type(value).__name__.encode(), len(content)))
        digest.update(content)
    return digest.hexdigest()


def _values(column: pa.Array[Any]) -> list[Any]:
    """The values as Python's; times as numbers, because Python's have no nanoseconds."""
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int64() if column.type.bit_width == 64 else pa.int32())
    return column.to_pylist()
