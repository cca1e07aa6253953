"""The app settings that the templates make are those that the app, the host and the project's files read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.lake.settings import LakeSettings, check_account_url
from hygge_engine.orchestration.schedule import SCHEDULE_SETTING, TIME_ZONE_SETTING
from hygge_engine.orchestration.source import DIRECTORY_SETTING
from hygge_engine.project import load_project
from hygge_engine.project.models.schedule import check_schedule
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.web.door import PUBLIC_URL
from tests.unit.infra_bicep import Template, read_parameters
from tests.unit.infra_resources import TENANT_ID, tree_of
from tests.unit.infra_scenarios import INFRA, REQUIRED, SCENARIOS, VALUES

ROOT = INFRA.parent

# Settings of the host and of the platform, and who reads them.
PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "DURABLE_TASK_SCHEDULER_CONNECTION_STRING",
    "PYTHON_THREADPOOL_THREAD_COUNT",
}
HOST_JSON_PREFIX = "AzureFunctionsJobHost__"

# What Flex Consumption refuses, or has taken over (learn.microsoft.com, "Flex Consumption plan deprecations"), and what
# would bring a key back.
FORBIDDEN = {
    "APPINSIGHTS_INSTRUMENTATIONKEY",
    "AzureWebJobsStorage",
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTOVERVNET",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_VNET_ROUTE_ALL",
    TIME_ZONE_SETTING,
}

# Contributor, Owner, User Access Administrator, and the Contributors of storage accounts and of key vaults.
WIDE_ROLES = {
    "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    "17d1049b-9a84-46fb-8f53-869881c3d3ab",
    "f25e0fa2-a7c8-4377-a976-54943a77a395",
}


def resources(scenario: str) -> dict[str, Any]:
    return tree_of(Template(INFRA / "bicep" / "main.bicep", REQUIRED | SCENARIOS[scenario]).create())


def app_settings(scenario: str) -> dict[str, str]:
    (site,) = (body for key, body in resources(scenario).items() if key.startswith("Microsoft.Web/sites "))
    settings: dict[str, str] = site["properties"]["siteConfig"]["appSettings"]
    return settings


def variables() -> dict[str, str | None]:
    """The variables of the sample project: name → default, None where it must be set."""
    texts = [(ROOT / "hygge.yml").read_text(), *(path.read_text() for path in (ROOT / "flows").rglob("*.yml"))]
    found = re.findall(r"\$\{(\w+)(?::-([^}]*))?\}", "\n".join(texts))
    needed = {name for text in texts for name in re.findall(r"\$\{(\w+)\}", text)}
    return {name: None if name in needed else default for name, default in found}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_variable_that_must_be_set_is_set(scenario: str) -> None:
    needed = {name for name, default in variables().items() if default is None}

    assert needed
    assert needed <= app_settings(scenario).keys()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_setting_is_read_by_somebody(scenario: str) -> None:
    read = variables().keys() | PLATFORM | {SCHEDULE_SETTING, DIRECTORY_SETTING, PUBLIC_URL}
    own = SCENARIOS[scenario].get("extraSettings", {}).keys() | SCENARIOS[scenario].get("secretSettings", {}).keys()
    unread = app_settings(scenario).keys() - read

    assert unread <= own


def test_the_names_that_own_settings_must_not_have_in_another_case_are_those_that_are_set() -> None:
    names = json.loads((INFRA / "app-settings.json").read_text())
    own = {name for scenario in SCENARIOS.values() for name in scenario.get("extraSettings", {})}
    own |= {name for scenario in SCENARIOS.values() for name in scenario.get("secretSettings", {})}
    bicep = {name for scenario in ("as it comes", "everything", "scheduler") for name in app_settings(scenario)}
    terraform = (INFRA / "terraform/app.tf").read_text().partition("var.extra_settings")[0]

    assert bicep - (own - set(names)) == set(names)
    assert sorted(re.findall(r"(?:^ +|\{ )(\w*[A-Z]\w+) += ", terraform, re.M)) == sorted(names)


def test_the_defaults_of_templates_and_project_agree() -> None:
    settings = app_settings("as it comes")
    differing = {
        name: (settings[name], default)
        for name, default in variables().items()
        if default and settings.get(name) not in (None, default, REQUIRED["sqlDatabase"])
    }

    assert differing == {}


def test_the_sample_project_is_valid_with_the_settings_of_the_templates() -> None:
    settings = app_settings("as it comes")
    project = load_project(ROOT, environment=settings)

    connection = project.connections["flights_db"]
    assert isinstance(connection, MssqlConnection)
    assert (connection.auth, connection.client_id) == ("managed_identity", settings["SQL_CLIENT_ID"])
    assert connection.server == REQUIRED["sqlServer"]
    assert (connection.encrypt, connection.trust_server_certificate) == (True, False)
    for entity in project.entities:
        assert isinstance(entity.store, LakeSettings)
        assert (entity.store.credential, entity.store.client_id) == ("managed_identity", settings["LAKE_CLIENT_ID"])
        assert entity.store.filesystem == REQUIRED["workspaceId"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_setting_is_forbidden_or_holds_a_secret(scenario: str) -> None:
    settings = app_settings(scenario)

    assert not settings.keys() & FORBIDDEN
    for name, value in settings.items():
        if re.search(r"KEY|PASSWORD|SECRET|TOKEN", name):
            assert re.fullmatch(r"@Microsoft\.KeyVault\(VaultName=[^;]+;SecretName=[^)]+\)", value), name
        assert "AccountKey=" not in value
        assert "SharedAccess" not in value


# What Flex Consumption takes of a site's configuration: what the Terraform provider's own resource for these sites and
# Microsoft's quickstarts send. The rest is refused in some regions (error 51021), or taken over by functionAppConfig.
SITE_CONFIG = {
    "appSettings",
    "http20Enabled",
    "ipSecurityRestrictions",
    "ipSecurityRestrictionsDefaultAction",
    "minTlsVersion",
    "scmIpSecurityRestrictions",
    "scmIpSecurityRestrictionsDefaultAction",
    "scmIpSecurityRestrictionsUseMain",
    "scmMinTlsVersion",
}
SITE_PROPERTIES = {
    "functionAppConfig",
    "httpsOnly",
    "keyVaultReferenceIdentity",
    "publicNetworkAccess",
    "serverFarmId",
    "siteConfig",
    "virtualNetworkSubnetId",
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_site_has_only_properties_that_flex_consumption_takes(scenario: str) -> None:
    (site,) = (body for key, body in resources(scenario).items() if key.startswith("Microsoft.Web/sites "))

    assert site["properties"].keys() <= SITE_PROPERTIES
    assert site["properties"]["siteConfig"].keys() <= SITE_CONFIG
    policies = {key.split()[1].rpartition("/")[2] for key in resources(scenario) if "CredentialsPolicies" in key}
    assert policies == {"scm", "ftp"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_callers_show_a_token_where_there_is_a_registration(scenario: str) -> None:
    client = SCENARIOS[scenario].get("entraClientId", "")
    (settings,) = (
        body["properties"] for key, body in resources(scenario).items() if key.startswith("Microsoft.Web/sites/config ")
    )
    rules, providers = settings["globalValidation"], settings["identityProviders"]

    assert settings["platform"]["enabled"] is rules["requireAuthentication"] is bool(client)
    assert list(providers) == (["azureActiveDirectory"] if client else [])
    # A health probe and the deployment's own look at the host have no token. Of the two the first needs no key either.
    assert rules["excludedPaths"] == ["/api/health", "/admin/host/status"]
    assert (settings["login"]["tokenStore"]["enabled"], settings["httpSettings"]["requireHttps"]) == (False, True)
    if client:
        directory = providers["azureActiveDirectory"]
        assert (directory["enabled"], rules["unauthenticatedClientAction"]) == (True, "Return401")
        assert directory["registration"] == {
            "clientId": client,
            "openIdIssuer": f"https://login.microsoftonline.com/{TENANT_ID}/v2.0",
        }
        assert directory["validation"]["allowedAudiences"] == [client, f"api://{client}"]
        taken = directory["validation"]["defaultAuthorizationPolicy"]["allowedApplications"]
        assert taken == SCENARIOS[scenario].get("entraAllowedClients", [])


def of_server(value: str) -> object:
    return MssqlConnection(server=value, database="shop", auth="managed_identity")


def of_fabric(value: str) -> object:
    account = "https://onelake.dfs.fabric.microsoft.com"
    place = {"type": "open_mirroring", "filesystem": REQUIRED["workspaceId"], "mirror_name": REQUIRED["mirrorId"]}
    return OpenMirroringSettings.model_validate({"account_url": account, "fabric_api_url": value} | place)


_UMLAUT = "\N{LATIN SMALL LETTER U WITH DIAERESIS}"
_IPV6 = "https://[2001:db8::1]"

# What the app says to the same values, and what the templates alone refuse: it works elsewhere, and not from Azure.
CHECKS: dict[str, tuple[Callable[[str], object], set[str]]] = {
    "schedule": (check_schedule, set()),
    "sqlServer": (
        of_server,
        {"[2001:db8::1]", "[::1],1433", "2001:db8::1", "::1,1433", ".", "(local)", f"m{_UMLAUT}nchen.example"},
    ),
    "oneLakeUrl": (check_account_url, {_IPV6, "https://api.example.com/a/b", "https://a//b"}),
    "fabricApiUrl": (of_fabric, {_IPV6}),
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_app_says_the_same_to_values_as_the_templates(name: str) -> None:
    check, elsewhere = CHECKS[name]

    def taken(value: str) -> bool:
        try:
            check(value)
        except ValueError:
            return False
        return True

    assert [value for value in VALUES[name].taken if not taken(value)] == []
    assert {value for value in VALUES[name].refused if taken(value)} == elsewhere


def test_a_secret_wins_over_a_setting_of_its_name() -> None:
    settings = app_settings("a secret in the place of a setting")

    assert "SecretName=shop-key" in settings["SHOP_KEY"]
    assert "SecretName=server" in settings["SQL_SERVER"]


def test_a_setting_of_your_own_wins() -> None:
    assert app_settings("everything")["HYGGE_SLICE_MINUTES"] == "2"


def test_threads_are_left_for_replay_and_requests_and_slices_end_in_time() -> None:
    host = json.loads((ROOT / "host.json").read_text())
    durable = host["extensions"]["durableTask"]
    at_once = durable["maxConcurrentActivityFunctions"] + durable["maxConcurrentOrchestratorFunctions"]
    longest = read_parameters(INFRA / "bicep" / "main.bicep")["sliceMinutes"].decorators["maxValue"]

    assert int(app_settings("as it comes")["PYTHON_THREADPOOL_THREAD_COUNT"]) > at_once
    assert host["functionTimeout"] > f"00:{longest + 1:02}:00" or host["functionTimeout"] == f"00:{longest + 1:02}:00"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_backend_of_the_package_is_that_of_the_template(scenario: str, tmp_path: Path) -> None:
    settings = app_settings(scenario)
    scheduler = SCENARIOS[scenario].get("durableTaskScheduler", False)
    options = ["--durable-task-scheduler"] if scheduler else []
    command = [sys.executable, str(ROOT / "infra/scripts/package.py"), *options, str(tmp_path / "package.zip")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        durable = json.loads(package.read("host.json"))["extensions"]["durableTask"]
    provider = durable["storageProvider"]
    hubs = [
        key.split()[1] for key in resources(scenario) if key.startswith("Microsoft.DurableTask/schedulers/taskHubs ")
    ]

    # The scale controller reads the file: nothing that it looks for may stand in a setting.
    assert not any(name.startswith(HOST_JSON_PREFIX) for name in settings)
    assert [hub.rpartition("/")[2] for hub in hubs] == ([durable["hubName"]] if scheduler else [])
    assert (provider.get("type") == "azureManaged") == scheduler
    if scheduler:
        assert "Authentication=ManagedIdentity" in settings[provider["connectionStringName"]]


# Role → type of the resource it is granted on, by scenario.
GRANTS = {
    "as it comes": {
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Microsoft.Storage/storageAccounts",
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Microsoft.Storage/storageAccounts",
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Microsoft.Storage/storageAccounts",
        "3913510d-42f4-4e42-8a64-420c390055eb": "Microsoft.Insights/components",
    },
    "everything": {
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Microsoft.Storage/storageAccounts",
        "3913510d-42f4-4e42-8a64-420c390055eb": "Microsoft.Insights/components",
        "4633458b-17de-408a-b874-0445c86b69e6": "Microsoft.KeyVault/vaults",
        "0ad04412-c4d5-4796-b79c-f76d14c8d402": "Microsoft.DurableTask/schedulers/taskHubs",
    },
}


@pytest.mark.parametrize("scenario", GRANTS)
def test_the_identity_gets_these_roles_on_these_resources_and_no_other(scenario: str) -> None:
    found = {}
    for key, body in resources(scenario).items():
        if key.startswith("Microsoft.Authorization/roleAssignments"):
            role = body["properties"]["roleDefinitionId"].rpartition("/")[2]
            assert role not in WIDE_ROLES
            assert body["properties"]["principalId"].startswith("<Microsoft.ManagedIdentity/userAssignedIdentities ")
            scope = re.search(r"<(\S+) [^<>]+: id>$", key)
            assert scope is not None, key
            found[role] = scope[1]

    assert found == GRANTS[scenario]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_service_takes_a_key_or_a_password(scenario: str) -> None:
    switches = {
        "Microsoft.Storage/storageAccounts": ("allowSharedKeyAccess", False),
        "Microsoft.Insights/components": ("DisableLocalAuth", True),
        "Microsoft.KeyVault/vaults": ("enableRbacAuthorization", True),
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies": ("allow", False),
    }
    found = resources(scenario)
    for kind, (name, value) in switches.items():
        bodies = [body for key, body in found.items() if key.split()[0] == kind]
        assert bodies or kind == "Microsoft.KeyVault/vaults"
        assert {body["properties"][name] for body in bodies} <= {value}
    (workspace,) = (body for key, body in found.items() if key.startswith("Microsoft.OperationalInsights/workspaces "))
    assert workspace["properties"]["features"]["disableLocalAuth"] is True
    (site,) = (body for key, body in found.items() if key.startswith("Microsoft.Web/sites "))
    storage = site["properties"]["functionAppConfig"]["deployment"]["storage"]
    assert storage["authentication"]["type"] == "UserAssignedIdentity"


@pytest.mark.parametrize("scenario", ["private", "closed", "everything"])
def test_a_private_deployment_opens_nothing_to_the_internet(scenario: str) -> None:
    for key, body in resources(scenario).items():
        kind = key.split()[0]
        if kind in ("Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"):
            assert body["properties"]["publicNetworkAccess"] == "Disabled"
            assert body["properties"]["networkAcls"] == {
                "bypass": "None",
                "defaultAction": "Deny",
                "ipRules": [],
                "virtualNetworkRules": [],
            }
        if kind == "Microsoft.DurableTask/schedulers":
            assert body["properties"]["publicNetworkAccess"] == "Disabled"
        if kind == "Microsoft.Web/sites":
            expected = "Enabled" if SCENARIOS[scenario].get("publicApi", True) else "Disabled"
            assert body["properties"]["publicNetworkAccess"] == expected
            assert body["properties"]["virtualNetworkSubnetId"]
            site = body["properties"]["siteConfig"]
            assert (site["scmIpSecurityRestrictions"], site["scmIpSecurityRestrictionsDefaultAction"]) == ([], "Deny")
    assert any("pep-app-" in key for key in resources(scenario)), "packages come from inside"


def let_in(rules: list[dict[str, Any]]) -> list[str]:
    """The addresses and subnets of a site's rules, in their order."""
    assert [rule["action"] for rule in rules] == ["Allow"] * len(rules)
    assert len({rule["priority"] for rule in rules}) == len({rule["name"] for rule in rules}) == len(rules)
    return [rule.get("ipAddress") or rule["vnetSubnetResourceId"] for rule in sorted(rules, key=priority_of)]


