"""infra/bicep and infra/terraform create the same: resources, settings, role assignments and their scopes.

Terraform's side is its own plan; Bicep's is what the evaluator of the unit tests makes of the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.infra.azurerm import Instance, answers, create
from tests.infra.terraform import Refused, Terraform, running
from tests.unit.infra_bicep import Parameter, Template, read_parameters
from tests.unit.infra_resources import Resource, differences, plain, tree_of
from tests.unit.infra_scenarios import BICEP_ONLY, INFRA, REFUSED, REQUIRED, SCENARIOS, VALUES, snake, variables

# What azurerm cannot make as it is wanted.
OF_AZAPI = ("Microsoft.Web/sites", "Microsoft.DurableTask/")


def compare(terraform: Terraform, infra: Path, scenario: dict[str, Any]) -> list[str]:
    """What differs between the two templates, outputs included."""
    return differences(bicep(infra, scenario), tree(terraform.plan(infra / "terraform", variables(scenario))))


@pytest.fixture(scope="module")
def terraform() -> Iterator[Terraform]:
    # Paths of sockets have to be short, and pytest's own are long.
    with TemporaryDirectory() as folder, running(Path(folder), answers) as started:
        yield started


def bicep(infra: Path, scenario: dict[str, Any]) -> dict[str, Any]:
    template = Template(infra / "bicep" / "main.bicep", REQUIRED | scenario)
    resources, outputs = template.create(), {name: value() for name, value in template.outputs.items()}
    return tree_of(resources) | {"outputs": plain(outputs), "versions": versions(resources)}


def tree(plan: dict[str, Any]) -> dict[str, Any]:
    resources, outputs = create(plan)
    return tree_of(resources) | {"outputs": outputs, "versions": versions(resources)}


def versions(resources: list[Resource]) -> dict[str, str]:
    """The API's version of what Terraform sends through azapi; azurerm chooses its own."""
    return {" ".join(each.key): each.version for each in resources if each.type.startswith(OF_AZAPI)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_templates_create_the_same(terraform: Terraform, infra: Path, scenario: str) -> None:
    assert compare(terraform, infra, SCENARIOS[scenario]) == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_the_plan_had_otherwise_would_be_seen(terraform: Terraform, module: Path, scenario: str) -> None:
    plan = terraform.plan(module, variables(SCENARIOS[scenario]))
    left = bicep(INFRA, SCENARIOS[scenario])
    unseen = [place for place in otherwise(plan) if not is_seen(left, plan)]

    assert unseen == []


def is_seen(left: dict[str, Any], plan: dict[str, Any]) -> bool:
    try:
        return bool(differences(left, tree(plan)))
    except (ValueError, KeyError):
        return True


def otherwise(plan: dict[str, Any]) -> Iterator[str]:
    """Give the plan another value at each place of its resources' arguments in turn, and say at which."""
    for resource in plan["planned_values"]["root_module"]["resources"]:
        written = Instance(resource["type"], resource["address"], resource["values"]).arguments().keys()
        # Names that nothing refers to, what has been handed on already, and how long Terraform itself waits.
        nameless = {"name"} if resource["type"] == "azurerm_application_insights_workbook" else set()
        silent = {name for name, value in resource["values"].items() if value is None}
        for name in sorted((written | silent) - {"response_export_values", "timeouts"} - nameless):
            for place in _otherwise(resource["values"], name):
                yield f"{resource['address']}.{place}"


def _otherwise(holder: Any, key: Any) -> Iterator[str]:
    value = holder[key]
    if isinstance(value, dict | list) and value:
        for inner in value if isinstance(value, dict) else range(len(value)):
            for place in _otherwise(value, inner):
                yield f"{key}.{place}"
        return
    if value is None or value in ([], {}):
        # What is not written might be: a mute, an override, one more on a list.
        holder[key] = ["-"] if value == [] else {"-": "-"} if value == {} else "-"
    else:
        holder[key] = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"{value}-"
    yield str(key)
    holder[key] = value


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
def test_a_planted_difference_is_found(terraform: Terraform, infra: Path, difference: str) -> None:
    file, written, instead, named = PLANTED[difference]
    text = (infra / file).read_text()
    assert text.count(written) == 1
    (infra / file).write_text(text.replace(written, instead))

    found = compare(terraform, infra, SCENARIOS["everything"]) + compare(terraform, infra, {})

    assert found, "the planted difference was not found"
    assert any(named in line for line in found)


@pytest.mark.parametrize(
    ("file", "resource", "argument"),
    [
        ("storage.tf", "azurerm_storage_account", "sftp_enabled = true"),
        ("network.tf", "azurerm_virtual_network", 'edge_zone = "one"'),
        ("access.tf", "azurerm_role_assignment", 'condition = "one"'),
        ("alerts.tf", "azurerm_monitor_scheduled_query_rules_alert_v2", 'mute_actions_after_alert_duration = "PT6H"'),
    ],
)
def test_an_argument_that_nobody_has_thought_about_is_an_error(
    terraform: Terraform, module: Path, file: str, resource: str, argument: str
) -> None:
    text = (module / file).read_text()
    (module / file).write_text(re.sub(rf'resource "{resource}" .*', rf"\g<0>\n{argument}", text, count=1))

    with pytest.raises(ValueError, match=f"{argument.split()[0]} is not understood"):
        compare(terraform, module.parent, SCENARIOS["everything"])


def test_both_templates_take_the_same_parameters(terraform: Terraform, module: Path) -> None:
    parameters = read_parameters(INFRA / "bicep" / "main.bicep")
    types = {"string": "string", "int": "number", "bool": "bool", "object": "map(string)", "array": "list(string)"}
    written = dict(re.findall(r'(?ms)^variable "(\w+)" \{.*?^  type += (\S+)$', (module / "variables.tf").read_text()))
    taken = terraform.plan(module, variables({}))["configuration"]["root_module"]["variables"]

    shared = {name: parameter for name, parameter in parameters.items() if name not in BICEP_ONLY}

    assert [snake(name) for name in shared] == list(written)
    assert written.keys() == taken.keys()
    for name, parameter in shared.items():
        variable = taken[snake(name)]
        assert written[snake(name)] == types[parameter.type], name
        assert variable.get("default", parameter.default) == parameter.default, name
        assert ("default" not in variable) == parameter.required, name
        assert variable["description"] == terraform_words(parameter, parameters), name


def terraform_words(parameter: Parameter, parameters: dict[str, Parameter]) -> str:
    """A description as Terraform says it: parameters are named in its own way."""
    text = str(parameter.decorators["description"]).removesuffix(" `azd` calls it the environment.")
    for name in parameters:
        text = text.replace(f"`{name}`", f"`{snake(name)}`")
    return text.replace("→", "=>")


def refused(terraform: Terraform, module: Path, values: dict[str, Any]) -> dict[str, str]:
    """What Terraform says to values for its variables, by variable."""
    try:
        terraform.plan(module, values)
    except Refused as refusal:
        return {_variable(module, each["detail"]): each["detail"] for each in refusal.diagnostics}
    return {}


def _variable(module: Path, detail: str) -> str:
    """The variable whose rule has refused a value: Terraform says the line of the rule."""
    (line,) = re.findall(r"rule at variables\.tf:(\d+)", detail)
    before = (module / "variables.tf").read_text().splitlines()[: int(line)]
    return str(re.findall(r'(?m)^variable "(\w+)"', "\n".join(before))[-1])


def rounds(values: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """A value of each parameter at a time, until all have been given: a plan takes its time."""
    for which in zip_longest(*values.values()):
        yield {name: value for name, value in zip(values, which, strict=True) if value is not None}


def test_both_templates_refuse_the_same_values(terraform: Terraform, module: Path) -> None:
    parameters = read_parameters(INFRA / "bicep" / "main.bicep")
    tried = {name: probes(parameter) for name, parameter in parameters.items() if name not in BICEP_ONLY}

    for expected in (True, False):
        values = {name: [value for value, allowed in probed if allowed is expected] for name, probed in tried.items()}
        assert sum(map(len, values.values())) > 10
        # Terraform passes over rules that name a variable which is refused: those of this one name the most instances.
        alone = {"alwaysReadyInstances": values.pop("alwaysReadyInstances")}
        for given in [*rounds(values), *rounds(alone)]:
            found = refused(terraform, module, variables(given))
            assert found.keys() == (set() if expected else {snake(name) for name in given}), given


def test_both_templates_take_the_same_values(terraform: Terraform, module: Path) -> None:
    for needs in {str(values.needs): values.needs for values in VALUES.values()}.values():
        for given in rounds({name: values.taken for name, values in VALUES.items() if values.needs == needs}):
            assert refused(terraform, module, variables(needs | given)) == {}, given


def test_both_templates_refuse_what_azure_would_turn_away(terraform: Terraform, module: Path) -> None:
    for needs in {str(values.needs): values.needs for values in VALUES.values()}.values():
        for given in rounds({name: values.refused for name, values in VALUES.items() if values.needs == needs}):
            found = refused(terraform, module, variables(needs | given))
            # What stands beside a value of another parameter that is refused may be refused for it.
            assert {snake(name) for name in given} - found.keys() == set(), given


@pytest.mark.parametrize("combination", REFUSED)
def test_what_would_not_work_is_refused_before_anything_is_created(
    terraform: Terraform, module: Path, combination: str
) -> None:
    values, named = REFUSED[combination]

    found = refused(terraform, module, variables(values))

    assert any(snake(named) in text for text in found.values()), found


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
