targetScope = 'subscription'

metadata name = 'hygge-engine'
metadata description = 'A Function app on Flex Consumption that loads SQL Server tables into Microsoft Fabric, without a single key.'

// infra/terraform creates the same resources from the same parameters; a test compares the two.

@description('Name of the deployment: part of every resource name, so letters, digits and hyphens only. `azd` calls it the environment.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region of all resources. Flex Consumption must be offered there: `az functionapp list-flexconsumption-locations`.')
@minLength(1)
@metadata({ azd: { type: 'location' } })
param location string

@description('Tags of all resources, beside `azd-env-name`.')
param tags object = {}

@description('SQL Server to read from: a host, or host,port, with or without `tcp:` before it.')
@minLength(1)
param sqlServer string

@description('Database to read from.')
@minLength(1)
param sqlDatabase string

@description('GUID of the Fabric workspace that holds the mirrored database.')
param workspaceId string

@description('GUID of the mirrored database.')
param mirrorId string

@description('DFS endpoint of OneLake.')
param oneLakeUrl string = 'https://onelake.dfs.fabric.microsoft.com'

@description('Fabric\'s REST API, which the app asks whether a dropped table is gone.')
param fabricApiUrl string = 'https://api.fabric.microsoft.com'

@description('When the timer looks for flows that are due: NCRONTAB with seconds, UTC.')
param schedule string = '0 */5 * * * *'

@description('Tables moved at once by one load.')
@minValue(1)
@maxValue(256)
param concurrency int = 8

@description('Minutes of work per activity. Less than `functionTimeout` of host.json.')
@minValue(1)
@maxValue(4)
param sliceMinutes int = 4

@description('Connections to the database at once.')
@minValue(1)
param sqlPoolSize int = 4

@description('Where callers reach the app, if that is not its own address: a gateway or a domain of your own.')
param publicUrl string = ''

@description('App settings of your own: the variables of your project\'s files. No secrets; those go to `secretSettings`.')
param extraSettings object = {}

@description('App settings whose values are secrets of the key vault: name of the setting → name of the secret. Needs `keyVault`, and wins over a setting of the same name.')
param secretSettings object = {}

@description('Memory of one instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Instances at most. Each may run `maxConcurrentActivityFunctions` of host.json activities at once.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances kept warm for the durable functions. 0: scale to zero between loads. -1: one with the Durable Task Scheduler (two with `zoneRedundant`), none without.')
@minValue(-1)
@maxValue(20)
param alwaysReadyInstances int = -1

@description('Spread plan and storage over availability zones. The plan then wants at least two instances that are always ready.')
param zoneRedundant bool = false

@description('Put the app into a virtual network, reach storage, key vault and scheduler through private endpoints only, and leave through one public address.')
param privateNetwork bool = false

@description('Whether the app answers calls from the internet. With false it needs `privateNetwork`, and is deployed from inside the network.')
param publicApi bool = true

@description('Client id of an app registration in Entra ID: callers then show a token for it, beside the function key. Empty: the key alone.')
param entraClientId string = ''

@description('Client ids of the applications whose tokens are taken. Empty: any that gets one for the registration. Needs `entraClientId`.')
param entraAllowedClients array = []

@description('Id of a subnet of your own that the app leaves by, delegated to Microsoft.App/environments, with service endpoints for Microsoft.Storage and Microsoft.KeyVault, which works by report and against Microsoft\'s page (docs/deploy/network.md): both then let in that subnet and `dataAllowList` only. No underscore in its name. Not with `privateNetwork`.')
param appSubnetId string = ''

@description('Who may reach storage account and key vault from outside, beside the app: IPv4 addresses, ranges, and ids of subnets. Needs `privateNetwork` or `appSubnetId`.')
param dataAllowList array = []

@description('Who may reach the SCM site, which takes packages: IPv4 addresses, ranges, and ids of subnets. Empty: all addresses, with a login; with `privateNetwork` none from outside.')
param deployAllowList array = []

@description('Who may call the app: IPv4 addresses, ranges, and ids of subnets, with those of `deployAllowList`. Empty: everybody with a key.')
param apiAllowList array = []

@description('Ports of the internet that the app may reach from its private network, beside 443 and the port of the source: those of a telemetry collector, for one. Needs `privateNetwork`.')
param egressPorts array = []

@description('Reach Application Insights and the log workspace by a private endpoint (Azure Monitor Private Link Scope), and take no telemetry from the internet. Needs `privateNetwork`.')
param monitorPrivateLink bool = false

@description('Address space of the virtual network.')
param networkPrefix string = '10.30.0.0/24'

@description('Addresses for the app\'s instances: a /26 of the network has the 40 that Azure plans for an app, a /27, the least it takes, has 27.')
param appSubnetPrefix string = '10.30.0.0/26'

