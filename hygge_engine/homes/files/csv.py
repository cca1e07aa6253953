"""CSV as a format of a home (RFC 4180, and what other tools make of it)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Literal, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pcsv

from hygge_engine.errors import Unreadable
from hygge_engine.homes.files.blocks import Block, csv_record_end, csv_records, read_blocks
from hygge_engine.homes.files.convert import CANDIDATES, fitting
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.settings import FilesHomeSettings
from hygge_engine.homes.files.text import Found, TextFormat
from hygge_engine.lake.base import Lake


class CsvFormat(TextFormat):
    """CSV: quoted fields may hold delimiters and line ends; NULL is an unquoted text of ``null_values``."""

    def __init__(self, lake: Lake, settings: FilesHomeSettings) -> None:
        super().__init__(lake, settings)
        marks = (settings.delimiter, settings.quote, settings.escape)
        self._record_end = csv_record_end(*marks)
        self._record = csv_records(*marks) if settings.quote else re.compile(rb"[^\n]*\n")
        self._headers: dict[tuple[str, str], list[str]] = {}

    def _blocks(self, file: SourceFile, offset: int = 0, line: int = 0) -> Iterator[Block]:
        for block in read_blocks(self._lake, file, self._settings.encoding, self._record_end, offset=offset, line=line):
            if block.offset == 0 and self._settings.header:
                end = self._end_of_header(block.data)
                header = block.data[:end]
                self._header_of(file, header)
                block = Block(
                    block.data[end:], block.offset, block.line, block.next_offset, block.next_line, block.last
                )
            yield block

    def _end_of_header(self, data: bytes) -> int:
        found = self._record.match(data)
        return found.end() if found else len(data)

    def _header_of(self, file: SourceFile, header: bytes = b"") -> list[str]:
        """The names of a file's columns. Raises Unreadable for a name that comes twice."""
        key = (file.path, file.info.etag)
        if key not in self._headers:
            if not header:
                first = next(read_blocks(self._lake, file, self._settings.encoding, self._record_end), None)
                header = first.data[: self._end_of_header(first.data)] if first else b""
            row = self._read_csv(file, header, None, 0).row(0) if header.strip() else ()
            names = [str(name).strip() if name else f"column_{number}" for number, name in enumerate(row, start=1)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise Unreadable(
                    f"{file.path} has more than one column {twice[0]!r}.", hint="Give each column a name of its own."
                )
            self._headers[key] = names
        return self._headers[key]

    def _names(self, file: SourceFile, data: bytes) -> list[str]:
        if self._settings.header:
            return self._header_of(file)
        declared = list(self._settings.columns)
        found = self._record.match(data)
        width = self._read_csv(file, found[0] if found else data, None, 0).width
        return [*declared[:width], *(f"column_{number}" for number in range(len(declared) + 1, width + 1))]

    def _parse(self, file: SourceFile, block: Block) -> pl.DataFrame:
        if not block.data.strip():
            return pl.DataFrame()
        return self._read_csv(file, block.data, self._names(file, block.data), block.line, block)

    def _read_csv(
        self, file: SourceFile, data: bytes, names: Sequence[str] | None, line: int, block: Block | None = None
    ) -> pl.DataFrame:
        """Fields as text. Raises Unreadable for a record of another width than the others."""
        wrong: list[pcsv.InvalidRow] = []

        def refuse(row: pcsv.InvalidRow) -> Literal["skip", "error"]:
            wrong.append(row)
            return "error"

        settings = self._settings
        try:
            table = pcsv.read_csv(
                io.BytesIO(data),
                read_options=pcsv.ReadOptions(
                    use_threads=False,
                    block_size=len(data) + 1,
                    column_names=None if names is None else list(names),
                    autogenerate_column_names=names is None,
                ),
                parse_options=pcsv.ParseOptions(
                    delimiter=settings.delimiter,
                    quote_char=settings.quote or False,
                    escape_char=settings.escape or False,
                    newlines_in_values=bool(settings.quote),
                    invalid_row_handler=refuse,
                ),
                convert_options=pcsv.ConvertOptions(
                    column_types=None if names is None else dict.fromkeys(names, pa.string()),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    null_values=list(settings.null_values),
                    check_utf8=False,
                ),
            )
        except pa.ArrowInvalid as error:
            if wrong:
                row = wrong[0]
                at = self._line_of(block, (row.number or 1) - 1) if block else line + 1
                raise Unreadable(
                    f"{file.path}, line {at}: {row.actual_columns} fields where others have {row.expected_columns}.",
                    hint="Correct the file, or check delimiter, quote and escape.",
                ) from error
            raise Unreadable(
                f"{file.path}, after line {line}: {error}.", hint="Check delimiter, quote and escape."
            ) from error
        return cast(
            "pl.DataFrame", pl.from_arrow(table.cast(pa.schema([(n, pa.string()) for n in table.schema.names])))
        )

    def _line_of(self, block: Block, row: int) -> int:
        data, at, header = block.data, 0, 0
        if block.offset == 0 and self._settings.header:
            header = block.next_line - block.line - data.count(b"\n")
        while row > 0:
            found = self._record.match(data, at)
            if found is None or found.end() == at:
                break
            at = found.end()
            row -= 1 if found[0].strip(b"\r\n") else 0
        while (found := self._record.match(data, at)) and not found[0].strip(b"\r\n"):
            at = found.end()
        return block.line + header + data.count(b"\n", 0, at) + 1

    def _examine(self, file: SourceFile) -> Found:
        found: dict[str, tuple[str, ...]] = {}
        if self._settings.header:
            found = {name: tuple(CANDIDATES) for name in self._header_of(file)}
        rows = 0
        for block in self._blocks(file):
            frame = self._parse(file, block)
            rows += frame.height
            for name in frame.columns:
                if name not in self._settings.columns:
                    known = found.get(name, tuple(CANDIDATES))
                    # Where a type does not fit the first rows, the others need not be looked at.
                    known = fitting(frame[name].head(100), known, self._settings.decimal)
                    found[name] = fitting(frame[name], known, self._settings.decimal)
                else:
                    found.setdefault(name, ("string",))
        return Found(found, rows)
