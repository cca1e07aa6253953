"""Lineage: what a receiver of OpenLineage events gets of a load, and what it can do to one: nothing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hygge_engine.errors import HomeNotFound
from hygge_engine.telemetry import Telemetry
from hygge_engine.telemetry.lineage import sender
from hygge_engine.telemetry.lineage.datasets import destination_of, source_of
from hygge_engine.telemetry.lineage.events import load_run_id
from hygge_engine.telemetry.lineage.lineage import Lineage
from hygge_engine.telemetry.lineage.settings import LineageRefused, LineageSettings, lineage_settings
from hygge_engine.telemetry.process import telemetry_from
from tests.support.traced_runs import run
from tests.unit.load_world import LoadWorld
from tests.unit.project_files import FLOW, load
from tests.unit.telemetry_world import Receiver, wait_for_what_is_sent

PATH = "/api/v1/lineage"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    wait_for_what_is_sent(monkeypatch)
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    return world


def of_entity(events: list[dict[str, Any]], entity: str) -> list[dict[str, Any]]:
    return [event for event in events if event["job"]["name"] == f"orders_to_fabric.{entity}"]


def test_a_receiver_is_told_of_the_begin_and_the_end_of_every_table(world: LoadWorld) -> None:
    def fail(entity: str, batch: int) -> None:
        if entity == "customers":
            raise HomeNotFound("there is no table")

    world.before_read = fail
    with Receiver() as receiver:
        run(world, telemetry_from({"OPENLINEAGE_URL": receiver.url, "OPENLINEAGE_API_KEY": "k1"}))
        events = receiver.bodies(PATH)
        headers = {request.headers["authorization"] for request in receiver.requests}

    assert headers == {"Bearer k1"}
    assert [event["eventType"] for event in of_entity(events, "stock")] == ["START", "COMPLETE"]
    assert [event["eventType"] for event in of_entity(events, "customers")] == ["START", "FAIL"]
    began, ended = of_entity(events, "orders")
    assert (began["eventType"], ended["eventType"]) == ("START", "COMPLETE")
    journal = {row["entity"]: row for row in world.journal()}
    assert began["run"]["runId"] == ended["run"]["runId"] == journal["orders"]["entity_run_id"]
    assert began["job"]["namespace"] == "shop"
    assert ended["inputs"][0]["namespace"] == "mssql://sql.example.com:1433"
    assert ended["inputs"][0]["name"] == "shop.dbo.orders"
    (output,) = ended["outputs"]
    assert output["namespace"] == "abfss://11111111-1111-1111-1111-111111111111@onelake.dfs.fabric.microsoft.com"
    assert output["name"] == "22222222-2222-2222-2222-222222222222/Tables/dbo/orders"
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (5, journal["orders"]["bytes"])
    fields = output["facets"]["schema"]["fields"]
    assert {each["name"]: each["type"] for each in fields} == {"id": "int64", "value": "string", "modified": "int64"}
    failed = of_entity(events, "customers")[1]
    assert failed["run"]["facets"]["errorMessage"]["message"] == "there is no table"
    parents = {event["run"]["facets"]["parent"]["run"]["runId"] for event in events}
    assert parents == {load_run_id("c1")}
    # Every facet says who made it and by which schema; nothing but names and numbers is sent.
    text = json.dumps(events)
    assert "correct horse" not in text
    assert "reader" not in text
    assert '"v1"' not in text


def test_a_file_takes_events_as_lines(world: LoadWorld, tmp_path: Path) -> None:
    path = tmp_path / "lineage.ndjson"

    run(world, telemetry_from({"OPENLINEAGE_URL": path.as_uri(), "OPENLINEAGE_NAMESPACE": "prod"}))

    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(events) == 6
    assert {event["job"]["namespace"] for event in events} == {"prod"}


def test_a_receiver_that_does_not_answer_holds_up_no_load(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FLUSH_SECONDS", 0.1)
    released = threading.Event()

    def wait() -> int:
        released.wait(60)
        return 200

    with Receiver(wait) as receiver:
        summary = run(world, telemetry_from({"OPENLINEAGE_URL": receiver.url}))
        assert (summary["status"], released.is_set()) == ("success", False)
        released.set()


@pytest.mark.parametrize("status", [302, 401, 503])
def test_a_receiver_that_refuses_is_left_alone_for_a_while(world: LoadWorld, status: int) -> None:
    with Receiver(lambda: status) as receiver:
        lineage = Lineage(LineageSettings(url=f"{receiver.url}{PATH}"))
        summary = run(world, Telemetry(lineage=lineage))

    assert summary["status"] == "success"
    assert len(receiver.requests) == 1
    assert lineage.sender.dropped == 6


def test_nobody_there_costs_events_only(world: LoadWorld, tmp_path: Path) -> None:
    lineage = Lineage(LineageSettings(path=str(tmp_path / "no" / "such" / "folder")))

    assert run(world, Telemetry(lineage=lineage))["status"] == "success"
    assert lineage.sender.dropped == 6


def test_a_redirection_takes_the_key_nowhere(world: LoadWorld) -> None:
    with Receiver() as elsewhere, Receiver(lambda: 307, location=f"{elsewhere.url}/stolen") as receiver:
        run(world, telemetry_from({"OPENLINEAGE_URL": receiver.url, "OPENLINEAGE_API_KEY": "k1"}))

    assert len(receiver.requests) == 1
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"OPENLINEAGE_URL": "http://lineage.example.com"}, "https://"),
        ({"OPENLINEAGE_URL": "ftp://lineage.example.com"}, "http://, https:// or file://"),
        ({"OPENLINEAGE_URL": "lineage.example.com"}, "http://, https:// or file://"),
        ({"OPENLINEAGE_URL": "https://user:hunter2@lineage.example.com"}, "OPENLINEAGE_API_KEY"),
        ({"OPENLINEAGE_URL": "https://lineage.example.com?key=hunter2"}, "OPENLINEAGE_API_KEY"),
        ({"OPENLINEAGE_URL": "file://server/share"}, "no file on this machine"),
        (
            {"OPENLINEAGE_URL": "https://lineage.example.com", "OPENLINEAGE_ENDPOINT": "http://evil.example.com/"},
            "must be a path",
        ),
    ],
)
def test_an_address_that_may_not_be_used_is_refused_without_showing_a_key(
    environment: dict[str, str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LineageRefused, match=says):
        lineage_settings(environment)

    # The process continues, without lineage.
    telemetry_from(environment)
    assert says in caplog.text
    assert "hunter2" not in caplog.text


def test_the_variables_are_those_of_openlineages_own_clients() -> None:
    given = {
        "OPENLINEAGE_URL": "https://lineage.example.com/marquez/",
        "OPENLINEAGE_ENDPOINT": "v2/events",
        "OPENLINEAGE_API_KEY": "k1",
        "OPENLINEAGE_NAMESPACE": "prod",
    }

    settings = lineage_settings(given)

    assert settings == LineageSettings("https://lineage.example.com/marquez/v2/events", api_key="k1", namespace="prod")
    assert "k1" not in repr(settings)
    assert lineage_settings(given | {"OPENLINEAGE_DISABLED": "true"}) is None
    assert lineage_settings({}) is None


STORES = {
    "  type: local\n": ("file", "{directory}/warehouse/orders"),
    "  type: sqlite\n  path: shop.db\n": ("sqlite:{directory}/shop.db", "orders"),
    "  type: adls\n  account_url: https://shop.dfs.core.windows.net\n  filesystem: raw\n  path: sales\n": (
        "abfss://raw@shop.dfs.core.windows.net",
        "sales/orders",
    ),
    "  type: onelake\n  filesystem: w\n  lakehouse: l\n  format: delta\n  schema_name: dbo\n": (
        "abfss://w@onelake.dfs.fabric.microsoft.com",
        "l/Tables/dbo/orders",
    ),
}


@pytest.mark.parametrize("store", STORES)
def test_tables_are_named_as_openlineage_names_them(tmp_path: Path, store: str) -> None:
    before, _, after = FLOW.partition("store:\n")
    rest = after[after.index("watermark:") :]
    project = load(tmp_path, flow=f"{before}store:\n{store}  key_columns: [id]\n{rest}")
    entity = project.flows["orders_to_fabric"].entities["orders"]

    destination = destination_of(project, entity)

    namespace, name = (text.format(directory=tmp_path.resolve()) for text in STORES[store])
    assert (destination.namespace, destination.name) == (namespace, name)
    assert source_of(project, entity).name == "shop.dbo.orders"


HOMES = {
    "  type: mssql\n  connection: shop_db\n  table: '[my sales].[{entity}]'\n": (
        "mssql://sql.example.com:1433",
        "shop.my sales.orders",
    ),
    "  type: local\n  path: in/{entity}\n": ("file", "{directory}/in/orders"),
    "  type: adls\n  account_url: https://s.dfs.core.windows.net\n  filesystem: raw\n  path: in/{entity}/*.parquet\n": (
        "abfss://raw@s.dfs.core.windows.net",
        "in/orders/*.parquet",
    ),
    "  type: onelake\n  filesystem: w\n  lakehouse: l\n  path: in/{entity}\n": (
        "abfss://w@onelake.dfs.fabric.microsoft.com",
        "l/Files/in/orders",
    ),
}


@pytest.mark.parametrize("home", HOMES)
def test_sources_are_named_as_openlineage_names_them(tmp_path: Path, home: str) -> None:
    before, _, rest = FLOW.partition("home:\n")
    project = load(tmp_path, flow=f"{before}home:\n{home}{rest[rest.index('store:') :]}")

    source = source_of(project, project.flows["orders_to_fabric"].entities["orders"])

    namespace, name = (text.format(directory=tmp_path.resolve()) for text in HOMES[home])
    assert (source.namespace, source.name) == (namespace, name)


def test_a_query_is_named_after_its_entity(tmp_path: Path) -> None:
    project = load(tmp_path, flow=FLOW.replace("table: dbo.{entity}", "query: SELECT 1 AS id, '{entity}' AS name"))

    source = source_of(project, project.flows["orders_to_fabric"].entities["orders"])

    assert source.name == "shop.query.orders_to_fabric.orders"


@pytest.mark.parametrize("load_id", ["schedule-2024-05-01T06:00:00Z", "0f0e0d0c-0b0a-4908-8706-050403020100"])
def test_a_load_is_a_run_with_a_uuid(load_id: str) -> None:
    run_id = load_run_id(load_id)

    assert str(UUID(run_id)) == run_id == load_run_id(load_id)
