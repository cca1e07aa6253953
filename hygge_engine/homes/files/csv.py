"""CSV as a format of a home (RFC 4180, and what other tools make of it)."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pcsv

from hygge_engine.errors import Unreadable
from hygge_engine.homes.files.blocks import Block, count_lines, csv_record_end, csv_records, read_blocks
from hygge_engine.homes.files.convert import CANDIDATES, FIRST_ROWS, fitting_columns
from hygge_engine.homes.files.declared import first_twice, told_apart
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.settings import FilesHomeSettings
from hygge_engine.homes.files.text import Found, TextFormat
from hygge_engine.lake.base import Lake
from hygge_engine.plain_text import counted

# What a spreadsheet may write before the header, for itself.
_SEPARATOR_LINE = re.compile(rb'"?sep=([^\r\n])"?(?:\r\n|\n|\r)', re.IGNORECASE)

# Other common delimiters, and the number of records that reveal one where no header does.
_OTHER_DELIMITERS = ";,\t|"
_TELLING_RECORDS = 20

# How JSON begins, as the name of a first column, and as that of the only one.
_JSON = re.compile(r'\[?\s*\{\s*"[^"]*"\s*:')
_JSON_LINE = re.compile(r"\[|\[?\s*\{\s*")

_CHECK_MARKS = "Correct the file, or check delimiter, quote and escape."


class CsvFormat(TextFormat):
    """CSV: quoted fields may hold delimiters and line ends; NULL is an unquoted text of ``null_values``."""

    def __init__(self, lake: Lake, settings: FilesHomeSettings) -> None:
        super().__init__(lake, settings)
        marks = (settings.delimiter, settings.quote, settings.escape)
        self._record_end = csv_record_end(*marks)
        self._record = csv_records(*marks)
        self._names: dict[tuple[str, str], list[str]] = {}

    def _blocks(self, file: SourceFile, offset: int = 0, line: int = 0) -> Iterator[Block]:
        for block in read_blocks(self._lake, file, self._settings.encoding, self._record_end, offset=offset, line=line):
            yield replace(block, data=self._rows_of(file, block)) if block.offset == 0 else block

    def _rows_of(self, file: SourceFile, block: Block) -> bytes:
        """The first block without what comes before the rows."""
        begin = self._begin(file, block.data)
        end = self._end_of_record(block.data, begin)
        self._remember_names(file, block.data, begin, end)
        return block.data[end if self._settings.header else begin :]

    def _begin(self, file: SourceFile, data: bytes) -> int:
        """Where the first record begins: behind a spreadsheet's own line and empty ones. Raises Unreadable."""
        begin = 0
        if found := _SEPARATOR_LINE.match(data):
            delimiter = found[1].decode(errors="replace")
            if delimiter != self._settings.delimiter:
                raise Unreadable(
                    f"{file.name}, line 1: its fields are delimited by {delimiter!r}, as this line says.",
                    hint=f"Set delimiter: {delimiter!r}.",
                )
            begin = found.end()
        while data[begin : begin + 1] in (b"\r", b"\n"):
            begin += 1
        return begin

    def _end_of_record(self, data: bytes, begin: int) -> int:
        found = self._record.match(data, begin)
        return found.end() if found else len(data)

    def _names_of(self, file: SourceFile) -> list[str]:
        """The names of a file's columns. Raises Unreadable."""
        if (file.path, file.info.etag) not in self._names:
            first = next(read_blocks(self._lake, file, self._settings.encoding, self._record_end), None)
            data = first.data if first else b""
            begin = self._begin(file, data)
            self._remember_names(file, data, begin, self._end_of_record(data, begin))
        return self._names[file.path, file.info.etag]

    def _remember_names(self, file: SourceFile, data: bytes, begin: int, end: int) -> None:
        line = count_lines(data[:begin]) + 1
        row = self._fields(file, data[begin:end], line)
        names = self._named(file, row) if self._settings.header else self._numbered(file, len(row))
        if len(names) == 1:
            self._expect_one_column(file, data[begin:end] if self._settings.header else data[begin:], line)
        self._names[file.path, file.info.etag] = names

    def _named(self, file: SourceFile, row: Sequence[str]) -> list[str]:
        names = [name.strip() or f"column_{number}" for number, name in enumerate(row, start=1)]
        if any("\0" in name for name in names):
            hint = "The file is not text, or is text in another encoding: write it again as CSV, or set encoding."
            raise Unreadable(f"{file.name}, line 1: a name of a column holds a NUL character.", hint=hint)
        if names and (_JSON.match(names[0]) or (len(names) == 1 and _JSON_LINE.fullmatch(names[0]))):
            hint = "Set format: ndjson, of which each line is an object; if it is CSV without a header, header: false."
            raise Unreadable(f"{file.name}, line 1: this is JSON, and no header of CSV.", hint=hint)
        if (twice := first_twice(names)) is not None:
            raise Unreadable(f"{file.name} has more than one column {twice!r}.", hint="Give each column its own name.")
        return names

    def _numbered(self, file: SourceFile, width: int) -> list[str]:
        declared = list(self._settings.columns)
        if 0 < width < len(declared):
            raise Unreadable(
                f"{file.name} has {width} columns, and `columns` names {len(declared)}.",
                hint="Without a header, they are named in their order; check delimiter, quote and escape as well.",
            )
        return [*declared, *(f"column_{number}" for number in range(len(declared) + 1, width + 1))]

    def _fields(self, file: SourceFile, record: bytes, line: int) -> list[str]:
        """One record's fields. Raises Unreadable."""
        settings = self._settings
        rows = csv.reader(
            io.StringIO(record.decode(), newline=""),
            delimiter=settings.delimiter,
            quotechar=settings.quote or None,
            escapechar=settings.escape or None,
            quoting=csv.QUOTE_MINIMAL if settings.quote else csv.QUOTE_NONE,
        )
        try:
            return next(rows, [])
        except csv.Error as error:
            most = csv.field_size_limit()
            reason = f"a field of more than {most:,} characters" if len(record) > most else str(error)
            raise Unreadable(f"{file.name}, line {line}: {reason}.", hint=_CHECK_MARKS) from error

    def _expect_one_column(self, file: SourceFile, records: bytes, line: int) -> None:
        """Raises Unreadable for a header of one field, or some records, that have more by another delimiter."""
        lines = [text for text in records.decode().splitlines() if text][:_TELLING_RECORDS]
        enough = 1 if self._settings.header else 2
        known = self.is_declared(lines[0]) if self._settings.header and lines else bool(self._settings.columns)
        if len(lines) < enough or known or any(text[0] == self._settings.quote for text in lines):
            return
        for mark in _OTHER_DELIMITERS.replace(self._settings.delimiter, ""):
            fields = {text.count(mark) + 1 for text in lines}
            if len(fields) == 1 and fields != {1}:
                raise Unreadable(
                    f"{file.name}, line {line}: one field by the delimiter {self._settings.delimiter!r}, and "
                    f"{fields.pop()} by {mark!r}.",
                    hint=f"Set delimiter: {mark!r}; if it is one column, quote its name, or name it in columns.",
                )

    def _look_at(self, file: SourceFile) -> bool:
        names = self._names_of(file)
        self._common.add(file, names, told_apart(names))
        return True

    def _parse(self, file: SourceFile, block: Block) -> pl.DataFrame:
        if not block.data.strip(b"\r\n"):
            return pl.DataFrame()
        return self._read_csv(file, block, self._common_names_of(file))

    def _common_names_of(self, file: SourceFile) -> list[str]:
        """Raises Unreadable for a file that has two columns where earlier ones have one."""
        names = self._names_of(file)
        common = [self._common.of(name) for name in names]
        if (twice := first_twice(common)) is not None:
            spelt = [name for name in names if self._common.of(name) == twice]
            raise Unreadable(
                f"{file.name} has both {' and '.join(map(repr, spelt))}, and other files have one of them: which of "
                "the two that is remains unknown.",
                hint="Name both in columns, or read the files by two entities.",
            )
        return common

    def _read_csv(self, file: SourceFile, block: Block, names: Sequence[str]) -> pl.DataFrame:
        """Fields as text. Raises Unreadable for a record of another width than the header's, or the first one's."""
        wrong: list[pcsv.InvalidRow] = []

        def refuse(row: pcsv.InvalidRow) -> Literal["skip", "error"]:
            wrong.append(row)
            return "error"

        settings = self._settings
        # The reader takes a byte order mark away wherever it begins, and one here is the first field's own.
        data = codecs.BOM_UTF8 + block.data if block.data.startswith(codecs.BOM_UTF8) else block.data
        # Nor is a last field without a line end to it what others are: with a quoted one before it, it is not NULL.
        data = data if data.endswith((b"\n", b"\r")) else data + b"\n"
        try:
            table = pcsv.read_csv(
                io.BytesIO(data),
                read_options=pcsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(names)),
                parse_options=pcsv.ParseOptions(
                    delimiter=settings.delimiter,
                    quote_char=settings.quote or False,
                    escape_char=settings.escape or False,
                    newlines_in_values=bool(settings.quote or settings.escape),
                    invalid_row_handler=refuse,
                ),
                convert_options=pcsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    null_values=list(settings.null_values),
                    check_utf8=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if wrong:
                row = wrong[0]
                raise Unreadable(
                    f"{file.name}, line {self._line_of(block, (row.number or 1) - 1)}: "
                    f"{counted(row.actual_columns, 'field')} where others have {row.expected_columns}.",
                    hint=_CHECK_MARKS,
                ) from error
            where = f"{file.name}, after line {block.line}"
            raise Unreadable(f"{where}: its records cannot be separated.", hint=_CHECK_MARKS) from error
        return cast("pl.DataFrame", pl.from_arrow(table))

    def _line_of(self, block: Block, row: int) -> int:
        data, at = block.data, 0
        header = block.next_line - block.line - count_lines(data) if block.offset == 0 else 0
        while row > 0:
            found = self._record.match(data, at)
            if found is None or found.end() == at:
                break
            at = found.end()
            row -= 1 if found[0].strip(b"\r\n") else 0
        while (found := self._record.match(data, at)) and not found[0].strip(b"\r\n"):
            at = found.end()
        return block.line + header + count_lines(data[:at]) + 1

    def _examine(self, file: SourceFile) -> Found:
        names = self._names_of(file)
        found = {name: tuple(CANDIDATES) for name in names}
        rows = 0
        for block in self._blocks(file):
            frame = self._parse(file, block)
            rows += frame.height
            columns = [column for column in frame.get_columns() if not self.is_declared(column.name)]
            inferred = [column.name for column in columns]
            # Where a type does not fit the first rows, the others need not be examined.
            for texts in ([column.head(FIRST_ROWS) for column in columns], columns):
                fits = fitting_columns(texts, [found[name] for name in inferred], self._settings.decimal)
                found.update(zip(inferred, fits, strict=True))
        return Found(found, rows, told_apart(names))
