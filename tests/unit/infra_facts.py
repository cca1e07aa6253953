"""What Azure takes of single properties, where its published types allow any text or number: a table with its sources.

The two templates are held against each other elsewhere; what is wrong in both would pass there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from tests.unit.infra_resources import Resource, plain


@dataclass(frozen=True)
class Fact:
    """What stands at ``path`` of a type: one of ``allowed``, or text that the pattern fits. ``[]`` is every element."""

    type: str
    path: str
    allowed: Iterable[Any] | re.Pattern[str]
    source: str

    def holds(self, value: Any) -> bool:
        if isinstance(self.allowed, re.Pattern):
            return isinstance(value, str) and self.allowed.fullmatch(value) is not None
        # In Python 1 is True, and in JSON it is not.
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self.allowed)


_VAULT, _STORAGE, _SITE = "Microsoft.KeyVault/vaults", "Microsoft.Storage/storageAccounts", "Microsoft.Web/sites"
_ALERT, _SCOPE = "Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/privateLinkScopes"
_GROUP, _SCHEDULER = "Microsoft.Network/networkSecurityGroups", "Microsoft.DurableTask/schedulers"
_WORKSPACE, _WORKBOOK = "Microsoft.OperationalInsights/workspaces", "Microsoft.Insights/workbooks"
_RULES = "properties.securityRules.[].properties"

FACTS = [
    Fact(_VAULT, "properties.softDeleteRetentionInDays", range(7, 91), "REST reference of vaults: 7 to 90"),
    Fact(_VAULT, "properties.createMode", ["default", "recover"], "REST reference of vaults"),
    Fact(_STORAGE, "name", re.compile(r"[a-z0-9]{3,24}"), "naming rules of Azure resources"),
    Fact(_STORAGE, "kind", ["StorageV2"], "Functions: storage considerations; blobs, queues and tables in one"),
    Fact(_STORAGE, "sku.name", ["Standard_LRS", "Standard_ZRS"], "Flex Consumption: zones need ZRS"),
    Fact(
        f"{_STORAGE}/blobServices", "properties.deleteRetentionPolicy.days", range(1, 366), "REST reference: 1 to 365"
    ),
    Fact(
        *(f"{_STORAGE}/blobServices", "properties.containerDeleteRetentionPolicy.days"),
        *(range(1, 366), "REST reference: 1 to 365"),
    ),
    Fact(
        *(f"{_STORAGE}/blobServices/containers", "name"),
        re.compile(r"(?=.{3,63}$)[a-z0-9](?:-?[a-z0-9])*"),
        "naming rules of containers: 3 to 63 small letters, digits and single hyphens",
    ),
    Fact("Microsoft.Web/serverfarms", "kind", ["functionapp"], "quickstart of Flex Consumption"),
    Fact("Microsoft.Web/serverfarms", "properties.reserved", [True], "Linux alone"),
    Fact(_SITE, "kind", ["functionapp,linux"], "quickstart of Flex Consumption"),
    Fact(_SITE, "identity.type", ["UserAssigned"], "the identity that has the roles"),
    Fact(_SITE, "properties.httpsOnly", [True], "keys travel with each request"),
    Fact(
        *(_SITE, "properties.functionAppConfig.deployment.storage.authentication.type"),
        *(["UserAssignedIdentity"], "functionAppConfig: the account takes no keys, and no other identity has a role"),
    ),
    Fact(_SITE, "properties.siteConfig.minTlsVersion", ["1.2", "1.3"], "1.0 and 1.1 have ended"),
    Fact(_SITE, "properties.siteConfig.scmMinTlsVersion", ["1.2", "1.3"], "1.0 and 1.1 have ended"),
    Fact(
        *(_SITE, "properties.siteConfig.scmIpSecurityRestrictionsUseMain", [False]),
        "with true the list of callers counts for the SCM site too, and not its own",
    ),
    *(
        Fact(_SITE, f"properties.siteConfig.{list_}.[].{name}", allowed, "App Service access restrictions")
        for list_ in ("ipSecurityRestrictions", "scmIpSecurityRestrictions")
        for name, allowed in [("priority", range(1, 2**31 - 1)), ("action", ["Allow"])]
    ),
    Fact(f"{_SITE}/basicPublishingCredentialsPolicies", "name", ["scm", "ftp"], "the two that there are"),
    Fact(f"{_SITE}/basicPublishingCredentialsPolicies", "properties.allow", [False], "no passwords for publishing"),
    Fact("Microsoft.Network/publicIPAddresses", "sku.name", ["Standard"], "a NAT gateway takes no Basic address"),
    Fact("Microsoft.Network/publicIPAddresses", "properties.publicIPAllocationMethod", ["Static"], "of Standard"),
    Fact("Microsoft.Network/natGateways", "sku.name", ["Standard", "StandardV2"], "REST reference of NAT gateways"),
    Fact(_GROUP, f"{_RULES}.priority", range(100, 4097), "network security groups: 100 to 4096"),
    Fact(_GROUP, f"{_RULES}.destinationAddressPrefix", ["Internet", "Sql"], "service tags that the app has to reach"),
    Fact(_GROUP, f"{_RULES}.sourceAddressPrefix", ["*"], "the subnet is all there is"),
    Fact(_GROUP, f"{_RULES}.protocol", ["Tcp", "*"], "TDS and HTTPS go over TCP"),
    Fact("Microsoft.Network/privateDnsZones", "location", ["global"], "private zones have no region"),
    Fact("Microsoft.Network/privateDnsZones/virtualNetworkLinks", "location", ["global"], "so have their links"),
    Fact(
        *("Microsoft.Network/privateDnsZones/virtualNetworkLinks", "properties.registrationEnabled", [False]),
        "a network registers its machines in one zone at most",
    ),
    Fact(_SCHEDULER, "properties.sku.name", ["Consumption", "Dedicated"], "REST reference of schedulers"),
    Fact(_SCHEDULER, "properties.ipAllowlist", [["0.0.0.0/0"]], "an empty list lets nobody in"),
    Fact(_SCOPE, "location", ["global"], "link scopes have no region"),
    Fact(_SCOPE, "properties.accessModeSettings.ingestionAccessMode", ["PrivateOnly"], "what the parameter promises"),
    Fact(_SCOPE, "properties.accessModeSettings.queryAccessMode", ["Open"], "the portal asks from outside"),
    Fact(_WORKSPACE, "properties.sku.name", ["PerGB2018"], "the one for new workspaces"),
    Fact(_WORKSPACE, "properties.retentionInDays", range(30, 731), "of PerGB2018: 30 to 730"),
    Fact("Microsoft.Insights/components", "kind", ["web"], "REST reference of components"),
    Fact("Microsoft.Insights/actionGroups", "location", ["global"], "with a region it processes there alone"),
    Fact("Microsoft.Insights/actionGroups", "properties.groupShortName", re.compile(r".{1,12}"), "1 to 12 letters"),
    Fact(_ALERT, "kind", ["LogAlert"], "REST reference of query rules"),
    Fact(_ALERT, "properties.severity", range(5), "0 (critical) to 4 (verbose)"),
    Fact(_ALERT, "properties.enabled", [True], "an alert that is off alerts nobody"),
    Fact(_ALERT, "properties.criteria.allOf.[].timeAggregation", ["Count"], "each row is one that counts"),
    Fact(_WORKBOOK, "kind", ["shared"], "REST reference of workbooks; `user` has ended"),
    Fact(_WORKBOOK, "properties.category", ["workbook"], "the gallery of workbooks shows these"),
    Fact("Microsoft.Authorization/roleAssignments", "properties.principalType", ["ServicePrincipal"], "a new identity"),
]

# Settings of the app whose words somebody else has chosen: the pattern, and who reads them.
APP_SETTINGS = {
    "AzureWebJobsStorage__credential": (r"managedidentity", "Functions: identity-based connections"),
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": (
        r"ClientId=<[^>]+>;Authorization=AAD",
        "Functions: Entra ID for telemetry",
    ),
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": (r"true", "azure-monitor-opentelemetry-exporter"),
    "DURABLE_TASK_SCHEDULER_CONNECTION_STRING": (
        r"Endpoint=<[^>]+>;Authentication=ManagedIdentity;ClientID=<[^>]+>",
        "Durable Task Scheduler: connection strings",
    ),
    "LAKE_CREDENTIAL": (r"managed_identity", "hygge_engine.lake.settings"),
    "SQL_AUTH": (r"managed_identity", "hygge_engine.homes.mssql.settings"),
    "PYTHON_THREADPOOL_THREAD_COUNT": (r"[1-9]|[12]\d|3[0-2]", "Functions: app settings, 1 to 32"),
}


def facts_that_fail(made: list[Resource], facts: list[Fact] | None = None) -> Iterator[str]:
    """What Azure would not take, or not work with, a line for each."""
    for resource in made:
        body = {**plain(resource.body), "name": resource.name.rpartition("/")[2]}
        for fact in FACTS if facts is None else facts:
            if fact.type == resource.type:
                for value in _at(body, fact.path.split(".")):
                    if not fact.holds(value):
                        yield f"{resource.type} {resource.name}: {fact.path} is {value!r} ({fact.source})"
        if (check := _CHECKS.get(resource.type)) is not None:
            yield from (f"{resource.type} {resource.name}: {said}" for said in check(body["properties"]))


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif path[0] == "[]":
        for each in value:
            yield from _at(each, path[1:])
    # What is not sent is Azure's own choice, and None is not sent.
    elif value.get(path[0]) is not None or len(path) == 1:
        yield from _at(value.get(path[0]), path[1:])


def _rules(properties: dict[str, Any]) -> Iterator[str]:
    taken: set[tuple[str, int]] = set()
    for rule in properties["securityRules"]:
        place = rule["properties"]["direction"], rule["properties"]["priority"]
        if place in taken:
            yield f"two rules {place}"
        taken.add(place)
    names = [rule["name"] for rule in properties["securityRules"]]
    if len(set(names)) < len(names):
        yield f"rules of the same name: {names}"


def _subnets(properties: dict[str, Any]) -> Iterator[str]:
    spaces = [ip_network(each) for each in properties["addressSpace"]["addressPrefixes"]]
    ranges = [ip_network(each) for subnet in properties["subnets"] for each in subnet["properties"]["addressPrefixes"]]
    for index, range_ in enumerate(ranges):
        if not any(range_.subnet_of(space) for space in spaces):  # type: ignore[arg-type]
            yield f"{range_} is in none of {spaces}"
        yield from (f"{range_} and {other} overlap" for other in ranges[:index] if range_.overlaps(other))


def _site(properties: dict[str, Any]) -> Iterator[str]:
    for setting in properties["siteConfig"]["appSettings"]:
        pattern, source = APP_SETTINGS.get(setting["name"], (".*", ""))
        if not re.fullmatch(pattern, setting["value"], re.DOTALL):
            yield f"{setting['name']} is {setting['value']!r} ({source})"
    for list_ in ("ipSecurityRestrictions", "scmIpSecurityRestrictions"):
        priorities = [rule["priority"] for rule in properties["siteConfig"][list_]]
        if len(set(priorities)) < len(priorities):
            yield f"{list_}: priorities {priorities}"


_CHECKS: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    _GROUP: _rules,
    "Microsoft.Network/virtualNetworks": _subnets,
    _SITE: _site,
}
