"""DuckDB underneath: one instance, one attached database for each of the server's, one connection per session."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import duckdb

from devcloud.sqlserver.engine import library
from devcloud.sqlserver.engine.catalogue import (
    CATALOGUE_SCHEMA,
    Catalogue,
    create_catalogue,
    load_catalogue,
    prepare_tracking,
)
from devcloud.sqlserver.engine.settings import DatabaseSettings, load_settings, store_settings
from devcloud.sqlserver.engine.values import quote, quote_text
from devcloud.sqlserver.errors import make_error

RESERVED_NAMES: Final = frozenset({"memory", "system", "temp"})
"""DuckDB's own databases."""


class Database:
    """A database of the server."""

    def __init__(self, name: str, number: int, settings: DatabaseSettings) -> None:
        self.name = name
        self.number = number
        self.settings = settings
        self.loaded: tuple[int, Catalogue] | None = None
        """The catalogue that was last loaded, and the instance's count of definitions before."""
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
        self._definitions = threading.Lock()
        self.definitions = 0
        """Rises after every commit of definitions, in whichever database: catalogues are then loaded again."""
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
                raise make_error(1018, name)
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
            # Those before 5 are of system databases, and no two have one, also where others were dropped.
            number = max((each.number for each in self.databases.values()), default=0)
            database = Database(name, 1 if name == "master" else max(4, number) + 1, settings)
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

    def note_definitions(self) -> None:
        """Note that a transaction has committed definitions."""
        with self._definitions:
            self.definitions += 1

    def catalogue(self, database: Database) -> Catalogue:
        """Return a database's catalogue as it was committed last; all sessions share it."""
        with self._definitions:
            kept = database.loaded
            if kept is None or kept[0] != self.definitions:
                connection = self.root.cursor()
                try:
                    connection.execute("BEGIN TRANSACTION")
                    kept = (self.definitions, load_catalogue(connection, database.name))
                finally:
                    connection.close()
                database.loaded = kept
        return kept[1]

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
        """Write everything to disk and close it."""
        for name in ("tds_moment", "tds_float_text", "tds_encode", "tds_decode"):
            self.root.remove_function(name)
        for database in self.databases.values():
            self.root.execute(f"DETACH {quote(database.name)}")
        self.root.close()


_PARAMETER: Final = re.compile(r"\$(\w+)\b")


def used_parameters(sql: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters that a statement mentions: DuckDB refuses others."""
    if not parameters:
        return {}
    return {name: parameters[name] for name in set(_PARAMETER.findall(sql)) if name in parameters}
