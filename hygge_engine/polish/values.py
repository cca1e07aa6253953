"""What becomes of a column's values, as polars expressions over their texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import polars as pl
import pyarrow as pa

from hygge_engine.homes.base import Folding
from hygge_engine.homes.folding import fold

# What stands for a value of which nothing is to be seen, however long it is.
HIDDEN = "***"

# What stands for NULL among the values that one hash is made of; no value looks like it.
_NULL = "~,"


def texts_of(column: pa.Array[Any]) -> pl.Series:
    """A column's values as texts, in forms that no library's version changes: numbers in decimal digits with all
    decimals of their scale, dates and times in ISO form (times in UTC, ending in Z), true and false, binary in
    hexadecimal digits."""
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return _series(column).bin.encode("hex")
    return _series(column if pa.types.is_string(column.type) else column.cast(pa.string()))


def has_text(type_: pa.DataType) -> bool:
    """Whether values have a text at all: lists and structures do not."""
    return not pa.types.is_nested(type_)


def has_exact_text(type_: pa.DataType) -> bool:
    """Whether equal values have equal texts, and others others: floating-point numbers do not promise that."""
    return has_text(type_) and not pa.types.is_floating(type_)


def strings_of(texts: pl.Series) -> pa.Array[Any]:
    """Texts as the engine's own type of strings."""
    return texts.to_arrow().cast(pa.string())


def masked(text: pl.Expr, mask: str) -> pl.Expr:
    """Texts of which only what the mask says is to be seen: ``full``, ``email``, ``first_N`` or ``last_N``.

    NULL stays NULL. A text of N characters at most shows none of them.
    """
    kind, _, shown = mask.partition("_")
    match kind:
        case "email":
            domain = text.str.extract("(@[^@]*)$").fill_null("")
            seen = pl.lit(HIDDEN) + domain
        case "first" | "last":
            count = int(shown)
            hidden = text.str.slice(count) if kind == "first" else text.str.head(-count)
            stars = hidden.str.replace_all("(?s).", "*")
            rest = text.str.head(count) + stars if kind == "first" else stars + text.str.tail(count)
            seen = pl.when(text.str.len_chars() > count).then(rest).otherwise(text.str.replace_all("(?s).", "*"))
        case _:
            seen = pl.lit(HIDDEN)
    return pl.when(text.is_not_null()).then(seen)


def folded(text: pl.Expr, folding: Folding) -> pl.Expr:
    """One spelling for all texts that the source takes for one, as `hygge_engine.homes.folding.fold` has it."""
    if folding == "blanks":
        return text.str.strip_chars_end(" ")

    def spelt(texts: pl.Series) -> pl.Series:
        found = [None if each is None else fold(each, folding) for each in texts.to_list()]
        return pl.Series(texts.name, found, dtype=pl.String)

    return text.map_batches(spelt, return_dtype=pl.String)


def hashed(text: pl.Expr, salt: bytes) -> pl.Expr:
    """SHA-256 of salt and UTF-8 text in 64 hexadecimal digits; NULL stays NULL."""

    def digests(texts: pl.Series) -> pl.Series:
        found = [None if each is None else hashlib.sha256(salt + each.encode()).hexdigest() for each in texts.to_list()]
        return pl.Series(texts.name, found, dtype=pl.String)

    return text.map_batches(digests, return_dtype=pl.String)


def joined(texts: Sequence[pl.Expr]) -> pl.Expr:
    """One text for several, from which no other texts could have been made: ``<bytes>:<text>,`` for each (a netstring),
    ``~,`` for NULL."""
    parts = [
        pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text, pl.lit(",")).fill_null(_NULL)
        for text in texts
    ]
    return pl.concat_str(parts)


def _series(column: pa.Array[Any]) -> pl.Series:
    return cast("pl.Series", pl.from_arrow(column))
