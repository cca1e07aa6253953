# A Function app on Flex Consumption that loads SQL Server tables into Microsoft Fabric, without a single key.
# infra/bicep creates the same resources from the same parameters; a test compares the two.

data "azurerm_subscription" "current" {}

locals {
  # The suffix keeps globally unique names apart; abbreviations are those of the Cloud Adoption Framework.
  # Azure takes `Shop` for `shop` and `West Europe` for `westeurope`: neither may give other names.
  lower_name = lower(var.environment_name)
  token      = substr(sha256(join("/", [data.azurerm_subscription.current.subscription_id, local.lower_name, replace(lower(var.location), " ", "")])), 0, 13)
  suffix     = "${local.lower_name}-${local.token}"
  tags       = merge(var.tags, { "azd-env-name" = var.environment_name })

  vault_name             = "kv-${local.token}"
  package_container_name = "app-package"
  # One hub for each deployment: never shared, so that no two apps take each other's work. The name of host.json.
  task_hub_name = "HyggeEngine"
}

resource "azurerm_resource_group" "main" {
  name     = "rg-${local.lower_name}"
  location = var.location
  tags     = local.tags
}

# The one identity of the app: what it may do is granted to no other, and survives the app.
resource "azurerm_user_assigned_identity" "app" {
  name                = "id-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
}
