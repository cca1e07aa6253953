"""The OneLake emulator as the Azure Blob SDK uses it: conditional writes, blocks, listings, leases."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobLeaseClient, BlobServiceClient, ContentSettings

from devcloud.onelake import OneLake
from tests.integration.onelake_clients import FILES, ITEM, WORKSPACE, Clients, connect, refusal


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[OneLake]:
    with OneLake(tmp_path / "lake") as server:
        server.create_workspace(WORKSPACE)
        server.create_item(WORKSPACE, ITEM)
        yield server


@pytest.fixture
def clients(lake: OneLake) -> Iterator[Clients]:
    with connect(lake) as connected:
        yield connected


def test_a_state_document_is_replaced_conditionally(clients: Clients) -> None:
    blob = clients.blobs.get_blob_client(f"{FILES}/.hygge_journal/state.json")
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"{0}", overwrite=True, etag='"0x1"', match_condition=MatchConditions.IfNotModified)
    assert refusal(refused.value) == (412, "ConditionNotMet")
    first = blob.upload_blob(b"{1}")["etag"]
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"{2}")
    assert refusal(refused.value) == (409, "BlobAlreadyExists")
    second = blob.upload_blob(b"{2}", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified)["etag"]
    assert second != first
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"{3}", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified)
    assert refusal(refused.value) == (412, "ConditionNotMet")
    assert blob.download_blob().readall() == b"{2}"


def test_conditions_on_dates(clients: Clients) -> None:
    blob = clients.blobs.get_blob_client(f"{FILES}/blob")
    blob.upload_blob(b"data")
    past, future = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"new", overwrite=True, if_unmodified_since=past)
    assert refusal(refused.value) == (412, "ConditionNotMet")
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"new", overwrite=True, if_modified_since=future)
    assert refusal(refused.value) == (412, "ConditionNotMet")
    with pytest.raises(HttpResponseError) as refused:
        blob.delete_blob(if_unmodified_since=past)
    assert refusal(refused.value) == (412, "ConditionNotMet")
    with pytest.raises(HttpResponseError) as refused:
        blob.download_blob(if_modified_since=future)
    assert refusal(refused.value) == (304, "ConditionNotMet")
    blob.upload_blob(b"new", overwrite=True, if_unmodified_since=future, if_modified_since=past)
    assert blob.download_blob(if_modified_since=past).readall() == b"new"


def test_conditional_reads_and_deletes(clients: Clients) -> None:
    etag = clients.write(f"{FILES}/blob")
    path = f"{FILES}/blob"
    assert clients.request("GET", path, If_None_Match=etag).status_code == 304
    assert clients.request("HEAD", path, If_None_Match=etag).status_code == 304
    assert clients.request("GET", path, If_Match='"0x1"').status_code == 412
    assert clients.request("GET", path, If_Match=etag).content == b"data"
    assert clients.request("DELETE", path, If_Match='"0x1"').status_code == 412
    assert clients.request("DELETE", path, If_Match=etag).status_code == 202
    missing = clients.request("GET", path)
    assert (missing.status_code, missing.headers["x-ms-error-code"]) == (404, "BlobNotFound")
    assert "<Code>BlobNotFound</Code>" in missing.text


def test_blocks_stay_unseen_until_their_list_is_put(lake: OneLake, clients: Clients) -> None:
    blob = clients.blobs.get_blob_client(f"{FILES}/new/blocks")
    for name in ("a", "b", "c"):
        blob.stage_block(name, name.encode() * 3)
    assert not blob.exists()
    assert not lake.path(WORKSPACE, FILES, "new").exists()
    blob.commit_block_list([BlobBlock("c"), BlobBlock("a")])
    assert blob.download_blob().readall() == b"cccaaa"
    blob.stage_block("d", b"ddd")
    committed, uncommitted = blob.get_block_list("all")
    assert [block.id for block in committed] == ["c", "a"]
    assert [block.id for block in uncommitted] == ["d"]
    blob.commit_block_list([BlobBlock("a"), BlobBlock("d"), BlobBlock("c")])
    assert blob.download_blob().readall() == b"aaadddccc"
    with pytest.raises(HttpResponseError) as refused:
        blob.commit_block_list([BlobBlock("b")])
    assert refusal(refused.value) == (400, "InvalidBlockList")
    blob.stage_block("e", b"eee")
    with pytest.raises(HttpResponseError) as refused:
        blob.commit_block_list([BlobBlock("e")], match_condition=MatchConditions.IfMissing)
    assert refusal(refused.value) == (409, "BlobAlreadyExists")
    clients.write(f"{FILES}/new/blocks", b"whole")
    with pytest.raises(HttpResponseError) as refused:
        blob.commit_block_list([BlobBlock("a")])
    assert refusal(refused.value) == (400, "InvalidBlockList")


def test_the_sdk_uploads_in_blocks_and_downloads_in_ranges(lake: OneLake) -> None:
    options: dict[str, Any] = {
        "max_single_put_size": 1 << 16,
        "max_block_size": 1 << 16,
        "max_single_get_size": 1 << 16,
    }
    data = bytes(range(256)) * 1500
    with BlobServiceClient(lake.url, lake.credential, **options) as service:
        blob = service.get_blob_client(WORKSPACE, f"{FILES}/large")
        blob.upload_blob(data, max_concurrency=4)
        assert blob.download_blob(max_concurrency=4).readall() == data
        blob.upload_blob(data[::-1], overwrite=True)
        assert lake.path(WORKSPACE, FILES, "large").read_bytes() == data[::-1]


def test_listings_flat_and_by_hierarchy(clients: Clients) -> None:
    names = [f"{FILES}/{name}" for name in ("a&b/1", "a&b/2", "ab", "b/1", "c")]
    for name in names:
        clients.write(name)
    pages = [
        [blob.name for blob in page] for page in clients.blobs.list_blobs(f"{FILES}/a", results_per_page=2).by_page()
    ]
    assert pages == [[f"{FILES}/a&b", f"{FILES}/a&b/1"], [f"{FILES}/a&b/2", f"{FILES}/ab"]]
    walked = [entry.name for entry in clients.blobs.walk_blobs(f"{FILES}/", delimiter="/", results_per_page=2)]
    assert walked == [f"{FILES}/a&b/", f"{FILES}/ab", f"{FILES}/b/", f"{FILES}/c"]
    listed = {blob.name: blob for blob in clients.blobs.list_blobs(f"{FILES}/", include=["metadata"])}
    assert listed[f"{FILES}/b"].metadata == {"hdi_isfolder": "true"}
    assert listed[f"{FILES}/c"].size == 4
    assert listed[f"{FILES}/c"].etag == clients.blobs.get_blob_client(f"{FILES}/c").get_blob_properties().etag.strip(
        '"'
    )
    assert list(clients.blobs.list_blobs(f"{FILES}/nothing")) == []


def test_content_is_verified_and_described(clients: Clients) -> None:
    blob = clients.blobs.get_blob_client(f"{FILES}/blob")
    settings = ContentSettings(content_type="application/json", cache_control="no-store")
    blob.upload_blob(b"{}", validate_content="md5", content_settings=settings, metadata={"origin": "test"})
    properties = blob.get_blob_properties()
    assert properties.content_settings.content_type == "application/json"
    assert properties.content_settings.cache_control == "no-store"
    assert properties.content_settings.content_md5 is not None
    assert properties.metadata == {"origin": "test"}
    wrong = clients.request("PUT", f"{FILES}/blob", b"{}", x_ms_blob_type="BlockBlob", Content_MD5="AAAA")
    assert (wrong.status_code, wrong.headers["x-ms-error-code"]) == (400, "Md5Mismatch")
    blob.upload_blob(b"{}", overwrite=True)
    assert blob.get_blob_properties().metadata == {}


def test_a_lease_keeps_others_out(lake: OneLake, clients: Clients) -> None:
    clients.write(f"{FILES}/blob")
    blob = clients.blobs.get_blob_client(f"{FILES}/blob")
    lease = blob.acquire_lease(15)
    with pytest.raises(HttpResponseError) as refused:
        blob.acquire_lease(15)
    assert refusal(refused.value) == (409, "LeaseAlreadyPresent")
    for attempt in (
        lambda: blob.upload_blob(b"x", overwrite=True),
        lambda: blob.delete_blob(),
        lambda: clients.files.get_file_client(f"{FILES}/blob").append_data(b"x", 4),
        lambda: clients.files.get_file_client(f"{FILES}/blob").create_file(),
        lambda: clients.files.get_file_client(f"{FILES}/blob").rename_file(f"{WORKSPACE}/{FILES}/other"),
    ):
        with pytest.raises(HttpResponseError) as refused:
            attempt()
        assert refusal(refused.value) == (412, "LeaseIdMissing")
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"x", overwrite=True, lease=BlobLeaseClient(blob))
    assert refusal(refused.value) == (412, "LeaseIdMismatchWithBlobOperation")
    assert blob.download_blob().readall() == b"data"
    blob.upload_blob(b"mine", overwrite=True, lease=lease)
    assert blob.get_blob_properties().lease.state == "leased"
    lake.clock.offset_seconds = 10
    lease.renew()
    lake.clock.offset_seconds = 20
    assert blob.get_blob_properties().lease.state == "leased"
    lake.clock.offset_seconds = 30
    assert blob.get_blob_properties().lease.state == "expired"
    blob.upload_blob(b"free", overwrite=True)


def test_leases_end_by_release_and_break(lake: OneLake, clients: Clients) -> None:
    clients.write(f"{FILES}/blob")
    blob = clients.blobs.get_blob_client(f"{FILES}/blob")
    lease = blob.acquire_lease()
    changed = str(uuid.uuid4())
    lease.change(changed)
    lease.release()
    with pytest.raises(HttpResponseError) as refused:
        BlobLeaseClient(blob, changed).renew()
    assert refusal(refused.value) == (409, "LeaseNotPresentWithLeaseOperation")
    lease = blob.acquire_lease()
    assert lease.break_lease(20) == 20
    with pytest.raises(HttpResponseError) as refused:
        blob.acquire_lease()
    assert refusal(refused.value) == (409, "LeaseIsBreakingAndCannotBeAcquired")
    lake.clock.offset_seconds = 21
    assert blob.get_blob_properties().lease.state == "broken"
    with pytest.raises(HttpResponseError) as refused:
        lease.renew()
    assert refusal(refused.value) == (409, "LeaseIsBrokenAndCannotBeRenewed")
    blob.upload_blob(b"free", overwrite=True)
    assert blob.acquire_lease(60).id != lease.id


def test_directories_are_not_blobs(clients: Clients) -> None:
    clients.write(f"{FILES}/folder/file")
    refused = clients.request("PUT", f"{FILES}/folder", b"x", x_ms_blob_type="BlockBlob")
    assert (refused.status_code, refused.headers["x-ms-error-code"]) == (409, "PathConflict")
    refused = clients.request("PUT", f"{FILES}/folder/file/below", b"x", x_ms_blob_type="BlockBlob")
    assert (refused.status_code, refused.headers["x-ms-error-code"]) == (409, "PathConflict")
    refused = clients.request("DELETE", f"{FILES}/folder")
    assert (refused.status_code, refused.headers["x-ms-error-code"]) == (409, "DirectoryIsNotEmpty")
    assert clients.request("HEAD", f"{FILES}/folder").headers["x-ms-meta-hdi_isfolder"] == "true"


def test_what_is_not_implemented_says_so(clients: Clients) -> None:
    for query in ("?comp=snapshot", "?comp=tier", "?comp=appendblock"):
        answer = clients.request("PUT", f"{FILES}/blob{query}")
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == (501, "NotImplemented")
