"""Terraform itself takes infra/terraform, with the schemas of the providers that it asks for, and plans it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from tests.infra.azurerm import answers
from tests.infra.terraform import Refused, Terraform, packages, running
from tests.support.planted import plant
from tests.unit.infra_order import ONE_AT_A_TIME, ORDERS, TERRAFORM_ENDPOINTS
from tests.unit.infra_scenarios import INFRA, SCENARIOS, variables


def known_before(type_: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Azure returns before a deployment: whose subscription it is, and nothing of what is yet to be made."""
    return answers(type_, arguments) if type_ == "azurerm_subscription" else {}


@pytest.fixture(scope="module")
def terraform() -> Iterator[Terraform]:
    # Paths of sockets have to be short, and pytest's own are long.
    with TemporaryDirectory() as folder, running(Path(folder), known_before) as started:
        yield started


def test_the_files_are_formatted(terraform: Terraform, module: Path) -> None:
    code, output, errors = terraform.run(module, "fmt", "-check", "-diff", "-recursive", "-no-color")

    assert code == 0, output + errors


def test_the_module_can_be_initialized(terraform: Terraform, module: Path) -> None:
    code, output, errors = terraform.run(module, "init", "-backend=false", "-input=false", "-no-color")

    assert code == 0, output + errors


def test_the_module_is_valid(terraform: Terraform, module: Path) -> None:
    terraform.validate(module)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_module_can_be_planned(terraform: Terraform, module: Path, scenario: str) -> None:
    plan = terraform.plan(module, variables(SCENARIOS[scenario]))

    assert plan["errored"] is False
    assert {"azapi_resource", "azurerm_storage_account"} <= {each["type"] for each in plan["resource_changes"]}


