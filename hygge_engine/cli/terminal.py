"""The terminal, left as it was found, also by a process that ends at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_SHOW_CURSOR = b"\x1b[?25h"
_CLEAR_LINE = b"\r\x1b[2K"

# What a terminal was like, by file descriptor, for as long as it is otherwise.
_before: dict[int, list[Any]] = {}


@contextmanager
def quiet_control_characters() -> Iterator[None]:
    """Keep the terminal from showing ``^C`` where Ctrl-C is pressed: the line that this begins tears the bars apart."""
    terminal = _descriptor(sys.stdin)
    if sys.platform == "win32" or terminal is None:
        yield
        return
    import termios

    before = _before[terminal] = termios.tcgetattr(terminal)
    quiet = [*before[:3], before[3] & ~termios.ECHOCTL, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
        _before.pop(terminal, None)


def give_back() -> None:
    """Make the terminal what it was and show its cursor, on a line of its own. Waits for no lock, so that a process
    may call this from any thread on its way out.

    Bars that are still drawn know how many lines they have: their last one is cleared, where a further line would leave
    their first one behind.
    """
    if sys.platform != "win32":
        import termios

        for terminal, before in list(_before.items()):
            with suppress(termios.error):
                termios.tcsetattr(terminal, termios.TCSANOW, before)
    screen = _descriptor(sys.stdout)
    if screen is not None:
        is_dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
        line = _CLEAR_LINE if _before and not is_dumb else b"\n"
        with suppress(OSError):
            os.write(screen, (b"" if is_dumb else _SHOW_CURSOR) + line)


def _descriptor(stream: Any) -> int | None:
    """A stream's file descriptor, where that is a terminal."""
    with suppress(AttributeError, OSError, ValueError):  # No stream, a closed one, or one in memory.
        return int(stream.fileno()) if stream.isatty() else None
    return None
