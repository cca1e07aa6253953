"""Hashes are found among others, whatever they are."""

from __future__ import annotations

import random

import polars as pl
import pytest

from hygge_engine.flow.digests import KnownHashes

ENDS = [0, 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 1000])
@pytest.mark.parametrize("crowded", [False, True])
def test_hashes_are_found_where_they_are_and_nowhere_else(count: int, *, crowded: bool) -> None:
    random_ = random.Random(count)
    pool = [*ENDS, *(random_.randrange(3 * count + 1 if crowded else 2**64) for _ in range(3 * count))]
    known = random_.sample(pool, count)
    found = KnownHashes(pl.Series(sorted(known), dtype=pl.UInt64))
    for values in (pool, known, [], sorted(set(pool) - set(known))):
        assert found.contain(pl.Series(values, dtype=pl.UInt64)).to_list() == [value in known for value in values]
