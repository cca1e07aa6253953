"""What the alerts make of days: the events that the app writes, through their queries, against their thresholds."""

from __future__ import annotations

import contextlib
import json
import logging
import operator
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomeNotFound, HomeUnavailable
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from tests.support.planted import plant
from tests.support.recorder import Recorder
from tests.unit.infra_bicep import Template
from tests.unit.infra_kusto import NOW, run
from tests.unit.infra_resources import plain
from tests.unit.infra_scenarios import INFRA, REQUIRED
from tests.unit.load_world import LoadWorld

_THRESHOLDS = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
    "Equals": operator.eq,
}


def rows_of(query: str, messages: list[str]) -> list[dict[str, Any]]:
    """What a query finds in lines of the log. Raises ValueError or KeyError where it asks for what there is not."""
    times = (NOW - timedelta(minutes=len(messages) - at) for at in range(len(messages)))
    return run(query, [{"TimeGenerated": time, "Message": text} for time, text in zip(times, messages, strict=True)])


def fired(infra: Path, days: dict[str, list[str]]) -> dict[str, set[str]]:
    """The alerts that lines of the log would fire, by day."""
    made = Template(infra / "bicep/main.bicep", REQUIRED).create()
    found: dict[str, set[str]] = {day: set() for day in days}
    for rule in (plain(each.body)["properties"] for each in made if each.type.endswith("/scheduledQueryRules")):
        (condition,) = rule["criteria"]["allOf"]
        for day, lines in days.items():
            if _THRESHOLDS[condition["operator"]](len(rows_of(condition["query"], lines)), condition["threshold"]):
                found[day].add(rule["displayName"].removeprefix("hygge: "))
    return found


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> dict[str, list[str]]:
    """Lines of the log by what has happened, of loads that really ran."""
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    caplog.set_level(logging.INFO)

    def lines(errors: list[Exception]) -> list[str]:
        def fail(entity: str, batch: int) -> None:
            if entity == "orders" and errors:
                raise errors.pop(0)

        world.before_read = fail
        caplog.clear()
        run_load(world.project, LoadRequest(requested_by="tests", coordinator_run_id=f"c{len(made)}"), Recorder())
        return [record.getMessage() for record in caplog.records if record.getMessage().startswith("hygge.")]

    made: dict[str, list[str]] = {}
    made["a load that has failed"] = lines([HomeNotFound("there is no table")])
    unavailable = lines([HomeUnavailable("the connection was lost")])
    (attempt,) = [line for line in unavailable if line.startswith("hygge.attempt_failed ")]
    good = [line for line in unavailable if line != attempt]
    return made | {
        "nothing at all": [],
        "a load that went well": good,
        "ten attempts turned away": [*good, *[attempt] * 10],
        "eleven attempts turned away": [*good, *[attempt] * 11],
        "a failed load that is told again and again": made["a load that has failed"] * 3,
        "twenty attempts without a table": [
            *good,
            *[line for line in made["a load that has failed"] if line.startswith("hygge.attempt_failed ")] * 20,
        ],
        "a load that fails after one that went well": [*good, *made["a load that has failed"]],
    }


# What has happened, and which alerts say so.
FIRED = {
    "nothing at all": {"no-successful-load"},
    "a load that went well": set(),
    "a load that has failed": {"failed-loads", "no-successful-load"},
    "a failed load that is told again and again": {"failed-loads", "no-successful-load"},
    "a load that fails after one that went well": {"failed-loads"},
    "ten attempts turned away": set(),
    "eleven attempts turned away": {"throttling"},
    "twenty attempts without a table": set(),
}


def test_alerts_fire_on_bad_days_and_no_others(days: dict[str, list[str]]) -> None:
    assert fired(INFRA, days) == FIRED


