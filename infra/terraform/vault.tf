# A key vault for the secrets that other people's systems insist on. Access by role only.

resource "azurerm_key_vault" "main" {
  #checkov:skip=CKV2_AZURE_32: Created with private_network: endpoints.tf.
  count                         = var.key_vault ? 1 : 0
  name                          = local.vault_name
  resource_group_name           = azurerm_resource_group.main.name
  location                      = var.location
  tags                          = local.tags
  tenant_id                     = data.azurerm_subscription.current.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  purge_protection_enabled      = true
  soft_delete_retention_days    = 90
  public_network_access_enabled = local.data_is_public

  network_acls {
    bypass                     = "None"
    default_action             = local.everybody_reaches_data ? "Allow" : "Deny"
    ip_rules                   = local.data_addresses
    virtual_network_subnet_ids = local.data_subnet_ids
  }
}

resource "azurerm_monitor_diagnostic_setting" "audit" {
  count                      = var.key_vault ? 1 : 0
  name                       = "audit"
  target_resource_id         = azurerm_key_vault.main[0].id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  enabled_log {
    category = "AuditEvent"
  }
}
