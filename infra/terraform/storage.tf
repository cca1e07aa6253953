# Storage of the Functions host, the deployed package and the durable state. Keys are switched off.

locals {
  # Without a subnet of its own the app leaves by addresses that change, and cannot be told from everybody else.
  everybody_reaches_data = !var.private_network && var.app_subnet_id == ""
  data_is_public         = !var.private_network || length(var.data_allow_list) > 0
  # Storage takes an address alone where others take a range of one, and no rule twice.
  data_addresses  = distinct([for entry in var.data_allow_list : replace(entry, "/32", "") if !startswith(entry, "/")])
  data_subnet_ids = distinct(concat([for entry in var.data_allow_list : entry if startswith(entry, "/")], var.app_subnet_id == "" ? [] : [var.app_subnet_id]))
}

resource "azurerm_storage_account" "main" {
  #checkov:skip=CKV_AZURE_33: Looks for the account's old analytics; audit.tf sends what changes to the log workspace.
  #checkov:skip=CKV_AZURE_35: Denied with private_network or app_subnet_id. Without, Entra ID and roles alone decide; there are no keys.
  #checkov:skip=CKV_AZURE_36: No other service of Azure's has anything to do here; the platform comes as the app's identity.
  #checkov:skip=CKV_AZURE_59: No container can be made public; network access is disabled with private_network.
  #checkov:skip=CKV_AZURE_206: Zone-redundant with zone_redundant. What is here can be deployed again or is rebuilt.
  #checkov:skip=CKV2_AZURE_1: Holds the package and orchestration state, names and figures, no rows; the platform's keys will do.
  #checkov:skip=CKV2_AZURE_33: Created with private_network: endpoints.tf.
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
  public_network_access_enabled    = local.data_is_public
  https_traffic_only_enabled       = true

  network_rules {
    bypass                     = ["None"]
    default_action             = local.everybody_reaches_data ? "Allow" : "Deny"
    ip_rules                   = local.data_addresses
    virtual_network_subnet_ids = local.data_subnet_ids
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
  #checkov:skip=CKV2_AZURE_21: Looks for the account's old analytics; audit.tf sends every access to the log workspace.
  name                  = local.package_container_name
  storage_account_id    = azurerm_storage_account.main.id
  container_access_type = "private"
}
