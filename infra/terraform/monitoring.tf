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
  internet_ingestion_access_type  = var.monitor_private_link ? "Disabled" : "Enabled"
  internet_query_access_type      = "Enabled"
}

resource "azurerm_application_insights" "main" {
  name                         = "appi-${local.suffix}"
  resource_group_name          = azurerm_resource_group.main.name
  location                     = var.location
  tags                         = local.tags
  application_type             = "web"
  workspace_id                 = azurerm_log_analytics_workspace.main.id
  local_authentication_enabled = false
  internet_ingestion_enabled   = !var.monitor_private_link
  internet_query_enabled       = true
}

# A private way to both. Telemetry comes by it alone; queries may come from anywhere.
resource "azurerm_monitor_private_link_scope" "main" {
  count                 = var.monitor_private_link ? 1 : 0
  name                  = "ampls-${local.suffix}"
  resource_group_name   = azurerm_resource_group.main.name
  tags                  = local.tags
  ingestion_access_mode = "PrivateOnly"
  query_access_mode     = "Open"
}

resource "azurerm_monitor_private_link_scoped_service" "logs" {
  count               = var.monitor_private_link ? 1 : 0
  name                = "logs"
  resource_group_name = azurerm_resource_group.main.name
  scope_name          = azurerm_monitor_private_link_scope.main[0].name
  linked_resource_id  = azurerm_log_analytics_workspace.main.id
}

resource "azurerm_monitor_private_link_scoped_service" "insights" {
  count               = var.monitor_private_link ? 1 : 0
  name                = "insights"
  resource_group_name = azurerm_resource_group.main.name
  scope_name          = azurerm_monitor_private_link_scope.main[0].name
  linked_resource_id  = azurerm_application_insights.main.id

  # A scope takes no second while the first is being added.
  depends_on = [azurerm_monitor_private_link_scoped_service.logs]
}
