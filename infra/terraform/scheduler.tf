# A Durable Task Scheduler with the app's task hub.

resource "azapi_resource" "scheduler" {
  count     = var.durable_task_scheduler ? 1 : 0
  type      = "Microsoft.DurableTask/schedulers@2026-02-01"
  name      = "dts-${local.suffix}"
  parent_id = azurerm_resource_group.main.id
  location  = var.location
  tags      = local.tags

  body = {
    properties = {
      sku = merge({ name = var.scheduler_sku }, var.scheduler_sku == "Dedicated" ? { capacity = 1 } : {})
      # An empty list admits no address. A caller that gets in still needs a role on the hub.
      ipAllowlist         = ["0.0.0.0/0"]
      publicNetworkAccess = var.private_network ? "Disabled" : "Enabled"
    }
  }

  response_export_values = ["properties.endpoint"]
}

resource "azapi_resource" "task_hub" {
  count     = var.durable_task_scheduler ? 1 : 0
  type      = "Microsoft.DurableTask/schedulers/taskHubs@2026-02-01"
  name      = local.task_hub_name
  parent_id = azapi_resource.scheduler[0].id
  body      = {}
}