def priority_of(rule: dict[str, Any]) -> int:
    priority: int = rule["priority"]
    return priority


@pytest.mark.parametrize("scenario", ["a subnet of one's own", "private, with a door"])
def test_who_is_on_a_list_is_let_in_and_nobody_else(scenario: str) -> None:
    given = SCENARIOS[scenario]
    for key, body in resources(scenario).items():
        kind, properties = key.split()[0], body.get("properties", {})
        if kind in ("Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"):
            rules = properties["networkAcls"]
            # Storage takes no rule twice.
            allowed = list(dict.fromkeys(entry.removesuffix("/32") for entry in given["dataAllowList"]))
            addresses = [entry for entry in allowed if not entry.startswith("/")]
            subnets = [entry for entry in allowed if entry.startswith("/")]
            own = [given["appSubnetId"]] if "appSubnetId" in given else []
            assert (properties["publicNetworkAccess"], rules["defaultAction"]) == ("Enabled", "Deny")
            assert [rule["value"] for rule in rules["ipRules"]] == addresses
            assert [rule["id"] for rule in rules["virtualNetworkRules"]] == subnets + own
        if kind == "Microsoft.Web/sites":
            site = properties["siteConfig"]
            own = given.get("appSubnetId", "<Microsoft.Network/virtualNetworks ")
            assert properties["virtualNetworkSubnetId"].startswith(own)
            assert site["scmIpSecurityRestrictionsDefaultAction"] == "Deny"
            assert let_in(site["scmIpSecurityRestrictions"])[0] == "203.0.113.7/32"
            assert len(site["scmIpSecurityRestrictions"]) == len(given["deployAllowList"])
            # A publisher checks /admin/host/status afterwards.
            callers = let_in(site["ipSecurityRestrictions"])
            listed = given.get("apiAllowList", [])
            assert callers == (listed + let_in(site["scmIpSecurityRestrictions"]) if listed else [])
            assert site["ipSecurityRestrictionsDefaultAction"] == ("Deny" if listed else "Allow")


