"""Change data capture: what rows were before and after each change, as SQL Server's log has it, in LSNs.

Sources, all Microsoft Learn: "About change data capture" (validity intervals, two instances of a table, columns that an
instance lacks), "cdc.fn_cdc_get_all_changes_<capture_instance>" (operations, the order of changes within a
transaction), "sys.sp_cdc_help_change_data_capture" (what may be asked by whom), "sys.fn_cdc_get_max_lsn".

Net changes are made here of all changes, and ``cdc.fn_cdc_get_net_changes_…`` is not asked: of a row that was inserted
and deleted between two LSNs it says nothing, and a whole read that began at the first of them may have landed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hygge_engine.errors import CursorUnusable, HomeError
from hygge_engine.homes.mssql.catalogue import SourceObject
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.session import Session, whole
from hygge_engine.homes.mssql.tracking import table_text
from hygge_engine.homes.mssql.types import SourceColumn, exact_text
from hygge_engine.project.telling.problems import suggest

# Whether the database and the table are captured, how far the log has been read, and which table it is.
_STATUS = (
    "SELECT d.is_cdc_enabled, sys.fn_cdc_get_max_lsn(), t.is_tracked_by_cdc, t.object_id, {created}, s.name, t.name "
    "FROM sys.databases AS d LEFT JOIN sys.tables AS t ON t.object_id = OBJECT_ID(?) "
    "LEFT JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE d.database_id = DB_ID()"
)
STATUS = _STATUS.format(created=exact_text("t.create_date"))

# The same of many tables by their ids, with how many computed columns each of them has.
STATUS_OF_MANY = (
    "SELECT sys.fn_cdc_get_max_lsn(), (SELECT COUNT(*) FROM sys.computed_columns AS c "
    "WHERE c.object_id = t.object_id) AS computed, t.object_id, {created} FROM sys.tables AS t "
    "WHERE t.object_id IN ({ids})"
)

INSTANCES = "EXEC sys.sp_cdc_help_change_data_capture @source_schema = ?, @source_name = ?"
ALL_INSTANCES = "EXEC sys.sp_cdc_help_change_data_capture"

# The last scan of the log that the server remembers; number 0 sums them up.
LOG_SCANS = (
    "SELECT TOP (1) CONVERT(nvarchar(19), start_time, 126), latency, error_count FROM sys.dm_cdc_log_scan_sessions "
    "WHERE session_id <> 0 ORDER BY session_id DESC"
)
NOT_SCANNED = "no scan of the log is known since the server started, so that no changes are captured"

COMPUTED = "SELECT c.name FROM sys.computed_columns AS c WHERE c.object_id = OBJECT_ID(?)"

# Where the procedure has what is read of an instance.
_NAME, _SOURCE, _START, _ROLE, _CREATED, _COLUMNS = 2, 4, 5, 9, 12, 14

LSN_BYTES = 10

_BRACKETED = re.compile(r"\[((?:[^\]]|\]\])*)\]")

ENABLE_DATABASE = "EXEC sys.sp_cdc_enable_db"
START_JOB = "Start SQL Server Agent and the capture job: EXEC sys.sp_cdc_start_job @job_type = N'capture'."

GRANT = (
    "GRANT SELECT on all captured columns to the login, and add it to the instance's gating role: "
    "sys.sp_cdc_help_change_data_capture names it to a db_owner."
)

_LSN, _SEQUENCE, _OPERATION = "[__$start_lsn]", "[__$seqval]", "[__$operation]"


@dataclass(frozen=True)
class Instance:
    """A capture instance: the first LSN whose changes it keeps, as a number, None before the capture job has come to
    it; the columns that it captures, and the role that gates it."""

    name: str
    start: int | None
    columns: tuple[str, ...]
    role: str
    created: str

    @property
    def source(self) -> str:
        """What returns all of its changes between two LSNs, which are placeholders."""
        return f"[cdc].{quote(f'fn_cdc_get_all_changes_{self.name}')}(?, ?, N'all update old')"


@dataclass(frozen=True)
class Captured:
    """What a database says of a table's changes: how far its log has been read, which ``table`` it is, as
    `table_text`, and the ``instances`` that can be read, the newest first."""

    reached: int
    table: str
    instances: tuple[Instance, ...]

    @property
    def oldest(self) -> int:
        """The LSN after which all changes are known."""
        return min(each.start for each in self.instances if each.start is not None) - 1

    @property
    def newest(self) -> int:
        """The LSN up to which all changes are known. Before the first one that an instance keeps there was none that a
        read which begins now would miss."""
        return max(self.reached, self.oldest)

    def parts(self, lower: int, upper: int) -> list[tuple[Instance, int, int]]:
        """Which instance is read from which LSN to which, both included: of each LSN the newest that has it."""
        found = []
        for instance in self.instances:
            first = max(lower + 1, instance.start or 0)
            if first <= upper:
                found.append((instance, first, upper))
                upper = first - 1
        return found


def lsn_text(number: int) -> str:
    """An LSN as people write it."""
    return f"0x{number:0{2 * LSN_BYTES}X}"


def lsn_number(value: object) -> int | None:
    """An LSN of the server's, or its text, as a number; None for none."""
    if isinstance(value, str):
        return int(value, 16)
    return int.from_bytes(value, "big") if isinstance(value, bytes | bytearray) and len(value) == LSN_BYTES else None


