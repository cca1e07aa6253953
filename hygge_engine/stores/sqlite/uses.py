"""Which SQLite files this process has open, so that nothing else of it opens them meanwhile.

On POSIX a process loses all of its locks on a file as soon as it closes any descriptor of it ("How To Corrupt An SQLite
Database File", 2.2). To look into a file whose locks SQLite holds in another thread would let other processes write at
the same time.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class _Uses:
    """How many connections to one file may be open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0


_lock = threading.Lock()
_uses: defaultdict[str, _Uses] = defaultdict(_Uses)


@contextmanager
def used(path: Path, look: Callable[[], None]) -> Iterator[None]:
    """While a connection to a file may be open. ``look`` may open the file itself and those beside it: it is called
    first, unless there is a connection already, whose opening it has allowed. What it raises passes."""
    with _lock:
        uses = _uses[os.path.realpath(path)]
    with uses.lock:
        if not uses.count:
            look()
        uses.count += 1
    try:
        yield
    finally:
        with uses.lock:
            uses.count -= 1