# What is planted: the file, what it says, and what it says instead.
PLANTED = {
    "those that did not fail": ("monitoring/failed-loads.kql", "== 'fail'", "!= 'fail'"),
    "those that went well": ("monitoring/failed-loads.kql", "== 'fail'", "in ('fail', 'success')"),
    "all but those that went well": ("monitoring/successful-loads.kql", "== 'success'", "!in ('success')"),
    "what was not turned away": ("monitoring/throttling.kql", "Attempt.error) in (", "Attempt.error) !in ("),
    "another event": ("monitoring/successful-loads.kql", "Message startswith", "Message !startswith"),
    "a threshold": ("bicep/modules/alerts.bicep", "threshold: 10\n", "threshold: 11\n"),
    "a threshold of failures": ("bicep/modules/alerts.bicep", "threshold: 0\n", "threshold: 1\n"),
    "the wrong way round": ("bicep/modules/alerts.bicep", "operator: 'LessThan'", "operator: 'GreaterThan'"),
    "as many as the threshold": (
        "bicep/modules/alerts.bicep",
        "operator: 'GreaterThan'",
        "operator: 'GreaterThanOrEqual'",
    ),
}


def test_what_fires_otherwise_is_seen(days: dict[str, list[str]], tmp_path: Path) -> None:
    for number, (fault, (file, written, instead)) in enumerate(PLANTED.items()):
        infra = Path(shutil.copytree(INFRA, tmp_path / f"infra-{number}"))
        plant(infra / file, written, instead)
        try:
            assert fired(infra, days) != FIRED, fault
        except (ValueError, KeyError):
            # What is of another form does not pass unseen.
            continue


