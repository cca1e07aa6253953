"""Which texts name one place: a table of doors to OneLake, of spellings of hosts, and of places that look alike."""

from __future__ import annotations

from itertools import combinations

import pytest

from hygge_engine.hosts import identity_of

WORKSPACE = "aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb"
ITEM = "cccccccc-1111-2222-3333-dddddddddddd"
MIRROR = f"{WORKSPACE}/{ITEM}"
COMPACT = WORKSPACE.replace("-", "")

SAME = {
    "a mirrored database by OneLake's doors": [
        f"https://onelake.dfs.fabric.microsoft.com/{MIRROR}",
        f"https://OneLake.dfs.fabric.Microsoft.com:443/{MIRROR}/",
        f"https://onelake.dfs.fabric.microsoft.com./{MIRROR.upper()}",
        f"HTTPS://onelake.dfs.fabric.microsoft.com:0443//{MIRROR}",
        f"https://westeurope-onelake.dfs.fabric.microsoft.com/{MIRROR}",
        f"https://eastus2-onelake.blob.fabric.microsoft.com/{MIRROR}",
        f"https://msit-onelake.dfs.fabric.microsoft.com/{MIRROR}",
        f"https://api-onelake.fabric.microsoft.com/{MIRROR}",
        f"https://api-onelake.dfs.fabric.microsoft.com/{MIRROR}",
        f"https://api.onelake.fabric.microsoft.com/{MIRROR}",
        f"https://westus-api.onelake.fabric.microsoft.com/{MIRROR}",
        f"https://{COMPACT}.zaa.dfs.fabric.microsoft.com/{MIRROR}",
        f"https://{COMPACT.upper()}.zaa.onelake.fabric.microsoft.com/{MIRROR}",
    ],
    "a workspace and an item by their names": [
        "https://onelake.dfs.fabric.microsoft.com/sales/db.MountedRelationalDatabase",
        "https://westeurope-onelake.dfs.fabric.microsoft.com:443/sales/db.MountedRelationalDatabase",
    ],
    "a container": ["https://shop.dfs.core.windows.net/raw", "https://SHOP.dfs.core.windows.net.:443/raw/"],
    "an emulator on this machine": [
        "http://127.0.0.1:10000/account/raw",
        "http://localhost:10000/account/raw/",
        "http://[::1]:10000/account/raw",
    ],
    "a journal beside its home": [
        "home, https://shop.dfs.core.windows.net/raw/.hygge_journal",
        "home, https://shop.dfs.core.windows.net:443/raw/.hygge_journal",
    ],
    "a table of SQL Server": [
        "sql.example.com,1433/shop, dbo.orders",
        "SQL.example.com.,1433/shop, dbo.orders",
        "sql.example.com\\named,01433/shop, dbo.orders",
    ],
    "SQL Server on this machine": ["localhost,1433/shop", "127.0.0.1,1433/shop", "::1,1433/shop"],
}
ALONE = [
    f"https://onelake.dfs.fabric.microsoft.com/{MIRROR}/Files/a",
    f"https://onelake.dfs.fabric.microsoft.com/{MIRROR}/Files/A",
    f"https://onelake.dfs.fabric.microsoft.com/{WORKSPACE}",
    f"https://onelake.dfs.fabric.microsoft.com/{ITEM}/{WORKSPACE}",
    f"https://onelake.dfs.fabric.microsoft.com:8443/{MIRROR}",
    f"https://onelake.dfs.fabric.microsoft.com.example.com/{MIRROR}",
    f"https://evilonelake.dfs.fabric.microsoft.com/{MIRROR}",
    f"https://{COMPACT}.dfs.fabric.microsoft.com/{MIRROR}",
    "https://msit-onelake.dfs.fabric.microsoft.com/sales/db.MountedRelationalDatabase",
    "https://onelake.dfs.fabric.microsoft.com/Sales2/db.MountedRelationalDatabase",
    "https://shop-secondary.dfs.core.windows.net/raw",
    "https://shop.dfs.core.windows.net/raw/data-?.csv",
    "https://shop.dfs.core.windows.net/raw/data-*.csv",
    f"https://shop.dfs.core.windows.net/{MIRROR.upper()}",
    f"https://shop.dfs.core.windows.net/{MIRROR}",
    "http://127.0.0.1:10001/account/raw",
    "http://127.0.0.2:10000/account/raw",
    "https://[fe80::1]/raw",
    "sql.example.com,1434/shop, dbo.orders",
    "sql.example.com,1433/Shop, dbo.orders",
    "sql.example.com\\named/shop, dbo.orders",
    "sql.example.com\\other/shop, dbo.orders",
    "dbo.first",
    "/data/in,1433/orders.csv",
    "/Data/in,1433/orders.csv",
    "its own item",
    "",
]


@pytest.mark.parametrize("places", SAME.values(), ids=SAME)
def test_all_names_of_a_place_are_one(places: list[str]) -> None:
    assert len(set(map(identity_of, places))) == 1


def test_no_two_places_become_one() -> None:
    places = [*(places[0] for places in SAME.values()), *ALONE]
    assert [pair for pair in combinations(places, 2) if identity_of(pair[0]) == identity_of(pair[1])] == []


@pytest.mark.parametrize("digits", ["", "9" * 9_000, "\u00b2", "x"])
def test_a_text_that_somebody_wrote_into_a_state_can_be_compared(digits: str) -> None:
    for text in (f"https://h:{digits}/x", f"h,{digits}/d", f"https://[{digits}"):
        assert identity_of(text) != identity_of("https://other/x")