@description('Addresses for private endpoints: at least a /28 of the network.')
param endpointSubnetPrefix string = '10.30.0.64/26'

@description('Resource id of an Azure SQL server or managed instance to reach through a private endpoint. Empty: none. Needs `privateNetwork`, and the right to approve connections there.')
param sqlServerResourceId string = ''

@description('Create a key vault that the app may read secrets from.')
param keyVault bool = false

@description('Bring back the key vault of a deployment that was deleted: its name is taken for 90 days. For one deployment.')
param recoverKeyVault bool = false

@description('Keep durable state in a Durable Task Scheduler instead of in the storage account.')
param durableTaskScheduler bool = false

@description('Billing model of the Durable Task Scheduler.')
@allowed(['Consumption', 'Dedicated'])
param schedulerSku string = 'Consumption'

@description('Where alerts go. Empty: they show in the portal only.')
param alertEmail string = ''

@description('Alert when no load has succeeded for this long: longer than the longest pause of the schedule, and a load.')
@allowed(['PT1H', 'PT2H', 'PT3H', 'PT4H', 'PT5H', 'PT6H', 'P1D', 'P2D'])
param noSuccessWindow string = 'PT2H'

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Gigabytes of logs a day at most, as a bound on cost; -1 for none. Logs beyond it are lost for that day.')
param dailyLogQuotaGb int = 1

@description('What Azure logs of the resources themselves: `changes`, with every access to blobs and every query of the logs; `all`, with reads of queues and tables and the host; `none`, where a policy of yours does it. A key vault is always logged.')
@allowed(['none', 'changes', 'all'])
param auditLogs string = 'changes'

// The suffix keeps globally unique names apart; abbreviations are those of the Cloud Adoption Framework.
// Azure takes `Shop` for `shop` and `West Europe` for `westeurope`: neither may give other names.
var lowerName = toLower(environmentName)
var token = toLower(uniqueString(subscription().subscriptionId, lowerName, replace(toLower(location), ' ', '')))
var suffix = '${lowerName}-${token}'
var allTags = union(tags, { 'azd-env-name': environmentName })
var appName = 'func-${suffix}'
var storageName = 'st${token}'
var vaultName = 'kv-${token}'
var packageContainerName = 'app-package'
// One hub for each deployment: never shared, so that no two apps take each other's work. The name of host.json.
var taskHubName = 'HyggeEngine'

// The private DNS zones of what has a private endpoint.
var storageServices = ['blob', 'queue', 'table']
var storageZones = [for service in storageServices: 'privatelink.${service}.${environment().suffixes.storage}']
var vaultZone = 'privatelink.vaultcore.azure.net'
var vaultZones = keyVault ? [vaultZone] : []
var schedulerZone = 'privatelink.durabletask.io'
var schedulerZones = durableTaskScheduler ? [schedulerZone] : []
// The portal shows a server as tcp:HOST,PORT.
var sqlServerParts = map(split(startsWith(toLower(trim(sqlServer)), 'tcp:') ? skip(trim(sqlServer), 4) : sqlServer, ','), part => trim(part))
// A managed instance is NAME.PREFIX.database.windows.net, and PREFIX is part of its zone.
var sqlHostParts = split(split(sqlServerParts[0], '\\')[0], '.')
var sqlIsInstance = contains(toLower(sqlServerResourceId), '/managedinstances/')
var sqlZone = sqlIsInstance
  ? 'privatelink.${join(skip(sqlHostParts, 1), '.')}'
  : 'privatelink${environment().suffixes.sqlServerHostname}'
var sqlZones = empty(sqlServerResourceId) ? [] : [sqlZone]
var monitorZones = [
  'privatelink.monitor.azure.com'
  'privatelink.oms.opinsights.azure.com'
  'privatelink.ods.opinsights.azure.com'
  'privatelink.agentsvc.azure-automation.net'
]
var appZone = 'privatelink.azurewebsites.net'

// A host, and the name of an instance after a backslash.
var sqlNames = split(sqlServerParts[0], '\\')
var noSqlHost = length(sqlNames) > 2 || contains(sqlNames, '') || contains(sqlServerParts[0], '..') || startsWith(sqlNames[0], '.') || contains(map(sqlHostParts, part => length(part) > 63), true)

// What the app may reach of the internet from its private network; the rest is closed.
var sqlPort = length(sqlServerParts) > 1 ? sqlServerParts[1] : '1433'
// Azure SQL sends connections that come from within Azure on to other ports.
var sourceEgress = [
  { name: 'source', to: 'Internet', ports: [sqlPort] }
  { name: 'source-redirected', to: 'Sql', ports: ['11000-11999'] }
]
var egress = concat(
  [{ name: 'https', to: 'Internet', ports: ['443'] }],
  empty(sqlServerResourceId) ? sourceEgress : [],
  empty(egressPorts) ? [] : [{ name: 'further', to: 'Internet', ports: egressPorts }]
)

