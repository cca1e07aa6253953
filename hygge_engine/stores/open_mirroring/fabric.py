"""What Fabric's REST API says of a mirrored database's tables (getTablesMirroringStatus, Fabric REST API v1)."""

from __future__ import annotations

from typing import Any

from azure.core import PipelineClient
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest

from hygge_engine.errors import FabricUnavailable, StoreError
from hygge_engine.lake.credentials import credential_of
from hygge_engine.retry import TRANSIENT_HTTP_STATUSES
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

# Not the storage audience: the API wants tokens of its own.
FABRIC_SCOPE = "https://api.fabric.microsoft.com/.default"


def mirrored_tables(settings: OpenMirroringSettings) -> set[tuple[str, str]]:
    """Schema and name of every table that Fabric lists for the mirrored database.

    Raises FabricUnavailable (transient), or StoreError where the API refuses the request.
    """
    base = (settings.fabric_api_url or "").rstrip("/")
    policies: list[Any] = []
    if base.startswith("https://") and settings.credential in ("managed_identity", "default", "client_secret"):
        policies.append(BearerTokenCredentialPolicy(credential_of(settings), FABRIC_SCOPE))
    path = f"/v1/workspaces/{settings.filesystem}/mirroredDatabases/{settings.mirror_name}/getTablesMirroringStatus"
    found: set[tuple[str, str]] = set()
    token = ""
    client: PipelineClient[Any, Any] = PipelineClient(base, policies=policies)
    with client:
        while True:
            parameters = {"continuationToken": token} if token else {}
            answer = _post(client, base + path, parameters)
            found |= {(str(table["sourceSchemaName"]), str(table["sourceTableName"])) for table in answer["data"]}
            token = answer.get("continuationToken") or ""
            if not token:
                return found


def _post(client: PipelineClient[Any, Any], url: str, parameters: dict[str, str]) -> dict[str, Any]:
    what = "cannot ask Fabric for the status of the mirrored tables"
    try:
        response = client.send_request(HttpRequest("POST", url, params=parameters))
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer
    except HttpResponseError as error:
        message = f"{what}: {error.status_code} {error.reason}"
        if error.status_code in TRANSIENT_HTTP_STATUSES:
            raise FabricUnavailable(message) from error
        raise StoreError(message, hint="Check fabric_api_url and the identity's role in the workspace.") from error
    except (AzureError, ValueError, KeyError) as error:
        raise FabricUnavailable(f"{what}: {type(error).__name__}") from error
