"""The hashes of one side's rows, divided into ranges of the key's hash, so that one range at a time is compared.

Memory holds `BUFFERED_ROWS` rows; what is more lies on the local disk until the comparison is over, 24 bytes for each
row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import NamedTuple, Self, cast

import polars as pl
import pyarrow as pa

from hygge_engine.memory import trim
from hygge_engine.reconcile.hashing import KEY, RANK, ROW, Frame

# A range of a table of a billion rows has four million of them: some 100 MB for each side.
RANGES = 256
_RANGE_SIZE = 2**64 // RANGES

BUFFERED_ROWS = 1_000_000

_RANGE = "range"
_HALF = 2**32


class Checksum(NamedTuple):
    """A number of rows, and the sum of their hashes modulo 2^64: the same in whatever order they come."""

    rows: int
    total: int

    def plus(self, other: Checksum) -> Checksum:
        """The checksum of the rows of both."""
        return Checksum(self.rows + other.rows, (self.total + other.total) % 2**64)

    @property
    def text(self) -> str:
        """The sum in 16 hexadecimal digits."""
        return f"{self.total:016x}"


NO_ROWS = Checksum(0, 0)


def checksum(rows: Frame) -> Checksum:
    """The checksum of hashed rows, added up in halves, whose sums no 64 bits overflow."""
    high, low = rows.select(high=(pl.col(ROW) // _HALF).sum(), low=(pl.col(ROW) % _HALF).sum()).row(0)
    return Checksum(rows.height, (high * _HALF + low) % 2**64)


class HashedRows:
    """Takes frames of `Hashing` and gives them back range by range, in the order in which they came. A context
    manager, which removes what it has put on disk."""

    def __init__(self) -> None:
        self.rows = 0
        self._buffer: list[Frame] = []
        self._buffered_rows = 0
        self._sorted: dict[int, Frame] | None = None
        self._directory: TemporaryDirectory[str] | None = None
        self._files: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._directory is not None:
            self._directory.cleanup()

    def add(self, frame: Frame) -> None:
        """Keep rows; not once ranges have been asked for."""
        self.rows += frame.height
        self._buffer.append(frame)
        self._buffered_rows += frame.height
        if self._buffered_rows >= BUFFERED_ROWS:
            self._write()

    def range(self, number: int) -> Frame | None:
        """The rows of one of `RANGES`; None where it has none."""
        if self._sorted is None:
            self._sorted = self._take_buffer()
        parts = [part for part in self._read(number) if part.height]
        if number in self._sorted:
            parts.append(self._sorted[number])
        return pl.concat(parts) if parts else None

    def has(self, key: int) -> bool:
        """Whether there is a row with this hash of its key."""
        part = self.range(key // _RANGE_SIZE)
        return part is not None and key in part.get_column(KEY)

    def distinct_keys(self) -> int:
        """How many different keys there are."""
        parts = (self.range(number) for number in range(RANGES))
        return sum(part.get_column(KEY).n_unique() for part in parts if part is not None)

    def _take_buffer(self) -> dict[int, Frame]:
        if not self._buffer:
            return {}
        frame = pl.concat(self._buffer).with_columns((pl.col(KEY) // _RANGE_SIZE).alias(_RANGE))
        self._buffer, self._buffered_rows = [], 0
        parts = frame.partition_by(_RANGE, maintain_order=True, as_dict=True, include_key=False)
        return {cast("int", number): part for (number,), part in parts.items()}

    def _write(self) -> None:
        """A file with one record batch for each range."""
        if self._directory is None:
            self._directory = TemporaryDirectory(prefix="hygge-reconcile-")
        parts = self._take_buffer()
        path = Path(self._directory.name) / f"{len(self._files)}.arrow"
        empty = next(iter(parts.values())).clear()
        with pa.ipc.new_file(str(path), _batch(empty).schema) as file:
            for number in range(RANGES):
                file.write_batch(_batch(parts.get(number, empty)))
        self._files.append(path)
        trim()

    def _read(self, number: int) -> Iterator[Frame]:
        for path in self._files:
            with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as file:
                yield cast("pl.DataFrame", pl.from_arrow(file.get_batch(number)))


def _batch(frame: Frame) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([frame[name].to_arrow() for name in frame.columns], frame.columns)


def newest(rows: Frame) -> Frame:
    """Of each key the version with the highest rank, of those the last that came."""
    return rows.sort(RANK, maintain_order=True).unique(KEY, keep="last", maintain_order=True)


def settled(rows: Frame, landed: Frame | None) -> Frame:
    """Of each key of a source that holds several versions of a row the one that a store which merges has kept.

    Within a load that is the last that came. Later loads bring larger ranks, wherever their rows come from, so that the
    version with the highest one is as good, where it has ``landed``.
    """
    last = rows.unique(KEY, keep="last", maintain_order=True)
    if landed is None or last.height == rows.height:
        return last
    kept = newest(rows).join(landed, on=[KEY, ROW], how="semi")
    return pl.concat([last.join(kept, on=KEY, how="anti"), kept])
