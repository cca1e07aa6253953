"""What a key has to be for rows to be read by it: never NULL, and never the same twice.

The catalogue's own keys are. A declared one is checked while its rows are read: they come in its order, so that rows
which share it are adjacent. They share it where the server treats their texts as equal, whatever their case: reading
continues after a key by the server's own comparison, and every equal key would be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import HomeUnavailable, KeyUnusable
from hygge_engine.homes.folding import fold
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.plain_text import HAS, counted

NULL_HINT = "Fill it in by a query, or name columns that are never NULL."
REPEAT_HINT = "Name more columns, until every row has a key of its own."
ORDER_HINT = "The load tries again. If it lasts, the server ignores ORDER BY, or something before it repeats rows."


class KeyWatch:
    """Looks at the key of each batch of one read. ``key`` are its columns; only where ``declared`` does it look for
    rows that share a key."""

    def __init__(self, source: str, key: Sequence[SourceColumn], *, declared: bool) -> None:
        self._source = source
        self._names = [column.name for column in key]
        self._foldings = [column.folding for column in key]
        self._declared = declared
        self._last: list[pa.Array[Any]] | None = None

    def see(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Take the key's columns of the next batch. Raises before any of its rows is handed on: KeyUnusable, and
        HomeUnavailable where the server does not send each row once, in the requested order."""
        if not columns or not len(columns[0]):
            return
        for name, column in zip(self._names, columns, strict=True):
            if column.null_count:
                raise null_in_key(self._source, {name: column.null_count}, self._names)
        joined = list(columns)
        if self._last is not None:
            joined = [pa.concat_arrays(pair) for pair in zip(self._last, columns, strict=True)]
        moved = _is_ordered_by_arrow(joined[0].type) and pc.any(pc.less(joined[0][1:], joined[0][:-1])).as_py()
        repeats = self._repeats(joined) if self._declared or not any(self._foldings) else 0
        if repeats and self._declared:
            raise repeated_key(self._source, repeats, self._names)
        if moved or repeats:
            # A slice continues after its last row, and would leave out what comes late. Twice comes what has moved in
            # an index meanwhile, too: that passes by itself.
            names = ", ".join(self._names)
            raise HomeUnavailable(
                f"{self._source}: its rows did not come each once, in the order of {names}.", hint=ORDER_HINT
            )
        # A copy: a slice would hold the whole batch.
        self._last = [column.take(pa.array([len(column) - 1])) for column in columns]

    def _repeats(self, columns: Sequence[pa.Array[Any]]) -> int:
        """How many rows have a key that equals the one before for the source.

        Nearly all differ by Arrow's quick capitals already; the others are compared letter by letter.
        """
        texts = [(column, folding) for column, folding in zip(columns, self._foldings, strict=True) if folding]
        quick = [
            pc.utf8_upper(pc.utf8_rtrim(column, characters=" ")) if folding else column
            for column, folding in zip(columns, self._foldings, strict=True)
        ]
        alike = reduce(pc.and_, [pc.equal(column.slice(1), column.slice(0, len(column) - 1)) for column in quick])
        if not texts:
            return alike.true_count
        rows = cast("list[int]", pc.indices_nonzero(alike).to_pylist())
        return sum(
            all(fold(text[row].as_py(), folding) == fold(text[row + 1].as_py(), folding) for text, folding in texts)
            for row in rows
        )


def _is_ordered_by_arrow(type_: pa.DataType) -> bool:
    """Whether Arrow orders values of a type as SQL Server does."""
    types = pa.types
    return types.is_integer(type_) or types.is_decimal(type_) or types.is_date(type_) or types.is_timestamp(type_)


def null_in_key(source: str, nulls: dict[str, int], key: Sequence[str]) -> KeyUnusable:
    """The error about rows without a value in the key, by column."""
    found = ", ".join(f"{name} is NULL in {counted(count, 'row')}" for name, count in nulls.items())
    return KeyUnusable(f"{source}: {found}, and is part of the key ({', '.join(key)}).", hint=NULL_HINT)


def repeated_key(source: str, repeats: int, key: Sequence[str]) -> KeyUnusable:
    """The error about rows that share a key."""
    found = f"{counted(repeats, 'row', verb=HAS)} the same key ({', '.join(key)}) as the row before"
    return KeyUnusable(f"{source}: {found}, so that it identifies none of them.", hint=REPEAT_HINT)
