# A virtual network with a subnet for the app, one for private endpoints, and one address to leave by.

locals {
  # What no virtual network may have, and what else is no part of the internet.
  reserved = ["127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"]
  private  = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "240.0.0.0/4"]

  # The portal shows a server as tcp:HOST,PORT.
  sql_server_parts = [for part in split(",", replace(trimspace(var.sql_server), "/^(?i:tcp:)/", "")) : trimspace(part)]
  # A managed instance is NAME.PREFIX.database.windows.net, and PREFIX is part of its zone.
  sql_host_parts  = split(".", local.sql_server_parts[0])
  sql_is_instance = strcontains(lower(var.sql_server_resource_id), "/managedinstances/")
  sql_zone        = local.sql_is_instance ? "privatelink.${join(".", slice(local.sql_host_parts, 1, length(local.sql_host_parts)))}" : "privatelink.database.windows.net"

  # Azure SQL sends connections that come from within Azure on to other ports.
  sql_port = length(local.sql_server_parts) > 1 ? local.sql_server_parts[1] : "1433"
  # What the app may reach of the internet from its private network; the rest is closed.
  egress = concat(
    [{ name = "https", to = "Internet", ports = ["443"] }],
    var.sql_server_resource_id != "" ? [] : [
      { name = "source", to = "Internet", ports = [local.sql_port] },
      { name = "source-redirected", to = "Sql", ports = ["11000-11999"] },
    ],
    length(var.egress_ports) == 0 ? [] : [{ name = "further", to = "Internet", ports = var.egress_ports }],
  )

  monitor_zones = [
    "privatelink.monitor.azure.com",
    "privatelink.oms.opinsights.azure.com",
    "privatelink.ods.opinsights.azure.com",
    "privatelink.agentsvc.azure-automation.net",
  ]

  zone_names = var.private_network ? toset(concat(
    ["privatelink.blob.core.windows.net", "privatelink.queue.core.windows.net", "privatelink.table.core.windows.net"],
    var.key_vault ? ["privatelink.vaultcore.azure.net"] : [],
    var.durable_task_scheduler ? ["privatelink.durabletask.io"] : [],
    var.sql_server_resource_id == "" ? [] : [local.sql_zone],
    var.monitor_private_link ? local.monitor_zones : [],
    ["privatelink.azurewebsites.net"],
  )) : toset([])
}

# Neither subnet takes connections from the internet, by the platform's own rules, and they reach little of it.
resource "azurerm_network_security_group" "main" {
  count               = var.private_network ? 1 : 0
  name                = "nsg-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags

  dynamic "security_rule" {
    for_each = local.egress

    content {
      name                       = "allow-${security_rule.value.name}"
      priority                   = 100 + security_rule.key
      direction                  = "Outbound"
      access                     = "Allow"
      protocol                   = "Tcp"
      source_address_prefix      = "*"
      source_port_range          = "*"
      destination_address_prefix = security_rule.value.to
      destination_port_ranges    = security_rule.value.ports
    }
  }

  security_rule {
    name                       = "deny-internet"
    priority                   = 4096
    direction                  = "Outbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "Internet"
    destination_port_ranges    = ["0-65535"]
  }
}

# OneLake, Entra ID and Application Insights are on the internet; subnets no longer reach it by default.
resource "azurerm_public_ip" "main" {
  count               = var.private_network ? 1 : 0
  name                = "pip-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  sku                 = "Standard"
  allocation_method   = "Static"
}

resource "azurerm_nat_gateway" "main" {
  count               = var.private_network ? 1 : 0
  name                = "ng-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  sku_name            = "Standard"
}

resource "azurerm_nat_gateway_public_ip_association" "main" {
  count                = var.private_network ? 1 : 0
  nat_gateway_id       = azurerm_nat_gateway.main[0].id
  public_ip_address_id = azurerm_public_ip.main[0].id
}

resource "azurerm_virtual_network" "main" {
  count               = var.private_network ? 1 : 0
  name                = "vnet-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  address_space       = [var.network_prefix]
}

resource "azurerm_subnet" "app" {
  count                             = var.private_network ? 1 : 0
  name                              = "snet-app"
  resource_group_name               = azurerm_resource_group.main.name
  virtual_network_name              = azurerm_virtual_network.main[0].name
  address_prefixes                  = [var.app_subnet_prefix]
  default_outbound_access_enabled   = false
  private_endpoint_network_policies = "Disabled"

  delegation {
    name = "app"
    service_delegation {
      name = "Microsoft.App/environments"
      # Azure adds it: without it here, every plan would want to take it away.
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  count                             = var.private_network ? 1 : 0
  name                              = "snet-endpoints"
  resource_group_name               = azurerm_resource_group.main.name
  virtual_network_name              = azurerm_virtual_network.main[0].name
  address_prefixes                  = [var.endpoint_subnet_prefix]
  default_outbound_access_enabled   = false
  private_endpoint_network_policies = "Enabled"
}

resource "azurerm_subnet_nat_gateway_association" "app" {
  count          = var.private_network ? 1 : 0
  subnet_id      = azurerm_subnet.app[0].id
  nat_gateway_id = azurerm_nat_gateway.main[0].id
}

resource "azurerm_subnet_network_security_group_association" "app" {
  count                     = var.private_network ? 1 : 0
  subnet_id                 = azurerm_subnet.app[0].id
  network_security_group_id = azurerm_network_security_group.main[0].id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  count                     = var.private_network ? 1 : 0
  subnet_id                 = azurerm_subnet.endpoints[0].id
  network_security_group_id = azurerm_network_security_group.main[0].id
}

resource "azurerm_private_dns_zone" "main" {
  for_each            = local.zone_names
  name                = each.value
  resource_group_name = azurerm_resource_group.main.name
  tags                = local.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "main" {
  for_each             = local.zone_names
  name                 = "vnet-${local.suffix}"
  private_dns_zone_id  = azurerm_private_dns_zone.main[each.value].id
  virtual_network_id   = azurerm_virtual_network.main[0].id
  registration_enabled = false
  tags                 = local.tags
}
