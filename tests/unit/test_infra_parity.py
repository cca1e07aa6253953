"""infra/bicep and infra/terraform create the same: resources, settings, role assignments and their scopes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.infra_azurerm import create
from tests.unit.infra_bicep import Parameter, Template, read_parameters, read_values
from tests.unit.infra_resources import differences, plain, tree_of
from tests.unit.infra_scenarios import BICEP_ONLY, CLIENT_ID, INFRA, REFUSED, REQUIRED, SCENARIOS, SQL_SERVER_ID, snake
from tests.unit.infra_terraform import Module


def compare(infra: Path, scenario: dict[str, Any]) -> list[str]:
    """What differs between the two templates, outputs included."""
    values = REQUIRED | scenario
    template = Template(infra / "bicep" / "main.bicep", values)
    given = {snake(name): value for name, value in values.items() if name not in BICEP_ONLY}
    resources, module = create(infra / "terraform", given)
    left = tree_of(template.create()) | {"outputs": plain({name: value() for name, value in template.outputs.items()})}
    right = tree_of(resources) | {"outputs": plain({name: module.output(name) for name in module.outputs})}
    return differences(left, right)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_templates_create_the_same(scenario: str) -> None:
    assert compare(INFRA, SCENARIOS[scenario]) == []


# what is planted: the file, what it says, what it says instead, and what the comparison must name
PLANTED = {
    "a key is allowed": (
        "terraform/storage.tf",
        "shared_access_key_enabled        = false",
        "shared_access_key_enabled = true",
        "allowSharedKeyAccess",
    ),
    "a wider scope": (
        "terraform/access.tf",
        "scope              = azurerm_application_insights.main.id",
        "scope = azurerm_resource_group.main.id",
        "roleAssignments",
    ),
    "a wider scope in Bicep": (
        "bicep/modules/access.bicep",
        "  scope: component\n",
        "",
        "roleAssignments",
    ),
    "another role": (
        "bicep/modules/access.bicep",
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        "00000000-b9d0-4cc4-a60d-0319b160aaa3",
        "roleAssignments",
    ),
    "a setting less": (
        "bicep/main.bicep",
        "  LAKE_CREDENTIAL: 'managed_identity'\n",
        "",
        "LAKE_CREDENTIAL",
    ),
    "a setting's value": (
        "terraform/app.tf",
        'PYTHON_THREADPOOL_THREAD_COUNT = "16"',
        'PYTHON_THREADPOOL_THREAD_COUNT = "8"',
        "PYTHON_THREADPOOL_THREAD_COUNT",
    ),
    "another Python": (
        "terraform/app.tf",
        'version = "3.13"',
        'version = "3.12"',
        "runtime/version",
    ),
    "a default": (
        "terraform/variables.tf",
        "default     = 2048",
        "default     = 4096",
        "instanceMemoryMB",
    ),
    "a publisher's password": (
        "terraform/app.tf",
        'toset(["scm", "ftp"])',
        'toset(["scm"])',
        "basicPublishingCredentialsPolicies",
    ),
    "an open vault": (
        "bicep/modules/vault.bicep",
        "publicNetworkAccess: firewall.publicNetworkAccess",
        "publicNetworkAccess: 'Enabled'",
        "publicNetworkAccess",
    ),
    "an open scheduler": (
        "terraform/scheduler.tf",
        'publicNetworkAccess = var.private_network ? "Disabled" : "Enabled"',
        'publicNetworkAccess = "Enabled"',
        "publicNetworkAccess",
    ),
    "a scheduler without its endpoint": (
        "bicep/main.bicep",
        "if (privateNetwork && durableTaskScheduler) {",
        "if (false) {",
        "pep-scheduler",
    ),
    "a subnet without its gateway": (
        "bicep/modules/network.bicep",
        "          natGateway: { id: gateway.id }\n",
        "",
        "natGateway",
    ),
    "a log less": (
        "terraform/audit.tf",
        'categories = ["Audit"]',
        'categories = ["SummaryLogs"]',
        "Microsoft.OperationalInsights/workspaces",
    ),
    "a port of the internet": (
        "terraform/network.tf",
        'name = "https", to = "Internet", ports = ["443"]',
        'name = "https", to = "Internet", ports = ["443", "80"]',
        "destinationPortRanges",
    ),
    "an output": (
        "terraform/outputs.tf",
        '"HYGGE_IDENTITY_NAME"',
        '"IDENTITY_NAME"',
        "outputs/HYGGE_IDENTITY_NAME",
    ),
    "an alert's threshold": (
        "bicep/modules/alerts.bicep",
        "threshold: 10",
        "threshold: 100",
        "threshold",
    ),
}


@pytest.mark.parametrize("difference", PLANTED)
def test_a_planted_difference_is_found(difference: str, tmp_path: Path) -> None:
    file, written, instead, named = PLANTED[difference]
    infra = tmp_path / "infra"
    shutil.copytree(INFRA, infra)
    text = (infra / file).read_text()
    assert text.count(written) == 1
    (infra / file).write_text(text.replace(written, instead))

    found = compare(infra, SCENARIOS["everything"]) + compare(infra, {})

    assert found, "the planted difference was not found"
    assert any(named in line for line in found)


@pytest.mark.parametrize("file", ["terraform/storage.tf", "terraform/network.tf"])
def test_an_argument_that_nobody_has_thought_about_is_an_error(file: str, tmp_path: Path) -> None:
    infra = tmp_path / "infra"
    shutil.copytree(INFRA, infra)
    text = (infra / file).read_text()
    (infra / file).write_text(
        text.replace(
            "  location            = var.location\n", "  location = var.location\n  sftp_enabled = true\n"
        ).replace(
            "  location                         = var.location\n", "  location = var.location\n  sftp_enabled = true\n"
        )
    )

    with pytest.raises(ValueError, match="sftp_enabled is not understood"):
        compare(infra, SCENARIOS["everything"])


def test_both_templates_take_the_same_parameters() -> None:
    parameters = read_parameters(INFRA / "bicep" / "main.bicep")
    module = Module(INFRA / "terraform", {}, lambda instance, name: None)
    types = {"string": "string", "int": "number", "bool": "bool", "object": "map(string)", "array": "list(string)"}

    shared = {name: parameter for name, parameter in parameters.items() if name not in BICEP_ONLY}

    assert [snake(name) for name in shared] == list(module.variables)
    for name, parameter in shared.items():
        block = module.variables[snake(name)]
        written = dict(block.attributes())
        assert "".join(str(token) for token in written["type"].scan_values(lambda _: True)) == types[parameter.type], (
            name
        )
        assert ("default" not in written) == parameter.required, name
        if not parameter.required:
            assert module.evaluate(written["default"], {}) == parameter.default, name
        described = module.evaluate(written["description"], {})
        assert described == terraform_words(parameter, parameters), name


def test_a_variable_that_is_not_set_means_the_templates_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = INFRA / "bicep" / "main.bicepparam"
    for name in re.findall(r"readEnvironmentVariable\('(\w+)'", file.read_text()):
        monkeypatch.delenv(name, raising=False)
    parameters = read_parameters(INFRA / "bicep" / "main.bicep")

    given = read_values(file, tmp_path)

    assert {name: value for name, value in given.items() if not parameters[name].required} == {
        name: parameters[name].default for name in given if not parameters[name].required
    }


def test_a_variable_holds_a_list_with_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTRA_ALLOWED_CLIENTS", f"{CLIENT_ID}, {SQL_SERVER_ID},")

    given = read_values(INFRA / "bicep" / "main.bicepparam", tmp_path)

    assert given["entraAllowedClients"] == [CLIENT_ID, SQL_SERVER_ID]


def terraform_words(parameter: Parameter, parameters: dict[str, Parameter]) -> str:
    """A description as Terraform says it: parameters are named in its own way."""
    text = str(parameter.decorators["description"]).removesuffix(" `azd` calls it the environment.")
    for name in parameters:
        text = text.replace(f"`{name}`", f"`{snake(name)}`")
    return text.replace("→", "=>")


def test_both_templates_refuse_the_same_values() -> None:
    for name, parameter in read_parameters(INFRA / "bicep" / "main.bicep").items():
        for value, allowed in probes(parameter) if name not in BICEP_ONLY else []:
            module = Module(INFRA / "terraform", {snake(name): value}, lambda instance, attribute: None)
            rules = [block.attribute("condition") for block in module.variables[snake(name)].blocks()]
            assert all(module.evaluate(rule, {}) for rule in rules) == allowed, (name, value)


@pytest.mark.parametrize("combination", REFUSED)
def test_what_would_not_work_is_refused_before_anything_is_created(combination: str) -> None:
    values, named = REFUSED[combination]

    with pytest.raises(ValueError, match=named):
        Template(INFRA / "bicep" / "main.bicep", REQUIRED | values).create()
    assert any(snake(named) in text for text in refusals(REQUIRED | values))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_works_is_not_refused(scenario: str) -> None:
    assert refusals(REQUIRED | SCENARIOS[scenario]) == []


def refusals(values: dict[str, Any]) -> list[str]:
    """What Terraform says to values for its variables."""
    module = Module(INFRA / "terraform", {snake(name): value for name, value in values.items()}, lambda *_: None)
    return [
        module.evaluate(written["error_message"], {})
        for variable in module.variables.values()
        for written in (dict(rule.attributes()) for rule in variable.blocks())
        if not module.evaluate(written["condition"], {})
    ]


def test_the_zone_of_a_managed_instance_has_its_prefix() -> None:
    made = tree_of(Template(INFRA / "bicep" / "main.bicep", REQUIRED | SCENARIOS["managed instance"]).create())
    zones = {key.split()[1] for key in made if key.startswith("Microsoft.Network/privateDnsZones ")}

    assert "privatelink.a1b2c3d4e5f6.database.windows.net" in zones
    assert "privatelink.database.windows.net" not in zones


@pytest.mark.parametrize(
    ("given", "warm"),
    [
        ({}, 0),
        ({"durableTaskScheduler": True}, 1),
        ({"durableTaskScheduler": True, "zoneRedundant": True}, 2),
        ({"durableTaskScheduler": True, "alwaysReadyInstances": 0}, 0),
        ({"alwaysReadyInstances": 3}, 3),
    ],
)
def test_the_scheduler_gets_an_instance_that_is_always_ready(given: dict[str, Any], warm: int) -> None:
    assert compare(INFRA, given) == []
    made = tree_of(Template(INFRA / "bicep" / "main.bicep", REQUIRED | given).create())
    (site,) = (body for key, body in made.items() if key.startswith("Microsoft.Web/sites "))
    ready = site["properties"]["functionAppConfig"]["scaleAndConcurrency"]["alwaysReady"]

    assert ready == ([{"name": "durable", "instanceCount": warm}] if warm else [])


def probes(parameter: Parameter) -> list[tuple[Any, bool]]:
    """Values at the edges of what Bicep allows, and whether it does."""
    rules = parameter.decorators
    if "allowed" in rules:
        outside: Any = 1 if parameter.type == "int" else "no such thing"
        return [(outside, False), *((value, True) for value in rules["allowed"])]
    found: list[tuple[Any, bool]] = []
    if "minValue" in rules:
        found += [(rules["minValue"], True), (rules["minValue"] - 1, False)]
    if "maxValue" in rules:
        found += [(rules["maxValue"], True), (rules["maxValue"] + 1, False)]
    if "maxLength" in rules:
        found += [("x" * rules["maxLength"], True), ("x" * (rules["maxLength"] + 1), False)]
    return found
