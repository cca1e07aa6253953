"""Whether the key by which a destination identifies rows is unique in the rows that arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import polars as pl
import pyarrow as pa

from hygge_engine.errors import KeyUnusable
from hygge_engine.expectations.repeats import Remembered
from hygge_engine.homes.base import SourceSchema
from hygge_engine.plain_text import HAS, counted
from hygge_engine.polish.polish import Polish


class Identity:
    """Looks for NULLs in the key of a slice's rows and, where the source does not promise that it is unique, for rows
    that share one: of these the destination would keep one."""

    def __init__(self, polish: Polish, key: Sequence[str], *, merges: bool) -> None:
        self._name = polish.source.name
        self._key = tuple(key)
        self._nulls = dict.fromkeys(self._key, 0)
        self._repeats = 0
        self._seen = Remembered() if merges and key and _may_repeat(polish, key) else None

    @property
    def notes(self) -> list[str]:
        """What could not be fully checked."""
        if self._seen is None or self._seen.complete:
            return []
        return [f"whether ({', '.join(self._key)}) repeats was not fully checked: the slice has too many rows"]

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows into account, as they land."""
        for name in self._key:
            self._nulls[name] += rows.column(name).null_count
        if self._seen is not None and rows.num_rows:
            frame = cast("pl.DataFrame", pl.from_arrow(rows.select(list(self._key))))
            self._repeats += len(self._seen.find(frame.hash_rows()).arg_true())

    def judge(self) -> None:
        """Raise KeyUnusable, before anything of the slice is visible, where the key does not identify its rows."""
        found = [f"{name} is NULL in {counted(count, 'row')}" for name, count in self._nulls.items() if count]
        if self._repeats:
            found.append(f"{counted(self._repeats, 'row', verb=HAS)} the same key as another one")
        if found:
            raise KeyUnusable(
                f"{self._name}: the destination would identify rows by ({', '.join(self._key)}), but "
                f"{' and '.join(found)}.",
                hint="Name columns that are never NULL and identify a row: key_columns of the store, key of the home.",
            )


def _may_repeat(polish: Polish, key: Sequence[str]) -> bool:
    """Whether two rows of one read may share the key although each row is read once.

    Files may hold several versions of a row, of which the last one counts. Of a declared key the home sees repeats in
    adjacent rows; texts that its collation treats as equal come in any order among themselves.
    """
    source: SourceSchema = polish.source
    if source.resumes_without_key:
        return False
    if source.key_is_declared and any(column.name in source.key and column.folding for column in source.columns):
        return True
    return not source.key or not polish.inputs_of(key).issuperset(source.key)
