"""Ranges of a key: how a table is divided among readers, and how a position keeps what is left of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hygge_engine.homes.base import Position

# Ranges for each reader: one that ends early takes another, so that uneven ranges do not leave readers idle.
RANGES_PER_READER = 4

# Ranges that are read apart from each other: the landing state names each.
RANGES_AT_MOST = 1_000


@dataclass(frozen=True)
class KeyRange:
    """The rows with ``after < key <= to``, compared as rows of the key's columns; None is no bound."""

    after: Position | None = None
    to: Position | None = None


def spread(keys: Sequence[Position], count: int) -> list[Position]:
    """Bounds of at most ``count`` ranges that hold about equally many of the keys, which are in the server's order."""
    count = min(count, len(keys) + 1)
    chosen = [list(keys[number * len(keys) // count]) for number in range(1, count)]
    return [bound for number, bound in enumerate(chosen) if bound not in chosen[:number]]


def between(bounds: Sequence[Position]) -> list[KeyRange]:
    """The ranges before, between and after bounds."""
    edges: list[Position | None] = [None, *bounds, None]
    return [KeyRange(after, to) for after, to in pairwise(edges)]


def position_of(ranges: Sequence[KeyRange], key_columns: int) -> Position:
    """What is left of the ranges, as a position; one longer than that of a single reader."""
    return [json.dumps([[range_.after, range_.to] for range_ in ranges]), *[""] * key_columns]


def ranges_of(position: Position, key_columns: int) -> list[KeyRange] | None:
    """The inverse of `position_of`; None for the position of a single reader, also where that has read by another key:
    one column longer, it is as long as one of ranges."""
    if len(position) != key_columns + 1 or any(position[1:]):
        return None
    try:
        return [KeyRange(after, to) for after, to in json.loads(position[0])]
    except (ValueError, TypeError):
        return None
