"""What the first bytes of a file say that it is, whatever its name says."""

from __future__ import annotations

import re
from typing import NamedTuple

# So many of a file's first bytes are looked at.
HEAD_BYTES = 512


class Kind(NamedTuple):
    """What a file is, as an error calls it, and what to do about it. ``format`` is the format of files that it is."""

    what: str
    hint: str
    format: str = ""


_ARCHIVE = "Take the file that holds the rows out of it."
_EXPORT = "Export the rows as CSV, NDJSON or Parquet."
_PAGE = "A page of a login or of an error was saved in place of the rows: fetch the file again."
_AS_UTF_8 = "Write it as UTF-8."
_AS_PARQUET = "Write it as Parquet."


def _table(*kinds: tuple[bytes, Kind]) -> tuple[tuple[re.Pattern[bytes], Kind], ...]:
    """Kinds of files by a pattern of how they begin; the first that fits counts."""
    return tuple((re.compile(pattern), kind) for pattern, kind in kinds)


def _compressed(name: str, ending: str) -> Kind:
    return Kind(f"{name}-compressed", f"Names of such files end in {ending}.")


# What text may begin with as well counts only before a byte that no line of text has.
_NO_TEXT = rb"[\x00-\x08\x0e-\x1f\x80-\xff]"

_BINARY = _table(
    (rb"\x1f\x8b", _compressed("gzip", ".gz")),
    (rb"\x28\xb5\x2f\xfd", _compressed("zstd", ".zst")),
    (rb"\x04\x22\x4d\x18", _compressed("lz4", ".lz4")),
    (rb"BZh[1-9]1AY&SY", _compressed("bz2", ".bz2")),
    (rb"\xfd7zXZ\0", Kind("xz-compressed", "Write it again with gzip or Zstandard, or decompress it.")),
    (rb"PK\x03\x04", Kind("a ZIP archive, as spreadsheets are", "Take the text out of it.")),
    (rb"PK\x05\x06", Kind("an empty ZIP archive", _ARCHIVE)),
    (rb"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _ARCHIVE)),
    (rb"Rar!\x1a\x07", Kind("a RAR archive", _ARCHIVE)),
    (rb"(?s:.{257})ustar", Kind("a tar archive", _ARCHIVE)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("a document of an old Office, such as a spreadsheet", _EXPORT)),
    (rb"{\\rtf", Kind("an RTF document", _EXPORT)),
    (rb"version https://git-lfs", Kind("a pointer of Git LFS", "Fetch the file itself: git lfs pull.")),
    (rb"SQLite format 3\0", Kind("a SQLite database", _EXPORT)),
    (rb"PAR[1E]" + _NO_TEXT, Kind("a Parquet file", "Set format: parquet.", "parquet")),
    (rb"ORC\n?" + _NO_TEXT, Kind("an ORC file", _AS_PARQUET)),
    (rb"ARROW1\0", Kind("an Arrow file", _AS_PARQUET)),
    (rb"Obj\x01", Kind("an Avro file", _AS_PARQUET)),
    (rb"\x89PNG\r\n|\xff\xd8\xff", Kind("an image", _EXPORT)),
    (rb"\x7fELF", Kind("a program", _EXPORT)),
    (rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff", Kind("text in UTF-32", _AS_UTF_8)),
)

_TEXT = _table(
    # A header may be a tag, too, as `<DATE>,<OPEN>` and `<table>` are: in a page another tag or a text follows in the
    # line, or a tag below.
    (
        rb"(?i)\s*<(!doctype\s+html|!--|(html|head|body|meta|script|table|div)(\s[^<>]*)?>"
        rb"([^\S\r\n]*\w|\s*<|\s*\w[^<]*<[/!a-z]))",
        Kind("an HTML page", _PAGE),
    ),
    # The first line of a response is no record: headers or an empty line follow it.
    (
        rb"HTTP/\d(\.\d)? \d{3}[^\r\n]*(\r?\n([\w-]+:|\r?\n)|\s*$)",
        Kind("the response of a web server, headers included", _PAGE),
    ),
    (rb"\s*%PDF-\d\.\d(?![,;|\t\"])", Kind("a PDF document", _EXPORT)),
    (rb"(?i)\s*<(\?xml\s|!doctype\s|svg\s)", Kind("an XML document", _EXPORT)),
)


def kind_of(head: bytes) -> Kind | None:
    """What a file that begins with ``head`` is; None for text that may be CSV or NDJSON."""
    # A page in UTF-16 is the same letters with zeros between them, behind a byte order mark.
    text = head.removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
    looks = ((_BINARY, head), (_TEXT, text))
    return next((kind for table, start in looks for pattern, kind in table if pattern.match(start)), None)
