# The Function app on a Flex Consumption plan.

locals {
  settings = merge(
    {
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${azurerm_user_assigned_identity.app.client_id};Authorization=AAD"
      APPLICATIONINSIGHTS_CONNECTION_STRING     = azurerm_application_insights.main.connection_string
      # The exporter reports about itself to Microsoft otherwise.
      APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL = "true"
      AzureWebJobsStorage__accountName           = azurerm_storage_account.main.name
      AzureWebJobsStorage__clientId              = azurerm_user_assigned_identity.app.client_id
      AzureWebJobsStorage__credential            = "managedidentity"
      FABRIC_API_URL                             = var.fabric_api_url
      HYGGE_CONCURRENCY                          = tostring(var.concurrency)
      HYGGE_SCHEDULE                             = var.schedule
      HYGGE_SLICE_MINUTES                        = tostring(var.slice_minutes)
      LAKE_CLIENT_ID                             = azurerm_user_assigned_identity.app.client_id
      LAKE_CREDENTIAL                            = "managed_identity"
      MIRROR_ID                                  = var.mirror_id
      ONELAKE_URL                                = var.one_lake_url
      # More threads than host.json lets activities run at once: orchestrators replay on them too.
      PYTHON_THREADPOOL_THREAD_COUNT = "16"
      SQL_AUTH                       = "managed_identity"
      SQL_CLIENT_ID                  = azurerm_user_assigned_identity.app.client_id
      SQL_DATABASE                   = var.sql_database
      SQL_POOL_SIZE                  = tostring(var.sql_pool_size)
      SQL_SERVER                     = var.sql_server
      WORKSPACE_ID                   = var.workspace_id
    },
    var.durable_task_scheduler ? {
      # The backend itself stands in the package's host.json (infra/scripts/package.py): settings that overrule that file
      # are not seen by the platform's scale controller.
      DURABLE_TASK_SCHEDULER_CONNECTION_STRING = "Endpoint=${azapi_resource.scheduler[0].output.properties.endpoint};Authentication=ManagedIdentity;ClientID=${azurerm_user_assigned_identity.app.client_id}"
    } : {},
    var.public_url == "" ? {} : { HYGGE_PUBLIC_URL = var.public_url },
    var.extra_settings,
    { for name, secret in var.secret_settings : name => "@Microsoft.KeyVault(VaultName=${local.vault_name};SecretName=${secret})" },
  )

  scheduler_instances = var.durable_task_scheduler ? (var.zone_redundant ? 2 : 1) : 0
  # Who may call the app, and who may reach its SCM site.
  allow_lists = {
    callers   = length(var.api_allow_list) == 0 ? [] : concat(var.api_allow_list, var.deploy_allow_list)
    deployers = var.deploy_allow_list
  }
  allow_rules = {
    for who, entries in local.allow_lists : who => [
      for index, entry in entries : {
        name                 = "allowed-${index}"
        priority             = 100 + index
        action               = "Allow"
        ipAddress            = startswith(entry, "/") ? null : strcontains(entry, "/") ? entry : "${entry}/32"
        vnetSubnetResourceId = startswith(entry, "/") ? entry : null
      }
    ]
  }

  warm_instances = var.always_ready_instances == -1 ? local.scheduler_instances : var.always_ready_instances
}

resource "azurerm_service_plan" "main" {
  #checkov:skip=CKV_AZURE_212: Flex Consumption has no worker count; always_ready_instances keeps instances warm.
  #checkov:skip=CKV_AZURE_225: With zone_redundant. A load that dies with its zone goes on where it had got to.
  name                   = "asp-${local.suffix}"
  resource_group_name    = azurerm_resource_group.main.name
  location               = var.location
  tags                   = local.tags
  os_type                = "Linux"
  sku_name               = "FC1"
  zone_balancing_enabled = var.zone_redundant
}