var schedulerInstances = durableTaskScheduler ? (zoneRedundant ? 2 : 1) : 0
var warmInstances = alwaysReadyInstances == -1 ? schedulerInstances : alwaysReadyInstances

// Without a subnet of its own the app leaves by addresses that change, and cannot be told from everybody else.
var everybodyReachesData = !privateNetwork && empty(appSubnetId)
// Storage takes an address alone where others take a range of one.
// Storage takes no rule twice.
var dataAddresses = union(map(filter(dataAllowList, entry => !startsWith(entry, '/')), entry => replace(entry, '/32', '')), [])
var dataSubnetIds = union(filter(dataAllowList, entry => startsWith(entry, '/')), empty(appSubnetId) ? [] : [appSubnetId])
var dataFirewall = {
  publicNetworkAccess: privateNetwork && empty(dataAllowList) ? 'Disabled' : 'Enabled'
  defaultAction: everybodyReachesData ? 'Allow' : 'Deny'
}

// Values that Azure would turn away when half is made, or take and not work with. Bicep knows no patterns, so texts are
// looked at letter by letter. infra/terraform/variables.tf refuses the same.
var digits = '0123456789'
// Microsoft Learn, "Resolve errors for reserved resource names": what no name of a resource with an address may be.
var words = loadJsonContent('../reserved-words.json')
var reservedWords = concat(
  filter(words.anywhere, word => contains(lowerName, word)),
  filter(words.first, word => startsWith(lowerName, word)),
  filter(words.alone, word => lowerName == word)
)
var letters = 'abcdefghijklmnopqrstuvwxyz'

var guids = concat(
  [{ name: 'workspaceId', text: workspaceId }, { name: 'mirrorId', text: mirrorId }],
  empty(entraClientId) ? [] : [{ name: 'entraClientId', text: entraClientId }],
  map(entraAllowedClients, client => { name: 'entraAllowedClients', text: client })
)

// An address and what is after it. `==` minds the case of letters, and `startsWith` does not.
var urls = map(
  concat(
    [{ name: 'oneLakeUrl', text: oneLakeUrl }, { name: 'fabricApiUrl', text: fabricApiUrl }],
    empty(publicUrl) ? [] : [{ name: 'publicUrl', text: publicUrl }]
  ),
  each => union(each, {
    begins: take(each.text, 8) == 'https://'
    host: split(split(skip(each.text, 8), '/')[0], ':')[0]
    port: skip(split(split(skip(each.text, 8), '/')[0], ':'), 1)
    path: skip(split(skip(each.text, 8), '/'), 1)
  })
)
var noUrls = filter(
  urls,
  each => (!each.begins || empty(each.host) || contains(misspelledNames, each.name) || contains(map(noPorts, port => port.name), each.name)
    ? true
    : contains('.-', take(each.host, 1)) || contains('.-', last(each.host)) || length(each.port) > 1 || !empty(filter([' ', '\t', '\r', '\n', '?', '#'], sign => contains(each.text, sign))))
)

// The portal's address leads nowhere, and paths are made by the app.
var notOfOneLake = startsWith(urls[0].host, 'app.') || !empty(join(urls[0].path, ''))

// Names of settings: what the platform makes variables of the process of.
var ownSettings = map(concat(items(extraSettings), items(secretSettings)), each => each.key)
// With those that the templates set: Azure would refuse one of them in another case.
var allSettings = concat(ownSettings, loadJsonContent('../app-settings.json'))
var lowerSettings = map(allSettings, name => toLower(name))

var ports = concat(
  [{ name: 'sqlServer', text: sqlPort }],
  map(filter(urls, each => !empty(each.port)), each => { name: each.name, text: each.port[0] }),
  flatten(map(egressPorts, entry => map(split(entry, '-'), port => { name: 'egressPorts', text: port })))
)
var spelled = concat(
  [
    { name: 'environmentName', text: environmentName, from: '${letters}${digits}-' }
    { name: 'sqlServer', text: sqlServerParts[0], from: '${letters}${digits}.-_$\\' }
  ],
  map(urls, each => { name: each.name, text: each.host, from: '${letters}${digits}.-' }),
  map(ownSettings, name => { name: 'extraSettings', text: name, from: '${letters}${digits}_.' }),
  map(guids, each => { name: each.name, text: each.text, from: 'abcdef${digits}-' }),
  map(ports, each => { name: each.name, text: each.text, from: digits }),
  map(items(secretSettings), each => { name: 'secretSettings', text: each.value, from: '${letters}${digits}-' })
)
var misspelled = filter(
  spelled,
  each => !empty(filter(range(0, length(each.text)), at => !contains(each.from, toLower(substring(each.text, at, 1)))))
)
var misspelledNames = map(misspelled, each => each.name)
var noGuids = filter(
  guids,
  each => (contains(misspelledNames, each.name) || join(map(split(each.text, '-'), part => string(length(part))), ' ') != '8 4 4 4 12')
)
var noPorts = empty(misspelled)
  ? filter(ports, each => (empty(each.text) || length(each.text) > 5 ? true : int(each.text) < 1 || int(each.text) > 65535))
  : []
