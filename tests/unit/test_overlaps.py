"""Homes and stores that overlap are refused by `validate`: a table of cases, links and cases of letters among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import load_project

FLOW = """\
home: {home}
store: {store}
entities: [{entities}]
"""
HYGGE = """\
name: shop
connections:
  one: { type: mssql, server: sql.example.com, database: shop, auth: managed_identity }
  same: { type: mssql, server: "SQL.example.com.,1433", database: Shop, auth: managed_identity }
  other: { type: mssql, server: sql.example.com, database: other, auth: managed_identity }
"""
LAKE = "account_url: https://shop.dfs.core.windows.net, filesystem: raw"
ONELAKE = "filesystem: 11111111-1111-1111-1111-111111111111"
ITEM = "22222222-2222-2222-2222-222222222222"


def files(path: str, format_: str = "csv") -> str:
    return f'{{ type: local, path: "{path}", format: {format_} }}'


def adls(path: str, kind: str = "adls", account: str = LAKE) -> str:
    return f'{{ type: {kind}, {account}, path: "{path}" }}'


def table(connection: str, name: str) -> str:
    return f'{{ type: mssql, connection: {connection}, table: "{name}" }}'


def store_table(connection: str, schema: str = "dbo", name: str = "{entity}") -> str:
    journal = "journal_folder: { path: journal }"
    return f'{{ type: mssql, connection: {connection}, schema_name: {schema}, table_name: "{name}", {journal} }}'


def problems(
    directory: Path, *flows: tuple[str, str], entities: str = "orders", server: str = "sql.example.com"
) -> str:
    (directory / "hygge.yml").write_text(HYGGE)
    for number, (home, store) in enumerate(flows):
        (directory / f"flows/f{number}").mkdir(parents=True, exist_ok=True)
        text = FLOW.format(home=home, store=store, entities=entities)
        (directory / f"flows/f{number}/flow.yml").write_text(text)
    try:
        load_project(directory, {})
    except ConfigurationError as error:
        return str(error)
    return ""


OVERLAPPING = [
    (files("exports/{entity}/*.csv"), files("exports")),
    (files("exports/{entity}/*.csv"), files("exports", "delta")),
    (files("exports/{entity}"), files("./other/../exports")),
    (files("exports/{entity}/**"), files("EXPORTS")),
    (files("exports/**/*.csv"), files("exports/landed")),
    (files("exports"), files("exports/landed")),
    (files("exports/{entity}/a.csv"), files("exports")),
    (files("exports/{entity}/archive/2023/*.csv"), files("exports")),
    (files("ex*/o[rs]ders/x?.csv"), files("exports")),
    (files("stra?e/{entity}/*.csv"), files("straße")),
    (files("*/STRA[SẞT]E/*/x.csv"), files("exports/straße")),
    (files("MASS*/{entity}/*.csv"), files("maße")),
    (files("caf?/{entity}/*.csv"), files("cafe\u0301")),
    (files("cafe?/{entity}/*.csv"), files("café")),
    (files("exports/*"), "{ type: sqlite, path: exports/shop.db }"),
    (files("exports"), "{ type: sqlite, path: exports/shop.db }"),
    (files("linked/{entity}/*.csv"), files("exports")),
    (files("in/{entity}/*.csv"), files("linked")),
    (files("in/*/x.csv"), files("exports")),
    (files("links/*.csv"), files("exports")),
    (adls("landing/{entity}/*.parquet"), adls("landing")),
    (adls("Landing/**"), adls("landing/deep")),
    (adls("landing/./{entity}"), adls("landing")),
    (adls("landing/{entity}", account=LAKE.replace(".net", ".net:443")), adls("landing")),
    (adls("landing/{entity}"), adls("landing", account=LAKE.replace("shop.dfs", "SHOP.dfs"))),
    (
        adls(f"{ITEM}/Files/raw/**", account=f"account_url: https://onelake.dfs.fabric.microsoft.com, {ONELAKE}"),
        f"{{ type: onelake, {ONELAKE}, lakehouse: {ITEM}, path: raw }}",
    ),
    (
        adls(
            f"{ITEM}/Files/raw/**",
            account=f"account_url: https://westeurope-onelake.dfs.fabric.microsoft.com, {ONELAKE}",
        ),
        f"{{ type: onelake, {ONELAKE}, lakehouse: {ITEM}, path: raw }}",
    ),
    (table("one", "dbo.{entity}"), store_table("one")),
    (table("one", "[DBO].[Orders]"), store_table("same")),
]
APART = [
    (files("exports/{entity}/*.csv"), files("landed")),
    (files("exports/*.csv"), files("exports")),
    (files("exports/*/x.csv"), files("exports/deep/er")),
    (files("exports/**/*.csv"), files("exports/_landed")),
    (files("exports/{entity}.csv"), files("exports")),
    (files("stra?e/{entity}/*.csv"), files("strasse")),
    (files("exports/*.csv"), "{ type: sqlite, path: exports/shop.db }"),
    (files("exports"), adls("exports")),
    (adls("landing/{entity}/*.parquet"), adls("landed")),
    (adls("landing/{entity}"), adls("landing", account=LAKE.replace("raw", "other"))),
    (table("one", "dbo.{entity}"), store_table("other")),
    (table("one", "dbo.{entity}"), store_table("one", "staging")),
    (table("one", "dbo.{entity}"), store_table("one", name="landed_{entity}")),
]


JOURNAL = ".hygge_journal"
READING_WHAT_IS_KEPT = [
    (files(f"w/{JOURNAL}/**", "parquet"), files("w")),
    (files(f"w/{JOURNAL}/runs/*.parquet"), files("./W")),
    (files(f"x/../w/{JOURNAL}"), files("w", "delta")),
    (files(f"w/{JOURNAL}/*/*"), "{ type: sqlite, path: w/shop.db }"),
    (files(f"kept/{JOURNAL}/journal*"), files("w") + "\njournal: { location: ./kept }"),
    (files(f"linked/{JOURNAL}/staging/**"), files("exports")),
    (files("journal/**"), store_table("one")),
    (adls(f"landing/{JOURNAL}/**"), adls("landing")),
    (adls(f"{JOURNAL}/runs"), adls("w") + f"\njournal: {{ location: {{ type: adls, {LAKE}, path: '/' }} }}"),
]
BESIDE_WHAT_IS_KEPT = [
    (files(f"w/{JOURNAL}/journal.parquet", "parquet"), files("w")),
    (files("kept"), files("w") + "\njournal: { location: ./kept }"),
    (files("kept/**/*.csv"), files("w") + "\njournal: { location: ./kept }"),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A project with links: ``linked`` to the store's folder, and below two homes to the table's folder and a file."""
    project = tmp_path / "a[1]"
    for name in ("exports/orders", "in/orders", "links"):
        (project / name).mkdir(parents=True)
    (project / "exports/orders/x.csv").write_text("id\n1\n")
    (project / "linked").symlink_to("exports")
    (project / "in/away").symlink_to("../exports/orders")
    (project / "in/dangling").symlink_to("../nowhere")
    (project / "links/x.csv").symlink_to("../exports/orders/x.csv")
    return project


