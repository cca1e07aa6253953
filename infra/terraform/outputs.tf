output "AZURE_RESOURCE_GROUP" {
  description = "Resource group of everything here."
  value       = azurerm_resource_group.main.name
}

output "AZURE_FUNCTION_APP_NAME" {
  description = "The Function app; `azd deploy` and `func` publish to it."
  value       = azapi_resource.app.name
}

output "AZURE_FUNCTION_APP_URL" {
  description = "Where the API answers."
  value       = "https://${azapi_resource.app.output.properties.defaultHostName}"
}

output "HYGGE_IDENTITY_NAME" {
  description = "Name of the app's identity: the name of its user in the database."
  value       = azurerm_user_assigned_identity.app.name
}

output "HYGGE_IDENTITY_CLIENT_ID" {
  description = "Client id of the app's identity."
  value       = azurerm_user_assigned_identity.app.client_id
}

output "HYGGE_IDENTITY_PRINCIPAL_ID" {
  description = "Object id of the app's identity: what gets the role in the Fabric workspace."
  value       = azurerm_user_assigned_identity.app.principal_id
}

output "AZURE_STORAGE_ACCOUNT_NAME" {
  description = "Storage of the host, the package and the durable state."
  value       = azurerm_storage_account.main.name
}

output "AZURE_LOG_ANALYTICS_WORKSPACE_ID" {
  description = "Logs: what the queries of docs/operations.md run against."
  value       = azurerm_log_analytics_workspace.main.id
}

output "AZURE_KEY_VAULT_NAME" {
  description = "The key vault, if there is one."
  value       = var.key_vault ? azurerm_key_vault.main[0].name : ""
}
