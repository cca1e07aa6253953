metadata description = 'Private endpoints, each with its record in a private DNS zone of this resource group.'

param location string
param tags object
param subnetId string

@description('Each: name, resourceId, group, zoneName.')
param targets object[]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for target in targets: {
    name: target.name
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        {
          name: target.name
          properties: {
            privateLinkServiceId: target.resourceId
            groupIds: [target.group]
          }
        }
      ]
    }
  }
]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (target, index) in targets: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: target.zoneName
          properties: { privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', target.zoneName) }
        }
      ]
    }
  }
]
