"""Every query of alerts, workbook and documentation is valid in the Kusto Query Language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from kusto_query_language_parser.parse_tools.KqlLexer import KqlLexer
from kusto_query_language_parser.parse_tools.KqlParser import KqlParser

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "infra" / "monitoring"


class Errors(ErrorListener):  # type: ignore[misc]
    def __init__(self) -> None:
        self.found: list[str] = []

    def syntaxError(self, recognizer: object, symbol: object, line: int, column: int, message: str, e: object) -> None:
        self.found.append(f"{line}:{column}: {message}")


def errors_of(query: str) -> list[str]:
    errors = Errors()
    lexer = KqlLexer(InputStream(query))
    parser = KqlParser(CommonTokenStream(lexer))
    for each in (lexer, parser):
        each.removeErrorListeners()
        each.addErrorListener(errors)
    parser.top()
    return errors.found


def queries() -> dict[str, str]:
    found = {path.name: path.read_text() for path in MONITORING.glob("*.kql")}
    for item in json.loads((MONITORING / "workbook.json").read_text())["items"]:
        if "query" in item["content"]:
            found[f"workbook: {item['name']}"] = item["content"]["query"]
    for page in (ROOT / "docs").rglob("*.md"):
        for number, query in enumerate(re.findall(r"```kusto\n(.*?)```", page.read_text(), re.DOTALL), start=1):
            found[f"{page.name} {number}"] = query
    return found


@pytest.mark.parametrize("name", queries())
def test_a_query_is_valid(name: str) -> None:
    assert errors_of(queries()[name]) == []


@pytest.mark.parametrize(
    "query",
    [
        "AppTraces | wher Message == ''",
        "AppTraces | summarize by by",
        "let x = ; AppTraces",
        "AppTraces | where (Message == ''",
    ],
)
def test_what_is_not_valid_is_found(query: str) -> None:
    assert errors_of(query)


def test_there_are_queries_everywhere() -> None:
    assert {name.split()[0] for name in queries()} >= {"failed-loads.kql", "workbook:", "operations.md", "telemetry.md"}
