"""What infra/ must make before what: where the order is wrong, a deployment succeeds or fails by luck."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """``later`` comes after each of ``earlier``, as modules of Bicep and as resources of Terraform."""

    why: str
    later: str
    earlier: tuple[str, ...]
    terraform_later: str
    terraform_earlier: tuple[str, ...]


# Private endpoints as modules of Bicep and as resources of Terraform, without that of the app.
ENDPOINTS = ("storageEndpoints", "vaultEndpoint", "schedulerEndpoint", "monitorEndpoint", "sqlEndpoint")
TERRAFORM_ENDPOINTS = ("blob", "queue", "table", "vault", "scheduler", "monitor", "sql")

ORDERS = [
    Order(
        "a host that starts before it may read its storage fails until it is restarted",
        *("app", ("access", "storage")),
        "azapi_resource.app",
        (
            *(f"azurerm_role_assignment.{name}" for name in ("host_blobs", "durable_queues", "durable_tables")),
            *(f"azurerm_role_assignment.{name}" for name in ("telemetry", "secrets", "orchestrations")),
            "azurerm_storage_container.package",
        ),
    ),
    Order(
        "a host that starts before its storage can be reached, or before the names lead to the endpoints, fails alike",
        *("app", (*ENDPOINTS, "network")),
        "azapi_resource.app",
        (
            *(f"azurerm_private_endpoint.{name}" for name in TERRAFORM_ENDPOINTS),
            *("azurerm_private_dns_zone_virtual_network_link.main", "azurerm_subnet_nat_gateway_association.app"),
            "azurerm_nat_gateway_public_ip_association.main",
        ),
    ),
    Order(
        "an app that runs before its subnet is closed reaches all of the internet",
        *("app", ("network",)),
        "azapi_resource.app",
        ("azurerm_network_security_group.main", "azurerm_subnet_network_security_group_association.app"),
    ),
    Order(
        "an endpoint in a network that is being changed fails, and one before its rules is open for a while",
        *("storageEndpoints", ("network",)),
        "azurerm_private_endpoint.blob",
        (
            *(f"azurerm_subnet_network_security_group_association.{name}" for name in ("app", "endpoints")),
            "azurerm_subnet_nat_gateway_association.app",
        ),
    ),
    Order(
        "an endpoint of a link scope takes its records from what is in the scope when it is made",
        *("monitorEndpoint", ("monitorLink", "network")),
        "azurerm_private_endpoint.monitor",
        (
            *(f"azurerm_monitor_private_link_scoped_service.{name}" for name in ("logs", "insights")),
            "azurerm_private_dns_zone.main",
            "azurerm_subnet.endpoints",
        ),
    ),
    *(
        Order(
            "an endpoint needs what it leads to, and a record needs its zone",
            *(endpoint, ("network", target)),
            f"azurerm_private_endpoint.{name}",
            (resource, "azurerm_private_dns_zone.main"),
        )
        for endpoint, target, name, resource in [
            ("storageEndpoints", "storage", "blob", "azurerm_storage_account.main"),
            ("vaultEndpoint", "vault", "vault", "azurerm_key_vault.main"),
            ("schedulerEndpoint", "scheduler", "scheduler", "azapi_resource.scheduler"),
        ]
    ),
    Order(
        "an endpoint needs what it leads to",
        *("appEndpoint", ("app", "network")),
        "azurerm_private_endpoint.app",
        ("azapi_resource.app", "azurerm_private_dns_zone.main", "azurerm_subnet.endpoints"),
    ),
    Order(
        "a role is granted to an identity that exists, on what exists",
        *("access", ("identity", "storage", "monitoring", "vault", "scheduler")),
        "azurerm_role_assignment.orchestrations",
        ("azurerm_user_assigned_identity.app", "azapi_resource.scheduler"),
    ),
]


@dataclass(frozen=True)
class OneAtATime:
    """What is made one after the other: resources of Terraform, and what of Bicep is declared with ``declared``."""

    why: str
    file: str
    declared: str
    terraform: str


ONE_AT_A_TIME = [
    OneAtATime(
        "each changes the subnet, and Azure refuses a second meanwhile (ReferencedResourceNotProvisioned; "
        "microsoft/AzureTRE, issues 1494 and 3433)",
        *("main.bicep", "modules/endpoint.bicep"),
        "azurerm_private_endpoint",
    ),
    OneAtATime(
        "a scope that is being changed takes no second (hashicorp/terraform-provider-azurerm, issue 22236)",
        *("modules/monitorlink.bicep", "Microsoft.Insights/privateLinkScopes/scopedResources@2021-07-01-preview"),
        "azurerm_monitor_private_link_scoped_service",
    ),
]
