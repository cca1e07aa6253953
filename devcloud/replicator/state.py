"""What the replicator knows of a table; committed together with the table's rows."""

import json
import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from devcloud.replicator.layout import SEQUENTIAL, Detection
from devcloud.replicator.rules import RULES, Code, Finding, TableName


@dataclass(frozen=True, slots=True)
class Failure:
    """The finding that stopped a table, and the ETag of the file that it is about."""

    code: Code
    path: str
    etag: str
    message: str
    sequence: int

    @property
    def error_code(self) -> str:
        """Fabric's error code."""
        return RULES[self.code].error_code

    @property
    def error_message(self) -> str:
        """The text that the status shows, in the form that field reports quote."""
        return (
            f"{self.error_code}: {self.message}; File: {self.path}; Rule: {self.code}; SequenceNumber: {self.sequence}"
        )


@dataclass(slots=True)
class TableState:
    """One generation of a mirrored table: from the first sight of its folder until that folder is gone.

    `keys` is None until `_metadata.json` was read, then frozen. `processed` maps the paths of processed files to
    their ETags: those still in the folder, or, in the last-update mode, all of them. `processed_rows` counts
    operations, as Fabric's status does. Times are seconds since 1970.
    """

    name: TableName
    folder: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    keys: tuple[str, ...] | None = None
    detection: Detection = SEQUENTIAL
    upsert_by_default: bool = False
    metadata_etag: str = ""
    metadata_unreadable: bool = False
    required: frozenset[str] = frozenset()
    next_index: int = 1
    files_applied: int = 0
    processed: dict[str, str] = field(default_factory=dict)
    last_size: int = 0
    processed_rows: int = 0
    processed_bytes: int = 0
    last_sync: float = 0.0
    last_source_commit: float = 0.0
    last_purge: float = 0.0
    failure: Failure | None = None

    def draft(self) -> Self:
        """Return a copy to change while the change is not committed."""
        return replace(self, processed=dict(self.processed))

    def to_json(self) -> str:
        """Return the state as a JSON document."""
        return json.dumps(asdict(self) | {"required": sorted(self.required)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the state that `to_json` wrote."""
        document: dict[str, Any] = json.loads(text)
        failure = document["failure"]
        document["name"] = TableName(*document["name"])
        document["keys"] = None if document["keys"] is None else tuple(document["keys"])
        document["required"] = frozenset(document["required"])
        document["failure"] = Failure(**failure | {"code": Code(failure["code"])}) if failure else None
        return cls(**document)


@dataclass(frozen=True, slots=True)
class AppliedFile:
    """A data file that became part of a table."""

    table: TableName
    path: str
    rows: int


@dataclass(slots=True)
class TickReport:
    """What one pass over the landing zone did. `unavailable` says why the pass ended early, if it did."""

    created: list[TableName] = field(default_factory=list)
    dropped: list[TableName] = field(default_factory=list)
    rebuilt: list[TableName] = field(default_factory=list)
    applied: list[AppliedFile] = field(default_factory=list)
    failed: list[Finding] = field(default_factory=list)
    unavailable: str | None = None

    @property
    def changed(self) -> bool:
        """Whether a reader of the mirrored tables, or of their status, sees a difference."""
        return bool(self.created or self.dropped or self.rebuilt or self.applied or self.failed)
