"""Standard output that may be lost: a full disk, a reader that has left, a stream that was closed.

What a command does matters more than what it shows, so no write to a standard stream ever raises: a load continues, its
journal is written, and the loss is reported once, at the end. Nothing is said where a reader has left, as `head` does
when it has seen enough: that is not a loss, and a message would appear within its output.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

EXIT_OUTPUT_LOST = 1

_DESCRIPTORS = (0, 1, 2)


class _Raw(io.RawIOBase):
    """A file descriptor whose first failed write is kept, and after which nothing is written any more."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._below is None:
            raise io.UnsupportedOperation("fileno")
        return int(self._below.fileno())

    def isatty(self) -> bool:
        return self._below is not None and bool(self._below.isatty())

    def write(self, data: Any) -> int | None:
        if self.failure is None:
            try:
                if self._below is None:
                    raise OSError("it is closed")
                written: int | None = self._below.write(data)
                return written
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


def run_with_streams(work: Callable[[], object]) -> NoReturn:
    """Do a command's work and end the process as it ends, with `EXIT_OUTPUT_LOST` instead of 0 where some of its
    output was lost."""
    _occupy_descriptors()
    raw, sys.stdout = _kept(sys.stdout)
    _, sys.stderr = _kept(sys.stderr)
    code: Any = 0
    try:
        work()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    if raw.failure is not None and not isinstance(raw.failure, BrokenPipeError):
        reason = raw.failure.strerror or str(raw.failure)
        sys.stderr.write(
            "error: Standard output was lost\n"
            f"  why: {reason}; the work itself is done\n"
            "  do:  Send the output to a file, or to /dev/null.\n"
        )
        code = code or EXIT_OUTPUT_LOST
    sys.exit(code)


def _occupy_descriptors() -> None:
    """Let no file that is opened later become a standard stream because that was closed."""
    for descriptor in _DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _kept(stream: TextIO | None) -> tuple[_Raw, TextIO]:
    buffer = getattr(stream, "buffer", None)
    raw = _Raw(getattr(buffer, "raw", buffer))
    is_unbuffered = bool(getattr(stream, "write_through", False))  # as PYTHONUNBUFFERED asks for
    below: Any = raw if is_unbuffered else io.BufferedWriter(raw)
    # A stream in memory names neither.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    errors = getattr(stream, "errors", None) or "backslashreplace"
    if errors == "strict" or codecs.lookup(encoding).name != "utf-8":
        # A character that the encoding lacks is written as an escape.
        errors = "backslashreplace"
    kept = io.TextIOWrapper(
        below,
        encoding=encoding,
        errors=errors,
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=is_unbuffered,
    )
    return raw, kept
