"""Pages of a listing: paths as DFS JSON, blobs and containers as Blob XML.

The continuation token is the last name delivered, so a listing continues correctly whatever was added or removed
meanwhile.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from itertools import islice
from xml.sax.saxutils import escape

from devcloud.onelake.behaviour import Behaviour, Mode
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Request, Response, clean_path, http_date
from devcloud.onelake.leases import Leases
from devcloud.onelake.tree import Node, Tree


def permissions(node: Node, mode: Mode) -> str:
    """What a listing or a HEAD says about permissions: OneLake never says."""
    if mode == "onelake":
        return "---------"
    return "rwxr-x---" if node.is_directory else "rw-r-----"


def list_paths(tree: Tree, request: Request, mode: Mode, behaviour: Behaviour) -> Response:
    """`GET /<filesystem>?resource=filesystem`: one page of paths below `directory`."""
    directory = clean_path(request.query.get("directory", ""))
    base = f"{request.filesystem}/{directory}" if directory else request.filesystem
    start = tree.find(base)
    if start is None:
        raise ServiceError("PathNotFound")
    after = _decode_token(request.query.get("continuation", ""))
    size = _page_size(request, "maxresults", behaviour)
    nodes = [start] if not start.is_directory else tree.walk(base, recursive=request.flag("recursive"), after=after)
    page = list(islice(nodes, size + 1))
    response = Response(200, {"Content-Type": "application/json;charset=utf-8"})
    if len(page) > size:
        page.pop()
        response.headers["x-ms-continuation"] = _encode_token(page[-1].path[len(base) + 1 :])
    response.body = json.dumps({"paths": [_path_entry(node, request.filesystem, mode) for node in page]}).encode()
    return response


def _path_entry(node: Node, filesystem: str, mode: Mode) -> dict[str, str]:
    modified = http_date(node.modified_ns)
    entry = {
        "name": node.path[len(filesystem) + 1 :],
        "contentLength": str(node.length),
        # Ticks of 100 ns since 1601, as the service writes the creation time.
        "creationTime": str(node.modified_ns // 100 + 116_444_736_000_000_000),
        "etag": node.etag,
        "lastModified": modified,
        "owner": "$superuser",
        "group": "$superuser",
        "permissions": permissions(node, mode),
    }
    return entry | {"isDirectory": "true"} if node.is_directory else entry


def list_blobs(tree: Tree, leases: Leases, request: Request, behaviour: Behaviour) -> Response:
    """`GET /<container>?restype=container&comp=list`: one page of blobs and, with a delimiter, of prefixes."""
    query = request.query
    prefix = query.get("prefix", "")
    delimiter = query.get("delimiter", "")
    if delimiter not in ("", "/"):
        raise ServiceError("InvalidQueryParameterValue", "The only delimiter of a hierarchical namespace is '/'.")
    size = _page_size(request, "maxresults", behaviour)
    entries = list(islice(_matching(tree, request, prefix, recursive=not delimiter), size + 1))
    marker = ""
    if len(entries) > size:
        entries.pop()
        marker = _encode_token(entries[-1].path[len(request.filesystem) + 1 :])
    with_metadata = "metadata" in query.get("include", "").split(",")
    blobs = "".join(
        _prefix_entry(node, request.filesystem)
        if delimiter and node.is_directory
        else _blob_entry(tree, leases, node, request.filesystem, with_metadata=with_metadata)
        for node in entries
    )
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<EnumerationResults ServiceEndpoint="" ContainerName="{escape(request.filesystem)}">'
        f"<Prefix>{escape(prefix)}</Prefix><Marker>{escape(query.get('marker', ''))}</Marker>"
        f"<MaxResults>{size}</MaxResults><Delimiter>{delimiter}</Delimiter>"
        f"<Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    )
    return Response(200, {"Content-Type": "application/xml"}, body.encode())


def _matching(tree: Tree, request: Request, prefix: str, *, recursive: bool) -> Iterator[Node]:
    """Everything whose path begins with `prefix`, from below the deepest directory that the prefix names.

    `startFrom`, which Delta readers page through a log with, leaves out what comes before it (List Blobs, inclusive).
    """
    folder, _, start = prefix.rpartition("/")
    folder = clean_path(folder)
    base = f"{request.filesystem}/{folder}" if folder else request.filesystem
    after = _decode_token(request.query.get("marker", ""))
    depth = len(folder.split("/")) if folder else 0
    first = request.query.get("startfrom", "").split("/")
    for node in tree.walk(base, recursive=recursive, after=after[depth:]):
        own = node.path[len(request.filesystem) + 1 :].split("/")
        if node.path[len(base) + 1 :].startswith(start) and own >= first:
            yield node


def _prefix_entry(node: Node, filesystem: str) -> str:
    return f"<BlobPrefix><Name>{escape(node.path[len(filesystem) + 1 :])}/</Name></BlobPrefix>"


def _blob_entry(tree: Tree, leases: Leases, node: Node, filesystem: str, *, with_metadata: bool) -> str:
    properties = tree.records.get(node.path, "properties") or {}
    modified = http_date(node.modified_ns)
    metadata = ""
    if with_metadata:
        pairs = dict(properties.get("metadata", {}))
        if node.is_directory:
            pairs["hdi_isfolder"] = "true"
        metadata = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in pairs.items())
        metadata = f"<Metadata>{metadata}</Metadata>"
    lease = leases.headers(node.path)
    return (
        f"<Blob><Name>{escape(node.path[len(filesystem) + 1 :])}</Name><Properties>"
        f"<Creation-Time>{modified}</Creation-Time><Last-Modified>{modified}</Last-Modified><Etag>{node.etag}</Etag>"
        f"<ResourceType>{'directory' if node.is_directory else 'file'}</ResourceType>"
        f"<Content-Length>{node.length}</Content-Length>"
        f"<Content-Type>{escape(properties.get('Content-Type', 'application/octet-stream'))}</Content-Type>"
        f"<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"
        f"<LeaseStatus>{lease['x-ms-lease-status']}</LeaseStatus><LeaseState>{lease['x-ms-lease-state']}</LeaseState>"
        f"<ServerEncrypted>true</ServerEncrypted></Properties>{metadata}</Blob>"
    )


def list_filesystems(tree: Tree, request: Request) -> Response:
    """`GET /?comp=list` (containers, XML) or `GET /?resource=account` (filesystems, JSON), in one page."""
    prefix = request.query.get("prefix", "")
    nodes = [node for name in tree.filesystems() if name.startswith(prefix) and (node := tree.find(name)) is not None]
    if request.query.get("comp") != "list":
        listed = [{"name": n.path, "etag": n.etag, "lastModified": http_date(n.modified_ns)} for n in nodes]
        body = json.dumps({"filesystems": listed}).encode()
        return Response(200, {"Content-Type": "application/json;charset=utf-8"}, body)
    containers = "".join(
        f"<Container><Name>{escape(node.path)}</Name><Properties>"
        f"<Last-Modified>{http_date(node.modified_ns)}</Last-Modified><Etag>{node.etag}</Etag>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState></Properties></Container>"
        for node in nodes
    )
    text = (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="">'
        f"<Containers>{containers}</Containers><NextMarker/></EnumerationResults>"
    )
    return Response(200, {"Content-Type": "application/xml"}, text.encode())


def _page_size(request: Request, name: str, behaviour: Behaviour) -> int:
    size = request.integer(name, behaviour.page_size)
    if size == 0:
        raise ServiceError("InvalidQueryParameterValue", f"{name} must be greater than zero.")
    return min(size, behaviour.page_size)


def _encode_token(path: str) -> str:
    return urlsafe_b64encode(path.encode()).decode()


def _decode_token(token: str) -> tuple[str, ...]:
    try:
        return tuple(urlsafe_b64decode(token).decode().split("/")) if token else ()
    except (Base64Error, UnicodeDecodeError):
        raise ServiceError(
            "InvalidQueryParameterValue", "The continuation token is not one of this server's."
        ) from None
