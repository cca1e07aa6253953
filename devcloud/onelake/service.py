"""Carries out one request on an account: the same for every way a request may arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devcloud.onelake import blob, dfs, properties
from devcloud.onelake.account import RESERVED_FILESYSTEM, Account
from devcloud.onelake.conditions import Conditions, without_conditions
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Request, Response
from devcloud.onelake.listing import list_blobs, list_filesystems, list_paths
from devcloud.onelake.prohibitions import refuse_in_onelake

_PATH_VERBS: Final[dict[str, Callable[[Account, Request], Response]]] = {
    "append": dfs.append,
    "create": dfs.create,
    "create_directory": dfs.create_directory,
    "delete": dfs.delete,
    "flush": dfs.flush,
    "get_access_control": properties.get_access_control,
    "head": properties.head,
    "list_blocks": blob.list_blocks,
    "put_blob": blob.put_blob,
    "put_block": blob.put_block,
    "put_block_list": blob.put_block_list,
    "read": blob.read,
    "rename": dfs.rename,
    "set_properties": properties.set_properties,
}


def execute(account: Account, request: Request) -> Response:
    """Do what the request asks, as one step that no other request sees half of.

    Raises `ServiceError` and `NotModifiedError`; then nothing was changed.
    """
    with account.tree.lock:
        mode = account.mode_of(request.filesystem) if request.filesystem else account.mode
        if request.verb in account.behaviour.ignored_conditions:
            request.headers = without_conditions(request.headers)
        if mode == "onelake":
            refuse_in_onelake(account, request)
        match request.verb:
            case "create_filesystem":
                return _create_filesystem(account, request)
            case "list_filesystems":
                return list_filesystems(account.tree, request)
            case "account" if request.method in ("GET", "HEAD"):
                return Response(
                    200,
                    {"x-ms-sku-name": "Standard_LRS", "x-ms-account-kind": "StorageV2", "x-ms-is-hns-enabled": "true"},
                )
        if request.filesystem.startswith(".") or account.tree.find(request.filesystem) is None:
            raise ServiceError("FilesystemNotFound")
        match request.verb:
            case "delete_filesystem":
                node = account.existing(request)
                Conditions.of(request.headers).check_write(node.etag, node.modified_ns)
                account.tree.remove(node)
                return Response(202)
            case "list" if request.query.get("comp") == "list":
                return list_blobs(account.tree, account.leases, request, account.behaviour)
            case "list":
                return list_paths(account.tree, request, mode, account.behaviour)
            case "lease":
                return _lease(account, request)
        handler = _PATH_VERBS.get(request.verb)
        if handler is None or (request.verb == "put_blob" and not account.behaviour.puts_blobs):
            raise ServiceError(
                "NotImplemented", f"This emulator does not implement {request.method} {request.raw_path}."
            )
        return handler(account, request)


def _create_filesystem(account: Account, request: Request) -> Response:
    name = request.filesystem
    if name.startswith(".") or name == RESERVED_FILESYSTEM:
        raise ServiceError("InvalidResourceName")
    if account.tree.find(name) is not None:
        raise ServiceError("FilesystemAlreadyExists")
    account.create_filesystem(name, account.mode)
    return Response(201, properties.node_headers(account.existing(request)))


def _lease(account: Account, request: Request) -> Response:
    node = account.existing(request)
    Conditions.of(request.headers).check_write(node.etag, node.modified_ns)
    response = account.leases.apply(request.key, request.headers)
    response.headers |= properties.node_headers(node)
    return response