# Not azurerm_function_app_flex_consumption: it adds AzureWebJobsStorage with the account's key to the app settings
# whatever the authentication says (hashicorp/terraform-provider-azurerm, issues 29149 and 29693).
resource "azapi_resource" "app" {
  type      = "Microsoft.Web/sites@2024-04-01"
  name      = "func-${local.suffix}"
  parent_id = azurerm_resource_group.main.id
  location  = var.location
  # How azd finds the app of the service `app` in azure.yaml.
  tags = merge(local.tags, { "azd-service-name" = "app" })

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.app.id]
  }

  body = {
    kind = "functionapp,linux"
    properties = {
      serverFarmId              = azurerm_service_plan.main.id
      httpsOnly                 = true
      keyVaultReferenceIdentity = azurerm_user_assigned_identity.app.id
      publicNetworkAccess       = var.public_api ? "Enabled" : "Disabled"
      virtualNetworkSubnetId    = var.private_network ? azurerm_subnet.app[0].id : var.app_subnet_id == "" ? null : var.app_subnet_id
      functionAppConfig = {
        deployment = {
          storage = {
            type  = "blobContainer"
            value = "${azurerm_storage_account.main.primary_blob_endpoint}${azurerm_storage_container.package.name}"
            authentication = {
              type                           = "UserAssignedIdentity"
              userAssignedIdentityResourceId = azurerm_user_assigned_identity.app.id
            }
          }
        }
        runtime = { name = "python", version = "3.13" }
        scaleAndConcurrency = {
          instanceMemoryMB     = var.instance_memory_mb
          maximumInstanceCount = var.maximum_instance_count
          # All durable functions scale as the one group `durable`.
          alwaysReady = local.warm_instances > 0 ? [{ name = "durable", instanceCount = local.warm_instances }] : []
        }
      }
      siteConfig = {
        http20Enabled    = true
        minTlsVersion    = "1.2"
        scmMinTlsVersion = "1.2"

        ipSecurityRestrictions                 = local.allow_rules.callers
        ipSecurityRestrictionsDefaultAction    = length(local.allow_rules.callers) == 0 ? "Allow" : "Deny"
        scmIpSecurityRestrictions              = local.allow_rules.deployers
        scmIpSecurityRestrictionsDefaultAction = var.private_network || length(var.deploy_allow_list) > 0 ? "Deny" : "Allow"
        scmIpSecurityRestrictionsUseMain       = false

        appSettings = [for name, value in local.settings : { name = name, value = value }]
      }
    }
  }

  response_export_values = ["properties.defaultHostName"]

  # A host that starts before it can and may read its storage fails until it is restarted.
  depends_on = [
    azurerm_role_assignment.host_blobs,
    azurerm_role_assignment.durable_queues,
    azurerm_role_assignment.durable_tables,
    azurerm_role_assignment.telemetry,
    azurerm_role_assignment.secrets,
    azurerm_role_assignment.orchestrations,
    azurerm_private_endpoint.sql,
    azurerm_private_dns_zone_virtual_network_link.main,
    azurerm_nat_gateway_public_ip_association.main,
  ]
}

# User names and passwords for publishing are off: deployments come with a token of Entra ID.
resource "azapi_update_resource" "publishing" {
  for_each  = toset(["scm", "ftp"])
  type      = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01"
  name      = each.value
  parent_id = azapi_resource.app.id
  body      = { properties = { allow = false } }
}

# Entra ID before the app, where there is a registration; the function key is asked for all the same. It stands here also
# when it is off, so that it can be switched off. No user signs in at a page of the app, so it needs no secret.
resource "azapi_update_resource" "authentication" {
  type      = "Microsoft.Web/sites/config@2024-04-01"
  name      = "authsettingsV2"
  parent_id = azapi_resource.app.id

  body = {
    properties = {
      platform = { enabled = var.entra_client_id != "" }
      globalValidation = {
        requireAuthentication       = var.entra_client_id != ""
        unauthenticatedClientAction = var.entra_client_id == "" ? "AllowAnonymous" : "Return401"
        # Probes have no token; `az functionapp deployment source config-zip` has none either, and waits for the second.
        excludedPaths = ["/api/health", "/admin/host/status"]
      }
      identityProviders = var.entra_client_id == "" ? {} : {
        azureActiveDirectory = {
          enabled = true
          registration = {
            clientId     = var.entra_client_id
            openIdIssuer = "https://login.microsoftonline.com/${data.azurerm_subscription.current.tenant_id}/v2.0"
          }
          validation = {
            allowedAudiences           = [var.entra_client_id, "api://${var.entra_client_id}"]
            defaultAuthorizationPolicy = { allowedApplications = var.entra_allowed_clients }
          }
        }
      }
      login        = { tokenStore = { enabled = false } }
      httpSettings = { requireHttps = true }
    }
  }
}
