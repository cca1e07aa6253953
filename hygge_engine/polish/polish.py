"""A source's table as it lands, and its batches likewise: columns dropped, trimmed, masked, renamed and added.

Columns that are only dropped or renamed stay the arrays that they are; where nothing is to be done, so do batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, cast

import polars as pl
import pyarrow as pa

from hygge_engine.errors import ConfigurationError, HomeNotFound, KeyUnusable
from hygge_engine.homes.base import Column, SourceSchema
from hygge_engine.letter_case import meant
from hygge_engine.polish.values import strings_of, texts_of
from hygge_engine.project.telling.problems import suggest

# What to do about a column that is not kept exactly, where it is part of the key.
BLURRED_HINT = (
    "Let it land with all its digits (as_text, for SQL Server), convert it in the home by a query, or name other "
    "columns: key_columns of the store."
)


class LoadStamp(NamedTuple):
    """What the rows of a load have in common, whichever attempt lands them: by the landing state, not by the clock."""

    load_id: str
    started: datetime


@dataclass(frozen=True)
class LandedColumn:
    """One column as it lands: in the place of the source's column ``source``, or added where that is empty.

    ``inputs`` are the source's columns that its values come from. ``expression`` makes the values from their texts;
    without one they stay as they are, or come from ``constant`` or the load (``stamp``). ``treatment`` says what has
    been done to them, where another treatment would make other values: empty where nothing was.
    ``trimmed``: texts have lost blanks on the way.
    """

    column: Column
    source: str = ""
    inputs: tuple[str, ...] = ()
    expression: pl.Expr | None = None
    constant: pa.Scalar[Any] | None = None
    stamp: str = ""
    treatment: str = ""
    trimmed: bool = False


@dataclass(frozen=True)
class Polish:
    """``table`` is what lands of ``source``, its key included. ``dropped`` are columns of the source that do not;
    ``version`` is the column that distinguishes the versions of a row, where all of them are kept."""

    source: SourceSchema
    table: SourceSchema
    columns: tuple[LandedColumn, ...] = ()
    dropped: tuple[str, ...] = ()
    _names: Mapping[str, str] = field(default_factory=dict)
    version: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether rows land as they are."""
        return self.table is self.source

    @property
    def treatments(self) -> dict[str, str]:
        """What is done to the values of columns, by the names that they land under."""
        return {each.column.name: each.treatment for each in self.columns if each.treatment}

    def apply(self, rows: pa.RecordBatch, stamp: LoadStamp) -> pa.RecordBatch:
        """``rows`` as they land; deleted rows, of which only the key is known, likewise."""
        if self.is_plain:
            return rows
        made = self._make(rows)
        arrays = [
            made[number] if number in made else _plain(each, rows, stamp) for number, each in enumerate(self.columns)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.table.schema)

    def extended(self, added: Sequence[LandedColumn], *, version: str = "") -> Polish:
        """The same with columns besides, of which one may distinguish the versions of a row. Each bears a name that no
        column has that lands already."""
        columns = self.columns
        if self.is_plain:
            columns = tuple(LandedColumn(column, column.name, (column.name,)) for column in self.table.columns)
        columns = (*columns, *added)
        table = replace(self.table, columns=tuple(each.column for each in columns))
        return replace(self, table=table, columns=columns, version=version or self.version)

    def narrowed(self, names: Sequence[str]) -> Polish:
        """The same for rows of which these landed columns alone are made, in this order."""
        chosen = tuple(column for name in names for column in self.table.columns if column.name == name)
        table = replace(self.table, columns=chosen)
        if self.is_plain:
            return Polish(table, table)
        columns = tuple(each for name in names for each in self.columns if each.column.name == name)
        return Polish(self.source, table, columns)

    def landed_name(self, name: str) -> str | None:
        """The landed column that a setting names, spelt as it lands: by its name there, else by the source's."""
        names = [column.name for column in self.table.columns]
        if (found := spelt(name, names)) is not None:
            return found
        source = spelt(name, list(self._names))
        return self._names[source] if source is not None else None

    def inputs_of(self, names: Sequence[str]) -> set[str]:
        """The source's columns that landed columns are made of."""
        if self.is_plain:
            return set(names)
        return {name for each in self.columns if each.column.name in names for name in each.inputs}

    def sources_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """The source's columns in whose place landed columns stand; those that are made of several have none."""
        if self.is_plain:
            return tuple(names)
        return tuple(each.source for each in self.columns if each.column.name in names and each.source)

    def key(self, named: Sequence[str]) -> tuple[str, ...]:
        """The key columns as they land: those that the store's settings name, else the source's own key.

        Raises ConfigurationError where they do not land, or where a mask makes several keys one.
        """
        if named:
            self._check_key_columns(named)
            keys = tuple(self._key_column(name) for name in named)
        else:
            if lost := [name for name in self.source.key if name in self.dropped]:
                raise ConfigurationError(
                    f"polish drops `{lost[0]}`, which is part of the key of {self.source.name}",
                    hint="Keep it, or set key_columns on the store to columns that identify a row.",
                )
            keys = self.table.key
        for each in self.columns:
            if each.column.name in keys and each.trimmed:
                raise ConfigurationError(
                    f"polish trims `{', '.join(each.inputs)}`, which is part of the key: two keys may become one",
                    hint="Name other columns in `trim`, or trim it in the home, by a query.",
                )
            if each.column.name in keys and each.treatment.startswith("mask"):
                raise ConfigurationError(
                    f"polish masks `{each.column.name}`, which is part of the key: its rows could not be distinguished",
                    hint="Hash it instead, which keeps keys unique, or set other key_columns on the store.",
                )
        return (*keys, self.version) if keys and self.version else keys

    def check_identity(self, keys: Sequence[str]) -> None:
        """Raise KeyUnusable where two rows of the source may come to share the key by which a store identifies them."""
        inputs = self.inputs_of(keys)
        for column in self.source.columns:
            if column.name in inputs and column.blurs:
                lost = column.loss or "digits are cut"
                raise KeyUnusable(
                    f"{self.source.name}: `{column.name}` ({column.source_type}) is part of the key, and values that "
                    f"differ may become one: {lost}.",
                    hint=BLURRED_HINT,
                )

    def describe(self) -> list[str]:
        """What is done, in words, for people."""
        words = [_in_words(each) for each in self.columns]
        dropped = [f"drops {', '.join(self.dropped)}"] if self.dropped else []
        return [text for text in words if text] + dropped

    def _key_column(self, name: str) -> str:
        """How a column of a key lands that does, or is dropped (`_check_key_columns`)."""
        found = self.landed_name(name)
        if found is None:
            names = [column.name for column in self.table.columns]
            raise ConfigurationError(
                f"polish drops `{name}`, which key_columns of the store names", hint=suggest(name, names)
            )
        return found

    def _check_key_columns(self, named: Sequence[str]) -> None:
        """Raise HomeNotFound for all columns of a key that neither land nor are dropped."""
        unknown = [name for name in named if self.landed_name(name) is None and spelt(name, self.dropped) is None]
        if unknown:
            has = f"It has {', '.join(column.name for column in self.table.columns)}."
            told = " and no column ".join(f"'{name}'" for name in unknown)
            raise HomeNotFound(f"{self.source.name} has no column {told}, which key_columns names.", hint=has)

    def _make(self, rows: pa.RecordBatch) -> dict[int, pa.Array[Any]]:
        expressions = {
            number: each.expression for number, each in enumerate(self.columns) if each.expression is not None
        }
        if not expressions:
            return {}
        inputs = dict.fromkeys(name for number in expressions for name in self.columns[number].inputs)
        texts = pl.DataFrame({name: texts_of(rows.column(name)) for name in inputs})
        found = texts.select(expression.alias(str(number)) for number, expression in expressions.items())
        return {number: strings_of(found.get_column(str(number))) for number in expressions}


