"""The OneLake emulator as a server: credentials, TLS, OneLake's prohibitions, restarts and kills, the command line."""

import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient
from azure.storage.filedatalake import DataLakeServiceClient

from devcloud.onelake import Behaviour, OneLake
from devcloud.onelake.behaviour import Mode
from tests.integration.onelake_clients import FILES, ITEM, WORKSPACE, Clients, connect, refusal
from tests.support import loopback


@contextmanager
def serve(root: Path, mode: Mode = "onelake", **options: object) -> Iterator[OneLake]:
    with OneLake(root, mode=mode, **options) as server:  # type: ignore[arg-type]
        server.create_workspace(WORKSPACE)
        server.create_item(WORKSPACE, ITEM)
        yield server


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[OneLake]:
    with serve(tmp_path) as server:
        yield server


@pytest.fixture
def clients(lake: OneLake) -> Iterator[Clients]:
    with connect(lake) as connected:
        yield connected


class Token:
    """A credential that hands out numbered tokens."""

    def __init__(self) -> None:
        self.issued = 0

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        assert scopes == ("https://storage.azure.com/.default",)
        self.issued += 1
        # Already expired: the SDK asks for a new one with every request.
        return AccessToken(f"token-{self.issued}", 0)


def test_a_wrong_key_or_account_is_refused(lake: OneLake) -> None:
    wrong_key = {"account_name": lake.account_name, "account_key": b64encode(b"wrong").decode()}
    wrong_name = {"account_name": "somebody", "account_key": lake.account_key}
    for credential in (wrong_key, wrong_name):
        with connect(lake, credential) as clients:
            with pytest.raises(ClientAuthenticationError) as refused:
                list(clients.files.get_paths(FILES))
            assert refusal(refused.value) == (403, "AuthenticationFailed")
    answer = loopback.get(f"{lake.url}/{WORKSPACE}/{FILES}")
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (401, "NoAuthenticationInformation")


def test_another_key_is_accepted_where_it_is_configured(tmp_path: Path) -> None:
    key = b64encode(os.urandom(64)).decode()
    with serve(tmp_path, account_name="mine", account_key=key) as lake, connect(lake) as clients:
        assert clients.files.get_directory_client(FILES).exists()


def test_sas_tokens(tmp_path: Path) -> None:
    token = "sv=2026-10-06&se=2099-01-01T00%3A00%3A00Z&sr=c&sp=rwdl&sig=abc%2Bdef%3D"
    with serve(tmp_path, sas_tokens=[token]) as lake:
        for account_url, credential in ((lake.url, token), (f"{lake.url}?{token}", None)):
            with DataLakeServiceClient(account_url, credential) as service:
                file = service.get_file_client(WORKSPACE, f"{FILES}/file")
                file.upload_data(b"x", overwrite=True)
                assert file.download_file().readall() == b"x"
        with DataLakeServiceClient(lake.url, token.replace("abc", "xyz")) as service:
            with pytest.raises(ClientAuthenticationError) as refused:
                service.get_file_client(WORKSPACE, f"{FILES}/file").create_file()
            assert refusal(refused.value) == (403, "AuthenticationFailed")
        lake.clock.offset_seconds = 100 * 365 * 86400
        with DataLakeServiceClient(lake.url, token) as service, pytest.raises(ClientAuthenticationError):
            service.get_file_client(WORKSPACE, f"{FILES}/file").create_file()


def test_token_credentials_over_tls(tmp_path: Path) -> None:
    with serve(tmp_path, tls=True) as lake:
        token = Token()
        with connect(lake, token, connection_verify=str(lake.ca_certificate)) as clients:
            file = clients.files.get_file_client(f"{FILES}/file")
            file.upload_data(b"secret", overwrite=True)
            renamed = file.rename_file(f"{WORKSPACE}/{FILES}/renamed")
            assert renamed.download_file().readall() == b"secret"
            clients.files.get_directory_client(FILES).get_sub_directory_client("none").create_directory()
            clients.files.get_directory_client(f"{FILES}/none").delete_directory()
        assert token.issued > 0
        assert lake.operations.select(path="none$")[-1].status == 200


def test_tokens_may_be_refused_and_may_expire(tmp_path: Path) -> None:
    behaviour = Behaviour(requests_per_bearer_token=2)
    with serve(tmp_path, bearer_tokens=["good", "better"], behaviour=behaviour) as lake:

        def head(token: str) -> httpx.Response:
            return loopback.head(f"{lake.url}/{WORKSPACE}/{FILES}", headers={"Authorization": f"Bearer {token}"})

        assert head("bad").status_code == 401
        assert [head("good").status_code for _ in range(3)] == [200, 200, 401]
        assert head("better").status_code == 200
        assert head("good").headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")


