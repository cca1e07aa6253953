"""What the azurerm and azapi providers ask Azure Resource Manager for: one function for each type of resource.

Each takes every argument of its resource from Terraform's plan; one that is left over is an error, so that an
unforeseen argument cannot make the two templates differ unseen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.unit.infra_resources import SUBSCRIPTION_ID, TENANT_ID, TOKEN, TOKEN_OF, Reference, Resource

# Attributes that only Azure knows: argument-like name → path in the ARM resource.
_COMPUTED = {
    "client_id": "properties.clientId",
    "connection_string": "properties.ConnectionString",
    "id": "id",
    "primary_blob_endpoint": "properties.primaryEndpoints.blob",
    "principal_id": "properties.principalId",
}

_ARM_TYPES = {
    "azurerm_application_insights": "Microsoft.Insights/components",
    "azurerm_application_insights_workbook": "Microsoft.Insights/workbooks",
    "azurerm_key_vault": "Microsoft.KeyVault/vaults",
    "azurerm_log_analytics_workspace": "Microsoft.OperationalInsights/workspaces",
    "azurerm_monitor_action_group": "Microsoft.Insights/actionGroups",
    "azurerm_monitor_scheduled_query_rules_alert_v2": "Microsoft.Insights/scheduledQueryRules",
    "azurerm_monitor_private_link_scope": "Microsoft.Insights/privateLinkScopes",
    "azurerm_nat_gateway": "Microsoft.Network/natGateways",
    "azurerm_network_security_group": "Microsoft.Network/networkSecurityGroups",
    "azurerm_private_dns_zone": "Microsoft.Network/privateDnsZones",
    "azurerm_private_endpoint": "Microsoft.Network/privateEndpoints",
    "azurerm_public_ip": "Microsoft.Network/publicIPAddresses",
    "azurerm_resource_group": "Microsoft.Resources/resourceGroups",
    "azurerm_service_plan": "Microsoft.Web/serverfarms",
    "azurerm_storage_account": "Microsoft.Storage/storageAccounts",
    "azurerm_user_assigned_identity": "Microsoft.ManagedIdentity/userAssignedIdentities",
    "azurerm_virtual_network": "Microsoft.Network/virtualNetworks",
}


# The suffix of names as Terraform computes it; Bicep's hash is another one.
_TOKEN = hashlib.sha256("/".join(TOKEN_OF).encode()).hexdigest()[: len(TOKEN)]

_REFERENCE = re.compile(r"<(\S+) (\S+): (\S+)>")

# What Azure lets the service of a delegation do with a subnet, when it is Microsoft.App/environments.
_JOIN = ["Microsoft.Network/virtualNetworks/subnets/join/action"]


class Arguments(dict[str, Any]):
    """The arguments of a resource. `done` raises where one has not been taken."""

    def inner(self, name: str) -> Arguments:
        """The one inner block of a name."""
        (block,) = self.pop(name)
        return Arguments(block)

    def done(self, of: str) -> None:
        """Nothing is left over; a kind of block of which there is none is nothing."""
        if left := sorted(name for name, value in self.items() if value != []):
            raise ValueError(f"{of}: {', '.join(left)} is not understood")


@dataclass(frozen=True)
class Instance:
    """One resource of a plan, with what is known of it."""

    type: str
    address: str
    values: Mapping[str, Any]

    def arguments(self) -> Arguments:
        """What was written, and not what Azure would return."""
        answered = answers(self.type, self.values)
        return Arguments(
            {
                name: value if name == "body" else _without_nulls(value)
                for name, value in self.values.items()
                if value is not None and value != answered.get(name)
            }
        )


def answers(type_: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Azure would set of a resource or data source: a text that names resource and property."""
    if type_ == "azurerm_subscription":
        return {
            "id": f"/subscriptions/{SUBSCRIPTION_ID}",
            "subscription_id": SUBSCRIPTION_ID,
            "tenant_id": TENANT_ID,
        }
    if type_ == "azurerm_subnet":
        network = Reference(_ARM_TYPES["azurerm_virtual_network"], arguments["virtual_network_name"], "id")
        return {"id": f"{network}/subnets/{arguments['name']}"}
    if type_.startswith("azapi_"):
        reference = reference_to(type_, arguments)
        return {"id": str(reference.at("id")), "output": _output(reference, arguments)}
    if type_ in _ARM_TYPES:
        reference = reference_to(type_, arguments)
        return {name: str(reference.at(path)) for name, path in _COMPUTED.items()}
    return {}


