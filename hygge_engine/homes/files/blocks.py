"""Text files in blocks of whole records, as UTF-8, from any record on: what bounds memory, and lets a slice resume."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from hygge_engine.errors import Unreadable
from hygge_engine.homes.files.content import HEAD_BYTES, kind_of
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.lake.base import Lake
from hygge_engine.lake.ranged import RangedFile
from hygge_engine.stopping import stop_if_asked

# What is read, parsed and handed on at once. As Arrow data it is some two to four times as large.
BLOCK_BYTES = 4 * 1024 * 1024

# A record longer than this is a quote that was never closed.
RECORD_LIMIT_BYTES = 64 * 1024 * 1024

type Compression = Literal["gzip", "zstd", "bz2", "lz4"]

# By the ending of a name, as Arrow calls it.
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# Finds the end of the last whole record in UTF-8 bytes, 0 where there is none; of the last bytes of a file, all of them
# are one. Raises BrokenRecord.
RecordEnd = Callable[[bytes, bool], int]

# Within this many bytes of UTF-16 at least one is zero, where the text has digits, marks and line ends.
_ZERO_EVERY = 16


class BrokenRecord(Exception):
    """A malformed record, at a place in the bytes that were examined."""

    def __init__(self, at: int, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason
        self.hint = hint


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
    stream, head = _open(lake, file, offset)
    bom, codec = _codec_of(file, head, encoding)
    at = offset
    if not offset:
        at = bom
        _read(stream, bom, file)
    decode = _decoder(codec, file)
    held = b""
    while True:
        stop_if_asked()
        fresh = _read(stream, BLOCK_BYTES, file)
        raw = held + fresh
        last = len(fresh) < BLOCK_BYTES and not (more := _read(stream, 1, file))
        if len(fresh) < BLOCK_BYTES and not last:
            raw += more
        if not raw:
            return
        text, raw_length = decode(raw, line, last)
        try:
            end = record_end(text, last)
        except BrokenRecord as broken:
            where = f"{file.name}, line {line + count_lines(text[: broken.at]) + 1}"
            raise Unreadable(f"{where}: {broken.reason}.", hint=broken.hint) from None
        if end == 0:
            if len(raw) > RECORD_LIMIT_BYTES:
                raise Unreadable(
                    f"{file.name}, line {line + 1}: no end of this record within {RECORD_LIMIT_BYTES >> 20} MiB.",
                    hint="In CSV, a quote that is never closed looks like that: check quote and escape.",
                )
            held = raw
            continue
        data = text[:end]
        used = len(raw) if last else raw_length(data)
        lines = line + count_lines(data)
        yield Block(_to_utf8(data, codec, file, line), offset, line, at + used, lines, last)
        if last:
            return
        held, at, line = raw[used:], at + used, lines
        offset = at


def count_lines(data: bytes) -> int:
    """How many lines end in these bytes, with LF, CRLF or CR."""
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def _codec_of(file: SourceFile, head: bytes, encoding: str) -> tuple[int, str]:
    """The length of a byte order mark, and the codec. Raises Unreadable for what is not text, or of another
    encoding."""
    if (kind := kind_of(head)) is not None:
        raise Unreadable(f"{file.name} is {kind.what}.", hint=kind.hint)
    for mark, codec in _BOMS:
        if head.startswith(mark):
            return len(mark), codec
    found = _utf16_of(head)
    if encoding == "utf-16":
        return 0, found or "utf-16-le"
    if found in (None, encoding):
        return 0, encoding
    if encoding == "auto":
        raise Unreadable(
            f"{file.name}, line {count_lines(head[: head.index(0)]) + 1}: NUL characters begin here, as in text in "
            f"{found} without a byte order mark.",
            hint=f"Set encoding: {found}, or encoding: utf-8 if the NUL characters belong to the values.",
        )
    if encoding.startswith("utf-16"):
        raise Unreadable(f"{file.name} is text in {found}, and has no byte order mark.", hint=f"Set encoding: {found}.")
    return 0, encoding


def _utf16_of(head: bytes) -> str | None:
    """Which UTF-16 it is, by the zeros of ASCII characters; None for other text."""
    low, high = head[::2].count(0), head[1::2].count(0)
    if max(low, high) < max(2, len(head) // _ZERO_EVERY) or min(low, high):
        return None
    return "utf-16-be" if low else "utf-16-le"


def _read(stream: io.BufferedIOBase | pa.NativeFile, length: int, file: SourceFile) -> bytes:
    """The next bytes. Raises Unreadable where they cannot be decompressed."""
    try:
        return stream.read(length)
    except (OSError, EOFError, zlib.error) as error:
        ending = next(ending for ending in COMPRESSIONS if file.path.lower().endswith(ending))
        raise Unreadable(
            f"{file.name} cannot be decompressed as its ending {ending} says: it is {_state_of(error)}.",
            hint="Write it again, or give it the name of its format.",
        ) from error


def _state_of(error: Exception) -> str:
    text = str(error)
    if isinstance(error, EOFError) or "runcated" in text:
        return "incomplete"
    return "damaged, or of another format"


def _open(lake: Lake, file: SourceFile, offset: int) -> tuple[io.BufferedIOBase | pa.NativeFile, bytes]:
    """A stream that stands at ``offset``, and the first bytes of the file."""
    endings = COMPRESSIONS.items()
    compression = next((name for ending, name in endings if file.path.lower().endswith(ending)), None)
    if compression is None:
        buffered = _buffered(lake, file)
        head = buffered.read(HEAD_BYTES)
        buffered.seek(offset)
        return buffered, head
    # Compressed bytes have no places: what was read before is read again and dropped.
    head = _read(_uncompressed(lake, file, compression), HEAD_BYTES, file)
    stream = _uncompressed(lake, file, compression)
    left = offset
    while left:
        left -= len(_read(stream, min(left, BLOCK_BYTES), file)) or left
    return stream, head


def _uncompressed(lake: Lake, file: SourceFile, compression: Compression) -> io.BufferedIOBase | pa.NativeFile:
    if compression == "gzip":
        # Unlike Arrow's, it lets zeros follow a member, as gzip does: tapes and tar pad with them.
        return gzip.GzipFile(fileobj=_buffered(lake, file), mode="rb")
    return pa.CompressedInputStream(pa.PythonFile(_buffered(lake, file), mode="r"), compression)


def _buffered(lake: Lake, file: SourceFile) -> io.BufferedReader[RangedFile]:
    return io.BufferedReader(RangedFile(lake, file.info), BLOCK_BYTES)


def _decoder(codec: str, file: SourceFile) -> Callable[[bytes, int, bool], tuple[bytes, Callable[[bytes], int]]]:
    """What turns raw bytes into UTF-8, and says how many raw bytes a part of that UTF-8 takes."""

    def ascii_based(raw: bytes, line: int, last: bool) -> tuple[bytes, Callable[[bytes], int]]:
        # Ends of records are ASCII, the same bytes in both: records are separated first and decoded then.
        return raw, len

    def utf16(raw: bytes, line: int, last: bool) -> tuple[bytes, Callable[[bytes], int]]:
        try:
            text = codecs.getincrementaldecoder(codec)().decode(raw, last)
        except UnicodeDecodeError as error:
            before = raw[: error.start].decode(codec, errors="ignore").encode()
            raise _no_text(file, codec, line + count_lines(before) + 1, error) from error
        return text.encode(), lambda part: len(part.decode().encode(codec))

    return utf16 if codec.startswith("utf-16") else ascii_based


def _to_utf8(data: bytes, codec: str, file: SourceFile, line: int) -> bytes:
    """Whole records as UTF-8. Raises Unreadable for what is not text in the encoding."""
    try:
        if codec in ("auto", "utf-8"):
            data.decode()
            return data
        return data if codec.startswith("utf-16") else data.decode(codec).encode()
    except UnicodeDecodeError as error:
        if codec == "auto":
            return data.decode(errors=_FALLBACK).encode()
        raise _no_text(file, codec, line + count_lines(data[: error.start]) + 1, error) from error


def _no_text(file: SourceFile, encoding: str, line: int, error: UnicodeDecodeError) -> Unreadable:
    found = error.object[error.start : error.start + 1].hex().upper()
    return Unreadable(
        f"{file.name}, line {line}: the byte 0x{found} is not {encoding} text.",
        hint="Set encoding to what the file is in, for example cp1252.",
    )


_FALLBACK = "hygge-windows-1252"


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """What is not UTF-8, as Windows-1252; of its five bytes without a meaning, ISO 8859-1's."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    text = "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in wrong)
    return text, error.end


