variable "environment_name" {
  description = "Name of the deployment: part of every resource name, so letters, digits and hyphens only."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*$", var.environment_name))
    error_message = "environment_name is part of every name: letters, digits and hyphens, a letter or digit first."
  }

  validation {
    condition     = length(var.environment_name) >= 1 && length(var.environment_name) <= 32
    error_message = "1 to 32 characters."
  }

  validation {
    condition     = !anytrue(concat([for word in local.reserved_words.anywhere : strcontains(lower(var.environment_name), word)], [for word in local.reserved_words.first : startswith(lower(var.environment_name), word)], [contains(local.reserved_words.alone, lower(var.environment_name))]))
    error_message = "environment_name has a word that Azure reserves: it would refuse the names made from it."
  }
}

variable "location" {
  description = "Region of all resources. Flex Consumption must be offered there: `az functionapp list-flexconsumption-locations`."
  type        = string

  validation {
    condition     = trimspace(var.location) != ""
    error_message = "The name of a region: westeurope."
  }
}

variable "tags" {
  description = "Tags of all resources, beside `azd-env-name`."
  type        = map(string)
  default     = {}
}

variable "sql_server" {
  description = "SQL Server to read from: a host, or host,port, with or without `tcp:` before it."
  type        = string

  validation {
    condition     = can(regex("^\\s*(?i:tcp:)?\\s*[A-Za-z0-9_$-][A-Za-z0-9._$-]*(\\\\[A-Za-z0-9._$-]+)?\\s*(,\\s*[0-9]{1,5}\\s*)?$", var.sql_server)) && !can(regex("[.][.]|[^.,\\\\: ]{64}", split("\\", var.sql_server)[0])) && !strcontains(var.sql_server, "..") && (!strcontains(var.sql_server, ",") || try(tonumber(trimspace(split(",", var.sql_server)[1])) >= 1 && tonumber(trimspace(split(",", var.sql_server)[1])) <= 65535, false))
    error_message = "sql_server must be a host, or host,port with a port from 1 to 65535. IPv6 leads nowhere from the app, and a name in other letters than a to z begins with xn--."
  }
}

variable "sql_database" {
  description = "Database to read from."
  type        = string

  validation {
    condition     = length(var.sql_database) >= 1
    error_message = "The name of a database."
  }
}

variable "workspace_id" {
  description = "GUID of the Fabric workspace that holds the mirrored database."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.workspace_id))
    error_message = "A GUID: 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between."
  }
}

variable "mirror_id" {
  description = "GUID of the mirrored database."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.mirror_id))
    error_message = "A GUID: 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between."
  }
}

variable "one_lake_url" {
  description = "DFS endpoint of OneLake."
  type        = string
  default     = "https://onelake.dfs.fabric.microsoft.com"

  validation {
    condition     = can(regex("^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[^\\s?#]*)?$", var.one_lake_url)) && try(tonumber(regex("^https://[^/]*:([0-9]+)", var.one_lake_url)[0]) >= 1 && tonumber(regex("^https://[^/]*:([0-9]+)", var.one_lake_url)[0]) <= 65535, true)
    error_message = "one_lake_url must be https:// (in small letters), a host, perhaps a port and a path, and nothing else."
  }

  validation {
    condition     = !can(regex("^https://([Aa][Pp][Pp][.]|[^/]*/+[^/])", var.one_lake_url))
    error_message = "one_lake_url must be the endpoint alone: https://onelake.dfs.fabric.microsoft.com. Workspace and item have variables of their own."
  }
}

variable "fabric_api_url" {
  description = "Fabric's REST API, which the app asks whether a dropped table is gone."
  type        = string
  default     = "https://api.fabric.microsoft.com"

  validation {
    condition     = can(regex("^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[^\\s?#]*)?$", var.fabric_api_url)) && try(tonumber(regex("^https://[^/]*:([0-9]+)", var.fabric_api_url)[0]) >= 1 && tonumber(regex("^https://[^/]*:([0-9]+)", var.fabric_api_url)[0]) <= 65535, true)
    error_message = "fabric_api_url must be https:// (in small letters), a host, perhaps a port and a path, and nothing else."
  }
}

