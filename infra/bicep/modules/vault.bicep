metadata description = 'A key vault for the secrets that other people\'s systems insist on. Access by role only.'

param location string
param tags object
param name string
param recover bool
@description('`publicNetworkAccess` and `defaultAction`.')
param firewall object
param addresses array
param subnetIds array
param logWorkspaceId string

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  // checkov:skip=CKV_AZURE_109: Denied with privateNetwork or appSubnetId. Without, Entra ID and roles alone decide.
  // checkov:skip=CKV_AZURE_189: Disabled with privateNetwork.
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    createMode: recover ? 'recover' : 'default'
    enableRbacAuthorization: true
    enablePurgeProtection: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    publicNetworkAccess: firewall.publicNetworkAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: firewall.defaultAction
      ipRules: [for address in addresses: { value: address }]
      virtualNetworkRules: [for subnetId in subnetIds: { id: subnetId }]
    }
  }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: vault
  properties: {
    workspaceId: logWorkspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
  }
}

output id string = vault.id
output name string = vault.name
