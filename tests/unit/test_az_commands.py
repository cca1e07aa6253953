"""The `az` commands of pages, scripts and pipelines are ones that the Azure CLI takes.

What it takes is in az_commands.json, which ``make check-infra`` compares with the Azure CLI itself.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scripts.az_commands import TABLE, Written, command_of, faults, shell_commands, written
from tests.support.planted import plant
from tests.unit.infra_scenarios import INFRA

ROOT = INFRA.parent
COMMANDS = json.loads(TABLE.read_text())["commands"]


def test_every_command_is_one_of_the_azure_cli() -> None:
    assert [fault for command in written() for fault in faults(command, COMMANDS)] == []


def test_commands_are_found_everywhere() -> None:
    found = written()
    names = {command_of(each.words, COMMANDS) for each in found}

    assert names == COMMANDS.keys(), "the table has what is written, and nothing else"
    assert {each.where for each in found} >= {
        "docs/deploy/az.md",
        "docs/deploy/pipelines.md",
        "infra/scripts/deploy.sh",
        "infra/scripts/publish.py",
        "infra/scripts/fabric.py",
        "infra/bicep/main.bicep",
        "infra/terraform/variables.tf",
        ".github/workflows/test.yml",
        "azure-pipelines/templates/test-jobs.yml",
    }


# What is planted: the file, what it says, what it says instead, and what must be said to it.
PLANTED = {
    "an option of a page": ("docs/deploy/az.md", "az account set --subscription", "az account set --sub", "--sub"),
    "an option within another command": (
        "docs/deploy/pipelines.md",
        '$(az identity show --resource-group rg-deploy --name "id-$1"',
        '$(az identity show --resource-group rg-deploy --names "id-$1"',
        "--names",
    ),
    "an option that a function hands on": (
        "docs/deploy/pipelines.md",
        "--condition-version 2.0",
        "--condition-versions 2.0",
        "--condition-versions",
    ),
    "what a command that deletes wants": (
        "docs/deploy/az.md",
        'az group delete --name "rg-$AZURE_ENV_NAME"',
        "az group delete",
        "wants --name",
    ),
    "an option that prose names": ("docs/threat-model.md", "--key-name _master", "--key _master", "--key"),
    "a command": ("docs/operations.md", "az functionapp keys set", "az functionapp key set", "no such command"),
    "a command of a script": (
        "infra/scripts/deploy.sh",
        "az deployment sub show",
        "az deployments sub show",
        "no such",
    ),
    "an option of a script": (
        "infra/scripts/deploy.sh",
        "--build-remote true",
        "--remote-build true",
        "--remote-build",
    ),
    "a value of a script": ("infra/scripts/deploy.sh", "ProviderNoRbac", "ProviderNoRBACs", "not ProviderNoRBACs"),
    "an option in Python": (
        "infra/scripts/publish.py",
        '"account", "get-access-token", "--query"',
        '"account", "x"',
        "no",
    ),
    "an option of a list in Python": ("infra/scripts/fabric.py", '"--resource"', '"--resources"', "--resources"),
    "a value": ("docs/operations.md", "--key-type functionKeys", "--key-type function", "not function"),
    "a format": (
        "docs/deploy/azd.md",
        "functionKeys.default --output tsv",
        "functionKeys.default --output text",
        "text",
    ),
    "what a command wants": (
        "docs/deploy/pipelines.md",
        'az identity create --resource-group rg-deploy --name "id-$name"',
        'az identity create --name "id-$name"',
        "wants --resource-group",
    ),
    "a step of GitHub's": (".github/workflows/test.yml", "az bicep lint --file", "az bicep lint --path", "--path"),
    "a step of Azure's": (
        "azure-pipelines/templates/test-jobs.yml",
        "az bicep lint --file",
        "az bicep lint --f",
        "--f",
    ),
    "a description": ("infra/bicep/main.bicep", "list-flexconsumption-locations", "list-flex-locations", "no such"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    file, before, after, named = PLANTED[fault]
    for folder in ("infra", "azure-pipelines", ".github"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("README.md", "CONTRIBUTING.md", "docs/deploy/az.md", file):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    plant(tmp_path / file, before, after)

    found = [fault for command in written(tmp_path) for fault in faults(command, COMMANDS)]

    assert {fault.partition(": ")[0] for fault in found} == {file}
    assert any(named in fault for fault in found), found


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("az login", [["az", "login"]]),
        ("a \\\n  --b c", [["a", "--b", "c"]]),
        ("a `\n  --b c", [["a", "--b", "c"]]),
        ("a 'b c' \"d 'e'\"", [["a", "b c", "d 'e'"]]),
        ('a "b $(c --d "e f") g" h', [["c", "--d", "e f"], ["a", "b $ g", "h"]]),
        ("x=$(a --b); c | d && e", [["a", "--b"], ["x=$"], ["c"], ["d"], [], ["e"]]),
        ("a # b 'c\nd", [["a"], ["d"]]),
        ('a ${b:+--c "$b"} "${d:-e}"', [["a", "--c", "$b", "${d:-e}"]]),
        ('f() { a "$1"; }', [["f"], [], ["a", "$1"], []]),
        ('a "{\\"b\\": [1]}"', [["a", '{"b": [1]}']]),
        ("a '\\'", [["a", "\\"]]),
    ],
)
def test_a_shell_text_is_read_as_a_shell_reads_it(text: str, commands: list[list[str]]) -> None:
    assert [words for words in shell_commands(text) if words] == [words for words in commands if words]


def test_what_a_command_takes_is_asked_of_the_longest_name() -> None:
    table = {"a": {"options": {}, "required": []}, "a b": {"options": {"--c": ["X", "y"]}, "required": [["--c"]]}}

    assert faults(Written("page", ("a", "b", "--c=x"), whole=True), table) == []
    assert faults(Written("page", ("a", "b", "--c", "$x", "--output", "TABLE"), whole=True), table) == []
    assert faults(Written("page", ("a", "b"), whole=False), table) == []
    assert faults(Written("page", ("a", "b"), whole=True), table) == ["page: az a b wants --c"]
    assert faults(Written("page", ("b",), whole=False), table) == ["page: az b: there is no such command"]
