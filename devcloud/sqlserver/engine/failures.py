"""What DuckDB's errors are in SQL Server's words."""

from __future__ import annotations

import re
from typing import Final

import duckdb
import pyarrow as pa

from devcloud.sqlserver.engine.catalogue import Table
from devcloud.sqlserver.engine.library import ERROR_MARK
from devcloud.sqlserver.errors import CancelledError, SqlError, make_error

ENGINE_ERRORS: Final = (duckdb.Error, OSError, pa.ArrowException)
"""What DuckDB raises: while it streams into Arrow, its errors arrive as OSError."""


class ConflictError(Exception):
    """Two transactions wrote the same row or definition; DuckDB gave up the later one."""


def translate_error(
    error: Exception, table: Table | None = None, database: str = "", verb: str = "INSERT"
) -> Exception:
    """Return SQL Server's error for one of DuckDB's."""
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or "Interrupted!" in text:
        return CancelledError()
    if ERROR_MARK in text:
        return _raised(text)
    if "onflict" in text:  # "Conflict on update!", "write-write conflict on key", …
        return ConflictError(text)
    if "Duplicate key" in text or "duplicate key" in text:
        return _duplicate(text, table)
    if "NOT NULL constraint failed" in text:
        column = text.rsplit(".", 1)[-1].strip()
        name = f"{database}.{table.full_name}" if table is not None else database
        return make_error(515, column, name, verb, state=2)
    if isinstance(error, duckdb.OutOfRangeException) or "out of range" in text or "Overflow" in text:
        return make_error(8115, "expression", _overflowing_type(text), state=2)
    if "Could not convert string" in text or "Could not cast value" in text or "Failed to cast" in text:
        return make_error(8115 if "DECIMAL" in text.upper() else 8114, "value", _overflowing_type(text), state=8)
    if "More than one row returned by a subquery" in text:
        return make_error(512)
    return make_error(8630, text)


_TYPE_NAMES: Final = {
    "INT8": "tinyint",
    "UINT8": "tinyint",
    "INT16": "smallint",
    "INT32": "int",
    "INT64": "bigint",
    "FLOAT": "real",
    "DOUBLE": "float",
    "HUGEINT": "numeric",
    "INT128": "numeric",
}


def _overflowing_type(text: str) -> str:
    found = re.findall(r"\b(U?INT\d+|DECIMAL|FLOAT|DOUBLE|HUGEINT)\b", text)
    return _TYPE_NAMES.get(found[-1], "numeric") if found else "numeric"


def _raised(text: str) -> SqlError:
    """Return an error that the translated SQL itself raised, as ``number<mark>value<mark>value``."""
    number, _, rest = text.partition(ERROR_MARK)
    rest = rest.split("\n\nLINE ")[0]
    match = re.search(r"(\d+)$", number)
    code = int(match.group(1)) if match else 50_000
    return make_error(code, *rest.split(ERROR_MARK))


def _duplicate(text: str, table: Table | None) -> SqlError:
    shown = duplicate_of(text)
    keys = [key for key in table.keys if key.unique] if table is not None else []
    if table is None or not keys:
        return make_error(2627, "UNIQUE KEY", "unknown", "unknown", shown)
    names = {column.column_id: column.name for column in table.columns}
    key = next(
        (
            k
            for k in keys
            if all(f"{names[column]}: " in text or f"({names[column]}" in text for column, _ in k.columns)
        ),
        keys[0],
    )
    if not key.constraint:
        return make_error(2601, table.full_name, key.name, shown)
    return make_error(2627, "PRIMARY KEY" if key.primary else "UNIQUE KEY", key.name, table.full_name, shown)


def duplicate_of(message: str) -> str:
    """Return the key values that a DuckDB message names, as SQL Server shows them: ``(1, abc)``."""
    shown = message.split('"')[1] if message.count('"') >= 2 else ""
    values = [part.rsplit(": ", 1)[-1] for part in shown.split(", ")]
    return f"({', '.join(values)})"
