terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.10"
    }
    azapi = {
      source  = "azure/azapi"
      version = "~> 2.11"
    }
  }
}

provider "azurerm" {
  # The storage account takes no keys.
  storage_use_azuread = true

  # Only what is used here; see docs/deploy/terraform.md for the rights that registering takes.
  resource_provider_registrations = "none"
  resource_providers_to_register = [
    "Microsoft.App",
    "Microsoft.DurableTask",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.OperationalInsights",
    "Microsoft.Storage",
    "Microsoft.Web",
  ]

  features {
    application_insights {
      # Azure would add a rule "Failure Anomalies" that is not in this state, and `terraform destroy` would stop at it.
      disable_generated_rule = true
    }
    key_vault {
      # A vault with purge protection cannot be purged, only brought back when it is wanted again.
      purge_soft_delete_on_destroy    = false
      recover_soft_deleted_key_vaults = true
    }
    storage {
      # With a private network this machine may not reach the account's data; nothing here needs to.
      data_plane_available = false
    }
  }
}

provider "azapi" {}
