"""DuckDB underneath: one instance, one attached database for each of the server's, one connection per session."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from devcloud.sqlserver.engine import library
from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA, Table, create_catalogue
from devcloud.sqlserver.engine.keys import duplicate_of
from devcloud.sqlserver.engine.library import ERROR_MARK
from devcloud.sqlserver.engine.settings import DatabaseSettings, load_settings, store_settings
from devcloud.sqlserver.engine.tracking import prepare_tracking
from devcloud.sqlserver.engine.values import quote, quote_text
from devcloud.sqlserver.errors import CancelledError, SqlError, make_error

RESERVED_NAMES: Final = frozenset({"memory", "system", "temp"})
"""DuckDB's own databases."""

ENGINE_ERRORS: Final = (duckdb.Error, OSError, pa.ArrowException)
"""What DuckDB raises: while it streams into Arrow, its errors arrive as OSError."""


class ConflictError(Exception):
    """Two transactions wrote the same row or definition; DuckDB gave up the later one."""


class Database:
    """A database of the server."""

    def __init__(self, name: str, number: int, settings: DatabaseSettings) -> None:
        self.name = name
        self.number = number
        self.settings = settings
        self.version = 0
        """Rises with every committed change of definitions, so that sessions know when to load them again."""
        self.commits = threading.Lock()
        """Held while a transaction with tracked changes gets its version and commits."""
        self._lock = threading.Lock()
        self._active: dict[int, int] = {}

    def enter_rowversions(self, session: int, connection: duckdb.DuckDBPyConnection) -> None:
        """Note that a session's transaction is about to draw from the rowversion counter."""
        with self._lock:
            self._active.setdefault(session, self.last_rowversion(connection) + 1)

    def leave_rowversions(self, session: int) -> None:
        """Note that a session's transaction is over."""
        with self._lock:
            self._active.pop(session, None)

    def min_active_rowversion(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Return the lowest value that a transaction still open may have drawn, else the next value."""
        with self._lock:
            return min((*self._active.values(), self.last_rowversion(connection) + 1))

    def last_rowversion(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Return the last value drawn from the counter (@@DBTS)."""
        rows = connection.execute(
            "SELECT coalesce(last_value, start_value - 1) FROM duckdb_sequences() WHERE database_name = ? AND "
            "schema_name = ? AND sequence_name = 'rowversion'",
            [self.name, CATALOGUE_SCHEMA],
        ).fetchall()
        return int(rows[0][0])


class Instance:
    """The DuckDB instance and the databases attached to it; in memory without a directory."""

    def __init__(self, directory: Path | None, threads: int | None = None, *, has_change_tracking: bool = True) -> None:
        self.directory = directory
        self.has_change_tracking = has_change_tracking
        self.root = duckdb.connect(":memory:")
        self.root.execute("SET TimeZone = 'UTC'")
        # LIMIT and scans may otherwise return rows in another order than they were written, and tests would differ.
        self.root.execute("SET preserve_insertion_order = true")
        if threads is not None:
            self.root.execute(f"SET threads = {threads}")
        library.install(self.root)
        self._lock = threading.Lock()
        self.databases: dict[str, Database] = {}
        self.create("master")
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            for path in sorted(directory.glob("*.duckdb")):
                self.create(path.stem)

    def create(self, name: str) -> Database:
        """Create a database, or attach the one that the directory holds. Raises SqlError 1801."""
        with self._lock:
            if name.lower() in self.databases:
                raise make_error(1801, name, state=3)
            if name.lower() in RESERVED_NAMES or not re.fullmatch(r"[\w$# -]+", name):
                raise SqlError(1018, f"'{name}' cannot be the name of a database here.", 15)
            persistent = self.directory is not None and name.lower() != "master"
            path = str(self.directory / f"{name}.duckdb") if persistent and self.directory else ":memory:"
            is_new = path == ":memory:" or not Path(path).exists()
            connection = self.root.cursor()
            connection.execute(f"ATTACH {quote_text(path)} AS {quote(name)}")
            if is_new:
                connection.execute("BEGIN")
                create_catalogue(connection, name)
                connection.execute("COMMIT")
            settings = load_settings(connection, name)
            prepare_tracking(connection, name)
            connection.close()
            database = Database(name, len(self.databases) + (1 if name == "master" else 4), settings)
            self.databases[name.lower()] = database
            return database

    def drop(self, name: str) -> None:
        """Detach a database and delete its file. Raises SqlError 3701."""
        with self._lock:
            database = self.databases.pop(name.lower(), None)
            if database is None or database.name == "master":
                raise make_error(3701, "database", name)
            connection = self.root.cursor()
            connection.execute(f"DETACH {quote(database.name)}")
            connection.close()
            if self.directory is not None:
                (self.directory / f"{database.name}.duckdb").unlink(missing_ok=True)

    def change_settings(self, database: Database, settings: DatabaseSettings) -> None:
        """Give a database other settings, at once and for all sessions."""
        with self._lock:
            connection = self.root.cursor()
            store_settings(connection, database.name, settings)
            connection.close()
            database.settings = settings

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a connection for a session."""
        return self.root.cursor()

    def close(self) -> None:
        """Write everything to disk and let go of it."""
        for name in ("tds_moment", "tds_float_text", "tds_encode", "tds_decode"):
            self.root.remove_function(name)
        for database in self.databases.values():
            self.root.execute(f"DETACH {quote(database.name)}")
        self.root.close()


_PARAMETER: Final = re.compile(r"\$(v\d+)\b")


def used_parameters(sql: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters that a statement mentions: DuckDB refuses others."""
    if not parameters:
        return {}
    return {name: parameters[name] for name in set(_PARAMETER.findall(sql)) if name in parameters}


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
        return SqlError(
            512,
            "Subquery returned more than 1 value. This is not permitted when the subquery follows =, !=, <, <= , "
            ">, >= or "
            "when the subquery is used as an expression.",
        )
    return SqlError(8630, f"Internal Query Processor Error: {text}", 17)


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
    if code in (517, 535, 537):
        return SqlError(code, _OVERFLOWS[code].format(rest), 16)
    if code in (241,):
        return make_error(code)
    values = rest.split(ERROR_MARK)
    return make_error(code, *values)


_OVERFLOWS: Final = {
    517: "Adding a value to a '{0}' column caused an overflow.",
    535: "The {0} function resulted in an overflow. The number of dateparts separating two date/time instances is too "
    "large. Try to use {0} with a less precise datepart.",
    537: "Invalid length parameter passed to the LEFT or SUBSTRING function.",
}


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
