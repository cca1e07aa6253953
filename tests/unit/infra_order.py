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


ORDERS = [
    Order(
        "a host that starts before it may read its storage fails until somebody restarts it",
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
        *("app", ("storageEndpoints", "vaultEndpoint", "schedulerEndpoint", "monitorEndpoint", "network")),
        "azapi_resource.app",
        (
            *("azurerm_private_endpoint.main", "azurerm_private_dns_zone_virtual_network_link.main"),
            *("azurerm_nat_gateway_public_ip_association.main", "azurerm_subnet_nat_gateway_association.app"),
        ),
    ),
    Order(
        "an endpoint of a link scope takes its records from what is in the scope when it is made",
        *("monitorEndpoint", ("monitorLink", "network")),
        "azurerm_private_endpoint.main",
        (
            "azurerm_monitor_private_link_scoped_service.main",
            "azurerm_private_dns_zone.main",
            "azurerm_subnet.endpoints",
        ),
    ),
    *(
        Order("a record needs its zone", endpoint, ("network", target), "azurerm_private_endpoint.main", (resource,))
        for endpoint, target, resource in [
            ("storageEndpoints", "storage", "azurerm_storage_account.main"),
            ("vaultEndpoint", "vault", "azurerm_key_vault.main"),
            ("schedulerEndpoint", "scheduler", "azapi_resource.scheduler"),
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
