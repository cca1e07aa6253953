# What Azure logs of the resources themselves, beside the key vault's log in vault.tf.

locals {
  changes    = ["StorageWrite", "StorageDelete"]
  everything = concat(["StorageRead"], local.changes)
  # Queues are polled and tables read all the time; nothing but durable state is in them.
  of_durable_state = var.audit_logs == "all" ? local.everything : local.changes

  audited = merge(
    {
      # Who asked what of the logs.
      logs = { resource_id = azurerm_log_analytics_workspace.main.id, categories = ["Audit"] }
      # The package and the function keys are blobs: who reads them is worth knowing, too.
      blobs  = { resource_id = "${azurerm_storage_account.main.id}/blobServices/default", categories = local.everything }
      queues = { resource_id = "${azurerm_storage_account.main.id}/queueServices/default", categories = local.of_durable_state }
      tables = { resource_id = "${azurerm_storage_account.main.id}/tableServices/default", categories = local.of_durable_state }
      # What the app itself logs goes to Application Insights, and the host's own log beside it would say it twice.
      app = {
        resource_id = azapi_resource.app.id
        categories  = concat(["AppServiceAuthenticationLogs"], var.audit_logs == "all" ? ["FunctionAppLogs"] : [])
      }
    },
    # Which rule has let through or turned away how much. Flow logs do not see what functions send.
    var.private_network ? {
      network = {
        resource_id = azurerm_network_security_group.main[0].id
        categories  = ["NetworkSecurityGroupEvent", "NetworkSecurityGroupRuleCounter"]
      }
    } : {},
  )
}

resource "azurerm_monitor_diagnostic_setting" "main" {
  for_each                   = var.audit_logs == "none" ? {} : local.audited
  name                       = "audit"
  target_resource_id         = each.value.resource_id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  dynamic "enabled_log" {
    for_each = each.value.categories

    content {
      category = enabled_log.value
    }
  }
}

# It has one kind of log, which the group names.
resource "azurerm_monitor_diagnostic_setting" "scheduler" {
  count                      = var.durable_task_scheduler && var.audit_logs != "none" ? 1 : 0
  name                       = "audit"
  target_resource_id         = azapi_resource.scheduler[0].id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  enabled_log {
    category_group = "allLogs"
  }
}
