"""What only the DFS dialect has: create, append, flush, rename, delete with a directory's contents."""

from __future__ import annotations

from itertools import islice
from urllib.parse import unquote, urlsplit

from devcloud.onelake.account import Account
from devcloud.onelake.conditions import Conditions
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Request, Response, clean_path
from devcloud.onelake.prohibitions import refuse_managed_path
from devcloud.onelake.properties import node_headers, requested_properties
from devcloud.onelake.tree import Node


def create(account: Account, request: Request) -> Response:
    """`PUT ?resource=file`: an empty file, in place of whatever file was there."""
    tree = account.tree
    node = tree.find(request.key)
    if node is not None and node.is_directory:
        raise ServiceError("PathAlreadyExists" if Conditions.of(request.headers).only_if_missing else "PathConflict")
    account.check_replacement(request, node)
    lease = tree.records.get(request.key, "lease") if node else None
    node = tree.publish_empty(request.key)
    replace_records(account, request, lease)
    return Response(201, {**node_headers(node), "x-ms-request-server-encrypted": "true"})


def replace_records(account: Account, request: Request, lease: dict[str, object] | None) -> None:
    """Delete what was recorded about a replaced file, its lease excepted, and record what the request says about the
    new one.
    """
    records = account.tree.records
    account.tree.forget(request.key)
    if lease is not None:
        records.put(request.key, "lease", lease)
    if properties := requested_properties(request):
        records.put(request.key, "properties", properties)


def create_directory(account: Account, request: Request) -> Response:
    """`PUT ?resource=directory`: a directory; one that exists stays, with its contents."""
    tree = account.tree
    node = tree.find(request.key)
    if node is not None and not node.is_directory:
        raise ServiceError("PathAlreadyExists")
    account.check_replacement(request, node)
    tree.make_directory(request.key)
    if node is not None and account.behaviour.directory_create_changes_etag:
        tree.restamp(request.key)
    if properties := requested_properties(request):
        tree.records.put(request.key, "properties", properties)
    return Response(201, {**node_headers(account.existing(request)), "x-ms-request-server-encrypted": "true"})


def append(account: Account, request: Request) -> Response:
    """`PATCH ?action=append&position=`: data that is invisible until it is flushed, at any position: the flush judges.

    A second append at the same position replaces the first, so that a client may repeat one whose response it never
    received.
    """
    node = account.writable(request)
    position = request.integer("position")
    body = request.body
    if body is None or body.length == 0:
        raise ServiceError("InvalidHeaderValue", "An append must carry data.")
    records = account.tree.records
    name = f"{position:020d}"
    replaced = records.get(request.key, "part", name)
    records.put(request.key, "part", {"length": body.length, "file": body.file.name}, name)
    request.body = None
    if replaced is not None:
        account.tree.spooled(replaced["file"]).unlink(missing_ok=True)
    if request.flag("flush"):
        flushed = _flush(account, request, node, position + body.length)
        return Response(202, {**node_headers(flushed), "x-ms-request-server-encrypted": "true"})
    return Response(202, {"x-ms-request-server-encrypted": "true"})


def flush(account: Account, request: Request) -> Response:
    """`PATCH ?action=flush&position=`: makes appended data the end of the file, all at once."""
    node = account.writable(request)
    Conditions.of(request.headers).check_write(node.etag, node.modified_ns)
    flushed = _flush(account, request, node, request.integer("position"))
    if properties := requested_properties(request):
        account.tree.records.put(request.key, "properties", properties)
    return Response(200, {**node_headers(flushed), "x-ms-request-server-encrypted": "true"})


def _flush(account: Account, request: Request, node: Node, position: int) -> Node:
    tree = account.tree
    parts = {int(name): part for name, part in tree.records.entries(request.key, "part").items()}
    chosen, kept = [], {}
    end = node.length
    for start, part in sorted(parts.items()):
        if start >= position:
            kept[f"{start:020d}"] = part
        elif start == end:
            chosen.append(part)
            end += part["length"]
        elif start >= node.length:
            raise ServiceError("InvalidFlushPosition")
    if end != position:
        raise ServiceError("InvalidFlushPosition")
    if not chosen:
        tree.restamp(request.key)
        flushed = account.existing(request)
    else:
        first = tree.spooled(chosen[0]["file"])
        if node.length or len(chosen) > 1:
            pieces = [(tree.spooled(part["file"]), part["length"]) for part in chosen]
            first = tree.join((tree.disk(request.key), node.length), *pieces)
        flushed = tree.publish(first, request.key)
    tree.keep_parts(request.key, kept if request.flag("retainuncommitteddata") else {})
    return flushed


