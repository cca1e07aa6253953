"""The rules of the landing zone: a code for each, how well it is evidenced, and what breaking it means."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class TableName(NamedTuple):
    """A mirrored table: the schema that readers see, and the table's name."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


class Severity(StrEnum):
    """An error breaks a documented rule; a warning is inferred, reported from the field, or bad practice."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """What a finding is about."""

    BAD_NAME = "BAD_NAME"
    GAP = "GAP"
    REUSED_INDEX = "REUSED_INDEX"
    OVERWRITTEN_FINAL = "OVERWRITTEN_FINAL"
    APPENDED_FINAL = "APPENDED_FINAL"
    ZERO_BYTES = "ZERO_BYTES"
    TRUNCATED_PARQUET = "TRUNCATED_PARQUET"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    BAD_CODEC = "BAD_CODEC"
    MARKER_NOT_LAST = "MARKER_NOT_LAST"
    MARKER_TYPE = "MARKER_TYPE"
    MARKER_VALUE = "MARKER_VALUE"
    MARKER_WITHOUT_KEYS = "MARKER_WITHOUT_KEYS"
    MARKER_ON_FIRST_FILE = "MARKER_ON_FIRST_FILE"
    KEY_MISSING = "KEY_MISSING"
    KEY_NULL = "KEY_NULL"
    KEY_CHANGED = "KEY_CHANGED"
    KEY_COUNT = "KEY_COUNT"
    TYPE_CHANGED = "TYPE_CHANGED"
    REQUIRED_ADDED = "REQUIRED_ADDED"
    REQUIRED_DROPPED = "REQUIRED_DROPPED"
    DUPLICATE_COLUMN = "DUPLICATE_COLUMN"
    NO_COLUMNS = "NO_COLUMNS"
    NESTED_TYPE = "NESTED_TYPE"
    UNSIGNED_TYPE = "UNSIGNED_TYPE"
    TIME_TYPE = "TIME_TYPE"
    NANOSECONDS = "NANOSECONDS"
    INT96 = "INT96"
    UNSUPPORTED_TYPE = "UNSUPPORTED_TYPE"
    PARTIAL_UPDATE_ROW = "PARTIAL_UPDATE_ROW"
    META_MISSING = "META_MISSING"
    META_JSON = "META_JSON"
    META_PROPERTY = "META_PROPERTY"
    META_NOT_ATOMIC = "META_NOT_ATOMIC"
    NO_DATA = "NO_DATA"
    STRAY_NON_UNDERSCORE_ITEM = "STRAY_NON_UNDERSCORE_ITEM"
    PARTNER_EVENTS_PLACE = "PARTNER_EVENTS_PLACE"
    PARTNER_EVENTS_JSON = "PARTNER_EVENTS_JSON"
    UNDERSCORE_SCHEMA = "UNDERSCORE_SCHEMA"
    DUPLICATE_TABLE = "DUPLICATE_TABLE"


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from a breach; `docs/devcloud/replicator.md` grades the evidence for each.

    `stops` says whether the replicator stops the table; `error_code` is what Fabric's status shows then.
    """

    severity: Severity
    stops: bool = True
    error_code: str = "InputValidationError"


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

RULES: dict[Code, Rule] = {
    Code.BAD_NAME: Rule(_ERROR, stops=False),
    Code.GAP: Rule(_ERROR, stops=False),
    Code.REUSED_INDEX: Rule(_ERROR, stops=False),
    Code.OVERWRITTEN_FINAL: Rule(_ERROR, stops=False),
    Code.APPENDED_FINAL: Rule(_ERROR, stops=False),
    Code.ZERO_BYTES: Rule(_ERROR),
    Code.TRUNCATED_PARQUET: Rule(_ERROR),
    Code.UNSUPPORTED_FORMAT: Rule(_WARNING),
    Code.BAD_CODEC: Rule(_ERROR),
    Code.MARKER_NOT_LAST: Rule(_ERROR),
    Code.MARKER_TYPE: Rule(_WARNING, stops=False),
    Code.MARKER_VALUE: Rule(_ERROR),
    Code.MARKER_WITHOUT_KEYS: Rule(_ERROR),
    Code.MARKER_ON_FIRST_FILE: Rule(_WARNING, stops=False),
    Code.KEY_MISSING: Rule(_ERROR),
    Code.KEY_NULL: Rule(_ERROR),
    Code.KEY_CHANGED: Rule(_ERROR),
    Code.KEY_COUNT: Rule(_WARNING, stops=False),
    Code.TYPE_CHANGED: Rule(_ERROR, error_code="SchemaMergeFailure"),
    Code.REQUIRED_ADDED: Rule(_ERROR, error_code="SchemaMergeFailure"),
    Code.REQUIRED_DROPPED: Rule(_ERROR, error_code="SchemaMergeFailure"),
    Code.DUPLICATE_COLUMN: Rule(_WARNING),
    Code.NO_COLUMNS: Rule(_WARNING),
    Code.NESTED_TYPE: Rule(_ERROR),
    Code.UNSIGNED_TYPE: Rule(_WARNING),
    Code.TIME_TYPE: Rule(_WARNING),
    Code.NANOSECONDS: Rule(_WARNING, stops=False),
    Code.INT96: Rule(_WARNING, stops=False),
    Code.UNSUPPORTED_TYPE: Rule(_WARNING),
    Code.PARTIAL_UPDATE_ROW: Rule(_WARNING, stops=False),
    Code.META_MISSING: Rule(_ERROR, stops=False),
    Code.META_JSON: Rule(_ERROR),
    Code.META_PROPERTY: Rule(_WARNING, stops=False),
    Code.META_NOT_ATOMIC: Rule(_WARNING, stops=False),
    Code.NO_DATA: Rule(_WARNING, stops=False),
    Code.STRAY_NON_UNDERSCORE_ITEM: Rule(_WARNING, stops=False),
    Code.PARTNER_EVENTS_PLACE: Rule(_ERROR, stops=False),
    Code.PARTNER_EVENTS_JSON: Rule(_ERROR, stops=False),
    Code.UNDERSCORE_SCHEMA: Rule(_WARNING, stops=False),
    Code.DUPLICATE_TABLE: Rule(_WARNING, stops=False),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of a rule. `path` is relative to the item; `table` is None for what belongs to no table."""

    code: Code
    path: str
    message: str
    table: TableName | None = None
    severity: Severity = Severity.ERROR
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.severity} {self.code} {self.path}: {self.message}"


def make_finding(
    code: Code,
    path: str,
    message: str,
    table: TableName | None = None,
    *,
    stops: bool | None = None,
    severity: Severity | None = None,
) -> Finding:
    """Build a finding as its rule says; `stops` and `severity` overrule the rule where a case or an option differs."""
    rule = RULES[code]
    return Finding(code, path, message, table, severity or rule.severity, rule.stops if stops is None else stops)


class Violation(Exception):
    """A finding that stops its table."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding
