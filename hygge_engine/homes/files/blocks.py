"""Text files in blocks of whole records, as UTF-8, from any record on: what bounds memory, and lets a slice go on."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from hygge_engine.errors import Unreadable
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.lake.base import Lake
from hygge_engine.lake.ranged import RangedFile

# What is read, parsed and handed on at once. As Arrow data it is some two to four times as large.
BLOCK_BYTES = 4 * 1024 * 1024

# A record that does not end within so many bytes is a quote that was never closed.
RECORD_LIMIT_BYTES = 64 * 1024 * 1024

type Compression = Literal["gzip", "zstd", "bz2", "lz4"]

# By the ending of a name, as Arrow calls it.
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BOM_BYTES = 3

# Finds the end of the last whole record in UTF-8 bytes, 0 where there is none.
RecordEnd = Callable[[bytes], int]


@dataclass(frozen=True)
class Block:
    """Whole records. ``offset`` is where they begin in the file (uncompressed), 0 for the first of them; ``line`` how
    many lines are before them; ``next_offset`` and ``next_line`` are the same of what follows, ``last`` whether nothing
    does."""

    data: bytes
    offset: int
    line: int
    next_offset: int
    next_line: int
    last: bool


def read_blocks(
    lake: Lake, file: SourceFile, encoding: str, record_end: RecordEnd, *, offset: int = 0, line: int = 0
) -> Iterator[Block]:
    """The records of a file from ``offset`` on, in blocks of about `BLOCK_BYTES`. Raises Unreadable for bytes that are
    no text of the encoding, and for a record without an end."""
    stream, mark = _open(lake, file, offset)
    bom, codec = next(((len(b), name) for b, name in _BOMS if mark.startswith(b)), (0, encoding))
    if codec == "utf-16":
        codec = "utf-16-le"
    at = offset
    if not offset:
        at = bom
        stream.read(bom)
    decode = _decoder(codec, file)
    held = b""
    while True:
        fresh = stream.read(BLOCK_BYTES)
        raw = held + fresh
        last = len(fresh) < BLOCK_BYTES and not (more := stream.read(1))
        if len(fresh) < BLOCK_BYTES and not last:
            raw += more
        if not raw:
            return
        text, raw_length = decode(raw, line, last)
        end = len(text) if last else record_end(text)
        if end == 0:
            if len(raw) > RECORD_LIMIT_BYTES:
                raise Unreadable(
                    f"{file.path}, line {line + 1}: no end of this record within {RECORD_LIMIT_BYTES >> 20} MiB.",
                    hint="A quote that is never closed looks like that: check quote and escape.",
                )
            held = raw
            continue
        data = text[:end]
        used = len(raw) if last else raw_length(data)
        lines = line + data.count(b"\n")
        yield Block(_to_utf8(data, codec, file, line), offset, line, at + used, lines, last)
        if last:
            return
        held, at, line = raw[used:], at + used, lines
        offset = at


def _open(lake: Lake, file: SourceFile, offset: int) -> tuple[io.BufferedIOBase | pa.NativeFile, bytes]:
    """A stream that stands at ``offset``, and the first bytes of the file."""
    compression = next((name for ending, name in COMPRESSIONS.items() if file.path.endswith(ending)), None)
    if compression is None:
        buffered = _buffered(lake, file)
        mark = buffered.peek(_BOM_BYTES)[:_BOM_BYTES]
        buffered.seek(offset)
        return buffered, mark
    # Compressed bytes have no places: what was read before is read again and dropped.
    mark = _uncompressed(lake, file, compression).read(_BOM_BYTES)
    stream = _uncompressed(lake, file, compression)
    left = offset
    while left:
        left -= len(stream.read(min(left, BLOCK_BYTES))) or left
    return stream, mark


def _uncompressed(lake: Lake, file: SourceFile, compression: Compression) -> pa.NativeFile:
    return pa.CompressedInputStream(pa.PythonFile(_buffered(lake, file), mode="r"), compression)


def _buffered(lake: Lake, file: SourceFile) -> io.BufferedReader[RangedFile]:
    return io.BufferedReader(RangedFile(lake, file.info), BLOCK_BYTES)


def _decoder(codec: str, file: SourceFile) -> Callable[[bytes, int, bool], tuple[bytes, Callable[[bytes], int]]]:
    """What turns raw bytes into UTF-8, and says how many raw bytes a part of that UTF-8 takes."""

    def ascii_based(raw: bytes, line: int, last: bool) -> tuple[bytes, Callable[[bytes], int]]:
        # Ends of records are ASCII, the same bytes in both: records are told apart first and decoded then.
        return raw, len

    def utf16(raw: bytes, line: int, last: bool) -> tuple[bytes, Callable[[bytes], int]]:
        try:
            text = codecs.getincrementaldecoder(codec)().decode(raw, last)
        except UnicodeDecodeError as error:
            raise _no_text(file, codec, line + raw.count(b"\n", 0, error.start) + 1, error) from error
        return text.encode(), lambda part: len(part.decode().encode(codec))

    return utf16 if codec.startswith("utf-16") else ascii_based


def _to_utf8(data: bytes, codec: str, file: SourceFile, line: int) -> bytes:
    """Whole records as UTF-8. Raises Unreadable for what is no text of the encoding."""
    try:
        if codec in ("auto", "utf-8"):
            data.decode()
            return data
        return data if codec.startswith("utf-16") else data.decode(codec).encode()
    except UnicodeDecodeError as error:
        if codec == "auto":
            return data.decode(errors=_FALLBACK).encode()
        raise _no_text(file, codec, line + data.count(b"\n", 0, error.start) + 1, error) from error


def _no_text(file: SourceFile, encoding: str, line: int, error: UnicodeDecodeError) -> Unreadable:
    found = error.object[error.start : error.start + 1].hex().upper()
    return Unreadable(
        f"{file.path}, line {line}: the byte 0x{found} is no {encoding} text.",
        hint="Set encoding to what the file is in, for example cp1252.",
    )


_FALLBACK = "hygge-windows-1252"


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """What is no UTF-8 as Windows-1252; of its five bytes without a meaning, ISO 8859-1's."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    text = "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in wrong)
    return text, error.end


