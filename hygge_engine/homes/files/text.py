"""CSV and NDJSON as formats of a home: the schema first, by declaration and one pass over all files, then the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, cast

import polars as pl
import pyarrow as pa

from hygge_engine.errors import Unreadable
from hygge_engine.homes.base import Column
from hygge_engine.homes.files.blocks import Block
from hygge_engine.homes.files.convert import (
    CANDIDATES,
    INSTANT,
    ROUNDED_TO_MICROSECONDS,
    arrow_type,
    columns_to_values,
    type_of,
)
from hygge_engine.homes.files.declared import CommonNames, Spellings, declared_columns
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.settings import ColumnSettings, FilesHomeSettings
from hygge_engine.lake.base import Lake
from hygge_engine.stopping import stop_if_asked

# What an object or a list within JSON may be: text.
JSON = "json"

# Files whose columns are cached between the slices of a process.
_REMEMBERED_FILES = 10_000


class Found(NamedTuple):
    """What a file's own pass has found: the types that fit each of its columns, in their order, its rows, and the
    columns that some row has beside one whose name differs in case alone."""

    columns: dict[str, tuple[str, ...]]
    rows: int
    apart: frozenset[str]


@dataclass(frozen=True)
class TextColumns:
    """The columns of all files: how each is read, and what it becomes."""

    columns: tuple[Column, ...]
    settings: dict[str, ColumnSettings]
    rows: int | None


class TextFormat(ABC):
    """Files of text. Positions are (offset, lines before, rows to skip), so that a slice can resume within a block."""

    def __init__(self, lake: Lake, settings: FilesHomeSettings) -> None:
        self._lake = lake
        self._settings = settings
        self._declared_names = Spellings(settings.columns)
        self._columns: TextColumns | None = None
        self._common = CommonNames()

    def describe(self, files: Sequence[SourceFile]) -> tuple[list[Column], int | None]:
        """Columns, in the order of their first appearance, and the number of rows where all were seen."""
        if self._columns is None:
            self._columns = self._declared(files) if not self._settings.infer else self._inferred(files)
        return list(self._columns.columns), self._columns.rows

    def read(
        self, file: SourceFile, after: Sequence[str], only: Sequence[str] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
        """Rows after a position, with the position after them; the columns of `describe`, or ``only`` some of them."""
        offset, line, skip = (int(number) for number in after or ("0", "0", "0"))
        names = (
            list(self._known().settings) if only is None else [name for name in only if name in self._known().settings]
        )
        for block in self._blocks(file, offset, line):
            frame = self._parse(file, block)
            done = min(skip, frame.height)
            skip -= done
            limit = self._settings.batch_rows
            while done < frame.height:
                part = frame.slice(done, limit)
                rows = self._typed(file, block, part, done, names)
                done += part.height
                ended = done >= frame.height
                yield (
                    rows,
                    (
                        ["end"]
                        if ended and block.last
                        else [str(block.next_offset), str(block.next_line), "0"]
                        if ended
                        else [str(block.offset), str(block.line), str(done)]
                    ),
                )

    @abstractmethod
    def _blocks(self, file: SourceFile, offset: int = 0, line: int = 0) -> Iterator[Block]:
        """The file's records."""

    @abstractmethod
    def _parse(self, file: SourceFile, block: Block) -> pl.DataFrame:
        """A block's records as text, column by column, by their common names. Raises Unreadable."""

    @abstractmethod
    def _look_at(self, file: SourceFile) -> bool:
        """Add the columns that a first look at a file finds to the common names; whether it has no others."""

    @abstractmethod
    def _examine(self, file: SourceFile) -> Found:
        """One pass over a file, for its columns' types."""

    @abstractmethod
    def _line_of(self, block: Block, row: int) -> int:
        """The line on which a row of a block begins, counted from 1."""

    def _known(self) -> TextColumns:
        if self._columns is None:
            raise ValueError("a file is described before it is read")
        return self._columns

    def is_declared(self, name: str) -> bool:
        """Whether the settings say what a column is, in whichever case they spell it."""
        return self._declared_names.find(name) is not None

    def _declared(self, files: Sequence[SourceFile]) -> TextColumns:
        self._common = CommonNames(self._settings.columns)
        complete = True
        for file in files:
            complete &= self._look_at(file)
            in_files = Spellings(self._common.all())
            if all(in_files.find(name) for name in self._settings.columns):
                break
        self._common.check()
        settings = declared_columns(self._settings.columns, self._common.all(), files, complete=complete)
        return TextColumns(tuple(self._column(name, spec) for name, spec in settings.items()), settings, None)

    def _inferred(self, files: Sequence[SourceFile]) -> TextColumns:
        common = CommonNames(self._settings.columns)
        spelt: dict[str, tuple[str, ...]] = {}
        rows = 0
        for file in files:
            seen = self._found_in(file)
            common.add(file, seen.columns, seen.apart)
            merge(spelt, seen.columns)
            rows += seen.rows
        common.check()
        self._common = common
        found: dict[str, tuple[str, ...]] = {}
        for name, types in spelt.items():
            merge(found, {common.of(name): types})
        declared = declared_columns(self._settings.columns, list(found), files)
        settings = {name: declared.get(name) or ColumnSettings(type=_narrowest(types)) for name, types in found.items()}
        columns = tuple(
            self._column(name, spec, () if name in declared else found[name]) for name, spec in settings.items()
        )
        return TextColumns(columns, settings, rows)

    def _found_in(self, file: SourceFile) -> Found:
        """What is in a file, of which one pass is made by each process."""
        key = (file.path, file.info.etag, self._lake.url, self._settings.model_dump_json(exclude={"key"}))
        seen = _found.get(key)
        if seen is None:
            seen = self._examine(file)
            if len(_found) >= _REMEMBERED_FILES:
                _found.clear()
            _found[key] = seen
        return seen

    def _column(self, name: str, settings: ColumnSettings, types: Sequence[str] = ()) -> Column:
        if JSON in types:
            return Column(name, arrow_type(settings), "JSON", True, "nested values are JSON text")
        source = f"{self._settings.format} {settings.type}"
        # Of a day's fraction a spreadsheet shows ten digits, which stay apart; a file may have more.
        loss = ROUNDED_TO_MICROSECONDS if settings.type == "timestamp" and settings.epoch else ""
        return Column(name, arrow_type(settings), INSTANT if INSTANT in types[:1] else source, True, loss)

    def _typed(
        self, file: SourceFile, block: Block, frame: pl.DataFrame, first: int, names: Sequence[str]
    ) -> pa.RecordBatch:
        texts = {column.name: column for column in frame.get_columns()}
        alike: dict[ColumnSettings, list[str]] = {}
        for name in names:
            alike.setdefault(self._known().settings[name], []).append(name)
        arrays: dict[str, pa.Array[Any]] = {}
        wrong: dict[str, int] = {}
        for settings, its_names in alike.items():
            stop_if_asked()
            there = [name for name in its_names if name in texts]
            columns = [texts[name] for name in there]
            for name, values in zip(there, columns_to_values(columns, settings, self._settings.decimal), strict=True):
                if isinstance(values, int):
                    wrong[name] = values
                else:
                    arrays[name] = values
            if len(there) < len(its_names):
                nulls = pa.nulls(frame.height, cast("Any", arrow_type(settings)))
                arrays |= dict.fromkeys((name for name in its_names if name not in texts), nulls)
        for name in names:
            if name in wrong:
                self._refuse_text(file, block, texts, name, wrong[name], first)
        return pa.RecordBatch.from_arrays([arrays[name] for name in names], names=list(names))

    def _refuse_text(
        self, file: SourceFile, block: Block, texts: Mapping[str, pl.Series], name: str, row: int, first: int
    ) -> NoReturn:
        """Raise Unreadable for a text that is none of its column's type; ``first`` rows of the block come before."""
        found = str(texts[name][row])
        raise Unreadable(
            f"{file.name}, line {self._line_of(block, first + row)}, column {name!r}: the value "
            f"({len(found):,} characters) is not a valid {_described(self._known().settings[name])}.",
            hint=f"Correct the file, or declare the column: columns: {{{name}: string}}.",
        )


# What each version of a file holds, by place, etag and settings: slices of one process examine a file once.
_found: dict[tuple[str, ...], Found] = {}


def merge(known: dict[str, tuple[str, ...]], more: dict[str, tuple[str, ...]]) -> None:
    """Add what another part of the rows allows: a type stays where it fits both."""
    for name, types in more.items():
        if name not in known:
            known[name] = types
        elif known[name] and types:
            both = tuple(type_ for type_ in known[name] if type_ in types)
            known[name] = both or ((JSON,) if JSON in (*known[name], *types) else ("string",))
        else:
            known[name] = known[name] or types


def _narrowest(types: Sequence[str]) -> str:
    """Without a single value nothing is known, and text takes whatever comes."""
    if not types or len(types) == len(CANDIDATES) or types[0] == JSON:
        return "string"
    return type_of(types[0])


def _described(settings: ColumnSettings) -> str:
    if settings.format:
        return f"{settings.type} of the form {settings.format}"
    return f"{settings.type} in days since {settings.epoch}" if settings.epoch else settings.type
