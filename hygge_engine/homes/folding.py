"""Texts that a source treats as equal although they are written differently."""

from __future__ import annotations

import sys
from functools import cache

from hygge_engine.homes.base import Folding


def fold(text: str, folding: Folding) -> str:
    """One spelling for all texts that differ in trailing blanks alone, or in case too: capital letters, no blanks.

    Never one for more than that: a letter whose capital is not its alone, as that of the dotless i, stays as it is.
    """
    if not folding:
        return text
    text = text.rstrip(" ")
    return text if folding == "blanks" else text.translate(_capitals(turkic=folding == "turkic"))


@cache
def _capitals(*, turkic: bool) -> dict[int, str]:
    pairs = ((chr(point), chr(point).upper()) for point in range(sys.maxunicode + 1))
    found = {ord(small): capital for small, capital in pairs if small != capital and capital.lower() == small}
    if turkic:
        del found[ord("i")]
    return found