var noRanges = empty(misspelled) && empty(noPorts)
  ? filter(egressPorts, each => (length(split(each, '-')) > 2 || int(split(each, '-')[0]) > int(last(split(each, '-')))))
  : []

var listed = concat(
  map(dataAllowList, entry => { name: 'dataAllowList', text: entry }),
  map(deployAllowList, entry => { name: 'deployAllowList', text: entry }),
  map(apiAllowList, entry => { name: 'apiAllowList', text: entry })
)
var subnetIds = map(
  concat(filter(listed, each => startsWith(each.text, '/')), empty(appSubnetId) ? [] : [{ name: 'appSubnetId', text: appSubnetId }]),
  each => { name: each.name, parts: split(toLower(each.text), '/') }
)
var subnetKind = 'subscriptions/resourcegroups/providers/microsoft.network/virtualnetworks/subnets'
var noSubnets = filter(
  subnetIds,
  each => (length(each.parts) != 11 || contains(skip(each.parts, 1), '')
    ? true
    : '${each.parts[1]}/${each.parts[3]}/${each.parts[5]}/${each.parts[6]}/${each.parts[7]}/${each.parts[9]}' != subnetKind || !empty(each.parts[0]))
)
var sqlServerIdParts = split(toLower(sqlServerResourceId), '/')
var sqlServerKind = length(sqlServerIdParts) != 9 || contains(skip(sqlServerIdParts, 1), '') || !startsWith(sqlServerResourceId, '/')
  ? ''
  : '${sqlServerIdParts[1]}/${sqlServerIdParts[3]}/${sqlServerIdParts[5]}/${sqlServerIdParts[6]}/${sqlServerIdParts[7]}'
var isSqlServerId = contains(['servers', 'managedinstances'], replace(sqlServerKind, 'subscriptions/resourcegroups/providers/microsoft.sql/', ''))

var networks = [
  { name: 'networkPrefix', text: networkPrefix, longest: 29 }
  { name: 'appSubnetPrefix', text: appSubnetPrefix, longest: 27 }
  { name: 'endpointSubnetPrefix', text: endpointSubnetPrefix, longest: 28 }
]
var octets = map(range(0, 256), number => string(number))
// What no virtual network may have, and what else is no part of the internet.
var reserved = ['127.0.0.0/8', '168.63.129.16/32', '169.254.0.0/16', '224.0.0.0/4', '255.255.255.255/32']
var private = ['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', '240.0.0.0/4']
var addresses = map(
  concat(
    networks,
    map(filter(listed, each => !startsWith(each.text, '/')), each => { name: each.name, text: each.text, longest: 32 }),
    map(reserved, network => { name: 'reserved', text: network, longest: 32 }),
    map(private, network => { name: 'private', text: network, longest: 32 })
  ),
  each => union(each, {
    octets: split(split(each.text, '/')[0], '.')
    size: contains(each.text, '/') ? join(skip(split(each.text, '/'), 1), '/') : '32'
  })
)
var sizes = map(range(0, 33), number => string(number))
var noAddresses = filter(
  addresses,
  each => (length(each.octets) != 4 || !empty(filter(each.octets, octet => !contains(octets, octet))) || !contains(sizes, each.size))
)

// Each as the numbers of its first and last addresses. Of 2 to the power of a number, Bicep knows nothing.
var wholeOctets = [16777216, 65536, 256, 1]
var ofAnOctet = [256, 128, 64, 32, 16, 8, 4, 2]
var numbered = map(empty(noAddresses) ? addresses : [], each => union(each, {
  bits: int(each.size)
  count: each.size == '32' ? 1 : (wholeOctets[int(each.size) / 8]) * (ofAnOctet[int(each.size) % 8])
  number: 16777216 * int(each.octets[0]) + 65536 * int(each.octets[1]) + 256 * int(each.octets[2]) + int(each.octets[3])
}))
var spans = map(numbered, each => union(each, {
  low: each.number - (each.number % each.count)
  high: (each.number - (each.number % each.count)) + (each.count - 1)
}))
var reservedSpans = filter(spans, each => (each.name == 'reserved'))
var notOfInternet = filter(spans, each => contains(['reserved', 'private'], each.name))
// Storage and vault know addresses of the internet only, and storage no range of two.
var noPublicAddresses = filter(
  filter(spans, each => (each.name == 'dataAllowList')),
  each => ((each.size == '31') || !empty(filter(notOfInternet, other => ((each.low <= other.high) && (each.high >= other.low)))))
)
// The network and its subnets.
var networkSpans = take(spans, length(networks))
var unfit = filter(
  networkSpans,
  each => (!contains(each.text, '/') || (each.low != each.number) || (each.bits < 8) || (each.bits > each.longest))
)
var unusable = filter(
  take(networkSpans, 1),
  each => !empty(filter(reservedSpans, other => ((each.low <= other.high) && (each.high >= other.low))))
)
var outside = filter(skip(networkSpans, 1), each => ((each.low < networkSpans[0].low) || (each.high > networkSpans[0].high)))
var overlapping = filter(skip(networkSpans, 2), each => ((each.low <= networkSpans[1].high) && (each.high >= networkSpans[1].low)))

