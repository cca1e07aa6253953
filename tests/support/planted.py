"""Faults that are planted in copies of the project's files, to see that they are found."""

from __future__ import annotations

import re
from pathlib import Path


def plant(path: Path, written: str | re.Pattern[str], instead: str) -> None:
    """Write something else where a file has ``written`` first. It has to: a fault that is not planted is not found."""
    pattern = re.compile(re.escape(written)) if isinstance(written, str) else written
    text, found = pattern.subn(lambda _: instead, path.read_text(encoding="utf-8"), count=1)
    assert found, f"{path.name} has no {written!r}"
    path.write_text(text, encoding="utf-8")
