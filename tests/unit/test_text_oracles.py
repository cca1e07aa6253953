"""CSV and NDJSON against Python's own `csv` and `json`: what is read is what the file says, or the file is refused.

``HYGGE_FUZZ_ROWS=1000000`` continues until that many rows were compared; the suite itself compares a few thousand.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from hygge_engine.errors import Unreadable
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.files import blocks
from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import LocalHomeSettings
from hygge_engine.lake.local import LocalLake

ROWS = int(os.environ.get("HYGGE_FUZZ_ROWS", "0"))

# An example holds some forty rows, in a long run some eight hundred; how many were compared is printed.
EXAMPLES = max(60, ROWS // 2_000)

common = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.timeout(max(120, ROWS // 50))


@dataclass(frozen=True)
class Found:
    """What was read, or why it was not."""

    rows: list[dict[str, Any]]
    types: dict[str, pa.DataType]
    refused: str = ""


@dataclass
class Files:
    """Reads texts as files, with blocks of any size; counts the rows."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    rows: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def read(self, data: bytes, block_bytes: int, **keys: Any) -> Found:
        """A file's rows and its columns' types, or why it was refused."""
        self.monkeypatch.setattr(blocks, "BLOCK_BYTES", max(block_bytes, len(data) // 50))
        path = self.root / f"{next(self.numbers)}.txt"
        path.write_bytes(data)
        try:
            home = FilesHome(LocalLake(self.root), path.name, LocalHomeSettings(type="local", path=path.name, **keys))
            types = {column.name: column.type for column in home.describe().columns}
            rows = [row for batch in home.read(ReadWindow()) for row in batch.rows.to_pylist()]
        except Unreadable as error:
            return Found([], {}, str(error))
        finally:
            path.unlink()
        self.rows += len(rows)
        return Found(rows, types)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        files = Files(tmp_path_factory.mktemp("texts"), monkeypatch)
        yield files
        print(f"{files.rows:,} rows compared")


BLOCKS = st.sampled_from([8, 24, 100, 1 << 20])
REPEATS = st.sampled_from([1, 2, 300, 1_000] if ROWS else [1, 1, 2, 3, 25, 100])


@dataclass(frozen=True)
class Dialect:
    """How a file is written, for both readers."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""

    def keys(self) -> dict[str, Any]:
        return {"delimiter": self.delimiter, "quote": self.quote, "escape": self.escape}

    def rows(self, text: str) -> list[list[str | None]]:
        """What Python reads. Raises csv.Error."""
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            escapechar=self.escape or None,
            quoting=csv.QUOTE_NOTNULL if self.quote else csv.QUOTE_NONE,
            strict=True,
        )
        rows: list[list[Any]] = [row for row in reader if row]
        return [[value or None for value in row] for row in rows] if not self.quote else rows


DIALECTS = st.sampled_from([Dialect(), Dialect(";"), Dialect("\t", ""), Dialect(",", "'"), Dialect(",", '"', "\\")])
RECORD_CHARACTERS = st.sampled_from(list('aab,,""\n\n\r;\t\'\\ é\ufeff1.0-'))


@common
@example(chunk='"",', dialect=Dialect(), repeats=1, block_bytes=100, header=True, ended=False)
@given(
    chunk=st.text(RECORD_CHARACTERS, max_size=24),
    dialect=DIALECTS,
    repeats=REPEATS,
    block_bytes=BLOCKS,
    header=...,
    ended=...,
)
def test_any_csv_is_read_as_python_reads_it_or_refused(
    files: Files, chunk: str, dialect: Dialect, repeats: int, block_bytes: int, header: bool, ended: bool
) -> None:
    if dialect.escape and chunk.endswith(dialect.escape):
        chunk += "x"  # whether a file may end with an escaped line end is not for its values to say
    text = (chunk + "\n") * repeats
    text = text if ended or dialect.escape else text[:-1]
    if text.startswith("\ufeff") or not text.strip("\r\n"):
        text = "x\n" + text
    try:
        expected = dialect.rows(text)
        ragged = len(set(map(len, expected))) > 1
    except csv.Error:
        expected, ragged = [], True
    width = len(expected[0]) if expected else 1
    names = [f"c{number}" for number in range(width)]
    data = (dialect.delimiter.join(names) + "\n" + text if header else text).encode()
    keys = {"header": header, "columns": dict.fromkeys(names, "string")} | dialect.keys()
    found = files.read(data, block_bytes, format="csv", **keys)
    assert bool(found.refused) == ragged, (data, found.refused)
    assert not ragged or "line " in found.refused or "columns" in found.refused
    assert ragged or [list(row.values()) for row in found.rows] == expected


def repeated[T](element: st.SearchStrategy[T]) -> st.SearchStrategy[list[T]]:
    """A few values, many times, in any order: as columns are."""
    return st.lists(element, min_size=1, max_size=6).flatmap(
        lambda values: st.builds(
            lambda more, times: (values + [values[number % len(values)] for number in more]) * times,
            st.lists(st.integers(0, 5), max_size=6),
            REPEATS,
        )
    )


NUMBER = st.one_of(
    st.from_regex(r"[+-]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.floats().map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20).map(str),
    st.integers(-(2**66), 2**66).map(str),
    st.sampled_from(["1", "0", "1.0", "-0", "1.10", "1E10", "9007199254740993", "922337203685477.5807", "007"]),
)
MOMENT = st.builds(
    lambda at, sep, spec, zone: at.isoformat(sep, spec) + zone,
    st.datetimes(),
    st.sampled_from(["T", " "]),
    st.sampled_from(["auto", "minutes", "seconds", "milliseconds", "microseconds"]),
    st.sampled_from(["", "", "Z", "+00:00", "+0000", "+00", "-00:00", "+02:00", "+0200", "+02", "00"]),
)
CELL = st.one_of(
    NUMBER,
    MOMENT,
    st.dates().map(str),
    st.sampled_from(
        ["", " 1", "1 ", "true", "True", "false", "FALSE", "yes", "nan", "inf", "٣", "24:00", "2024-02-30"]
    ),
    st.text(st.sampled_from(list('ab,"\n\r 01.-:TZ')), max_size=8),
)

# Each gives back the text of any value of a column that is written in its way.
WAYS: list[Callable[[Any], str]] = [
    str,
    lambda value: str(value).lower(),
    lambda value: str(value).upper(),
    lambda value: format(Decimal(repr(value)), "f").removesuffix(".0"),
    *(
        lambda value, sep=sep, cut=cut, zone=zone: cut(value.replace(tzinfo=None).isoformat(sep, "microseconds")) + zone
        for sep in ("T", " ")
        for zone in ("", "Z", "+00:00", "+0000", "+00")
        for cut in (
            *(lambda text, length=length: text[:length] for length in (16, 19, *range(21, 27))),
            lambda text: text.removesuffix(".000000"),
            lambda text: text.removesuffix("000").removesuffix(".000"),
            *(lambda text, zeros=zeros: text + zeros for zeros in ("0", "00", "000")),
            lambda text: text.rstrip("0").removesuffix(".") if not text.endswith(":00.000000") else text[:19],
        )
    ),
]


def gives_back(values: Sequence[Any], texts: Sequence[str]) -> bool:
    def by(way: Callable[[Any], str]) -> bool:
        try:
            return all(way(value) == text for value, text in zip(values, texts, strict=True))
        except (AttributeError, ArithmeticError, ValueError, TypeError):
            return False

    return any(by(way) for way in WAYS)


@common
@given(column=repeated(CELL), other=repeated(NUMBER), block_bytes=BLOCKS, decimal=st.sampled_from([".", ","]))
def test_what_is_inferred_gives_its_text_back(
    files: Files, column: list[str], other: list[str], block_bytes: int, decimal: str
) -> None:
    table = list(zip(column, itertools.cycle(other)))
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_MINIMAL).writerows([("a", "b"), *table])
    found = files.read(written.getvalue().encode(), block_bytes, format="csv", decimal=decimal)
    assert len(found.rows) == len(table), found.refused
    types = found.types
    for number, name in enumerate("ab"):
        texts = [row[number] for row in table]
        values = [row[name] for row in found.rows]
        assert [value is None for value in values] == [text == "" for text in texts]
        pairs = [(value, text) for value, text in zip(values, texts, strict=True) if text]
        if types[name] == pa.string():
            assert all(value == text for value, text in pairs)
        elif pairs:
            back = [text.replace(decimal, ".") if types[name] == pa.float64() else text for _, text in pairs]
            assert gives_back([value for value, _ in pairs], back), (types[name], pairs)


JSON_NUMBER = st.one_of(
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1, 1.5, 2**53 + 1]),
)
JSON_TEXT = st.one_of(
    st.text(st.sampled_from(list('ab"\\/\n\t\0\x1f é😀\u2028{}[]:,')), max_size=10), MOMENT, st.dates().map(str)
)
JSON_SCALAR = st.one_of(st.none(), st.booleans(), JSON_NUMBER, JSON_TEXT)
JSON_VALUE = st.recursive(
    JSON_SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JSON_TEXT, inner, max_size=3), max_leaves=6
)
KEYS = st.sampled_from(["a", "b", "é", 'say "c"', "\\"])
JSON_ROW = st.dictionaries(KEYS, JSON_VALUE, max_size=4) | st.fixed_dictionaries({"a": JSON_NUMBER, "b": JSON_TEXT})
SPOILS = st.sampled_from(
    ["", "", "", "", "{", '"', ",", "}", "\\", "\\ud800", "\\ud83d\\ude00", '"a":1,', "NaN", "1", "e5"]
)


def read_by_python(line: str) -> dict[str, Any]:
    """What Python reads, numbers in all their digits. Raises ValueError also where a row has no such values."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    row = json.loads(line, parse_float=Decimal, object_pairs_hook=once)
    if not isinstance(row, dict):
        raise ValueError("no object")
    for key, value in row.items():
        key.encode()
        if isinstance(value, str):
            value.encode()
        if isinstance(value, list | dict):
            json.dumps(value, default=str, ensure_ascii=False).encode()
            json.loads(json.dumps(value, default=str), parse_constant=refuse_constant)
    return row


def refuse_constant(constant: str) -> None:
    raise ValueError(constant)


def is_same(found: Any, type_: pa.DataType, expected: Any) -> bool:
    """Whether what landed is the value: itself, or text that says the same."""
    if expected is None or found is None:
        return expected is found
    if isinstance(expected, list | dict):
        return bool(json.loads(found, parse_float=Decimal) == expected)
    if type_ == pa.string():
        if isinstance(expected, str):
            return bool(found == expected)
        return bool(json.loads(found, parse_float=Decimal) == expected)
    if isinstance(expected, str):
        if type_ == pa.date32():
            return bool(found == date.fromisoformat(expected))
        moment = datetime.fromisoformat(expected)
        return bool(found == (moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    if isinstance(expected, bool):
        return found is expected
    if isinstance(expected, float):  # NaN and infinities
        return repr(found) == repr(expected)
    return Decimal(repr(found)) == Decimal(expected)


@common
@given(
    rows=st.lists(JSON_ROW, min_size=1, max_size=6),
    repeats=REPEATS,
    block_bytes=BLOCKS,
    ascii_=...,
    blanks=st.sampled_from([None, (",", ":"), (" ,\t", " :  ")]),
    spoil=SPOILS,
    at=st.integers(0, 200),
)
def test_any_ndjson_is_read_as_python_reads_it_or_refused(
    files: Files,
    rows: list[dict[str, Any]],
    repeats: int,
    block_bytes: int,
    ascii_: bool,
    blanks: tuple[str, str] | None,
    spoil: str,
    at: int,
) -> None:
    text = "\n".join(json.dumps(row, ensure_ascii=ascii_, separators=blanks) for row in rows * repeats) + "\n\n"
    at %= len(text)
    text = text[:at] + spoil + text[at:]
    try:
        expected = [read_by_python(line) for line in text.split("\n") if line.strip(" \t\r\n")]
    except (ValueError, UnicodeEncodeError):
        expected = []
    place = "line "
    if expected and not any(expected):
        expected, place = [], "no columns"
    found = files.read(text.encode(), block_bytes, format="ndjson")
    types = found.types
    assert bool(found.refused) != bool(expected), (text, found.refused)
    assert expected or place in found.refused
    for row, wanted in zip(found.rows, expected, strict=bool(types)):
        assert set(wanted) <= set(row)
        for name, value in row.items():
            assert is_same(value, types[name], wanted.get(name)), (name, types[name], value, wanted.get(name))
