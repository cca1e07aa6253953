metadata description = 'A private way to Application Insights and the log workspace. Telemetry comes by it alone; queries may come from anywhere.'

param tags object
param name string
param workspaceId string
param componentId string

resource link 'Microsoft.Insights/privateLinkScopes@2021-07-01-preview' = {
  name: name
  location: 'global'
  tags: tags
  properties: {
    accessModeSettings: { ingestionAccessMode: 'PrivateOnly', queryAccessMode: 'Open' }
  }
}

resource workspace 'Microsoft.Insights/privateLinkScopes/scopedResources@2021-07-01-preview' = {
  parent: link
  name: 'logs'
  properties: { linkedResourceId: workspaceId }
}

resource component 'Microsoft.Insights/privateLinkScopes/scopedResources@2021-07-01-preview' = {
  parent: link
  name: 'insights'
  properties: { linkedResourceId: componentId }
  // A scope takes no second while the first is being added.
  dependsOn: [workspace]
}

output id string = link.id
