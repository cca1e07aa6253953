using 'main.bicep'

// Values come from the environment: `azd env set NAME VALUE`, or `export NAME=VALUE` for plain az. Whoever adds one adds
// it to both pipelines and to docs/deploy: a variable that a pipeline does not pass would put its default back.
param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'hygge')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param sqlServer = readEnvironmentVariable('SQL_SERVER', '')
param sqlDatabase = readEnvironmentVariable('SQL_DATABASE', '')
param workspaceId = readEnvironmentVariable('WORKSPACE_ID', '')
param mirrorId = readEnvironmentVariable('MIRROR_ID', '')
param schedule = readEnvironmentVariable('HYGGE_SCHEDULE', '0 */5 * * * *')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')
param privateNetwork = bool(readEnvironmentVariable('PRIVATE_NETWORK', 'false'))
param publicApi = bool(readEnvironmentVariable('PUBLIC_API', 'true'))
param sqlServerResourceId = readEnvironmentVariable('SQL_SERVER_RESOURCE_ID', '')
param keyVault = bool(readEnvironmentVariable('KEY_VAULT', 'false'))
param durableTaskScheduler = bool(readEnvironmentVariable('DURABLE_TASK_SCHEDULER', 'false'))
param maximumInstanceCount = int(readEnvironmentVariable('MAXIMUM_INSTANCE_COUNT', '40'))
param alwaysReadyInstances = int(readEnvironmentVariable('ALWAYS_READY_INSTANCES', '-1'))
param publicUrl = readEnvironmentVariable('HYGGE_PUBLIC_URL', '')
param noSuccessWindow = readEnvironmentVariable('NO_SUCCESS_WINDOW', 'PT2H')
param recoverKeyVault = bool(readEnvironmentVariable('RECOVER_KEY_VAULT', 'false'))
param auditLogs = readEnvironmentVariable('AUDIT_LOGS', 'changes')
