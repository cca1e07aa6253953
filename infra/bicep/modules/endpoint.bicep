metadata description = 'A private endpoint with its records in private DNS zones of this resource group.'

param location string
param tags object
param name string
param subnetId string
param targetId string
param group string
param zoneNames array

resource zones 'Microsoft.Network/privateDnsZones@2020-06-01' existing = [
  for zoneName in zoneNames: {
    name: zoneName
  }
]

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      {
        name: name
        properties: {
          privateLinkServiceId: targetId
          groupIds: [group]
        }
      }
    ]
  }

  resource record 'privateDnsZoneGroups' = {
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        for (zoneName, index) in zoneNames: { name: zoneName, properties: { privateDnsZoneId: zones[index].id } }
      ]
    }
  }
}
