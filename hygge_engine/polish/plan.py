"""What becomes of every column of a source, worked out before the first row is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl
import pyarrow as pa

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.base import Column, SourceSchema
from hygge_engine.letter_case import in_any_case, meant, meant_among
from hygge_engine.polish.names import convert_case
from hygge_engine.polish.polish import BLURRED_HINT, LandedColumn, Polish
from hygge_engine.polish.values import folded, has_exact_text, has_text, hashed, joined, masked
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.project.telling.problems import suggest_each, told_columns, unknown_columns

_LOADED_AT = pa.timestamp("us", tz="UTC")

# Digits of a salt's own hash that the landing state keeps, to notice another salt: too few to find the salt by.
_SALT_DIGITS = 8


def polish_of(source: SourceSchema, settings: PolishSettings | None) -> Polish:
    """How ``source`` lands. Raises ConfigurationError where the settings do not fit it, before a row is read."""
    if settings is None:
        return Polish(source, source)
    return _PolishPlanner(source, settings).plan()


class _PolishPlanner:
    """Works out what becomes of every column."""

    def __init__(self, source: SourceSchema, settings: PolishSettings) -> None:
        self._source = source
        self._settings = settings
        self._trimmed: set[str] = set()
        self._folded: set[str] = set()
        self._salted = hashlib.sha256(settings.salt).hexdigest()[:_SALT_DIGITS] if settings.salt else ""

    def plan(self) -> Polish:
        settings = self._settings
        self._check_columns()
        dropped = {self._find(name, "drop") for name in settings.drop}
        masks = self._resolved(settings.mask, "mask")
        renames = self._resolved(settings.rename, "rename")
        self._trimmed = self._find_trimmed()
        self._folded = self._find_folded()
        for setting, named in (("mask", masks), ("rename", renames)):
            for name in named:
                if name in dropped:
                    raise ConfigurationError(f"polish drops `{name}`, which its `{setting}` names")
        columns: list[LandedColumn] = []
        names: dict[str, str] = {}
        for column in self._source.columns:
            if column.name in dropped:
                continue
            landed = self._landed(column, mask=masks.get(column.name, ""))
            names[column.name] = self._name(column.name, renames)
            columns.append(replace(landed, column=replace(landed.column, name=names[column.name])))
        columns += self._added()
        if not columns:
            raise ConfigurationError(
                f"polish drops every column of {self._source.name}: its rows would hold nothing that could land",
                hint="Keep at least one column.",
            )
        self._check_names(columns)
        table = replace(self._source, columns=tuple(each.column for each in columns), key=())
        found = Polish(self._source, table, tuple(columns), tuple(sorted(dropped)), names)
        key = self._source.key if all(name in names for name in self._source.key) else ()
        return replace(found, table=replace(table, key=tuple(names[name] for name in key)))

    def _text(self, column: Column) -> pl.Expr:
        """A column's texts as masks and hashes take them: trimmed and folded, where that is wanted."""
        text = pl.col(column.name)
        if column.name in self._trimmed:
            text = text.str.strip_chars()
        return folded(text, column.folding) if column.name in self._folded else text

    def _landed(self, column: Column, *, mask: str) -> LandedColumn:
        source, inputs = column.name, (column.name,)
        text = self._text(column)
        is_folded, trim = column.name in self._folded, column.name in self._trimmed
        as_text = replace(column, type=pa.string())
        match mask:
            case "":
                made = text if is_folded or trim else None
                treatment = f"folded ({column.folding})" if is_folded else ""
                return LandedColumn(column, source, inputs, made, treatment=treatment, trimmed=trim)
            case "empty":
                nothing = pa.scalar(None, column.type)
                source_type = f"{column.source_type}, emptied"
                landed = replace(column, source_type=source_type, nullable=True, loss="")
                return LandedColumn(landed, source, inputs, constant=nothing, treatment="mask empty")
            case "hash":
                self._check_hash(column, "mask")
                landed = replace(as_text, source_type=f"{column.source_type}, hashed", loss="")
                expression = hashed(text, self._settings.salt)
                return LandedColumn(landed, source, inputs, expression, treatment=self._hash_of([column]), trimmed=trim)
            case _:
                if not has_text(column.type):
                    raise ConfigurationError(
                        f"polish cannot mask `{column.name}` of {self._source.name}: {column.source_type} has no text",
                        hint="Use the mask `empty`, or drop it.",
                    )
                landed = replace(as_text, source_type=f"{column.source_type}, masked ({mask})", loss="")
                return LandedColumn(landed, source, inputs, masked(text, mask), treatment=f"mask {mask}")

    def _added(self) -> list[LandedColumn]:
        settings = self._settings
        added: list[LandedColumn] = []
        by_name = {column.name: column for column in self._source.columns}
        for name, given in settings.hash_ids.items():
            inputs = [by_name[self._find(each, "hash_ids")] for each in given]
            for column in inputs:
                self._check_hash(column, "hash_ids")
            texts = [self._text(each) for each in inputs]
            source_type = f"hash of {', '.join(each.name for each in inputs)}"
            added.append(
                LandedColumn(
                    Column(name, pa.string(), source_type, nullable=False),
                    inputs=tuple(each.name for each in inputs),
                    expression=hashed(joined(texts), settings.salt),
                    treatment=self._hash_of(inputs),
                    trimmed=any(each.name in self._trimmed for each in inputs),
                )
            )
        for name, value in settings.constants.items():
            constant = pa.scalar(value)
            added.append(LandedColumn(Column(name, constant.type, "constant", nullable=False), constant=constant))
        for name, stamp in settings.load_columns.items():
            type_ = pa.string() if stamp == "load_id" else _LOADED_AT
            added.append(LandedColumn(Column(name, type_, stamp, nullable=False), stamp=stamp))
        return added

    def _name(self, name: str, renames: Mapping[str, str]) -> str:
        if name in renames:
            return renames[name]
        return convert_case(name, self._settings.case) if self._settings.case else name

    def _find_folded(self) -> set[str]:
        fold, key = self._settings.fold, self._source.key
        foldable = {column.name for column in self._source.columns if column.folding}
        if isinstance(fold, bool):
            return foldable & set(key) if fold else set()
        named = {self._find(name, "fold") for name in fold}
        for name in sorted(named - foldable):
            raise ConfigurationError(
                f"polish cannot fold `{name}` of {self._source.name}: its source may distinguish what folds to one",
                hint="Only texts of SQL Server, whose collation is known, can be folded.",
            )
        return named

    def _find_trimmed(self) -> set[str]:
        trim, key = self._settings.trim, self._source.key
        texts = {column.name for column in self._source.columns if pa.types.is_string(column.type)}
        if isinstance(trim, bool):
            return texts - set(key) if trim else set()
        named = [self._find(name, "trim") for name in trim]
        for name in named:
            if name not in texts:
                raise ConfigurationError(f"polish cannot trim `{name}` of {self._source.name}: it holds no text")
            if name in key:
                raise ConfigurationError(
                    f"polish trims `{name}`, which is part of the key of {self._source.name}: two keys may become one",
                    hint="Trim it in the home, by a query.",
                )
        return set(named)

    def _hash_of(self, inputs: Sequence[Column]) -> str:
        """Names and types count: a number of another scale has another text."""
        made_of = ", ".join(
            f"{column.name} {column.type}{f' folded ({column.folding})' if column.name in self._folded else ''}"
            for column in inputs
        )
        return f"hash of {made_of}" + (f", salt {self._salted}" if self._salted else "")

    def _check_hash(self, column: Column, setting: str) -> None:
        if column.blurs:
            raise ConfigurationError(
                f"polish: `{setting}` cannot hash `{column.name}` of {self._source.name}, a {column.source_type}: "
                f"values that differ would have one hash ({column.loss})",
                hint=BLURRED_HINT,
            )
        if not has_exact_text(column.type):
            raise ConfigurationError(
                f"polish: `{setting}` cannot hash `{column.name}` of {self._source.name}, a {column.source_type}: "
                "it has no exact text",
                hint="Of numbers, decimals and integers have: convert it in the home, by a query.",
            )

    def _resolved[T](self, named: Mapping[str, T], setting: str) -> dict[str, T]:
        found: dict[str, T] = {}
        for name, value in named.items():
            column = self._find(name, setting)
            if column in found:
                raise ConfigurationError(f"polish: `{setting}` names `{column}` of {self._source.name} twice")
            found[column] = value
        return found

    def _check_columns(self) -> None:
        """Raise ConfigurationError for all columns that the settings name and the source does not have."""
        settings = self._settings
        named: dict[str, Iterable[str]] = {
            "drop": settings.drop,
            "trim": () if isinstance(settings.trim, bool) else settings.trim,
            "fold": () if isinstance(settings.fold, bool) else settings.fold,
            "mask": settings.mask,
            "rename": settings.rename,
            "hash_ids": [name for names in settings.hash_ids.values() for name in names],
        }
        names = [column.name for column in self._source.columns]
        meant_here = meant_among(names)
        unknown = unknown_columns(named, lambda name: bool(meant_here(name)))
        if unknown:
            message = f"{self._source.name} has no column {told_columns(unknown, 'polish')}."
            raise ConfigurationError(message, hint=suggest_each(list(unknown), names))

    def _find(self, name: str, setting: str) -> str:
        """How the source spells a column that it has (`_check_columns`)."""
        found = meant(name, [column.name for column in self._source.columns])
        if len(found) > 1:
            message = f"`{name}`, which `{setting}` of polish names, may be several columns of {self._source.name}."
            raise ConfigurationError(message, hint=f"Write one of them as it is: {', '.join(found)}.")
        return found[0]

    def _check_names(self, columns: Sequence[LandedColumn]) -> None:
        """Destinations do not distinguish upper from lower case; what the source itself has is left to them."""
        seen: dict[str, LandedColumn] = {}
        for each in columns:
            first = seen.setdefault(in_any_case(each.column.name), each)
            if first is each or (_keeps_name(first) and _keeps_name(each)):
                continue
            raise ConfigurationError(
                f"polish gives two columns of {self._source.name} one name: "
                f"{_origin(first)} and {_origin(each)} would both be `{each.column.name}`",
                hint="Drop or rename one of them below `polish`.",
            )


def _keeps_name(column: LandedColumn) -> bool:
    return column.source == column.column.name


def _origin(column: LandedColumn) -> str:
    return f"`{column.source}`" if column.source else f"the {column.column.source_type}"
