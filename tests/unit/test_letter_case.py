"""Names without regard to case, for letters that have several capitals, or several small letters, or none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest

from hygge_engine.hosts import is_host
from hygge_engine.letter_case import columns_meant, confusable, in_any_case, in_ascii_case, meant, meant_among

# Two names; whether they differ in case alone, letter by letter; and whether anything may take them for one.
PAIRS = [
    ("Orders", "oRDERS", True, True),
    ("Größe", "GRÖẞE", True, True),
    ("Größe", "GRÖSSE", False, True),
    ("Maße", "Masse", False, True),
    ("5 µm", "5 μm", True, True),  # the micro sign, and the Greek letter
    ("µ", "\u039c", True, True),
    ("KIZ", "k\u0131z", True, True),
    ("ID", "id", True, True),
    ("İd", "id", True, True),
    ("i\u0307d", "İd", False, True),
    ("Kelvin", "\u212aelvin", True, True),
    ("Ångström", "\u212bngström", True, True),
    ("Ω", "\u2126", True, True),
    ("\u017fum", "sum", True, True),
    ("ΚΩΔΙΚΟΣ", "κωδικος", True, True),
    ("κωδικοσ", "κωδικος", True, True),
    ("ﬁle", "file", False, True),
    ("e\u0301t", "\u00e9t", False, True),
    ("ǅ", "ǆ", True, True),
    ("a", "ä", False, False),
    ("o", "0", False, False),
    ("straße", "strase", False, False),
    ("\u0430", "a", False, False),  # the Cyrillic letter
]


@pytest.mark.parametrize(("one", "other", "in_case", "anywhere"), PAIRS)
def test_names_that_differ_in_case_alone(one: str, other: str, in_case: bool, anywhere: bool) -> None:
    assert (in_any_case(one) == in_any_case(other)) is in_case
    assert (confusable(one) == confusable(other)) is anywhere
    assert meant(one, ["x", other, other]) == ([other] if in_case else [])
    assert meant(one, [other, one]) == [one]
    for names in (["x", other, other], [other, one]):
        assert meant_among(names)(one) == meant(one, names)


def test_a_name_that_may_be_several_is_all_of_them() -> None:
    assert meant("Id", ["ID", "x", "id"]) == meant_among(["ID", "x", "id"])("Id") == ["ID", "id"]
    columns = [SimpleNamespace(name=name) for name in ("ID", "x", "id")]
    assert columns_meant("Id", iter(columns)) == [columns[0], columns[2]]
    assert columns_meant("id", columns) == [columns[2]]


def test_every_letter_is_known_by_each_of_its_cases() -> None:
    """Of one letter, and of several."""
    for letter in filter(str.isalpha, map(chr, range(0x1F000))):
        for changed in {letter.upper(), letter.lower(), letter.title(), letter.casefold()} - {letter}:
            assert confusable(changed) == confusable(letter), (letter, changed)
            assert len(changed) > 1 or in_any_case(changed) == in_any_case(letter), (letter, changed)


def test_sqlite_takes_the_same_columns_for_one() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for one, other, *_ in PAIRS:
            connection.execute("DROP TABLE IF EXISTS t")
            try:
                connection.execute(f'CREATE TABLE t ("{one}", "{other}")')
                is_one = False
            except sqlite3.OperationalError:
                is_one = True
            assert (in_ascii_case(one) == in_ascii_case(other)) is is_one, (one, other)


@pytest.mark.parametrize("letter", ["\u017f", "\u212a", "\u0131", "İ", "ß", "µ"])
def test_a_host_has_letters_that_are_one_to_everybody(letter: str) -> None:
    assert not is_host(f"x{letter}.dfs.fabric.microsoft.com")
    assert is_host("X.dfs.Fabric.Microsoft.com")
