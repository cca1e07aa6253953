"""The lake operations on ADLS Gen2 and OneLake, through the Azure SDK.

DFS for folders, staging and renames, Blob for whole files.

The SDK's own retries are switched off: it does not retry 429 and 430, ignores the budget of a slice, and turns a lost
response to a rename into an error that only the landing protocol can read. `hygge_engine.retry` does it all.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline import PipelineResponse

from hygge_engine.errors import LakeConditionNotMet, LakeConflict, LakeDenied, LakeError, LakeNotFound, LakeUnavailable
from hygge_engine.lake import base
from hygge_engine.lake.base import Content, PathInfo, check_length
from hygge_engine.lake.credentials import credential_of
from hygge_engine.lake.responses import Etags, bare_etag, complete_range, lake_error, moment_of
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.lake.storage_sdk import (
    BlobClient,
    BlobServiceClient,
    DataLakeDirectoryClient,
    DataLakeFileClient,
    DataLakeServiceClient,
)
from hygge_engine.lake.upload import Upload
from hygge_engine.retry import call_with_retries

# The protocol version OneLake's own documentation shows in its samples; newer ones are accepted by ADLS but unproven
# there.
API_VERSION = "2021-06-08"

# Longest silence on a connection before the request counts as lost.
CONNECT_TIMEOUT_SECONDS = 20
READ_TIMEOUT_SECONDS = 60

# Pages without an entry that a listing may have in a row: services may return these while they search.
EMPTY_PAGES_LIMIT = 100

# How often a file is restarted because the response to its first bytes was lost.
RESTARTS_LIMIT = 3

# Statuses with which a service says that it does not know Put Blob: files are then replaced by staging and renaming.
_UNKNOWN_VERB_STATUSES = frozenset({400, 404, 405, 415, 422, 501})

# The etag of a file that was replaced again before it could be read: it matches nothing.
_OVERTAKEN = "overtaken"

# A file on its way to replace another one, beside which it lies: no listing shows it.
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.unfinished")


def service_clients(
    settings: LakeSettings, observe: Callable[[PipelineResponse[Any, Any]], None]
) -> tuple[DataLakeServiceClient, BlobServiceClient]:
    """The SDK's clients for an account's two endpoints, without retries of their own. ``observe`` sees every response,
    before the SDK does. Raises LakeDenied where the credential is unusable."""
    options: dict[str, Any] = {
        "api_version": API_VERSION,
        "retry_total": 0,
        "connection_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "raw_response_hook": observe,
    }
    url, credential = settings.account_url.rstrip("/"), credential_of(settings)
    blob_url = url.replace(".dfs.", ".blob.", 1)
    return (
        DataLakeServiceClient(url, credential=credential, **options),
        BlobServiceClient(blob_url, credential=credential, **options),
    )


class _Replacement(NamedTuple):
    """A file that replaces what is at its path, and on what condition: see `Lake.put`."""

    path: str
    data: bytes
    if_match: str | None
    if_absent: bool
    staged: str | None


class DataLake:
    """One filesystem of an ADLS Gen2 account, or one OneLake workspace."""

    def __init__(self, settings: LakeSettings) -> None:
        self._filesystem = settings.filesystem
        self._account_url = settings.account_url.rstrip("/")
        self._clock_offset = timedelta(0)
        self._replace: Callable[[_Replacement], str] = self._replace_and_learn
        self._etags = Etags()
        self._dfs, self._blob = service_clients(settings, self._observe)

    @property
    def url(self) -> str:
        """The filesystem's address, without credentials."""
        return f"{self._account_url}/{self._filesystem}"

    def read(self, path: str) -> Content:
        """See `Lake.read`."""

        def request() -> Content:
            download = self._blob_client(path).download_blob()
            check_length(path, download.size)
            return Content(download.readall(), bare_etag(download.properties.etag))

        return self._download(path, request)

    def read_range(self, path: str, offset: int, length: int, *, if_match: str) -> bytes:
        """See `Lake.read_range`."""
        conditions = self._etags.unchanged(if_match)

        def request() -> bytes:
            return bytes(self._blob_client(path).download_blob(offset, length, **conditions).readall())

        return self._download(path, request)

    def _download[T](self, path: str, request: Callable[[], T]) -> T:
        try:
            return self._call("read", path, request)
        except ValueError as error:  # the SDK's, about a response that is not the part of the file that it requested
            raise LakeError(f"cannot read {path} in {self.url}: the service does not return ranges") from error

    def info(self, path: str) -> PathInfo | None:
        """See `Lake.info`."""

        def request() -> PathInfo:
            kind = ""

            def observe(response: PipelineResponse[Any, Any]) -> None:
                nonlocal kind
                kind = response.http_response.headers.get("x-ms-resource-type", "")
                self._observe(response)

            found = self._blob_client(path).get_blob_properties(raw_response_hook=observe)
            # The Blob API's mark of a folder, and the DFS API's, of which the SDK's Blob client knows nothing.
            is_directory = kind == "directory" or (found.metadata or {}).get("hdi_isfolder", "").lower() == "true"
            modified = found.last_modified or self.now()
            return PathInfo(path, is_directory, found.size or 0, bare_etag(found.etag), modified)

        try:
            return self._call("look at", path, request)
        except LakeNotFound:
            return None

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        """See `Lake.put`: one Put Blob, or a staged rename where the service has no Put Blob."""
        return self._replace(_Replacement(path, data, if_match, if_absent, staged))

    def _replace_and_learn(self, new: _Replacement) -> str:
        """Replace the first file, by Put Blob, and learn whether the service has it: all others go the way that this
        one has gone."""
        try:
            etag = self._replace_by_put_blob(new)
        except LakeError as refusal:
            if refusal.status not in _UNKNOWN_VERB_STATUSES:
                raise
            return self._replace_after_refusal(new, refusal)
        if self._is_whole(new, etag):
            self._replace = self._replace_by_put_blob
            return etag
        self._replace = self._replace_by_rename
        return self._replace_by_rename(new._replace(if_match=etag, if_absent=False))

    def _replace_after_refusal(self, new: _Replacement, refusal: LakeError) -> str:
        """Replace a file after Put Blob was refused in a way that may mean that there is none."""
        try:
            etag = self._replace_by_rename(new)
        except LakeConditionNotMet:
            self._replace = self._replace_by_rename
            raise
        except LakeError as error:
            if error.transient:
                raise
            raise refusal from error  # it was not the operation's
        self._replace = self._replace_by_rename
        return etag

    def _is_whole(self, new: _Replacement, etag: str) -> bool:
        """Whether Put Blob has written what it was given: it may be taken for something else, such as the creation of
        an empty file. A later replacement does not contradict that."""
        found = self.info(new.path)
        is_ours = found is not None and found.etag == etag
        return not is_ours or self._length_of(new.path, len(new.data)) == len(new.data)

    def _replace_by_put_blob(self, new: _Replacement) -> str:
        def request() -> str:
            conditions: dict[str, Any] = {"overwrite": not new.if_absent, **self._etags.unchanged(new.if_match)}
            return bare_etag(self._blob_client(new.path).upload_blob(new.data, **conditions)["etag"])

        try:
            etag = self._call("replace", new.path, request)
        except LakeConflict as error:  # Put Blob with If-None-Match returns 409 BlobAlreadyExists
            raise LakeConditionNotMet(error.message, status=error.status) from error
        return etag or self._etag_of(new)

    def _replace_by_rename(self, new: _Replacement) -> str:
        path = new.path
        if new.staged is not None:
            self.make_directory(path.rpartition("/")[0])
        conditions = self._etags.unchanged(new.if_match)
        if new.if_absent and new.if_match is None:
            conditions = {"match_condition": MatchConditions.IfMissing}
        target = f"{self._filesystem}/{path}"
        source = new.staged or f"{path}.{uuid.uuid4().hex}.unfinished"
        upload = self.stage(source)
        try:
            upload.write(new.data)
            upload.finish()
            self._do("replace", path, lambda: self._file(source).rename_file(target, **conditions))
        except (LakeConflict, LakeConditionNotMet) as error:
            with suppress(LakeError):
                self.delete(source)
            raise LakeConditionNotMet(error.message, status=error.status) from error
        except (LakeNotFound, LakeUnavailable) as error:
            if self.info(source) is not None:
                raise
            # Renamed by our own request, whose response was lost, or swept by a writer that has replaced the file
            # since.
            if conditions:
                raise LakeConditionNotMet(error.message, status=error.status) from error
        self._sweep_unfinished(path)
        return self._etag_of(new)

    def _etag_of(self, new: _Replacement) -> str:
        """The etag of a file that was just replaced; one that matches nothing where another writer has replaced it
        since: with the new etag that write could be undone."""
        found = self.read(new.path)
        return found.etag if found.data == new.data else _OVERTAKEN

    def _sweep_unfinished(self, path: str) -> None:
        """Delete the leftovers of writers that died while they replaced this file. A living writer that meant to
        replace what we have replaced would be refused anyway."""
        with suppress(LakeError):  # the next one sweeps as well
            for entry in self._entries(path.rpartition("/")[0], recursive=False):
                if _UNFINISHED.fullmatch(entry.path.removeprefix(path)):
                    self.delete(entry.path)

    def stage(self, path: str) -> Upload:
        """See `Lake.stage`: create, append in order from a thread of its own, flush once, compare the length."""
        file = self._file(path)

        def create() -> None:
            self._do("create", path, lambda: file.create_file())

        def append(data: bytes, offset: int) -> None:
            for _ in range(RESTARTS_LIMIT):
                if self._do_once("append to", path, lambda: file.append_data(data, offset, len(data))):
                    return
                if offset:
                    break
                create()  # empty again: nothing was in it but these bytes
            raise LakeUnavailable(
                f"the response was lost, so that the content of {path} is unknown: it is staged again"
            )

        def flush(length: int) -> None:
            # Where the second request is refused, the length, which is compared in any case, confirms the first.
            self._do_once("flush", path, lambda: file.flush_data(length))

        create()
        return Upload(path, append, flush, lambda staged: self._length_of(staged.path, staged.length), self.delete)

    def _length_of(self, path: str, expected: int) -> int:
        """A file's length, -1 where there is none. Listings have the last word: what HEAD says of a length is lost
        where a server leaves it to its HTTP library."""
        found = self.info(path)
        if found is None or found.length == expected:
            return -1 if found is None else found.length
        entries = self._entries(path.rpartition("/")[0], recursive=False)
        return next((entry.length for entry in entries if entry.path == path), -1)

    def rename(self, source: str, destination: str) -> None:
        """See `Lake.rename`: If-None-Match: * on the destination; the service returns 409 or 412 where it exists."""
        target = f"{self._filesystem}/{destination}"
        try:
            self._do(
                "rename",
                f"{source} to {destination}",
                lambda: self._file(source).rename_file(target, match_condition=MatchConditions.IfMissing),
            )
        except LakeConditionNotMet as error:
            raise LakeConflict(error.message, status=error.status) from error

    def make_directory(self, path: str) -> None:
        """See `Lake.make_directory`."""
        with suppress(LakeConflict, LakeConditionNotMet):
            self._do(
                "make", path, lambda: self._directory(path).create_directory(match_condition=MatchConditions.IfMissing)
            )

    def delete(self, path: str) -> bool:
        """See `Lake.delete`."""
        try:
            self._do("delete", path, lambda: self._file(path).delete_file())
        except LakeNotFound:
            return False
        return True

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        """See `Lake.delete_directory`."""
        try:
            self._do("delete", path, lambda: self._directory(path).delete_directory(**self._etags.unchanged(if_match)))
        except LakeNotFound:
            return False
        return True

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        """See `Lake.list`. Of a folder that holds more than can be kept in mind some are listed, before that is said:
        who wants no more than some has them."""
        entries = self._entries(directory, recursive=recursive)
        for entry in entries:
            if not _UNFINISHED.search(entry.path):
                yield entry
        if len(entries) > base.LISTED_LIMIT:
            raise base.too_many(directory, base.LISTED_LIMIT)

    def _entries(self, directory: str, *, recursive: bool) -> Sequence[PathInfo]:
        """What a folder holds, by name; of more than `base.LISTED_LIMIT` entries one more than that."""

        def request() -> list[PathInfo]:
            paths = self._dfs.get_file_system_client(self._filesystem).get_paths(directory, recursive=recursive)
            found: list[PathInfo] = []
            empty_pages = 0
            for page in paths.by_page():
                before = len(found)
                found += map(self._info_of, islice(page, base.LISTED_LIMIT + 1 - before))
                empty_pages = 0 if len(found) > before else empty_pages + 1
                if empty_pages > EMPTY_PAGES_LIMIT:
                    raise LakeError(f"the listing of {directory} in {self.url} has no end")
                if len(found) > base.LISTED_LIMIT:
                    break
            return found

        try:
            return sorted(self._call("list", directory, request), key=lambda entry: entry.path)
        except LakeNotFound:
            return []

    def _info_of(self, listed: Any) -> PathInfo:
        return PathInfo(
            str(listed.name),
            bool(listed.is_directory),
            int(listed.content_length or 0),
            bare_etag(listed.etag),
            # Listings come as GMT without saying so; where one comes without times, nothing is old.
            listed.last_modified.replace(tzinfo=UTC) if listed.last_modified else self.now(),
        )

    def now(self) -> datetime:
        """See `Lake.now`: this machine's clock, corrected by the Date header of the last response."""
        return datetime.now(UTC) + self._clock_offset

    def _file(self, path: str) -> DataLakeFileClient:
        return self._dfs.get_file_client(self._filesystem, path)

    def _directory(self, path: str) -> DataLakeDirectoryClient:
        return self._dfs.get_directory_client(self._filesystem, path)

    def _blob_client(self, path: str) -> BlobClient:
        return self._blob.get_blob_client(self._filesystem, path)

    def _observe(self, response: PipelineResponse[Any, Any]) -> None:
        headers = response.http_response.headers
        there = moment_of(headers.get("Date"))
        if there is not None:
            self._clock_offset = there - datetime.now(UTC)
        if etag := headers.get("ETag"):
            self._etags.observe(etag)
        complete_range(response)

    def _do(self, verb: str, path: str, request: Callable[[], object]) -> None:
        """Send a request of whose response only the success matters: any 2xx, where the SDK accepts one."""

        def attempt() -> None:
            try:
                request()
            except HttpResponseError as error:
                if error.status_code is None or not 200 <= error.status_code < 300:
                    raise

        self._call(verb, path, attempt)

    def _do_once(self, verb: str, path: str, request: Callable[[], object]) -> bool:
        """The same for a request that a service may refuse because it has taken effect: False where the response to the
        first one was lost, and the second was refused."""
        tries = 0

        def counted() -> None:
            nonlocal tries
            tries += 1
            request()

        try:
            self._do(verb, path, counted)
        except LakeError as error:
            if tries == 1 or error.transient or isinstance(error, LakeDenied):
                raise
            return False
        return True

    def _call[T](self, verb: str, path: str, request: Callable[[], T]) -> T:
        refused = False

        def attempt() -> T:
            nonlocal refused
            try:
                return request()
            except AzureError as error:
                found = lake_error(error, verb, path, self.url)
                # The SDK has thrown the token away: what was refused once, because it was revoked or a key rotated, is
                # asked again with a new one.
                found.transient = found.transient or (found.status == 401 and not refused)
                refused = refused or found.status == 401
                raise found from error

        return call_with_retries(attempt)
