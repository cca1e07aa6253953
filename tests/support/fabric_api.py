"""Fabric's REST API, as far as the scripts of infra/ need it."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORKSPACE = "11111111-1111-1111-1111-111111111111"

PRINCIPAL = "33333333-3333-3333-3333-333333333333"


class Fabric:
    """Workspaces with mirrored databases and role assignments. A new database is ready after two looks at it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.items: dict[str, dict[str, Any]] = {}
        self.roles: dict[str, str] = {}
        self.throttled = 0
        self.refused: tuple[int, str] | None = None
        self.refused_methods: set[str] = set()
        # Whether definitions are given and taken later, as operations; and what those that have ended came to.
        self.slow = False
        self.fails = False
        self.operations: list[Any] = []

        fabric = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fabric.tokens.append(self.headers.get("Authorization"))
                status, headers, answer = fabric.answer(self.command, self.path, json.loads(body or b"null"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_PATCH = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, str], Any]:
        self.requests.append(f"{method} {path}")
        if self.throttled:
            self.throttled -= 1
            return 429, {"Retry-After": "0"}, {}
        if method in self.refused_methods:
            return 403, {}, {"errorCode": "InsufficientPrivileges", "message": "no"}
        if self.refused:
            code, text = self.refused
            return code, {}, {"errorCode": text, "message": "no"}
        root = f"/v1/workspaces/{WORKSPACE}"
        if operation := re.fullmatch(r"/v1/operations/(\d+)(/result)?", path):
            if operation[2]:
                return 200, {}, self.operations[int(operation[1])]
            return (
                200,
                {},
                {"status": "Failed", "error": {"errorCode": "Odd"}} if self.fails else {"status": "Succeeded"},
            )
        match method, path.removeprefix(root).split("?"):
            case "GET", ["/mirroredDatabases", *rest]:
                # One item a page: a listing that stops at the first is found out.
                names, start = list(self.items), int(rest[0].partition("=")[2]) if rest else 0
                page = [{"id": each, "displayName": self.items[each]["name"]} for each in names[start : start + 1]]
                more = {"continuationToken": str(start + 1)} if start + 1 < len(names) else {}
                return 200, {}, {"value": page, **more}
            case "POST", ["/mirroredDatabases"]:
                self.add(body["displayName"], "Initializing", body)
                return 201, {}, {"id": self.ids[-1]}
            case "GET", ["/roleAssignments"]:
                value = [{"principal": {"id": each}, "role": role} for each, role in self.roles.items()]
                return 200, {}, {"value": value}
            case "POST", ["/roleAssignments"]:
                assert body["principal"]["type"] == "ServicePrincipal"
                self.roles[body["principal"]["id"]] = body["role"]
                return 201, {}, {}
            case "PATCH", [role]:
                self.roles[role.removeprefix("/roleAssignments/")] = body["role"]
                return 200, {}, {}
        item = re.fullmatch(root + r"/mirroredDatabases/([^/]+)/(\w+)", path)
        assert item is not None, path
        answer = self.act(self.items[item[1]], item[2], body)
        if self.slow and item[2].endswith("Definition"):
            self.operations.append(answer)
            return 202, {"x-ms-operation-id": str(len(self.operations) - 1)}, None
        return 200, {}, answer

    def act(self, item: dict[str, Any], action: str, body: Any) -> Any:
        if action == "getDefinition":
            return {"definition": item["body"]["definition"]}
        if action == "updateDefinition":
            item["body"] = body
            return None
        if action == "startMirroring":
            assert item["status"] in ("Initialized", "Stopped", "Paused"), "Fabric refuses the start in other states"
            item["status"] = "Starting"
            return None
        answer = {"status": item["status"]}
        item["status"] = {"Initializing": "Initialized", "Starting": "Running"}.get(item["status"], item["status"])
        return answer

    def add(self, name: str, status: str, body: Any = None) -> str:
        id_ = f"22222222-2222-2222-2222-{len(self.items):012}"
        self.items[id_] = {"name": name, "status": status, "body": body}
        return id_

    @property
    def ids(self) -> list[str]:
        return list(self.items)
