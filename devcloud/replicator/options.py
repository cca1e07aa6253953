"""Choices where the documents of open mirroring contradict each other or are silent."""

from dataclasses import dataclass
from typing import Literal

SEVEN_DAYS_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ReplicatorOptions:
    """How the replicator behaves where Fabric's documents leave room; `docs/devcloud/replicator.md` grades each choice.

    `purge_after_seconds` counts from a file's last modification; 0 deletes processed files at once, None never.
    `apply_bytes` (decoded) bounds what one commit holds in memory: consecutive files are put together up to it, and
    larger files without changes are streamed. A single file of changes is held whole, however large.
    """

    metadata_required: bool = True
    default_schema: str = "dbo"
    underscore_schemas: Literal["accept", "ignore"] = "accept"
    accept_leading_marker: bool = False
    keyless_changes: Literal["stop", "ignore"] = "stop"
    partial_update_rows: Literal["null", "stop"] = "null"
    sticky_failures: Literal["file", "folder"] = "file"
    gaps: Literal["wait", "skip"] = "wait"
    dropped_tables: Literal["gone", "listed"] = "gone"
    status_names: Literal["as_named", "lower"] = "as_named"
    processed_folder: str = "_FilesReadyToDelete"
    purge_after_seconds: float | None = SEVEN_DAYS_SECONDS
    restart_wipes_tables: bool = True
    tie_seed: int = 0
    apply_bytes: int = 64 << 20
