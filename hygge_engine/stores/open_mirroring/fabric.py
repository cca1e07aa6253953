"""What Fabric's REST API v1 says of a mirrored database: its tables' status, and whether it keeps their changes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from azure.core import PipelineClient
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest

from hygge_engine.errors import FabricUnavailable, StoreError
from hygge_engine.lake.credentials import credential_of
from hygge_engine.letter_case import confusable
from hygge_engine.retry import TRANSIENT_HTTP_STATUSES
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

# Not the storage audience: the API wants tokens of its own.
FABRIC_SCOPE = "https://api.fabric.microsoft.com/.default"


# A page of the list has some hundred tables of half a kilobyte; a mirrored database has 1,000 tables at most.
RESPONSE_LIMIT_BYTES = 16 << 20
TABLES_LIMIT = 100_000

_CHECK_URL = "Check fabric_api_url: something else responds there."


@dataclass(frozen=True)
class TableStatus:
    """How a table is doing: ``status`` is Fabric's own word, ``error`` its message, ``rows`` the changes it has
    processed so far (no row count), ``synced`` the ISO 8601 time of the last of them."""

    schema_name: str
    table_name: str
    status: str
    error: str = ""
    rows: int = 0
    synced: str = ""


def status_of(tables: Iterable[TableStatus], schema: str, table: str) -> TableStatus | None:
    """The status of one table. Fabric takes names that differ in case alone for one table, and is not bound to spell
    them as their folders."""
    own = (confusable(schema), confusable(table))
    return next((each for each in tables if (confusable(each.schema_name), confusable(each.table_name)) == own), None)


def table_statuses(settings: OpenMirroringSettings) -> list[TableStatus]:
    """The status of every table of the mirrored database, from the REST API.

    Raises FabricUnavailable (transient), or StoreError where the API refuses the request.
    """
    found: list[TableStatus] = []
    token = ""
    with _client(settings) as client:
        while True:
            parameters = {"continuationToken": token} if token else {}
            response = _post(client, _url(settings, "getTablesMirroringStatus"), parameters)
            found += [_from_api(table) for table in response["data"]]
            before, token = token, response.get("continuationToken") or ""
            if not token:
                return found
            if token == before or len(found) > TABLES_LIMIT:
                raise StoreError("Fabric's list of mirrored tables has no end", hint=_CHECK_URL)


def mirroring_status(settings: OpenMirroringSettings) -> str:
    """The status of the mirrored database itself, Running where all is well; raises as `table_statuses`."""
    with _client(settings) as client:
        return str(_post(client, _url(settings, "getMirroringStatus"), {}).get("status", ""))


def keeps_change_data_feed(settings: OpenMirroringSettings) -> bool | None:
    """Whether Fabric keeps the changes of the mirrored tables beside them (``enableDeltaChangeDataFeed`` in the item's
    definition); None where its answer does not say. Raises as `table_statuses`."""
    with _client(settings) as client:
        answer = _post(client, _url(settings, "getDefinition"), {}, what="cannot ask Fabric for the item's definition")
    try:
        (payload,) = [
            part["payload"] for part in answer["definition"]["parts"] if part["path"].lower() == "mirroring.json"
        ]
        target = json.loads(base64.b64decode(payload, validate=True))["properties"]["target"]
        return (target.get("typeProperties") or {}).get("enableDeltaChangeDataFeed", False) is True
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_status_file(data: bytes) -> list[TableStatus]:
    """The tables of ``Files/Monitoring/tables.json``, whose keys are not those of the REST API. Raises ValueError."""
    try:
        return [_from_file(table) for table in json.loads(data)["tables"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a status file: {error}") from error


def _from_api(table: dict[str, Any]) -> TableStatus:
    metrics, error = table.get("metrics") or {}, table.get("error") or {}
    return TableStatus(
        str(table["sourceSchemaName"]),
        str(table["sourceTableName"]),
        str(table.get("status", "")),
        str(error.get("message") or error.get("errorCode") or ""),
        int(metrics.get("processedRows") or 0),
        str(metrics.get("lastSyncDateTime") or ""),
    )


def _from_file(table: dict[str, Any]) -> TableStatus:
    metrics = table.get("metrics") or {}
    return TableStatus(
        str(table["sourceSchemaName"]),
        str(table["sourceTableName"]),
        str(table.get("status", "")),
        str(table.get("errorMessage") or table.get("errorCode") or ""),
        int(metrics.get("processedRowCount") or 0),
        str(metrics.get("lastSyncTimeUtc") or ""),
    )


def _client(settings: OpenMirroringSettings) -> PipelineClient[Any, Any]:
    base = (settings.fabric_api_url or "").rstrip("/")
    policies: list[Any] = []
    if base.startswith("https://") and settings.credential in ("managed_identity", "default", "client_secret"):
        policies.append(BearerTokenCredentialPolicy(credential_of(settings), FABRIC_SCOPE))
    return PipelineClient(base, policies=policies)


def _url(settings: OpenMirroringSettings, action: str) -> str:
    base = (settings.fabric_api_url or "").rstrip("/")
    return f"{base}/v1/workspaces/{settings.filesystem}/mirroredDatabases/{settings.mirror_name}/{action}"


def _post(
    client: PipelineClient[Any, Any],
    url: str,
    parameters: dict[str, str],
    *,
    what: str = "cannot ask Fabric for the status of the mirrored tables",
) -> dict[str, Any]:
    try:
        with client.send_request(HttpRequest("POST", url, params=parameters), stream=True) as response:
            response.raise_for_status()
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > RESPONSE_LIMIT_BYTES:
                    raise StoreError(
                        f"{what}: its response has more than {RESPONSE_LIMIT_BYTES:,} bytes", hint=_CHECK_URL
                    )
        content: dict[str, Any] = json.loads(data)
        return content
    except HttpResponseError as error:
        message = f"{what}: {error.status_code} {error.reason}"
        if error.status_code in TRANSIENT_HTTP_STATUSES:
            raise FabricUnavailable(message) from error
        raise StoreError(message, hint="Check fabric_api_url and the identity's role in the workspace.") from error
    except (AzureError, ValueError, KeyError) as error:
        raise FabricUnavailable(f"{what}: {type(error).__name__}") from error
