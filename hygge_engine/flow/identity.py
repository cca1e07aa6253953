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

UNIQUE_HINT = "Name columns that are never NULL and identify a row: key_columns of the store, key of the home."


class Identity:
    """Looks for NULLs in the key of a slice's rows and, where the source does not promise that it is unique, for rows
    that share one: of these the destination would keep one.

    A source that may hold several versions of a row means its last one: there such rows are counted. ``before`` are
    those of the load's earlier slices; ``continued``: the load has some.
    """

    def __init__(
        self, polish: Polish, key: Sequence[str], *, merges: bool, before: int = 0, continued: bool = False
    ) -> None:
        self._name = polish.source.name
        self._key = tuple(key)
        self._nulls = dict.fromkeys(self._key, 0)
        self._repeats = 0
        self._has_versions = polish.source.resumes_without_key
        self._before = before
        self._continued = continued
        looks = merges and bool(key) and (self._has_versions or may_repeat(polish, key))
        self._seen = Remembered() if looks else None

    @property
    def merged(self) -> int:
        """How many rows of the load so far have taken the place of an earlier one of the same slice."""
        return self._before + (self._repeats if self._has_versions else 0)

    @property
    def notes(self) -> list[str]:
        """What the journal should say: what could not be fully checked, and how many rows others have replaced."""
        key, complete = f"({', '.join(self._key)})", self._seen is None or self._seen.complete
        if self._has_versions:
            least = "" if complete and not self._continued else "at least "
            rows = counted(self.merged, "row", verb=HAS)
            return [f"{least}{rows} the same {key} as one before: the last one counts"] if self.merged else []
        return [] if complete else [f"whether {key} repeats was not fully checked: the slice has too many rows"]

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
        if self._repeats and not self._has_versions:
            found.append(f"{counted(self._repeats, 'row', verb=HAS)} the same key as another one")
        if found:
            raise KeyUnusable(
                f"{self._name}: the destination would identify rows by ({', '.join(self._key)}), but "
                f"{' and '.join(found)}.",
                hint=UNIQUE_HINT,
            )


def may_repeat(polish: Polish, key: Sequence[str]) -> bool:
    """Whether two rows of one read may share the key although each row is read once.

    Of a declared key the home sees repeats in
    adjacent rows; texts that its collation treats as equal come in any order among themselves.
    """
    source: SourceSchema = polish.source
    if source.key_is_declared and any(column.name in source.key and column.folding for column in source.columns):
        return True
    return not source.key or not polish.inputs_of(key).issuperset(source.key)
