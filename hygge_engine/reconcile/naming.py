"""Keys and columns of rows that differ, found by their hashes in a second pass over both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from hygge_engine.reconcile.hashing import KEY, Frame, Hashing
from hygge_engine.reconcile.result import Example, Kind

# A key of text may be long.
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class FoundRow:
    """A row that was looked for: its key as text, its rank, and the hash of each of its values."""

    key: dict[str, str]
    rank: int
    values: tuple[int, ...]


class Finder:
    """Looks for the rows of some keys on one side; of several versions the newest counts."""

    def __init__(self, hashing: Hashing, keys: Iterable[int]) -> None:
        self._hashing = hashing
        self._keys = pl.Series(list(keys), dtype=pl.UInt64).implode()
        self.found: dict[int, FoundRow] = {}

    def look(self, frame: Frame) -> None:
        """Look through some rows."""
        if self._keys.list.len().item() == 0:
            return
        rows = _rows_of(self._keys, self._hashing, frame)
        keys = rows.select(self._hashing.key).to_dicts()
        for key, (hash_, rank, *values) in zip(keys, self._hashing.columns(rows).iter_rows(), strict=True):
            known = self.found.get(hash_)
            if known is None or rank >= known.rank:
                self.found[hash_] = FoundRow({name: text_of(value) for name, value in key.items()}, rank, tuple(values))


class KeySpan:
    """The smallest and the largest cursor among the rows of some keys; ``cursor`` is a time or a number, by
    its name; empty where there is none."""

    def __init__(self, hashing: Hashing, keys: Iterable[int], cursor: str) -> None:
        self._hashing = hashing
        self._keys = pl.Series(list(keys), dtype=pl.UInt64).implode()
        self._cursor = cursor
        self._least: Any = None
        self._most: Any = None

    def look(self, frame: Frame) -> None:
        """Look through some rows."""
        if not self._cursor:
            return
        cursors = _rows_of(self._keys, self._hashing, frame).get_column(self._cursor).drop_nulls()
        if cursors.is_empty():
            return
        least, most = cursors.min(), cursors.max()
        self._least = least if self._least is None else min(self._least, least)
        self._most = most if self._most is None else max(self._most, most)

    @property
    def bounds(self) -> tuple[str, str] | None:
        """As `hygge go` takes them with --from and --to, times in whole seconds around them; None without any."""
        match self._least, self._most:
            case datetime() as least, datetime() as most:
                if most.microsecond:
                    most = most.replace(microsecond=0) + timedelta(seconds=1)
                return _second(least), _second(most)
            case date() as least, date() as most:
                return least.isoformat(), most.isoformat()
            case int() as least, int() as most:
                return str(least), str(most)
            case _:
                return None


def examples(
    named: Mapping[int, Kind], source: Finder, destination: Finder, columns: Sequence[str]
) -> tuple[Example, ...]:
    """The rows that were found; one that is equal by now, because it has just changed, is left out."""
    rows: list[Example] = []
    for hash_, kind in named.items():
        there, here = source.found.get(hash_), destination.found.get(hash_)
        row = here if kind == "extra" else there
        if row is None:
            continue
        differing: tuple[str, ...] = ()
        if kind == "different" and there is not None and here is not None:
            pairs = zip(columns, there.values, here.values, strict=True)
            differing = tuple(name for name, at_source, landed in pairs if at_source != landed)
            if not differing:
                continue
        rows.append(Example(kind, row.key, differing))
    return tuple(rows)


def _rows_of(keys: pl.Series, hashing: Hashing, frame: Frame) -> Frame:
    """The rows with one of these keys, by their hashes."""
    return frame.filter(hashing.keys(frame).get_column(KEY).is_in(keys))


def text_of(value: object) -> str:
    """A key's value for people."""
    match value:
        case None:
            text = "NULL"
        case bytes():
            text = f"0x{value.hex().upper()}"
        case datetime() | date():
            text = value.isoformat()
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _second(moment: datetime) -> str:
    return moment.replace(microsecond=0, tzinfo=None).isoformat()
