"""Azure DevOps' pipelines and dependabot's file say what those who read them know: keys, inputs of tasks, values.

Sources: Microsoft Learn, "YAML schema reference for Azure Pipelines" and the references of the tasks that are used;
GitHub Docs, "Dependabot options reference". Only what is used here, or might be next, is in the tables; GitHub's
workflows are actionlint's (``make check-infra``).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.support.planted import plant

ROOT = Path(__file__).parents[2]

ANY: dict[str, Any] = {}
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
NUMBER = {"type": "integer", "minimum": 0}
MAP = {"type": "object"}


def each(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def one_of(*values: Any) -> dict[str, Any]:
    return {"enum": list(values)}


def keys(required: list[str], **known: Any) -> dict[str, Any]:
    """An object that knows these keys and no others."""
    properties = {name.replace("__", "-"): schema for name, schema in known.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


# Tasks: what they want and what they take.
TASKS = {
    "AzureCLI@2": keys(
        ["azureSubscription", "scriptType", "scriptLocation"],
        azureSubscription=TEXT,
        scriptType=one_of("bash", "pscore", "batch", "ps"),
        scriptLocation=one_of("inlineScript", "scriptPath"),
        **dict.fromkeys(("scriptPath", "inlineScript", "arguments", "workingDirectory"), TEXT),
        **dict.fromkeys(("addSpnToEnvironment", "useGlobalConfig", "failOnStandardError", "visibleAzLogin"), FLAG),
    ),
    "UsePythonVersion@0": keys(
        ["versionSpec"],
        versionSpec=TEXT,
        architecture=one_of("x86", "x64", "arm64"),
        **dict.fromkeys(("addToPath", "allowUnstable", "disableDownloadFromRegistry"), FLAG),
    ),
}
_STEP: dict[str, Any] = {
    "displayName": TEXT,
    "name": TEXT,
    "condition": TEXT,
    "enabled": FLAG,
    "continueOnError": FLAG,
    "env": MAP,
}
_STEP |= {"timeoutInMinutes": NUMBER, "retryCountOnTaskFailure": NUMBER}
_STEPS = {
    **{
        name: keys([name], **{name: TEXT}, workingDirectory=TEXT, failOnStderr=FLAG, **_STEP)
        for name in ("script", "bash")
    },
    "checkout": keys(
        ["checkout"], checkout=TEXT, persistCredentials=FLAG, fetchDepth=NUMBER, fetchTags=FLAG, clean=FLAG, **_STEP
    ),
    "task": keys(["task", "inputs"], task=one_of(*TASKS), inputs=MAP, **_STEP),
    "template": keys(["template"], template=TEXT, parameters=MAP),
}
_POOL = keys([], vmImage=TEXT, name=TEXT, demands=ANY)
_DEPENDS = {"anyOf": [TEXT, each(TEXT)]}
_JOB: dict[str, Any] = {
    "displayName": TEXT,
    "dependsOn": _DEPENDS,
    "condition": TEXT,
    "timeoutInMinutes": NUMBER,
    "pool": _POOL,
    "variables": ANY,
}
_JOB |= {"cancelTimeoutInMinutes": NUMBER, "continueOnError": FLAG, "workspace": MAP}
_JOBS = {
    "job": keys(["job", "steps"], job=TEXT, steps=each(ANY), strategy=MAP, **_JOB),
    "deployment": keys(
        ["deployment", "environment", "strategy"],
        deployment=TEXT,
        environment=TEXT,
        strategy=keys(["runOnce"], runOnce=keys(["deploy"], deploy=keys(["steps"], steps=each(ANY)))),
        **_JOB,
    ),
    "template": _STEPS["template"],
}
_FILTER = keys([], include=each(TEXT), exclude=each(TEXT))
_TRIGGER = {"anyOf": [one_of("none"), keys([], branches=_FILTER, tags=_FILTER, paths=_FILTER, batch=FLAG)]}
_PARAMETER = keys(
    ["name"],
    name=TEXT,
    displayName=TEXT,
    type=one_of("string", "boolean", "number", "object"),
    default=ANY,
    values=each(ANY),
)
_STAGE = keys(
    ["stage", "jobs"],
    stage=TEXT,
    displayName=TEXT,
    dependsOn=_DEPENDS,
    condition=TEXT,
    variables=ANY,
    pool=_POOL,
    jobs=each(ANY),
)
_VARIABLE = {"anyOf": [keys(["group"], group=TEXT), keys(["name", "value"], name=TEXT, value=TEXT)]}
PIPELINE = keys(
    [], trigger=_TRIGGER, pr=_TRIGGER, pool=_POOL, variables=each(_VARIABLE), parameters=each(_PARAMETER), name=TEXT,
    stages=each(_STAGE), jobs=each(ANY), steps=each(ANY), schedules=ANY, resources=ANY,
)  # fmt: skip

_INTERVALS = one_of("daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "cron")
_GROUP = keys([], patterns=each(TEXT), update__types=each(one_of("major", "minor", "patch")), applies__to=TEXT)
_GROUP["properties"] |= {"exclude-patterns": each(TEXT), "dependency-type": one_of("production", "development")}
_UPDATE = keys(
    ["package-ecosystem", "schedule"],
    package__ecosystem=one_of("github-actions", "pip", "uv", "terraform", "npm", "docker", "devcontainers"),
    directory=TEXT,
    directories=each(TEXT),
    schedule=keys(["interval"], interval=_INTERVALS, day=TEXT, time=TEXT, timezone=TEXT, cronjob=TEXT),
    groups={"type": "object", "additionalProperties": _GROUP},
    open__pull__requests__limit=NUMBER,
    **dict.fromkeys(("allow", "ignore", "labels", "assignees"), each(ANY)),
    **dict.fromkeys(("cooldown", "commit-message"), MAP),
)
_UPDATE["anyOf"] = [{"required": ["directory"]}, {"required": ["directories"]}]
DEPENDABOT = keys(["version", "updates"], version=one_of(2), updates=each(_UPDATE), registries=MAP)


def said(schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    for error in Draft202012Validator(schema).iter_errors(value):
        yield f"{where}: {error.json_path}: {error.message}"


def faults(root: Path) -> list[str]:
    """What Azure DevOps and dependabot would say to the files of a project, a line each."""
    found: list[str] = []
    for path in sorted((root / "azure-pipelines").rglob("*.yml")):
        document = yaml.safe_load(path.read_text())
        found += said(PIPELINE, document, path.name)
        for stage in document.get("stages") or [document]:
            for job in stage.get("jobs") or [stage]:
                found += _job(job, path)
    dependabot = root / ".github" / "dependabot.yml"
    found += said(DEPENDABOT, yaml.safe_load(dependabot.read_text()), dependabot.name)
    return found


def _job(job: dict[str, Any], path: Path) -> Iterator[str]:
    if ("trigger" not in job and "parameters" not in job) or "template" in job:
        kind = next((name for name in _JOBS if name in job), None)
        if kind is None:
            yield f"{path.name}: a job that is none of {', '.join(_JOBS)}"
            return
        yield from said(_JOBS[kind], job, path.name)
        if kind == "template":
            yield from _template(job, path)
            return
    deploy = job.get("strategy", {}).get("runOnce", {}).get("deploy", {})
    for step in [*job.get("steps", []), *deploy.get("steps", [])]:
        kind = next((name for name in _STEPS if name in step), None)
        if kind is None:
            yield f"{path.name}: a step that is none of {', '.join(_STEPS)}: {sorted(step)}"
            continue
        yield from said(_STEPS[kind], step, path.name)
        if kind == "task" and step["task"] in TASKS:
            yield from said(TASKS[step["task"]], step.get("inputs"), f"{path.name}: {step['task']}")
        if kind == "template":
            yield from _template(step, path)


def _template(use: dict[str, Any], path: Path) -> Iterator[str]:
    """A template is there, takes what it is given, and is given what it wants."""
    file = path.parent / use["template"]
    if not file.exists():
        yield f"{path.name}: there is no {use['template']}"
        return
    known = {each["name"]: each for each in yaml.safe_load(file.read_text()).get("parameters", [])}
    given = use.get("parameters", {})
    yield from (f"{path.name}: {use['template']} takes no {name}" for name in given.keys() - known.keys())
    wanted = {name for name, parameter in known.items() if "default" not in parameter}
    yield from (f"{path.name}: {use['template']} wants {name}" for name in wanted - given.keys())


def test_the_files_say_what_is_known() -> None:
    assert faults(ROOT) == []


# What is planted: the file, what it says, what it says instead, and what must be said to it.
_STEP_FILE, _JOBS_FILE = "azure-pipelines/templates/deploy-step.yml", "azure-pipelines/templates/test-jobs.yml"
PLANTED = {
    "an input of a task": (_STEP_FILE, "scriptLocation:", "scriptLocations:", "scriptLocations"),
    "a value of an input": (_STEP_FILE, "scriptType: bash", "scriptType: sh", "'sh'"),
    "a task": (_STEP_FILE, "AzureCLI@2", "AzureCli@2", "AzureCli@2"),
    "a key of a step": (_STEP_FILE, "    env:", "    envs:", "envs"),
    "an input that is wanted": (_JOBS_FILE, 'versionSpec: "3.13"', "addToPath: true", "versionSpec"),
    "a key of a job": (_JOBS_FILE, "timeoutInMinutes: 40", "timeoutMinutes: 40", "timeoutMinutes"),
    "a key of a checkout": (_JOBS_FILE, "persistCredentials", "persistCredential", "persistCredential"),
    "a kind of step": (_JOBS_FILE, "- script: make check\n", "- run: make check\n", "a step that is none of"),
    "a kind of job": ("azure-pipelines/deploy.yml", "- deployment: deploy", "- deploy: deploy", "a job that is none"),
    "a key of a stage": ("azure-pipelines/deploy.yml", "dependsOn: test", "dependOn: test", "dependOn"),
    "a key of the file": ("azure-pipelines/test.yml", "trigger:", "triggers:", "triggers"),
    "a template": ("azure-pipelines/test.yml", "templates/test-jobs.yml", "templates/tests.yml", "there is no"),
    "a parameter": ("azure-pipelines/deploy.yml", "arguments: --what-if", "argument: --what-if", "takes no argument"),
    "a parameter less": ("azure-pipelines/deploy.yml", "connection: $(SERVICE_CONNECTION)\n", "\n", "wants connection"),
    "a strategy": ("azure-pipelines/deploy.yml", "runOnce:", "runonce:", "runonce"),
    "a key of dependabot's": (".github/dependabot.yml", "interval: weekly", "intervall: weekly", "intervall"),
    "a value of dependabot's": (".github/dependabot.yml", "interval: monthly", "interval: month", "'month'"),
    "an ecosystem": (".github/dependabot.yml", "ecosystem: pip", "ecosystem: pypi", "'pypi'"),
    "a version": (".github/dependabot.yml", "version: 2", "version: 3", "version"),
    "a key of a group": (".github/dependabot.yml", "patterns:", "pattern:", "pattern"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    file, written, instead, named = PLANTED[fault]
    for folder in ("azure-pipelines", ".github"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    plant(tmp_path / file, written, instead)

    found = faults(tmp_path)

    assert any(named in line for line in found), found
