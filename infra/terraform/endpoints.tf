# Private endpoints, each with its record in a private DNS zone of this resource group. They are made one after the other:
# each changes the subnet, and Azure refuses a second until the first is done (`ReferencedResourceNotProvisioned`).

resource "azurerm_private_endpoint" "blob" {
  count               = var.private_network ? 1 : 0
  name                = "pep-blob-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-blob-${local.suffix}"
    private_connection_resource_id = azurerm_storage_account.main.id
    subresource_names              = ["blob"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main["privatelink.blob.core.windows.net"].id]
  }

  # The subnets are whole before, with what they let out.
  depends_on = [
    azurerm_subnet_nat_gateway_association.app,
    azurerm_subnet_network_security_group_association.app,
    azurerm_subnet_network_security_group_association.endpoints,
  ]
}

resource "azurerm_private_endpoint" "queue" {
  count               = var.private_network ? 1 : 0
  name                = "pep-queue-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-queue-${local.suffix}"
    private_connection_resource_id = azurerm_storage_account.main.id
    subresource_names              = ["queue"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main["privatelink.queue.core.windows.net"].id]
  }

  depends_on = [azurerm_private_endpoint.blob]
}

resource "azurerm_private_endpoint" "table" {
  count               = var.private_network ? 1 : 0
  name                = "pep-table-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-table-${local.suffix}"
    private_connection_resource_id = azurerm_storage_account.main.id
    subresource_names              = ["table"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main["privatelink.table.core.windows.net"].id]
  }

  depends_on = [azurerm_private_endpoint.queue]
}

resource "azurerm_private_endpoint" "vault" {
  count               = var.private_network && var.key_vault ? 1 : 0
  name                = "pep-vault-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-vault-${local.suffix}"
    private_connection_resource_id = azurerm_key_vault.main[0].id
    subresource_names              = ["vault"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main["privatelink.vaultcore.azure.net"].id]
  }

  depends_on = [azurerm_private_endpoint.table]
}

resource "azurerm_private_endpoint" "scheduler" {
  count               = var.private_network && var.durable_task_scheduler ? 1 : 0
  name                = "pep-scheduler-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-scheduler-${local.suffix}"
    private_connection_resource_id = azapi_resource.scheduler[0].id
    subresource_names              = ["scheduler"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main["privatelink.durabletask.io"].id]
  }

  depends_on = [azurerm_private_endpoint.vault]
}

resource "azurerm_private_endpoint" "monitor" {
  count               = var.monitor_private_link ? 1 : 0
  name                = "pep-monitor-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-monitor-${local.suffix}"
    private_connection_resource_id = azurerm_monitor_private_link_scope.main[0].id
    subresource_names              = ["azuremonitor"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [for name in concat(local.monitor_zones, ["privatelink.blob.core.windows.net"]) : azurerm_private_dns_zone.main[name].id]
  }

  # It takes its records from what is in the scope.
  depends_on = [
    azurerm_private_endpoint.scheduler,
    azurerm_monitor_private_link_scoped_service.insights,
  ]
}

resource "azurerm_private_endpoint" "sql" {
  count               = var.private_network && var.sql_server_resource_id != "" ? 1 : 0
  name                = "pep-sql-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-sql-${local.suffix}"
    private_connection_resource_id = var.sql_server_resource_id
    subresource_names              = [local.sql_is_instance ? "managedInstance" : "sqlServer"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main[local.sql_zone].id]
  }

  depends_on = [azurerm_private_endpoint.monitor]
}

# Packages come this way where the SCM site is closed. The app comes after the other endpoints.
resource "azurerm_private_endpoint" "app" {
  count               = var.private_network ? 1 : 0
  name                = "pep-app-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = "pep-app-${local.suffix}"
    private_connection_resource_id = azapi_resource.app.id
    subresource_names              = ["sites"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main["privatelink.azurewebsites.net"].id]
  }
}
