"""Functions of Bicep do what Azure's reference of template functions says, which is not what Python's do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.infra_bicep import Template

# What is written, and what Azure makes of it.
VALUES: dict[str, Any] = {
    "startsWith('HTTPS://x', 'https://')": True,
    "startsWith('https://x', 'HTTPS')": True,
    "startsWith('x', '')": True,
    "indexOf('West', 'w')": 0,
    "indexOf(['a'], 'A')": -1,
    "max([1, 3])": 3,
    "min(2, 1)": 1,
    "contains('West Europe', 'europe')": False,
    "contains(['A'], 'a')": False,
    "contains({ Name: 1 }, 'nAME')": True,
    "{ Name: 1 }.name": 1,
    "'A' == 'a'": False,
    "'A' =~ 'a'": True,
    "true == 1": False,
    "replace('Aa', 'a', 'b')": "Ab",
    "split('', ',')": [""],
    "split('a,,b', ',')": ["a", "", "b"],
    "-7 / 2": -3,
    "-7 % 2": -1,
    "7 / 2": 3,
    "array(['a'])": ["a"],
    "array('a')": ["a"],
    "bool('TRUE')": True,
    "int('-1')": -1,
    "concat('a', 'b')": "ab",
    "items({ b: 1, A: 2 })": [{"key": "A", "value": 2}, {"key": "b", "value": 1}],
    "skip(['a', 'b'], 5)": [],
    "take('abc', -1)": "",
    "last(['a', 'b'])": "b",
    "union(['a'], ['A', 'a'])": ["a", "A"],
    "union({ a: { b: 1, c: [1] } }, { a: { c: [2] } })": {"a": {"b": 1, "c": [2]}},
    "empty(null)": True,
    "'${1}-${'a'}'": "1-a",
    "string(7)": "7",
}

# What Azure refuses, or what its reference leaves open.
REFUSED = [
    *("int('1_000')", "int(' 1')", "int('1.5')", "int('')", "int('9223372036854775808')", "int('x')"),
    *("bool('yes')", "bool('')", "empty(0)", "'${true}'", "string(true)", "'${['a']}'"),
    *("substring('abc', 2, 2)", "substring('abc', -1, 1)", "[1][1]", "[1][-1]", "last([])"),
    *(
        "'a' < 'b'",
        "9223372036854775807 + 1",
        "1 / 0",
        "true && [][0]",
        "empty([]) || [][0]",
        "union({ a: 1 }, { A: 2 })",
        "concat('a', ['b'])",
    ),
]


def value_of(folder: Path, expression: str) -> Any:
    path = folder / "value.bicep"
    path.write_text(f"var value = {expression}\n")
    return Template(path, {}).names["value"]()


def test_functions_do_what_azure_does(tmp_path: Path) -> None:
    found = {expression: value_of(tmp_path, expression) for expression in VALUES}

    assert {key: value for key, value in found.items() if value != VALUES[key]} == {}
    assert {
        key: value for key, value in found.items() if isinstance(value, bool) != isinstance(VALUES[key], bool)
    } == {}


def test_what_azure_would_refuse_is_an_error(tmp_path: Path) -> None:
    for expression in REFUSED:
        with pytest.raises((ValueError, TypeError, KeyError, ZeroDivisionError)):
            raise AssertionError(f"{expression} is {value_of(tmp_path, expression)!r}")
