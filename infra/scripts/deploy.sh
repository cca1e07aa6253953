#!/bin/sh
# Deploy everything with the Azure CLI: the template, then the package. What azd does, for pipelines and for those
# who would rather see each command. Can be run again at any time. --what-if shows what would change, and stops;
# --output NAME prints an output of the deployment, which takes AZURE_ENV_NAME alone.
#
# Needs a login (az login), Python 3.10, and these variables; docs/deploy/az.md explains them:
#   AZURE_ENV_NAME AZURE_LOCATION SQL_SERVER SQL_DATABASE WORKSPACE_ID MIRROR_ID
# The others that infra/bicep/main.bicepparam reads may be set: docs/deploy/azd.md.
set -eu

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }
mode=create
case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
--what-if) mode=what-if ;;
--output) mode=output ;;
'') ;;
*)
    echo "deploy: there is no option $1" >&2
    usage >&2
    exit 2
    ;;
esac

cd "$(dirname "$0")/../.."

# Git Bash would take ids, which begin with a slash, for paths of files: in arguments and in variables.
export MSYS_NO_PATHCONV=1
export MSYS2_ENV_CONV_EXCL='SQL_SERVER_RESOURCE_ID;APP_SUBNET_ID;DATA_ALLOW_LIST;DEPLOY_ALLOW_LIST;API_ALLOW_LIST'

# A pipeline passes every variable, unset ones too: GitHub as nothing, Azure DevOps as $(NAME). The
# parameter file would take either for a value, not for the default.
for name in $(sed -n "s/.*readEnvironmentVariable('\([A-Z_]*\)'.*/\1/p" infra/bicep/main.bicepparam); do
    eval "value=\${$name:-}"
    case $value in
    '' | "\$($name)") unset "$name" ;;
    esac
done

needed="AZURE_ENV_NAME AZURE_LOCATION SQL_SERVER SQL_DATABASE WORKSPACE_ID MIRROR_ID"
[ "$mode" != output ] || needed=AZURE_ENV_NAME
for name in $needed; do
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

deployment=hygge-$AZURE_ENV_NAME

# Azure writes AZURE_… as azurE_… or aZURE_…, now and then.
output() {
    outputs=$(az deployment sub show --name "$deployment" --query properties.outputs --output json) || return
    printf '%s' "$outputs" | python3 -c '
import json, sys
found = {name.upper(): output["value"] for name, output in (json.load(sys.stdin) or {}).items()}
print(found[sys.argv[1]] if sys.argv[1] in found else sys.exit(f"deploy: the deployment has no output {sys.argv[1]}"))
' "$1"
}

template() {
    command=$1
    shift
    az deployment sub "$command" --name "$deployment" --location "$AZURE_LOCATION" \
        --template-file infra/bicep/main.bicep --parameters infra/bicep/main.bicepparam "$@"
}

if [ "$mode" = output ]; then
    output "${2:?deploy: --output wants the name of an output}"
    exit
fi

if [ "$mode" = what-if ]; then
    # Asked by an identity that may read and nothing else: docs/deploy/pipelines.md.
    template what-if --validation-level ProviderNoRbac
    exit
fi

echo "deploy: creating or updating the resources" >&2
template create --output none

package=$(mktemp -d)/package.zip
# The one path that programs of Windows are handed.
! command -v cygpath >/dev/null || package=$(cygpath -m "$package")
trap 'rm -rf "$(dirname "$package")"' EXIT
set --
# The platform's scale controller reads the backend from host.json in the package, from nowhere else.
case ${DURABLE_TASK_SCHEDULER:-} in
[Tt]rue | TRUE) set -- "$@" --durable-task-scheduler ;;
esac
# For the day on which the platform builds with another Python: docs/troubleshooting.md.
if [ "${DEPLOY_BUILD:-remote}" = local ]; then
    set -- "$@" --with-dependencies
fi
python3 infra/scripts/package.py "$@" "$package"

app=$(output AZURE_FUNCTION_APP_NAME)
group=$(output AZURE_RESOURCE_GROUP)
echo "deploy: publishing to $app" >&2
publish() {
    if [ "${DEPLOY_BUILD:-remote}" = local ]; then
        python3 infra/scripts/publish.py --resource-group "$group" --name "$app" \
            ${DEPLOY_SCM_URL:+--scm-url "$DEPLOY_SCM_URL"} "$package"
    else
        az functionapp deployment source config-zip --resource-group "$group" --name "$app" --src "$package" \
            --build-remote true --timeout 1800 --output none
    fi
}
# A role that was granted a minute ago may not be known everywhere yet, and the platform stores the package with it.
attempt=1
until publish; do
    if [ "$attempt" -ge "${DEPLOY_ATTEMPTS:-3}" ]; then
        echo "deploy: the package could not be published" >&2
        case ${PRIVATE_NETWORK:-} in
        [Tt]rue | TRUE) echo "deploy: an app in a private network takes it from inside, or from DEPLOY_ALLOW_LIST: docs/deploy/network.md" >&2 ;;
        esac
        exit 1
    fi
    attempt=$((attempt + 1))
    sleep "${DEPLOY_PAUSE_SECONDS:-60}"
done
echo "deploy: $(output AZURE_FUNCTION_APP_URL)/api/health" >&2
