"""Rows that have landed, looked up in their source by their keys: whether they are there still (docs/deletes.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime

import polars as pl
import pyarrow as pa

from hygge_engine.errors import HomeUnavailable
from hygge_engine.flow.digests import Digests, contained, in_order
from hygge_engine.homes.base import KEYS_AT_ONCE, Home, ListsKeys, ReadWindow
from hygge_engine.polish.polish import LoadStamp, Polish
from hygge_engine.stores.landing.state import OpenLoad

# Keys that the source has to find, before it is believed that it does not find others.
_TRIED = 20


class SourceLookup:
    """Looks keys of landed rows up in a source, `KEYS_AT_ONCE` in a statement. ``lists`` is the home once more."""

    def __init__(self, home: Home, lists: ListsKeys, digests: Digests, polish: Polish, opened: OpenLoad) -> None:
        self._home = home
        self._lists = lists
        self._digests = digests
        self._polish = polish.narrowed(digests.key)
        self._name = polish.source.name
        self._stamp = LoadStamp(opened.load_id, datetime.fromisoformat(opened.started))
        self._has_rows: bool | None = None
        self.columns = polish.sources_of(digests.key)

    def hashes(self, rows: pa.RecordBatch) -> pl.Series:
        """The hashes of the keys of rows as the source has them."""
        return self._digests.key_hashes(self._polish.apply(rows.select(list(self.columns)), self._stamp))

    def find(self, entries: pa.Table, columns: Sequence[str] = ()) -> pa.RecordBatch | None:
        """The rows that the source has now for the keys of these digests, in these columns of the source, else in those
        of the key alone. None where it has no rows at all. Raises HomeUnavailable where it does not find the keys that
        it sends itself: nothing follows then from what it does not find."""
        if self._has_rows is None:
            self._has_rows = self._finds_its_own()
        if not self._has_rows:
            return None
        landed = next(iter(entries.combine_chunks().to_batches()))
        values = [landed.column(str(place)) for place in range(len(self._digests.key))]
        keys = pa.RecordBatch.from_arrays(values, names=list(self.columns))
        return self._lists.find_rows(keys, columns or self.columns)

    def _finds_its_own(self) -> bool:
        """Whether the source has any rows."""
        with closing(self._lists.read_keys(self.columns)) as batches:
            rows = next((batch.rows for batch in batches if batch.rows.num_rows), None)
        if rows is None:
            if count := self._home.count(ReadWindow()):
                raise HomeUnavailable(f"{self._name}: the source has {count:,} rows, and has sent the key of none")
            return False
        tried = rows.slice(0, min(_TRIED, KEYS_AT_ONCE))
        found = in_order([self.hashes(self._lists.find_rows(tried, self.columns))])
        if 2 * int(contained(found, self.hashes(tried)).sum()) < tried.num_rows:
            raise HomeUnavailable(
                f"{self._name}: the source does not find keys that it has just sent, so that it cannot be told which "
                "rows are gone",
                hint="If it lasts, compare the collation and the types of the key's columns with the database's.",
            )
        return True


def lookup_parts(entries: pa.Table) -> Iterator[pa.Table]:
    """Entries in parts that can be looked up by one statement each."""
    for start in range(0, entries.num_rows, KEYS_AT_ONCE):
        yield entries.slice(start, KEYS_AT_ONCE)
