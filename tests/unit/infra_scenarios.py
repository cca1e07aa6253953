"""The settings that infra/ is tried with: what works together, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.unit.infra_resources import TOKEN_OF

INFRA = Path(__file__).parents[2] / "infra"

REQUIRED = {
    "environmentName": TOKEN_OF[1],
    "location": TOKEN_OF[2],
    "sqlServer": "sql.example.com",
    "sqlDatabase": "shop",
    "workspaceId": "11111111-1111-1111-1111-111111111111",
    "mirrorId": "22222222-2222-2222-2222-222222222222",
}

SQL_SERVER_ID = "/subscriptions/x/resourceGroups/y/providers/Microsoft.Sql/servers/z"

CLIENT_ID = "33333333-3333-3333-3333-333333333333"

SUBNET_ID = "/subscriptions/x/resourceGroups/y/providers/Microsoft.Network/virtualNetworks/z/subnets/app"
AGENTS_ID = SUBNET_ID.replace("/app", "/agents")

SCENARIOS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "spelled otherwise": {"environmentName": "Shop", "location": "West Europe"},
    "private": {
        "privateNetwork": True,
        "sqlServer": "TCP: sql.example.com , 1434",
        "alertEmail": "oncall@example.com",
        "appSubnetPrefix": "10.30.0.128/25",
    },
    "closed": {"privateNetwork": True, "publicApi": False, "keyVault": True, "sqlServerResourceId": SQL_SERVER_ID},
    "managed instance": {
        "privateNetwork": True,
        "sqlServer": "tcp:shop.a1b2c3d4e5f6.database.windows.net,1433",
        "sqlServerResourceId": SQL_SERVER_ID.replace("/servers/", "/managedInstances/"),
    },
    "a secret in the place of a setting": {
        "keyVault": True,
        "extraSettings": {"SHOP_KEY": "plain"},
        "secretSettings": {"SHOP_KEY": "shop-key", "SQL_SERVER": "server"},
    },
    "scheduler": {"durableTaskScheduler": True, "alwaysReadyInstances": 2, "zoneRedundant": True},
    "everything": {
        "tags": {"owner": "data"},
        "extraSettings": {"SHOP_REGION": "eu", "HYGGE_SLICE_MINUTES": "2"},
        "secretSettings": {"SQL_PASSWORD": "sql-password"},
        "schedule": "0 0 * * * *",
        "concurrency": 16,
        "sliceMinutes": 3,
        "sqlPoolSize": 8,
        "publicUrl": "https://loads.example.com",
        "instanceMemoryMB": 4096,
        "maximumInstanceCount": 10,
        "privateNetwork": True,
        "publicApi": False,
        "sqlServerResourceId": SQL_SERVER_ID,
        "keyVault": True,
        "durableTaskScheduler": True,
        "schedulerSku": "Dedicated",
        "alertEmail": "oncall@example.com",
        "noSuccessWindow": "P1D",
        "logRetentionDays": 90,
        "dailyLogQuotaGb": -1,
        "auditLogs": "all",
        "egressPorts": ["4317", "8000-8100"],
        "monitorPrivateLink": True,
        "entraClientId": CLIENT_ID,
        "entraAllowedClients": ["44444444-4444-4444-4444-444444444444"],
    },
    "a subnet of one's own": {
        "appSubnetId": SUBNET_ID,
        "keyVault": True,
        "dataAllowList": ["203.0.113.7/32", "198.51.100.0/24", AGENTS_ID, "203.0.113.7", AGENTS_ID],
        "deployAllowList": ["203.0.113.7", AGENTS_ID],
        "apiAllowList": ["192.0.2.0/24"],
    },
    "private, with a door": {
        "privateNetwork": True,
        "keyVault": True,
        "dataAllowList": ["203.0.113.7"],
        "deployAllowList": ["203.0.113.7"],
    },
    "callers of the tenant": {"entraClientId": CLIENT_ID},
    "logged by a policy": {"auditLogs": "none", "keyVault": True, "privateNetwork": True, "durableTaskScheduler": True},
}


# Parameters that Terraform has no use for, and why.
BICEP_ONLY = {"recoverKeyVault": "the provider azurerm brings back a deleted vault by itself"}

# What would be deployed and not work: the parameters, and what the refusal names.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unreachable app": ({"publicApi": False}, "publicApi"),
    "an endpoint without a network": ({"sqlServerResourceId": SQL_SERVER_ID}, "sqlServerResourceId"),
    "secrets without a vault": ({"secretSettings": {"SQL_PASSWORD": "x"}}, "secretSettings"),
    "a firewall that keeps out the app": ({"dataAllowList": ["203.0.113.7"]}, "dataAllowList"),
    "two subnets for one app": ({"privateNetwork": True, "appSubnetId": SUBNET_ID}, "appSubnetId"),
    "a subnet's name with an underscore": ({"appSubnetId": SUBNET_ID.replace("/app", "/snet_app")}, "appSubnetId"),
    "a door in a wall": ({"privateNetwork": True, "publicApi": False, "deployAllowList": ["203.0.113.7"]}, "publicApi"),
    "callers of an app that is closed": (
        {"privateNetwork": True, "publicApi": False, "apiAllowList": ["203.0.113.7"]},
        "publicApi",
    ),
    "a port in a wall that is not there": ({"egressPorts": ["4317"]}, "egressPorts"),
    "a link scope without a network": ({"monitorPrivateLink": True}, "monitorPrivateLink"),
    "clients without a registration": ({"entraAllowedClients": [CLIENT_ID]}, "entraAllowedClients"),
    "an instance's public endpoint": (
        SCENARIOS["managed instance"] | {"sqlServer": "shop.public.a1b2c3d4e5f6.database.windows.net,3342"},
        "managed instance",
    ),
    "an instance by another name of its own": (
        SCENARIOS["managed instance"] | {"sqlServer": "sql.prod.corp.contoso.com"},
        "managed instance",
    ),
    "an instance by its address": (SCENARIOS["managed instance"] | {"sqlServer": "10.0.0.4"}, "managed instance"),
    "one warm instance in two zones": ({"zoneRedundant": True, "alwaysReadyInstances": 1}, "zoneRedundant"),
    "more warm than there may be": ({"alwaysReadyInstances": 3, "maximumInstanceCount": 2}, "maximumInstanceCount"),
    "two zones and one instance": (
        {"zoneRedundant": True, "durableTaskScheduler": True, "maximumInstanceCount": 1},
        "maximumInstanceCount",
    ),
}


@dataclass(frozen=True)
class Values:
    """What a parameter is given and takes, and what both templates refuse, with the parameters that it needs."""

    taken: list[Any]
    refused: list[Any]
    needs: dict[str, Any] = field(default_factory=dict)


_GUIDS = Values(
    [CLIENT_ID, "ABCDEF01-2345-6789-abcd-ef0123456789"],
    ["x" * 36, CLIENT_ID.replace("-", ""), f"{{{CLIENT_ID}}}", CLIENT_ID[:-1], f"{CLIENT_ID} ", CLIENT_ID[:-1] + "g"],
)
_PRIVATE = {"privateNetwork": True}
_SUBNETS = [
    *("app", "/subnets/app", SUBNET_ID + "/", SUBNET_ID.replace("/subnets/app", ""), SUBNET_ID.removeprefix("/")),
    *(SUBNET_ID.replace("virtualNetworks", "networks"), SUBNET_ID.replace("/y/", "//")),
]
_ADDRESSES = [
    ["203.0.113"],
    ["203.0.113.256"],
    ["203.0.113.0/33"],
    ["203.0.113.0/24/2"],
    ["2001:db8::1"],
    ["a.example"],
    ["203.0.113.07"],
    ["203.0.113.0/024"],
]
_RESERVED = ["127.0.0.0/8", "127.1.0.0/16", "224.0.0.0/8", "239.0.0.0/24", "169.254.0.0/16", "168.63.129.0/24"]
_HTTPS = Values(
    [
        *("https://api.example.com", "https://api.example.com/"),
        *("https://API.example.com:8443", "https://10.0.0.4"),
        *("https://xn--mnchen-3ya.example.com", "https://a"),
    ],
    [
        *("http://api.example.com", "api.example.com", "https://", "https:///a", "https://api example.com"),
        *("HTTPS://api.example.com", "https://api.example.com?a=1"),
        *("https://api.example.com#a", "https://a.example\n"),
        *("https://user@api.example.com", "https://api.example.com:"),
        *("https://api.example.com:0", "https://a:65536"),
        *("https://api.example.com:x", "https://a:1:2"),
        *("https://.example.com", "https://example.com.", "https://a_b.example"),
        *("https://m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.example"),
        *("https://a.example/b c", "https://[2001:db8::1]"),
        *("https:/api.example.com", "https:\\\\api.example.com"),
        *(" https://api.example.com", "https://a.example\\b"),
    ],
)
_PATH = "https://api.example.com/a/b"

# Values that Azure would turn away when half is made, or take and not work with.
VALUES = {
    "environmentName": Values(
        ["shop", "Shop-2", "x" * 32, "my-login", "xboxes", "office-loads"],
        [
            *("", "my shop", "shop_1"),
            *("-shop", "shop.eu", "x" * 33, "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher"),
            *("Windows", "shopWINDOWS-2", "my-microsoft", "login"),
            *("Login-shop", "XBOX", "azure", "Office365", "dynamics"),
        ],
    ),
    "location": Values(["westeurope", "West Europe"], ["", "  "]),
    "workspaceId": _GUIDS,
    "mirrorId": _GUIDS,
    "entraClientId": Values([*_GUIDS.taken, ""], _GUIDS.refused),
    "entraAllowedClients": Values([[], [CLIENT_ID]], [[bad] for bad in _GUIDS.refused], {"entraClientId": CLIENT_ID}),
    "sqlServer": Values(
        [
            *("xn--mnchen-3ya.example.com", "shop.database.windows.net.", "localhost", "a-b", "sql\\a_$1,1433"),
            *("10.0.0.4", "sql.example.com,1433", "sql.example.com, 1433", "sql\\shop", "shop_1,65535"),
            *("tcp:shop.database.windows.net,1433", "TCP: sql.example.com", " sql.example.com , 1433 "),
        ],
        [
            *(
                "",
                " ",
                "tcp:",
                "tcp:,1433",
                "tcp:tcp:sql.example.com",
                "np:sql.example.com",
                "https://sql.example.com",
                "sql.example.com:1433",
                "sql.example.com,",
            ),
            *(
                "m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.example",
                "[2001:db8::1]",
                "[::1],1433",
                "2001:db8::1",
                "::1,1433",
            ),
            *(".", ".sql", "a..b", "sql\\", "\\shop"),
            *("a\\b\\c", "sql;Encrypt=no", "x" * 64, "(local)", "sql,14 33"),
            *("sql\N{ZERO WIDTH SPACE}.example.com", "sql.example.com/shop"),
            *("sql.example.com,+1", "'sql'", "sql,1433,"),
            *("sql.example.com,0", "sql.example.com,65536", "sql.example.com,port", ",1433", "a,1,2", "sql server"),
        ],
    ),
    "sqlDatabase": Values(["shop"], [""]),
    "appSubnetId": Values([SUBNET_ID, SUBNET_ID.replace("resourceGroups", "resourcegroups"), ""], _SUBNETS),
    "sqlServerResourceId": Values(
        [SQL_SERVER_ID, ""],
        [
            *("sql.example.com", SQL_SERVER_ID + "/databases/shop", SQL_SERVER_ID.removesuffix("/z")),
            *(SQL_SERVER_ID.replace(".Sql", ".SQLVM"), SQL_SERVER_ID.replace("/y/", "//"), SQL_SERVER_ID + "/"),
        ],
        _PRIVATE,
    ),
    "dataAllowList": Values(
        [
            ["203.0.113.7"],
            ["203.0.113.7/32"],
            ["203.0.113.0/24", AGENTS_ID],
            ["172.32.0.1", "11.0.0.1", "168.63.129.17", "128.0.0.0/8"],
        ],
        [
            *(*_ADDRESSES, [SUBNET_ID + "/x"], ["10.1.2.3"], ["172.16.0.1"], ["172.31.0.0/24"], ["192.168.0.1"]),
            *(["203.0.113.6/31"], ["203.0.113.7", ""], ["127.0.0.1"], ["0.0.0.0/0"], ["0.0.0.0"], ["172.0.0.0/8"]),
            *(
                ["192.0.0.0/8"],
                ["203.0.113.7", "224.0.0.1"],
                ["169.254.169.254"],
                ["168.63.129.16"],
                ["255.255.255.255"],
            ),
        ],
        _PRIVATE,
    ),
    "deployAllowList": Values([["10.1.2.3"], ["203.0.113.6/31", AGENTS_ID]], [*_ADDRESSES, [SUBNET_ID + "/x"]]),
    "apiAllowList": Values([["10.1.2.3"], ["203.0.113.6/31", AGENTS_ID]], [*_ADDRESSES, [SUBNET_ID + "/x"]]),
    "egressPorts": Values(
        [["1"], ["65535"], ["8000-8100", "4317"], ["80-80"]],
        [["0"], ["65536"], ["port"], ["8100-8000"], ["1-2-3"], ["-1"], [""], ["80-"], ["*"], ["1-65536"], ["4317 "]],
        _PRIVATE,
    ),
    # Terraform passes over rules that name a variable which is refused, so these three stand in different company.
    "networkPrefix": Values(
        ["10.30.0.0/24", "10.0.0.0/8", "10.30.0.0/16"],
        [
            *_RESERVED,
            "10.30.0.0/024",
            "010.30.0.0/24",
            "10.30.0.0",
            "10.30.0.1/24",
            "10.30.0.0/30",
            "10.0.0.0/7",
            "10.30.0/24",
            "fd00::/64",
            "network",
        ],
        _PRIVATE,
    ),
    "appSubnetPrefix": Values(
        ["10.30.0.0/27", "10.30.0.128/25", "10.30.0.32/27"],
        ["10.30.0.0/28", "10.30.1.0/26", "10.30.0.0/23", "10.30.0.1/27", "10.30.0.64/26", "10.30.0.0/25", "10.30.0.0"],
    ),
    "endpointSubnetPrefix": Values(
        ["10.30.0.64/28", "10.30.0.64/27", "10.30.0.128/25"],
        ["10.30.0.64/29", "10.31.0.64/26", "10.30.0.65/28", "10.30.0.64"],
        {"keyVault": True},
    ),
    "secretSettings": Values(
        [{"SQL_PASSWORD": "sql-password"}, {"A": "a" * 127}],
        [
            {"A-B": "a"},
            {"": "a"},
            {"A": "sql_password"},
            {"A": "a" * 128},
            {"A": ""},
            {"A": "https://kv.vault.azure.net/secrets/a"},
        ],
        {"keyVault": True},
    ),
    "alertEmail": Values(["oncall@example.com", ""], ["oncall", "a@b@c", "@", "a@", "@b", "on call@example.com"]),
    "extraSettings": Values(
        [{"SHOP_KEY": "a"}, {"shop2": ""}, {}, {"AzureWebJobs.load_on_schedule.Disabled": "true"}, {"SQL_SERVER": "a"}],
        [
            *({"SHOP-KEY": "a"}, {"": "a"}, {"SHOP KEY": "a"}, {"A=": "a"}, {"a": "1", "A": "2"}),
            *({"sql_server": "a"}, {"Hygge_Public_Url": "a"}, {"AzureWebJobsStorage__AccountName": "a"}),
        ],
    ),
    "schedule": Values(
        [
            *("0 */5 * * * *", "0  */5 *  * * *"),
            *(" 0 0 2 * * * ", "0 0 2 * JAN-MAR MON,WED", "0 0 2 * jan Sun-Sat"),
            *("00 05 08 01 * *", "0 0 8-18/2,23 * * 1-5", "*/15 * * * * *", "0 5/10 * * * *", "0 0 0 31 1,2 *"),
            *("0 0 0 29 2 *", "0 0 0 31,1 2 *", "0 0 0 * */12 0"),
            *("59 59 23 31 12 6", "0 0 0 31 2/3 *", "0 0 0 */31 2 *"),
        ],
        [
            *("*/5 * * * *", "every hour", "0 */5 * * * * *"),
            *("", "@hourly", "00:05:00", "0\t*\t*\t*\t*\t*"),
            *("0 0 25 * * *", "60 * * * * *", "0 60 * * * *", "0 0 24 * * *", "0 0 0 0 * *", "0 0 0 32 * *"),
            *("0 0 0 * 0 *", "0 0 0 * 13 *", "0 0 0 * * 7"),
            *("0 0 0 * * MON#1", "0 0 0 L * *", "0 0 0 ? * *", "-1 * * * * *"),
            *("0 0 0 1W * *", "0 0 0 * January *", "0 0 0 * MON *"),
            *("0 0 0 * * JAN", "0 0 0 * * FRI-MON", "0 5-1 * * * *"),
            *("0 */0 * * * *", "0 */60 * * * *", "0 */ * * * *"),
            *("0 / * * * *", "0 1- * * * *", "0 -1 * * * *", "0 1-2-3 * * * *"),
            *("0 1, * * * *", "0 ,1 * * * *", "0 *-5 * * * *"),
            *("0 1/2/3 * * * *", "0 005 * * * *", "0 +5 * * * *", "0 5.0 * * * *"),
            *("0 0 0 31 2 *", "0 0 0 31 2,4,6 *", "0 0 0 30-31 FEB *", "0 0 0 31 4-6/2 *", "0 0 0 30/1 2 *"),
            *("0 0 8-10-12 * * *", "0 0 \N{ARABIC-INDIC DIGIT THREE} * * *"),
            *("0 0 * * * **", "0 0 0 * 2/0 *", "0 0 0 * * */8"),
        ],
    ),
    "oneLakeUrl": Values(
        _HTTPS.taken,
        [*_HTTPS.refused, _PATH, "https://app.fabric.microsoft.com", "https://App.powerbi.com", "https://a//b"],
    ),
    "fabricApiUrl": Values([*_HTTPS.taken, _PATH], _HTTPS.refused),
    "publicUrl": Values([*_HTTPS.taken, _PATH, ""], _HTTPS.refused),
    "dailyLogQuotaGb": Values([-1, 1, 100], [0, -2]),
}


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def variables(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario as Terraform takes it."""
    return {snake(name): value for name, value in {**REQUIRED, **scenario}.items() if name not in BICEP_ONLY}