// A schedule as the host's timer reads it: of six fields each part between commas, with its first and last and its step.
var weekdays = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT']
var months = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']
var daysOf = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
var counts = [
  { field: 'seconds', first: 0, last: 59, names: [], step: 59 }
  { field: 'minutes', first: 0, last: 59, names: [], step: 59 }
  { field: 'hours', first: 0, last: 23, names: [], step: 23 }
  { field: 'days', first: 1, last: 31, names: [], step: 31 }
  { field: 'months', first: 1, last: 12, names: months, step: 12 }
  { field: 'weekdays', first: 0, last: 6, names: weekdays, step: 7 }
]
var fields = filter(split(schedule, ' '), field => !empty(field))
var parts = flatten(map(
  length(fields) == 6 ? range(0, 6) : [],
  at => map(split(toUpper(fields[at]), ','), part => union(counts[at], {
    numbers: map(range(0, counts[at].last + 1), number => string(number))
    padded: map(range(0, 10), number => '0${number}')
    span: split(split(part, '/')[0], '-')
    steps: skip(split(part, '/'), 1)
  }))
))
// Each as a place among the field's own, counted from its first.
var placed = map(parts, part => union(part, {
  places: map(part.span, text => (text == '*' && length(part.span) == 1
    ? [0, part.last - part.first]
    : contains(part.names, text)
    ? array(indexOf(part.names, text))
    : contains(part.numbers, text) || contains(part.padded, text)
    ? array(max(int(text) - part.first, -1))
    : [-1]))
  step: length(part.steps) == 1
    ? (contains(map(range(1, part.step), number => string(number)), part.steps[0]) ? int(part.steps[0]) : 0)
    : empty(part.steps) ? 1 : 0
}))
var spanned = map(placed, part => union(part, {
  ends: contains(flatten(part.places), -1) || length(part.span) > 2 ? [] : flatten(part.places)
}))
var noParts = filter(spanned, part => ((part.step == 0) || empty(part.ends) ? true : (part.ends[0] > last(part.ends))))
// The first day that is asked for, and the days of the longest month.
var firstDays = map(filter(spanned, part => ((part.field == 'days') && !empty(part.ends))), part => (part.ends[0] + 1))
var monthsAsked = empty(noParts)
  ? flatten(map(
      filter(spanned, part => (part.field == 'months')),
      part => filter(
        range(0, 12),
        place => ((place >= part.ends[0]) && (place <= ((length(part.ends) == 1) && !empty(part.steps) ? 11 : last(part.ends))) && (((place - part.ends[0]) % part.step) == 0))
      )
    ))
  : []
var longestMonth = empty(monthsAsked) ? 31 : max(map(monthsAsked, place => (daysOf[place])))