def test_onelake_manages_workspaces_and_items_itself(lake: OneLake, clients: Clients) -> None:
    clients.write(f"{FILES}/file")
    for attempt in (
        lambda: clients.service.create_file_system("another"),
        lambda: clients.files.delete_file_system(),
        lambda: clients.files.create_directory("another-item"),
        lambda: clients.files.create_directory(f"{ITEM}/Other"),
        lambda: clients.files.create_directory(f"{ITEM}/Other/below"),
        lambda: clients.files.get_file_client(f"{ITEM}/file").create_file(),
        lambda: clients.files.delete_directory(ITEM),
        lambda: clients.files.delete_directory(FILES),
        lambda: clients.files.get_directory_client(FILES).rename_directory(f"{WORKSPACE}/{ITEM}/Other"),
        lambda: clients.files.get_file_client(f"{FILES}/file").rename_file(f"{WORKSPACE}/{ITEM}/file"),
    ):
        with pytest.raises(HttpResponseError) as refused:
            attempt()
        assert refusal(refused.value) == (403, "OperationNotAllowed")
    with pytest.raises(HttpResponseError) as refused:
        clients.files.create_directory("another-item/Files/below")
    assert refusal(refused.value) == (404, "PathNotFound")
    with pytest.raises(HttpResponseError) as refused:
        clients.files.get_file_client(f"{FILES}/file").set_access_control(permissions="rwxrwxrwx")
    assert refusal(refused.value) == (400, "InvalidQueryParameterValue")
    assert clients.files.exists()
    assert [path.name for path in clients.files.get_paths(recursive=False)] == [ITEM]
    assert clients.request("GET", f"{FILES}/file").content == b"data"


def test_a_rename_stays_in_its_item(lake: OneLake, clients: Clients) -> None:
    lake.create_item(WORKSPACE, "another")
    clients.write(f"{FILES}/file")
    file = clients.files.get_file_client(f"{FILES}/file")
    with pytest.raises(HttpResponseError) as refused:
        file.rename_file(f"{WORKSPACE}/another/Files/file")
    assert refusal(refused.value) == (403, "OperationNotAllowed")
    lake.behaviour.cross_item_rename = True
    file.rename_file(f"{WORKSPACE}/another/Files/file")
    assert lake.path(WORKSPACE, "another", "Files", "file").read_bytes() == b"data"


