"""The rows of which one side has other hashes than the other, range by range."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from hygge_engine.reconcile.hashing import KEY, ROW, Frame
from hygge_engine.reconcile.ranges import NO_ROWS, RANGES, Checksum, HashedRows, checksum, newest, settled
from hygge_engine.reconcile.result import Kind

# Keys of differing rows that are looked up afterwards: to name a few of them, and for the window that has them all.
EXAMPLES_OF_EACH_KIND = 5
KEYS_LOOKED_UP = 100_000


@dataclass
class Difference:
    """What differs. ``named`` are hashes of some keys of each kind, ``to_load`` those of the rows that the source has
    and the destination lacks or has otherwise, as many as `KEYS_LOOKED_UP`."""

    source: Checksum = NO_ROWS
    destination: Checksum = NO_ROWS
    moving: int = 0
    ranges: int = 0
    counts: dict[Kind, int] = field(default_factory=lambda: {"missing": 0, "extra": 0, "different": 0})
    named: dict[int, Kind] = field(default_factory=dict)
    to_load: list[int] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether both sides have the same rows."""
        return not self.ranges

    @property
    def is_whole(self) -> bool:
        """Whether ``to_load`` has every row that loading again would bring."""
        return len(self.to_load) == self.counts["missing"] + self.counts["different"]


def find_difference(
    source: HashedRows, destination: HashedRows, moving: HashedRows, *, has_versions: bool, keeps_versions: bool
) -> Difference:
    """Compare the checksums of each range, and in those that differ row with row.

    Keys in ``moving`` are left out on both sides. Of several versions of a row, which the source has with
    ``has_versions`` and the destination with ``keeps_versions``, only the newest counts.
    """
    difference = Difference()
    for number in range(RANGES):
        moved = moving.range(number)
        there = source.range(number)
        here = destination.range(number)
        if here is not None and keeps_versions:
            here = newest(here)
        if there is not None and has_versions:
            there = newest(there) if keeps_versions else settled(there, here)
        if moved is not None:
            moved = moved.unique(KEY)
            difference.moving += moved.height
            there = None if there is None else there.join(moved, on=KEY, how="anti")
            here = None if here is None else here.join(moved, on=KEY, how="anti")
        _compare(difference, there, here)
    return difference


def add_changed(moving: HashedRows, before: HashedRows, after: HashedRows) -> None:
    """Add to ``moving`` the keys of the rows that one side had otherwise when it was read again."""
    for number in range(RANGES):
        there, here = before.range(number), after.range(number)
        if there is None and here is None:
            continue
        changed = _surplus(there, here).select(KEY).unique()
        if changed.height:
            moving.add(changed)


def _compare(difference: Difference, source: Frame | None, destination: Frame | None) -> None:
    sums = [NO_ROWS if rows is None else checksum(rows) for rows in (source, destination)]
    difference.source = difference.source.plus(sums[0])
    difference.destination = difference.destination.plus(sums[1])
    if sums[0] == sums[1]:
        return
    difference.ranges += 1
    surplus = _surplus(source, destination)
    only_source = surplus.filter(pl.col("surplus") > 0)
    only_destination = surplus.filter(pl.col("surplus") < 0)
    on_both = only_source.select(KEY).unique().join(only_destination.select(KEY).unique(), on=KEY, how="semi")
    missing = only_source.join(on_both, on=KEY, how="anti")
    extra = only_destination.join(on_both, on=KEY, how="anti")
    difference.counts["different"] += on_both.height
    difference.counts["missing"] += int(missing["surplus"].sum())
    difference.counts["extra"] -= int(extra["surplus"].sum())
    kinds: dict[Kind, pl.Series] = {"missing": missing[KEY], "extra": extra[KEY], "different": on_both[KEY]}
    for kind, keys in kinds.items():
        known = sum(other == kind for other in difference.named.values())
        difference.named |= dict.fromkeys(keys.head(EXAMPLES_OF_EACH_KIND - known).to_list(), kind)
        if kind != "extra":
            difference.to_load += keys.head(KEYS_LOOKED_UP - len(difference.to_load)).to_list()


def _surplus(source: Frame | None, destination: Frame | None) -> Frame:
    """Key and content of each row that one side has more often: ``surplus`` is positive where that is the source."""
    sides = [(source, 1), (destination, -1)]
    parts = [rows.select(KEY, ROW, pl.lit(sign, pl.Int64).alias("surplus")) for rows, sign in sides if rows is not None]
    return pl.concat(parts).group_by(KEY, ROW).agg(pl.col("surplus").sum()).filter(pl.col("surplus") != 0)
