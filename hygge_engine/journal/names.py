"""File names for the identifiers that users and schedulers choose."""

from __future__ import annotations

import hashlib
import re

# Characters that every filesystem and URL takes as they are.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")

# Leaves room for an ending and for the path around it: most filesystems allow 255 bytes in a name.
NAME_LIMIT_CHARACTERS = 120


def file_name(identifier: str) -> str:
    """A file name for an identifier, without ending: itself where that is safe, otherwise made safe and unique by a
    hash."""
    safe = _UNSAFE.sub("_", identifier)[:NAME_LIMIT_CHARACTERS]
    if safe == identifier and safe.strip("."):
        return safe
    return f"{safe.strip('.')}-{hashlib.sha256(identifier.encode()).hexdigest()[:12]}"