// What would be deployed and not work is refused before anything is created.
var checkedName = startsWith(environmentName, '-') || contains(misspelledNames, 'environmentName')
  ? fail('environmentName is part of every name: letters, digits and hyphens, a letter or digit first.')
  : !empty(reservedWords)
  ? fail('environmentName has a word that Azure reserves: ${reservedWords[0]}. It would refuse the names made from it.')
  : empty(trim(location))
  ? fail('location must be the name of a region: westeurope.')
  : !empty(noGuids)
  ? fail('${noGuids[0].name} must hold GUIDs: 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between.')
  : noSqlHost || length(sqlServerParts) > 2 || contains(map(concat(misspelled, noPorts), each => each.name), 'sqlServer')
  ? fail('sqlServer must be a host, or host,port with a port from 1 to 65535. IPv6 leads nowhere from the app, and a name in other letters than a to z begins with xn--.')
  : contains(misspelledNames, 'secretSettings') || !empty(filter(items(secretSettings), each => (empty(each.value) || length(each.value) > 127)))
  ? fail('secretSettings names secrets: 1 to 127 letters, digits and hyphens each.')
  : contains(misspelledNames, 'extraSettings') || contains(ownSettings, '') || length(union(lowerSettings, [])) < length(union(allSettings, []))
  ? fail('extraSettings and secretSettings name settings: letters, digits, underscores and dots, and none twice in another case, nor one of the app\'s own.')
  : !empty(noUrls)
  ? fail('${noUrls[0].name} must be https:// (in small letters), a host, perhaps a port and a path, and nothing else.')
  : notOfOneLake
  ? fail('oneLakeUrl must be the endpoint alone: https://onelake.dfs.fabric.microsoft.com. Workspace and item have parameters of their own.')
  : !empty(noRanges) || !empty(concat(misspelled, noPorts))
  ? fail('egressPorts must hold ports from 1 to 65535, or ranges of them: 8000-8100.')
  : !empty(noAddresses)
  ? fail('${noAddresses[0].name} must hold IPv4 addresses, or ranges of them: 203.0.113.0/24.')
  : !empty(noPublicAddresses)
  ? fail('dataAllowList must hold addresses of the internet, and no /31: storage takes no others. Private ones need a private endpoint.')
  : !empty(noSubnets)
  ? fail('${noSubnets[0].name} must hold ids of subnets: /subscriptions/X/resourceGroups/X/providers/Microsoft.Network/virtualNetworks/X/subnets/X.')
  : !empty(sqlServerResourceId) && !isSqlServerId
  ? fail('sqlServerResourceId must be the id of a server, and not of a database: /subscriptions/X/resourceGroups/X/providers/Microsoft.Sql/servers/X, or managedInstances/X.')
  : !empty(unfit)
  ? fail('${unfit[0].name} must be a range of 8 to ${unfit[0].longest} bits that begins at its first address: 10.30.0.0/24.')
  : !empty(unusable)
  ? fail('networkPrefix has addresses that no virtual network may have: 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 224.0.0.0/4.')
  : !empty(outside)
  ? fail('${outside[0].name} is not within networkPrefix.')
  : !empty(overlapping)
  ? fail('appSubnetPrefix and endpointSubnetPrefix overlap.')
  : !empty(alertEmail) && (length(split(alertEmail, '@')) != 2 || contains(split(alertEmail, '@'), '') || contains(alertEmail, ' '))
  ? fail('alertEmail must be an address for mail.')
  : length(fields) != 6
  ? fail('schedule must have six fields with a blank between: seconds, minutes, hours, days, months, days of the week.')
  : !empty(noParts)
  ? fail('schedule has ${noParts[0].field} that there are not: numbers, names of three letters, * for all, 1-5, */15 and lists of them.')
  : min(firstDays) > longestMonth
  ? fail('schedule has a day that none of its months has.')
  : dailyLogQuotaGb < -1 || dailyLogQuotaGb == 0
  ? fail('dailyLogQuotaGb must be 1 or more, or -1 for none.')
  : !publicApi && !privateNetwork
  ? fail('publicApi: false needs privateNetwork: no caller could reach the app.')
  : !empty(sqlServerResourceId) && !privateNetwork
  ? fail('sqlServerResourceId needs privateNetwork: there is no network to put the endpoint into.')
  : sqlIsInstance && (length(sqlHostParts) != 5 || !contains(toLower(sqlServerParts[0]), '.database.'))
  ? fail('sqlServer must be the host of the managed instance, NAME.PREFIX.database.windows.net, and not its public endpoint.')
  : !empty(egressPorts) && !privateNetwork
  ? fail('egressPorts needs privateNetwork: nothing is closed without.')
  : monitorPrivateLink && !privateNetwork
  ? fail('monitorPrivateLink needs privateNetwork: there is no network to put the endpoint into.')
  : !empty(appSubnetId) && privateNetwork
  ? fail('appSubnetId is for deployments without privateNetwork, which makes a subnet of its own.')
  : contains(last(split(appSubnetId, '/')), '_')
  ? fail('appSubnetId names a subnet with an underscore, which Flex Consumption does not take.')
  : !empty(dataAllowList) && everybodyReachesData
  ? fail('dataAllowList needs privateNetwork or appSubnetId: the app itself, which has no address of its own, would be kept out.')
  : !empty(concat(apiAllowList, deployAllowList)) && !publicApi
  ? fail('publicApi: false admits no address from outside: apiAllowList and deployAllowList would have no effect.')
  : !empty(entraAllowedClients) && empty(entraClientId)
  ? fail('entraAllowedClients needs entraClientId: no token would be required.')
  : !empty(secretSettings) && !keyVault
  ? fail('secretSettings needs keyVault: there is no vault to hold the secrets.')
  : zoneRedundant && warmInstances == 1
  ? fail('zoneRedundant wants no alwaysReadyInstances, or two at least.')
  : warmInstances > maximumInstanceCount
  ? fail('alwaysReadyInstances is more than maximumInstanceCount.')
  : lowerName

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${checkedName}'
  location: location
  tags: allTags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: allTags
    workspaceName: 'log-${suffix}'
    componentName: 'appi-${suffix}'
    retentionDays: logRetentionDays
    dailyQuotaGb: dailyLogQuotaGb
    auditLogs: auditLogs
    internetIngestion: !monitorPrivateLink
  }
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    location: location
    tags: allTags
    name: 'id-${suffix}'
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    location: location
    tags: allTags
    name: storageName
    packageContainerName: packageContainerName
    zoneRedundant: zoneRedundant
    firewall: dataFirewall
    addresses: dataAddresses
    subnetIds: dataSubnetIds
    auditLogs: auditLogs
    logWorkspaceId: monitoring.outputs.workspaceId
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: allTags
    suffix: suffix
    prefix: networkPrefix
    appPrefix: appSubnetPrefix
    endpointPrefix: endpointSubnetPrefix
    zoneNames: concat(storageZones, vaultZones, schedulerZones, sqlZones, monitorPrivateLink ? monitorZones : [], [appZone])
    egress: egress
    auditLogs: auditLogs
    logWorkspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = if (keyVault) {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: allTags
    name: vaultName
    recover: recoverKeyVault
    firewall: dataFirewall
    addresses: dataAddresses
    subnetIds: dataSubnetIds
    logWorkspaceId: monitoring.outputs.workspaceId
  }
}

