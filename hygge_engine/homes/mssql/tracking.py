"""Change Tracking: which rows were inserted, updated or deleted after a version, by SQL Server's own account.

Sources: Microsoft Learn, "Work with Change Tracking" (versions, minimum valid version, when to check it) and
"CHANGETABLE" (one row for each changed key, with the version of its latest change).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import HomeError
from hygge_engine.homes.base import Batch, Position
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.types import SourceColumn, exact_text

# Current and oldest version; NULL where tracking is off, or where the login may not know.
VERSIONS = "SELECT CHANGE_TRACKING_CURRENT_VERSION(), CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(?))"

# The version at which tables' changes began to be kept: another one after they were not for a while, where the oldest
# version alone may be just the one that was loaded last. And what distinguishes a table from others of its name: both
# stay when it is renamed, altered, truncated or restored.
_BEGAN = (
    "SELECT t.object_id, t.begin_version, {created} FROM sys.change_tracking_tables AS t "
    "LEFT JOIN sys.objects AS o ON o.object_id = t.object_id WHERE t.object_id {which}"
)
BEGAN = _BEGAN.format(created=exact_text("o.create_date"), which="= OBJECT_ID(?)")
BEGAN_OF_MANY = _BEGAN.format(created=exact_text("o.create_date"), which="IN ({ids})")

_MAY_SEE = "SELECT HAS_PERMS_BY_NAME(?, 'OBJECT', 'VIEW CHANGE TRACKING')"

# The first column of `changes_source`: I, U or D.
OPERATION = SourceColumn("SYS_CHANGE_OPERATION", "nchar", 2)

_INSERTED, _DELETED = "I", "D"


def table_text(object_id: object, created: object) -> str:
    """Distinguishes a table from any other, also from one that has its name later; empty where the server does not say
    all of it."""
    return "" if object_id is None or created is None else f"object_id {object_id}, created {created}"


def changes_source(source: str, columns: Sequence[SourceColumn], key: Sequence[str]) -> str:
    """A statement in parentheses that reads changes, with placeholders for the version to begin after and the last one.

    A row that changed again later is left to the load that reads up to there. One that was deleted later has no values
    any more: its change is left to its delete. The key is spelt as the row has it, where there is one: the change may
    still have it as it was, in another case.
    """
    selected = ["c.SYS_CHANGE_OPERATION"]
    for column in columns:
        name = quote(column.name)
        selected.append(f"COALESCE(t.{name}, c.{name}) AS {name}" if column.name in key else f"t.{name}")
    joined = " AND ".join(f"t.{quote(name)} = c.{quote(name)}" for name in key)
    changes = f"CHANGETABLE(CHANGES {source}, ?) AS c LEFT JOIN {source} AS t ON {joined}"
    has_row = f"(c.SYS_CHANGE_OPERATION = N'{_DELETED}' OR t.{quote(key[0])} IS NOT NULL)"
    return f"(SELECT {', '.join(selected)} FROM {changes} WHERE c.SYS_CHANGE_VERSION <= ? AND {has_row})"  # noqa: S608 - quoted


def explain_missing_grant(session: Session, table: str, name: str) -> tuple[str, str, bool]:
    """Why a database that tracks changes does not return the oldest version of a table's, what to do, and whether it is
    certain that none of the table's are tracked."""
    switch, grant = f"ALTER TABLE {table} ENABLE CHANGE_TRACKING", f"GRANT VIEW CHANGE TRACKING ON {table} TO the login"
    try:
        rows = session.fetch_all(_MAY_SEE, (table,), doing=f"Asking about the permissions on {name}")
    except HomeError as error:
        if error.transient:
            raise
        rows = []
    match rows[0][0] if rows else None:
        case 0:
            return f"The login lacks VIEW CHANGE TRACKING on {name}.", f"{grant}.", False
        case 1:
            return f"Change Tracking is off for {name}.", f"{switch}.", True
        case _:
            return f"Change Tracking is off for {name}, or the login may not see it.", f"{switch}, and {grant}.", False


def changes_in(batch: pa.RecordBatch, position: Position | None) -> Batch:
    """Rows of `changes_source` without their first column: those that are there, and those that are deleted."""
    is_deleted = pc.equal(batch.column(0), pa.scalar(_DELETED))
    rows = batch.select(batch.schema.names[1:])
    inserted = pc.equal(batch.column(0), pa.scalar(_INSERTED)).true_count
    if not pc.any(is_deleted).as_py():
        return Batch(rows, position, inserted=inserted)
    return Batch(rows.filter(pc.invert(is_deleted)), position, rows.filter(is_deleted), inserted)
