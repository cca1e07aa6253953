metadata description = 'Storage of the Functions host, the deployed package and the durable state. Keys are switched off.'

param location string
param tags object
param name string
param packageContainerName string
param zoneRedundant bool
param privateNetwork bool

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  // checkov:skip=CKV_AZURE_35: Denied with privateNetwork. Without it, Entra ID and roles alone decide; there are no keys.
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
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'None'
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
    }
  }

  resource blobs 'blobServices' = {
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
}

output id string = account.id
output name string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
