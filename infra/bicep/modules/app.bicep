metadata description = 'The Function app on a Flex Consumption plan.'

param location string
param tags object
param planName string
param appName string
param identityId string
param packageContainerUrl string
param instanceMemoryMB int
param maximumInstanceCount int
param alwaysReadyInstances int
param zoneRedundant bool
param publicAccess bool

@description('Addresses, ranges and ids of subnets. Empty: everybody.')
param callers array

@description('Addresses, ranges and ids of subnets that may reach the SCM site.')
param deployers array
param deployersOnly bool

@description('Empty: no token is required.')
param entraClientId string
param entraAllowedClients array

@description('Empty: the app is in no virtual network.')
param subnetId string

@description('App settings: name → value.')
param settings object

param auditLogs string
param logWorkspaceId string

var audited = concat(['AppServiceAuthenticationLogs'], auditLogs == 'all' ? ['FunctionAppLogs'] : [])
var callerRules = [for (entry, index) in callers: {
  name: 'allowed-${index}'
  priority: 100 + index
  action: 'Allow'
  ipAddress: startsWith(entry, '/') ? null : contains(entry, '/') ? entry : '${entry}/32'
  vnetSubnetResourceId: startsWith(entry, '/') ? entry : null
}]
var deployerRules = [for (entry, index) in deployers: {
  name: 'allowed-${index}'
  priority: 100 + index
  action: 'Allow'
  ipAddress: startsWith(entry, '/') ? null : contains(entry, '/') ? entry : '${entry}/32'
  vnetSubnetResourceId: startsWith(entry, '/') ? entry : null
}]
var appSettings = [for setting in items(settings): { name: setting.key, value: setting.value }]

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225: With zoneRedundant. A load that dies with its zone goes on where it had got to.
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource site 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_17: Callers show a function key, and a token with entraClientId; none has a certificate.
  // checkov:skip=CKV_AZURE_78: Flex Consumption refuses ftpsState in some regions; the policy `ftp` below closes FTP.
  // checkov:skip=CKV_AZURE_212: Flex Consumption has no worker count; alwaysReadyInstances keeps instances warm.
  // checkov:skip=CKV_AZURE_213: Flex Consumption has no health check; the alert on missing loads does its work.
  // checkov:skip=CKV_AZURE_222: Disabled without publicApi.
  name: appName
  location: location
  // How azd finds the app of the service `app` in azure.yaml.
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        // All durable functions scale as the one group `durable`.
        alwaysReady: alwaysReadyInstances > 0 ? [{ name: 'durable', instanceCount: alwaysReadyInstances }] : []
      }
    }
    siteConfig: {
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ipSecurityRestrictions: callerRules
      ipSecurityRestrictionsDefaultAction: empty(callers) ? 'Allow' : 'Deny'
      scmIpSecurityRestrictions: deployerRules
      scmIpSecurityRestrictionsDefaultAction: deployersOnly ? 'Deny' : 'Allow'
      scmIpSecurityRestrictionsUseMain: false
      appSettings: appSettings
    }
  }
}

// User names and passwords for publishing are off: deployments come with a token of Entra ID.
resource publishing 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: site
  name: 'scm'
  properties: { allow: false }
}

resource publishingByFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: site
  name: 'ftp'
  properties: { allow: false }
}

// Entra ID before the app, where there is a registration; the function key is asked for all the same. It stands here also
// when it is off, so that it can be switched off. No user signs in at a page of the app, so it needs no secret.
resource authentication 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13: Asks a site's general configuration, which this is not.
  // checkov:skip=CKV_AZURE_63: Asks a site's general configuration, which this is not.
  // checkov:skip=CKV_AZURE_65: Asks a site's general configuration, which this is not.
  // checkov:skip=CKV_AZURE_66: Asks a site's general configuration, which this is not.
  // checkov:skip=CKV_AZURE_80: Asks a site's general configuration, which this is not.
  // checkov:skip=CKV_AZURE_88: Asks a site's general configuration, which this is not.
  // checkov:skip=CKV_AZURE_222: Asks a site's general configuration, which this is not.
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: !empty(entraClientId) }
    globalValidation: {
      requireAuthentication: !empty(entraClientId)
      unauthenticatedClientAction: empty(entraClientId) ? 'AllowAnonymous' : 'Return401'
      // Probes have no token; `az functionapp deployment source config-zip` has none either, and waits for the second.
      excludedPaths: ['/api/health', '/admin/host/status']
    }
    identityProviders: empty(entraClientId) ? {} : {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: entraClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [entraClientId, 'api://${entraClientId}']
          defaultAuthorizationPolicy: { allowedApplications: entraAllowedClients }
        }
      }
    }
    login: { tokenStore: { enabled: false } }
    httpSettings: { requireHttps: true }
  }
}

// What the app itself logs goes to Application Insights, and the host's own log beside it would say it twice.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (auditLogs != 'none') {
  name: 'audit'
  scope: site
  properties: {
    workspaceId: logWorkspaceId
    logs: [for category in audited: { category: category, enabled: true }]
  }
}

output id string = site.id
output name string = site.name
output hostName string = site.properties.defaultHostName
