"""What the queries of alerts, workbook and pages compare is what the app can write: one that compares with a word that
nothing writes is valid, and never finds a row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from hygge_engine.project.models.settings import RunType
from hygge_engine.statuses import RunStatus
from hygge_engine.telemetry import names
from tests.support.error_codes import codes

ROOT = Path(__file__).parents[2]

_LITERAL = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_OPERATOR = r"==|!=|=~|!~|!?in~?|!?startswith(?:_cs)?|!?endswith(?:_cs)?|!?contains(?:_cs)?|!?has(?:_cs|_any|_all)?"
_COMPARED = re.compile(
    rf"(?P<left>(?:\w+\([^()]*\)|[\w.]+(?:\[[^\]]*\])?))\s*(?P<operator>{_OPERATOR}|\bmatches regex)\s*"
    rf"(?:\(\s*(?P<list>(?:{_LITERAL})(?:\s*,\s*(?:{_LITERAL}))*)\s*\)|(?P<one>{_LITERAL}))"
)
_EVENTS = set(
    re.findall(r'_write\(\s*"(hygge\.\w+)"', (ROOT / "hygge_engine" / "orchestration" / "events.py").read_text())
)
_FUNCTIONS = set(re.findall(r"(?m)^(?:async )?def ([a-z]\w+)\(", (ROOT / "function_app.py").read_text()))


def writable(left: str) -> set[str] | None:
    """What the app can write into the left side of a comparison; None where it is unknown."""
    inner = re.fullmatch(r"(?:tostring|tolower)\((.+)\)", left)
    name = inner[1] if inner else left
    attribute = re.fullmatch(r"Properties\[['\"]hygge\.(\w+)['\"]\]", name)
    match attribute[1] if attribute else name.rpartition(".")[2] if "Properties[" not in name else name:
        case "status":
            return set(get_args(RunStatus))
        case "run_type":
            return set(get_args(RunType))
        case "error" | "Properties['error.type']":
            return codes()
        case "Message":
            return {f"{event} " for event in _EVENTS}
        case "Name":
            return {*names.SPANS, *(metric[0] for metric in names.METRICS)}
        case "OperationName":
            return _FUNCTIONS
    return None


def faults(query: str) -> list[str]:
    """The comparisons of a query that can never be true, or never be false."""
    text = re.sub(r"(?m)^\s*//.*$", "", query)
    found = []
    for compared in _COMPARED.finditer(text):
        left, operator = compared["left"], compared["operator"]
        values = writable(left)
        for literal in re.findall(_LITERAL, compared["list"] or compared["one"]):
            value = literal[1:-1]
            begins = "startswith" in operator and left != "Message"
            if values is None:
                found.append(f"{left} {operator} '{value}': what may {left} be? `writable` does not say")
            elif not (value in values or (begins and any(each.startswith(value) for each in values))):
                found.append(f"{left} {operator} '{value}': the app writes {', '.join(sorted(values))}")
    # A literal that was compared in a way that is not understood would be passed over.
    understood = {literal for compared in _COMPARED.finditer(text) for literal in re.findall(_LITERAL, compared[0])}
    for operator, literal in re.findall(rf"({_OPERATOR})[\s(]*({_LITERAL})", text):
        if literal not in understood:
            found.append(f"{operator} {literal}: the comparison is not understood")
    for literal, operator in re.findall(rf"({_LITERAL})\s*(==|!=|=~|!~|!?in\b)", text):
        found.append(f"{literal} {operator}: the value comes behind what it is compared with")
    # What is turned round finds everything else, and is as valid.
    for turned in re.findall(
        r"(\w+(?:\.\w+)?)\)?\s*(?:!=|!~|!in|!has|!contains|!startswith|!endswith)|\b(not)\(", text
    ):
        if (left := "".join(turned)) not in TURNED_ROUND:
            found.append(f"{left} is compared the other way round: meant so? `TURNED_ROUND` does not say")
    for sign, level in re.findall(r"SeverityLevel\s*(==|!=|>=|<=|>|<)\s*(\w+)", text):
        if level not in {"0", "1", "2", "3", "4"} or (sign, level) in {
            (">", "4"),
            ("<", "0"),
            (">=", "0"),
            ("<=", "4"),
        }:
            found.append(f"SeverityLevel {sign} {level}: levels are 0 (verbose) to 4 (critical)")
    return found


# What is looked at for being another: loads that were skipped have no duration, and other callers than the app.
TURNED_ROUND = {"Load.status", "RequesterObjectId"}


def queries() -> Iterator[tuple[str, str]]:
    monitoring = ROOT / "infra" / "monitoring"
    for path in sorted(monitoring.glob("*.kql")):
        yield path.name, path.read_text()
    for item in json.loads((monitoring / "workbook.json").read_text())["items"]:
        if "query" in item["content"]:
            yield f"workbook {item['name']}", item["content"]["query"]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, query in enumerate(re.findall(r"^ *```kusto\n(.*?)```", page.read_text(), re.M | re.S), start=1):
            yield f"{page.name} {number}", query


QUERIES = dict(queries())


@pytest.mark.parametrize("name", QUERIES)
def test_what_a_query_compares_can_be_written(name: str) -> None:
    assert faults(QUERIES[name]) == []


# What is planted: the query, what it says, and what it says instead.
PLANTED = {
    "a status of activities": ("failed-loads.kql", "== 'fail'", "== 'failed'"),
    "a status in capitals": ("successful-loads.kql", "== 'success'", "== 'Success'"),
    "a status that is left out": ("workbook durations", "!= 'skip'", "!= 'skipped'"),
    "an event": ("failed-loads.kql", "startswith 'hygge.load '", "startswith 'hygge.loads '"),
    "an event that begins another": ("failed-loads.kql", "startswith 'hygge.load '", "startswith 'hygge.'"),
    "a code": ("throttling.kql", "'home.unavailable'", "'home.throttled'"),
    "a code of a list": ("throttling.kql", "'store.fabric_unavailable'", "'store.throttled'"),
    "a metric": ("telemetry.md 4", "'hygge.rows'", "'hygge.row'"),
    "a span": ("telemetry.md 3", "== 'hygge.slice'", "== 'hygge.slices'"),
    "the beginning of spans": ("telemetry.md 1", "startswith 'hygge.'", "startswith 'hyge.'"),
    "a function": ("operations.md 5", "'load_on_schedule'", "'load_by_schedule'"),
    "a run type": ("workbook failures", "status) == 'fail'", "run_type) == 'full'"),
    "an attribute": ("telemetry.md 6", "Name == 'hygge.lag'", "Properties['hygge.status'] == 'failed'"),
    "what is unknown": ("failed-loads.kql", "status) == 'fail'", "outcome) == 'fail'"),
    "a comparison of another form": ("failed-loads.kql", "tostring(Load.status) ==", "(tostring(Load.status)) =="),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    name, written, instead = PLANTED[fault]
    assert written in QUERIES[name]

    assert faults(QUERIES[name].replace(written, instead, 1))
