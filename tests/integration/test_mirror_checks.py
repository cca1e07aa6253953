"""What `hygge doctor` says of a mirrored database, from Fabric's REST API and from the status file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devcloud.replicator.status_api import StatusServer
from hygge_engine.checks import DoctorCheck
from hygge_engine.stores.open_mirroring.checks import (
    ask_replication,
    check_change_data_feed,
    check_table,
    check_telemetry,
)
from hygge_engine.stores.open_mirroring.fabric import TableStatus, read_status_file
from tests.faults.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path, monkeypatch, run_type="full_drop", tick_between=False)
    world.source.put(1, 2)
    world.load("a")
    return world


def arrival(world: World) -> DoctorCheck:
    replication = ask_replication(world.lake, world.settings, world.layout)
    return check_table(world.lake, world.layout, replication)[-1]


def test_a_table_arrives_fails_and_stops_by_either_source(world: World) -> None:
    with StatusServer({("workspace", "mirror"): world.replicator}) as server:
        for url in ("", server.url):
            world.settings = world.settings.model_copy(update={"fabric_api_url": url or None})
            if not url:
                assert (arrival(world).result, arrival(world).found) == ("unknown", "Fabric's status is not known")
                world.tick()
            check = arrival(world)
            assert (check.result, check.found[:33]) == ("ok", "Replicating, 2 changes processed,")
        world.replicator.stop_mirroring()
        (running,) = ask_replication(world.lake, world.settings, world.layout).checks
        assert (running.result, running.found) == ("warning", "Stopped")
        assert arrival(world).result == "warning"
    (down,) = ask_replication(world.lake, world.settings, world.layout).checks
    assert (down.result, down.code) == ("failed", "store.fabric_unavailable")


def test_the_change_data_feed_is_shown_where_fabric_can_be_asked(world: World) -> None:
    assert check_change_data_feed(world.settings) == []
    with StatusServer({("workspace", "mirror"): world.replicator}) as server:
        settings = world.settings.model_copy(update={"fabric_api_url": server.url})
        assert [(check.result, check.found) for check in check_change_data_feed(settings)] == [("ok", "off")]
        script = Path(__file__).parents[2] / "infra/scripts/fabric.py"
        command = [sys.executable, str(script), "--api-url", server.url, "change-data-feed", "on"]
        ids = ["--workspace-id", "workspace", "--mirror-id", "mirror"]
        done = subprocess.run([*command, *ids], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        (feed,) = check_change_data_feed(settings)
        assert (feed.result, feed.found[:4]) == ("ok", "on: ")
        (unknown,) = check_change_data_feed(settings.model_copy(update={"mirror_name": "other"}))
        assert (unknown.result, "404" in unknown.found) == ("unknown", True)
        for definition in ({}, {"parts": None}, {"parts": [{"path": "mirroring.json", "payload": "e30"}]}):
            path = "/v1/workspaces/workspace/mirroredDatabases/mirror/updateDefinition"
            status, _, _ = server.answer(path, content=json.dumps({"definition": definition}).encode())
            assert status == 400
    (down,) = check_change_data_feed(settings)
    assert down.result == "unknown"


def test_a_table_that_fabric_cannot_read_is_a_failure_with_its_words(world: World) -> None:
    (file,) = [entry for entry in world.lake.list(world.layout.folder) if entry.name.endswith(".parquet")]
    world.lake.delete(file.path)
    world.lake.put(file.path, b"no parquet")
    world.tick()
    check = arrival(world)
    assert (check.result, check.found[:8]) == ("failed", "Failed: ")
    assert "full_drop" in check.remedy


def test_a_telemetry_schema_that_fabric_ignores(world: World) -> None:
    settings = world.settings.model_copy(update={"mirror_journal": True, "schema_name": "__hygge"})
    world.tick()
    replication = ask_replication(world.lake, settings, world.layout)
    assert {check.result for check in check_telemetry(world.lake, settings, replication)} == {"ok"}
    state = world.lake.read(world.layout.state).data
    world.lake.put(world.layout.state.replace("flow/things", "__hygge/journal"), state)
    journal, *_ = check_telemetry(world.lake, settings, replication)
    assert (journal.name, journal.result) == ("__hygge.journal", "warning")
    assert "mirror_schema" in journal.remedy


def test_a_status_file_of_another_shape_is_no_crash() -> None:
    for data in (b"", b"[]", b"{}", b'{"tables": [1]}', b'{"tables": [{}]}'):
        with pytest.raises(ValueError, match=r"\w"):
            read_status_file(data)
    table = b'{"tables": [{"sourceSchemaName": "dbo", "sourceTableName": "t", "status": "Replicating"}]}'
    assert read_status_file(table) == [TableStatus("dbo", "t", "Replicating")]
