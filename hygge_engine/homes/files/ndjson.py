"""NDJSON as a format of a home: one JSON object on each line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import polars as pl
from polars.exceptions import PolarsError

from hygge_engine.errors import Unreadable
from hygge_engine.homes.files.blocks import Block, line_end, read_blocks
from hygge_engine.homes.files.convert import fitting
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.text import EXCERPT_CHARACTERS, JSON, Found, TextFormat, merge

# What a JSON value may be.
_JSON_TEXT = ("date", "timestamp", "string")
_JSON_NUMBER = ("int64", "float64")


class NdjsonFormat(TextFormat):
    """NDJSON: one object a line. Objects and lists within are kept as JSON text; a key that is missing is NULL."""

    def _blocks(self, file: SourceFile, offset: int = 0, line: int = 0) -> Iterator[Block]:
        return read_blocks(self._lake, file, self._settings.encoding, line_end, offset=offset, line=line)

    def _parse(self, file: SourceFile, block: Block) -> pl.DataFrame:
        schema = dict.fromkeys(self._known().settings, pl.String())
        return self._texts(file, block, schema)

    def _texts(self, file: SourceFile, block: Block, schema: dict[str, pl.String]) -> pl.DataFrame:
        if not block.data.strip():
            return pl.DataFrame()
        if not schema:
            return pl.DataFrame({"": [None] * sum(1 for text in block.data.splitlines() if text.strip())})
        try:
            return pl.read_ndjson(io.BytesIO(block.data), schema=schema)
        except PolarsError as error:
            raise self._wrong_line(file, block, error) from error

    def _wrong_line(self, file: SourceFile, block: Block, error: PolarsError) -> Unreadable:
        for number, text in enumerate(block.data.splitlines(), start=block.line + 1):
            try:
                whole = not text.strip() or isinstance(json.loads(text), dict)
            except ValueError:
                whole = False
            if not whole:
                shown = text[:EXCERPT_CHARACTERS].decode(errors="replace")
                return Unreadable(
                    f"{file.path}, line {number}: {shown!r} is no JSON object.",
                    hint="NDJSON has one whole object on each line.",
                )
        return Unreadable(f"{file.path}, after line {block.line}: {error}")

    def _line_of(self, block: Block, row: int) -> int:
        for number, text in enumerate(block.data.splitlines(), start=block.line + 1):
            row -= 1 if text.strip() else 0
            if row < 0:
                return number
        return block.next_line

    def _examine(self, file: SourceFile) -> Found:
        found: dict[str, tuple[str, ...]] = {}
        rows = 0
        for block in self._blocks(file):
            kinds = self._kinds(file, block)
            texts = [
                name for name, types in kinds.items() if types == _JSON_TEXT and name not in self._settings.columns
            ]
            frame = self._texts(file, block, dict.fromkeys(texts or list(kinds)[:1], pl.String()))
            rows += frame.height
            for name in texts:
                still = found.get(name) or _JSON_TEXT
                kinds[name] = fitting(
                    frame[name], [type_ for type_ in _JSON_TEXT if type_ in still or type_ == "string"]
                )
            merge(found, kinds)
        return Found(found, rows)

    def _kinds(self, file: SourceFile, block: Block) -> dict[str, tuple[str, ...]]:
        """What the values of each key are in this block; nothing for a key that has only nulls."""
        if not block.data.strip():
            return {}
        try:
            frame = pl.read_ndjson(io.BytesIO(block.data), infer_schema_length=None)
        except PolarsError:
            return self._mixed_kinds(file, block)
        return {name: _kind_of(type_) for name, type_ in frame.schema.items()}

    def _mixed_kinds(self, file: SourceFile, block: Block) -> dict[str, tuple[str, ...]]:
        """Line by line, for keys whose values are of kinds that polars finds no common type for."""
        found: dict[str, tuple[str, ...]] = {}
        for text in block.data.splitlines():
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise self._wrong_line(file, block, PolarsError(str(error))) from error
            if not isinstance(row, dict):
                raise self._wrong_line(file, block, PolarsError("no object"))
            merge(found, {name: _kind_of_value(value) for name, value in row.items()})
        return found


def _kind_of(type_: pl.DataType) -> tuple[str, ...]:
    if type_ == pl.Boolean:
        return ("bool",)
    if type_ == pl.Int64:
        return _JSON_NUMBER
    if type_.is_float():
        return ("float64",)
    if type_.is_nested():
        return (JSON,)
    if type_ == pl.Null:
        return ()
    return _JSON_TEXT if type_ == pl.String else ("string",)


def _kind_of_value(value: object) -> tuple[str, ...]:
    match value:
        case None:
            return ()
        case bool():
            return ("bool",)
        case int():
            return _JSON_NUMBER if -(2**63) <= value < 2**63 else ("string",)
        case float():
            return ("float64",)
        case str():
            return ("string",)
        case _:
            return (JSON,)