def test_onelake_ignores_headers_hides_owners_and_refuses_trailing_slashes(clients: Clients) -> None:
    created = clients.request("PUT", f"{FILES}/file?resource=file", x_ms_permissions="0777", x_ms_owner="me")
    assert created.status_code == 201
    assert created.headers["x-ms-rejected-headers"] == "x-ms-owner,x-ms-permissions"
    access = clients.files.get_file_client(f"{FILES}/file").get_access_control()
    assert (access["owner"], access["permissions"]) == ("$superuser", "---------")
    probe = clients.request("HEAD", f"{FILES}/")
    assert (probe.status_code, probe.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")


def test_plain_filesystems_stand_beside_workspaces(lake: OneLake, clients: Clients) -> None:
    lake.create_filesystem("plain")
    plain = clients.service.get_file_system_client("plain")
    plain.create_directory("top")
    assert plain.get_directory_client("top/").exists()
    plain.get_directory_client("top").delete_directory()


def test_adls_filesystems_come_and_go(tmp_path: Path) -> None:
    with OneLake(tmp_path, mode="adls") as lake, connect(lake) as clients:
        clients.service.create_file_system("one")
        clients.service.create_file_system("two")
        with pytest.raises(HttpResponseError) as refused:
            clients.service.create_file_system("two")
        assert refusal(refused.value) == (409, "ContainerAlreadyExists")
        assert [found.name for found in clients.service.list_file_systems()] == ["one", "two"]
        clients.service.delete_file_system("one")
        assert not clients.service.get_file_system_client("one").exists()
        with pytest.raises(HttpResponseError) as refused:
            clients.service.get_file_client("one", "file").create_file()
        assert refusal(refused.value) == (404, "FilesystemNotFound")


def test_paths_cannot_leave_the_root(lake: OneLake) -> None:
    (lake.root / "outside").write_text("secret")
    headers = {"Authorization": "Bearer x"}
    with httpx.Client(base_url=lake.url, headers=headers) as http:
        for target in (f"/{WORKSPACE}/%2e%2e/outside", f"/{WORKSPACE}/a%2f..%2f..%2foutside", "/%2e%2e/etc/passwd"):
            assert http.get(target).status_code in (400, 404)
        assert http.get("/.devcloud/records.sqlite").status_code == 404


def test_a_server_goes_on_where_another_stopped(tmp_path: Path) -> None:
    with serve(tmp_path) as lake, connect(lake) as clients:
        clients.files.create_directory(f"{FILES}/folder")
        folder = clients.files.get_directory_client(f"{FILES}/folder").get_directory_properties().etag
        etag = clients.write(f"{FILES}/file")
        lease = clients.blobs.get_blob_client(f"{FILES}/file").acquire_lease()
        clients.files.get_file_client(f"{FILES}/half").create_file()
        clients.files.get_file_client(f"{FILES}/half").append_data(b"half", 0)
        clients.blobs.get_blob_client(f"{FILES}/blocks").stage_block("a", b"block")
    with OneLake(tmp_path) as lake, connect(lake) as clients:
        assert clients.files.get_directory_client(f"{FILES}/folder").get_directory_properties().etag == folder
        assert clients.files.get_file_client(f"{FILES}/file").get_file_properties().etag == etag
        assert clients.request("DELETE", f"{FILES}/file").status_code == 412
        assert clients.request("DELETE", f"{FILES}/file", x_ms_lease_id=lease.id).status_code == 202
        clients.files.get_file_client(f"{FILES}/half").flush_data(4)
        clients.blobs.get_blob_client(f"{FILES}/blocks").commit_block_list([BlobBlock("a")])
        assert lake.path(WORKSPACE, FILES, "half").read_bytes() == b"half"
        assert lake.path(WORKSPACE, FILES, "blocks").read_bytes() == b"block"


def test_the_documentation_tells_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/devcloud/onelake.md").read_text()
    start, faults = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(start, {})
    with OneLake(tmp_path / "lake") as lake:
        exec(faults, {"lake": lake})
        assert len(lake.faults.all()) == 6


def test_one_root_has_one_server(lake: OneLake) -> None:
    with pytest.raises(RuntimeError, match="another server"):
        OneLake(lake.root)


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command line serving; its process and what it printed."""
    line = [sys.executable, "-m", "devcloud.onelake", *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        settings: dict[str, str] = {}
        while "contents" not in settings:
            name, _, value = process.stdout.readline().partition(" ")
            settings[name] = value.strip()
        try:
            yield process, settings
        finally:
            process.kill()


def test_the_command_line_serves_until_a_signal(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    arguments = [
        "--root",
        str(tmp_path / "root"),
        "--workspace",
        WORKSPACE,
        "--item",
        ITEM,
        "--operations-file",
        str(log),
    ]
    for number in (signal.SIGTERM, signal.SIGINT):
        with command(*arguments) as (process, settings):
            credential = {name: settings[name] for name in ("account_name", "account_key")}
            with BlobServiceClient(settings["url"], credential) as service:
                service.get_blob_client(WORKSPACE, f"{FILES}/{number.name}").upload_blob(b"x")
            process.send_signal(number)
            assert process.wait(timeout=20) == 0
    assert {path.name for path in (tmp_path / "root" / WORKSPACE / FILES).iterdir()} == {"SIGTERM", "SIGINT"}
    assert len(log.read_text().splitlines()) == 2


def test_a_killed_server_leaves_whole_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    versions = [bytes([number]) * 3_000_000 for number in range(2)]
    headers = {"Authorization": "Bearer x", "x-ms-blob-type": "BlockBlob"}
    with (
        command("--root", str(root), "--workspace", WORKSPACE, "--item", ITEM) as (process, settings),
        httpx.Client(base_url=settings["url"], headers=headers) as http,
    ):
        target = f"/{WORKSPACE}/{FILES}/file"
        assert http.put(target, content=versions[0]).status_code == 201

        def half() -> Iterator[bytes]:
            yield versions[1][:1_500_000]
            # The server has begun to receive when something lies in its staging folder.
            deadline = time.monotonic() + 20
            while not list((root / ".devcloud/staged").iterdir()) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.kill()
            process.wait()
            yield versions[1][1_500_000:]

        with pytest.raises(httpx.TransportError):
            http.put(target, content=half())
    assert (root / WORKSPACE / FILES / "file").read_bytes() == versions[0]
    with OneLake(root) as lake:
        assert not list((root / ".devcloud/staged").iterdir())
        assert loopback.get(f"{lake.url}{target}", headers=headers).content == versions[0]
