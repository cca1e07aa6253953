"""The lake verbs on ADLS Gen2 and OneLake, through the Azure SDK.

DFS for folders, staging and renames, Blob for whole files.

The SDK's own retries are switched off: it does not retry 429 and 430, ignores the budget of a slice, and answers a lost
response to a rename with an error that only the landing protocol can read. `hygge_engine.retry` does it all.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineResponse
from azure.storage.blob import BlobClient, BlobServiceClient
from azure.storage.filedatalake import DataLakeDirectoryClient, DataLakeFileClient, DataLakeServiceClient

from hygge_engine.errors import (
    LakeConditionNotMet,
    LakeConflict,
    LakeDenied,
    LakeError,
    LakeNotFound,
    LakeUnavailable,
)
from hygge_engine.lake.base import Content, PathInfo, Staged
from hygge_engine.lake.credentials import credential_of
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.lake.upload import Upload
from hygge_engine.retry import TRANSIENT_HTTP_STATUSES, UNREACHABLE_BUDGET_SECONDS, call_with_retries

# The protocol version OneLake's own documentation shows in its samples; newer ones are accepted by ADLS but unproven
# there.
API_VERSION = "2021-06-08"

# Longest silence on a connection before the request counts as lost.
CONNECT_TIMEOUT_SECONDS = 20
READ_TIMEOUT_SECONDS = 60

# Statuses with which a service says that it does not know Put Blob: files are then replaced by staging and renaming.
_UNKNOWN_VERB_STATUSES = frozenset({400, 405, 501})

# What the system says about a connection that could not be made, within all that the SDK says around it.
_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([A-Z][\w ,-]+)")


class DataLake:
    """One filesystem of an ADLS Gen2 account, or one OneLake workspace."""

    def __init__(self, settings: LakeSettings) -> None:
        self._filesystem = settings.filesystem
        self._account_url = settings.account_url.rstrip("/")
        self._clock_offset = timedelta(0)
        self._puts_blobs = True
        options: dict[str, Any] = {
            "api_version": API_VERSION,
            "retry_total": 0,
            "connection_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": READ_TIMEOUT_SECONDS,
            "raw_response_hook": self._observe_clock,
        }
        credential: Any = credential_of(settings)
        self._dfs = DataLakeServiceClient(self._account_url, credential=credential, **options)
        blob_url = self._account_url.replace(".dfs.", ".blob.", 1)
        self._blob = BlobServiceClient(blob_url, credential=credential, **options)

    @property
    def url(self) -> str:
        """The filesystem's address, without credentials."""
        return f"{self._account_url}/{self._filesystem}"

    def read(self, path: str) -> Content:
        """See `Lake.read`."""

        def request() -> Content:
            download = self._blob_client(path).download_blob()
            return Content(download.readall(), _bare(str(download.properties.etag)))

        return self._call("read", path, request)

    def read_range(self, path: str, offset: int, length: int, *, if_match: str) -> bytes:
        """See `Lake.read_range`."""
        conditions: Any = {"etag": _quoted(if_match), "match_condition": MatchConditions.IfNotModified}

        def request() -> bytes:
            return bytes(self._blob_client(path).download_blob(offset, length, **conditions).readall())

        return self._call("read", path, request)

    def info(self, path: str) -> PathInfo | None:
        """See `Lake.info`."""

        def request() -> PathInfo:
            found = self._blob_client(path).get_blob_properties()
            is_directory = (found.metadata or {}).get("hdi_isfolder", "").lower() == "true"
            return PathInfo(path, is_directory, found.size or 0, _bare(str(found.etag)), found.last_modified)

        try:
            return self._call("look at", path, request)
        except LakeNotFound:
            return None

    def put(self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        """See `Lake.put`: one Put Blob, or a staged rename where the service has no Put Blob."""
        if self._puts_blobs:
            try:
                return self._put_blob(path, data, if_match, if_absent)
            except LakeError as error:
                if error.status not in _UNKNOWN_VERB_STATUSES:
                    raise
                self._puts_blobs = False
        return self._put_by_rename(path, data, if_match, if_absent)

    def _put_blob(self, path: str, data: bytes, if_match: str | None, if_absent: bool) -> str:
        def request() -> str:
            conditions: dict[str, Any] = {"overwrite": not if_absent}
            if if_match is not None:
                conditions |= {"etag": _quoted(if_match), "match_condition": MatchConditions.IfNotModified}
            answer = self._blob_client(path).upload_blob(data, **conditions)
            return _bare(str(answer["etag"]))

        try:
            return self._call("replace", path, request)
        except LakeConflict as error:  # Put Blob with If-None-Match answers 409 BlobAlreadyExists
            raise LakeConditionNotMet(error.message, status=error.status) from error

    def _put_by_rename(self, path: str, data: bytes, if_match: str | None, if_absent: bool) -> str:
        staged = f"{path}.{threading.get_ident():x}.staged"
        upload = self.stage(staged)
        upload.write(data)
        upload.finish()

        def request() -> None:
            conditions: dict[str, Any] = {}
            if if_absent:
                conditions = {"match_condition": MatchConditions.IfMissing}
            elif if_match is not None:
                conditions = {"etag": _quoted(if_match), "match_condition": MatchConditions.IfNotModified}
            self._file(staged).rename_file(f"{self._filesystem}/{path}", **conditions)

        try:
            self._call("replace", path, request)
        except LakeConflict as error:
            raise LakeConditionNotMet(error.message, status=error.status) from error
        except LakeNotFound as error:  # our own rename, whose answer was lost
            raise LakeConditionNotMet(error.message, status=error.status) from error
        return self.read(path).etag

    def stage(self, path: str) -> Upload:
        """See `Lake.stage`: create, append in order from a thread of its own, flush once, compare the length."""
        file = self._file(path)
        self._call("create", path, lambda: file.create_file())

        def append(data: bytes, offset: int) -> None:
            self._call("append to", path, lambda: file.append_data(data, offset, len(data)))

        def flush(length: int) -> None:
            self._call("flush", path, lambda: file.flush_data(length))

        return Upload(path, append, flush, self._length_of, self.delete)

    def _length_of(self, staged: Staged) -> int:
        found = self.info(staged.path)
        return -1 if found is None else found.length

    def rename(self, source: str, destination: str) -> None:
        """See `Lake.rename`: If-None-Match: * on the destination; the service answers 409 or 412 where it exists."""

        def request() -> None:
            self._file(source).rename_file(
                f"{self._filesystem}/{destination}", match_condition=MatchConditions.IfMissing
            )

        try:
            self._call("rename", f"{source} to {destination}", request)
        except LakeConditionNotMet as error:
            raise LakeConflict(error.message, status=error.status) from error

    def make_directory(self, path: str) -> None:
        """See `Lake.make_directory`."""
        try:
            self._call(
                "make", path, lambda: self._directory(path).create_directory(match_condition=MatchConditions.IfMissing)
            )
        except (LakeConflict, LakeConditionNotMet):
            return

    def delete(self, path: str) -> bool:
        """See `Lake.delete`."""
        try:
            self._call("delete", path, lambda: self._file(path).delete_file())
        except LakeNotFound:
            return False
        return True

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        """See `Lake.delete_directory`."""

        def request() -> None:
            conditions: dict[str, Any] = {}
            if if_match is not None:
                conditions = {"etag": _quoted(if_match), "match_condition": MatchConditions.IfNotModified}
            self._directory(path).delete_directory(**conditions)

        try:
            self._call("delete", path, request)
        except LakeNotFound:
            return False
        return True

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        """See `Lake.list`."""

        def request() -> list[PathInfo]:
            entries = self._dfs.get_file_system_client(self._filesystem).get_paths(directory, recursive=recursive)
            return [
                PathInfo(
                    str(entry.name),
                    bool(entry.is_directory),
                    int(entry.content_length or 0),
                    _bare(str(entry.etag or "")),
                    # Listings come as GMT without saying so; where one comes without times, nothing is old.
                    entry.last_modified.replace(tzinfo=UTC) if entry.last_modified else self.now(),
                )
                for entry in entries
            ]

        try:
            found = self._call("list", directory, request)
        except LakeNotFound:
            return
        yield from sorted(found, key=lambda entry: entry.path)

    def now(self) -> datetime:
        """See `Lake.now`: this machine's clock, corrected by the Date header of the last answer."""
        return datetime.now(UTC) + self._clock_offset

    def _file(self, path: str) -> DataLakeFileClient:
        return self._dfs.get_file_client(self._filesystem, path)

    def _directory(self, path: str) -> DataLakeDirectoryClient:
        return self._dfs.get_directory_client(self._filesystem, path)

    def _blob_client(self, path: str) -> BlobClient:
        return self._blob.get_blob_client(self._filesystem, path)

    def _observe_clock(self, response: PipelineResponse[Any, Any]) -> None:
        date = response.http_response.headers.get("Date")
        if date:
            self._clock_offset = parsedate_to_datetime(date) - datetime.now(UTC)

    def _call[T](self, verb: str, path: str, request: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return request()
            except AzureError as error:
                raise _translated(error, verb, path, self.url) from error

        return call_with_retries(attempt)


def _translated(error: AzureError, verb: str, path: str, url: str) -> LakeError:
    """The lake error for an SDK error: by HTTP status first, the service's error code only adds to the message."""
    what = f"cannot {verb} {path} in {url}"
    if isinstance(error, HttpResponseError) and error.status_code:
        status = error.status_code
        code = _text(getattr(error, "error_code", None)) or str(error.reason or "")
        message = f"{what}: {status} {code}".rstrip()
        if status == 404:
            return LakeNotFound(message, status=status)
        if status == 409:
            return LakeConflict(message, status=status)
        if status == 412:
            return LakeConditionNotMet(message, status=status)
        if status in (401, 403):
            hint = "Check the credential, its role on the workspace or container, and the network rules of the account."
            return LakeDenied(message, status=status, hint=hint)
        if status in TRANSIENT_HTTP_STATUSES or code == "CapacityLimitExceeded":
            return LakeUnavailable(message, status=status, retry_after_seconds=_retry_after(error))
        return LakeError(message, status=status)
    if isinstance(error, ClientAuthenticationError):  # azure-identity: no token was to be had
        first_line = str(error).split("\n", 1)[0]
        return LakeDenied(f"{what}: {first_line}", hint="Check the store's credential settings.")
    if isinstance(error, ServiceRequestError):  # the request never left: no such host, or nobody listens there
        found = _SYSTEM_ERROR.search(str(error))
        unreachable = LakeUnavailable(f"cannot reach {url}: {found[1] if found else 'nobody answers there'}")
        unreachable.patience_seconds = UNREACHABLE_BUDGET_SECONDS
        return unreachable
    if isinstance(error, ServiceResponseError):
        return LakeUnavailable(f"{what}: the connection broke before the answer came")
    return LakeUnavailable(f"{what}: {type(error).__name__}")


def _text(code: object) -> str:
    """The SDK gives an error code as a plain string or as an enum."""
    return "" if code is None else str(getattr(code, "value", code))


def _retry_after(error: HttpResponseError) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 §10.2.3: a number, or a date)."""
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    value = headers.get("Retry-After")
    if not value:
        return None
    if value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _bare(etag: str) -> str:
    """An etag without quotes: list answers come without, headers with them."""
    return etag.strip('"')


def _quoted(etag: str) -> str:
    return f'"{etag}"'