def lsn_bytes(number: int) -> bytes:
    """An LSN as the server takes it."""
    return number.to_bytes(LSN_BYTES, "big")


def instances_of(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[Instance]]:
    """What `INSTANCES` or `ALL_INSTANCES` returns, by the id of the table."""
    found: dict[int, list[Instance]] = {}
    for row in rows:
        listed = tuple(name.replace("]]", "]") for name in _BRACKETED.findall(str(row[_COLUMNS])))
        start, role = lsn_number(row[_START]), "" if row[_ROLE] is None else str(row[_ROLE])
        instance = Instance(str(row[_NAME]), start, listed, role, str(row[_CREATED]))
        found.setdefault(whole(row[_SOURCE], "Reading capture instances"), []).append(instance)
    return found


def readable(
    name: str, instances: Sequence[Instance], reached: int | None, key: Sequence[str], captured_by: bool | str
) -> tuple[Instance, ...]:
    """Those instances of a table that can be read, the newest first; ``captured_by`` is the one that counts, True for
    any. Raises CursorUnusable where there are none.

    One that the capture job has not come to keeps nothing yet, and lacks what was changed since it was made: while
    another one is known, it waits.
    """
    named = captured_by if isinstance(captured_by, str) else ""
    found = [each for each in instances if not named or each.name.lower() == named.lower()]
    if not found:
        hint = suggest(named, [each.name for each in instances]) if instances else enable_text(name)
        raise CursorUnusable(f"{name} has no capture instance {named!r}.", hint=hint)
    found = [each for each in found if set(key) <= set(each.columns)]
    if not found or not key:
        why = f"the columns of its key ({', '.join(key)})" if key else "a primary key or unique index"
        raise CursorUnusable(
            f"No capture instance of {name} has {why}, by which rows are replaced and deleted.",
            hint="Give the table a primary key, and let a capture instance capture its columns.",
        )
    begun = sorted((each for each in found if each.start is not None), key=lambda each: each.start or 0)
    if not begun:
        raise CursorUnusable(f"The capture job has not come to {name} since it was enabled.", hint=START_JOB)
    passed = [each for each in begun if reached is not None and (each.start or 0) <= reached + 1]
    return tuple(reversed(passed)) or (begun[0],)


def look_at_captured(session: Session, source: SourceObject, captured_by: bool | str) -> Captured:
    """What a database says of a table's captured changes; ``captured_by`` as for `readable`.

    Raises CursorUnusable where they are not captured, or may not be seen.
    """
    doing = f"Asking what is captured of {source.name}"
    try:
        rows = session.fetch_all(STATUS, (source.tracked,), doing=doing)
    except HomeError as error:
        if error.transient:
            raise
        raise CursorUnusable(
            f"This server has no change data capture. {error.message}",
            hint="Use Change Tracking, a rowversion or a time of last change as the watermark.",
        ) from error
    if not rows or not rows[0][0]:
        raise CursorUnusable("Change data capture is off in this database.", hint=f"{ENABLE_DATABASE}.", unkept=True)
    _, reached, is_tracked, object_id, created, schema, table = rows[0]
    if not is_tracked:
        raise CursorUnusable(
            f"Change data capture is off for {source.name}.",
            hint=enable_text(source.name),
            unkept=object_id is not None,
        )
    try:
        listed = session.fetch_all(INSTANCES, (str(schema), str(table)), doing=doing)
    except HomeError as error:
        if error.transient:
            raise
        raise CursorUnusable(
            f"The login may not see what is captured of {source.name}. {error.message}", hint=GRANT
        ) from error
    found = instances_of(listed).get(whole(object_id, doing), [])
    number = lsn_number(reached)
    instances = readable(source.name, found, number, source.key, captured_by)
    return Captured(number or 0, table_text(object_id, created), instances)


