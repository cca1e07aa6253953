"""Names without regard to case.

Not every letter has one capital of its own: the micro sign shares one with the Greek mu, ß becomes SS, the sign for
Kelvin is a K, and I belongs to i with or without a dot. Those who compare names treat such letters differently, so
there is a form for each question.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from string import ascii_lowercase, ascii_uppercase
from typing import Protocol


class Named(Protocol):
    """What has a name, as a column has."""

    @property
    def name(self) -> str: ...


class _Letters(dict[int, str]):
    """For `str.translate`: one letter for all that have a capital or small letter in common."""

    def __missing__(self, point: int) -> str:
        letter = chr(point)
        for change in (str.upper, str.lower):
            changed = change(letter)
            letter = changed if len(changed) == 1 else letter
        self[point] = letter
        return letter


_LETTERS = _Letters({ord("İ"): "i"})  # whose small letter is two characters

_ASCII = str.maketrans(ascii_uppercase, ascii_lowercase)


def in_any_case(name: str) -> str:
    """One form for names that differ in case alone, letter by letter, whichever letters somebody takes for each
    other's capitals: as Delta's readers compare columns, and to find the one that an author means."""
    return name.lower() if name.isascii() else name.translate(_LETTERS)


def in_ascii_case(name: str) -> str:
    """One form for names that differ in the case of A to Z alone, which SQLite takes for one."""
    return name.translate(_ASCII)


def confusable(name: str) -> str:
    """One form for all names that a file system or a collation may take for one, as `ß` and `SS`: two places whose
    names have none in common are two everywhere."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFD", name).upper().casefold().replace("i\u0307", "i")
    return unicodedata.normalize("NFC", folded)


def by_any_case(names: Iterable[str]) -> dict[str, list[str]]:
    """Names together with those that differ from them in case alone, in their order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(in_any_case(name), []).append(name)
    return found


def meant(name: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that ``name`` may mean: itself, or else all that differ from it in case alone."""
    known = dict.fromkeys(names)
    return [name] if name in known else meant_among(known)(name)


def columns_meant[C: Named](name: str, columns: Iterable[C]) -> list[C]:
    """Those of ``columns`` that ``name`` may mean (`meant`), in their order."""
    known = list(columns)
    spelt = meant(name, [column.name for column in known])
    return [column for column in known if column.name in spelt]


def meant_among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """`meant` of ``names`` for many a name: they are gone through once."""
    alike = by_any_case(dict.fromkeys(names))

    def meant_by(name: str) -> list[str]:
        found = alike.get(in_any_case(name), [])
        return [name] if name in found else found

    return meant_by