codecs.register_error(_FALLBACK, _as_windows_1252)


def line_end(text: bytes, last: bool) -> int:
    """The end of the last whole line."""
    return len(text) if last else text.rfind(b"\n") + 1


def csv_record_end(delimiter: str, quote: str, escape: str) -> RecordEnd:
    """What finds the end of the last whole record of CSV, whose quoted fields may hold line ends.

    A quote counts where a field begins; one in the middle of a field is a character. Behind the quote that closes a
    field the field has to end: what comes of anything else depends on the reader.
    """
    marks = [mark.encode() for mark in (quote, escape) if mark]
    records = _compiled(f"(?:{_record(delimiter, quote, escape)})*+")
    fields = _compiled(f"(?:{_field(delimiter, quote, escape)}{re.escape(delimiter)})*+")
    tail = _compiled(f"{_field(delimiter, quote, escape)}\\r?\\Z")
    quoted = _compiled(_quoted(quote, escape)) if quote else None

    def end(text: bytes, last: bool) -> int:
        if not any(mark in text for mark in marks):
            return len(text) if last else text.rfind(b"\n") + 1 or _lone_returns(text)
        found = records.match(text)
        at = found.end() if found else 0
        if at == len(text):
            return at
        broken = fields.match(text, at)
        begin = broken.end() if broken else at
        if last and tail.match(text, begin):
            return len(text)
        closed = quoted.match(text, begin) if quoted else None
        if closed and closed.end() < len(text):
            follows = text[closed.end() : closed.end() + 1]
            if follows not in (b"\r", b"\n"):
                raise BrokenRecord(closed.end(), _AFTER_QUOTE.format(quote), _DOUBLE_QUOTES)
        if last and quote and text[begin : begin + 1] == quote.encode():
            raise BrokenRecord(begin, _UNCLOSED.format(quote), _DOUBLE_QUOTES)
        if last:
            raise BrokenRecord(begin, f"the file ends behind an escape character {escape}", "Check escape.")
        return at

    return end


