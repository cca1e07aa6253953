# Storage of the Functions host, the deployed package and the durable state. Keys are switched off.

resource "azurerm_storage_account" "main" {
  name                             = "st${local.token}"
  resource_group_name              = azurerm_resource_group.main.name
  location                         = var.location
  tags                             = local.tags
  account_kind                     = "StorageV2"
  account_tier                     = "Standard"
  account_replication_type         = var.zone_redundant ? "ZRS" : "LRS"
  access_tier                      = "Hot"
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  shared_access_key_enabled        = false
  default_to_oauth_authentication  = true
  local_user_enabled               = false
  min_tls_version                  = "TLS1_2"
  public_network_access_enabled    = !var.private_network
  https_traffic_only_enabled       = true

  network_rules {
    bypass         = ["None"]
    default_action = var.private_network ? "Deny" : "Allow"
  }

  blob_properties {
    # A package or a function key deleted by mistake can be fetched back for a week.
    container_delete_retention_policy {
      days = 7
    }
    delete_retention_policy {
      days = 7
    }
  }
}

resource "azurerm_storage_container" "package" {
  name                  = local.package_container_name
  storage_account_id    = azurerm_storage_account.main.id
  container_access_type = "private"
}
