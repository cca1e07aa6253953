"""Asking Fabric's REST API whether a dropped table is gone, against the emulator's status server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from devcloud.replicator import Replicator
from devcloud.replicator.status_api import StatusServer
from hygge_engine.errors import FabricUnavailable, StoreError
from hygge_engine.stores.open_mirroring import fabric
from hygge_engine.stores.open_mirroring.checks import ask_replication, check_table
from hygge_engine.stores.open_mirroring.fabric import table_statuses
from tests.faults.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path, monkeypatch, run_type="full_drop", tick_between=False)
    world.source.put(1, 2)
    world.load("a")
    return world


@pytest.fixture
def status(world: World) -> Iterator[StatusServer]:
    replicator: Replicator = world.replicator
    with StatusServer({("workspace", "mirror"): replicator}, page_size=1) as server:
        world.settings = world.settings.model_copy(update={"fabric_api_url": server.url})
        yield server


def test_a_reload_waits_until_fabric_no_longer_lists_the_table(world: World, status: StatusServer) -> None:
    world.tick()
    assert [(table.schema_name, table.table_name) for table in table_statuses(world.settings)] == [("dbo", "things")]
    world.source.put(3)
    waiting = world.slice("b")
    assert (waiting.status, waiting.message) == ("continue", "waiting for Fabric to drop the table")
    world.tick()
    assert table_statuses(world.settings) == []
    assert world.load("b").rows == 3
    world.check()


def test_fabric_may_spell_a_table_in_another_case(world: World) -> None:
    world.tick()
    listed = world.lake.read(world.layout.status).data
    spelt = listed.replace(b'"things"', b'"THINGS"').replace(b'"dbo"', b'"DBO"')
    assert spelt != listed
    world.lake.put(world.layout.status, spelt)
    replication = ask_replication(world.lake, world.settings, world.layout)
    assert check_table(world.lake, world.layout, replication)[-1].result == "ok"
    world.source.put(3)
    waiting = world.slice("b")
    assert (waiting.status, waiting.message) == ("continue", "waiting for Fabric to drop the table")


def test_a_throttled_or_mistaken_question_says_so(world: World, status: StatusServer) -> None:
    status.throttle(20, 0)
    with pytest.raises(FabricUnavailable, match="429"):
        table_statuses(world.settings)
    status.throttle(0, 0)
    with pytest.raises(StoreError, match="404"):
        table_statuses(world.settings.model_copy(update={"mirror_name": "unknown"}))


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ({"data": [], "continuationToken": "again"}, "has no end"),
        ({"data": [{"sourceSchemaName": "x" * 2000, "sourceTableName": "y"}]}, "more than 1,000 bytes"),
    ],
)
def test_an_answer_without_end_is_not_read_to_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch, page: dict[str, Any], found: str
) -> None:
    monkeypatch.setattr(fabric, "RESPONSE_LIMIT_BYTES", 1000)

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps(page).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(StoreError, match=found):
            table_statuses(world.settings.model_copy(update={"fabric_api_url": url}))
        server.shutdown()
