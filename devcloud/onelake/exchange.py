"""One request and its response, free of any HTTP library, and what kind of operation a request is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

from devcloud.onelake.errors import Dialect, ServiceError

MUTATING_VERBS: Final = frozenset(
    {
        "append",
        "create",
        "create_directory",
        "create_filesystem",
        "delete",
        "delete_filesystem",
        "flush",
        "lease",
        "put_blob",
        "put_block",
        "put_block_list",
        "rename",
        "set_properties",
    }
)

# Verbs whose request carries a body worth keeping; everything else is read and thrown away.
BODY_VERBS: Final = frozenset({"append", "put_blob", "put_block", "put_block_list"})


@dataclass(slots=True)
class Body:
    """A received body, spooled to a file of its own; `md5` is base64 and only computed when the request names one."""

    file: Path
    length: int
    md5: str | None = None


@dataclass(slots=True)
class Request:
    """A parsed request. `path` is decoded and has no slash at either end; `raw_path` is what was sent, for the
    signature.
    """

    method: str
    raw_path: str
    filesystem: str
    path: str
    trailing_slash: bool
    query: Mapping[str, str]
    headers: Mapping[str, str]
    dialect: Dialect
    verb: str
    body: Body | None = None

    @property
    def key(self) -> str:
        """Filesystem and path as one string, the key of everything recorded about a path."""
        return f"{self.filesystem}/{self.path}" if self.path else self.filesystem

    def integer(self, name: str, default: int | None = None) -> int:
        """A query parameter as a non-negative integer; `InvalidQueryParameterValue` when it is not one."""
        text = self.query.get(name)
        if text is None and default is not None:
            return default
        if text is None or not text.isascii() or not text.isdigit():
            raise ServiceError("InvalidQueryParameterValue", f"The query parameter {name} is missing or not a number.")
        return int(text)

    def flag(self, name: str) -> bool:
        """A query parameter as a boolean, false when absent."""
        return self.query.get(name, "").lower() == "true"


@dataclass(slots=True)
class Response:
    """Status, headers and body, which may be a span of an open file (offset, length), closed by the sender."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: BinaryIO | None = None
    offset: int = 0
    length: int = 0

    def close(self) -> None:
        """Close the file of a response that will not be sent, or has been."""
        if self.file is not None:
            self.file.close()


def parse_target(method: str, target: str, headers: Mapping[str, str]) -> Request:
    """Split a request target into filesystem, path and query, and name the operation.

    Raises `InvalidUri` for a path that no storage account can hold (`.` and `..` components, NUL).
    """
    raw_path, _, raw_query = target.partition("?")
    query = parse_query(raw_query)
    filesystem, _, rest = raw_path.lstrip("/").partition("/")
    path = unquote(rest)
    trimmed = clean_path(path)
    dialect, verb = classify(method, filesystem, trimmed, query, headers)
    return Request(
        method=method,
        raw_path=raw_path,
        filesystem=unquote(filesystem),
        path=trimmed,
        trailing_slash=bool(trimmed) and path.endswith("/"),
        query=query,
        headers=headers,
        dialect=dialect,
        verb=verb,
    )


def parse_query(raw_query: str) -> dict[str, str]:
    """Query parameters, decoded, with lower-case names; the last of several wins."""
    pairs = (pair.partition("=") for pair in raw_query.split("&") if pair)
    return {unquote(name).lower(): unquote(value) for name, _, value in pairs}


def clean_path(path: str) -> str:
    """`path` without slashes at its ends and without empty components."""
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise ServiceError("InvalidUri", "A path may not hold '.', '..' or NUL.")
    return "/".join(parts)


def classify(
    method: str, filesystem: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[Dialect, str]:
    """Dialect and operation of a request.

    A loopback name receives both dialects, so the host decides only where it is unambiguous; after that the query and
    headers that only one of the two knows, and at last what the client accepts (the Blob clients ask for XML, the DFS
    clients for JSON).
    """
    dialect = _dialect(query, headers)
    if not filesystem:
        listing = query.get("comp") == "list" or query.get("resource") == "account"
        return dialect, "list_filesystems" if method == "GET" and listing else "account"
    if not path:
        return dialect, _filesystem_verb(method, query)
    return dialect, _path_verb(method, query, headers)


def _dialect(query: Mapping[str, str], headers: Mapping[str, str]) -> Dialect:
    host = headers.get("Host", "")
    if ".dfs." in host:
        return "dfs"
    if ".blob." in host:
        return "blob"
    if "comp" in query or "restype" in query or "x-ms-blob-type" in headers:
        return "blob"
    if query.keys() & {"resource", "action", "mode", "recursive"} or "x-ms-rename-source" in headers:
        return "dfs"
    return "dfs" if "json" in headers.get("Accept", "") else "blob"


def _filesystem_verb(method: str, query: Mapping[str, str]) -> str:
    if query.get("comp") not in (None, "list"):
        return "unsupported"
    match method:
        case "GET" if query.get("comp") == "list" or query.get("resource") == "filesystem":
            return "list"
        case "GET" | "HEAD":
            return "head"
        case "PUT":
            return "create_filesystem"
        case "DELETE":
            return "delete_filesystem"
    return "unsupported"


_PUT_BY_COMP: Final = {
    "block": "put_block",
    "blocklist": "put_block_list",
    "lease": "lease",
    "metadata": "set_properties",
    "properties": "set_properties",
}
_PATCH_BY_ACTION: Final = {
    "append": "append",
    "flush": "flush",
    "setproperties": "set_properties",
    "setaccesscontrol": "set_access_control",
    "setaccesscontrolrecursive": "set_access_control",
}


def _path_verb(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    comp = query.get("comp")
    match method:
        case "PUT" if comp is not None:
            return _PUT_BY_COMP.get(comp, "unsupported")
        case "PUT" if "x-ms-rename-source" in headers:
            return "rename"
        case "PUT" if "x-ms-copy-source" in headers:
            return "unsupported"
        case "PUT" if "resource" in query:
            return {"file": "create", "directory": "create_directory"}.get(query["resource"], "unsupported")
        case "PUT":
            return "put_blob" if headers.get("x-ms-blob-type", "BlockBlob") == "BlockBlob" else "unsupported"
        case "PATCH":
            return _PATCH_BY_ACTION.get(query.get("action", "").lower(), "unsupported")
        case "POST" if "x-ms-lease-action" in headers:
            return "lease"
        case "DELETE" if comp is None:
            return "delete"
        case "HEAD":
            return "get_access_control" if query.get("action", "").lower() == "getaccesscontrol" else "head"
        case "GET" if comp is None:
            return "read"
        case "GET" if comp == "blocklist":
            return "list_blocks"
        case "GET" if comp == "metadata":
            return "head"
    return "unsupported"


def http_date(stamp_ns: int) -> str:
    """Nanoseconds since 1970 as an HTTP date, whole seconds, cut."""
    return format_datetime(datetime.fromtimestamp(stamp_ns // 1_000_000_000, UTC), usegmt=True)


def parse_http_date(text: str) -> int:
    """An HTTP date as seconds since 1970; `InvalidHeaderValue` when it is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError) as error:
        raise ServiceError("InvalidHeaderValue", f"{text!r} is not an HTTP date.") from error
