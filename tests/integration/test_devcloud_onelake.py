"""The OneLake emulator as the Azure Data Lake SDK uses it: files, directories, rename, listings, in both modes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import duckdb
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from devcloud.onelake import OneLake
from devcloud.onelake.behaviour import Mode
from tests.integration.onelake_clients import FILES, ITEM, WORKSPACE, Clients, connect, refusal


@pytest.fixture(params=["onelake", "adls"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OneLake]:
    mode: Mode = request.param
    with OneLake(tmp_path / "lake", mode=mode) as server:
        if mode == "onelake":
            server.create_workspace(WORKSPACE)
            server.create_item(WORKSPACE, ITEM)
        else:
            with connect(server) as clients:
                clients.files.create_file_system()
                clients.files.create_directory(FILES)
        yield server


@pytest.fixture
def clients(lake: OneLake) -> Iterator[Clients]:
    with connect(lake) as connected:
        yield connected


def test_a_file_is_created_appended_flushed_and_read(lake: OneLake, clients: Clients) -> None:
    file = clients.files.get_file_client(f"{FILES}/a/b/file.bin")
    file.create_file()
    file.append_data(b"hello ", 0)
    file.append_data(b"world", 6)
    assert file.get_file_properties().size == 0
    assert lake.path(WORKSPACE, FILES, "a/b/file.bin").read_bytes() == b""
    file.flush_data(11)
    assert file.download_file().readall() == b"hello world"
    assert file.download_file(offset=6, length=3).readall() == b"wor"
    assert lake.path(WORKSPACE, FILES, "a/b/file.bin").read_bytes() == b"hello world"
    file.append_data(b"!", 11, flush=True)
    assert file.download_file().readall() == b"hello world!"
    assert clients.files.get_directory_client(f"{FILES}/a").exists()


def test_creating_truncates(clients: Clients) -> None:
    clients.write(f"{FILES}/file", b"long contents")
    file = clients.files.get_file_client(f"{FILES}/file")
    before = file.get_file_properties().etag
    file.create_file()
    assert file.get_file_properties().size == 0
    assert file.get_file_properties().etag != before


def test_upload_data_replaces_and_refuses(clients: Clients) -> None:
    file = clients.files.get_file_client(f"{FILES}/file")
    file.upload_data(b"one" * 1000, overwrite=True)
    file.upload_data(b"two", overwrite=True)
    assert file.download_file().readall() == b"two"
    with pytest.raises(HttpResponseError) as refused:
        file.upload_data(b"three")
    assert refusal(refused.value) == (412, "ConditionNotMet")
    with pytest.raises(HttpResponseError) as refused:
        clients.files.get_file_client(f"{FILES}/new").upload_data(b"three")
    assert refusal(refused.value) == (404, "PathNotFound")


def test_flush_demands_contiguous_data_of_the_right_length(clients: Clients) -> None:
    file = clients.files.get_file_client(f"{FILES}/file")
    file.create_file()
    file.append_data(b"12345", 0)
    file.append_data(b"890", 7)
    for position in (4, 7, 10, 11):
        with pytest.raises(HttpResponseError) as refused:
            file.flush_data(position)
        assert refusal(refused.value) == (400, "InvalidFlushPosition")
    file.append_data(b"67", 5)
    file.flush_data(10)
    assert file.download_file().readall() == b"1234567890"
    file.append_data(b"x", 3)
    file.append_data(b"!", 10)
    file.flush_data(11)
    assert file.download_file().readall() == b"1234567890!"


def test_an_append_that_could_not_be_flushed_is_kept(clients: Clients) -> None:
    file = clients.files.get_file_client(f"{FILES}/file")
    file.create_file()
    with pytest.raises(HttpResponseError) as refused:
        file.append_data(b"world", 6, flush=True)
    assert refusal(refused.value) == (400, "InvalidFlushPosition")
    file.append_data(b"hello ", 0)
    file.flush_data(11)
    assert file.download_file().readall() == b"hello world"


def test_uncommitted_data_is_dropped_unless_retained(clients: Clients) -> None:
    file = clients.files.get_file_client(f"{FILES}/file")
    file.create_file()
    file.append_data(b"abc", 0)
    file.append_data(b"def", 3)
    file.flush_data(3, retain_uncommitted_data=True)
    file.flush_data(6)
    assert file.download_file().readall() == b"abcdef"
    file.append_data(b"ghi", 6)
    file.append_data(b"jkl", 9)
    file.flush_data(9)
    with pytest.raises(HttpResponseError) as refused:
        file.flush_data(12)
    assert refusal(refused.value) == (400, "InvalidFlushPosition")


def test_an_append_whose_answer_was_lost_may_be_repeated(clients: Clients) -> None:
    file = clients.files.get_file_client(f"{FILES}/file")
    file.create_file()
    for _ in range(2):
        file.append_data(b"once", 0)
    file.flush_data(4)
    assert file.download_file().readall() == b"once"


def test_a_file_is_published_once_by_a_conditional_rename(lake: OneLake, clients: Clients) -> None:
    name = f"{FILES}/LandingZone/00000000000000000001.parquet"
    clients.files.create_directory(f"{FILES}/LandingZone")
    staged = clients.files.get_file_client(f"{FILES}/staging/it's 100% «ready» + more=~(1).parquet")
    staged.upload_data(b"first", overwrite=True)
    before = staged.get_file_properties()
    published = staged.rename_file(f"{WORKSPACE}/{name}", match_condition=MatchConditions.IfMissing)
    after = published.get_file_properties()
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)
    assert not staged.exists()
    second = clients.files.get_file_client(f"{FILES}/staging/second")
    second.upload_data(b"second", overwrite=True)
    with pytest.raises(HttpResponseError) as refused:
        second.rename_file(f"{WORKSPACE}/{name}", match_condition=MatchConditions.IfMissing)
    assert refusal(refused.value) == (409, "PathAlreadyExists")
    lake.behaviour.conditional_rename_status = 412
    with pytest.raises(HttpResponseError) as refused:
        second.rename_file(f"{WORKSPACE}/{name}", match_condition=MatchConditions.IfMissing)
    assert refusal(refused.value) == (412, "ConditionNotMet")
    assert published.download_file().readall() == b"first"
    lake.behaviour.rename_keeps_etag = False
    before = second.get_file_properties()
    assert second.rename_file(f"{WORKSPACE}/{name}").get_file_properties().etag != before.etag
    assert published.download_file().readall() == b"second"


@pytest.mark.parametrize(
    "source",
    [
        f"/{WORKSPACE}/{FILES}/some%20source",
        f"/{WORKSPACE}/{FILES}/some source",
        f"{WORKSPACE}/{FILES}/some%20source",
        f"https://onelake.dfs.fabric.microsoft.com/{WORKSPACE}/{FILES}/some%20source",
        f"https://onelake.dfs.fabric.microsoft.com/{WORKSPACE}/{FILES}/some%20source?resource=file",
    ],
)
def test_every_form_of_a_rename_source_is_understood(clients: Clients, source: str) -> None:
    clients.write(f"{FILES}/some source", b"data")
    renamed = clients.request("PUT", f"{FILES}/target?mode=legacy", x_ms_rename_source=source)
    assert renamed.status_code == 201
    assert clients.request("GET", f"{FILES}/target").content == b"data"


def test_what_a_rename_refuses(clients: Clients) -> None:
    clients.write(f"{FILES}/source")
    clients.write(f"{FILES}/folder/child")
    clients.files.create_directory(f"{FILES}/empty")
    source = f"/{WORKSPACE}/{FILES}/source"
    folder = f"/{WORKSPACE}/{FILES}/folder"
    for destination, headers, expected in [
        ("target", {"x_ms_rename_source": source + "-missing"}, (404, "SourcePathNotFound")),
        ("missing/target", {"x_ms_rename_source": source}, (404, "RenameDestinationParentPathNotFound")),
        ("source/target", {"x_ms_rename_source": folder}, (409, "InvalidDestinationPath")),
        ("target", {"x_ms_rename_source": source, "x_ms_source_if_match": '"0x1"'}, (412, "SourceConditionNotMet")),
        ("target", {"x_ms_rename_source": source, "If_Match": '"0x1"'}, (412, "ConditionNotMet")),
        ("empty", {"x_ms_rename_source": source}, (409, "InvalidSourceOrDestinationResourceType")),
        ("folder", {"x_ms_rename_source": f"/{WORKSPACE}/{FILES}/empty"}, (409, "DirectoryNotEmpty")),
        ("folder/below", {"x_ms_rename_source": folder}, (409, "InvalidRenameSourcePath")),
        ("target", {"x_ms_rename_source": "/"}, (400, "InvalidSourceUri")),
    ]:
        answer = clients.request("PUT", f"{FILES}/{destination}", None, **headers)
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == expected, destination
        assert answer.json()["error"]["code"] == expected[1]
    assert clients.request("GET", f"{FILES}/source").content == b"data"


def test_a_folder_is_renamed_with_all_it_holds(clients: Clients) -> None:
    folder = clients.files.create_directory(f"{FILES}/old")
    clients.write(f"{FILES}/old/deep/file")
    etag = folder.get_directory_properties().etag
    renamed = folder.rename_directory(f"{WORKSPACE}/{FILES}/new")
    assert renamed.get_directory_properties().etag == etag
    assert clients.request("GET", f"{FILES}/new/deep/file").content == b"data"
    assert not folder.exists()


def test_a_folder_has_an_etag_of_its_own(lake: OneLake, clients: Clients) -> None:
    folder = clients.files.get_directory_client(f"{FILES}/table")
    folder.create_directory()
    etag = folder.get_directory_properties().etag
    clients.write(f"{FILES}/table/file")
    folder.create_directory()
    assert folder.get_directory_properties().etag == etag
    clients.request("DELETE", f"{FILES}/table/file")
    assert folder.get_directory_properties().etag == etag
    folder.delete_directory()
    folder.create_directory()
    again = folder.get_directory_properties().etag
    assert again != etag
    # A program deletes it on the disk and makes it again.
    lake.path(WORKSPACE, FILES, "table").rmdir()
    lake.path(WORKSPACE, FILES, "table").mkdir()
    assert folder.get_directory_properties().etag not in (etag, again)
    lake.behaviour.directory_create_changes_etag = True
    before = folder.get_directory_properties().etag
    folder.create_directory()
    assert folder.get_directory_properties().etag != before


def test_listings_are_paged_and_complete(clients: Clients) -> None:
    expected = {f"{FILES}/{folder}/{number}" for folder in ("a", "a-b", "b") for number in range(5)}
    for path in expected:
        clients.write(path)
    pages = [list(page) for page in clients.files.get_paths(FILES, max_results=4).by_page()]
    assert all(len(page) <= 4 for page in pages)
    found = [path for page in pages for path in page]
    assert {path.name for path in found if not path.is_directory} == expected
    assert {path.name for path in found if path.is_directory} == {f"{FILES}/{name}" for name in ("a", "a-b", "b")}
    flat = list(clients.files.get_paths(FILES, recursive=False))
    assert [(path.name, path.is_directory) for path in flat] == [(f"{FILES}/{n}", True) for n in ("a", "a-b", "b")]
    assert found[-1].etag == clients.files.get_file_client(found[-1].name).get_file_properties().etag.strip('"')
    assert found[-1].content_length == 4
    with pytest.raises(HttpResponseError) as refused:
        list(clients.files.get_paths(f"{FILES}/missing"))
    assert refusal(refused.value) == (404, "PathNotFound")


def test_a_listing_goes_on_where_it_was_although_files_go(lake: OneLake, clients: Clients) -> None:
    for number in range(6):
        clients.write(f"{FILES}/{number}")
    pages = clients.files.get_paths(FILES, max_results=2).by_page()
    seen = [path.name for path in next(pages)]
    for number in range(3):
        lake.path(WORKSPACE, FILES, str(number)).unlink()
    seen += [path.name for page in pages for path in page]
    assert seen == [f"{FILES}/{number}" for number in (0, 1, 3, 4, 5)]


def test_deleting(lake: OneLake, clients: Clients) -> None:
    for number in range(9):
        clients.write(f"{FILES}/folder/{number % 3}/{number}")
    refused = clients.request("DELETE", f"{FILES}/folder", Accept="application/json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "DirectoryNotEmpty")
    lake.behaviour.page_size = 4
    target, continuation, requests = f"{FILES}/folder?recursive=true&paginated=true", "", 0
    while True:
        answer = clients.request("DELETE", f"{target}&continuation={continuation}")
        assert answer.status_code == 200
        requests += 1
        continuation = answer.headers.get("x-ms-continuation", "")
        if not continuation:
            break
    assert requests > 1
    assert not lake.path(WORKSPACE, FILES, "folder").exists()
    clients.write(f"{FILES}/again/file")
    clients.files.get_directory_client(f"{FILES}/again").delete_directory()
    with pytest.raises(HttpResponseError) as refused_again:
        clients.files.get_file_client(f"{FILES}/again/file").delete_file()
    assert refusal(refused_again.value) == (404, "PathNotFound")


def test_disk_and_service_show_the_same(lake: OneLake, clients: Clients) -> None:
    file = lake.path(WORKSPACE, FILES, "direct.csv")
    file.write_text("a,b\n1,2\n")
    client = clients.files.get_file_client(f"{FILES}/direct.csv")
    assert client.download_file().readall() == b"a,b\n1,2\n"
    etag = client.get_file_properties().etag
    file.write_text("a,b\n1,2\n3,4\n")
    assert client.get_file_properties().etag != etag
    clients.write(f"{FILES}/uploaded.csv", b"a,b\n5,6\n7,8\n")
    pattern = str(lake.path(WORKSPACE, FILES, "*.csv"))
    with duckdb.connect() as database:
        assert database.execute("select sum(a) from read_csv(?)", [pattern]).fetchall() == [(16,)]


def test_dates_follow_the_service_clock(lake: OneLake, clients: Clients) -> None:
    lake.clock.offset_seconds = 3600
    file = clients.files.get_file_client(f"{FILES}/file")
    file.upload_data(b"x", overwrite=True)
    answered = parsedate_to_datetime(clients.request("HEAD", f"{FILES}/file").headers["Date"])
    for moment in (file.get_file_properties().last_modified, answered):
        assert timedelta(minutes=59) < moment - datetime.now(UTC) < timedelta(minutes=61)


def test_ranges(clients: Clients) -> None:
    clients.write(f"{FILES}/file", bytes(range(100)))
    for name in ("Range", "x-ms-range"):
        for text, expected in [("0-9", range(10)), ("90-", range(90, 100)), ("95-500", range(95, 100))]:
            answer = clients.request("GET", f"{FILES}/file", None, **{name: f"bytes={text}"})
            assert (answer.status_code, answer.content) == (206, bytes(expected))
            assert answer.headers["Content-Range"] == f"bytes {expected.start}-{expected.stop - 1}/100"
    answer = clients.request("GET", f"{FILES}/file", Range="bytes=100-")
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (416, "InvalidRange")
    answer = clients.request("HEAD", f"{FILES}/file")
    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "100", b"")
    clients.write(f"{FILES}/empty", b"")
    assert clients.files.get_file_client(f"{FILES}/empty").download_file().readall() == b""


def test_metadata_and_content_type_follow_the_file(clients: Clients) -> None:
    file = clients.files.get_file_client(f"{FILES}/file")
    file.create_file(metadata={"nonce": "1"})
    file.append_data(b"x", 0)
    file.flush_data(1)
    moved = file.rename_file(f"{WORKSPACE}/{FILES}/moved")
    etag = moved.get_file_properties().etag
    assert moved.get_file_properties().metadata == {"nonce": "1"}
    moved.set_metadata({"nonce": "2"})
    assert moved.get_file_properties().metadata == {"nonce": "2"}
    assert moved.get_file_properties().etag != etag
    moved.create_file()
    assert moved.get_file_properties().metadata == {}