def csv_records(delimiter: str, quote: str, escape: str) -> re.Pattern[bytes]:
    """One record of CSV with its end."""
    return _compiled(_record(delimiter, quote, escape))


_END = r"(?:\r\n|\n|\r(?!\Z))"
_AFTER_QUOTE = "the quote {} closes a field here, and more of it follows"
_UNCLOSED = "a quote {} opens a field here, and is never closed"
_DOUBLE_QUOTES = (
    "Quotes within a quoted field are doubled; check quote and escape, or set quote: '' if quotes mean nothing."
)


def _lone_returns(text: bytes) -> int:
    """Files of old Macs end their lines with a carriage return alone; one at the very end may belong to a newline."""
    return text.rfind(b"\r", 0, -1) + 1


def _record(delimiter: str, quote: str, escape: str) -> str:
    field = _field(delimiter, quote, escape)
    return f"(?:{field}{re.escape(delimiter)})*+{field}{_END}"


def _field(delimiter: str, quote: str, escape: str) -> str:
    """An expression for one field, which may be empty."""
    d, e = re.escape(delimiter), re.escape(escape)
    q = re.escape(quote)
    first, others = rf"[^{d}{q}{e}\r\n]", rf"[^{d}{e}\r\n]*+"
    plain = rf"(?:{first}|{e}.){others}(?:{e}.{others})*+" if escape else f"{first}{others}"
    return f"(?:{_quoted(quote, escape)}|{plain}|)" if quote else f"(?:{plain}|)"


def _quoted(quote: str, escape: str) -> str:
    q, e = re.escape(quote), re.escape(escape)
    pair = rf"(?:{q}{q}|{e}.)" if escape else f"{q}{q}"
    return rf"{q}[^{q}{e}]*+(?:{pair}[^{q}{e}]*+)*+{q}"


def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode(), re.DOTALL)