codecs.register_error(_FALLBACK, _as_windows_1252)


def line_end(text: bytes) -> int:
    """The end of the last whole line."""
    return text.rfind(b"\n") + 1


def csv_record_end(delimiter: str, quote: str, escape: str) -> RecordEnd:
    """What finds the end of the last whole record of CSV, whose quoted fields may hold line ends.

    A quote counts where a field begins, as for Arrow's reader; one in the middle of a field is a character.
    """
    if not quote:
        return line_end
    records = _records(delimiter, quote, escape, "*+")
    mark = quote.encode()

    def end(text: bytes) -> int:
        if mark not in text:
            return line_end(text) or _lone_returns(text)
        found = records.match(text)
        return found.end() if found else 0

    return end


def csv_records(delimiter: str, quote: str, escape: str) -> re.Pattern[bytes]:
    """One record of CSV with its end."""
    return _records(delimiter, quote, escape, "")


def _lone_returns(text: bytes) -> int:
    """Files of old Macs end their lines with a carriage return alone; one at the very end may belong to a newline."""
    return text.rfind(b"\r", 0, -1) + 1


def _records(delimiter: str, quote: str, escape: str, times: str) -> re.Pattern[bytes]:
    d, q = re.escape(delimiter), re.escape(quote)
    if escape:
        e = re.escape(escape)
        plain = rf"[^{q}{e}\r\n]++|{e}."
        quoted = rf"(?<![^{d}\r\n]){q}[^{q}{e}]*+(?:(?:{q}{q}|{e}.)[^{q}{e}]*+)*+{q}"
    else:
        plain = rf"[^{q}\r\n]++"
        quoted = rf"(?<![^{d}\r\n]){q}[^{q}]*+(?:{q}{q}[^{q}]*+)*+{q}"
    within = rf"(?<=[^{d}\r\n]){q}"
    pattern = rf"(?:(?:{plain}|{quoted}|{within})*+(?:\r\n|\n|\r(?!\Z))){times}"
    return re.compile(pattern.encode(), re.DOTALL)