# What is planted: the file, what it says, what it says instead, and what Terraform must say to it.
PLANTED: dict[str, tuple[str, str | re.Pattern[str], str, str]] = {
    "an argument that there is not": (
        "storage.tf",
        "shared_access_key_enabled        =",
        "shared_key_enabled =",
        "shared_key_enabled",
    ),
    "an argument of a block": ("storage.tf", re.compile(r"\bbypass\b"), "bypas", "bypas"),
    "an argument of azapi": ("scheduler.tf", "response_export_values =", "export_values =", "export_values"),
    "an argument less": ("vault.tf", 'sku_name                      = "standard"\n', "", "sku_name"),
    "a block that there is not": ("storage.tf", "  network_rules {", "  network_acls {", "network_acls"),
    "a block too many": ("storage.tf", "  network_rules {", "  network_rules {}\n  network_rules {", "network_rules"),
    "a block less": ("alerts.tf", re.compile(r"  criteria \{.*?\n  \}\n", re.DOTALL), "", "criteria"),
    "another type of value": ("alerts.tf", "each.value.severity", "[each.value.severity]", "severity"),
    "a resource that there is not": (
        "storage.tf",
        '"azurerm_storage_container"',
        '"azurerm_container"',
        "azurerm_container",
    ),
    "an attribute that Azure does not answer": ("app.tf", ".primary_blob_endpoint", ".blob_endpoint", "blob_endpoint"),
    "a variable that there is not": ("scheduler.tf", "var.private_network", "var.private", "private"),
    "a function that there is not": ("main.tf", "substr(", "substring(", "substring"),
    "a provider's setting that there is not": (
        "versions.tf",
        "disable_generated_rule",
        "disable_generated_rules",
        "disable_generated_rules",
    ),
    # Nothing of a resource is known before it is made, so what depends on it cannot be counted.
    "a count of what is not known": (
        "vault.tf",
        "count                         = var.key_vault ? 1 : 0",
        "count = length(azurerm_user_assigned_identity.app.client_id)",
        "count",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_refused(terraform: Terraform, module: Path, fault: str) -> None:
    file, written, instead, named = PLANTED[fault]
    plant(module / file, written, instead)

    with pytest.raises(Refused, match=named):
        terraform.plan(module, variables(SCENARIOS["everything"]))


def before(terraform: Terraform, module: Path) -> dict[str, set[str]]:
    """What Terraform makes before each resource."""
    _, graph, _ = terraform.run(module, "graph")
    direct: dict[str, set[str]] = {}
    for later, earlier in re.findall(r'^  "(\S+)" -> "(\S+)";$', graph, re.MULTILINE):
        direct.setdefault(later, set()).add(earlier)
    found: dict[str, set[str]] = {}
    for resource in re.findall(r'^  "(\S+)" \[label=', graph, re.MULTILINE):
        found[resource], left = set(), {resource}
        while left:
            new = set[str]().union(*(direct.get(each, set()) for each in left)) - found[resource]
            found[resource], left = found[resource] | new, new
    return found


def unordered(terraform: Terraform, module: Path) -> set[str]:
    """What Terraform does not make before what needs it, of the orders that both templates keep."""
    order_of = before(terraform, module)
    return {earlier for order in ORDERS for earlier in set(order.terraform_earlier) - order_of[order.terraform_later]}


def at_once(terraform: Terraform, module: Path) -> list[str]:
    """What Terraform may make at the same time, of what has to be made one after the other."""
    order_of = before(terraform, module)
    text = "\n".join(path.read_text() for path in module.glob("*.tf"))
    found = []
    for rule in ONE_AT_A_TIME:
        resources = sorted(each for each in order_of if each.startswith(f"{rule.terraform}."))
        assert len(resources) > 1
        found += [
            f"{one}, {two}"
            for one, two in combinations(resources, 2)
            if one not in order_of[two] and two not in order_of[one]
        ]
        # One resource that stands for several makes them all at once.
        found += re.findall(rf'(?m)^resource "{rule.terraform}" "\w+" \{{\n +for_each .+', text)
        found += re.findall(rf'(?m)^resource "{rule.terraform}" "\w+" \{{\n +count +=(?!.* \? 1 : 0$).+', text)
    return found


def test_what_is_needed_is_made_before(terraform: Terraform, module: Path) -> None:
    assert unordered(terraform, module) == set()


# Each line of a `depends_on` that nothing else implies, and the file it stands in.
DEPENDENCIES = {
    **{f"azurerm_role_assignment.{name}": "app.tf" for name in ("host_blobs", "durable_queues", "durable_tables")},
    **{f"azurerm_role_assignment.{name}": "app.tf" for name in ("telemetry", "secrets", "orchestrations")},
    "azurerm_private_endpoint.sql": "app.tf",
    "azurerm_private_dns_zone_virtual_network_link.main": "app.tf",
    "azurerm_nat_gateway_public_ip_association.main": "app.tf",
    "azurerm_subnet_nat_gateway_association.app": "endpoints.tf",
    "azurerm_subnet_network_security_group_association.app": "endpoints.tf",
    "azurerm_subnet_network_security_group_association.endpoints": "endpoints.tf",
    "azurerm_monitor_private_link_scoped_service.insights": "endpoints.tf",
}
CHAINS = {
    **{f"azurerm_private_endpoint.{name}": "endpoints.tf" for name in TERRAFORM_ENDPOINTS if name != "sql"},
    "azurerm_monitor_private_link_scoped_service.logs": "monitoring.tf",
}


def drop(path: Path, dependency: str) -> None:
    text, found = re.subn(rf"( +{dependency},\n|depends_on = \[{dependency}\])", "", path.read_text())
    assert found == 1
    path.write_text(text)


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_a_dependency_that_is_dropped_is_seen(terraform: Terraform, module: Path, dependency: str) -> None:
    drop(module / DEPENDENCIES[dependency], dependency)

    assert dependency in unordered(terraform, module)


def test_what_changes_the_same_is_made_one_after_the_other(terraform: Terraform, module: Path) -> None:
    assert at_once(terraform, module) == []


@pytest.mark.parametrize("dependency", CHAINS)
def test_a_link_of_a_chain_that_is_dropped_is_seen(terraform: Terraform, module: Path, dependency: str) -> None:
    drop(module / CHAINS[dependency], dependency)

    assert any(dependency in pair for pair in at_once(terraform, module))


def test_one_resource_that_makes_several_at_once_is_seen(terraform: Terraform, module: Path) -> None:
    written = 'resource "azurerm_private_endpoint" "queue" {\n  count               = var.private_network ? 1 : 0\n'
    plant(module / "endpoints.tf", written, written.replace("? 1", "? 2"))

    assert [found for found in at_once(terraform, module) if "? 2" in found]


def test_the_schemas_are_of_versions_that_the_module_asks_for() -> None:
    text = (INFRA / "terraform" / "versions.tf").read_text()
    asked = dict(re.findall(r'source += "(\S+)"\n +version = "(.+)"', text))

    for address, package in packages().items():
        # "~> 5.10" allows 5.10 and everything newer before 6: that is PEP 440's "~=".
        constraint = asked[address.removeprefix("registry.terraform.io/")].replace("~> ", "~=")
        assert package.version in SpecifierSet(constraint), address