def _output(reference: Reference, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What azapi passes on of a response: the paths that it was asked for, and no other."""
    output: dict[str, Any] = {}
    for path in arguments["response_export_values"] or []:
        *outer, last = path.split(".")
        place = output
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = str(reference.at(path))
    return output


def reference_to(type_: str, arguments: Mapping[str, Any]) -> Reference:
    """The ARM type and name of a resource."""
    name = arguments["name"]
    if not type_.startswith("azapi_"):
        return Reference(_ARM_TYPES[type_], name)
    arm_type = arguments["type"].partition("@")[0]
    nested = arm_type.count("/") > 1
    return Reference(arm_type, f"{_read(arguments['parent_id']).name}/{name}" if nested else name)


def _read(text: str) -> Reference:
    """The reference that a text is."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} does not refer to a resource")
    return Reference(*found.groups())


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def create(plan: Mapping[str, Any]) -> tuple[list[Resource], dict[str, Any]]:
    """Every resource that a plan of Terraform's makes, and the outputs."""
    planned = json.loads(json.dumps(plan["planned_values"]).replace(_TOKEN, TOKEN))
    instances = [
        Instance(each["type"], each["address"], each["values"]) for each in planned["root_module"]["resources"]
    ]
    (group,) = (each.values["name"] for each in instances if each.type == "azurerm_resource_group")
    links = _associations(instances)
    resources: list[Resource] = []
    for instance in instances:
        arguments = instance.arguments()
        if arguments.pop("resource_group_name", group) != group:
            raise ValueError(f"{instance.address} is in another resource group")
        if instance.type in _TRANSLATIONS:
            resources += _TRANSLATIONS[instance.type](instance, arguments, links)
            arguments.done(instance.address)
        elif instance.type not in _ASSOCIATIONS:
            raise ValueError(f"{instance.type} is not understood")
    return resources, {name: output.get("value") for name, output in planned["outputs"].items()}


Links = dict[str, dict[str, Any]]

_ASSOCIATIONS = {
    "azurerm_nat_gateway_public_ip_association": ("nat_gateway_id", "publicIpAddresses", "public_ip_address_id"),
    "azurerm_subnet": ("virtual_network_name", "subnets", ""),
    "azurerm_subnet_nat_gateway_association": ("subnet_id", "natGateway", "nat_gateway_id"),
    "azurerm_subnet_network_security_group_association": (
        "subnet_id",
        "networkSecurityGroup",
        "network_security_group_id",
    ),
}


def _associations(instances: list[Instance]) -> Links:
    """What other resources add to one: by the id of the one, then by property."""
    links: Links = defaultdict(dict)
    subnets = [instance for instance in instances if instance.type == "azurerm_subnet"]
    for instance in instances:
        if instance.type not in _ASSOCIATIONS or instance.type == "azurerm_subnet":
            continue
        holder, key, other = _ASSOCIATIONS[instance.type]
        links[instance.values[holder]][key] = {"id": instance.values[other]}
    for subnet in subnets:
        arguments = subnet.arguments()
        arguments.pop("resource_group_name")
        name = arguments.pop("name")
        properties = {
            "addressPrefixes": arguments.pop("address_prefixes"),
            "defaultOutboundAccess": arguments.pop("default_outbound_access_enabled"),
            "privateEndpointNetworkPolicies": arguments.pop("private_endpoint_network_policies"),
            **links.get(subnet.values["id"], {}),
        }
        if arguments.get("delegation"):
            delegation = arguments.inner("delegation")
            service = delegation.inner("service_delegation")
            entry = {"name": delegation.pop("name"), "properties": {"serviceName": service.pop("name")}}
            properties["delegations"] = [entry]
            # Azure sets them by the service; azurerm compares what is written with what it finds.
            if service.pop("actions", None) != _JOIN:
                raise ValueError(f"{name}: a delegation without actions = {_JOIN} never plans clean")
            service.done(name)
            delegation.done(name)
        network = arguments.pop("virtual_network_name")
        arguments.done(name)
        links[network].setdefault("subnets", []).append({"name": name, "properties": properties})
    return links


