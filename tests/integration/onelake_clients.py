"""Clients of the OneLake emulator for its tests: the Azure SDKs, and bare HTTP where an SDK would hide the response."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.filedatalake import DataLakeServiceClient, FileSystemClient

from devcloud.onelake import OneLake
from tests.support.loopback import CERTIFICATES

WORKSPACE = "5b218778-e7a5-4d73-8187-f10824047715"
ITEM = "0e2a6d2b-5f8b-4f46-9d39-3f7e9e4d8d11"
FILES = f"{ITEM}/Files"


@dataclass
class Clients:
    """Both SDKs on one workspace, without retries, and an HTTP client that signs in with a bearer token."""

    service: DataLakeServiceClient
    files: FileSystemClient
    blob_service: BlobServiceClient
    blobs: ContainerClient
    http: httpx.Client

    def request(self, method: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        """A bare request on a path below the workspace; header names are given with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, f"/{WORKSPACE}/{path}", content=content, headers=named)

    def write(self, path: str, data: bytes = b"data") -> str:
        """A file by one Put Blob; returns its ETag."""
        answer = self.request("PUT", path, data, x_ms_blob_type="BlockBlob")
        assert answer.status_code == 201
        return answer.headers["ETag"]


@contextmanager
def connect(lake: OneLake, credential: Any = None, **options: Any) -> Iterator[Clients]:
    """Clients of a server. The SDKs get its account key by default."""
    credential = credential or lake.credential
    service = DataLakeServiceClient(lake.url, credential, retry_total=0, **options)
    blob_service = BlobServiceClient(lake.url, credential, retry_total=0, **options)
    verify = ssl.create_default_context(cafile=lake.ca_certificate) if lake.url.startswith("https") else CERTIFICATES
    http = httpx.Client(base_url=lake.url, headers={"Authorization": "Bearer anything"}, verify=verify)
    with service, blob_service, http:
        files = service.get_file_system_client(WORKSPACE)
        yield Clients(service, files, blob_service, blob_service.get_container_client(WORKSPACE), http)


def refusal(error: HttpResponseError) -> tuple[int | None, str]:
    """Status and code of a refused SDK call."""
    # The SDK hands some codes over as an enumeration whose members are strings.
    code = error.error_code  # type: ignore[attr-defined]
    return error.status_code, str(getattr(code, "value", code))
