"""Single requests to a lake and the response to each: the same requests that the engine sends, without its workarounds
for other services."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline import PipelineResponse

from hygge_engine.errors import LakeDenied, LakeError, LakeUnavailable
from hygge_engine.lake.datalake import service_clients
from hygge_engine.lake.responses import Etags, bare_etag, complete_range, lake_error
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.retry import call_with_retries

# What is read back is the probe's own, or a status of 1,000 tables at half a kilobyte each.
READ_LIMIT_BYTES = 16 << 20

# Entries of a folder that are looked at. A database made for the purpose has a handful.
LIST_LIMIT = 1_000

# How long a single request may wait for a service that is busy.
PATIENCE_SECONDS = 20.0


class Spent(Exception):
    """The time or the number of requests that the probe was given is used up."""


class Allowance:
    """How long a probe may take and how many requests it may send."""

    def __init__(self, seconds: float, requests: int) -> None:
        self._end = time.monotonic() + seconds
        self._left = requests
        self._words = f"{seconds / 60:g} minutes or {requests:,} requests are used up"
        self.used = 0

    def spend(self) -> None:
        """Take one request from it. Raises Spent."""
        if not self._left or time.monotonic() > self._end:
            raise Spent(self._words)
        self._left -= 1
        self.used += 1


@dataclass(frozen=True)
class ServiceResponse:
    """A response of a service. ``etag`` without quotes, empty where there is none; ``code`` is the service's own."""

    status: int
    code: str = ""
    etag: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    data: bytes = b""

    @property
    def done(self) -> bool:
        """Whether the request was carried out."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether a condition was not met, by either of the two statuses that say so."""
        return self.status in (409, 412)

    def header(self, name: str) -> str:
        """A header, whose name is compared without case; empty where there is none."""
        return next((value for key, value in self.headers if key.casefold() == name.casefold()), "")

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()


@dataclass(frozen=True)
class Listed:
    """One entry of a listing; ``path`` begins at the filesystem."""

    path: str
    is_directory: bool
    length: int
    etag: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


