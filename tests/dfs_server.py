"""A storage service with the Data Lake Storage REST API and nothing else, as plain as its documentation allows.

Written from the reference of the Path and Filesystem operations alone (learn.microsoft.com/rest/api/storageservices/
datalakestoragegen2), so that it shares no habit with the emulator in devcloud/: it has no Blob API, sends no header
that a client could do without, spells etags without quotes, lists two entries at a time, takes an append or a flush
exactly where the file ends and nowhere else, and requires no login. What it stores are files below a folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web

# Entries on a page of a listing.
PAGE_ENTRIES = 2

# Longest wait for a server to start or to stop.
DEADLINE_SECONDS = 30.0


class Refusal(Exception):
    """A response that is not the one the client hoped for."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class DfsServer:
    """The service on a loopback port, in a thread of its own. Start with ``with``.

    ``prefix`` is where the account begins in the URL, as in a storage emulator. ``taken_status`` is what a client hears
    who asks for a path that must not exist and does: services differ. ``put_blob_status`` answers a PUT that is no DFS
    operation; 201 takes it for the creation of an empty file. ``clock_offset`` is how far its clock is from ours.
    ``lengthless``: HEAD tells no length. ``ranges``: a part of a file can be read, also on condition; otherwise reading
    answers with all of it, whatever was asked for.
    """

    def __init__(
        self,
        root: Path,
        *,
        prefix: str = "",
        taken_status: int = 409,
        put_blob_status: int = 400,
        clock_offset: timedelta = timedelta(0),
        lengthless: bool = False,
        ranges: bool = False,
    ) -> None:
        self.root = root
        self.faults: list[dict[str, Any]] = []
        self.mutations = 0
        self._prefix = prefix
        self._taken_status = taken_status
        self._put_blob_status = put_blob_status
        self._clock_offset = clock_offset
        self._lengthless = lengthless
        self._ranges = ranges
        self._unflushed: dict[Path, bytearray] = {}
        self._deletions: Counter[Path] = Counter()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="dfs server", daemon=True)
        self._port = 0

    @property
    def url(self) -> str:
        """The account's address."""
        return f"http://127.0.0.1:{self._port}{self._prefix}"

    def plan(self, **fault: Any) -> None:
        """Let a mutating request meet a fault: the next one, or the ``nth`` from now. ``status``, with ``retry_after``
        seconds, or ``drop``; ``when`` it has taken effect ("after") or before; ``path`` is part of what it is about;
        ``times`` is how many requests meet it."""
        self.faults.append({"when": "before", "nth": 1, "times": 1, **fault})

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(DEADLINE_SECONDS):
            raise RuntimeError("the server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_SECONDS)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = None
        if request.method not in ("GET", "HEAD"):
            self.mutations += 1
            fault = self._due_fault(request)
        if fault and fault["when"] != "after":
            return self._fail(request, fault)
        try:
            answer = self._operation(request)(request, self._path(request), body)
        except Refusal as refusal:
            document = json.dumps({"error": {"code": refusal.code, "message": refusal.code}})
            answer = web.Response(status=refusal.status, text=document, content_type="application/json")
        if fault:
            return self._fail(request, fault)
        answer.headers["Date"] = format_datetime(datetime.now(UTC) + self._clock_offset, usegmt=True)
        return answer

    def _due_fault(self, request: web.Request) -> dict[str, Any] | None:
        for fault in self.faults:
            if fault.get("path", "") in unquote(request.path_qs + request.headers.get("x-ms-rename-source", "")):
                fault["nth"] -= 1
                if fault["nth"] > 0:
                    continue
                fault["times"] -= 1
                if not fault["times"]:
                    self.faults.remove(fault)
                return fault
        return None

    def _fail(self, request: web.Request, fault: dict[str, Any]) -> web.StreamResponse:
        if fault.get("drop") and request.transport is not None:
            request.transport.abort()
            return web.Response()
        headers = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
        return web.Response(status=fault.get("status", 500), headers=headers)

    def _path(self, request: web.Request) -> Path:
        path = unquote(request.raw_path.partition("?")[0])
        if not path.startswith(f"{self._prefix}/"):
            raise Refusal(404, "ResourceNotFound")
        return self.root / path.removeprefix(f"{self._prefix}/").strip("/")

    def _operation(self, request: web.Request) -> Callable[[web.Request, Path, bytes], web.Response]:
        query = request.query
        match request.method:
            case "PUT" if "x-ms-rename-source" in request.headers:
                return self._rename
            case "PUT" if query.get("resource") == "file" or ("resource" not in query and self._put_blob_status == 201):
                return self._create_file
            case "PUT" if query.get("resource") == "directory":
                return self._create_directory
            case "PUT" if "resource" not in query:
                raise Refusal(self._put_blob_status, "MissingRequiredQueryParameter")
            case "PATCH" if query.get("action") == "append":
                return self._append
            case "PATCH" if query.get("action") == "flush":
                return self._flush
            case "GET" if query.get("resource") == "filesystem":
                return self._list
            case "GET" | "HEAD":
                return self._read
            case "DELETE":
                return self._delete
        raise Refusal(400, "UnsupportedHttpVerb")

    def _create_file(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        self._check(request, path)
        if path.is_dir():
            raise Refusal(409, "ResourceTypeMismatch")
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, b"")
        self._unflushed[path] = bytearray()
        return web.Response(status=201, headers={"ETag": self._etag(path)})

    def _create_directory(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        self._check(request, path)
        path.mkdir(parents=True, exist_ok=True)
        return web.Response(status=201)

    def _append(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        _check_there(path)
        unflushed = self._unflushed.setdefault(path, bytearray())
        if int(request.query["position"]) != path.stat().st_size + len(unflushed):
            raise Refusal(400, "InvalidAppendPosition")
        unflushed += body
        return web.Response(status=202)

    def _flush(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        _check_there(path)
        unflushed = self._unflushed.pop(path, None)
        if unflushed is None or int(request.query["position"]) != path.stat().st_size + len(unflushed):
            raise Refusal(400, "InvalidFlushPosition")
        _write(path, path.read_bytes() + unflushed)
        return web.Response(status=200)

    def _rename(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        source = self.root / unquote(request.headers["x-ms-rename-source"]).partition("?")[0].strip("/")
        if not source.exists():
            raise Refusal(404, "SourcePathNotFound")
        self._check(request, path)
        if not path.parent.is_dir():
            raise Refusal(404, "RenameDestinationParentPathNotFound")
        os.replace(source, path)
        return web.Response(status=201)

    def _delete(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        _check_there(path)
        self._check(request, path)
        if not path.is_dir():
            path.unlink()
        elif any(path.iterdir()) and request.query.get("recursive") != "true":
            raise Refusal(409, "DirectoryNotEmpty")
        else:
            shutil.rmtree(path)
            self._deletions[path] += 1
        return web.Response(status=200)

    def _read(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        if not path.exists():
            if request.method == "HEAD":
                return web.Response(status=404)
            raise Refusal(404, "PathNotFound")
        headers = {"ETag": self._etag(path), "x-ms-resource-type": "directory" if path.is_dir() else "file"}
        content = b"" if path.is_dir() else path.read_bytes()
        if request.method == "HEAD":
            length = "0" if self._lengthless else str(len(content))
            return web.Response(headers={**headers, "Content-Length": length})
        if self._ranges:
            self._check(request, path)
        # The reference names Range; Microsoft's own clients say it in their other way.
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("x-ms-range", request.headers.get("Range", "")))
        if not self._ranges or asked is None or int(asked[1]) >= len(content):
            return web.Response(body=content, headers=headers)
        part = content[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
        headers["Content-Range"] = f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}"
        return web.Response(status=206, body=part, headers=headers)

    def _list(self, request: web.Request, path: Path, body: bytes) -> web.Response:
        folder = path / request.query.get("directory", "")
        if not folder.is_dir():
            raise Refusal(404, "PathNotFound")
        found = sorted(folder.rglob("*") if request.query.get("recursive") == "true" else folder.iterdir())
        begin = int(request.query.get("continuation", 0))
        page = found[begin : begin + PAGE_ENTRIES]
        entries = [self._entry(each, path) for each in page]
        more = begin + PAGE_ENTRIES
        headers = {"x-ms-continuation": str(more)} if more < len(found) else {}
        return web.json_response({"paths": entries}, headers=headers)

    def _check(self, request: web.Request, path: Path) -> None:
        if path.exists() and request.headers.get("If-None-Match") == "*":
            raise Refusal(self._taken_status, "PathAlreadyExists")
        match = request.headers.get("If-Match", "*")
        if match != "*" and (not path.exists() or self._etag(path) != match):
            raise Refusal(412, "ConditionNotMet")

    def _etag(self, path: Path) -> str:
        """A folder keeps its etag whatever happens in it; one that takes a deleted one's place has another."""
        status = path.stat()
        return f"0x{status.st_ino:X}{self._deletions[path] if path.is_dir() else status.st_mtime_ns:X}"

    def _entry(self, path: Path, filesystem: Path) -> dict[str, str]:
        status = path.stat()
        modified = datetime.fromtimestamp(status.st_mtime, UTC) + self._clock_offset
        entry = {
            "name": path.relative_to(filesystem).as_posix(),
            "contentLength": "0" if path.is_dir() else str(status.st_size),
            "etag": self._etag(path),
            "lastModified": format_datetime(modified, usegmt=True),
        }
        return {**entry, "isDirectory": "true"} if path.is_dir() else entry


def _check_there(path: Path) -> None:
    if not path.exists():
        raise Refusal(404, "PathNotFound")


def _write(path: Path, content: bytes) -> None:
    """Replace a file, so that its etag changes."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
