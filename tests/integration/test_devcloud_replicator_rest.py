"""The replicator against a server of the Data Lake Storage REST API, its status API and its command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from devcloud.onelake import OneLake
from devcloud.replicator import (
    DataLakeLandingZone,
    Replicator,
    ReplicatorOptions,
    StatusServer,
    TableName,
    check_landing_zone,
)
from devcloud.replicator.__main__ import main
from tests.integration.replicator_publisher import FLIGHTS, Publisher, codes, rows_of
from tests.support import loopback

WORKSPACE, ITEM = "5b218778-e7a5-4d73-8187-f10824047715", "0e2a6d2b-5f8b-4f46-9d39-3f7e9e4d8d11"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[OneLake]:
    with OneLake(tmp_path / "onelake") as server:
        server.create_item(WORKSPACE, ITEM)
        yield server


@pytest.fixture
def item(lake: OneLake) -> Path:
    return lake.path(WORKSPACE, ITEM)


def follow(lake: OneLake, tables: Path | None = None, **options: Any) -> Replicator:
    return Replicator.over_rest(lake.url, WORKSPACE, ITEM, lake.credential, tables, **options)


def test_a_table_goes_through_its_life_over_rest(lake: OneLake, item: Path, tmp_path: Path) -> None:
    replicator = follow(lake, tmp_path / "tables")
    flights = Publisher(item).begin()
    flights.publish([(1, "a"), (2, "b")])
    flights.publish([(2, "c")], [4])
    flights.publish([(1, None)], [2])
    assert replicator.tick().created == [FLIGHTS]
    assert rows_of(replicator) == [(2, "c")]
    assert sorted(path.name for path in (flights.folder / "_FilesReadyToDelete").iterdir()) == [
        flights.name(1),
        flights.name(2),
    ]
    assert not replicator.tick().changed
    status = json.loads((item / "Files/Monitoring/tables.json").read_text())["tables"][0]
    assert (status["sourceTableName"], status["status"]) == ("flights", "Replicating")
    flights.publish([(5, "e")])
    assert follow(lake, tmp_path / "tables").tick().applied
    lake_zone = DataLakeLandingZone(lake.url, WORKSPACE, ITEM, lake.credential)
    assert check_landing_zone(lake_zone) == []
    flights.delete()
    flights.begin().publish([(9, "new")])
    again = follow(lake, tmp_path / "tables")
    assert again.tick().rebuilt == [FLIGHTS]
    assert rows_of(again) == [(9, "new")]
    flights.delete()
    assert again.tick().dropped == [FLIGHTS]


def test_folders_are_told_apart_by_a_mark_where_etags_cannot(lake: OneLake, item: Path) -> None:
    replicator = follow(lake, folder_identity="mark")
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    replicator.tick()
    flights.publish([(2, "b")])
    assert replicator.tick().rebuilt == []
    flights.delete()
    flights.begin().publish([(3, "c")])
    assert replicator.tick().rebuilt == [FLIGHTS]
    assert rows_of(replicator) == [(3, "c")]


def test_a_storage_fault_ends_the_pass_and_the_next_one_goes_on(lake: OneLake, item: Path) -> None:
    replicator = follow(lake)
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(1, "b")], [0])
    lake.faults.add(status=503, code="ServerBusy", path="LandingZone", times=1)
    assert replicator.tick().unavailable
    lake.faults.add(drop=True, verb="rename", when="after", times=1)
    assert replicator.tick().unavailable
    replicator.tick()
    replicator.tick()
    assert rows_of(replicator) == [(1, "a"), (1, "b")]
    assert replicator.checks == []
    assert [path.name for path in flights.folder.glob("0*")] == [flights.name(2)]


def test_processed_files_are_purged_over_rest(lake: OneLake, item: Path) -> None:
    replicator = follow(lake, options=ReplicatorOptions(purge_after_seconds=0))
    flights = Publisher(item).begin()
    for number in range(3):
        flights.publish([(number, "a")])
    replicator.tick()
    assert not list((flights.folder / "_FilesReadyToDelete").iterdir())


def test_a_clean_up_that_recreates_a_deleted_folder_is_no_table(lake: OneLake, item: Path) -> None:
    replicator = follow(lake)
    (item / "Files/LandingZone/dbo.schema/flights/_FilesReadyToDelete").mkdir(parents=True)
    assert not replicator.tick().changed
    assert replicator.states() == []


def test_the_status_api_answers_for_several_mirrors(tmp_path: Path) -> None:
    replicators = {}
    for name in ("first", "second"):
        item = tmp_path / name
        Publisher(item, name).begin().publish([(1, "a")])
        replicators["workspace", name] = Replicator.on_disk(item, in_memory=True)
        replicators["workspace", name].tick()
    Publisher(tmp_path / "second", "broken").begin(keys=[]).publish([(1, "a")], [4])
    replicators["workspace", "second"].tick()
    with StatusServer(replicators, page_size=1) as server, httpx.Client(base_url=server.url) as client:
        path = "/v1/workspaces/workspace/mirroredDatabases/{}/{}"
        key = {"Authorization": f"Bearer {server.key}"}
        assert client.post(path.format("first", "getMirroringStatus")).json() == {"status": "Running"}
        page = client.post(path.format("second", "getTablesMirroringStatus")).json()
        failed = page["data"][0]
        assert (failed["sourceTableName"], failed["status"]) == ("broken", "Failed")
        assert "MARKER_WITHOUT_KEYS" in failed["error"]["message"]
        page = client.post(page["continuationUri"]).json()
        table = page["data"][0]
        assert "continuationToken" not in page
        assert (table["sourceObjectType"], table["sourceSchemaName"], table["status"]) == (
            "Table",
            "dbo",
            "Replicating",
        )
        assert table["metrics"]["processedRows"] == 1
        for name in ("Host", "Origin"):  # a page, also one whose name has come to lead here
            page_headers = {"Host": "evil.example.com", name: "http://evil.example.com", **key}
            for action in ("getMirroringStatus", "stopMirroring"):
                assert client.post(path.format("first", action), headers=page_headers).status_code in (400, 403)
        assert (
            client.post(
                path.format("first", "getMirroringStatus"), headers={"Sec-Fetch-Site": "cross-site"}
            ).status_code
            == 403
        )
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}):
            assert client.post(path.format("first", "stopMirroring"), headers=headers).status_code == 401
        assert replicators["workspace", "first"].status() == "Running"
        assert client.post(path.format("first", "stopMirroring"), headers=key).status_code == 200
        assert client.post(path.format("first", "getMirroringStatus")).json() == {"status": "Stopped"}
        assert replicators["workspace", "second"].status() == "Running"
        assert client.post(path.format("first", "startMirroring")).status_code == 401
        assert client.post(path.format("first", "startMirroring"), headers=key).status_code == 200
        assert client.post(path.format("third", "getMirroringStatus")).status_code == 404
        assert client.post("/v1/other").json()["errorCode"] == "EndpointNotFound"
        server.throttle(1, retry_after_seconds=7)
        throttled = client.post(path.format("first", "getMirroringStatus"))
        assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "7")
        assert client.post(path.format("first", "getMirroringStatus")).status_code == 200


def test_the_command_serves_until_it_is_told_to_end(lake: OneLake, item: Path, tmp_path: Path) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    command = [sys.executable, "-m", "devcloud.replicator", "--account-url", lake.url, "--filesystem", WORKSPACE]
    command += ["--item", ITEM, "--account-name", lake.account_name, "--account-key", lake.account_key]
    command += ["--tables", str(tmp_path / "tables"), "--interval", "0.05", "--status-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("mirroring status: ").strip()
        deadline = time.monotonic() + 60
        tables: list[dict[str, str]] = []
        while not tables and time.monotonic() < deadline:
            tables = loopback.post(f"{address}/getTablesMirroringStatus", timeout=30).json()["data"]
            time.sleep(0.05)
        assert tables[0]["status"] in ("Snapshotting", "Replicating")
        lines = iter(process.stdout)
        assert any(line.startswith("applied dbo.flights") for line in lines)
        os.kill(process.pid, signal.SIGTERM)
        process.communicate()
    assert process.returncode == 0
    assert pl.read_delta(str(tmp_path / "tables/dbo/flights")).rows() == [(1, "a")]


def test_the_check_command_tells_errors_by_its_exit_code(
    lake: OneLake, item: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--account-url", lake.url, "--filesystem", WORKSPACE, "--item", ITEM]
    where += ["--account-name", lake.account_name, "--account-key", lake.account_key]
    flights = Publisher(item, "journal", "__hygge").begin()
    flights.publish([(1, "a")])
    assert main(["check", *where]) == 0
    assert main(["check", *where, "--strict"]) == 1
    flights.publish([(3, "c")], name=flights.name(3))
    assert main(["check", "--directory", str(item)]) == 1
    assert main(["check", "--directory", str(item / "nowhere")]) == 2
    printed = capsys.readouterr().out
    assert "error GAP Files/LandingZone/__hygge.schema/journal/00000000000000000003.parquet" in printed
    assert printed.endswith("1 errors, 1 warnings\n")


def test_partner_events_are_checked(item: Path) -> None:
    Publisher(item).begin().publish([(1, "a")])
    events = item / "Files/LandingZone/_partnerEvents.json"
    events.write_text(json.dumps({"partnerName": "hygge", "sourceInfo": {"sourceType": "SQL Server"}}))
    assert check_landing_zone(item) == []
    events.write_text(json.dumps({"sourceInfo": {}}))
    assert codes(check_landing_zone(item)) == ["PARTNER_EVENTS_JSON"]


def test_several_tables_in_several_schemas_over_rest(lake: OneLake, item: Path) -> None:
    names = [TableName("dbo", "planes"), TableName("sales", "flights"), TableName("sales", "planes")]
    for name in names:
        Publisher(item, name.table, name.schema).begin().publish([(1, str(name))])
    replicator = follow(lake)
    replicator.tick()
    assert replicator.tables() == names
    for name in names:
        assert rows_of(replicator, name) == [(1, str(name))]
