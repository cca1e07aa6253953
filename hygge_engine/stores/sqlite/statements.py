"""What every statement to a SQLite file needs, be it one that writes or one that reads."""

from __future__ import annotations

# How long a statement waits for another writer: longer than staging a batch takes, and than publishing all but very
# large slices.
BUSY_SECONDS = 30.0


def quote(name: str) -> str:
    """``name`` as a delimited identifier. Not in double quotes: SQLite takes what is in those, and is no column, for a
    text, and would store a missing column's name as its value."""
    return f"`{name.replace('`', '``')}`"
