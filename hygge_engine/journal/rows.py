"""The journal's rows: one for each entity run, in a fixed Arrow schema that only ever grows at its end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import JournalError
from hygge_engine.masking import mask, mask_places
from hygge_engine.row_counts import COUNT_NAMES, counts_of
from hygge_engine.statuses import JOURNAL_STATUS, RunStatus

# 1.0 has the columns up to `schema_version`; 1.1 adds those after it, 1.2 `expectations`, 1.3 `principal`, 1.4 those of
# `COUNT_NAMES`. Readers of 1.0 find all they know.
SCHEMA_VERSION = "1.4"

# No entity run takes longer, in seconds: a hundred years. What no run can have taken is not known.
LONGEST_SECONDS = 100 * 366 * 86_400.0

# Longest message that is kept: enough for an error with what was tried, small enough for a table that people read.
MESSAGE_LIMIT_CHARACTERS = 4_000

_COLUMNS: dict[str, pa.DataType] = {
    "entity_run_id": pa.string(),
    "coordinator_run_id": pa.string(),
    "flow_run_id": pa.string(),
    "coordinator": pa.string(),
    "flow": pa.string(),
    "entity": pa.string(),
    "start_time": pa.string(),
    "finish_time": pa.string(),
    "status": pa.string(),
    "run_type": pa.string(),
    "row_count": pa.int64(),
    "duration": pa.float64(),
    "primary_key": pa.string(),
    "watermark_column": pa.string(),
    "watermark_type": pa.string(),
    "watermark": pa.string(),
    "message": pa.string(),
    "schema_version": pa.string(),
    "bytes": pa.int64(),
    "files": pa.int64(),
    "error": pa.string(),
    "attempts": pa.int64(),
    "requested_by": pa.string(),
    "expectations": pa.string(),
    "principal": pa.string(),
    **dict.fromkeys(COUNT_NAMES, pa.int64()),
}
SCHEMA = pa.schema(_COLUMNS)


@dataclass(frozen=True)
class EntityRunRow:
    """One entity run, as a row of the journal.

    Times are ISO 8601 in UTC, ``duration`` is in seconds, ``row_count``, ``bytes`` and ``files`` count what was landed,
    ``rows_inserted`` and its likes tell it apart (`RowCounts`), ``error`` is the code of `hygge_engine.errors`,
    ``attempts`` the slices that were scheduled, ``expectations`` says as JSON how many were met and which were not.
    ``requested_by`` is what the caller claims to be, ``principal`` whom the platform has authenticated. A row without
    flow and entity speaks of a load as a whole: one that was skipped, or that failed before it had any entities.
    """

    entity_run_id: str
    coordinator_run_id: str
    flow_run_id: str
    coordinator: str
    flow: str
    entity: str
    start_time: str
    finish_time: str
    status: RunStatus
    run_type: str
    row_count: int = 0
    duration: float = 0.0
    primary_key: str = ""
    watermark_column: str = ""
    watermark_type: str = ""
    watermark: str = ""
    message: str = ""
    schema_version: str = SCHEMA_VERSION
    bytes: int = 0
    files: int = 0
    error: str = ""
    attempts: int = 1
    requested_by: str = ""
    expectations: str = ""
    principal: str = ""
    rows_inserted: int | None = None
    rows_updated: int | None = None
    rows_deleted: int | None = None
    rows_unchanged: int | None = None


class Outcome(Protocol):
    """What a row takes from an entity run's last slice (`hygge_engine.flow.slices.SliceResult`)."""

    @property
    def status(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def files(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def error(self) -> str: ...
    @property
    def started(self) -> str: ...
    @property
    def finished(self) -> str: ...
    @property
    def primary_key(self) -> str: ...
    @property
    def watermark_column(self) -> str: ...
    @property
    def watermark_type(self) -> str: ...
    @property
    def watermark(self) -> str: ...
    @property
    def expectations(self) -> str: ...
    @property
    def rows_inserted(self) -> int | None: ...
    @property
    def rows_updated(self) -> int | None: ...
    @property
    def rows_deleted(self) -> int | None: ...
    @property
    def rows_unchanged(self) -> int | None: ...


def entity_run_row(
    outcome: Outcome,
    *,
    entity_run_id: str,
    coordinator_run_id: str,
    flow_run_id: str,
    coordinator: str,
    flow: str,
    entity: str,
    run_type: str,
    attempts: int = 1,
    requested_by: str = "",
    principal: str = "",
    started: str = "",
    finished: str = "",
) -> EntityRunRow:
    """The row for an entity run that has ended.

    Its message holds neither secrets nor addresses: journals are read by more people than logs. ``started`` and
    ``finished`` (ISO 8601) stand in where the outcome has none, as for an entity that was cancelled
    before it began. Raises JournalError where the outcome is not an end (``continue``).
    """
    status = JOURNAL_STATUS.get(outcome.status)
    if status is None:
        raise JournalError(f"{flow}.{entity} has not ended: its last slice returned {outcome.status!r}.")
    start_time = outcome.started or started
    finish_time = outcome.finished or finished or start_time
    counts = counts_of({name: getattr(outcome, name) for name in COUNT_NAMES}, outcome.rows)
    return EntityRunRow(
        entity_run_id=entity_run_id,
        coordinator_run_id=coordinator_run_id,
        flow_run_id=flow_run_id,
        coordinator=coordinator,
        flow=flow,
        entity=entity,
        start_time=start_time,
        finish_time=finish_time,
        status=status,
        run_type=run_type,
        row_count=outcome.rows,
        duration=seconds_between(start_time, finish_time),
        primary_key=outcome.primary_key,
        watermark_column=outcome.watermark_column,
        watermark_type=outcome.watermark_type,
        watermark=mask(outcome.watermark),
        message=mask_places(outcome.message)[:MESSAGE_LIMIT_CHARACTERS],
        bytes=outcome.bytes,
        files=outcome.files,
        error=outcome.error,
        attempts=attempts,
        requested_by=mask(requested_by),
        expectations=mask(outcome.expectations),
        principal=mask(principal),
        rows_inserted=counts.inserted,
        rows_updated=counts.updated,
        rows_deleted=counts.deleted,
        rows_unchanged=counts.unchanged,
    )


def load_row(
    status: RunStatus,
    *,
    coordinator_run_id: str,
    coordinator: str,
    at: datetime,
    message: str,
    error: str = "",
    run_type: str = "",
    requested_by: str = "",
    principal: str = "",
) -> EntityRunRow:
    """The row for a load without entities: skipped, or failed or cancelled before its plan stood.

    Its ``entity_run_id`` is the load's own id, so that recording it twice leaves one row.
    """
    return EntityRunRow(
        entity_run_id=coordinator_run_id,
        coordinator_run_id=coordinator_run_id,
        flow_run_id="",
        coordinator=coordinator,
        flow="",
        entity="",
        start_time=at.isoformat(),
        finish_time=at.isoformat(),
        status=status,
        run_type=run_type,
        message=mask_places(message)[:MESSAGE_LIMIT_CHARACTERS],
        error=error,
        attempts=0,
        requested_by=mask(requested_by),
        principal=mask(principal),
    )


def seconds_between(start: str, end: str) -> float:
    """Seconds from one ISO 8601 time to another, 0 where either is missing."""
    if not start or not end:
        return 0.0
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 6)


def table_of(rows: Sequence[EntityRunRow]) -> pa.Table:
    """The rows as Arrow, in the journal's schema."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)


def fingerprint(entity_run_ids: Iterable[str]) -> str:
    """A fingerprint of a set of entity runs, in any order."""
    return hashlib.sha256("\n".join(sorted(entity_run_ids)).encode()).hexdigest()[:12]


def conform(table: pa.Table, *, keep_unknown: bool = False) -> pa.Table:
    """A table of any schema version in this one: missing columns become null, other types are cast.

    Numbers that nothing can have counted or measured are null. Unknown columns, because a later version wrote them, are
    left out, or kept at the end with ``keep_unknown``. Raises JournalError where a column does not fit.
    """
    conformed = select(table, SCHEMA.names)
    if keep_unknown:
        for name in table.column_names:
            if name not in SCHEMA.names:
                conformed = conformed.append_column(table.schema.field(name), table.column(name))
    return conformed


def select(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Some of the journal's columns, in its types, from a table of any schema version; missing ones are null, and so
    are numbers that nothing can have counted or measured.

    Raises JournalError where a column does not fit.
    """
    fields = [SCHEMA.field(name) for name in names]
    columns = [
        _possible(_cast(table.column(field.name), field))
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in fields
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _possible(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """A column in which numbers below zero, infinite ones and times beyond `LONGEST_SECONDS` are null."""
    if pa.types.is_string(column.type):
        return column
    possible = pc.greater_equal(column, pa.scalar(0, column.type))
    if pa.types.is_floating(column.type):
        possible = pc.and_(possible, pc.less_equal(column, pa.scalar(LONGEST_SECONDS, column.type)))
    if pc.all(possible, min_count=0).as_py():
        return column
    found: pa.ChunkedArray[Any] = pc.if_else(possible, column, pa.scalar(None, column.type))
    return found


def _cast(column: pa.ChunkedArray[Any], field: pa.Field[Any]) -> pa.ChunkedArray[Any]:
    if column.type == field.type:
        return column
    try:
        if pa.types.is_timestamp(column.type) and pa.types.is_string(field.type):
            values = [None if value is None else value.isoformat() for value in column.to_pylist()]
            return pa.chunked_array([pa.array(values, field.type)])
        if pa.types.is_duration(column.type) and pa.types.is_floating(field.type):
            microseconds = column.cast(pa.duration("us"), safe=False).cast(pa.int64())
            return pc.divide(microseconds.cast(pa.float64()), 1e6)
        if pa.types.is_floating(column.type) and pa.types.is_integer(field.type):
            # Some libraries keep whole numbers as floating ones where one of them is missing.
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise JournalError(
            f"The journal's column {field.name} holds {column.type} where {field.type} was expected: {error}",
            hint="Something else has written to the journal; restore it, or move it aside.",
        ) from error