variable "schedule" {
  description = "When the timer looks for flows that are due: NCRONTAB with seconds, UTC."
  type        = string
  default     = "0 */5 * * * *"

  validation {
    condition     = can(regex("^ *[^ ]+( +[^ ]+){5} *$", var.schedule))
    error_message = "schedule must have six fields with a blank between: seconds, minutes, hours, days, months, days of the week."
  }

  validation {
    condition = !can(regex("^ *[^ ]+( +[^ ]+){5} *$", var.schedule)) || try(alltrue([for at, field in compact(split(" ", upper(var.schedule))) : can(regex(local.cron[at], field)) && alltrue([
      for span in regexall("([0-9A-Z]+)-([0-9A-Z]+)", field) : try(local.cron_names[span[0]], tonumber(span[0])) <= try(local.cron_names[span[1]], tonumber(span[1]))
    ])]), false)
    error_message = "schedule has numbers or names that there are not: 0 to 59 seconds, names of three letters, * for all, 1-5, */15 and lists of them."
  }

  validation {
    condition = try(min([
      for day in regexall("(?:^|,)([*0-9]+)", compact(split(" ", var.schedule))[3]) : day[0] == "*" ? 1 : tonumber(day[0])
      ]...) <= max(flatten([
        for part in split(",", compact(split(" ", upper(var.schedule)))[4]) : [
          for place in range(split("/", part)[0] == "*" ? 1 : try(local.cron_names[split("-", split("/", part)[0])[0]], tonumber(split("-", split("/", part)[0])[0])), 1 + (split("/", part)[0] == "*" || (strcontains(part, "/") && !strcontains(part, "-")) ? 12 : try(local.cron_names[reverse(split("-", split("/", part)[0]))[0]], tonumber(reverse(split("-", split("/", part)[0]))[0]))), try(tonumber(split("/", part)[1]), 1)) : local.cron_days[place - 1]
        ]
    ])...), true)
    error_message = "schedule has a day that none of its months has."
  }
}

variable "concurrency" {
  description = "Tables moved at once by one load."
  type        = number
  default     = 8

  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 256
    error_message = "1 to 256."
  }
}

variable "slice_minutes" {
  description = "Minutes of work per activity. Less than `functionTimeout` of host.json."
  type        = number
  default     = 4

  validation {
    condition     = var.slice_minutes >= 1 && var.slice_minutes <= 4
    error_message = "1 to 4."
  }
}

variable "sql_pool_size" {
  description = "Connections to the database at once."
  type        = number
  default     = 4

  validation {
    condition     = var.sql_pool_size >= 1
    error_message = "At least 1."
  }
}

variable "public_url" {
  description = "Where callers reach the app, if that is not its own address: a gateway or a domain of your own."
  type        = string
  default     = ""

  validation {
    condition     = var.public_url == "" || (can(regex("^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[^\\s?#]*)?$", var.public_url)) && try(tonumber(regex("^https://[^/]*:([0-9]+)", var.public_url)[0]) >= 1 && tonumber(regex("^https://[^/]*:([0-9]+)", var.public_url)[0]) <= 65535, true))
    error_message = "public_url must be https:// (in small letters), a host, perhaps a port and a path, and nothing else."
  }
}

variable "extra_settings" {
  description = "App settings of your own: the variables of your project's files. No secrets; those go to `secret_settings`."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.extra_settings) : can(regex("^[A-Za-z0-9_.]+$", name))])
    error_message = "extra_settings names settings: letters, digits, underscores and dots."
  }

  validation {
    condition     = length(distinct(concat(local.app_settings, keys(var.extra_settings), keys(var.secret_settings)))) == length(distinct([for name in concat(local.app_settings, keys(var.extra_settings), keys(var.secret_settings)) : lower(name)]))
    error_message = "extra_settings and secret_settings name settings: none twice in another case, nor one of the app's own."
  }
}

variable "secret_settings" {
  description = "App settings whose values are secrets of the key vault: name of the setting => name of the secret. Needs `key_vault`, and wins over a setting of the same name."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for secret in values(var.secret_settings) : can(regex("^[A-Za-z0-9-]{1,127}$", secret))])
    error_message = "secret_settings names secrets: 1 to 127 letters, digits and hyphens each."
  }

  validation {
    condition     = alltrue([for name in keys(var.secret_settings) : can(regex("^[A-Za-z0-9_.]+$", name))])
    error_message = "secret_settings names settings: letters, digits, underscores and dots."
  }

  validation {
    condition     = length(var.secret_settings) == 0 || var.key_vault
    error_message = "secret_settings needs key_vault: there is no vault to hold the secrets."
  }
}

variable "instance_memory_mb" {
  description = "Memory of one instance, in MB."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 2048, 4096], var.instance_memory_mb)
    error_message = "512, 2048 or 4096."
  }
}

variable "maximum_instance_count" {
  description = "Instances at most. Each may run `maxConcurrentActivityFunctions` of host.json activities at once."
  type        = number
  default     = 40

  validation {
    condition     = var.maximum_instance_count >= 1 && var.maximum_instance_count <= 1000
    error_message = "1 to 1000."
  }
}

variable "always_ready_instances" {
  description = "Instances kept warm for the durable functions. 0: scale to zero between loads. -1: one with the Durable Task Scheduler (two with `zone_redundant`), none without."
  type        = number
  default     = -1

  validation {
    condition     = var.always_ready_instances >= -1 && var.always_ready_instances <= 20
    error_message = "-1 to 20."
  }

  validation {
    condition     = !var.zone_redundant || var.always_ready_instances != 1
    error_message = "zone_redundant wants no always_ready_instances, or two at least."
  }

  validation {
    condition     = var.maximum_instance_count >= (var.always_ready_instances == -1 ? (var.durable_task_scheduler ? (var.zone_redundant ? 2 : 1) : 0) : var.always_ready_instances)
    error_message = "always_ready_instances is more than maximum_instance_count."
  }
}

variable "zone_redundant" {
  description = "Spread plan and storage over availability zones. The plan then wants at least two instances that are always ready."
  type        = bool
  default     = false
}

variable "private_network" {
  description = "Put the app into a virtual network, reach storage, key vault and scheduler through private endpoints only, and leave through one public address."
  type        = bool
  default     = false
}

variable "public_api" {
  description = "Whether the app answers calls from the internet. With false it needs `private_network`, and is deployed from inside the network."
  type        = bool
  default     = true

  validation {
    condition     = var.public_api || var.private_network
    error_message = "public_api = false needs private_network: no caller could reach the app."
  }
}

variable "entra_client_id" {
  description = "Client id of an app registration in Entra ID: callers then show a token for it, beside the function key. Empty: the key alone."
  type        = string
  default     = ""

  validation {
    condition     = var.entra_client_id == "" || can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.entra_client_id))
    error_message = "A GUID: 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between."
  }
}

variable "entra_allowed_clients" {
  description = "Client ids of the applications whose tokens are taken. Empty: any that gets one for the registration. Needs `entra_client_id`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for client in var.entra_allowed_clients : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", client))])
    error_message = "GUIDs: 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between."
  }

  validation {
    condition     = length(var.entra_allowed_clients) == 0 || var.entra_client_id != ""
    error_message = "entra_allowed_clients needs entra_client_id: no token would be required."
  }
}

variable "app_subnet_id" {
  description = "Id of a subnet of your own that the app leaves by, delegated to Microsoft.App/environments, with service endpoints for Microsoft.Storage and Microsoft.KeyVault, which works by report and against Microsoft's page (docs/deploy/network.md): both then let in that subnet and `data_allow_list` only. No underscore in its name. Not with `private_network`."
  type        = string
  default     = ""

  validation {
    condition     = var.app_subnet_id == "" || can(regex("(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", var.app_subnet_id))
    error_message = "app_subnet_id must be the id of a subnet: /subscriptions/X/resourceGroups/X/providers/Microsoft.Network/virtualNetworks/X/subnets/X."
  }

  validation {
    condition     = var.app_subnet_id == "" || !var.private_network
    error_message = "app_subnet_id is for deployments without private_network, which makes a subnet of its own."
  }

  validation {
    condition     = !strcontains(reverse(split("/", var.app_subnet_id))[0], "_")
    error_message = "app_subnet_id names a subnet with an underscore, which Flex Consumption does not take."
  }
}

variable "data_allow_list" {
  description = "Who may reach storage account and key vault from outside, beside the app: IPv4 addresses, ranges, and ids of subnets. Needs `private_network` or `app_subnet_id`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for entry in var.data_allow_list : startswith(entry, "/") ? can(regex("(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", entry)) : can(regex("^(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){3}(/(0|[1-9][0-9]*))?$", entry)) && can(cidrnetmask(strcontains(entry, "/") ? entry : "${entry}/32"))])
    error_message = "data_allow_list must hold IPv4 addresses, ranges of them (203.0.113.0/24), or ids of subnets (/subscriptions/X/resourceGroups/X/providers/Microsoft.Network/virtualNetworks/X/subnets/X)."
  }

  validation {
    condition     = !anytrue([for entry in var.data_allow_list : endswith(entry, "/31") || anytrue([for network in concat(local.reserved, local.private) : try(cidrhost("${split("/", entry)[0]}/${min(try(tonumber(split("/", entry)[1]), 32), tonumber(split("/", network)[1]))}", 0) == cidrhost("${split("/", network)[0]}/${min(try(tonumber(split("/", entry)[1]), 32), tonumber(split("/", network)[1]))}", 0), false)])])
    error_message = "data_allow_list must hold addresses of the internet, and no /31: storage takes no others. Private ones need a private endpoint."
  }

  validation {
    condition     = length(var.data_allow_list) == 0 || var.private_network || var.app_subnet_id != ""
    error_message = "data_allow_list needs private_network or app_subnet_id: the app itself, which has no address of its own, would be kept out."
  }
}

variable "deploy_allow_list" {
  description = "Who may reach the SCM site, which takes packages: IPv4 addresses, ranges, and ids of subnets. Empty: all addresses, with a login; with `private_network` none from outside."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for entry in var.deploy_allow_list : startswith(entry, "/") ? can(regex("(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", entry)) : can(regex("^(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){3}(/(0|[1-9][0-9]*))?$", entry)) && can(cidrnetmask(strcontains(entry, "/") ? entry : "${entry}/32"))])
    error_message = "deploy_allow_list must hold IPv4 addresses, ranges of them (203.0.113.0/24), or ids of subnets (/subscriptions/X/resourceGroups/X/providers/Microsoft.Network/virtualNetworks/X/subnets/X)."
  }

  validation {
    condition     = length(var.deploy_allow_list) == 0 || var.public_api
    error_message = "public_api = false admits no address from outside: deploy_allow_list would have no effect."
  }
}

variable "api_allow_list" {
  description = "Who may call the app: IPv4 addresses, ranges, and ids of subnets, with those of `deploy_allow_list`. Empty: everybody with a key."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for entry in var.api_allow_list : startswith(entry, "/") ? can(regex("(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Network/virtualNetworks/[^/]+/subnets/[^/]+$", entry)) : can(regex("^(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){3}(/(0|[1-9][0-9]*))?$", entry)) && can(cidrnetmask(strcontains(entry, "/") ? entry : "${entry}/32"))])
    error_message = "api_allow_list must hold IPv4 addresses, ranges of them (203.0.113.0/24), or ids of subnets (/subscriptions/X/resourceGroups/X/providers/Microsoft.Network/virtualNetworks/X/subnets/X)."
  }

  validation {
    condition     = length(var.api_allow_list) == 0 || var.public_api
    error_message = "public_api = false admits no address from outside: api_allow_list would have no effect."
  }
}