@pytest.mark.parametrize(
    ("scenario", "ports"),
    [
        ("private", [("Internet", ["443"]), ("Internet", ["1434"]), ("Sql", ["11000-11999"])]),
        ("managed instance", [("Internet", ["443"])]),
        ("everything", [("Internet", ["443"]), ("Internet", ["4317", "8000-8100"])]),
    ],
)
def test_a_private_app_reaches_no_more_of_the_internet_than_it_needs(
    scenario: str, ports: list[tuple[str, list[str]]]
) -> None:
    (group,) = (
        body["properties"]["securityRules"]
        for key, body in resources(scenario).items()
        if key.startswith("Microsoft.Network/networkSecurityGroups ")
    )
    *allowed, last = [rule["properties"] for rule in sorted(group, key=lambda rule: priority_of(rule["properties"]))]

    assert {rule["direction"] for rule in [*allowed, last]} == {"Outbound"}
    assert [(rule["destinationAddressPrefix"], rule["destinationPortRanges"]) for rule in allowed] == ports
    assert {(rule["access"], rule["protocol"]) for rule in allowed} == {("Allow", "Tcp")}
    assert (last["access"], last["protocol"], last["destinationAddressPrefix"]) == ("Deny", "*", "Internet")
    assert last["destinationPortRanges"] == ["0-65535"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_telemetry_comes_by_the_private_link_alone_where_there_is_one(scenario: str) -> None:
    linked = SCENARIOS[scenario].get("monitorPrivateLink", False)
    found = resources(scenario)
    scoped = {
        body["properties"]["linkedResourceId"].split()[0].lstrip("<")
        for key, body in found.items()
        if key.startswith("Microsoft.Insights/privateLinkScopes/scopedResources ")
    }
    kinds = {"Microsoft.OperationalInsights/workspaces", "Microsoft.Insights/components"}

    assert scoped == (kinds if linked else set())
    for key, body in found.items():
        if key.split()[0] in kinds:
            expected = "Disabled" if linked else "Enabled"
            assert body["properties"]["publicNetworkAccessForIngestion"] == expected
        if key.startswith("Microsoft.Network/privateEndpoints/privateDnsZoneGroups pep-monitor-"):
            zones = {each["name"] for each in body["properties"]["privateDnsZoneConfigs"]}
            assert {"privatelink.monitor.azure.com", "privatelink.blob.core.windows.net"} < zones
            assert all(f"Microsoft.Network/privateDnsZones {zone} " in found for zone in zones)


def test_as_it_comes_roles_and_logins_decide_alone() -> None:
    for key, body in resources("as it comes").items():
        if key.startswith("Microsoft.Storage/storageAccounts "):
            assert body["properties"]["networkAcls"]["defaultAction"] == "Allow"
        if key.startswith("Microsoft.Web/sites "):
            site = body["properties"]["siteConfig"]
            assert site["ipSecurityRestrictionsDefaultAction"] == "Allow"
            assert site["scmIpSecurityRestrictionsDefaultAction"] == "Allow"


# What has a log of its own that says who did something, and what of it is kept: by default, and with everything.
LOGS = {
    "Microsoft.OperationalInsights/workspaces": (["Audit"], []),
    "Microsoft.Storage/storageAccounts/blobServices": (["StorageRead", "StorageWrite", "StorageDelete"], []),
    "Microsoft.Storage/storageAccounts/queueServices": (["StorageWrite", "StorageDelete"], ["StorageRead"]),
    "Microsoft.Storage/storageAccounts/tableServices": (["StorageWrite", "StorageDelete"], ["StorageRead"]),
    "Microsoft.Web/sites": (["AppServiceAuthenticationLogs"], ["FunctionAppLogs"]),
    "Microsoft.DurableTask/schedulers": (["allLogs"], []),
    "Microsoft.Network/networkSecurityGroups": (["NetworkSecurityGroupEvent", "NetworkSecurityGroupRuleCounter"], []),
    "Microsoft.KeyVault/vaults": (["AuditEvent"], []),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_azure_can_log_of_a_resource_is_logged(scenario: str) -> None:
    found = resources(scenario)
    wanted = SCENARIOS[scenario].get("auditLogs", "changes")
    kept: dict[str, list[str]] = {}
    for key, body in found.items():
        if key.startswith("Microsoft.Insights/diagnosticSettings "):
            scope = re.search(r"<(\S+) [^<>]+: id>$", key)
            assert scope is not None, key
            assert body["properties"]["workspaceId"].startswith("<Microsoft.OperationalInsights/workspaces ")
            assert all(log["enabled"] for log in body["properties"]["logs"])
            kept[scope[1]] = [log.get("category") or log["categoryGroup"] for log in body["properties"]["logs"]]
    kinds = {key.split()[0] for key in found} | {kind for kind in LOGS if "/storageAccounts/" in kind}
    expected = {
        kind: usual + (more if wanted == "all" else []) for kind, (usual, more) in LOGS.items() if kind in kinds
    }
    if wanted == "none":
        expected = {kind: names for kind, names in expected.items() if kind == "Microsoft.KeyVault/vaults"}

    assert {kind: sorted(names) for kind, names in kept.items()} == {
        kind: sorted(names) for kind, names in expected.items()
    }


def test_no_secret_is_written_anywhere_in_infra() -> None:
    suspicious = re.compile(
        r"AccountKey=|SharedAccessSignature|listKeys|keys list|masterKey|primary_access_key|"
        r"primary_connection_string|-----BEGIN|@secure"
    )
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted(Path(INFRA).rglob("*"))
        if path.is_file() and ".terraform" not in path.parts and path.suffix != ".pyc"
        for line in path.read_text().splitlines()
        if suspicious.search(line)
    ]

    assert found == []
