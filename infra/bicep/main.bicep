targetScope = 'subscription'

metadata name = 'hygge-engine'
metadata description = 'A Function app on Flex Consumption that loads SQL Server tables into Microsoft Fabric, without a single key.'

// infra/terraform creates the same resources from the same parameters; a test compares the two.

@description('Name of the deployment: part of every resource name. `azd` calls it the environment.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region of all resources. Flex Consumption must be offered there: `az functionapp list-flexconsumption-locations`.')
@minLength(1)
param location string

@description('Tags of all resources, beside `azd-env-name`.')
param tags object = {}

@description('SQL Server to read from: a host, or host,port.')
@minLength(1)
param sqlServer string

@description('Database to read from.')
@minLength(1)
param sqlDatabase string

@description('GUID of the Fabric workspace that holds the mirrored database.')
@minLength(36)
@maxLength(36)
param workspaceId string

@description('GUID of the mirrored database.')
@minLength(36)
@maxLength(36)
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

@description('App settings of your own: the variables of your project\'s files. No secrets; those go to `secretSettings`.')
param extraSettings object = {}

@description('App settings whose values are secrets of the key vault: name of the setting → name of the secret. Needs `keyVault`.')
param secretSettings object = {}

@description('Memory of one instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Instances at most. Each may run `maxConcurrentActivityFunctions` of host.json activities at once.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances kept warm for the durable functions. 0: scale to zero between loads.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 0

@description('Spread plan and storage over availability zones. The plan then wants at least two instances that are always ready.')
param zoneRedundant bool = false

@description('Put the app into a virtual network, reach storage (and key vault) through private endpoints only, and leave through one public address.')
param privateNetwork bool = false

@description('Whether the app answers calls from the internet. With false it needs `privateNetwork`, and is deployed from inside the network.')
param publicApi bool = true

@description('Address space of the virtual network, at least a /24.')
param networkPrefix string = '10.30.0.0/24'

@description('Resource id of an Azure SQL server or managed instance to reach through a private endpoint. Empty: none. Needs `privateNetwork`.')
param sqlServerResourceId string = ''

@description('Create a key vault that the app may read secrets from.')
param keyVault bool = false

@description('Keep durable state in a Durable Task Scheduler instead of in the storage account.')
param durableTaskScheduler bool = false

@description('Billing model of the Durable Task Scheduler.')
@allowed(['Consumption', 'Dedicated'])
param schedulerSku string = 'Consumption'

@description('Where alerts go. Empty: they show in the portal only.')
param alertEmail string = ''

@description('Alert when no load has succeeded for this long.')
@allowed(['PT1H', 'PT2H', 'PT3H', 'PT4H', 'PT5H', 'PT6H', 'P1D', 'P2D'])
param noSuccessWindow string = 'PT2H'

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Gigabytes of logs a day at most, as a bound on cost; -1 for none. Logs beyond it are lost for that day.')
param dailyLogQuotaGb int = 1

// The suffix keeps globally unique names apart; abbreviations are those of the Cloud Adoption Framework.
var token = toLower(uniqueString(subscription().subscriptionId, environmentName, location))
var allTags = union(tags, { 'azd-env-name': environmentName })
var appName = 'func-${environmentName}-${token}'
var storageName = 'st${token}'
var vaultName = 'kv-${token}'
var packageContainerName = 'app-package'
// One hub for each deployment: never shared, so that no two apps take each other's work.
var taskHubName = 'hygge'

resource resourceGroup 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: allTags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    workspaceName: 'log-${environmentName}-${token}'
    componentName: 'appi-${environmentName}-${token}'
    retentionDays: logRetentionDays
    dailyQuotaGb: dailyLogQuotaGb
  }
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    name: 'id-${environmentName}-${token}'
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    name: storageName
    packageContainerName: packageContainerName
    zoneRedundant: zoneRedundant
    privateNetwork: privateNetwork
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    suffix: '${environmentName}-${token}'
    prefix: networkPrefix
    zoneNames: concat(
      [
        'privatelink.blob.${environment().suffixes.storage}'
        'privatelink.queue.${environment().suffixes.storage}'
        'privatelink.table.${environment().suffixes.storage}'
      ],
      keyVault ? ['privatelink.vaultcore.azure.net'] : [],
      empty(sqlServerResourceId) ? [] : ['privatelink${environment().suffixes.sqlServerHostname}'],
      publicApi ? [] : ['privatelink.azurewebsites.net']
    )
  }
}

