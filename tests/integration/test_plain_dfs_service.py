"""The lake, and a whole load, on a foreign service: the DFS REST API as documented, and nothing beyond."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

import hygge_engine.retry
from hygge_engine.errors import LakeConditionNotMet, LakeDenied, LakeError, LakeNotFound
from hygge_engine.lake import base
from hygge_engine.lake.base import Lake
from hygge_engine.lake.datalake import EMPTY_PAGES_LIMIT, DataLake
from hygge_engine.lake.settings import LakeSettings
from tests.dfs_server import DfsServer
from tests.lake_contract import LakeContract, stage

FILESYSTEM = "filesystem"

SERVICES: dict[str, dict[str, Any]] = {
    "plain": {},
    "emulator": {
        "prefix": "/account",
        "put_blob_status": 405,
        "taken_status": 412,
        "clock_offset": timedelta(hours=1),
        "ranges": True,
    },
    "careless": {"put_blob_status": 201},
    "lengthless": {"lengthless": True},
}


def connect(server: DfsServer) -> DataLake:
    return DataLake(
        LakeSettings(
            account_url=server.url,
            filesystem=FILESYSTEM,
            credential="account_key",
            account_name="account",
            account_key=SecretStr("a2V5"),
        )
    )


@pytest.fixture(params=SERVICES)
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DfsServer]:
    monkeypatch.setattr(hygge_engine.retry, "FIRST_PAUSE_SECONDS", 0.001)
    (tmp_path / FILESYSTEM).mkdir()
    with DfsServer(tmp_path, **SERVICES[request.param]) as server:
        yield server


@pytest.fixture
def lake(server: DfsServer) -> Lake:
    return connect(server)


@pytest.mark.parametrize("server", ["emulator"], indirect=True)
class TestContract(LakeContract):
    """Nothing of what a lake promises needs more than the DFS API."""


def files(server: DfsServer) -> set[str]:
    return {path.name for path in server.root.rglob("*") if path.is_file()}


LOST: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "when": "after"},
    "503": {"status": 503, "when": "after", "retry_after": 0},
    "dropped": {"drop": True, "when": "after"},
}


@pytest.mark.parametrize("server", ["plain", "emulator"], indirect=True)
@pytest.mark.parametrize("fault", LOST)
def test_what_took_effect_without_an_answer_is_not_done_twice(server: DfsServer, lake: Lake, fault: str) -> None:
    before = server.mutations
    lake.put("folder/state.json", b"first", if_absent=True)
    stage(lake, "staged", b"rows")
    requests = server.mutations - before
    for number in range(1, requests + 1):
        lake = connect(server)
        state, staged = f"folder{number}/state.json", f"staged{number}"
        server.plan(nth=number, **LOST[fault])
        try:
            lake.put(state, b"first", if_absent=True)
        except LakeConditionNotMet:
            assert lake.read(state).data == b"first"  # as the landing protocol finds by its nonce
        assert stage(lake, staged, b"rows").length == 4
        assert lake.read(staged).data == b"rows"
        assert not server.faults
    assert not any(name.endswith(".unfinished") for name in files(server))


def test_whoever_died_while_replacing_a_file_leaves_nothing_behind(server: DfsServer, lake: Lake) -> None:
    etag = lake.put("folder/state.json", b"first")
    left = server.root / FILESYSTEM / f"folder/state.json.{'0' * 32}.unfinished"
    left.write_bytes(b"half")
    assert [entry.name for entry in lake.list("folder")] == ["state.json"]
    lake.put("folder/state.json", b"second", if_match=etag)
    assert not left.exists()


def test_a_file_that_others_watch_for_is_completed_elsewhere(server: DfsServer, lake: Lake) -> None:
    lake.put("zone/events.json", b"events", if_absent=True, staged="elsewhere/1.json")
    assert lake.read("zone/events.json").data == b"events"
    with pytest.raises(LakeConditionNotMet):
        lake.put("zone/events.json", b"others", if_absent=True, staged="elsewhere/2.json")
    assert files(server) == {"events.json"}


def test_a_refused_token_is_asked_for_once_more(server: DfsServer, lake: Lake) -> None:
    server.plan(status=401)
    assert stage(lake, "staged", b"rows").length == 4
    server.plan(status=401)
    server.plan(status=401)
    with pytest.raises(LakeDenied, match="401"):
        stage(lake, "again", b"rows")


@pytest.mark.parametrize("server", ["plain"], indirect=True)
def test_a_part_of_a_file_is_never_mistaken(server: DfsServer, lake: Lake) -> None:
    etag = lake.put("file", b"0123456789")
    assert lake.read_range("file", 0, 10, if_match=etag) == b"0123456789"
    for offset, length in ((0, 3), (2, 3)):
        with pytest.raises(LakeError, match="ranges"):
            lake.read_range("file", offset, length, if_match=etag)


def test_the_clock_is_the_services_own(server: DfsServer, lake: Lake) -> None:
    with pytest.raises(LakeNotFound):
        lake.read("nothing")
    offset = SERVICES["emulator"]["clock_offset"] if "account" in server.url else timedelta(0)
    assert abs(lake.now() - datetime.now(UTC) - offset) < timedelta(seconds=30)


@pytest.mark.parametrize("entries", [2, 0])
@pytest.mark.parametrize("server", ["plain"], indirect=True)
def test_a_listing_without_an_end_is_not_read_to_its_end(
    server: DfsServer, lake: Lake, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(base, "LISTED_LIMIT", 5)
    pages: list[str] = []

    def page(*_: object) -> web.Response:
        pages.append("page")
        names = [f"folder/{len(pages):04}-{number}" for number in range(entries)]
        values = {"contentLength": "1", "etag": "0x1", "lastModified": format_datetime(datetime.now(UTC), usegmt=True)}
        listed = [{"name": name, **values} for name in names]
        return web.json_response({"paths": listed}, headers={"x-ms-continuation": str(len(pages))})

    monkeypatch.setattr(server, "_list", page)
    with pytest.raises(LakeError, match="more than 5 files" if entries else "has no end"):
        list(lake.list("folder"))
    assert len(pages) <= 3 + EMPTY_PAGES_LIMIT * (entries == 0)
    if entries:  # who wants some has some
        assert [entry.name for entry in islice(lake.list("folder"), 2)]
