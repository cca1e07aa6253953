metadata description = 'A Durable Task Scheduler with the app\'s task hub.'

param location string
param tags object
param name string
param skuName string
param taskHubName string
param privateNetwork bool

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: union({ name: skuName }, skuName == 'Dedicated' ? { capacity: 1 } : {})
    // An empty list lets nobody in. Who gets in still needs a role on the hub.
    ipAllowlist: ['0.0.0.0/0']
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
  }
}

resource taskHub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: taskHubName
}

output id string = scheduler.id
output name string = scheduler.name
output endpoint string = scheduler.properties.endpoint