module vault 'modules/vault.bicep' = if (keyVault) {
  name: 'vault'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    name: vaultName
    privateNetwork: privateNetwork
    logWorkspaceId: monitoring.outputs.workspaceId
  }
}

module scheduler 'modules/scheduler.bicep' = if (durableTaskScheduler) {
  name: 'scheduler'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    name: 'dts-${environmentName}-${token}'
    skuName: schedulerSku
    taskHubName: taskHubName
  }
}

module access 'modules/access.bicep' = {
  name: 'access'
  scope: resourceGroup
  params: {
    principalId: identity.outputs.principalId
    storageName: storage.outputs.name
    componentName: monitoring.outputs.componentName
    vaultName: keyVault ? vault!.outputs.name : ''
    schedulerName: durableTaskScheduler ? scheduler!.outputs.name : ''
    taskHubName: taskHubName
  }
}

module endpoints 'modules/endpoints.bicep' = if (privateNetwork) {
  name: 'endpoints'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    subnetId: network!.outputs.endpointSubnetId
    targets: concat(
      [
        {
          name: 'pep-blob-${environmentName}-${token}'
          resourceId: storage.outputs.id
          group: 'blob'
          zoneName: 'privatelink.blob.${environment().suffixes.storage}'
        }
        {
          name: 'pep-queue-${environmentName}-${token}'
          resourceId: storage.outputs.id
          group: 'queue'
          zoneName: 'privatelink.queue.${environment().suffixes.storage}'
        }
        {
          name: 'pep-table-${environmentName}-${token}'
          resourceId: storage.outputs.id
          group: 'table'
          zoneName: 'privatelink.table.${environment().suffixes.storage}'
        }
      ],
      keyVault
        ? [
            {
              name: 'pep-vault-${environmentName}-${token}'
              resourceId: vault!.outputs.id
              group: 'vault'
              zoneName: 'privatelink.vaultcore.azure.net'
            }
          ]
        : [],
      empty(sqlServerResourceId)
        ? []
        : [
            {
              name: 'pep-sql-${environmentName}-${token}'
              resourceId: sqlServerResourceId
              group: contains(sqlServerResourceId, '/managedInstances/') ? 'managedInstance' : 'sqlServer'
              zoneName: 'privatelink${environment().suffixes.sqlServerHostname}'
            }
          ]
    )
  }
}

module appEndpoint 'modules/endpoints.bicep' = if (privateNetwork && !publicApi) {
  name: 'appEndpoint'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    subnetId: network!.outputs.endpointSubnetId
    targets: [
      {
        name: 'pep-app-${environmentName}-${token}'
        resourceId: app.outputs.id
        group: 'sites'
        zoneName: 'privatelink.azurewebsites.net'
      }
    ]
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    planName: 'asp-${environmentName}-${token}'
    appName: appName
    identityId: identity.outputs.id
    packageContainerUrl: '${storage.outputs.blobEndpoint}${packageContainerName}'
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    zoneRedundant: zoneRedundant
    publicAccess: publicApi
    subnetId: privateNetwork ? network!.outputs.appSubnetId : ''
    secretSettings: secretSettings
    vaultName: vaultName
    settings: union(
      {
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
        APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
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
      },
      durableTaskScheduler
        ? {
            // Overrules host.json, so that the package is the same with either backend.
            AzureFunctionsJobHost__extensions__durableTask__hubName: taskHubName
            AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'DURABLE_TASK_SCHEDULER_CONNECTION_STRING'
            AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'azureManaged'
            DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${scheduler!.outputs.endpoint};Authentication=ManagedIdentity;ClientID=${identity.outputs.clientId}'
          }
        : {},
      extraSettings
    )
  }
  // A host that starts before it can and may read its storage fails until somebody restarts it.
  dependsOn: [access, endpoints]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: resourceGroup
  params: {
    location: location
    tags: allTags
    suffix: '${environmentName}-${token}'
    workspaceId: monitoring.outputs.workspaceId
    email: alertEmail
    noSuccessWindow: noSuccessWindow
  }
}

@description('Resource group of everything here.')
output AZURE_RESOURCE_GROUP string = resourceGroup.name

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
