"""Headers about a path: what a read returns, what a write asks to keep (content type, user metadata)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Any, Final

from devcloud.onelake.account import Account
from devcloud.onelake.conditions import Conditions
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Request, Response, http_date
from devcloud.onelake.listing import permissions
from devcloud.onelake.tree import Node

_CONTENT_HEADERS: Final = (
    "Content-Type",
    "Content-Encoding",
    "Content-Language",
    "Content-Disposition",
    "Cache-Control",
    "Content-MD5",
)
_METADATA_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def node_headers(node: Node) -> dict[str, str]:
    """ETag and Last-Modified, which every response about a path carries."""
    return {"ETag": f'"{node.etag}"', "Last-Modified": http_date(node.modified_ns)}


def described(account: Account, node: Node, filesystem: str) -> dict[str, str]:
    """All headers that a HEAD or GET of a path returns, the length excepted."""
    properties = account.tree.records.get(node.path, "properties") or {}
    mode = account.mode_of(filesystem)
    headers = {
        **node_headers(node),
        **account.leases.headers(node.path),
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "x-ms-resource-type": "directory" if node.is_directory else "file",
        "x-ms-blob-type": "BlockBlob",
        "x-ms-creation-time": http_date(node.modified_ns),
        "x-ms-server-encrypted": "true",
        "x-ms-access-tier": "Hot",
        "x-ms-owner": "$superuser",
        "x-ms-group": "$superuser",
        "x-ms-permissions": permissions(node, mode),
    }
    metadata = dict(properties.get("metadata", {}))
    headers.update({name: properties[name] for name in _CONTENT_HEADERS if name in properties})
    if metadata:
        headers["x-ms-properties"] = ",".join(f"{k}={b64encode(v.encode()).decode()}" for k, v in metadata.items())
    if node.is_directory:
        metadata["hdi_isfolder"] = "true"
    headers.update({f"x-ms-meta-{name}": value for name, value in metadata.items()})
    return headers


def requested_properties(request: Request) -> dict[str, Any]:
    """What a write says about the path beside its contents, in both dialects' headers. Empty when it says nothing."""
    headers = request.headers
    properties: dict[str, Any] = {}
    for name in _CONTENT_HEADERS:
        value = headers.get(f"x-ms-blob-{name.lower()}") or headers.get(f"x-ms-{name.lower()}")
        if value:
            properties[name] = value
    if request.verb == "put_blob" and "Content-MD5" not in properties and request.body and request.body.md5:
        properties["Content-MD5"] = request.body.md5
    metadata = {
        name[len("x-ms-meta-") :]: value for name, value in headers.items() if name.lower().startswith("x-ms-meta-")
    }
    metadata.update(_parse_properties(headers.get("x-ms-properties", "")))
    if any(not _METADATA_NAME.fullmatch(name) for name in metadata):
        raise ServiceError("InvalidHeaderValue", "A metadata name must be a C# identifier.")
    if metadata:
        properties["metadata"] = metadata
    return properties


def _parse_properties(text: str) -> dict[str, str]:
    """`name=base64,name=base64`, as the DFS dialect writes metadata."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    try:
        return {name.strip(): b64decode(value).decode() for name, _, value in pairs}
    except (Base64Error, UnicodeDecodeError):
        raise ServiceError("InvalidHeaderValue", "x-ms-properties holds a value that is not base64.") from None


def set_properties(account: Account, request: Request) -> Response:
    """`PATCH ?action=setProperties`, `PUT ?comp=metadata`, `PUT ?comp=properties`: replaces its own half, and the ETag
    changes.
    """
    node = account.existing(request)
    account.leases.check(request.key, request.headers.get("x-ms-lease-id"))
    Conditions.of(request.headers).check_write(node.etag, node.modified_ns)
    records = account.tree.records
    kept = dict(records.get(request.key, "properties") or {})
    requested = requested_properties(request)
    match request.query.get("comp"):
        case "metadata":
            kept.pop("metadata", None)
        case "properties":
            kept = {"metadata": kept["metadata"]} if "metadata" in kept else {}
    records.put(request.key, "properties", kept | requested)
    account.tree.restamp(request.key)
    return Response(200, node_headers(account.existing(request)))


def head(account: Account, request: Request) -> Response:
    """`HEAD`, and `GET ?comp=metadata`: a path or a filesystem without its contents."""
    node = account.existing(request)
    if node.is_directory and request.path and not account.behaviour.folders_answer_head:
        raise ServiceError("PathNotFound")
    account.leases.check(request.key, request.headers.get("x-ms-lease-id"), writing=False)
    Conditions.of(request.headers).check_read(node.etag, node.modified_ns)
    if not request.path:
        namespace = {"x-ms-namespace-enabled": "true", "x-ms-lease-state": "available", "x-ms-lease-status": "unlocked"}
        return Response(200, {**node_headers(node), **namespace})
    headers = described(account, node, request.filesystem)
    headers["Content-Length"] = str(node.length) if request.method == "HEAD" else "0"
    return Response(200, headers)


def get_access_control(account: Account, request: Request) -> Response:
    """`HEAD ?action=getAccessControl`: the fixed owner and permissions."""
    headers = described(account, account.existing(request), request.filesystem)
    acl = "user::rwx,group::r-x,other::---"
    return Response(200, headers | {"x-ms-acl": acl, "Content-Length": "0"})
