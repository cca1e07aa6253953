"""The server's own endpoints under `/devcloud/`: operations, faults, clock, workspaces. JSON; they take the account's
key in a header of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from devcloud.onelake.account import Account
from devcloud.onelake.behaviour import Behaviour
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Response
from devcloud.onelake.faults import Faults
from devcloud.onelake.operations import OperationsLog
from devcloud.switches import check_switches

# No header that a form or an image of a web page could send.
CONTROL_KEY_HEADER = "x-devcloud-key"

_JSON = {"Content-Type": "application/json"}


class Control:
    """Serves the endpoints for one server."""

    def __init__(self, account: Account, operations: OperationsLog, faults: Faults) -> None:
        self._account = account
        self._operations = operations
        self._faults = faults

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Response:
        """Carry out one control request; a refusal is a 400 or 404 with the reason."""
        try:
            return self._answer(method, path.strip("/").split("/")[1:], query, body)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError, ServiceError) as error:
            return Response(400, dict(_JSON), json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())

    def _answer(self, method: str, parts: list[str], query: Mapping[str, str], body: bytes) -> Response:
        match method, parts:
            case "GET", ["operations"]:
                mutating = query.get("mutating")
                operations = self._operations.select(
                    verb=query.get("verb"),
                    path=query.get("path"),
                    mutating=None if mutating is None else mutating == "true",
                    after=int(query.get("after", "0")),
                )
                return _json({"operations": [operation.as_json() for operation in operations]})
            case "DELETE", ["operations"]:
                self._operations.clear()
                return Response(204)
            case "GET", ["faults"]:
                return _json({"faults": [fault.as_json() for fault in self._faults.all()]})
            case "POST", ["faults"]:
                return _json(self._faults.add(**json.loads(body)).as_json(), 201)
            case "DELETE", ["faults"]:
                self._faults.clear()
                return Response(204)
            case "DELETE", ["faults", fault_id]:
                self._faults.remove(int(fault_id))
                return Response(204)
            case "POST", ["clock"]:
                self._account.clock.offset_seconds = float(json.loads(body)["offset_seconds"])
                return Response(204)
            case "POST", ["behaviour"]:
                for name, value in check_switches(Behaviour, json.loads(body)).items():
                    setattr(self._account.behaviour, name, value)
                return Response(204)
            case "POST", ["items"]:
                wanted = json.loads(body)
                self._account.create_filesystem(wanted["workspace"], "onelake")
                folders = wanted.get("folders", ("Files", "Tables"))
                self._account.create_item(wanted["workspace"], wanted["item"], folders)
                return Response(201)
        return Response(404, dict(_JSON), json.dumps({"error": f"no endpoint {method} /{'/'.join(parts)}"}).encode())


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(status, dict(_JSON), json.dumps(value).encode())
