"""The nearest valid name, for errors about unknown ones."""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz import fuzz, process, utils

# Below this score, of 100, two names have too little in common for a suggestion.
_SIMILAR = 60.0


def nearest(name: str, known: Iterable[str]) -> str:
    """``Did you mean …?``, or nothing where no known name resembles ``name``."""
    found = process.extractOne(
        name, list(known), scorer=fuzz.WRatio, processor=utils.default_process, score_cutoff=_SIMILAR
    )
    return f"Did you mean {found[0]!r}?" if found else ""
