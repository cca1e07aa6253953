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


def _compressed(name: str, ending: str) -> Kind:
    return Kind(f"{name}-compressed", f"Names of such files end in {ending}.")


_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1f\x8b", _compressed("gzip", ".gz")),
    (b"\x28\xb5\x2f\xfd", _compressed("zstd", ".zst")),
    (b"\x04\x22\x4d\x18", _compressed("lz4", ".lz4")),
    *((b"BZh%d1AY&SY" % level, _compressed("bz2", ".bz2")) for level in range(1, 10)),
    (b"\xfd7zXZ\0", Kind("xz-compressed", "Write it again with gzip or Zstandard, or decompress it.")),
    (b"PK\x03\x04", Kind("a ZIP archive, as spreadsheets are", "Take the text out of it.")),
    (b"PK\x05\x06", Kind("an empty ZIP archive", _ARCHIVE)),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _ARCHIVE)),
    (b"Rar!\x1a\x07", Kind("a RAR archive", _ARCHIVE)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("a document of an old Office, such as a spreadsheet", _EXPORT)),
    (b"{\\rtf", Kind("an RTF document", _EXPORT)),
    (b"version https://git-lfs", Kind("a pointer of Git LFS", "Fetch the file itself: git lfs pull.")),
    (b"SQLite format 3\0", Kind("a SQLite database", _EXPORT)),
    (b"ARROW1\0", Kind("an Arrow file", "Write it as Parquet.")),
    (b"Obj\x01", Kind("an Avro file", "Write it as Parquet.")),
    (b"\x89PNG\r\n", Kind("an image", _EXPORT)),
    (b"\xff\xd8\xff", Kind("an image", _EXPORT)),
    (b"\x7fELF", Kind("a program", _EXPORT)),
    (b"\xff\xfe\x00\x00", Kind("text in UTF-32", _AS_UTF_8)),
    (b"\x00\x00\xfe\xff", Kind("text in UTF-32", _AS_UTF_8)),
)

# Text may begin with these letters; behind a file's mark comes a byte that no line of text has.
_PARQUET = re.compile(rb"PAR[1E][\x00-\x08\x0e-\x1f\x80-\xff]")
_ORC = re.compile(rb"ORC\n?[\x00-\x08\x0e-\x1f\x80-\xff]")
_TAR_MARK_AT = 257

# A header may be a tag, too, as `<DATE>,<OPEN>` and `<table>` are: in a page another tag or a text follows in the line,
# or a tag below.
_HTML = re.compile(
    rb"\s*<(!doctype\s+html|!--|(html|head|body|meta|script|table|div)(\s[^<>]*)?>"
    rb"([^\S\r\n]*\w|\s*<|\s*\w[^<]*<[/!a-z]))",
    re.IGNORECASE,
)
_XML = re.compile(rb"\s*<(\?xml\s|!doctype\s|svg\s)", re.IGNORECASE)
# The first line of these is no record: headers or an empty line follow that of a response.
_HTTP = re.compile(rb"HTTP/\d(\.\d)? \d{3}[^\r\n]*(\r?\n([\w-]+:|\r?\n)|\s*$)")
_PDF = re.compile(rb"\s*%PDF-\d\.\d(?![,;|\t\"])")


def kind_of(head: bytes) -> Kind | None:
    """What a file that begins with ``head`` is; None for text that may be CSV or NDJSON."""
    found = next((kind for mark, kind in _MAGIC if head.startswith(mark)), None)
    if found is not None:
        return found
    if _PARQUET.match(head):
        return Kind("a Parquet file", "Set format: parquet.", "parquet")
    if _ORC.match(head):
        return Kind("an ORC file", "Write it as Parquet.")
    if head[_TAR_MARK_AT : _TAR_MARK_AT + 5] == b"ustar":
        return Kind("a tar archive", _ARCHIVE)
    # A page in UTF-16 is the same letters with zeros between them, behind a byte order mark.
    text = head.removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
    if _HTML.match(text):
        return Kind("an HTML page", _PAGE)
    if _HTTP.match(text):
        return Kind("the response of a web server, headers included", _PAGE)
    if _PDF.match(text):
        return Kind("a PDF document", _EXPORT)
    if _XML.match(text):
        return Kind("an XML document", _EXPORT)
    return None
