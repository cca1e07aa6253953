"""What only the Blob dialect has: Put Blob, blocks and their list; and reads, which both clients send in it."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from binascii import Error as Base64Error
from contextlib import ExitStack
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from devcloud.onelake.account import Account
from devcloud.onelake.conditions import Conditions
from devcloud.onelake.dfs import replace_records
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Body, Request, Response
from devcloud.onelake.properties import described, node_headers
from devcloud.onelake.records import Value
from devcloud.onelake.tree import COPY_BUFFER_BYTES, Node

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def put_blob(account: Account, request: Request) -> Response:
    """`PUT` with `x-ms-blob-type: BlockBlob`: the whole contents at once."""
    node = _replaceable(account, request)
    body = _body(request)
    lease = account.tree.records.get(request.key, "lease") if node else None
    published = account.tree.publish(body.file, request.key)
    replace_records(account, request, lease)
    request.body = None
    headers = {**node_headers(published), "x-ms-request-server-encrypted": "true"}
    if body.md5:
        headers["Content-MD5"] = body.md5
    return Response(201, headers)


def _replaceable(account: Account, request: Request) -> Node | None:
    node = account.tree.find(request.key)
    if node is not None and node.is_directory:
        raise ServiceError("PathConflict")
    account.check_replacement(request, node)
    return node


def _body(request: Request) -> Body:
    if request.body is None:
        raise ServiceError("MissingRequiredHeader", "The request has no body.")
    return request.body


def put_block(account: Account, request: Request) -> Response:
    """`PUT ?comp=block&blockid=`: a piece that is invisible until a block list names it."""
    block_id = request.query.get("blockid", "")
    try:
        b64decode(block_id, validate=True)
    except Base64Error:
        raise ServiceError("InvalidBlockId") from None
    node = account.tree.find(request.key)
    if node is not None:
        if node.is_directory:
            raise ServiceError("PathConflict")
        account.leases.check(request.key, request.headers.get("x-ms-lease-id"))
    body = _body(request)
    records = account.tree.records
    replaced = records.get(request.key, "block", block_id)
    records.put(request.key, "block", {"length": body.length, "file": body.file.name}, block_id)
    request.body = None
    if replaced is not None:
        account.tree.spooled(replaced["file"]).unlink(missing_ok=True)
    headers = {"x-ms-request-server-encrypted": "true"}
    if body.md5:
        headers["Content-MD5"] = body.md5
    return Response(201, headers)


def put_block_list(account: Account, request: Request) -> Response:
    """`PUT ?comp=blocklist`: the named blocks, in their order, become the contents; blocks it does not name are
    dropped.
    """
    tree = account.tree
    node = _replaceable(account, request)
    body = _body(request)
    wanted = _parse_block_list(body.file.read_bytes())
    staged = tree.records.entries(request.key, "block")
    committed = _committed_spans(account, request, node)
    chosen: list[tuple[str, Value]] = []
    for kind, block_id in wanted:
        block = None
        if kind in ("Uncommitted", "Latest"):
            block = staged.get(block_id)
        if block is None and kind in ("Committed", "Latest"):
            block = committed.get(block_id)
        if block is None:
            raise ServiceError("InvalidBlockList")
        chosen.append((block_id, block))
    if len(chosen) == 1 and "file" in chosen[0][1]:
        contents = tree.spooled(chosen[0][1]["file"])
    else:
        contents = tree.spool()
        with contents.open("wb") as output:
            for _, block in chosen:
                _copy_block(account, request, block, output.fileno())
    lease = tree.records.get(request.key, "lease") if node else None
    published = tree.publish(contents, request.key)
    replace_records(account, request, lease)
    spans: dict[str, Value] = {}
    start = 0
    for ordinal, (block_id, block) in enumerate(chosen):
        spans[f"{ordinal:05d}"] = {"id": block_id, "start": start, "length": block["length"], "etag": published.etag}
        start += block["length"]
    tree.records.replace(request.key, "committed", spans)
    return Response(201, {**node_headers(published), "x-ms-request-server-encrypted": "true"})


def _parse_block_list(document: bytes) -> list[tuple[str, str]]:
    try:
        root = ElementTree.fromstring(document)  # noqa: S314  (the parser expands no external entity; loopback clients only)
    except ElementTree.ParseError:
        raise ServiceError("InvalidXmlDocument") from None
    return [(element.tag, (element.text or "").strip()) for element in root]


def _committed_spans(account: Account, request: Request, node: Node | None) -> dict[str, Value]:
    """Committed blocks by id, with their span of the file; none when the file was changed in any other way since."""
    if node is None:
        return {}
    blocks = account.tree.records.entries(request.key, "committed").values()
    return {block["id"]: block for block in blocks if block["etag"] == node.etag}


def _copy_block(account: Account, request: Request, block: Value, output: int) -> None:
    tree = account.tree
    staged = "file" in block
    with open(tree.spooled(block["file"]) if staged else tree.disk(request.key), "rb", buffering=0) as data:
        data.seek(0 if staged else block["start"])
        left = block["length"]
        while left and (chunk := data.read(min(left, COPY_BUFFER_BYTES))):
            os.write(output, chunk)
            left -= len(chunk)


def list_blocks(account: Account, request: Request) -> Response:
    """`GET ?comp=blocklist`: committed and staged blocks."""
    node = account.tree.find(request.key)
    staged = account.tree.records.entries(request.key, "block")
    if node is None and not staged:
        raise ServiceError("PathNotFound")
    wanted = request.query.get("blocklisttype", "committed")
    committed = [(block["id"], block["length"]) for block in _committed_spans(account, request, node).values()]
    uncommitted = [(block_id, block["length"]) for block_id, block in staged.items()]
    sections = ""
    if wanted in ("committed", "all"):
        sections += f"<CommittedBlocks>{_block_entries(committed)}</CommittedBlocks>"
    if wanted in ("uncommitted", "all"):
        sections += f"<UncommittedBlocks>{_block_entries(uncommitted)}</UncommittedBlocks>"
    headers = {"Content-Type": "application/xml", "x-ms-blob-content-length": str(node.length if node else 0)}
    if node is not None:
        headers |= node_headers(node)
    body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{sections}</BlockList>'
    return Response(200, headers, body.encode())


def _block_entries(blocks: list[tuple[str, int]]) -> str:
    return "".join(f"<Block><Name>{escape(name)}</Name><Size>{size}</Size></Block>" for name, size in blocks)


def read(account: Account, request: Request) -> Response:
    """`GET`: contents, whole or a range (`x-ms-range` before `Range`). The open file keeps serving the contents it was
    opened with.
    """
    node = account.existing(request)
    account.leases.check(request.key, request.headers.get("x-ms-lease-id"), writing=False)
    if node.is_directory:
        Conditions.of(request.headers).check_read(node.etag, node.modified_ns)
        return Response(200, described(account, node, request.filesystem))
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(account.tree.disk(request.key), "rb", buffering=0))
        except FileNotFoundError:
            raise ServiceError("PathNotFound") from None
        node = account.tree.node(request.key, os.fstat(file.fileno()))
        Conditions.of(request.headers).check_read(node.etag, node.modified_ns)
        span = _requested_span(request, node.length)
        stack.pop_all()
    headers = described(account, node, request.filesystem)
    response = Response(200, headers, file=file, length=node.length)
    if span is not None:
        start, end = span
        response.status = 206
        response.offset = start
        response.length = end - start + 1
        headers["Content-Range"] = f"bytes {start}-{end}/{node.length}"
        if whole_md5 := headers.pop("Content-MD5", None):
            headers["x-ms-blob-content-md5"] = whole_md5
    return response


def _requested_span(request: Request, length: int) -> tuple[int, int] | None:
    """First and last byte asked for, or None for everything. Raises `InvalidRange` where the file has no such byte."""
    text = request.headers.get("x-ms-range") or request.headers.get("Range")
    if not text:
        return None
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(0, length - int(last)), length - 1
    else:
        start, end = int(first), min(int(last), length - 1) if last else length - 1
    if start > end or start >= length:
        raise ServiceError("InvalidRange")
    return start, end
