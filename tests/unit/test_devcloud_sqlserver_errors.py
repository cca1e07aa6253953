"""The table of the SQL Server emulator's errors, and the places that raise them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from string import Formatter

from devcloud.sqlserver.errors import ERRORS

ROOT = Path(__file__).parents[2] / "devcloud/sqlserver"
OWN_TEXTS = {0, 50_000}
"""PRINT's number, and that of errors whose text comes from the client."""


@cache
def _calls(function: str) -> list[tuple[str, ast.Call]]:
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node)
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]


def _numbers(node: ast.expr) -> list[int]:
    """The numbers that an argument may be: a constant, or either one of a conditional."""
    if isinstance(node, ast.IfExp):
        return _numbers(node.body) + _numbers(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, int) else []


def _values(text: str) -> int:
    return len({field for _, field, _, _ in Formatter().parse(text) if field is not None})


def test_an_error_has_its_number_severity_source_and_text_in_one_row() -> None:
    header, *lines = (ROOT / "errors.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    assert header.split("\t") == ["number", "severity", "source", "text"]
    assert [int(row[0]) for row in rows] == sorted(ERRORS)
    assert {row[2] for row in rows} == {"SQL Server", "Azure SQL", "devcloud"}
    assert all(0 <= int(row[1]) <= 20 and row[3] for row in rows)


def test_whoever_raises_an_error_gives_it_all_the_values_that_its_text_has() -> None:
    wrong = []
    raised = set()
    for place, call in _calls("make_error"):
        numbers = _numbers(call.args[0])
        raised.update(numbers)
        if not any(isinstance(each, ast.Starred) for each in call.args):
            wrong += [place for each in numbers if _values(ERRORS[each][1]) != len(call.args) - 1]
    assert wrong == []
    assert len(raised) > 100


def test_no_text_of_an_error_stands_outside_the_table() -> None:
    assert [place for place, call in _calls("SqlError") if set(_numbers(call.args[0])) - OWN_TEXTS] == []


def test_no_error_is_listed_that_nobody_raises() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py")))
    assert [number for number in ERRORS if not re.search(rf"\b{number}\b", text)] == []


def test_what_generated_sql_raises_is_in_the_table() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "engine").rglob("*.py")))
    numbers = {int(number) for number in re.findall(r"fail\('(\d+)'", text)}
    assert len(numbers) > 3
    assert numbers <= set(ERRORS)
