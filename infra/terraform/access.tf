# What the app's identity may do in Azure, each role on the narrowest scope that works.

locals {
  # Built-in roles have the same id in every tenant.
  role_ids                       = "${data.azurerm_subscription.current.id}/providers/Microsoft.Authorization/roleDefinitions"
  storage_blob_data_owner        = "${local.role_ids}/b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
  storage_queue_data_contributor = "${local.role_ids}/974c5e8b-45b9-4653-ba55-5f855dd0fb88"
  storage_table_data_contributor = "${local.role_ids}/0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"
  monitoring_metrics_publisher   = "${local.role_ids}/3913510d-42f4-4e42-8a64-420c390055eb"
  key_vault_secrets_user         = "${local.role_ids}/4633458b-17de-408a-b874-0445c86b69e6"
  durable_task_data_contributor  = "${local.role_ids}/0ad04412-c4d5-4796-b79c-f76d14c8d402"
}

# Owner, not contributor, is what the host documents for its own storage: it leases, and keeps keys and the package there.
resource "azurerm_role_assignment" "host_blobs" {
  scope              = azurerm_storage_account.main.id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = local.storage_blob_data_owner
}

# Queues and tables are those of Durable Functions; with the scheduler nothing of them is used.
resource "azurerm_role_assignment" "durable_queues" {
  count              = var.durable_task_scheduler ? 0 : 1
  scope              = azurerm_storage_account.main.id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = local.storage_queue_data_contributor
}

resource "azurerm_role_assignment" "durable_tables" {
  count              = var.durable_task_scheduler ? 0 : 1
  scope              = azurerm_storage_account.main.id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = local.storage_table_data_contributor
}

resource "azurerm_role_assignment" "telemetry" {
  scope              = azurerm_application_insights.main.id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = local.monitoring_metrics_publisher
}

resource "azurerm_role_assignment" "secrets" {
  count              = var.key_vault ? 1 : 0
  scope              = azurerm_key_vault.main[0].id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = local.key_vault_secrets_user
}

resource "azurerm_role_assignment" "orchestrations" {
  count              = var.durable_task_scheduler ? 1 : 0
  scope              = azapi_resource.task_hub[0].id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = local.durable_task_data_contributor
}
