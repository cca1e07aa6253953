"""What the alerts make of days: the events that the app writes, through their queries, against their thresholds."""

from __future__ import annotations

import json
import logging
import operator
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import HomeNotFound, HomeUnavailable
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from tests.support.planted import plant
from tests.support.recorder import Recorder
from tests.unit.infra_bicep import Template
from tests.unit.infra_resources import plain
from tests.unit.infra_scenarios import INFRA, REQUIRED
from tests.unit.load_world import LoadWorld

_COMPARED = re.compile(
    r"(?:tostring\()?(?P<left>\w+(?:\.\w+)?)\)?\s*(?P<sign>==|!=|=~|!in|in|!startswith|startswith)\s*"
    r"(?P<right>\([^)]*\)|'[^']*')"
)
_EVENT = re.compile(r"(?P<name>\w+) = parse_json\(substring\(Message, strlen\('(?P<prefix>[^']*)'\)\)\)")
_NEWEST = re.compile(r"arg_max\(TimeGenerated, (?P<event>\w+)\) by \w+ = tostring\((?P=event)\.(?P<key>\w+)\)")

_SIGNS: dict[str, Callable[[str, list[str]], bool]] = {
    "==": lambda left, right: [left] == right,
    "!=": lambda left, right: [left] != right,
    "=~": lambda left, right: [left.lower()] == [each.lower() for each in right],
    "in": lambda left, right: left in right,
    "!in": lambda left, right: left not in right,
    "startswith": lambda left, right: left.lower().startswith(right[0].lower()),
    "!startswith": lambda left, right: not left.lower().startswith(right[0].lower()),
}
_THRESHOLDS = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
    "Equals": operator.eq,
}


def rows_of(query: str, messages: list[str]) -> int:
    """How many rows a query of an alert finds in lines of the log. Raises ValueError where it is of another form."""
    table, *stages = [part.strip() for part in re.sub(r"(?m)^\s*//.*$", "", query).split("\n| ")]
    if table != "AppTraces":
        raise ValueError(table)
    rows: list[dict[str, Any]] = [{"Message": message} for message in messages]
    for stage in stages:
        word, _, rest = stage.partition(" ")
        if word == "where":
            rows = [row for row in rows if _holds(rest, row)]
        elif word == "extend" and (found := _EVENT.fullmatch(rest)):
            for row in rows:
                row[found["name"]] = json.loads(row["Message"][len(found["prefix"]) :])
        elif word == "summarize" and (found := _NEWEST.fullmatch(rest)):
            rows = list({row[found["event"]][found["key"]]: row for row in rows}.values())
        elif word != "project":
            raise ValueError(stage)
    return len(rows)


def _holds(condition: str, row: dict[str, Any]) -> bool:
    found = _COMPARED.fullmatch(condition)
    if found is None:
        raise ValueError(condition)
    holder, _, key = found["left"].partition(".")
    value = row[holder][key] if key else row[holder]
    return _SIGNS[found["sign"]]("" if value is None else str(value), re.findall(r"'([^']*)'", found["right"]))


def fired(infra: Path, days: dict[str, list[str]]) -> dict[str, set[str]]:
    """The alerts that lines of the log would fire, by day."""
    made = Template(infra / "bicep/main.bicep", REQUIRED).create()
    found: dict[str, set[str]] = {day: set() for day in days}
    for rule in (plain(each.body)["properties"] for each in made if each.type.endswith("/scheduledQueryRules")):
        (condition,) = rule["criteria"]["allOf"]
        for day, lines in days.items():
            if _THRESHOLDS[condition["operator"]](rows_of(condition["query"], lines), condition["threshold"]):
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


# How long each alert looks back, how often it looks, and how many looks of how many must be bad: one of one.
SEEN = {
    "failed-loads": ("PT15M", "PT5M", 1, 1),
    "no-successful-load": ("PT2H", "PT30M", 1, 1),
    "throttling": ("PT30M", "PT15M", 1, 1),
}


