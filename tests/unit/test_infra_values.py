"""Values of infra/ that Azure takes one of a few for, though its published types allow any text.

The two templates are held against each other elsewhere: what is wrong in both would pass there.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.planted import plant
from tests.unit.infra_bicep import Parameter, Template, read_parameters
from tests.unit.infra_facts import APP_SETTINGS, FACTS, LARGEST, LIMITS, facts_that_fail, terraform_that_fails
from tests.unit.infra_resources import plain
from tests.unit.infra_scenarios import INFRA, REQUIRED, SCENARIOS, snake
from tests.unit.infra_written import written

ROOT = INFRA.parent

# azurerm's reference of azurerm_monitor_scheduled_query_rules_alert_v2, evaluation_frequency and window_duration.
FREQUENCIES = (
    [f"PT{minutes}M" for minutes in (1, 5, 10, 15, 30, 45)] + [f"PT{hours}H" for hours in range(1, 7)] + ["P1D"]
)
WINDOWS = [*FREQUENCIES, "P2D"]

# Microsoft Learn, "Azure Private Endpoint private DNS zone values": what an endpoint leads to, its group, its zones.
_STORAGE = "Microsoft.Storage/storageAccounts"
ENDPOINTS = {
    (_STORAGE, "blob"): [r"privatelink\.blob\.core\.windows\.net"],
    (_STORAGE, "queue"): [r"privatelink\.queue\.core\.windows\.net"],
    (_STORAGE, "table"): [r"privatelink\.table\.core\.windows\.net"],
    ("Microsoft.KeyVault/vaults", "vault"): [r"privatelink\.vaultcore\.azure\.net"],
    ("Microsoft.DurableTask/schedulers", "scheduler"): [r"privatelink\.durabletask\.io"],
    ("Microsoft.Sql/servers", "sqlServer"): [r"privatelink\.database\.windows\.net"],
    ("Microsoft.Sql/managedInstances", "managedInstance"): [r"privatelink\.[0-9a-f]{12}\.database\.windows\.net"],
    ("Microsoft.Web/sites", "sites"): [r"privatelink\.azurewebsites\.net"],
    ("Microsoft.Insights/privateLinkScopes", "azuremonitor"): [
        r"privatelink\.monitor\.azure\.com",
        r"privatelink\.oms\.opinsights\.azure\.com",
        r"privatelink\.ods\.opinsights\.azure\.com",
        r"privatelink\.agentsvc\.azure-automation\.net",
        r"privatelink\.blob\.core\.windows\.net",
    ],
}

# Microsoft Learn, "Azure Functions Flex Consumption plan hosting": what a subnet is delegated to, and what runs.
DELEGATION = "Microsoft.App/environments"
PYTHON = ["3.10", "3.11", "3.12", "3.13"]
MEMORY = [512, 2048, 4096]


def faults(infra: Path, scenario: dict[str, Any]) -> Iterator[str]:
    """What Azure would not take of a scenario's resources, a line for each."""
    made = Template(infra / "bicep" / "main.bicep", REQUIRED | scenario).create()
    yield from facts_that_fail(made)
    zones = {each.name for each in made if each.type == "Microsoft.Network/privateDnsZones"}
    for resource in made:
        properties: Any = plain(resource.body).get("properties", {})
        match resource.type:
            case "Microsoft.Insights/scheduledQueryRules":
                frequency, window = properties["evaluationFrequency"], properties["windowSize"]
                if frequency not in FREQUENCIES or window not in WINDOWS:
                    yield f"{resource.name}: looks every {frequency} at {window}"
                elif WINDOWS.index(window) < FREQUENCIES.index(frequency):
                    yield f"{resource.name}: looks at {window} every {frequency}, and misses what is between"
            case "Microsoft.Network/privateEndpoints":
                (connection,) = properties["privateLinkServiceConnections"]
                target, groups = connection["properties"]["privateLinkServiceId"], connection["properties"]["groupIds"]
                type_ = re.search(r"(Microsoft\.\w+/\w+)", target)
                if type_ is None or (type_[1], *groups) not in ENDPOINTS:
                    yield f"{resource.name}: {target} has no group {groups}"
                    continue
                wanted = ENDPOINTS[type_[1], groups[0]]
                for pattern in wanted:
                    if not any(re.fullmatch(pattern, zone) for zone in zones):
                        yield f"{resource.name}: no zone {pattern}"
                (records,) = (
                    each
                    for each in made
                    if each.type == "Microsoft.Network/privateEndpoints/privateDnsZoneGroups"
                    and each.name.startswith(f"{resource.name}/")
                )
                named = [each["name"] for each in plain(records.body)["properties"]["privateDnsZoneConfigs"]]
                if len(named) != len(wanted) or not all(
                    any(re.fullmatch(pattern, name) for name in named) for pattern in wanted
                ):
                    yield f"{resource.name}: records in {named}"
            case "Microsoft.Network/virtualNetworks":
                services = {
                    subnet["name"]: [
                        each["properties"]["serviceName"] for each in subnet["properties"].get("delegations", [])
                    ]
                    for subnet in properties["subnets"]
                }
                if services != {"snet-app": [DELEGATION], "snet-endpoints": []}:
                    yield f"{resource.name}: {services}"
                yield from (f"{name}: an underscore in a subnet's name" for name in services if "_" in name)
            case "Microsoft.Web/serverfarms":
                sku = plain(resource.body)["sku"]
                if sku != {"name": "FC1", "tier": "FlexConsumption"}:
                    yield f"{resource.name}: {sku}"
            case "Microsoft.Web/sites":
                runtime = properties["functionAppConfig"]["runtime"]
                if runtime["name"] != "python" or runtime["version"] not in PYTHON:
                    yield f"{resource.name}: runs {runtime}"
                if properties["functionAppConfig"]["scaleAndConcurrency"]["instanceMemoryMB"] not in MEMORY:
                    yield f"{resource.name}: has another memory"
    known = [pattern for patterns in ENDPOINTS.values() for pattern in patterns]
    yield from (
        f"{zone}: no private zone of Azure's" for zone in zones if not any(re.fullmatch(k, zone) for k in known)
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_azure_takes_the_values(scenario: str) -> None:
    assert list(faults(INFRA, SCENARIOS[scenario])) == []


# What is planted: the file, what it says, what it says instead, and what must be said to it.
PLANTED = {
    "a window": ("modules/alerts", "window: 'PT15M'", "window: 'PT16M'", "PT16M"),
    "a frequency": ("modules/alerts", "frequency: 'PT5M'", "frequency: 'PT7M'", "PT7M"),
    "a window with gaps": ("modules/alerts", "window: 'PT15M'", "window: 'PT1M'", "misses"),
    "a window that may be chosen": (
        "main",
        "'PT6H', 'P1D', 'P2D'])\nparam noSuccessWindow string = 'PT2H'",
        "'P3D'])\nparam noSuccessWindow string = 'P3D'",
        "P3D",
    ),
    "a group": ("main", "group: 'vault'", "group: 'vaults'", "no group"),
    "a group of storage": ("main", "['blob', 'queue', 'table']", "['blob', 'queues', 'table']", "no group"),
    "a group of the app": ("main", "group: 'sites'", "group: 'site'", "no group"),
    "a zone": ("main", "'privatelink.vaultcore.azure.net'", "'privatelink.vault.azure.net'", "no zone"),
    "a zone of the scheduler": (
        "main",
        "'privatelink.durabletask.io'",
        "'privatelink.durabletask.azure.com'",
        "no zone",
    ),
    "a zone of the monitor": ("main", "'privatelink.ods.opinsights", "'privatelink.dos.opinsights", "no zone"),
    "a record in another zone": ("main", "zoneNames: [appZone]", "zoneNames: [vaultZone]", "records in"),
    "a delegation": ("modules/network", "'Microsoft.App/environments'", "'Microsoft.Web/serverFarms'", "serverFarms"),
    "a Python": ("modules/app", "version: '3.13'", "version: '3.31'", "3.31"),
    "a plan": ("modules/app", "'FC1'", "'FC2'", "FC2"),
    "days that a vault is kept": ("modules/vault", "InDays: 90", "InDays: 91", "softDeleteRetentionInDays"),
    "days that a blob is kept": ("modules/storage", "days: 7", "days: 0", "days"),
    "a container": ("main", "'app-package'", "'app--package'", "containers"),
    "a kind of site": ("modules/app", "'functionapp,linux'", "'functionapp'", "kind"),
    "a kind of credential": ("main", "'managedidentity'", "'managedIdentity'", "AzureWebJobsStorage__credential"),
    "a kind of authorization": ("main", "Authorization=AAD", "Authorization=Aad", "AUTHENTICATION_STRING"),
    "a kind of authentication": ("main", "=ManagedIdentity;", "=Managed;", "SCHEDULER_CONNECTION_STRING"),
    "who fetches the package": ("modules/app", "'UserAssignedIdentity'", "'SystemAssignedIdentity'", "authentication"),
    "a public address": ("modules/network", "sku: { name: 'Standard' }", "sku: { name: 'Basic' }", "sku.name"),
    "a priority": ("modules/network", "priority: 100 + index", "priority: 99 + index", "priority"),
    "a priority that is taken": ("modules/network", "priority: 100 + index", "priority: 100", "two rules"),
    "a service tag": ("main", "to: 'Sql'", "to: 'SQL'", "destinationAddressPrefix"),
    "a severity": ("modules/alerts", "severity: 2", "severity: 5", "severity"),
    "a category of workbooks": ("modules/alerts", "category: 'workbook'", "category: 'sentinel'", "category"),
    "the scheduler's list": ("modules/scheduler", "['0.0.0.0/0']", "['10.0.0.0/8']", "ipAllowlist"),
    "whose list counts for the SCM site": ("modules/app", "UseMain: false", "UseMain: true", "UseMain"),
    "a short name": ("modules/alerts", "'hygge'", "'hygge-engine-loads'", "groupShortName"),
    "who gets a role": ("modules/access", "'ServicePrincipal'", "'User'", "principalType"),
    "a subnet outside": ("modules/network", "[endpointPrefix]", "['10.31.0.0/26']", "is in none of"),
    "days that a deleted blob is kept": (
        "modules/storage",
        "    deleteRetentionPolicy: { enabled: true, days: 7 }",
        "    deleteRetentionPolicy: { enabled: true, days: 1 }",
        "deleteRetentionPolicy.days is 1",
    ),
    "a query that is validated": ("modules/alerts", "QueryValidation: true", "QueryValidation: false", "skipQuery"),
    "an alert that stays": ("modules/alerts", "autoMitigate: true", "autoMitigate: false", "autoMitigate"),
    "an alert at the second failure": ("modules/alerts", "ToAlert: 1", "ToAlert: 2", "failingPeriods"),
    "the workbook's place": ("modules/alerts", "toLower(workspaceId)", "toLower(resourceGroup().id)", "sourceId"),
    "the workbook's place, with capitals": ("modules/alerts", "toLower(workspaceId)", "workspaceId", "sourceId"),
    "the workbook's name": ("modules/alerts", "guid(resourceGroup().id, 'loads')", "'loads'", "'loads'"),
    "who may read logs": ("modules/monitoring", "ResourcePermissions: true", "ResourcePermissions: false", "OnlyRes"),
    "a name that is too long with others": ("main", "'dts-${suffix}'", "'dts-hygge-scheduler-${suffix}'", "schedulers"),
    "a vault with the name of its deployment": ("main", "'kv-${token}'", "'kv-${suffix}'", "vaults"),
    "a network with a long name": ("modules/network", "'vnet-${suffix}'", "'virtual-network-of-${suffix}'", "virtualN"),
    "one name for two roles": (
        "modules/access",
        "name: guid(storage.id, principalId, storageTableDataContributor)",
        "name: guid(storage.id, principalId, storageQueueDataContributor)",
        "its name is",
    ),
    "a role's name without its principal": (
        "modules/access",
        "guid(component.id, principalId, ",
        "guid(component.id, ",
        "its name is",
    ),
    "who reads secrets": (
        "modules/app",
        "keyVaultReferenceIdentity: identityId",
        "keyVaultReferenceIdentity: 'SystemAssigned'",
        "keyVaultReferenceIdentity",
    ),
    "a capacity for nothing": (
        "modules/scheduler",
        "skuName == 'Dedicated' ? { capacity: 1 } : {}",
        "{ capacity: 1 }",
        "sku",
    ),
    "no capacity": ("modules/scheduler", "== 'Dedicated' ? { capacity: 1 }", "== 'dedicated' ? { capacity: 1 }", "sku"),
    "subnets in one another": ("modules/network", "[endpointPrefix]", "[appPrefix]", "overlap"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_value_is_found(fault: str, tmp_path: Path) -> None:
    file, written, instead, named = PLANTED[fault]
    infra = Path(shutil.copytree(INFRA, tmp_path / "infra"))
    plant(infra / "bicep" / f"{file}.bicep", written, instead)

    tried = (SCENARIOS["everything"], SCENARIOS["private"], {"keyVault": True}, {"durableTaskScheduler": True})

    assert any(named in line for scenario in tried for line in faults(infra, scenario))


def test_terraform_writes_the_same_constants() -> None:
    # What a plan of it differs in is found by `make check-infra`, which needs Terraform.
    assert list(terraform_that_fails(INFRA / "terraform")) == []


PLANTED_IN_TERRAFORM = {
    "days that a blob is kept": ("storage", "    delete_retention_policy {\n      days = 7", "days = 7", "days = 1"),
    "a query that is validated": ("alerts", "skip_query_validation   = true", "true", "false"),
    "an alert that stays": ("alerts", "auto_mitigation_enabled = true", "true", "false"),
    "a severity": ("alerts", "severity    = 2", "2", "5"),
    "the workbook's place": (
        "alerts",
        "lower(azurerm_log_analytics_workspace",
        "log_analytics_workspace",
        "resource_group",
    ),
    "the workbook's name": ("alerts", 'uuidv5("url", "${azurerm_resource_group.main.id}/loads")', "uuidv5", "join"),
    "who may read logs": ("monitoring", "allow_resource_only_permissions = true", "true", "false"),
    "a name that is too long with others": ("scheduler", "dts-", "dts-", "dts-hygge-scheduler-"),
    "a vault with the name of its deployment": ("main", '"kv-${local.token}"', "token", "suffix"),
    "who reads secrets": ("app", "Identity = azurerm_user_assigned_identity.app.id", "= azurerm", "= var.azurerm"),
    "a capacity for nothing": (
        "scheduler",
        'var.scheduler_sku == "Dedicated" ? { capacity = 1 } : {}',
        "{}",
        "{ capacity = 1 }",
    ),
    "zones always": ("app", "zone_balancing_enabled = var.zone_redundant", "var.zone_redundant", "true"),
    "a name that is gone": ("scheduler", '"scheduler" {', "scheduler", "planner"),
}


@pytest.mark.parametrize("fault", PLANTED_IN_TERRAFORM)
def test_a_value_planted_in_terraform_is_found(fault: str, tmp_path: Path) -> None:
    file, place, part, instead = PLANTED_IN_TERRAFORM[fault]
    folder = Path(shutil.copytree(INFRA / "terraform", tmp_path / "terraform"))
    plant(folder / f"{file}.tf", place, place.replace(part, instead))

    assert list(terraform_that_fails(folder)) != []


# What both templates name in the same words.
WORDS = {
    "GUIDs": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "durations": r"\bP(?:T\d+[MH]|\d+D)\b",
    "ports and ranges of them": r"['\"](\d+-\d+|\d{3,5})['\"]",
    "what Azure logs": r"['\"](Audit\w*|Storage(?:Read|Write|Delete)|\w+Logs|NetworkSecurityGroup\w+)['\"]",
    "versions of Python": r"'?version'? ?[:=] ['\"](\d\.\d+)['\"]",
}


def said(folder: Path, pattern: str) -> set[str]:
    texts = [path.read_text() for path in folder.rglob("*") if path.suffix in (".bicep", ".tf")]
    return {word for text in texts for word in re.findall(pattern, text)}


@pytest.mark.parametrize("words", WORDS)
def test_both_templates_name_the_same(words: str) -> None:
    found = said(INFRA / "bicep", WORDS[words])

    assert found
    assert found == said(INFRA / "terraform", WORDS[words])


def test_terraform_names_private_zones_of_azures() -> None:
    known = [pattern for patterns in ENDPOINTS.values() for pattern in patterns]
    zones = said(INFRA / "terraform", r'"(privatelink\.[a-z.-]+)"')

    assert len(zones) > 8
    assert [zone for zone in zones if not any(re.fullmatch(pattern, zone) for pattern in known)] == []


def limits(parameter: Parameter) -> Any:
    """What Bicep's decorators allow: a list, or a range."""
    rules, number = parameter.decorators, parameter.type == "int"
    if "allowed" in rules:
        return rules["allowed"]
    least, most = (rules.get(name) for name in (("minValue", "maxValue") if number else ("minLength", "maxLength")))
    if least is None or (most is None and not number):
        return None
    return range(least, (LARGEST if most is None else most) + 1)


def condition(name: str, parameter: Parameter, allowed: Any) -> str:
    """The same as a rule of Terraform's."""
    value = (
        f"var.{snake(name)}" if parameter.type == "int" or isinstance(allowed, list) else f"length(var.{snake(name)})"
    )
    if isinstance(allowed, list):
        return f"contains({json.dumps(allowed)}, {value})"
    most = f" && {value} <= {allowed[-1]}" if allowed[-1] < LARGEST else ""
    return f"{value} >= {allowed[0]}{most}"


def test_parameters_have_the_limits_of_what_they_are_for() -> None:
    parameters = read_parameters(INFRA / "bicep" / "main.bicep")
    rules = written(INFRA / "terraform")

    assert {name: found for name, each in parameters.items() if (found := limits(each))} == {
        name: allowed for name, (allowed, _) in LIMITS.items()
    }
    for name, (allowed, _) in LIMITS.items():
        expected = condition(name, parameters[name], allowed)
        assert expected in rules[f"variable.{snake(name)}.validation.condition"], name


def test_every_fact_is_of_use() -> None:
    made = [
        each
        for values in SCENARIOS.values()
        for each in Template(INFRA / "bicep/main.bicep", REQUIRED | values).create()
    ]
    settings = {
        setting["name"]
        for each in made
        if each.type == "Microsoft.Web/sites"
        for setting in plain(each.body)["properties"]["siteConfig"]["appSettings"]
    }

    # One that allows nothing fails wherever it is asked.
    numbered = [replace(fact, allowed=[], source=f"#{number}") for number, fact in enumerate(FACTS)]
    found = "\n".join(facts_that_fail(made, numbered))
    assert [fact for number, fact in enumerate(FACTS) if f"(#{number})" not in found] == []
    assert APP_SETTINGS.keys() <= settings


# Letters that comments and descriptions may have beside ASCII's: one that looks like another is seen by nobody.
NOT_ASCII = {"\N{RIGHTWARDS ARROW}", "\N{HORIZONTAL ELLIPSIS}"}


def odd_letters(line: str) -> set[str]:
    written = re.match(r"\s*(?://|#|@description\(|description +=)", line) or "// " in line or " # " in line
    return {letter for letter in line if not letter.isascii()} - (NOT_ASCII if written else set())


def test_templates_have_no_letters_that_look_like_others() -> None:
    files = [path for path in INFRA.rglob("*") if path.suffix in (".bicep", ".bicepparam", ".tf", ".kql", ".sh")]

    assert len(files) > 20
    assert [
        f"{path.name}: {line.strip()}" for path in files for line in path.read_text().splitlines() if odd_letters(line)
    ] == []
    assert odd_letters("  name: 'st\N{CYRILLIC SMALL LETTER A}'")
    assert odd_letters("// \N{NO-BREAK SPACE}")


# What a plan does not show, and what would keep a change from being made or a resource from being deleted.
LIFECYCLE = re.compile(r"\b(prevent_destroy|ignore_changes|create_before_destroy|replace_triggered_by|lifecycle)\b")


def test_terraform_changes_and_deletes_what_it_is_told() -> None:
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((INFRA / "terraform").glob("*.tf"))
        for line in path.read_text().splitlines()
        if LIFECYCLE.search(line)
    ]

    assert found == []


# The first versions that know what is written: azapi the scheduler's 2026-02-01, azurerm the zones' links of 5, and
# Terraform rules that look at other variables.
FLOORS = {"required_version": ">= 1.9", "hashicorp/azurerm": "~> 5.10", "azure/azapi": "~> 2.11"}


def test_versions_are_those_that_know_what_is_written() -> None:
    text = (INFRA / "terraform" / "versions.tf").read_text()
    found = dict(re.findall(r'source += "(\S+)"\n +version = "(.+)"', text))
    (found["required_version"],) = re.findall(r'required_version = "(.+)"', text)

    assert found == FLOORS
    page = (ROOT / "docs/deploy/terraform.md").read_text()
    for version in (each.split()[1] for each in FLOORS.values()):
        assert version in page


def test_the_app_runs_on_the_python_that_the_project_is_written_for() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    site = (INFRA / "bicep" / "modules" / "app.bicep").read_text()

    (version,) = re.findall(r"runtime: \{ name: 'python', version: '([\d.]+)' \}", site)
    assert wanted.startswith((f"=={version}", f">={version}"))
    assert f'"{version}"' in (INFRA / "scripts" / "package.py").read_text()


# What of infra/terraform/versions.tf a plan does not show, and why it must be so.
SETTINGS = {
    "storage_use_azuread": "true",  # the account takes no keys
    "resource_provider_registrations": '"none"',
    "disable_generated_rule": "true",  # `destroy` would stop at a rule that Azure adds
    "purge_soft_delete_on_destroy": "false",  # a vault with purge protection cannot be purged
    "recover_soft_deleted_key_vaults": "true",
    "data_plane_available": "false",  # a private account is out of reach
}


def test_the_providers_of_terraform_are_set_as_they_have_to_be() -> None:
    text = (INFRA / "terraform" / "versions.tf").read_text()

    assert dict(re.findall(r"^ +(\w+) += (true|false|\"none\")$", text, re.MULTILINE)) == SETTINGS


def test_every_resource_provider_that_is_used_is_registered() -> None:
    made = [
        each
        for values in SCENARIOS.values()
        for each in Template(INFRA / "bicep/main.bicep", REQUIRED | values).create()
    ]
    # Those two every subscription has.
    used = {each.type.split("/")[0] for each in made} - {"Microsoft.Authorization", "Microsoft.Resources"}
    used.add(DELEGATION.split("/")[0])

    (listed,) = re.findall(
        r"resource_providers_to_register = \[(.*?)\]", (INFRA / "terraform/versions.tf").read_text(), re.S
    )
    page = (ROOT / "docs/deploy/az.md").read_text()
    (of_sh,) = re.findall(r"for provider in (.+); do", page)
    (of_powershell,) = re.findall(r"foreach \(\$provider in (.+)\)", page)

    assert set(re.findall(r'"([\w.]+)"', listed)) == used
    assert {f"Microsoft.{name}" for name in of_sh.split()} == used
    assert {f"Microsoft.{name}" for name in re.findall(r'"(\w+)"', of_powershell)} == used
