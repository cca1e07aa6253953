metadata description = 'Storage of the Functions host, the deployed package and the durable state. Keys are switched off.'

param location string
param tags object
param name string
param packageContainerName string
param zoneRedundant bool
@description('`publicNetworkAccess` and `defaultAction`.')
param firewall object
param addresses array
param subnetIds array
param auditLogs string
param logWorkspaceId string

var changes = ['StorageWrite', 'StorageDelete']
var everything = concat(['StorageRead'], changes)
// Queues are polled and tables read all the time; nothing but durable state is in them.
var ofDurableState = auditLogs == 'all' ? everything : changes

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  // checkov:skip=CKV_AZURE_35: Denied with privateNetwork or appSubnetId. Without, Entra ID and roles alone decide; there are no keys.
  // checkov:skip=CKV_AZURE_206: Zone-redundant with zoneRedundant. What is here can be deployed again or is rebuilt.
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: firewall.publicNetworkAccess
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'None'
      defaultAction: firewall.defaultAction
      ipRules: [for address in addresses: { value: address, action: 'Allow' }]
      virtualNetworkRules: [for subnetId in subnetIds: { id: subnetId, action: 'Allow' }]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    // A package or a function key deleted by mistake can be fetched back for a week.
    containerDeleteRetentionPolicy: { enabled: true, days: 7 }
    deleteRetentionPolicy: { enabled: true, days: 7 }
  }

  resource package 'containers' = {
    name: packageContainerName
    properties: { publicAccess: 'None' }
  }
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' existing = {
  parent: account
  name: 'default'
}

// The package and the function keys are blobs: who reads them is worth knowing, too.
resource blobAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (auditLogs != 'none') {
  name: 'audit'
  scope: blobs
  properties: {
    workspaceId: logWorkspaceId
    logs: [for category in everything: { category: category, enabled: true }]
  }
}

resource queueAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (auditLogs != 'none') {
  name: 'audit'
  scope: queues
  properties: {
    workspaceId: logWorkspaceId
    logs: [for category in ofDurableState: { category: category, enabled: true }]
  }
}

resource tableAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (auditLogs != 'none') {
  name: 'audit'
  scope: tables
  properties: {
    workspaceId: logWorkspaceId
    logs: [for category in ofDurableState: { category: category, enabled: true }]
  }
}

output id string = account.id
output name string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