def seen(infra: Path, values: dict[str, Any]) -> dict[str, tuple[str, str, int, int]]:
    """What an alert sees of a day in Bicep, which is compared with Terraform's own plan elsewhere."""
    made = Template(infra / "bicep/main.bicep", REQUIRED | values).create()
    found = {}
    for rule in (plain(each.body)["properties"] for each in made if each.type.endswith("/scheduledQueryRules")):
        (condition,) = rule["criteria"]["allOf"]
        periods = condition["failingPeriods"]
        found[rule["displayName"].removeprefix("hygge: ")] = (
            *(rule["windowSize"], rule["evaluationFrequency"]),
            *(periods["minFailingPeriodsToAlert"], periods["numberOfEvaluationPeriods"]),
        )
    return found


def seen_by_terraform(infra: Path) -> dict[str, tuple[str, str, int, int]]:
    """The same in Terraform, from what is written."""
    text = (infra / "terraform/alerts.tf").read_text()
    (least,) = re.findall(r"minimum_failing_periods_to_trigger_alert += (\d+)", text)
    (periods,) = re.findall(r"number_of_evaluation_periods += (\d+)", text)
    rules = re.findall(r'(?ms)^    ([\w-]+) = \{$.*?window += (\S+)\n +frequency += "(\w+)"', text)
    (default,) = re.findall(
        r'(?ms)^variable "no_success_window" \{.*?default += "(\w+)"', (infra / "terraform/variables.tf").read_text()
    )
    windows = {"var.no_success_window": default}
    assert re.findall(r"(?:evaluation_frequency|window_duration) += (\S+)", text) == [
        "each.value.frequency",
        "each.value.window",
    ]
    return {
        name: (windows.get(window, window.strip('"')), frequency, int(least), int(periods))
        for name, window, frequency in rules
    }


def test_alerts_look_back_as_far_and_as_often_as_they_have_to() -> None:
    assert seen(INFRA, {}) == SEEN
    assert seen_by_terraform(INFRA) == SEEN
    assert seen(INFRA, {"noSuccessWindow": "P1D"})["no-successful-load"][0] == "P1D"


@pytest.mark.parametrize(
    ("file", "written", "instead"),
    [
        ("bicep/modules/alerts.bicep", "numberOfEvaluationPeriods: 1,", "numberOfEvaluationPeriods: 4,"),
        ("bicep/modules/alerts.bicep", "minFailingPeriodsToAlert: 1", "minFailingPeriodsToAlert: 4"),
        ("bicep/modules/alerts.bicep", "window: 'PT30M'", "window: 'PT5M'"),
        ("bicep/modules/alerts.bicep", "frequency: 'PT5M'", "frequency: 'PT1H'"),
        ("bicep/modules/alerts.bicep", "windowSize: rule.window", "windowSize: 'PT15M'"),
        ("terraform/alerts.tf", "number_of_evaluation_periods             = 1", "number_of_evaluation_periods = 4"),
        ("terraform/alerts.tf", "to_trigger_alert = 1", "to_trigger_alert = 4"),
        ("terraform/alerts.tf", 'window      = "PT30M"', 'window      = "PT5M"'),
        ("terraform/variables.tf", 'default     = "PT2H"', 'default     = "PT1H"'),
    ],
)
def test_an_alert_that_sees_less_is_found(file: str, written: str, instead: str, tmp_path: Path) -> None:
    infra = Path(shutil.copytree(INFRA, tmp_path / "infra"))
    plant(infra / file, written, instead)

    assert (seen(infra, {}), seen_by_terraform(infra)) != (SEEN, SEEN)


@pytest.mark.parametrize("path", sorted((INFRA / "monitoring").glob("*.kql")), ids=lambda path: path.name)
def test_an_alert_looks_at_its_window_and_not_at_one_of_its_own(path: Path) -> None:
    assert not re.search(r"\b(?:ago|now|TimeGenerated\s*[<>]|between)\b", path.read_text())
