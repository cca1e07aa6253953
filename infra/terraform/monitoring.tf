# Application Insights over a Log Analytics workspace. Telemetry is written with the app's identity only.

resource "azurerm_log_analytics_workspace" "main" {
  name                            = "log-${local.suffix}"
  resource_group_name             = azurerm_resource_group.main.name
  location                        = var.location
  tags                            = local.tags
  sku                             = "PerGB2018"
  retention_in_days               = var.log_retention_days
  daily_quota_gb                  = var.daily_log_quota_gb
  local_authentication_enabled    = false
  allow_resource_only_permissions = true
}

resource "azurerm_application_insights" "main" {
  name                         = "appi-${local.suffix}"
  resource_group_name          = azurerm_resource_group.main.name
  location                     = var.location
  tags                         = local.tags
  application_type             = "web"
  workspace_id                 = azurerm_log_analytics_workspace.main.id
  local_authentication_enabled = false
}