class Wire:
    """One filesystem, request by request. Every operation returns the response, whatever it is.

    Raises LakeUnavailable where there is none, LakeDenied where the credential is refused, Spent.
    """

    def __init__(self, settings: LakeSettings, allowance: Allowance) -> None:
        self.allowance = allowance
        self.url = f"{settings.account_url.rstrip('/')}/{settings.filesystem}"
        self._filesystem = settings.filesystem
        self._etags = Etags()
        self._headers: tuple[tuple[str, str], ...] = ()
        self._responded = time.monotonic()
        self._dfs, self._blob = service_clients(settings, self._observe)

    def silence_seconds(self) -> float:
        """Seconds since the last response."""
        return time.monotonic() - self._responded

    def put_blob(self, path: str, data: bytes, *, if_absent: bool = False, if_match: str = "") -> ServiceResponse:
        """Put Blob."""
        blob = self._blob.get_blob_client(self._filesystem, path)
        conditions: dict[str, Any] = {"overwrite": not if_absent, **self._etags.unchanged(if_match or None)}
        return self._ask("write", path, lambda: blob.upload_blob(data, **conditions))

    def read(self, path: str, *, offset: int = 0, length: int | None = None, if_match: str = "") -> ServiceResponse:
        """Get Blob."""
        blob = self._blob.get_blob_client(self._filesystem, path)

        def request() -> bytes:
            download = blob.download_blob(offset, length, **self._etags.unchanged(if_match or None))
            if download.size > READ_LIMIT_BYTES:
                raise LakeError(f"{path} has {download.size:,} bytes, more than anything that the probe looks at.")
            return bytes(download.readall())

        return self._ask("read", path, request)

    def head(self, path: str) -> ServiceResponse:
        """Get Blob Properties."""
        blob = self._blob.get_blob_client(self._filesystem, path)
        return self._ask("look at", path, lambda: blob.get_blob_properties())

    def create(self, path: str, *, if_absent: bool = False) -> ServiceResponse:
        """Create a file."""
        file = self._dfs.get_file_client(self._filesystem, path)
        return self._ask("create", path, lambda: file.create_file(**_absent(if_absent)))

    def append(self, path: str, data: bytes, offset: int) -> ServiceResponse:
        """Append to a file."""
        file = self._dfs.get_file_client(self._filesystem, path)
        return self._ask("append to", path, lambda: file.append_data(data, offset, len(data)))

    def flush(self, path: str, length: int) -> ServiceResponse:
        """Flush a file."""
        file = self._dfs.get_file_client(self._filesystem, path)
        return self._ask("flush", path, lambda: file.flush_data(length))

    def stage(self, path: str, data: bytes) -> None:
        """A whole file as loads stage theirs. Raises LakeError where one of the three requests is refused."""
        for response in (self.create(path), self.append(path, data, 0), self.flush(path, len(data))):
            if not response.done:
                raise LakeError(f"cannot stage {path}: {response}", status=response.status)

    def rename(self, source: str, destination: str, *, if_absent: bool = False, if_match: str = "") -> ServiceResponse:
        """Rename a file."""
        file = self._dfs.get_file_client(self._filesystem, source)
        conditions = {**_absent(if_absent), **self._etags.unchanged(if_match or None)}
        target = f"{self._filesystem}/{destination}"
        return self._ask("rename", source, lambda: file.rename_file(target, **conditions))

    def make_directory(self, path: str, *, if_absent: bool = True) -> ServiceResponse:
        """Create a folder."""
        folder = self._dfs.get_directory_client(self._filesystem, path)
        return self._ask("make", path, lambda: folder.create_directory(**_absent(if_absent)))

    def delete(self, path: str) -> ServiceResponse:
        """Delete a file."""
        file = self._dfs.get_file_client(self._filesystem, path)
        return self._ask("delete", path, lambda: file.delete_file())

    def delete_directory(self, path: str, *, if_match: str = "") -> ServiceResponse:
        """Delete a folder with everything in it."""
        folder = self._dfs.get_directory_client(self._filesystem, path)
        return self._ask("delete", path, lambda: folder.delete_directory(**self._etags.unchanged(if_match or None)))

    def list(self, path: str) -> list[Listed] | None:
        """A folder's entries, the first `LIST_LIMIT` of them; None where there is no such folder. Raises LakeError."""
        found: list[Listed] = []

        def request() -> None:
            entries = self._dfs.get_file_system_client(self._filesystem).get_paths(path, recursive=False)
            found.clear()
            for entry in islice(entries, LIST_LIMIT):
                length, etag = int(entry.content_length or 0), bare_etag(entry.etag)
                found.append(Listed(str(entry.name), bool(entry.is_directory), length, etag))

        response = self._ask("list", path, request)
        if response.status == 404:
            return None
        if not response.done:
            raise LakeError(f"cannot list {path} in {self.url}: {response}", status=response.status)
        return sorted(found, key=lambda entry: entry.path)

    def _observe(self, response: PipelineResponse[Any, Any]) -> None:
        headers = response.http_response.headers
        self._responded = time.monotonic()
        self._headers = tuple((str(name), str(value)) for name, value in headers.items())
        if etag := headers.get("ETag"):
            self._etags.observe(etag)
        complete_range(response)

    def _ask(self, verb: str, path: str, request: Callable[[], object]) -> ServiceResponse:
        def once() -> ServiceResponse:
            self.allowance.spend()
            self._headers = ()
            try:
                value = request()
            except HttpResponseError as error:
                found = lake_error(error, verb, path, self.url)
                if error.status_code is None or isinstance(found, LakeDenied | LakeUnavailable):
                    raise found from error
                code = getattr(error, "error_code", None)
                return self._response(error.status_code, str(getattr(code, "value", code) or error.reason or ""), b"")
            except AzureError as error:
                raise lake_error(error, verb, path, self.url) from error
            except ValueError as error:  # the SDK's, about a response that is not the part of the file that was wanted
                raise LakeError(
                    f"cannot {verb} {path} in {self.url}: the response does not match the request"
                ) from error
            return self._response(200, "", value if isinstance(value, bytes) else b"")

        return call_with_retries(once, budget_seconds=PATIENCE_SECONDS)

    def _response(self, status: int, code: str, data: bytes) -> ServiceResponse:
        etag = next((value for name, value in self._headers if name.casefold() == "etag"), "")
        return ServiceResponse(status, code, bare_etag(etag), self._headers, data)


def _absent(wanted: bool) -> dict[str, Any]:
    return {"match_condition": MatchConditions.IfMissing} if wanted else {}