def filled(rows: pa.RecordBatch, values: Mapping[str, Any]) -> pa.RecordBatch:
    """Rows with one value, the same in each, in every column that ``values`` names."""
    arrays = [
        pa.repeat(pa.scalar(values[field.name], field.type), rows.num_rows) if field.name in values else column
        for field, column in zip(rows.schema, rows.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=rows.schema)


def _plain(column: LandedColumn, rows: pa.RecordBatch, stamp: LoadStamp) -> pa.Array[Any]:
    """The values of a column that needs no expression."""
    if column.constant is not None:
        return _repeated(column.constant, rows.num_rows)
    if column.stamp:
        value = stamp.load_id if column.stamp == "load_id" else stamp.started
        return _repeated(pa.scalar(value, column.column.type), rows.num_rows)
    return rows.column(column.source)


def _repeated(value: pa.Scalar[Any], times: int) -> pa.Array[Any]:
    return cast("pa.Array[Any]", pa.repeat(cast("Any", value), times))


def _in_words(column: LandedColumn) -> str:
    name = column.column.name
    if not column.source:
        return f"adds {name} ({column.column.source_type})"
    done = "trimmed" if column.expression is not None else ""
    if column.treatment:
        kind = column.treatment.removeprefix("mask ")
        done = {"empty": "emptied"}.get(kind, "hashed" if kind.startswith("hash") else f"masked ({kind})")
        if kind.startswith("folded"):
            done = kind
    renamed = f"{column.source} → {name}" if column.source != name else ""
    return " ".join(word for word in (renamed or (done and name), done) if word)


def spelt(name: str, names: Sequence[str]) -> str | None:
    """The one of ``names`` that is ``name``, or else the only one that differs in case alone."""
    found = meant(name, names)
    return found[0] if len(found) == 1 else None
