"""Column names in another case."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

Case = Literal["pascal", "camel", "snake"]


def convert_case(name: str, case: Case) -> str:
    """``name`` in another case; unchanged where it has neither letter nor digit.

    Words end at anything else, before a capital that follows a small letter or a digit, and before the last capital of
    several if a small letter follows: ``HTTPServer2Name`` is http, server2, name.
    """
    words = [word.lower() for word in split_words(name)]
    if not words:
        return name
    if case == "snake":
        return "_".join(words)
    joined = "".join(_capitalised(word) for word in words)
    return words[0] + joined[len(_capitalised(words[0])) :] if case == "camel" else joined


def split_words(name: str) -> Sequence[str]:
    """The words of a name, spelt as they are."""
    words: list[str] = []
    before = ""
    for place, character in enumerate(name):
        if not _belongs_to_word(character):
            before = ""
            continue
        after = name[place + 1 : place + 2]
        begins = character.isupper() and (not before.isupper() or after.islower())
        if begins or not before:
            words.append("")
        words[-1] += character
        before = character
    return words


def _capitalised(word: str) -> str:
    return word[:1].upper() + word[1:]


def _belongs_to_word(character: str) -> bool:
    # A combining mark belongs to the letter before it.
    return character.isalnum() or unicodedata.category(character).startswith("M")
