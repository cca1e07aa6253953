"""Deliberate faults of the OneLake emulator, its operations log and its callbacks, from Python and over HTTP."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

from devcloud.onelake import DropConnection, OneLake, Operation
from tests.integration.onelake_clients import FILES, ITEM, WORKSPACE, Clients, connect, refusal


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[OneLake]:
    with OneLake(tmp_path / "lake", operations_file=tmp_path / "operations.jsonl") as server:
        server.create_workspace(WORKSPACE)
        server.create_item(WORKSPACE, ITEM)
        yield server


@pytest.fixture
def clients(lake: OneLake) -> Iterator[Clients]:
    with connect(lake) as connected:
        yield connected


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, None, "TooManyRequests"),
        (430, "CapacityLimitExceeded", "CapacityLimitExceeded"),
        (500, None, "InternalError"),
        (503, "ServerBusy", "ServerBusy"),
        (401, None, "InvalidAuthenticationInfo"),
        (409, "PathConflict", "PathConflict"),
        (None, "OperationTimedOut", "OperationTimedOut"),
    ],
)
def test_an_answer_before_or_after_the_operation(
    lake: OneLake, clients: Clients, status: int | None, code: str | None, expected: str
) -> None:
    file = clients.files.get_file_client(f"{FILES}/file")
    lake.faults.add(verb="create", status=status, code=code, retry_after=7)
    answer = clients.request("PUT", f"{FILES}/file?resource=file")
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (status or 500, expected)
    assert answer.headers["Retry-After"] == "7"
    assert not file.exists()
    lake.faults.add(verb="create", status=status, code=code, when="after")
    with pytest.raises(HttpResponseError) as refused:
        file.create_file()
    assert refusal(refused.value) == (status or 500, expected)
    assert file.exists()
    failed = lake.operations.select(verb="create")
    assert [(operation.status, operation.error_code, operation.done) for operation in failed] == [
        (status or 500, expected, False),
        (status or 500, expected, True),
    ]


def test_a_dropped_connection_before_during_and_after(lake: OneLake, clients: Clients) -> None:
    for when, takes_effect in (("before", False), ("during", False), ("after", True)):
        lake.faults.add(verb="put_blob", drop=True, when=when)
        with pytest.raises(httpx.TransportError):
            clients.request("PUT", f"{FILES}/{when}", bytes(2_000_000), x_ms_blob_type="BlockBlob")
        assert lake.path(WORKSPACE, FILES, when).exists() == takes_effect
        assert lake.operations.select(verb="put_blob")[-1].done == takes_effect
    assert not list((lake.root / ".devcloud" / "staged").iterdir())


def test_a_download_breaks_off_in_the_middle(lake: OneLake, clients: Clients) -> None:
    clients.write(f"{FILES}/file", bytes(1_000_000))
    lake.faults.add(verb="read", drop=True, when="during")
    with pytest.raises(httpx.RemoteProtocolError):
        clients.request("GET", f"{FILES}/file")
    assert clients.request("GET", f"{FILES}/file").content == bytes(1_000_000)


def test_rules_choose_their_operations(lake: OneLake, clients: Clients) -> None:
    rule = lake.faults.add(verb="put_blob", path=r"/Files/[ab]$", nth=2, times=2, status=500)
    answers = [clients.request("PUT", f"{FILES}/{name}", b"x", x_ms_blob_type="BlockBlob") for name in "cabcaba"]
    assert [answer.status_code for answer in answers] == [201, 201, 500, 201, 500, 201, 201]
    assert (rule.matched, rule.applied) == (5, 2)
    lake.faults.remove(rule.id)
    lake.faults.add(method="DELETE", status=500, times=None)
    assert [clients.request("DELETE", f"{FILES}/a").status_code for _ in range(3)] == [500, 500, 500]
    assert clients.request("GET", f"{FILES}/a").status_code == 200
    lake.faults.clear()
    assert clients.request("DELETE", f"{FILES}/a").status_code == 202


def test_chance_is_repeatable(lake: OneLake, clients: Clients) -> None:
    def statuses() -> list[int]:
        lake.faults.clear()
        lake.faults.add(verb="head", status=503, probability=0.5, seed=11, times=None)
        return [clients.request("HEAD", FILES).status_code for _ in range(20)]

    first = statuses()
    assert set(first) == {200, 503}
    assert statuses() == first


def test_mutating_operations_are_counted_as_such(lake: OneLake, clients: Clients) -> None:
    clients.files.get_file_client(f"{FILES}/file").upload_data(b"data", overwrite=True)
    clients.files.get_file_client(f"{FILES}/file").exists()
    mutating = [operation.verb for operation in lake.operations.select(mutating=True)]
    assert mutating == ["create", "append", "flush"]
    lake.faults.add(mutating=True, nth=2, drop=True)
    with pytest.raises((ServiceResponseError, ServiceRequestError)):
        clients.files.get_file_client(f"{FILES}/other").upload_data(b"data", overwrite=True)
    assert lake.operations.select(mutating=True)[-1].verb == "append"


def test_slow_and_delayed(lake: OneLake, clients: Clients) -> None:
    clients.write(f"{FILES}/file", bytes(30_000))
    lake.faults.add(verb="read", bytes_per_second=100_000)
    started = time.monotonic()
    assert clients.request("GET", f"{FILES}/file").content == bytes(30_000)
    assert time.monotonic() - started >= 0.25
    lake.faults.add(verb="head", delay_seconds=0.2)
    started = time.monotonic()
    clients.request("HEAD", f"{FILES}/file")
    assert time.monotonic() - started >= 0.2


def test_a_contradictory_rule_is_refused(lake: OneLake) -> None:
    with pytest.raises(ValueError, match="either"):
        lake.faults.add(drop=True, status=500)
    with pytest.raises(ValueError, match="during"):
        lake.faults.add(status=500, when="during")
    with pytest.raises(TypeError):
        lake.faults.add(verbs="create")
    assert lake.faults.all() == []


def test_callbacks_run_around_every_mutating_operation(lake: OneLake, clients: Clients) -> None:
    seen: list[tuple[str, str, bool]] = []

    def look(operation: Operation, phase: str) -> None:
        seen.append((operation.verb, phase, lake.path(WORKSPACE, FILES, "file").exists()))

    end = lake.on_operation(look)
    clients.write(f"{FILES}/file")
    clients.request("GET", f"{FILES}/file")
    clients.request("DELETE", f"{FILES}/file")
    end()
    clients.write(f"{FILES}/file")
    assert seen == [
        ("put_blob", "before", False),
        ("put_blob", "after", True),
        ("delete", "before", True),
        ("delete", "after", False),
    ]


def test_a_callback_may_use_the_service_and_cut_the_connection(lake: OneLake, clients: Clients) -> None:
    phase_to_cut = "before"

    def cut(operation: Operation, phase: str) -> None:
        assert clients.request("HEAD", FILES).status_code == 200
        if phase == phase_to_cut:
            raise DropConnection

    lake.on_operation(cut)
    with connect(lake) as other:
        with pytest.raises(httpx.TransportError):
            other.write(f"{FILES}/file")
        assert not lake.path(WORKSPACE, FILES, "file").exists()
        phase_to_cut = "after"
        with pytest.raises(httpx.TransportError):
            other.write(f"{FILES}/file")
    assert lake.path(WORKSPACE, FILES, "file").exists()
    assert [(operation.status, operation.done) for operation in lake.operations.select(verb="put_blob")] == [
        (0, False),
        (0, True),
    ]


def test_the_log_tells_what_happened(lake: OneLake, clients: Clients, tmp_path: Path) -> None:
    clients.request("PUT", f"{FILES}/file", b"12345", x_ms_blob_type="BlockBlob", x_ms_client_request_id="mine")
    clients.request("GET", f"{FILES}/file")
    clients.request("GET", f"{FILES}/missing")
    put, read, missing = lake.operations.select()
    assert (put.ordinal, put.verb, put.path, put.status) == (1, "put_blob", f"{WORKSPACE}/{FILES}/file", 201)
    assert (put.bytes_in, put.client_request_id, put.mutating, put.done) == (5, "mine", True, True)
    assert (read.verb, read.bytes_out, read.mutating) == ("read", 5, False)
    assert (missing.status, missing.error_code, missing.done) == (404, "BlobNotFound", False)
    lines = [json.loads(line) for line in (tmp_path / "operations.jsonl").read_text().splitlines()]
    assert lines == [operation.as_json() for operation in (put, read, missing)]


def test_everything_is_in_reach_over_http(lake: OneLake, clients: Clients) -> None:
    http = clients.http
    assert http.get("/devcloud/faults").status_code == 401
    for key in (b"wrong", "schl\u00fcssel".encode(), b""):
        assert http.get("/devcloud/faults", headers=[(b"x-devcloud-key", key)]).status_code == 401
    http.headers["x-devcloud-key"] = lake.account_key
    foreign = {"Origin": "https://evil.example.com"}
    assert http.post("/devcloud/clock", headers=foreign, json={"offset_seconds": 1}).status_code == 403
    assert http.post("/devcloud/clock", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    rule = http.post("/devcloud/faults", json={"verb": "delete", "code": "ServerBusy", "times": None})
    assert (rule.status_code, rule.json()["status"]) == (201, 503)
    clients.write(f"{FILES}/file")
    assert clients.request("DELETE", f"{FILES}/file").status_code == 503
    assert [fault["applied"] for fault in http.get("/devcloud/faults").json()["faults"]] == [1]
    http.delete(f"/devcloud/faults/{rule.json()['id']}")
    assert clients.request("DELETE", f"{FILES}/file").status_code == 202
    operations = http.get("/devcloud/operations", params={"verb": "delete", "mutating": "true"}).json()["operations"]
    assert [operation["status"] for operation in operations] == [503, 202]
    later = http.get("/devcloud/operations", params={"after": str(operations[0]["ordinal"])}).json()["operations"]
    assert [operation["ordinal"] for operation in later] == [operations[1]["ordinal"]]
    http.delete("/devcloud/operations")
    assert len(lake.operations) == 0
    assert http.post("/devcloud/faults", json={"verbs": "delete"}).status_code == 400
    assert http.post("/devcloud/faults", content=b"no JSON").status_code == 400
    assert http.get("/devcloud/nothing").status_code == 404
    assert http.post("/devcloud/clock", json={"offset_seconds": 86400}).status_code == 204
    assert lake.clock.offset_seconds == 86400
    assert http.post("/devcloud/items", json={"workspace": "other", "item": "thing"}).status_code == 201
    assert lake.path("other", "thing", "Files").is_dir()
