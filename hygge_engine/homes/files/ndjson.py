"""NDJSON as a format of a home: one JSON object on each line."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, NoReturn

import polars as pl
import pyarrow as pa

from hygge_engine.errors import Unreadable
from hygge_engine.homes.files.blocks import Block, line_end, read_blocks
from hygge_engine.homes.files.convert import FIRST_ROWS, TIME_CANDIDATES, fitting_columns, fitting_numbers
from hygge_engine.homes.files.declared import first_twice
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.text import JSON, Found, TextFormat, merge
from hygge_engine.letter_case import by_any_case
from hygge_engine.stopping import stop_if_asked

# What a JSON text may be.
_TEXT_CANDIDATES = (*TIME_CANDIDATES, "string")

# Lines parsed at once: a call for each would take twice as long, and many objects at once keep Python's
# collector of cycles busy.
_LINES_AT_ONCE = 250

# A block becomes a table of its lines and all keys, with at most this many cells; each takes up to 100 bytes on its
# way.
_MOST_CELLS = 10_000_000

_ONE_OBJECT = "NDJSON has one whole object on each line."
_BLANKS = " \t\r\n"
_SPACE = re.compile(rf"[{_BLANKS}]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Of a key, as the name of a column.
_NO_NAME = re.compile("[\0\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _Number(str):
    """A number as its text: none of its digits is lost before it is known what becomes of it."""

    __slots__ = ()


# Objects as tuples of pairs, lists as lists, numbers as texts.
_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} within a nested value is not JSON")


def _unrepeated(pairs: list[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    if first_twice(name for name, _ in pairs) is not None:
        raise ValueError("a key comes twice in one object of its value, so that its value is ambiguous")
    return tuple(pairs)


_STRICT_DECODER = json.JSONDecoder(
    object_pairs_hook=_unrepeated, parse_int=_Number, parse_float=_Number, parse_constant=_refuse
)


class _Rows(NamedTuple):
    """Lines with their numbers, and each key's values, row by row: None where a row has none. ``apart`` are keys that a
    line has beside one that differs in case alone."""

    lines: list[tuple[int, str]]
    values: dict[str, list[Any]]
    apart: set[str]


class NdjsonFormat(TextFormat):
    """NDJSON: one object a line. Objects and lists within are kept as JSON text, as they are written; a key that is
    missing is NULL."""

    def _blocks(self, file: SourceFile, offset: int = 0, line: int = 0) -> Iterator[Block]:
        return read_blocks(self._lake, file, self._settings.encoding, line_end, offset=offset, line=line)

    def _look_at(self, file: SourceFile) -> bool:
        block = next(self._blocks(file), None)
        if block is None:
            return True
        rows = self._rows(file, block)
        self._common.add(file, rows.values, rows.apart)
        return block.last

    def _parse(self, file: SourceFile, block: Block) -> pl.DataFrame:
        rows = self._rows(file, block)
        _check_cells(file, rows, len(self._known().settings))
        spelt: dict[str, list[str]] = {}
        for key in rows.values:
            spelt.setdefault(self._common.of(key), []).append(key)
        names = [name for name in self._known().settings if name in spelt]
        return self._frame(file, rows, {name: self._united(file, rows, spelt[name]) for name in names})

    def _united(self, file: SourceFile, rows: _Rows, keys: Sequence[str]) -> list[str | None]:
        """The texts of a column that lines spell in one way or another. Raises Unreadable where one has it in two."""
        texts = [self._texts(file, rows, key) for key in keys]
        if len(texts) == 1:
            return texts[0]
        found = [[text for text in of_line if text is not None] for of_line in zip(*texts, strict=True)]
        for (number, _), values in zip(rows.lines, found, strict=True):
            if len(values) > 1:
                raise Unreadable(
                    f"{file.name}, line {number} has several of {', '.join(map(repr, keys))}, and other lines one of "
                    "them: which of these that is remains unknown.",
                    hint="Name them all in columns, or spell them in the same way in all lines.",
                )
        return [values[0] if values else None for values in found]

    def _rows(self, file: SourceFile, block: Block) -> _Rows:
        """A block's objects, key by key. Raises Unreadable."""
        lines = enumerate(block.data.decode().split("\n"), start=block.line + 1)
        rows = _Rows([(number, text) for number, text in lines if text.strip(_BLANKS)], {}, set())
        for first in range(0, len(rows.lines), _LINES_AT_ONCE):
            stop_if_asked()
            lines_at_once = rows.lines[first : first + _LINES_AT_ONCE]
            objects = _objects([text for _, text in lines_at_once])
            if objects is None:
                self._refuse_line(file, lines_at_once)
            for name in dict.fromkeys(chain.from_iterable(objects)):
                if name not in rows.values and (wrong := _NO_NAME.search(name)):
                    number = next(line for (line, _), row in zip(lines_at_once, objects, strict=True) if name in row)
                    if wrong[0] != "\0":
                        raise _half_character(file, number, name, wrong[0])
                    raise Unreadable(
                        f"{file.name}, line {number}: a name of a column holds a NUL character (key {name!r}).",
                        hint="Correct the file.",
                    )
                rows.values.setdefault(name, [None] * first)
            _check_cells(file, rows, len(rows.values))
            for name, values in rows.values.items():
                values.extend([row.get(name) for row in objects])
            for alike in by_any_case(rows.values).values():
                if len(alike) > 1:
                    rows.apart.update(*(there for row in objects if len(there := row.keys() & alike) > 1))
        return rows

    def _refuse_line(self, file: SourceFile, lines: Sequence[tuple[int, str]]) -> NoReturn:
        """Raise Unreadable for the first line that is not an object, or has a key twice."""
        for number, text in lines:
            where = f"{file.name}, line {number}"
            try:
                pairs = _DECODER.decode(text)
            except json.JSONDecodeError as error:
                why = f"{error.msg.lower()} at character {error.colno}"
                raise Unreadable(f"{where}: it is not a JSON object ({why}).", hint=_ONE_OBJECT) from None
            except RecursionError:
                raise Unreadable(f"{where}: it is nested too deeply.", hint=_ONE_OBJECT) from None
            if not isinstance(pairs, tuple):
                raise Unreadable(f"{where}: it is not a JSON object.", hint=_ONE_OBJECT)
            if (twice := first_twice(name for name, _ in pairs)) is not None:
                raise Unreadable(
                    f"{where}: the key {twice!r} comes twice, so that its value is ambiguous.",
                    hint="Give each key one value.",
                )
        raise Unreadable(f"{file.name}, line {lines[0][0]}: it is an object only together with others.")

    def _texts(self, file: SourceFile, rows: _Rows, key: str) -> list[str | None]:
        """A key's values as text: numbers, objects and lists as they are written in the file."""
        values = rows.values[key]
        if set(map(type, values)) <= {str, _Number, type(None)}:
            return values
        return [
            value
            if isinstance(value, str | None)
            else ("true" if value else "false")
            if isinstance(value, bool)
            else self._source_of(file, line, key)
            for line, value in zip(rows.lines, values, strict=True)
        ]

    def _source_of(self, file: SourceFile, line: tuple[int, str], key: str) -> str:
        number, text = line
        try:
            return _source_of(text, key)
        except ValueError as error:
            raise Unreadable(f"{file.name}, line {number}, key {key!r}: {error}.", hint="Correct the file.") from None

    def _frame(self, file: SourceFile, rows: _Rows, texts: dict[str, list[str | None]]) -> pl.DataFrame:
        if not texts:
            return pl.DataFrame(height=len(rows.lines))
        try:
            arrays = [pa.array(values, pa.string()) for values in texts.values()]
        except UnicodeEncodeError:
            self._refuse_surrogate(file, rows, texts)
        # Of a whole table Polars would give a column without a name one of its own.
        return pl.DataFrame({key: pl.from_arrow(array) for key, array in zip(texts, arrays, strict=True)})

    def _refuse_surrogate(self, file: SourceFile, rows: _Rows, texts: dict[str, list[str | None]]) -> NoReturn:
        for key, values in texts.items():
            for (number, _), value in zip(rows.lines, values, strict=True):
                half = _SURROGATE.search(value or "")
                if half:
                    raise _half_character(file, number, key, half[0]) from None
        raise ValueError("all texts can be encoded")

    def _line_of(self, block: Block, row: int) -> int:
        lines = enumerate(block.data.decode().split("\n"), start=block.line + 1)
        return [number for number, text in lines if text.strip(_BLANKS)][row]

    def _examine(self, file: SourceFile) -> Found:
        found: dict[str, tuple[str, ...]] = {}
        apart: set[str] = set()
        count = 0
        for block in self._blocks(file):
            rows = self._rows(file, block)
            count += len(rows.lines)
            merge(found, self._kinds(file, rows, found))
            apart |= rows.apart
            _check_cells(file, rows, len(found))
        return Found(found, count, frozenset(apart))

    def _kinds(self, file: SourceFile, rows: _Rows, known: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """What the values of each key can be; nothing where all are null."""
        of = {key: set(map(type, values)) - {type(None)} for key, values in rows.values.items()}
        found = {key: self._kind(key, kinds) for key, kinds in of.items()}
        numbers = [key for key, kinds in of.items() if found[key] is None and kinds == {_Number}]
        texts = [key for key, kinds in of.items() if found[key] is None and kinds == {str}]
        columns = self._columns_of(file, rows, numbers)
        found |= zip(numbers, fitting_numbers(columns), strict=True)
        columns = self._columns_of(file, rows, texts)
        fits = [known.get(key) or _TEXT_CANDIDATES for key in texts]
        fits = [tuple(candidate for candidate in _TEXT_CANDIDATES if candidate in fit) for fit in fits]
        # Where a type does not fit the first rows, the others need not be examined.
        for part in ([column.head(FIRST_ROWS) for column in columns], columns):
            fits = fitting_columns(part, fits)
        found |= {key: fit or ("string",) for key, fit in zip(texts, fits, strict=True)}
        return {key: types or () for key, types in found.items()}

    def _kind(self, key: str, kinds: set[type]) -> tuple[str, ...] | None:
        """What values of these kinds can be; None where that takes a look at them."""
        if kinds & {tuple, list}:
            return (JSON,)
        if kinds == {bool}:
            return ("bool",)
        if len(kinds) > 1 or (kinds and self.is_declared(key)):
            return ("string",)
        return None if kinds else ()

    def _columns_of(self, file: SourceFile, rows: _Rows, keys: Sequence[str]) -> list[pl.Series]:
        return self._frame(file, rows, {key: rows.values[key] for key in keys}).get_columns()


def _check_cells(file: SourceFile, rows: _Rows, keys: int) -> None:
    """Raise Unreadable where lines with so many keys, most of them without most of these, would fill the memory."""
    if keys * len(rows.lines) > _MOST_CELLS:
        last = rows.lines[-1][0]
        raise Unreadable(
            f"{file.name}, lines {rows.lines[0][0]} to {last}: each line has few of {keys:,} keys, and each key is a "
            f"column: the {len(rows.lines):,} lines of one block would have {keys * len(rows.lines):,} values.",
            hint="Write what varies as a value, or as an object within one key, which lands as JSON text.",
        )


def _half_character(file: SourceFile, line: int, key: str, half: str) -> Unreadable:
    return Unreadable(
        f"{file.name}, line {line}, key {key!r}: \\u{ord(half):04x} is half a character without its other half.",
        hint="Correct the file.",
    )


def _objects(lines: Sequence[str]) -> list[dict[str, Any]] | None:
    """The lines' objects; None where one of them is none, or has a key twice."""
    # Between two lines stands what no file knows: lines that are whole only together are not taken for objects.
    fence = secrets.token_hex(8)
    try:
        found = _DECODER.decode("[" + f',"{fence}",'.join(lines) + "]")
    except (ValueError, RecursionError):
        return None
    if len(found) != 2 * len(lines) - 1 or found[1::2] != [fence] * (len(lines) - 1):
        return None
    pairs = found[::2]
    if set(map(type, pairs)) != {tuple}:
        return None
    rows = [dict(row) for row in pairs]
    return rows if list(map(len, rows)) == list(map(len, pairs)) else None


def _source_of(text: str, name: str) -> str:
    """The nested value of a key as it is written in a line. Raises ValueError for what is not standard JSON."""
    token = f'"{name}"'
    if "\\" not in text and text.count(token) == 1:
        # Without escapes it can only be the key itself.
        begin = _after_blanks(text, _after_blanks(text, text.index(token) + len(token)) + 1)
        return text[begin : _STRICT_DECODER.raw_decode(text, begin)[1]]  # nor can it hold half a character
    at = _after_blanks(text, text.index("{") + 1)
    while True:
        key, at = _DECODER.raw_decode(text, at)
        begin = _after_blanks(text, _after_blanks(text, at) + 1)
        decoder = _STRICT_DECODER if key == name else _DECODER
        value, end = decoder.raw_decode(text, begin)
        if key == name:
            if _ESCAPED_SURROGATE.search(text, begin, end):
                _refuse_halves(value)
            return text[begin:end]
        at = _after_blanks(text, _after_blanks(text, end) + 1)


def _refuse_halves(value: object) -> None:
    """Raises ValueError for half a character anywhere in a nested value, whose objects are tuples of pairs."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, tuple | list):
            pending.extend(value)
        elif isinstance(value, str) and (half := _SURROGATE.search(value)):
            raise ValueError(f"\\u{ord(half[0]):04x} is half a character without its other half")


def _after_blanks(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
