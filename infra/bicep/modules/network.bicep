metadata description = 'A virtual network with a subnet for the app, one for private endpoints, and one address to leave by.'

param location string
param tags object
param suffix string
param prefix string
param appPrefix string
param endpointPrefix string
param zoneNames array

@description('What of the internet may be reached: `name`, `to` (a service tag) and `ports`.')
param egress array

param auditLogs string
param logWorkspaceId string

var allowed = [for (rule, index) in egress: {
  name: 'allow-${rule.name}'
  properties: {
    priority: 100 + index
    direction: 'Outbound'
    access: 'Allow'
    protocol: 'Tcp'
    sourceAddressPrefix: '*'
    sourcePortRange: '*'
    destinationAddressPrefix: rule.to
    destinationPortRanges: rule.ports
  }
}]
var denied = {
  name: 'deny-internet'
  properties: {
    priority: 4096
    direction: 'Outbound'
    access: 'Deny'
    protocol: '*'
    sourceAddressPrefix: '*'
    sourcePortRange: '*'
    destinationAddressPrefix: 'Internet'
    destinationPortRanges: ['0-65535']
  }
}

// Neither subnet takes connections from the internet, by the platform's own rules, and they reach little of it.
resource securityGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: 'nsg-${suffix}'
  location: location
  tags: tags
  properties: {
    securityRules: concat(allowed, [denied])
  }
}

// Which rule has let through or turned away how much. Flow logs do not see what functions send.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (auditLogs != 'none') {
  name: 'audit'
  scope: securityGroup
  properties: {
    workspaceId: logWorkspaceId
    logs: [
      { category: 'NetworkSecurityGroupEvent', enabled: true }
      { category: 'NetworkSecurityGroupRuleCounter', enabled: true }
    ]
  }
}

// OneLake, Entra ID and Application Insights are on the internet; subnets no longer reach it by default.
resource address 'Microsoft.Network/publicIPAddresses@2024-05-01' = {
  name: 'pip-${suffix}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource gateway 'Microsoft.Network/natGateways@2024-05-01' = {
  name: 'ng-${suffix}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    publicIpAddresses: [{ id: address.id }]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: 'vnet-${suffix}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [prefix] }
    // Subnets stand here, not as resources of their own: a later deployment would remove those for a moment.
    subnets: [
      {
        name: 'snet-app'
        properties: {
          addressPrefixes: [appPrefix]
          defaultOutboundAccess: false
          natGateway: { id: gateway.id }
          networkSecurityGroup: { id: securityGroup.id }
          privateEndpointNetworkPolicies: 'Disabled'
          delegations: [{ name: 'app', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'snet-endpoints'
        properties: {
          addressPrefixes: [endpointPrefix]
          defaultOutboundAccess: false
          networkSecurityGroup: { id: securityGroup.id }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2020-06-01' = [
  for zoneName in zoneNames: {
    name: zoneName
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [
  for (zoneName, index) in zoneNames: {
    parent: zones[index]
    name: 'vnet-${suffix}'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: network.id }
    }
  }
]

output appSubnetId string = '${network.id}/subnets/snet-app'
output endpointSubnetId string = '${network.id}/subnets/snet-endpoints'