module scheduler 'modules/scheduler.bicep' = if (durableTaskScheduler) {
  name: 'scheduler'
  scope: group
  params: {
    location: location
    tags: allTags
    name: 'dts-${suffix}'
    skuName: schedulerSku
    taskHubName: taskHubName
    privateNetwork: privateNetwork
    auditLogs: auditLogs
    logWorkspaceId: monitoring.outputs.workspaceId
  }
}

module access 'modules/access.bicep' = {
  name: 'access'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    storageName: storage.outputs.name
    componentName: monitoring.outputs.componentName
    vaultName: keyVault ? vault!.outputs.name : ''
    schedulerName: durableTaskScheduler ? scheduler!.outputs.name : ''
    taskHubName: taskHubName
  }
}

// Endpoints of one subnet are made one after the other: each changes the subnet, and Azure refuses a second until the first
// is done (`ReferencedResourceNotProvisioned`). Each names all before it, because what is not deployed hands on no order.
@batchSize(1)
module storageEndpoints 'modules/endpoint.bicep' = [
  for (service, index) in storageServices: if (privateNetwork) {
    name: 'endpoint-${service}'
    scope: group
    params: {
      location: location
      tags: allTags
      name: 'pep-${service}-${suffix}'
      subnetId: network!.outputs.endpointSubnetId
      targetId: storage.outputs.id
      group: service
      zoneNames: array(storageZones[index])
    }
  }
]

module vaultEndpoint 'modules/endpoint.bicep' = if (privateNetwork && keyVault) {
  name: 'endpoint-vault'
  scope: group
  params: {
    location: location
    tags: allTags
    name: 'pep-vault-${suffix}'
    subnetId: network!.outputs.endpointSubnetId
    targetId: vault!.outputs.id
    group: 'vault'
    zoneNames: [vaultZone]
  }
  dependsOn: [storageEndpoints]
}

module schedulerEndpoint 'modules/endpoint.bicep' = if (privateNetwork && durableTaskScheduler) {
  name: 'endpoint-scheduler'
  scope: group
  params: {
    location: location
    tags: allTags
    name: 'pep-scheduler-${suffix}'
    subnetId: network!.outputs.endpointSubnetId
    targetId: scheduler!.outputs.id
    group: 'scheduler'
    zoneNames: [schedulerZone]
  }
  dependsOn: [storageEndpoints, vaultEndpoint]
}

module monitorLink 'modules/monitorlink.bicep' = if (monitorPrivateLink) {
  name: 'monitorlink'
  scope: group
  params: {
    tags: allTags
    name: 'ampls-${suffix}'
    workspaceId: monitoring.outputs.workspaceId
    componentId: monitoring.outputs.componentId
  }
}

module monitorEndpoint 'modules/endpoint.bicep' = if (monitorPrivateLink) {
  name: 'endpoint-monitor'
  scope: group
  params: {
    location: location
    tags: allTags
    name: 'pep-monitor-${suffix}'
    subnetId: network!.outputs.endpointSubnetId
    targetId: monitorLink!.outputs.id
    group: 'azuremonitor'
    zoneNames: concat(monitorZones, array(storageZones[0]))
  }
  dependsOn: [storageEndpoints, vaultEndpoint, schedulerEndpoint]
}

module sqlEndpoint 'modules/endpoint.bicep' = if (privateNetwork && !empty(sqlServerResourceId)) {
  name: 'endpoint-sql'
  scope: group
  params: {
    location: location
    tags: allTags
    name: 'pep-sql-${suffix}'
    subnetId: network!.outputs.endpointSubnetId
    targetId: sqlServerResourceId
    group: sqlIsInstance ? 'managedInstance' : 'sqlServer'
    zoneNames: [sqlZone]
  }
  dependsOn: [storageEndpoints, vaultEndpoint, schedulerEndpoint, monitorEndpoint]
}

