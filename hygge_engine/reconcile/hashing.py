"""Rows as hashes: the same row has the same ones, from whichever side it is read. They hold within one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import polars as pl
import pyarrow as pa

from hygge_engine.reconcile.canonical import Canonical, Floats, canonical

# Names of the hashes' columns. ``rank`` orders the versions of a row: its cursor, where that is a number or a time.
KEY, ROW, RANK = "key", "row", "rank"

# Sums of hashes would otherwise be sums of what one function makes of the values, which may cancel each other.
_MIX_SEED = 0x9E37

type Frame = pl.DataFrame


class Hashing:
    """Hashes rows of the columns in ``schema``, which are those that landed. ``key`` may be empty: a row is its own.

    ``rank`` is a column that grows with each version of a row, empty where there is none; ``floats`` are those that the
    destination can hold.
    """

    def __init__(self, schema: pa.Schema, key: Sequence[str], rank: str, floats: Floats) -> None:
        self.schema = schema
        self.key = tuple(key)
        self._rank = rank
        self._floats = floats
        self._seeds = {name: number for number, name in enumerate(schema.names)}

    def rows(self, frame: Frame) -> Frame:
        """Key, content and rank of each row."""
        return self._hash(frame, self.schema.names)

    def keys(self, frame: Frame) -> Frame:
        """Of each row the key alone."""
        return self._hash(frame, self.key or self.schema.names).select(KEY)

    def columns(self, frame: Frame) -> Frame:
        """Of each row the key, the rank, and the hash of each value under its column's place (``0``, ``1`` …)."""
        hashed = self._hash(frame, self.schema.names)
        places = {name: str(place) for place, name in enumerate(self.schema.names)}
        return hashed.select(KEY, RANK).hstack(self._values(frame, self.schema.names).rename(places))

    def _hash(self, frame: Frame, names: Sequence[str]) -> Frame:
        values = self._values(frame, names)
        row = _mixed(values, names)
        key = _mixed(values, self.key) if self.key else row
        rank = pl.lit(0, pl.Int64)
        if self._rank and self._rank in names:
            rank = self._canonical(self._rank, frame.schema).value.cast(pl.Int64, strict=False).fill_null(0)
        ranks = frame.with_columns(rank.alias(RANK)).get_column(RANK)
        return pl.DataFrame([key.alias(KEY), row.alias(ROW), ranks])

    def _values(self, frame: Frame, names: Sequence[str]) -> Frame:
        """The hash of each value. Not by `select`, which gives one row where the frame has none of the columns."""
        read_as = frame.schema  # which is made anew each time
        hashes = [self._canonical(name, read_as).hash(self._seeds[name]).alias(name) for name in names]
        return frame.with_columns(hashes).select(names)

    def _canonical(self, name: str, read_as: pl.Schema) -> Canonical:
        return canonical(name, self.schema.field(name).type, read_as.get(name), self._floats)


def frame_of(batch: pa.RecordBatch) -> Frame:
    """The batch, without a copy."""
    return cast("pl.DataFrame", pl.from_arrow(batch))


def _mixed(hashed: Frame, names: Sequence[str]) -> pl.Series:
    """One hash from those of several columns."""
    return hashed.select(names).hash_rows(_MIX_SEED).hash(_MIX_SEED)
