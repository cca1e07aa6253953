# Alerts on what the app logs, who hears of them, and a workbook.

locals {
  # What each says, its severity (0 critical … 4 verbose), how far it looks back, and when it fires.
  alerts = {
    failed-loads = {
      description = "A load ended with failed tables, or could not be planned."
      query       = file("${path.module}/../monitoring/failed-loads.kql")
      severity    = 1
      window      = "PT15M"
      frequency   = "PT5M"
      operator    = "GreaterThan"
      threshold   = 0
    }
    no-successful-load = {
      description = "No load has succeeded for the whole window; also fires when nothing is logged at all."
      query       = file("${path.module}/../monitoring/successful-loads.kql")
      severity    = 1
      window      = var.no_success_window
      frequency   = "PT30M"
      operator    = "LessThan"
      threshold   = 1
    }
    throttling = {
      description = "The source or Fabric turned attempts away again and again; loads go on, but take longer."
      query       = file("${path.module}/../monitoring/throttling.kql")
      severity    = 2
      window      = "PT30M"
      frequency   = "PT15M"
      operator    = "GreaterThan"
      threshold   = 10
    }
  }
}

resource "azurerm_monitor_action_group" "main" {
  count               = var.alert_email == "" ? 0 : 1
  name                = "ag-${local.suffix}"
  resource_group_name = azurerm_resource_group.main.name
  location            = "global"
  tags                = local.tags
  short_name          = "hygge"
  enabled             = true

  email_receiver {
    name                    = "email"
    email_address           = var.alert_email
    use_common_alert_schema = true
  }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "main" {
  for_each             = local.alerts
  name                 = "ar-${each.key}-${local.suffix}"
  resource_group_name  = azurerm_resource_group.main.name
  location             = var.location
  tags                 = local.tags
  display_name         = "hygge: ${each.key}"
  description          = each.value.description
  enabled              = true
  severity             = each.value.severity
  scopes               = [azurerm_log_analytics_workspace.main.id]
  evaluation_frequency = each.value.frequency
  window_duration      = each.value.window
  # The tables do not exist before the first log arrives.
  skip_query_validation   = true
  auto_mitigation_enabled = true

  criteria {
    query                   = each.value.query
    time_aggregation_method = "Count"
    operator                = each.value.operator
    threshold               = each.value.threshold

    failing_periods {
      number_of_evaluation_periods             = 1
      minimum_failing_periods_to_trigger_alert = 1
    }
  }

  action {
    action_groups = var.alert_email == "" ? [] : [azurerm_monitor_action_group.main[0].id]
  }
}

resource "azurerm_application_insights_workbook" "loads" {
  name                = uuidv5("url", "${azurerm_resource_group.main.id}/loads")
  resource_group_name = azurerm_resource_group.main.name
  location            = var.location
  tags                = local.tags
  display_name        = "hygge: loads"
  category            = "workbook"
  source_id           = lower(azurerm_log_analytics_workspace.main.id)
  data_json           = file("${path.module}/../monitoring/workbook.json")
}