// Packages come this way where the SCM site is closed.
module appEndpoint 'modules/endpoint.bicep' = if (privateNetwork) {
  name: 'endpoint-app'
  scope: group
  params: {
    location: location
    tags: allTags
    name: 'pep-app-${suffix}'
    subnetId: network!.outputs.endpointSubnetId
    targetId: app.outputs.id
    group: 'sites'
    zoneNames: [appZone]
  }
}

// What the app's settings are called is fixed by the host and by the variables of hygge.yml and flows/.
var baseSettings = {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
  // The exporter reports about itself to Microsoft otherwise.
  APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true'
  AzureWebJobsStorage__accountName: storage.outputs.name
  AzureWebJobsStorage__clientId: identity.outputs.clientId
  AzureWebJobsStorage__credential: 'managedidentity'
  FABRIC_API_URL: fabricApiUrl
  HYGGE_CONCURRENCY: string(concurrency)
  HYGGE_SCHEDULE: schedule
  HYGGE_SLICE_MINUTES: string(sliceMinutes)
  LAKE_CLIENT_ID: identity.outputs.clientId
  LAKE_CREDENTIAL: 'managed_identity'
  MIRROR_ID: mirrorId
  ONELAKE_URL: oneLakeUrl
  // More threads than host.json lets activities run at once: orchestrators replay on them too.
  PYTHON_THREADPOOL_THREAD_COUNT: '16'
  SQL_AUTH: 'managed_identity'
  SQL_CLIENT_ID: identity.outputs.clientId
  SQL_DATABASE: sqlDatabase
  SQL_POOL_SIZE: string(sqlPoolSize)
  SQL_SERVER: sqlServer
  WORKSPACE_ID: workspaceId
}

// The backend itself stands in the package's host.json (infra/scripts/package.py): settings that overrule that file are
// not seen by the platform's scale controller.
var schedulerSettings = durableTaskScheduler ? {
  DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${scheduler!.outputs.endpoint};Authentication=ManagedIdentity;ClientID=${identity.outputs.clientId}'
} : {}

var publicSettings = empty(publicUrl) ? {} : { HYGGE_PUBLIC_URL: publicUrl }
var settingsFromVault = mapValues(secretSettings, secret => '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=${secret})')

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    location: location
    tags: allTags
    planName: 'asp-${suffix}'
    appName: appName
    identityId: identity.outputs.id
    packageContainerUrl: '${storage.outputs.blobEndpoint}${packageContainerName}'
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: warmInstances
    zoneRedundant: zoneRedundant
    publicAccess: publicApi
    callers: empty(apiAllowList) ? [] : concat(apiAllowList, deployAllowList)
    deployers: deployAllowList
    deployersOnly: privateNetwork || !empty(deployAllowList)
    entraClientId: entraClientId
    entraAllowedClients: entraAllowedClients
    subnetId: privateNetwork ? network!.outputs.appSubnetId : appSubnetId
    auditLogs: auditLogs
    logWorkspaceId: monitoring.outputs.workspaceId
    settings: union(baseSettings, schedulerSettings, publicSettings, extraSettings, settingsFromVault)
  }
  // A host that starts before it can and may read its storage fails until it is restarted.
  dependsOn: [access, storageEndpoints, vaultEndpoint, schedulerEndpoint, monitorEndpoint, sqlEndpoint]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: allTags
    suffix: suffix
    workspaceId: monitoring.outputs.workspaceId
    email: alertEmail
    noSuccessWindow: noSuccessWindow
  }
}

@description('Resource group of everything here.')
output AZURE_RESOURCE_GROUP string = group.name

@description('The Function app; `azd deploy` and `func` publish to it.')
output AZURE_FUNCTION_APP_NAME string = app.outputs.name

@description('Where the API answers.')
output AZURE_FUNCTION_APP_URL string = 'https://${app.outputs.hostName}'

@description('Name of the app\'s identity: the name of its user in the database.')
output HYGGE_IDENTITY_NAME string = identity.outputs.name

@description('Client id of the app\'s identity.')
output HYGGE_IDENTITY_CLIENT_ID string = identity.outputs.clientId

@description('Object id of the app\'s identity: what gets the role in the Fabric workspace.')
output HYGGE_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId

@description('Storage of the host, the package and the durable state.')
output AZURE_STORAGE_ACCOUNT_NAME string = storage.outputs.name

@description('Logs: what the queries of docs/operations.md run against.')
output AZURE_LOG_ANALYTICS_WORKSPACE_ID string = monitoring.outputs.workspaceId

@description('The key vault, if there is one.')
output AZURE_KEY_VAULT_NAME string = keyVault ? vault!.outputs.name : ''
