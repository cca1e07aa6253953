"""Where a project's loads are remembered, and what is refused before the first of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from devcloud.replicator import Replicator
from hygge_engine.errors import ConfigurationError
from hygge_engine.flow.factory import journal_of
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.places import entities_at, journals_of, place_of, places_of
from hygge_engine.orchestration.request import LoadRequest
from tests.integration.warehouse import Nobody
from tests.unit.load_world import FLOW_YML, SECOND_FLOW_YML, LoadWorld
from tests.unit.project_files import FLOW, FLOW_FILE, HYGGE, find_problems, load

MIRROR = "22222222-2222-2222-2222-222222222222"
ONELAKE = "https://onelake.dfs.fabric.microsoft.com"
MIRRORED = "  mirror_journal: true\n"
WITH_MIRROR = FLOW.replace("  key_columns: [id]\n", "  key_columns: [id]\n" + MIRRORED)
SECOND = WITH_MIRROR.replace("orders_to_fabric", "second").replace("[orders, customers]", "[stock]")

HOME = FLOW[FLOW.index("home:") : FLOW.index("store:")]
SQLITE = "store: {type: sqlite}\n"
MSSQL = "store: {type: mssql, connection: shop_db, schema_name: landed}\n"


def with_store(store: str) -> str:
    return FLOW[: FLOW.index("store:")] + store + FLOW[FLOW.index("watermark:") :]


def journal(location: str) -> str:
    return f"{HYGGE}journal:\n  location: {location}\n"


def go(world: LoadWorld) -> dict[str, Any]:
    summary = run_load(world.project, LoadRequest(requested_by="tests"), Nobody())
    assert summary["journal"]["status"] == "settled"
    return summary


@pytest.mark.parametrize(
    ("location", "folder"),
    [
        ("./memory", "memory/.hygge_journal"),
        ("./memory/.hygge_journal", "memory/.hygge_journal"),
        ("{type: local, path: memory}", "memory/.hygge_journal"),
    ],
)
def test_a_journal_of_its_own_has_everything_but_the_landing_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, folder: str
) -> None:
    flow = FLOW_YML.replace("  key_columns: [id]\n", "  key_columns: [id]\n" + MIRRORED)
    world = LoadWorld(tmp_path, monkeypatch, hygge=journal(location), flow=flow)
    world.fill(orders=5, customers=3)
    for _ in range(2):
        go(world)
        world.sources["orders"].put(6)
    own = tmp_path / "project" / folder
    assert len(list((own / "runs").iterdir())) == 2
    assert len(list((own / "schemas").iterdir())) == 3
    assert journals_of(world.project).summary()["entities"].to_list() == [3, 3]
    files = world.lake_directory / MIRROR / "Files"
    beside = files / ".hygge_journal"
    assert (beside / "landing/orders_to_fabric/orders.json").is_file()
    assert not {entry.name for entry in beside.iterdir()} - {"landing", "staging"}
    # Telemetry has a schema of its own, and nothing of it is among the tables of the business.
    zone = files / "LandingZone"
    tables = {schema.name: {table.name for table in schema.iterdir()} for schema in zone.glob("*.schema")}
    assert tables == {
        "dbo.schema": {"orders", "customers"},
        "__hygge.schema": {"journal", "loads", "schema_manifest"},
    }
    # The mirror shows the journal that lies elsewhere.
    replicator = Replicator.on_disk(world.lake_directory / MIRROR, in_memory=True)
    for _ in range(3):
        replicator.tick()
    mirrored = replicator.table("__hygge", "journal")
    rows = journals_of(world.project).read()
    assert {str(value) for value in mirrored["entity_run_id"].to_pylist()} == set(rows["entity_run_id"])
    assert replicator.table("__hygge", "schema_manifest").num_rows > 0


def test_files_keep_their_landing_state_wherever_the_journal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = "store: {type: local, path: out}\n"
    flow = FLOW_YML[: FLOW_YML.index("store:")] + store + FLOW_YML[FLOW_YML.index("watermark:") :]
    world = LoadWorld(tmp_path, monkeypatch, hygge=journal("./memory"), flow=flow)
    world.fill(orders=5)
    go(world)
    project = tmp_path / "project"
    assert (project / "out/.hygge_journal/landing/orders_to_fabric/orders.json").is_file()
    assert not (project / "out/.hygge_journal/runs").exists()
    assert len(list((project / "memory/.hygge_journal/runs").iterdir())) == 1
    world.sources["orders"].put(6)
    go(world)
    assert journals_of(world.project).summary()["rows"].to_list() == [1, 5]


HOMES = {
    "data/{entity}/*.parquet": "data",
    "data/{entity}.csv": "data",
    "{entity}": ".",
    "data/2024/**/{entity}-*.parquet": "data/2024",
}


@pytest.mark.parametrize("path", HOMES)
def test_files_that_are_read_may_have_the_journal_beside_them(tmp_path: Path, path: str) -> None:
    home = f'home: {{type: local, path: "{path}", format: csv}}\n'
    flow = f"run_type: full_drop\n{home}store: {{type: sqlite}}\nentities: [orders, customers]\n"
    for entity in ("orders", "customers"):
        name = path.replace("{entity}", entity).replace("**/", "a/b/").replace("*", "1")
        file = tmp_path / (name if "." in name else f"{name}/1.csv")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("id,name\n1,a\n2,b\n")
    project = load(tmp_path, hygge=journal("home"), flow=flow)
    for _ in range(2):
        summary = run_load(project, LoadRequest(requested_by="tests"), Nobody())
        assert (summary["status"], summary["journal"]["status"]) == ("success", "settled"), summary
    folder = tmp_path / HOMES[path] / ".hygge_journal"
    assert len(list((folder / "runs").iterdir())) == 2
    assert journals_of(project).summary()["rows"].to_list() == [4, 4]
    assert not (tmp_path / ".hygge_journal").exists() or HOMES[path] == "."


def test_one_journal_is_shown_in_every_mirror_that_its_load_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [
        text.replace("  key_columns: [id]\n", "  key_columns: [id]\n" + MIRRORED)
        for text in (FLOW_YML, SECOND_FLOW_YML)
    ]
    world = LoadWorld(tmp_path, monkeypatch, hygge=journal("./memory"), flow=both[0], flows__second__flow=both[1])
    world.fill(orders=2)
    go(world)
    for mirror in (MIRROR, "22222222-2222-2222-2222-333333333333"):
        replicator = Replicator.on_disk(world.lake_directory / mirror, in_memory=True)
        for _ in range(3):
            replicator.tick()
        assert replicator.table("__hygge", "journal").num_rows == 6


def test_old_loads_leave_journal_and_mirror_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = FLOW_YML.replace("  key_columns: [id]\n", "  key_columns: [id]\n" + MIRRORED)
    hygge = f"{HYGGE}journal: {{ retention: 30d, fold_after_loads: 2 }}\n"
    world = LoadWorld(tmp_path, monkeypatch, hygge=hygge, flow=flow)
    world.fill(orders=5, customers=3)
    replicator = Replicator.on_disk(world.lake_directory / MIRROR, in_memory=True)
    first = go(world)
    lake = type(world.place().lake)
    now = lake.now
    monkeypatch.setattr(lake, "now", lambda self: now(self) + timedelta(days=31))
    second = go(world)
    for _ in range(5):
        replicator.tick()
    # The clock is a month ahead, and so the second load is as old as the first.
    assert world.journal() == []
    assert replicator.table("__hygge", "journal").num_rows == 0
    monkeypatch.setattr(lake, "now", now)
    third = go(world)
    assert {row["coordinator_run_id"] for row in world.journal()} == {third["load_id"]}
    assert len({first["load_id"], second["load_id"], third["load_id"]}) == 3


@pytest.mark.parametrize(
    ("flow_says", "expected"),
    [("", "store"), ("journal: {location: ./there}\n", "there"), ("journal: null\n", "store")],
)
def test_a_flow_inherits_the_projects_journal_key_by_key(tmp_path: Path, flow_says: str, expected: str) -> None:
    project = load(tmp_path, hygge=f"{HYGGE}journal: {{ retention: 400d }}\n", flow=FLOW + flow_says)
    found = project.flows["orders_to_fabric"].journal
    location = found.location if isinstance(found.location, str) else found.location.address
    assert location == expected
    assert found.retention == (None if "null" in flow_says else 400 * 86_400)


REFUSED: dict[str, tuple[dict[str, str], tuple[str, int], list[str]]] = {
    "a misspelt word": ({"hygge": journal("stor")}, ("hygge.yml", 11), ["`store`", "Did you mean `store`?"]),
    "an address": ({"hygge": journal("abfss://w@onelake/x")}, ("hygge.yml", 11), ["a data lake is a mapping"]),
    "a type that is none": ({"hygge": journal("{type: onelak}")}, ("hygge.yml", 11), ["Did you mean `onelake`?"]),
    "too short": ({"hygge": f"{HYGGE}journal: {{retention: 1d}}\n"}, ("hygge.yml", 10), ["at least 7d"]),
    "beside tables of OneLake": (
        {"hygge": journal("{type: onelake, filesystem: w, lakehouse: l, path: Tables/x}")},
        ("hygge.yml", 11),
        ["only folders below Files/"],
    ),
    "in the landing zone": (
        {"hygge": journal("{type: onelake, filesystem: w, lakehouse: l, path: LandingZone}")},
        ("hygge.yml", 11),
        ["belongs to Fabric"],
    ),
    "above the folder": (
        {"hygge": journal("{type: onelake, filesystem: w, lakehouse: l, path: ../x}")},
        ("hygge.yml", 11),
        ["no '.' or '..'"],
    ),
    "an item's root through ADLS": (
        {"hygge": journal(f"{{type: adls, account_url: '{ONELAKE}', filesystem: w, path: l}}")},
        ("hygge.yml", 11),
        ["only folders below Files/"],
    ),
    "tables through ADLS": (
        {
            "flow": with_store(
                "store:\n  type: adls\n  account_url: https://onelake.dfs.fabric.microsoft.com\n  filesystem: w\n"
                "  path: l/Tables\n"
            )
        },
        (FLOW_FILE, 12),
        ["only folders below Files/"],
    ),
    "a database at home": ({"hygge": journal("home")}, ("hygge.yml", 11), ["home of type `mssql` has no place"]),
    "a database as store": ({"flow": with_store(MSSQL)}, (FLOW_FILE, 8), ["`journal.location` with a path"]),
    "two journals in a mirror": (
        {"flow": WITH_MIRROR, "flows__second__flow": SECOND + "journal:\n  location: ./elsewhere\n"},
        ("flows/second/flow.yml", 20),
        ["`journal.location` differs", "`store`, as for `orders_to_fabric.orders`"],
    ),
    "two homes in a mirror": (
        {
            "hygge": journal("home"),
            "flow": WITH_MIRROR.replace(HOME, "home: {type: local, path: 'a/{entity}'}\n"),
            "flows__second__flow": SECOND.replace(HOME, "home: {type: local, path: 'b/{entity}'}\n"),
        },
        ("hygge.yml", 11),
        ["`journal.location` differs", "`home, b`", "`home, a`"],
    ),
    "tables read through ADLS": (
        {
            "hygge": journal("home"),
            "flow": FLOW.replace(
                HOME, f"home: {{type: adls, account_url: '{ONELAKE}', filesystem: w, path: 'l/{{entity}}'}}\n"
            ),
        },
        ("hygge.yml", 11),
        ["home of type `adls` has no place"],
    ),
    "two schemas in a mirror": (
        {"flow": WITH_MIRROR, "flows__second__flow": SECOND.replace("  key_", "  mirror_schema: other\n  key_")},
        ("flows/second/flow.yml", 13),
        ["`mirror_schema` differs", "`__hygge`"],
    ),
    "a table among telemetry": (
        {"flow": FLOW.replace("  key_", "  schema_name: __hygge_mine\n  key_")}, (FLOW_FILE, 13), ["begin with __hygge"]
    ),
    "a schema of telemetry": (
        {
            "flow": FLOW.replace("  key_", "  schema_name: telemetry\n  key_"),
            "flows__second__flow": SECOND.replace("  key_", "  mirror_schema: telemetry\n  key_"),
        },
        (FLOW_FILE, 18),
        ["`orders_to_fabric.orders`", "`second.stock`", "another schema than `telemetry`"],
    ),
    "a flow like the schema of telemetry": (
        {"flow": WITH_MIRROR.replace("  key_", "  mirror_schema: orders_to_fabric\n  key_")},
        (FLOW_FILE, 19),
        ["another flow than `orders_to_fabric`"],
    ),
    "a table in the journal's folder": (
        {"flow": with_store("store: {type: local, table_name: .hygge_journal}\n")}, (FLOW_FILE, 8), ["are taken"]
    ),
    "an entity's journal": (
        {"flow": FLOW.replace("[orders, customers]", "[{name: orders, journal: {location: home}}]")},
        (FLOW_FILE, 17),
        ["A journal is the flow's"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_place_that_cannot_be_is_refused_where_it_stands(tmp_path: Path, name: str) -> None:
    files, (file, line), words = REFUSED[name]
    problems = find_problems(tmp_path, **files)  # type: ignore[arg-type]
    assert (problems[0].file, problems[0].line) == (file, line), [str(problem) for problem in problems]
    text = " ".join(str(problem) for problem in problems).lower()
    assert all(word.lower() in text for word in words), text


@pytest.mark.parametrize(
    ("location", "address"),
    [
        (
            "{type: onelake, filesystem: w, lakehouse: l, path: logs}",
            "https://onelake.dfs.fabric.microsoft.com/w/l/Files/logs/.hygge_journal",
        ),
        (
            "{type: adls, account_url: 'https://shop.dfs.core.windows.net', filesystem: raw}",
            "https://shop.dfs.core.windows.net/raw/.hygge_journal",
        ),
    ],
)
@pytest.mark.parametrize("store", [SQLITE, MSSQL])
def test_a_data_lake_may_remember_what_a_database_has(
    tmp_path: Path, location: str, address: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = load(tmp_path, hygge=journal(location), flow=with_store(store))
    place = project.flows["orders_to_fabric"].journal.location
    assert not isinstance(place, str)
    assert place.address == address
    opened: list[Callable[..., object]] = []
    monkeypatch.setattr("hygge_engine.lake.opening.open_lake", opened.append)
    _, root = journal_of(project, project.entities[0])
    assert address.endswith(f"/{root}")


@pytest.mark.parametrize("door", ["westeurope-onelake.dfs", "api-onelake", "OneLake.dfs"])
def test_a_journal_that_is_reached_by_two_doors_is_one(tmp_path: Path, door: str) -> None:
    other = SECOND.replace(ONELAKE, f"https://{door}.fabric.microsoft.com:443")
    (tmp_path / "flows/second").mkdir(parents=True)
    (tmp_path / "flows/second/flow.yml").write_text(other)
    project = load(tmp_path, flow=WITH_MIRROR)
    places = places_of(project, project.entities)
    assert [place.address for place in places.values()] == [place_of(project, project.entities[0]).address]
    (place,) = places.values()
    assert entities_at(project, place) == project.entities
    schema = other.replace(MIRRORED, MIRRORED + "  mirror_schema: elsewhere\n")
    (tmp_path / "flows/second/flow.yml").write_text(schema)
    with pytest.raises(ConfigurationError, match="`mirror_schema` differs between entities that share"):
        load(tmp_path, flow=WITH_MIRROR)
    (tmp_path / "flows/second/flow.yml").write_text(other.replace("[stock]", "[orders]"))
    with pytest.raises(
        ConfigurationError, match=f"https://{door}.fabric.microsoft.com:443/.*/orders`, also `{ONELAKE}/"
    ):
        load(tmp_path, flow=WITH_MIRROR)


def test_a_secret_of_the_journals_place_is_shown_nowhere(tmp_path: Path) -> None:
    place = "{type: adls, account_url: 'https://shop.dfs.core.windows.net', filesystem: raw, credential: sas"
    project = load(tmp_path, hygge=journal(place + ", sas_token: sv=1&sig=hush}"))
    other = load(tmp_path, hygge=journal(place + ", sas_token: sv=2&sig=quiet}"))
    assert project.settings_hash() == other.settings_hash()
    assert "hush" not in repr(project)
