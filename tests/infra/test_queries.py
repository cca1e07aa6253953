"""Log Analytics' own language service takes every query of alerts, workbook and documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.terraform import ROOT

MONITORING = ROOT / "infra" / "monitoring"

# Columns of the tables that the queries name, as Azure's reference of tables has them; those that every row has first.
_EVERY = "TimeGenerated: datetime, TenantId: string, Type: string, _ResourceId: string"
_APP = (
    f"{_EVERY}, AppRoleInstance: string, AppRoleName: string, AppVersion: string, ItemCount: int, OperationId: string, "
    "OperationName: string, ParentId: string, Properties: dynamic, SDKVersion: string"
)
TABLES = {
    "AppDependencies": f"{_APP}, Data: string, DependencyType: string, DurationMs: real, Id: string, Name: string, "
    "ResultCode: string, Success: bool, Target: string",
    "AppExceptions": f"{_APP}, Details: dynamic, ExceptionType: string, InnermostMessage: string, "
    "OuterMessage: string, OuterType: string, ProblemId: string, SeverityLevel: int",
    "AppMetrics": f"{_APP}, Max: real, Min: real, Name: string, Sum: real",
    "AppRequests": f"{_APP}, DurationMs: real, Id: string, Name: string, ResultCode: string, Success: bool",
    "AppTraces": f"{_APP}, Message: string, SeverityLevel: int",
    "LAQueryLogs": f"{_EVERY}, AADClientId: string, AADEmail: string, AADObjectId: string, QueryText: string, "
    "RequestClientApp: string, RequestTarget: string, ResponseCode: int, ResponseRowCount: int",
    "StorageBlobLogs": f"{_EVERY}, AccountName: string, AuthenticationType: string, CallerIpAddress: string, "
    "Category: string, ObjectKey: string, OperationName: string, RequesterObjectId: string, StatusCode: string, "
    "StatusText: string, Uri: string",
}


def errors_of(queries: dict[str, str]) -> dict[str, list[str]]:
    """What the language service says to queries, by name, with the line."""
    environment = Path(sys.prefix)
    program = [str(environment / "bin" / "node"), "tests/infra/kusto.js"]
    service = environment / "node_modules" / "@kusto" / "language-service-next"
    run = subprocess.run(
        [*program, str(service)],
        input=json.dumps({"tables": TABLES, "queries": queries}),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    errors: dict[str, list[str]] = json.loads(run.stdout)
    return errors


def written() -> dict[str, str]:
    found = {path.name: path.read_text() for path in MONITORING.glob("*.kql")}
    for item in json.loads((MONITORING / "workbook.json").read_text())["items"]:
        if "query" in item["content"]:
            found[f"workbook: {item['name']}"] = item["content"]["query"]
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for number, query in enumerate(re.findall(r"^ *```kusto\n(.*?)```", page.read_text(), re.M | re.S), start=1):
            found[f"{page.name} {number}"] = query
    return found


def test_every_query_is_valid() -> None:
    queries = written()

    assert {name.split()[0] for name in queries} >= {"failed-loads.kql", "workbook:", "operations.md", "telemetry.md"}
    assert {name: errors for name, errors in errors_of(queries).items() if errors} == {}


# What is planted: a query, and what must be said of it.
PLANTED = {
    "a table that there is not": ("AppTrace | take 1", "'AppTrace' does not refer to any known table"),
    "a table of classic Application Insights": ("traces | take 1", "'traces' does not refer to any known table"),
    "a column that there is not": ("AppTraces | where Mesage == ''", "'Mesage' does not refer to any known column"),
    "a column of another table": ("AppMetrics | summarize sum(DurationMs)", "'DurationMs' does not refer"),
    "a column that was not kept": (
        "AppTraces | summarize count() by OperationId | project Message",
        "'Message' does not refer to any known column",
    ),
    "a column in another case": ("AppRequests | where success == true", "'success' does not refer"),
    "a function that there is not": ("AppMetrics | summarize percentil(Sum, 50)", "percentil"),
    "an argument less": ("AppMetrics | summarize percentile(Sum)", "percentile"),
    "types that do not go together": ("AppTraces | where Message > ago(1d)", "not defined for the operand types"),
    "an operator that there is not": ("AppTraces | wher Message == ''", "1: "),
    "words in the wrong place": ("AppTraces\n| summarize by by", "2: "),
    "a value less": ("let x = ; AppTraces", "1: "),
    "a bracket less": ("AppTraces | where (Message == ''", "1: "),
}


def test_what_is_not_valid_is_found() -> None:
    found = errors_of({name: query for name, (query, _) in PLANTED.items()})

    assert {name for name, (_, said) in PLANTED.items() if not any(said in error for error in found[name])} == set()


@pytest.mark.parametrize("table", TABLES)
def test_what_is_said_of_tables_is_of_use(table: str) -> None:
    assert any(re.search(rf"\b{table}\b", query) for query in written().values())
