metadata description = 'A Durable Task Scheduler with the app\'s task hub.'

param location string
param tags object
param name string
param skuName string
param taskHubName string
param privateNetwork bool
param auditLogs string
param logWorkspaceId string

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: union({ name: skuName }, skuName == 'Dedicated' ? { capacity: 1 } : {})
    // An empty list admits no address. A caller that gets in still needs a role on the hub.
    ipAllowlist: ['0.0.0.0/0']
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
  }
}

resource taskHub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: taskHubName
}

// It has one kind of log, which the group names.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (auditLogs != 'none') {
  name: 'audit'
  scope: scheduler
  properties: {
    workspaceId: logWorkspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

output id string = scheduler.id
output name string = scheduler.name
output endpoint string = scheduler.properties.endpoint
