metadata description = 'Alerts on what the app logs, who hears of them, and a workbook.'

param location string
param tags object
param suffix string
param workspaceId string

@description('Empty: alerts show in the portal only.')
param email string

param noSuccessWindow string

// name, what it says, severity (0 critical … 4 verbose), how far it looks back, and when it fires.
var rules = [
  {
    name: 'failed-loads'
    description: 'A load ended with failed tables, or could not be planned.'
    query: loadTextContent('../../monitoring/failed-loads.kql')
    severity: 1
    window: 'PT15M'
    frequency: 'PT5M'
    operator: 'GreaterThan'
    threshold: 0
  }
  {
    name: 'no-successful-load'
    description: 'No load has succeeded for the whole window; also fires when nothing is logged at all.'
    query: loadTextContent('../../monitoring/successful-loads.kql')
    severity: 1
    window: noSuccessWindow
    frequency: 'PT30M'
    operator: 'LessThan'
    threshold: 1
  }
  {
    name: 'throttling'
    description: 'The source or Fabric turned attempts away again and again; loads go on, but take longer.'
    query: loadTextContent('../../monitoring/throttling.kql')
    severity: 2
    window: 'PT30M'
    frequency: 'PT15M'
    operator: 'GreaterThan'
    threshold: 10
  }
]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'hygge'
    enabled: true
    emailReceivers: [{ name: 'email', emailAddress: email, useCommonAlertSchema: true }]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'ar-${rule.name}-${suffix}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'hygge: ${rule.name}'
      description: rule.description
      enabled: true
      severity: rule.severity
      scopes: [workspaceId]
      evaluationFrequency: rule.frequency
      windowSize: rule.window
      // The tables do not exist before the first log arrives.
      skipQueryValidation: true
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: rule.operator
            threshold: rule.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: empty(email) ? [] : [group.id] }
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'loads')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'hygge: loads'
    category: 'workbook'
    sourceId: toLower(workspaceId)
    serializedData: loadTextContent('../../monitoring/workbook.json')
  }
}