variable "egress_ports" {
  description = "Ports of the internet that the app may reach from its private network, beside 443 and the port of the source: those of a telemetry collector, for one. Needs `private_network`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for entry in var.egress_ports : can(regex("^[0-9]{1,5}(-[0-9]{1,5})?$", entry)) && try(alltrue([for port in split("-", entry) : tonumber(port) >= 1 && tonumber(port) <= 65535]) && tonumber(split("-", entry)[0]) <= tonumber(reverse(split("-", entry))[0]), false)])
    error_message = "egress_ports must hold ports from 1 to 65535, or ranges of them: 8000-8100."
  }

  validation {
    condition     = length(var.egress_ports) == 0 || var.private_network
    error_message = "egress_ports needs private_network: nothing is closed without."
  }
}

variable "monitor_private_link" {
  description = "Reach Application Insights and the log workspace by a private endpoint (Azure Monitor Private Link Scope), and take no telemetry from the internet. Needs `private_network`."
  type        = bool
  default     = false

  validation {
    condition     = !var.monitor_private_link || var.private_network
    error_message = "monitor_private_link needs private_network: there is no network to put the endpoint into."
  }
}

variable "network_prefix" {
  description = "Address space of the virtual network."
  type        = string
  default     = "10.30.0.0/24"

  validation {
    condition     = try(var.network_prefix == "${cidrhost(var.network_prefix, 0)}/${tonumber(split("/", var.network_prefix)[1])}" && cidrnetmask(var.network_prefix) != "" && tonumber(split("/", var.network_prefix)[1]) >= 8 && tonumber(split("/", var.network_prefix)[1]) <= 29, false)
    error_message = "network_prefix must be a range of 8 to 29 bits that begins at its first address: 10.30.0.0/24."
  }

  validation {
    condition     = !anytrue([for network in local.reserved : try(cidrhost("${split("/", var.network_prefix)[0]}/${min(tonumber(split("/", var.network_prefix)[1]), tonumber(split("/", network)[1]))}", 0) == cidrhost("${split("/", network)[0]}/${min(tonumber(split("/", var.network_prefix)[1]), tonumber(split("/", network)[1]))}", 0), false)])
    error_message = "network_prefix has addresses that no virtual network may have: 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 224.0.0.0/4."
  }
}

variable "app_subnet_prefix" {
  description = "Addresses for the app's instances: a /26 of the network has the 40 that Azure plans for an app, a /27, the least it takes, has 27."
  type        = string
  default     = "10.30.0.0/26"

  validation {
    condition     = try(var.app_subnet_prefix == "${cidrhost(var.app_subnet_prefix, 0)}/${tonumber(split("/", var.app_subnet_prefix)[1])}" && cidrnetmask(var.app_subnet_prefix) != "" && tonumber(split("/", var.app_subnet_prefix)[1]) >= 8 && tonumber(split("/", var.app_subnet_prefix)[1]) <= 27, false)
    error_message = "app_subnet_prefix must be a range of 8 to 27 bits that begins at its first address: 10.30.0.0/24."
  }

  validation {
    condition     = try(cidrhost("${cidrhost(var.app_subnet_prefix, 0)}/${split("/", var.network_prefix)[1]}", 0) == cidrhost(var.network_prefix, 0) && tonumber(split("/", var.app_subnet_prefix)[1]) >= tonumber(split("/", var.network_prefix)[1]), true)
    error_message = "app_subnet_prefix is not within network_prefix."
  }

  validation {
    condition     = try(cidrhost("${cidrhost(var.app_subnet_prefix, 0)}/${min(tonumber(split("/", var.app_subnet_prefix)[1]), tonumber(split("/", var.endpoint_subnet_prefix)[1]))}", 0) != cidrhost("${cidrhost(var.endpoint_subnet_prefix, 0)}/${min(tonumber(split("/", var.app_subnet_prefix)[1]), tonumber(split("/", var.endpoint_subnet_prefix)[1]))}", 0), true)
    error_message = "app_subnet_prefix and endpoint_subnet_prefix overlap."
  }
}

