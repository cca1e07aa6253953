"""How a mirror reports on itself: the files in `Files/Monitoring`, and the bodies of Fabric's REST API.

The two spell the same facts differently: `processedRowCount` in the file is `processedRows` in the API.
"""

import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from devcloud.replicator.state import TableState

type StatusNames = Literal["as_named", "lower"]


class MirroringStatus(StrEnum):
    """The status of a whole mirror, a subset of Fabric's."""

    INITIALIZED = "Initialized"
    RUNNING = "Running"
    STOPPED = "Stopped"


def table_status(state: TableState, status: MirroringStatus) -> str:
    """Return Failed, Stopped, Snapshotting (no data yet) or Replicating."""
    if state.failure is not None:
        return "Failed"
    if status is MirroringStatus.STOPPED:
        return "Stopped"
    return "Replicating" if state.files_applied else "Snapshotting"


def render_replicator_file(status: MirroringStatus) -> bytes:
    """Return `replicator.json`."""
    return json.dumps({"status": status.value, "errorCode": None, "errorMessage": None}).encode()


def render_tables_file(states: Iterable[TableState], status: MirroringStatus, names: StatusNames) -> bytes:
    """Return `tables.json`."""
    tables = []
    for state in states:
        failure = state.failure
        tables.append(
            {
                "id": state.id,
                "status": table_status(state, status),
                "errorCode": failure.error_code if failure else None,
                "errorMessage": failure.error_message if failure else None,
                "normalizedTableName": f"{state.name.table}.{zlib.crc32(state.id.encode()) % 100_000:05d}",
                "sourceTableName": _spelt(state.name.table, names),
                "sourceSchemaName": _spelt(state.name.schema, names),
                "sourceObjectType": "Table",
                "metrics": {
                    "processedRowCount": state.processed_rows,
                    "processedByte": state.processed_bytes,
                    "lastSourceCommitTimeUtc": _format_time(state.last_source_commit),
                    "lastSyncTimeUtc": _format_time(state.last_sync),
                },
            }
        )
    return json.dumps({"tables": tables}).encode()


def table_payload(state: TableState, status: MirroringStatus, names: StatusNames) -> dict[str, Any]:
    """Return one table as `getTablesMirroringStatus` shows it."""
    payload: dict[str, Any] = {
        "sourceObjectType": "Table",
        "sourceSchemaName": _spelt(state.name.schema, names),
        "sourceTableName": _spelt(state.name.table, names),
        "status": table_status(state, status),
        "metrics": {
            "processedBytes": state.processed_bytes,
            "processedRows": state.processed_rows,
            "lastSyncDateTime": _format_time(state.last_sync),
            "lastSyncLatencyInSeconds": max(0, round(state.last_sync - state.last_source_commit)),
        },
    }
    if state.failure is not None:
        payload["error"] = {"errorCode": state.failure.error_code, "message": state.failure.error_message}
    return payload


def _spelt(name: str, names: StatusNames) -> str:
    return name if names == "as_named" else name.lower()


def _format_time(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if seconds else None
