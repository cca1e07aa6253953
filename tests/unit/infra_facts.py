"""What Azure takes of single properties, where its published types allow any text or number: a table with its sources.

The two templates are held against each other elsewhere; what is wrong in both would pass there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from tests.unit.infra_resources import NAMELESS, Resource, longest, plain
from tests.unit.infra_written import constant, written


@dataclass(frozen=True)
class Fact:
    """What stands at ``path`` of a type: one of ``allowed``, or text that the pattern fits. ``[]`` is every element.

    ``terraform`` is where infra/terraform writes the same constant; ``*`` in it stands for anything.
    """

    type: str
    path: str
    allowed: Iterable[Any] | re.Pattern[str]
    source: str
    terraform: str = ""

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
_IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_NAMES = "naming rules of Azure resources"
_SPELLED = r"(?=.{{{},{}}}$)[a-zA-Z0-9][\w.-]*\w"

_ASSIGNMENT, _PLAN = "Microsoft.Authorization/roleAssignments", "Microsoft.Web/serverfarms"
_BLOBS, _COMPONENT = f"{_STORAGE}/blobServices", "Microsoft.Insights/components"
_ACTIONS, _ADDRESS = "Microsoft.Insights/actionGroups", "Microsoft.Network/publicIPAddresses"
_LINK, _SITE_CONFIG = "Microsoft.Network/privateDnsZones/virtualNetworkLinks", "properties.siteConfig"
_PERIODS = "properties.criteria.allOf.[].failingPeriods"

# Where infra/terraform has the same.
_TF_APP, _TF_ALERT = "azapi_resource.app.body", "azurerm_monitor_scheduled_query_rules_alert_v2.main"
_TF_CONFIG, _TF_BLOBS = f"{_TF_APP}.{_SITE_CONFIG}", "azurerm_storage_account.main.blob_properties"
_TF_RULES = "azurerm_network_security_group.main.*security_rule"

_IDENTITY = re.compile(r"<Microsoft\.ManagedIdentity/userAssignedIdentities [^>]+: id>")
_WEEK = "REST reference: 1 to 365; storage.bicep promises a week"

FACTS = [
    Fact(
        *(_VAULT, "properties.softDeleteRetentionInDays", [90]),
        *("REST reference: 7 to 90, never changed; az.md says 90", "azurerm_key_vault.main.soft_delete_retention_days"),
    ),
    Fact(_VAULT, "properties.createMode", ["default", "recover"], "REST reference of vaults"),
    Fact(_STORAGE, "name", re.compile(r"[a-z0-9]{3,24}"), _NAMES, "azurerm_storage_account.main.name"),
    Fact(
        *(_STORAGE, "kind", ["StorageV2"], "Functions: storage considerations; blobs, queues and tables in one"),
        "azurerm_storage_account.main.account_kind",
    ),
    *(
        Fact(_STORAGE, f"properties.{name}", [value], why, f"azurerm_storage_account.main.{tf}")
        for name, value, tf, why in [
            ("allowBlobPublicAccess", False, "allow_nested_items_to_be_public", "package and keys are nobody's"),
            ("allowSharedKeyAccess", False, "shared_access_key_enabled", "whoever has a key has everything"),
            ("allowCrossTenantReplication", False, "cross_tenant_replication_enabled", "blobs stay in the tenant"),
            ("defaultToOAuthAuthentication", True, "default_to_oauth_authentication", "the portal asks for no key"),
            ("isLocalUserEnabled", False, "local_user_enabled", "local users have passwords"),
            ("minimumTlsVersion", "TLS1_2", "min_tls_version", "1.0 and 1.1 have ended"),
            ("supportsHttpsTrafficOnly", True, "https_traffic_only_enabled", "tokens travel with each request"),
        ]
    ),
    Fact(
        *(_STORAGE, "properties.networkAcls.virtualNetworkRules.[].id", re.compile(r"/subscriptions/[^<>]+")),
        "bicep-types-az 1555: the check before a deployment knows no id that is read from a network",
    ),
    *(
        Fact(_VAULT, f"properties.{name}", [value], why, f"azurerm_key_vault.main.{tf}")
        for name, value, tf, why in [
            ("enableRbacAuthorization", True, "rbac_authorization_enabled", "access by role only"),
            ("enablePurgeProtection", True, "purge_protection_enabled", "what is deleted can be fetched back"),
            ("networkAcls.bypass", "None", "network_acls.bypass", "nobody else's service has anything to do here"),
        ]
    ),
    Fact(_STORAGE, "sku.name", ["Standard_LRS", "Standard_ZRS"], "Flex Consumption: zones need ZRS"),
    Fact(_BLOBS, "properties.deleteRetentionPolicy.days", [7], _WEEK, f"{_TF_BLOBS}.delete_retention_policy.days"),
    Fact(
        *(_BLOBS, "properties.containerDeleteRetentionPolicy.days", [7]),
        *(_WEEK, f"{_TF_BLOBS}.container_delete_retention_policy.days"),
    ),
    Fact(
        *(f"{_BLOBS}/containers", "name", re.compile(r"(?=.{3,63}$)[a-z0-9](?:-?[a-z0-9])*")),
        *(
            "naming rules of containers: 3 to 63 small letters, digits and single hyphens",
            "locals.package_container_name",
        ),
    ),
    Fact(_PLAN, "kind", ["functionapp"], "quickstart of Flex Consumption"),
    Fact(_PLAN, "properties.reserved", [True], "Linux alone"),
    Fact(_SITE, "kind", ["functionapp,linux"], "quickstart of Flex Consumption", f"{_TF_APP}.kind"),
    Fact(
        *(_SITE, "identity.type", ["UserAssigned"], "the identity that has the roles"),
        "azapi_resource.app.identity.type",
    ),
    Fact(_SITE, "properties.httpsOnly", [True], "keys travel with each request", f"{_TF_APP}.properties.httpsOnly"),
    Fact(
        *(_SITE, "properties.keyVaultReferenceIdentity", _IDENTITY),
        "App Service, Key Vault references: the site has no identity of the system's own",
    ),
    Fact(
        *(_SITE, "properties.functionAppConfig.deployment.storage.authentication.type", ["UserAssignedIdentity"]),
        "functionAppConfig: the account takes no keys, and no other identity has a role",
        f"{_TF_APP}.properties.functionAppConfig.deployment.storage.authentication.type",
    ),
    *(
        Fact(_SITE, f"{_SITE_CONFIG}.{name}", ["1.2", "1.3"], "1.0 and 1.1 have ended", f"{_TF_CONFIG}.{name}")
        for name in ("minTlsVersion", "scmMinTlsVersion")
    ),
    Fact(
        *(_SITE, f"{_SITE_CONFIG}.scmIpSecurityRestrictionsUseMain", [False]),
        "with true the list of callers counts for the SCM site too, and not its own",
        f"{_TF_CONFIG}.scmIpSecurityRestrictionsUseMain",
    ),
    *(
        Fact(_SITE, f"{_SITE_CONFIG}.{list_}.[].{name}", allowed, "App Service access restrictions")
        for list_ in ("ipSecurityRestrictions", "scmIpSecurityRestrictions")
        for name, allowed in [("priority", range(1, 2**31 - 1)), ("action", ["Allow"])]
    ),
    Fact(f"{_SITE}/basicPublishingCredentialsPolicies", "name", ["scm", "ftp"], "the two that there are"),
    Fact(f"{_SITE}/basicPublishingCredentialsPolicies", "properties.allow", [False], "no passwords for publishing"),
    Fact(_ADDRESS, "sku.name", ["Standard"], "a NAT gateway takes no Basic address", "azurerm_public_ip.main.sku"),
    Fact(
        *(_ADDRESS, "properties.publicIPAllocationMethod", ["Static"], "of Standard"),
        "azurerm_public_ip.main.allocation_method",
    ),
    Fact(
        *("Microsoft.Network/natGateways", "sku.name", ["Standard", "StandardV2"], "REST reference of NAT gateways"),
        "azurerm_nat_gateway.main.sku_name",
    ),
    Fact(_GROUP, f"{_RULES}.priority", range(100, 4097), "network security groups: 100 to 4096"),
    Fact(_GROUP, f"{_RULES}.destinationAddressPrefix", ["Internet", "Sql"], "service tags that the app has to reach"),
    Fact(
        *(_GROUP, f"{_RULES}.sourceAddressPrefix", ["*"], "the subnet is all there is"),
        f"{_TF_RULES}*.source_address_prefix",
    ),
    Fact(_GROUP, f"{_RULES}.protocol", ["Tcp", "*"], "TDS and HTTPS go over TCP", f"{_TF_RULES}*.protocol"),
    Fact(
        *(_GROUP, f"{_RULES}.direction", ["Outbound"], "what comes in is none of its business"),
        f"{_TF_RULES}*.direction",
    ),
    Fact("Microsoft.Network/privateDnsZones", "location", ["global"], "private zones have no region"),
    Fact(_LINK, "location", ["global"], "so have their links"),
    Fact(
        *(_LINK, "properties.registrationEnabled", [False], "a network registers its machines in one zone at most"),
        "azurerm_private_dns_zone_virtual_network_link.main.registration_enabled",
    ),
    Fact(_SCHEDULER, "properties.sku.name", ["Consumption", "Dedicated"], "REST reference of schedulers"),
    Fact(
        *(_SCHEDULER, "properties.ipAllowlist", [["0.0.0.0/0"]], "an empty list lets nobody in"),
        "azapi_resource.scheduler.body.properties.ipAllowlist",
    ),
    Fact(_SCOPE, "location", ["global"], "link scopes have no region"),
    Fact(
        *(_SCOPE, "properties.accessModeSettings.ingestionAccessMode", ["PrivateOnly"], "what the parameter promises"),
        "azurerm_monitor_private_link_scope.main.ingestion_access_mode",
    ),
    Fact(
        *(_SCOPE, "properties.accessModeSettings.queryAccessMode", ["Open"], "the portal asks from outside"),
        "azurerm_monitor_private_link_scope.main.query_access_mode",
    ),
    Fact(
        *(_WORKSPACE, "properties.sku.name", ["PerGB2018"], "the one for new workspaces"),
        "azurerm_log_analytics_workspace.main.sku",
    ),
    Fact(_WORKSPACE, "properties.retentionInDays", range(30, 731), "of PerGB2018: 30 to 730"),
    Fact(
        *(_WORKSPACE, "properties.features.enableLogAccessUsingOnlyResourcePermissions", [True]),
        "Azure Monitor, access mode: who may read the app may read its logs, and no more of the workspace",
        "azurerm_log_analytics_workspace.main.allow_resource_only_permissions",
    ),
    Fact(
        *(_COMPONENT, "kind", ["web"], "REST reference of components"),
        "azurerm_application_insights.main.application_type",
    ),
    Fact(
        *(_ACTIONS, "location", ["global"], "with a region it processes there alone"),
        "azurerm_monitor_action_group.main.location",
    ),
    Fact(
        *(_ACTIONS, "properties.groupShortName", re.compile(r".{1,12}"), "1 to 12 letters"),
        "azurerm_monitor_action_group.main.short_name",
    ),
    Fact(_ALERT, "kind", ["LogAlert"], "REST reference of query rules"),
    Fact(_ALERT, "properties.severity", range(5), "0 (critical) to 4 (verbose)", "locals.alerts.*.severity"),
    Fact(_ALERT, "properties.enabled", [True], "an alert that is off alerts nobody", f"{_TF_ALERT}.enabled"),
    Fact(
        *(_ALERT, "properties.skipQueryValidation", [True]),
        "REST reference of query rules: a query of tables that the first log makes is refused else",
        f"{_TF_ALERT}.skip_query_validation",
    ),
    Fact(
        *(_ALERT, "properties.autoMitigate", [True]),
        "REST reference of query rules: without, an alert is never resolved, and sent at each evaluation",
        f"{_TF_ALERT}.auto_mitigation_enabled",
    ),
    Fact(
        *(_ALERT, "properties.criteria.allOf.[].timeAggregation", ["Count"], "each row is one that counts"),
        f"{_TF_ALERT}.criteria.time_aggregation_method",
    ),
    *(
        Fact(
            _ALERT,
            f"{_PERIODS}.{name}",
            [1],
            "a load is over by the next",
            f"{_TF_ALERT}.criteria.failing_periods.{tf}",
        )
        for name, tf in [
            ("numberOfEvaluationPeriods", "number_of_evaluation_periods"),
            ("minFailingPeriodsToAlert", "minimum_failing_periods_to_trigger_alert"),
        ]
    ),
    Fact(_WORKBOOK, "kind", ["shared"], "REST reference of workbooks; `user` has ended"),
    Fact(
        *(_WORKBOOK, "properties.category", ["workbook"], "the gallery of workbooks shows these"),
        "azurerm_application_insights_workbook.loads.category",
    ),
    Fact(
        *(_WORKBOOK, "properties.sourceId", re.compile(rf"<{_WORKSPACE} [^>]+: id\.lower case>")),
        "the gallery of the workspace shows it; Azure answers in small letters",
    ),
    Fact(
        *(_WORKBOOK, "name", re.compile(r"guid of <Microsoft\.Resources/resourceGroups [^>]+: id> \w+")),
        "REST reference of workbooks: a UUID, and the same at each deployment",
    ),
    Fact(
        *(_ASSIGNMENT, "properties.principalType", ["ServicePrincipal"], "a new identity"),
        "azurerm_role_assignment.*.principal_type",
    ),
    *(
        Fact(type_, "name", re.compile(pattern), _NAMES, place)
        for type_, pattern, place in [
            (_VAULT, r"(?=.{3,24}$)[a-zA-Z](?:-?[a-zA-Z0-9])*", "locals.vault_name"),
            (_SITE, r"(?=.{2,60}$)[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?", "azapi_resource.app.name"),
            (_PLAN, r"[a-zA-Z0-9-]{1,60}", "azurerm_service_plan.main.name"),
            (_SCHEDULER, r"[a-zA-Z0-9-]{3,64}", "azapi_resource.scheduler.name"),
            (
                _WORKSPACE,
                r"(?=.{4,63}$)[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]",
                "azurerm_log_analytics_workspace.main.name",
            ),
            ("Microsoft.Network/virtualNetworks", _SPELLED.format(2, 64), "azurerm_virtual_network.main.name"),
            ("Microsoft.Network/privateEndpoints", _SPELLED.format(2, 64), "azurerm_private_endpoint.*.name"),
            (_GROUP, _SPELLED.format(1, 80), "azurerm_network_security_group.main.name"),
            (_ADDRESS, _SPELLED.format(1, 80), "azurerm_public_ip.main.name"),
            ("Microsoft.Network/natGateways", _SPELLED.format(1, 80), "azurerm_nat_gateway.main.name"),
            (_IDENTITIES, r"[a-zA-Z0-9][\w-]{2,127}", "azurerm_user_assigned_identity.app.name"),
            (_COMPONENT, r"[\w.()-]{0,259}[\w()-]", "azurerm_application_insights.main.name"),
            (_ALERT, r"[\w.-]{0,259}[\w-]", f"{_TF_ALERT}.name"),
            (_ACTIONS, r"[\w.-]{0,259}[\w-]", "azurerm_monitor_action_group.main.name"),
        ]
    ),
]

# What infra/terraform writes that is no constant: where, how, and why no other way will do.
EXPRESSIONS = {
    "azurerm_application_insights_workbook.loads.source_id": (
        "lower(azurerm_log_analytics_workspace.main.id)",
        "the gallery of the workspace shows it; with capital letters each plan has a change",
    ),
    "azurerm_application_insights_workbook.loads.name": (
        'uuidv5("url", "${azurerm_resource_group.main.id}/loads")',
        "REST reference of workbooks: a UUID, and the same at each deployment",
    ),
    "azapi_resource.app.body.properties.keyVaultReferenceIdentity": (
        "azurerm_user_assigned_identity.app.id",
        "App Service, Key Vault references: the site has no identity of the system's own",
    ),
    "azapi_resource.app.body.properties.functionAppConfig.deployment.storage.authentication"
    ".userAssignedIdentityResourceId": (
        "azurerm_user_assigned_identity.app.id",
        "the identity that has the roles",
    ),
    "azapi_resource.scheduler.body.properties.sku": (
        'merge({ name = var.scheduler_sku }, var.scheduler_sku == "Dedicated" ? { capacity = 1 } : {})',
        "REST reference of schedulers: a capacity is for Dedicated alone",
    ),
    "azapi_update_resource.publishing.body": ("{ properties = { allow = false } }", "no passwords for publishing"),
    **{
        f"azurerm_role_assignment.{role}.scope": (scope, "the narrowest scope that works")
        for role, scope in [
            ("host_blobs", "azurerm_storage_account.main.id"),
            ("durable_queues", "azurerm_storage_account.main.id"),
            ("durable_tables", "azurerm_storage_account.main.id"),
            ("telemetry", "azurerm_application_insights.main.id"),
            ("secrets", "azurerm_key_vault.main[0].id"),
            ("orchestrations", "azapi_resource.task_hub[0].id"),
        ]
    },
    "azurerm_subnet.app.default_outbound_access_enabled": ("false", "the app leaves by the gateway alone"),
    "azurerm_subnet.endpoints.default_outbound_access_enabled": ("false", "endpoints go nowhere"),
    "azurerm_network_security_group.main.dynamic.security_rule.content.protocol": ('"Tcp"', "TDS and HTTPS"),
    "azurerm_monitor_action_group.main.email_receiver.use_common_alert_schema": ("true", "one form for all alerts"),
    "azapi_update_resource.publishing.for_each": ('toset(["scm", "ftp"])', "the two that there are"),
    "azurerm_storage_account.main.network_rules.bypass": ('["None"]', "nobody else's service has anything to do here"),
    "azurerm_storage_container.package.container_access_type": ('"private"', "package and keys are nobody's"),
    "azurerm_log_analytics_workspace.main.local_authentication_enabled": ("false", "telemetry shows a token"),
    "azurerm_application_insights.main.local_authentication_enabled": ("false", "telemetry shows a token"),
    "azurerm_subnet.app.delegation.service_delegation.name": (
        '"Microsoft.App/environments"',
        "Flex Consumption: what a subnet is delegated to",
    ),
    "azurerm_service_plan.main.zone_balancing_enabled": (
        "var.zone_redundant",
        "in a region without zones no plan is made with true",
    ),
    "azurerm_storage_account.main.account_replication_type": (
        'var.zone_redundant ? "ZRS" : "LRS"',
        "Flex Consumption: zones need ZRS, and a region without has none",
    ),
}

# No bound of ours.
LARGEST = 2**63 - 1

# What a parameter may be, and whose limit it is.
LIMITS = {
    "environmentName": (range(1, 33), "with 14 more letters the longest of the names above are short enough"),
    "concurrency": (range(1, 257), "the engine's own bound"),
    "sliceMinutes": (range(1, 5), "host.json: functionTimeout is five minutes"),
    "sqlPoolSize": (range(1, LARGEST + 1), "one connection at least"),
    "instanceMemoryMB": ([512, 2048, 4096], "Flex Consumption: instance sizes"),
    "maximumInstanceCount": (range(1, 1001), "Flex Consumption: 1000 instances at most"),
    "alwaysReadyInstances": (range(-1, 21), "-1 is the template's own choice; more than 20 nobody needs"),
    "schedulerSku": (["Consumption", "Dedicated"], "REST reference of schedulers"),
    "noSuccessWindow": (
        [*(f"PT{hours}H" for hours in range(1, 7)), "P1D", "P2D"],
        "azurerm_monitor_scheduled_query_rules_alert_v2, window_duration; not less than the frequency",
    ),
    "logRetentionDays": (range(30, 731), "of PerGB2018: 30 to 730"),
    "auditLogs": (["none", "changes", "all"], "the template's own choice"),
}

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
        name = resource.name if resource.type in NAMELESS else longest(resource.name.rpartition("/")[2])
        body = {**plain(resource.body), "name": name}
        for fact in FACTS if facts is None else facts:
            if fact.type == resource.type:
                for value in _at(body, fact.path.split(".")):
                    if not fact.holds(value):
                        yield f"{resource.type} {resource.name}: {fact.path} is {value!r} ({fact.source})"
        if (check := _CHECKS.get(resource.type)) is not None:
            yield from (f"{resource.type} {resource.name}: {said}" for said in check(body["properties"]))
        if resource.type == _ASSIGNMENT:
            role = body["properties"]["roleDefinitionId"].rpartition("/")[2]
            # Of two with one name the second is refused; with another principal a name cannot be given again.
            if name != f"guid of {resource.scope} {body['properties']['principalId']} {role}":
                yield f"{resource.type} of {role}: its name is {name}"


def terraform_that_fails(folder: Path) -> Iterator[str]:
    """What of the facts does not hold for infra/terraform as it is written, a line for each."""
    texts = written(folder)
    for fact in FACTS:
        places = [place for place in texts if fact.terraform and fnmatchcase(place, fact.terraform)]
        if fact.terraform and not places:
            yield f"{fact.terraform}: nothing stands there"
        for place in places:
            yield from (f"{place} is {text} ({fact.source})" for text in texts[place] if not fact.holds(constant(text)))
    for name, (pattern, source) in APP_SETTINGS.items():
        for text in texts.get(f"locals.settings..{name}", ["nowhere"]):
            # What Bicep's evaluation has as a reference.
            if not re.fullmatch(pattern, re.sub(r"\$\{.+?\}", "<reference>", str(constant(text)))):
                yield f"{name} is {text} ({source})"
    for place, (expression, source) in EXPRESSIONS.items():
        if texts.get(place) != [expression]:
            yield f"{place} is {texts.get(place)} ({source})"


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


def _scheduler(properties: dict[str, Any]) -> Iterator[str]:
    sku = properties["sku"]
    if ("capacity" in sku) != (sku["name"] == "Dedicated"):
        yield f"the sku is {sku}: a capacity is for Dedicated alone"


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
    _SCHEDULER: _scheduler,
    _SITE: _site,
}