variable "endpoint_subnet_prefix" {
  description = "Addresses for private endpoints: at least a /28 of the network."
  type        = string
  default     = "10.30.0.64/26"

  validation {
    condition     = try(var.endpoint_subnet_prefix == "${cidrhost(var.endpoint_subnet_prefix, 0)}/${tonumber(split("/", var.endpoint_subnet_prefix)[1])}" && cidrnetmask(var.endpoint_subnet_prefix) != "" && tonumber(split("/", var.endpoint_subnet_prefix)[1]) >= 8 && tonumber(split("/", var.endpoint_subnet_prefix)[1]) <= 28, false)
    error_message = "endpoint_subnet_prefix must be a range of 8 to 28 bits that begins at its first address: 10.30.0.0/24."
  }

  validation {
    condition     = try(cidrhost("${cidrhost(var.endpoint_subnet_prefix, 0)}/${split("/", var.network_prefix)[1]}", 0) == cidrhost(var.network_prefix, 0) && tonumber(split("/", var.endpoint_subnet_prefix)[1]) >= tonumber(split("/", var.network_prefix)[1]), true)
    error_message = "endpoint_subnet_prefix is not within network_prefix."
  }
}

variable "sql_server_resource_id" {
  description = "Resource id of an Azure SQL server or managed instance to reach through a private endpoint. Empty: none. Needs `private_network`, and the right to approve connections there."
  type        = string
  default     = ""

  validation {
    condition     = var.sql_server_resource_id == "" || can(regex("(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.Sql/(servers|managedInstances)/[^/]+$", var.sql_server_resource_id))
    error_message = "sql_server_resource_id must be the id of a server, and not of a database: /subscriptions/X/resourceGroups/X/providers/Microsoft.Sql/servers/X, or managedInstances/X."
  }

  validation {
    condition     = var.sql_server_resource_id == "" || var.private_network
    error_message = "sql_server_resource_id needs private_network: there is no network to put the endpoint into."
  }

  validation {
    condition     = !strcontains(lower(var.sql_server_resource_id), "/managedinstances/") || length(local.sql_host_parts) == 5 && strcontains(lower(local.sql_server_parts[0]), ".database.")
    error_message = "sql_server must be the host of the managed instance, NAME.PREFIX.database.windows.net, and not its public endpoint."
  }
}

variable "key_vault" {
  description = "Create a key vault that the app may read secrets from."
  type        = bool
  default     = false
}

variable "durable_task_scheduler" {
  description = "Keep durable state in a Durable Task Scheduler instead of in the storage account."
  type        = bool
  default     = false
}

variable "scheduler_sku" {
  description = "Billing model of the Durable Task Scheduler."
  type        = string
  default     = "Consumption"

  validation {
    condition     = contains(["Consumption", "Dedicated"], var.scheduler_sku)
    error_message = "Consumption or Dedicated."
  }
}

variable "alert_email" {
  description = "Where alerts go. Empty: they show in the portal only."
  type        = string
  default     = ""

  validation {
    condition     = var.alert_email == "" || can(regex("^[^@ ]+@[^@ ]+$", var.alert_email))
    error_message = "alert_email must be an address for mail."
  }
}

variable "no_success_window" {
  description = "Alert when no load has succeeded for this long: longer than the longest pause of the schedule, and a load."
  type        = string
  default     = "PT2H"

  validation {
    condition     = contains(["PT1H", "PT2H", "PT3H", "PT4H", "PT5H", "PT6H", "P1D", "P2D"], var.no_success_window)
    error_message = "PT1H, PT2H, PT3H, PT4H, PT5H, PT6H, P1D or P2D."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "30 to 730."
  }
}

variable "daily_log_quota_gb" {
  description = "Gigabytes of logs a day at most, as a bound on cost; -1 for none. Logs beyond it are lost for that day."
  type        = number
  default     = 1

  validation {
    condition     = var.daily_log_quota_gb == -1 || var.daily_log_quota_gb >= 1
    error_message = "1 or more, or -1 for none."
  }
}

variable "audit_logs" {
  description = "What Azure logs of the resources themselves: `changes`, with every access to blobs and every query of the logs; `all`, with reads of queues and tables and the host; `none`, where a policy of yours does it. A key vault is always logged."
  type        = string
  default     = "changes"

  validation {
    condition     = contains(["none", "changes", "all"], var.audit_logs)
    error_message = "none, changes or all."
  }
}
