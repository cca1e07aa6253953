#!/bin/sh
# Deploy everything with the Azure CLI: the template, then the package. What azd does, for pipelines and for those
# who would rather see each command. Can be run again at any time.
#
# Needs a login (az login), Python 3.10, and these variables; docs/deploy/az.md explains them:
#   AZURE_ENV_NAME AZURE_LOCATION SQL_SERVER SQL_DATABASE WORKSPACE_ID MIRROR_ID
set -eu

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; }
case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
esac

for name in AZURE_ENV_NAME AZURE_LOCATION SQL_SERVER SQL_DATABASE WORKSPACE_ID MIRROR_ID; do
    eval "value=\${$name:-}"
    if [ -z "$value" ]; then
        echo "deploy: $name is not set" >&2
        usage >&2
        exit 2
    fi
done

# What every resource that bears the name takes.
case $AZURE_ENV_NAME in
*[!A-Za-z0-9-]* | -*)
    echo "deploy: AZURE_ENV_NAME is part of a function app's name: letters, digits and hyphens only" >&2
    exit 2
    ;;
esac

cd "$(dirname "$0")/../.."
deployment=hygge-$AZURE_ENV_NAME

output() {
    az deployment sub show --name "$deployment" --query "properties.outputs.$1.value" --output tsv
}

echo "deploy: creating or updating the resources" >&2
az deployment sub create --name "$deployment" --location "$AZURE_LOCATION" --output none \
    --template-file infra/bicep/main.bicep --parameters infra/bicep/main.bicepparam

package=$(mktemp -d)/package.zip
trap 'rm -rf "$(dirname "$package")"' EXIT
python3 infra/scripts/package.py "$package"

app=$(output AZURE_FUNCTION_APP_NAME)
group=$(output AZURE_RESOURCE_GROUP)
echo "deploy: publishing to $app" >&2
# A role that was granted a minute ago may not be known everywhere yet, and the platform stores the package with it.
attempt=1
until az functionapp deployment source config-zip --resource-group "$group" --name "$app" --src "$package" \
    --build-remote true --timeout 1800 --output none; do
    if [ "$attempt" -ge "${DEPLOY_ATTEMPTS:-3}" ]; then
        echo "deploy: the package could not be published" >&2
        exit 1
    fi
    attempt=$((attempt + 1))
    sleep "${DEPLOY_PAUSE_SECONDS:-60}"
done
echo "deploy: $(output AZURE_FUNCTION_APP_URL)/api/health" >&2