def rename(account: Account, request: Request) -> Response:
    """`PUT` with `x-ms-rename-source`: atomic for files and directories; replaces a file or an empty directory of the
    same kind.
    """
    tree = account.tree
    source_filesystem, source_path = rename_source(request.headers["x-ms-rename-source"])
    source_key = f"{source_filesystem}/{source_path}"
    if account.mode_of(source_filesystem) == "onelake":
        refuse_managed_path(account, source_filesystem, source_path)
        item = (source_filesystem, source_path.partition("/")[0])
        crosses = item != (request.filesystem, request.path.partition("/")[0])
        if crosses and not account.behaviour.cross_item_rename:
            raise ServiceError("OperationNotAllowed", "A rename may not leave its item.")
    source = tree.find(source_key)
    if source is None:
        if account.behaviour.rename_looks_at_destination_first and tree.find(request.key) is not None:
            raise ServiceError("PathAlreadyExists")
        raise ServiceError("SourcePathNotFound")
    account.leases.check(source_key, request.headers.get("x-ms-source-lease-id"))
    Conditions.of_source(request.headers).check_write(source.etag, source.modified_ns, code="SourceConditionNotMet")
    parent = tree.find(request.key.rpartition("/")[0])
    if parent is None:
        if not account.behaviour.rename_makes_parents:
            raise ServiceError("RenameDestinationParentPathNotFound")
        tree.make_directory(request.key.rpartition("/")[0])
    elif not parent.is_directory:
        raise ServiceError("InvalidDestinationPath")
    destination = tree.find(request.key)
    _check_destination(account, request, source, destination)
    if source_key != request.key:
        tree.rename(source_key, request.key, keep_etag=account.behaviour.rename_keeps_etag)
    return Response(201, node_headers(account.existing(request)))


def _check_destination(account: Account, request: Request, source: Node, destination: Node | None) -> None:
    conditions = Conditions.of(request.headers)
    if destination is not None and conditions.only_if_missing:
        conflict = account.behaviour.conditional_rename_status == 409
        raise ServiceError("PathAlreadyExists" if conflict else "ConditionNotMet")
    conditions.check_write(destination.etag if destination else None, destination.modified_ns if destination else 0)
    if source.is_directory and (request.key + "/").startswith(source.path + "/"):
        raise ServiceError("InvalidRenameSourcePath")
    if destination is None:
        return
    if source.is_directory != destination.is_directory:
        raise ServiceError("InvalidSourceOrDestinationResourceType")
    if destination.is_directory and not account.tree.is_empty(request.key):
        raise ServiceError("DirectoryNotEmpty", "The destination directory is not empty.")


def rename_source(header: str) -> tuple[str, str]:
    """Filesystem and path of an `x-ms-rename-source`: `/fs/path`, percent-encoded or not, `fs/path`, or a whole URL; a
    query is ignored.
    """
    source = urlsplit(header).path if "://" in header else header.partition("?")[0]
    filesystem, _, path = unquote(source).lstrip("/").partition("/")
    path = clean_path(path)
    if not filesystem or not path:
        raise ServiceError("InvalidSourceUri")
    return filesystem, path


def delete(account: Account, request: Request) -> Response:
    """`DELETE`: a file, an empty directory, or with `recursive=true` all below it.

    At once, unless the request asks for pages (`paginated=true`): then `page_size` paths per request, children
    first.
    """
    tree = account.tree
    node = account.existing(request)
    account.leases.check(request.key, request.headers.get("x-ms-lease-id"))
    Conditions.of(request.headers).check_write(node.etag, node.modified_ns)
    response = Response(200 if request.dialect == "dfs" else 202, {"x-ms-delete-type-permanent": "true"})
    if node.is_directory and not request.flag("recursive") and not tree.is_empty(request.key):
        raise ServiceError("DirectoryNotEmpty")
    if node.is_directory and request.flag("paginated"):
        size = account.behaviour.page_size
        below = list(islice(tree.walk(request.key, recursive=True), size + 1))
        if len(below) > size:
            # The walk gives parents first: a directory among the first `size` may still have children beyond them.
            for child in reversed(below):
                if not child.is_directory or tree.is_empty(child.path):
                    tree.remove(child)
            response.headers["x-ms-continuation"] = "next"
            return response
    tree.remove(node)
    return response
