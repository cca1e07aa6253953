"""The file verbs over the Data Lake Storage Gen2 REST API: OneLake, ADLS, or any server that speaks it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pyarrow as pa
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.filedatalake import DataLakeFileClient, DataLakeServiceClient, PathProperties

from devcloud.replicator.landing_zone import IDENTITY_FILE, Entry, LandingZoneUnavailable

type Credential = AzureNamedKeyCredential | AzureSasCredential | TokenCredential | dict[str, str] | None

# Longest silence on a connection before the pass over the landing zone is given up; the next pass tries again.
TIMEOUT_SECONDS = 30


class DataLakeLandingZone:
    """An item of a workspace (or a folder of a container) behind the REST API.

    `folder_identity`: "etag", as Fabric does it, or "mark", a small file in each table folder, for servers where a
    folder's ETag changes with its contents. `client_options` go to the Azure client, such as `connection_verify`.
    Files are read whole into memory, one at a time.
    """

    def __init__(
        self,
        account_url: str,
        filesystem: str,
        item: str,
        credential: Credential = None,
        *,
        folder_identity: Literal["etag", "mark"] = "etag",
        **client_options: Any,
    ) -> None:
        options: dict[str, Any] = {
            "retry_total": 0,  # the next pass is the retry
            "connection_timeout": TIMEOUT_SECONDS,
            "read_timeout": TIMEOUT_SECONDS,
        }
        self._service = DataLakeServiceClient(account_url, credential=credential, **options | client_options)
        self._filesystem = self._service.get_file_system_client(filesystem)
        self._name = filesystem
        self._item = item.strip("/")
        self._folder_identity = folder_identity

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def list_folder(self, path: str) -> list[Entry]:
        """Return the children of a folder, all pages of the listing."""
        with _translate_errors(path):
            found = self._filesystem.get_paths(self._locate(path), recursive=False)
            return [self._entry(properties) for properties in found]

    def _entry(self, properties: PathProperties) -> Entry:
        path = str(properties.name).removeprefix(f"{self._item}/")
        return Entry(
            path.rpartition("/")[2],
            path,
            bool(properties.is_directory),
            int(properties.content_length or 0),
            str(properties.etag).strip('"'),
            properties.last_modified.timestamp(),
        )

    def identify_folder(self, folder: Entry) -> str:
        """Return the folder's ETag, or its mark."""
        if self._folder_identity == "etag":
            return folder.etag
        path = f"{folder.path}/{IDENTITY_FILE}"
        try:
            return self._read(path).decode()
        except FileNotFoundError:
            self._write(path, uuid.uuid4().hex.encode(), replace=False)
            return self._read(path).decode()

    def open_file(self, entry: Entry) -> pa.NativeFile:
        """Read a file."""
        return pa.BufferReader(self._read(entry.path) if entry.size else b"")

    def move_into(self, entry: Entry, folder: str) -> None:
        """Rename a file into a sub-folder beside it.

        The sub-folder is made only when the server says that it is missing, because making it would also make a table
        folder that was deleted meanwhile.
        """
        parent = entry.path.rpartition("/")[0]
        target = f"{self._name}/{self._locate(f'{parent}/{folder}/{entry.name}')}"
        with _translate_errors(entry.path):
            file = self._file(entry.path)
            try:
                file.rename_file(target)
            except ResourceNotFoundError:
                file.get_file_properties()  # raises when it is the source that is missing
                self._filesystem.create_directory(self._locate(f"{parent}/{folder}"))
                file.rename_file(target)

    def delete_file(self, path: str) -> None:
        """Delete one file."""
        with _translate_errors(path):
            self._file(path).delete_file()

    def replace_file(self, path: str, content: bytes) -> None:
        """Write beside the file and rename over it."""
        self._write(path, content, replace=True)

    def _write(self, path: str, content: bytes, *, replace: bool) -> None:
        folder, _, name = path.rpartition("/")
        with _translate_errors(path):
            staged = self._file(f"{folder}/_{name}.{os.getpid()}")
            staged.create_file()
            staged.append_data(content, 0, len(content))
            staged.flush_data(len(content))
            target = f"{self._name}/{self._locate(path)}"
            if replace:
                staged.rename_file(target)
                return
            try:
                staged.rename_file(target, match_condition=MatchConditions.IfMissing)
            except (ResourceExistsError, ResourceModifiedError):
                staged.delete_file()

    def _read(self, path: str) -> bytes:
        with _translate_errors(path):
            return self._file(path).download_file().readall()

    def _file(self, path: str) -> DataLakeFileClient:
        return self._filesystem.get_file_client(self._locate(path))

    def _locate(self, path: str) -> str:
        return f"{self._item}/{path}"


@contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    try:
        yield
    except ResourceNotFoundError as error:
        raise FileNotFoundError(path) from error
    except AzureError as error:
        raise LandingZoneUnavailable(f"{path}: {error}") from error