def captured_columns(
    session: Session, source: SourceObject, captured: Captured
) -> tuple[tuple[SourceColumn, ...], tuple[str, ...]]:
    """A table's columns whose changes are captured, and what is to be said of the others. Values of computed columns
    are in no log."""
    doing = f"Asking for the computed columns of {source.name}"
    computed = {str(row[0]) for row in session.fetch_all(COMPUTED, (source.tracked,), doing=doing)}
    newest = captured.instances[0]
    kept = tuple(each for each in source.columns if each.name in newest.columns and each.name not in computed)
    told = []
    if lacking := [each.name for each in source.columns if each.name not in newest.columns]:
        told.append(f"not captured by {newest.name}, so that they do not land: {', '.join(lacking)}")
    if lacking := [each.name for each in source.columns if each.name in computed and each.name in newest.columns]:
        told.append(f"computed, which change data capture has no values of: {', '.join(lacking)}")
    return kept, tuple(told)


def is_scanned(session: Session) -> bool:
    """Whether the capture job has read the log since the server started; True where the login may not know."""
    try:
        return bool(session.fetch_all(LOG_SCANS, doing="Asking for the scans of the log"))
    except HomeError as error:
        if error.transient:
            raise
        return True


def enable_text(name: str) -> str:
    """How change data capture of a table is switched on."""
    schema, _, table = name.partition(".")
    return f"EXEC sys.sp_cdc_enable_table @source_schema = N'{schema}', @source_name = N'{table}', @role_name = NULL."


def captured_source(
    parts: Sequence[tuple[Instance, int, int]], columns: Sequence[SourceColumn], key: Sequence[str]
) -> tuple[str, list[bytes]]:
    """A statement in parentheses that reads the net changes of parts of what was captured, as `changes_source` does,
    and the values of its placeholders.

    Of each key its last change counts. An update has a row with the key before it and one with the key after it: a
    changed key ends with the former, and is deleted. What an instance does not capture is NULL, as the column was for
    those rows before it was captured.
    """
    reads, values = [], []
    for instance, first, last in parts:
        names = [
            quote(column.name)
            if column.name in instance.columns
            else f"CAST(NULL AS {_plain(column)}) AS {quote(column.name)}"
            for column in columns
        ]
        reads.append(f"SELECT {_LSN}, {_SEQUENCE}, {_OPERATION}, {', '.join(names)} FROM {instance.source} AS f")  # noqa: S608 - quoted
        values += [lsn_bytes(first), lsn_bytes(last)]
    keys = ", ".join(quote(name) for name in key)
    named = ", ".join(quote(column.name) for column in columns)
    ordered = f"OVER (PARTITION BY {keys} ORDER BY {{}})"
    forwards = ordered.format(f"{_LSN}, {_SEQUENCE}, {_OPERATION}")
    backwards = ordered.format(f"{_LSN} DESC, {_SEQUENCE} DESC, {_OPERATION} DESC")
    numbered = (
        f"SELECT {_OPERATION}, FIRST_VALUE({_OPERATION}) {forwards} AS [first operation], "  # noqa: S608 - quoted
        f"ROW_NUMBER() {backwards} AS [from the last], {named} FROM ({' UNION ALL '.join(reads)}) AS a"
    )
    is_there = f"c.{_OPERATION} IN (2, 4)"
    shown = [
        f"c.{quote(column.name)}"
        if column.name in key
        else f"CASE WHEN {is_there} THEN c.{quote(column.name)} END AS {quote(column.name)}"
        for column in columns
    ]
    operation = (
        f"CASE WHEN NOT {is_there} THEN N'D' WHEN c.[first operation] IN (2, 4) THEN N'I' ELSE N'U' END "
        "AS SYS_CHANGE_OPERATION"
    )
    sql = f"(SELECT {operation}, {', '.join(shown)} FROM ({numbered}) AS c WHERE c.[from the last] = 1)"  # noqa: S608 - quoted
    return sql, values


def _plain(column: SourceColumn) -> str:
    """A column's type as CAST takes it."""
    return "binary(8)" if column.base_type == "rowversion" else column.declaration