def _common(instance: Instance, arguments: Arguments, **body: Any) -> Resource:
    arguments.pop("name")
    for name in ("location", "tags"):
        if name in arguments:
            body[name] = arguments.pop(name)
    reference = reference_to(instance.type, instance.values)
    return Resource(reference.type, reference.name, body)


def _enabled(*, on: bool) -> str:
    return "Enabled" if on else "Disabled"


def _simple(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    return [_common(instance, arguments)]


def _log_workspace(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    features = {
        "disableLocalAuth": not arguments.pop("local_authentication_enabled"),
        "enableLogAccessUsingOnlyResourcePermissions": arguments.pop("allow_resource_only_permissions"),
    }
    properties = {
        "sku": {"name": arguments.pop("sku")},
        "retentionInDays": arguments.pop("retention_in_days"),
        "workspaceCapping": {"dailyQuotaGb": arguments.pop("daily_quota_gb")},
        "features": features,
        "publicNetworkAccessForIngestion": arguments.pop("internet_ingestion_access_type"),
        "publicNetworkAccessForQuery": arguments.pop("internet_query_access_type"),
    }
    return [_common(instance, arguments, properties=properties)]


def _insights(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    kind = arguments.pop("application_type")
    properties = {
        "Application_Type": kind,
        "WorkspaceResourceId": arguments.pop("workspace_id"),
        "DisableLocalAuth": not arguments.pop("local_authentication_enabled"),
        "publicNetworkAccessForIngestion": _enabled(on=arguments.pop("internet_ingestion_enabled")),
        "publicNetworkAccessForQuery": _enabled(on=arguments.pop("internet_query_enabled")),
    }
    return [_common(instance, arguments, kind=kind, properties=properties)]


def _storage(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    rules, blobs = arguments.inner("network_rules"), arguments.inner("blob_properties")
    acls = {
        "bypass": ", ".join(rules.pop("bypass")),
        "defaultAction": rules.pop("default_action"),
        "ipRules": [{"value": each, "action": "Allow"} for each in rules.pop("ip_rules")],
        "virtualNetworkRules": [{"id": each, "action": "Allow"} for each in rules.pop("virtual_network_subnet_ids")],
    }
    retention = {
        "containerDeleteRetentionPolicy": {"enabled": True, **blobs.inner("container_delete_retention_policy")},
        "deleteRetentionPolicy": {"enabled": True, **blobs.inner("delete_retention_policy")},
    }
    properties = {
        "accessTier": arguments.pop("access_tier"),
        "allowBlobPublicAccess": arguments.pop("allow_nested_items_to_be_public"),
        "allowCrossTenantReplication": arguments.pop("cross_tenant_replication_enabled"),
        "allowSharedKeyAccess": arguments.pop("shared_access_key_enabled"),
        "defaultToOAuthAuthentication": arguments.pop("default_to_oauth_authentication"),
        "isLocalUserEnabled": arguments.pop("local_user_enabled"),
        "minimumTlsVersion": arguments.pop("min_tls_version"),
        "publicNetworkAccess": _enabled(on=arguments.pop("public_network_access_enabled")),
        "supportsHttpsTrafficOnly": arguments.pop("https_traffic_only_enabled"),
        "networkAcls": acls,
    }
    sku = {"name": f"{arguments.pop('account_tier')}_{arguments.pop('account_replication_type')}"}
    rules.done("network_rules")
    blobs.done("blob_properties")
    account = _common(instance, arguments, kind=arguments.pop("account_kind"), sku=sku, properties=properties)
    service = Resource(f"{account.type}/blobServices", f"{account.name}/default", {"properties": retention})
    return [account, service]


def _container(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    account = _read(arguments.pop("storage_account_id"))
    access = {"private": "None", "blob": "Blob", "container": "Container"}[arguments.pop("container_access_type")]
    name = f"{account.name}/default/{arguments.pop('name')}"
    return [Resource(f"{account.type}/blobServices/containers", name, {"properties": {"publicAccess": access}})]


def _role(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    scope = arguments.pop("scope")
    properties = {
        "principalId": arguments.pop("principal_id"),
        "principalType": arguments.pop("principal_type"),
        "roleDefinitionId": arguments.pop("role_definition_id"),
    }
    return [Resource("Microsoft.Authorization/roleAssignments", "", {"properties": properties}, scope)]


def _plan(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    tiers = {"FC1": "FlexConsumption"}
    name = arguments.pop("sku_name")
    properties = {
        "reserved": arguments.pop("os_type") == "Linux",
        "zoneRedundant": arguments.pop("zone_balancing_enabled"),
    }
    sku = {"name": name, "tier": tiers[name]}
    return [_common(instance, arguments, kind="functionapp", sku=sku, properties=properties)]


def _azapi(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    version = arguments.pop("type").partition("@")[2]
    arguments.pop("response_export_values", None)
    body = dict(arguments.pop("body"))
    if arguments.get("identity"):
        identity = arguments.inner("identity")
        ids: dict[str, Any] = {each: {} for each in identity.pop("identity_ids")}
        body["identity"] = {"type": identity.pop("type"), "userAssignedIdentities": ids}
        identity.done("identity")
    parent = _read(arguments.pop("parent_id"))
    made = _common(instance, arguments, **body)
    if parent.type != (
        made.type.rpartition("/")[0] if made.type.count("/") > 1 else _ARM_TYPES["azurerm_resource_group"]
    ):
        raise ValueError(f"{instance.address} is in {parent}")
    return [replace(made, version=version)]


def _vault(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    acls = arguments.inner("network_acls")
    properties = {
        "tenantId": arguments.pop("tenant_id"),
        "sku": {"family": "A", "name": arguments.pop("sku_name")},
        "enableRbacAuthorization": arguments.pop("rbac_authorization_enabled"),
        "enablePurgeProtection": arguments.pop("purge_protection_enabled"),
        # The provider brings back a deleted vault by itself.
        "createMode": "default",
        # The provider never makes a vault without.
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": arguments.pop("soft_delete_retention_days"),
        "publicNetworkAccess": _enabled(on=arguments.pop("public_network_access_enabled")),
        "networkAcls": {
            "bypass": acls.pop("bypass"),
            "defaultAction": acls.pop("default_action"),
            "ipRules": [{"value": each} for each in acls.pop("ip_rules")],
            "virtualNetworkRules": [{"id": each} for each in acls.pop("virtual_network_subnet_ids")],
        },
    }
    acls.done("network_acls")
    return [_common(instance, arguments, properties=properties)]


def _diagnostics(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    names = {"category": "category", "category_group": "categoryGroup"}
    logs = [
        {names[name]: value for name, value in each.items()} | {"enabled": True}
        for each in arguments.pop("enabled_log")
    ]
    body = {"properties": {"workspaceId": arguments.pop("log_analytics_workspace_id"), "logs": logs}}
    # An id that is put together, of a service of a storage account.
    scope = re.sub(r"<(\S+) (\S+): id>/(\w+)/(\w+)", r"<\1/\3 \2/\4: id>", arguments.pop("target_resource_id"))
    return [Resource("Microsoft.Insights/diagnosticSettings", arguments.pop("name"), body, scope)]


def _public_ip(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    sku = {"name": arguments.pop("sku")}
    properties = {"publicIPAllocationMethod": arguments.pop("allocation_method")}
    return [_common(instance, arguments, sku=sku, properties=properties)]


def _nat_gateway(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    addresses = links[instance.values["id"]]["publicIpAddresses"]
    sku = {"name": arguments.pop("sku_name")}
    return [_common(instance, arguments, sku=sku, properties={"publicIpAddresses": [addresses]})]


def _security_group(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    names = {
        "priority": "priority",
        "direction": "direction",
        "access": "access",
        "protocol": "protocol",
        "source_address_prefix": "sourceAddressPrefix",
        "source_port_range": "sourcePortRange",
        "destination_address_prefix": "destinationAddressPrefix",
        "destination_port_ranges": "destinationPortRanges",
    }
    rules = [
        {"name": rule.pop("name"), "properties": {names[name]: value for name, value in rule.items()}}
        for rule in arguments.pop("security_rule")
    ]
    return [_common(instance, arguments, properties={"securityRules": rules})]


def _link_scope(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    modes = {
        "ingestionAccessMode": arguments.pop("ingestion_access_mode"),
        "queryAccessMode": arguments.pop("query_access_mode"),
    }
    return [_common(instance, arguments, location="global", properties={"accessModeSettings": modes})]


def _scoped_service(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    name = f"{arguments.pop('scope_name')}/{arguments.pop('name')}"
    body = {"properties": {"linkedResourceId": arguments.pop("linked_resource_id")}}
    return [Resource("Microsoft.Insights/privateLinkScopes/scopedResources", name, body)]


def _network(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    properties = {
        "addressSpace": {"addressPrefixes": arguments.pop("address_space")},
        **links[arguments["name"]],
    }
    return [_common(instance, arguments, properties=properties)]


def _zone(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    return [_common(instance, arguments, location="global")]


def _zone_link(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    zone, name = _read(arguments.pop("private_dns_zone_id")).name, arguments.pop("name")
    properties = {
        "registrationEnabled": arguments.pop("registration_enabled"),
        "virtualNetwork": {"id": arguments.pop("virtual_network_id")},
    }
    body = {"location": "global", "tags": arguments.pop("tags"), "properties": properties}
    return [Resource("Microsoft.Network/privateDnsZones/virtualNetworkLinks", f"{zone}/{name}", body)]


def _private_endpoint(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    connection, zones = arguments.inner("private_service_connection"), arguments.inner("private_dns_zone_group")
    if connection.pop("is_manual_connection"):
        raise ValueError("a connection that waits for approval is not what Bicep makes")
    service = {
        "name": connection.pop("name"),
        "properties": {
            "privateLinkServiceId": connection.pop("private_connection_resource_id"),
            "groupIds": connection.pop("subresource_names"),
        },
    }
    # The provider names each configuration after its zone.
    configurations = [
        {"name": _read(zone).name, "properties": {"privateDnsZoneId": zone}}
        for zone in zones.pop("private_dns_zone_ids")
    ]
    properties = {"subnet": {"id": arguments.pop("subnet_id")}, "privateLinkServiceConnections": [service]}
    endpoint = _common(instance, arguments, properties=properties)
    name = f"{endpoint.name}/{zones.pop('name')}"
    records = {"properties": {"privateDnsZoneConfigs": configurations}}
    connection.done("private_service_connection")
    zones.done("private_dns_zone_group")
    return [endpoint, Resource(f"{endpoint.type}/privateDnsZoneGroups", name, records)]


def _action_group(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    receivers = [
        {
            "name": each["name"],
            "emailAddress": each["email_address"],
            "useCommonAlertSchema": each["use_common_alert_schema"],
        }
        for each in arguments.pop("email_receiver")
    ]
    properties = {
        "groupShortName": arguments.pop("short_name"),
        "enabled": arguments.pop("enabled"),
        "emailReceivers": receivers,
    }
    return [_common(instance, arguments, properties=properties)]


def _alert(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    criteria = arguments.inner("criteria")
    periods, action = criteria.inner("failing_periods"), arguments.inner("action")
    condition = {
        "query": criteria.pop("query"),
        "timeAggregation": criteria.pop("time_aggregation_method"),
        "operator": criteria.pop("operator"),
        "threshold": criteria.pop("threshold"),
        "failingPeriods": {
            "numberOfEvaluationPeriods": periods.pop("number_of_evaluation_periods"),
            "minFailingPeriodsToAlert": periods.pop("minimum_failing_periods_to_trigger_alert"),
        },
    }
    properties = {
        "displayName": arguments.pop("display_name"),
        "description": arguments.pop("description"),
        "enabled": arguments.pop("enabled"),
        "severity": arguments.pop("severity"),
        "scopes": arguments.pop("scopes"),
        "evaluationFrequency": arguments.pop("evaluation_frequency"),
        "windowSize": arguments.pop("window_duration"),
        "skipQueryValidation": arguments.pop("skip_query_validation"),
        "autoMitigate": arguments.pop("auto_mitigation_enabled"),
        "criteria": {"allOf": [condition]},
        "actions": {"actionGroups": action.pop("action_groups")},
    }
    periods.done("failing_periods")
    action.done("action")
    criteria.done("criteria")
    return [_common(instance, arguments, kind="LogAlert", properties=properties)]


def _workbook(instance: Instance, arguments: Arguments, links: Links) -> list[Resource]:
    properties = {
        "displayName": arguments.pop("display_name"),
        "category": arguments.pop("category"),
        "sourceId": _in_lower_case(arguments.pop("source_id"), "azurerm_log_analytics_workspace"),
        "serializedData": arguments.pop("data_json"),
    }
    return [_common(instance, arguments, kind="shared", properties=properties)]


def _in_lower_case(text: str, type_: str) -> Reference:
    """The id of a resource that Terraform has put in lower case."""
    name = _read(text).name
    if text != str(Reference(_ARM_TYPES[type_], name, "id")).lower():
        raise ValueError(f"{text} is no id of {type_} in lower case")
    return Reference(_ARM_TYPES[type_], name, "id").at("lower case")


_TRANSLATIONS: dict[str, Callable[[Instance, Arguments, Links], list[Resource]]] = {
    "azapi_resource": _azapi,
    "azapi_update_resource": _azapi,
    "azurerm_application_insights": _insights,
    "azurerm_application_insights_workbook": _workbook,
    "azurerm_key_vault": _vault,
    "azurerm_log_analytics_workspace": _log_workspace,
    "azurerm_monitor_action_group": _action_group,
    "azurerm_monitor_diagnostic_setting": _diagnostics,
    "azurerm_monitor_scheduled_query_rules_alert_v2": _alert,
    "azurerm_monitor_private_link_scope": _link_scope,
    "azurerm_monitor_private_link_scoped_service": _scoped_service,
    "azurerm_nat_gateway": _nat_gateway,
    "azurerm_network_security_group": _security_group,
    "azurerm_private_dns_zone": _zone,
    "azurerm_private_dns_zone_virtual_network_link": _zone_link,
    "azurerm_private_endpoint": _private_endpoint,
    "azurerm_public_ip": _public_ip,
    "azurerm_resource_group": _simple,
    "azurerm_role_assignment": _role,
    "azurerm_service_plan": _plan,
    "azurerm_storage_account": _storage,
    "azurerm_storage_container": _container,
    "azurerm_user_assigned_identity": _simple,
    "azurerm_virtual_network": _network,
}