def shown(workbook: str, lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What each part of the workbook shows of lines of the log."""
    parts = [item for item in json.loads(workbook)["items"] if "query" in item["content"]]
    return {item["name"]: rows_of(item["content"]["query"], lines) for item in parts}


WORKBOOK = (INFRA / "monitoring/workbook.json").read_text()


def test_the_workbook_shows_what_has_happened(days: dict[str, list[str]]) -> None:
    good, bad = days["a load that went well"], days["a load that has failed"]
    entities = [json.loads(line.partition(" ")[2]) for line in [*good, *bad] if line.startswith("hygge.entity ")]
    landed = {each["entity"]: each["rows"] for each in entities if each["load_id"] == entities[0]["load_id"]}

    # Each line twice, as a log may have it.
    found = shown(WORKBOOK, [*good, *bad, *good, *bad])

    assert {row["Status"]: row["Loads"] for row in found["loads-by-status"]} == {"success": 1, "fail": 1}
    assert sum(row["Rows"] for row in found["rows"]) == sum(each["rows"] or 0 for each in entities)
    assert all(0 < row["Median"] <= row["P95"] <= row["Longest"] for row in found["durations"])
    assert {row["Error"] for row in found["attempts"]} == {"home.not_found"}
    assert {row["Table"] for row in found["behind"]} == set(landed)
    assert {row["Table"]: row["Runs"] for row in found["slowest"]} == dict.fromkeys(landed, 2)
    (failed,) = found["failures"]
    assert (failed["Table"], failed["Error"], failed["Attempts"]) == ("orders", "home.not_found", 1)
    assert "there is no table" in failed["Text"]


# What a query of the workbook says, and what it says instead.
SHOWN_OTHERWISE = [
    ("Load.rows", "Load.row"),
    ("Load.duration", "Load.seconds"),
    ("Entity.lag", "Entity.watermark_lag"),
    ("Entity.entity_run_id", "Entity.run_id"),
    ("Entity.entity_run_id", "Entity.load_id"),
    ("startswith 'hygge.attempt_failed '", "startswith 'hygge.attempt_fails '"),
    ("Entity.status) == 'fail'", "Entity.status) == 'failed'"),
]


def test_a_query_that_shows_less_is_found(days: dict[str, list[str]]) -> None:
    lines = [*days["a load that went well"], *days["a load that has failed"]]
    for written, instead in SHOWN_OTHERWISE:
        assert written in WORKBOOK
        with contextlib.suppress(KeyError):
            assert shown(WORKBOOK.replace(written, instead), lines) != shown(WORKBOOK, lines), written


# What is asked of an alert, whichever it is, beside its words: nothing keeps it from looking, or from being heard.
ALERT = {
    "kind": "LogAlert",
    "enabled": True,
    "autoMitigate": True,
    "skipQueryValidation": True,
    "scopes": "<Microsoft.OperationalInsights/workspaces log-shop-uniquesuffix0: id>",
    "timeAggregation": "Count",
    "numberOfEvaluationPeriods": 1,
    "minFailingPeriodsToAlert": 1,
    "actionGroups": "<Microsoft.Insights/actionGroups ag-shop-uniquesuffix0: id>",
}
# What is asked of each: its severity, how long it looks back, how often it looks, and when it fires.
ALERTS = {
    "failed-loads": {
        "severity": 1,
        "windowSize": "PT15M",
        "evaluationFrequency": "PT5M",
        "operator": "GreaterThan",
        "threshold": 0,
    },
    "no-successful-load": {
        "severity": 1,
        "windowSize": "PT2H",
        "evaluationFrequency": "PT30M",
        "operator": "LessThan",
        "threshold": 1,
    },
    "throttling": {
        "severity": 2,
        "windowSize": "PT30M",
        "evaluationFrequency": "PT15M",
        "operator": "GreaterThan",
        "threshold": 10,
    },
}
# Who hears of it.
GROUP = {
    "location": "global",
    "groupShortName": "hygge",
    "enabled": True,
    "name": "email",
    "emailAddress": "oncall@example.com",
    "useCommonAlertSchema": True,
}
ASKED = {name: ALERT | alert for name, alert in ALERTS.items()} | {"ag-shop-uniquesuffix0": GROUP}

HEARD = {"alertEmail": "oncall@example.com"}


def asked(infra: Path, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Everything that Bicep asks of alerts and of those who hear of them, but words, queries and tags.

    Terraform's own plan is compared with it elsewhere.
    """
    found = {}
    for each in Template(infra / "bicep/main.bicep", REQUIRED | values).create():
        if each.type in ("Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/actionGroups"):
            leaves = dict(_leaves(plain(each.body)))
            name = str(leaves.pop("displayName", each.name)).removeprefix("hygge: ")
            found[name] = {
                key: value for key, value in leaves.items() if key not in {"description", "query", "azd-env-name"}
            }
            if each.type.endswith("/scheduledQueryRules"):
                assert found[name].pop("location") == REQUIRED["location"]
    return found


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree by the last name on their way, which none of a resource here shares with another."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, key)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _leaves(inner, name)
    else:
        yield name, value


# The same as Terraform writes it: the two resources, line by line.
TERRAFORM = """
resource "azurerm_monitor_action_group" "main" {
count = var.alert_email == "" ? 0 : 1
location = "global"
short_name = "hygge"
enabled = true
email_receiver {
name = "email"
email_address = var.alert_email
use_common_alert_schema = true
}
}
resource "azurerm_monitor_scheduled_query_rules_alert_v2" "main" {
for_each = local.alerts
location = var.location
enabled = true
severity = each.value.severity
scopes = [azurerm_log_analytics_workspace.main.id]
evaluation_frequency = each.value.frequency
window_duration = each.value.window
skip_query_validation = true
auto_mitigation_enabled = true
criteria {
query = each.value.query
time_aggregation_method = "Count"
operator = each.value.operator
threshold = each.value.threshold
failing_periods {
number_of_evaluation_periods = 1
minimum_failing_periods_to_trigger_alert = 1
}
}
action {
action_groups = var.alert_email == "" ? [] : [azurerm_monitor_action_group.main[0].id]
}
}
"""
_WORDS = re.compile(r"#|$|(?:name = \"a|resource_group_name|tags|display_name|description)")


def written_for_terraform(infra: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """What Terraform asks of each alert, and the lines of the resources that ask it."""
    text = (infra / "terraform/alerts.tf").read_text()
    (default,) = re.findall(
        r'(?ms)^variable "no_success_window" \{.*?default += ("\w+")', (infra / "terraform/variables.tf").read_text()
    )
    names = {"window": "windowSize", "frequency": "evaluationFrequency"}
    alerts = {
        name: {
            names.get(key, key): json.loads(default if value == "var.no_success_window" else value)
            for key, value in re.findall(r"(?m)^      (\w+) += (.+)$", body)
            if key not in ("description", "query")
        }
        for name, body in re.findall(r"(?ms)^    ([\w-]+) = \{$(.*?)^    \}$", text)
    }
    start, end = text.index('resource "azurerm_monitor_action_group"'), text.index('resource "azurerm_application_ins')
    lines = (re.sub(r"\s+", " ", line).strip() for line in text[start:end].splitlines())
    return alerts, "\n".join(["", *(line for line in lines if not _WORDS.match(line)), ""])


def test_alerts_look_and_are_heard_as_they_have_to_be() -> None:
    assert asked(INFRA, HEARD) == ASKED
    assert written_for_terraform(INFRA) == (ALERTS, TERRAFORM)
    assert asked(INFRA, {"noSuccessWindow": "P1D"})["no-successful-load"]["windowSize"] == "P1D"
    assert asked(INFRA, {}) == {name: ALERT | alert | {"actionGroups": []} for name, alert in ALERTS.items()}


_RULE, _TERRAFORM = "bicep/modules/alerts.bicep", "terraform/alerts.tf"


@pytest.mark.parametrize(
    ("file", "written", "instead"),
    [
        (_RULE, "numberOfEvaluationPeriods: 1,", "numberOfEvaluationPeriods: 4,"),
        (_RULE, "minFailingPeriodsToAlert: 1", "minFailingPeriodsToAlert: 4"),
        (_RULE, "window: 'PT30M'", "window: 'PT5M'"),
        (_RULE, "frequency: 'PT5M'", "frequency: 'PT1H'"),
        (_RULE, "windowSize: rule.window", "windowSize: 'PT15M'"),
        (_RULE, "severity: 1\n    window: noSuccessWindow", "severity: 3\n    window: noSuccessWindow"),
        (_RULE, "enabled: true\n      severity", "enabled: false\n      severity"),
        (_RULE, "enabled: true\n    emailReceivers", "enabled: false\n    emailReceivers"),
        (_RULE, "autoMitigate: true", "autoMitigate: false"),
        (_RULE, "autoMitigate: true", "autoMitigate: true\n      muteActionsDuration: 'PT6H'"),
        (_RULE, "autoMitigate: true", "autoMitigate: true\n      overrideQueryTimeRange: 'P2D'"),
        (_RULE, "empty(email) ? [] : [group.id]", "[]"),
        (_RULE, "empty(email) ? [] : [group.id]", "empty(email) ? [] : [workspaceId]"),
        (_RULE, "[group.id] }", "[group.id], customProperties: { 'Email.Subject': '-' } }"),
        (_RULE, "if (!empty(email))", "if (empty(email))"),
        (_RULE, "emailAddress: email,", "emailAddress: 'x@example.com',"),
        (_RULE, "scopes: [workspaceId]", "scopes: [suffix]"),
        ("bicep/main.bicep", "    email: alertEmail\n", "    email: ''\n"),
        (_TERRAFORM, "number_of_evaluation_periods             = 1", "number_of_evaluation_periods = 4"),
        (_TERRAFORM, "to_trigger_alert = 1", "to_trigger_alert = 4"),
        (_TERRAFORM, 'window      = "PT30M"', 'window      = "PT5M"'),
        (_TERRAFORM, "severity    = 2", "severity    = 3"),
        (_TERRAFORM, "enabled              = true", "enabled = false"),
        (_TERRAFORM, "enabled             = true", "enabled = false"),
        (_TERRAFORM, "auto_mitigation_enabled = true", "auto_mitigation_enabled = false"),
        (_TERRAFORM, "auto_mitigation_enabled = true", 'mute_actions_after_alert_duration = "PT6H"'),
        (_TERRAFORM, "skip_query_validation ", 'query_time_range_override = "P2D"\n  skip_query_validation '),
        (_TERRAFORM, 'var.alert_email == "" ? [] : [azurerm_monitor_action_group.main[0].id]', "[]"),
        (_TERRAFORM, '"" ? 0 : 1', '"" ? 1 : 0'),
        ("terraform/variables.tf", 'default     = "PT2H"', 'default     = "PT1H"'),
    ],
)
def test_an_alert_that_sees_less_or_is_not_heard_is_found(
    file: str, written: str, instead: str, tmp_path: Path
) -> None:
    infra = Path(shutil.copytree(INFRA, tmp_path / "infra"))
    plant(infra / file, written, instead)

    if file.startswith("terraform/"):
        assert written_for_terraform(infra) != (ALERTS, TERRAFORM)
    else:
        assert asked(infra, HEARD) != ASKED


@pytest.mark.parametrize("path", sorted((INFRA / "monitoring").glob("*.kql")), ids=lambda path: path.name)
def test_an_alert_looks_at_its_window_and_not_at_one_of_its_own(path: Path) -> None:
    assert not re.search(r"\b(?:ago|now|TimeGenerated\s*[<>]|between)\b", path.read_text())
