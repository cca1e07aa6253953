metadata description = 'A Durable Task Scheduler with the app\'s task hub.'

param location string
param tags object
param name string
param skuName string
param taskHubName string

resource scheduler 'Microsoft.DurableTask/schedulers@2025-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: union({ name: skuName }, skuName == 'Dedicated' ? { capacity: 1 } : {})
    // An empty list lets nobody in. Who gets in still needs a role on the hub.
    ipAllowlist: ['0.0.0.0/0']
  }
}

resource taskHub 'Microsoft.DurableTask/schedulers/taskHubs@2025-11-01' = {
  parent: scheduler
  name: taskHubName
}

output name string = scheduler.name
output endpoint string = scheduler.properties.endpoint