@pytest.mark.parametrize(("home", "store"), OVERLAPPING)
def test_a_store_in_what_a_home_of_its_flow_reads_is_refused(directory: Path, home: str, store: str) -> None:
    if "in/{entity}" in home:  # here it is the home's folder that is a link
        (directory / "in/orders").rmdir()
        (directory / "in/orders").symlink_to("../exports/orders")
    found = problems(directory, (home, store))
    assert "`f0.orders` would land where its own home reads" in found
    assert "flows/f0/flow.yml:" in found


@pytest.mark.parametrize(("home", "store"), READING_WHAT_IS_KEPT)
def test_a_home_that_reads_what_its_own_loads_leave_beside_rows_is_refused(
    directory: Path, home: str, store: str
) -> None:
    found = problems(directory, (home, store))
    assert "the home of `f0.orders` reads" in found
    assert "flows/f0/flow.yml:" in found


@pytest.mark.parametrize(("home", "store"), [*APART, *BESIDE_WHAT_IS_KEPT])
def test_places_that_only_lie_near_each_other_are_taken(directory: Path, home: str, store: str) -> None:
    assert problems(directory, (home, store)) == ""


def test_one_entity_may_not_land_where_another_of_its_flow_reads_but_flows_may_follow_each_other(
    directory: Path,
) -> None:
    found = problems(directory, (files("raw/{entity}/b/*.csv"), files("raw/a")), entities="a, b")
    assert "`f0.b` would land where the home of `f0.a` reads" in found
    (directory / "flows/f0/flow.yml").unlink()
    (directory / "flows/f0").rmdir()
    assert problems(directory, (files("in/{entity}.csv"), files("out")), (files("out/{entity}"), files("next"))) == ""


def test_tables_that_are_written_in_two_ways_or_lie_in_each_other_are_refused(directory: Path) -> None:
    home = files("in/{entity}.csv")
    for one, other in (("out", "./out"), ("exports", "linked"), ("out", "x/../OUT")):
        assert "lands in the same place" in problems(directory, (home, files(one)), (home, files(other)))
    found = problems(directory, (home, files("out")), (home, files("out/orders/deeper")))
    assert "the table of `f1.orders` lies in the folder of that of `f0.orders`" in found
    sqlite = ["{ type: sqlite, path: shop.db }", "{ type: sqlite, path: ./shop.db }"]
    assert "lands in the same place" in problems(directory, *((home, store) for store in sqlite))
    servers = [store_table("one"), store_table("same")]
    assert "lands in the same place" in problems(directory, *((home, store) for store in servers))


@pytest.mark.parametrize(
    ("store", "file"),
    [
        (files("w"), f"w/{JOURNAL}"),
        ("{ type: sqlite, path: w/shop.db }", f"w/{JOURNAL}"),
        (files("w") + "\njournal: { location: ./kept }", f"kept/{JOURNAL}"),
        (files("w") + f"\njournal: {{ location: ./kept/{JOURNAL} }}", f"kept/{JOURNAL}"),
        (store_table("one"), "journal"),
    ],
)
@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_where_a_folder_of_ours_has_to_be_is_told_with_its_name(
    directory: Path, store: str, file: str, is_link: bool
) -> None:
    (directory / file).parent.mkdir(exist_ok=True)
    if is_link:
        (directory / file).symlink_to("nowhere")
    else:
        (directory / file).write_text("theirs")
    found = problems(directory, (files("in/{entity}.csv"), store))
    assert f"{file} is a file" in found
    assert "Move the file away" in found
    assert "flows/f0/flow.yml:" in found
