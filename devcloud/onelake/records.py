"""What a directory tree on disk cannot hold, in one SQLite table: (path, kind, name) → JSON.

Kinds: `directory` (its stamp and inode), `part` (appended, not flushed), `block` and `committed` (staged and committed
blocks), `lease`, `properties` (content type, metadata), `filesystem` (its mode). Rows follow their path when it is
renamed and go when it goes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

type Value = dict[str, Any]


class Records:
    """The table. Used by one thread at a time: the caller holds the lock of the tree."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # The process may die at any moment, the machine is not asked to: WAL without fsync survives exactly that.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS records (path TEXT, kind TEXT, name TEXT, value TEXT, "
            "PRIMARY KEY (path, kind, name)) WITHOUT ROWID"
        )

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def get(self, path: str, kind: str, name: str = "") -> Value | None:
        """One value, or None."""
        row = self._connection.execute(
            "SELECT value FROM records WHERE path = ? AND kind = ? AND name = ?", (path, kind, name)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def entries(self, path: str, kind: str) -> dict[str, Value]:
        """All values of one kind for a path, by name, in the order of the names."""
        rows = self._connection.execute(
            "SELECT name, value FROM records WHERE path = ? AND kind = ? ORDER BY name", (path, kind)
        )
        return {name: json.loads(value) for name, value in rows}

    def put(self, path: str, kind: str, value: Value, name: str = "") -> None:
        """Set one value."""
        self._connection.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", (path, kind, name, json.dumps(value))
        )

    def delete(self, path: str, *kinds: str) -> None:
        """Forget everything about a path, or only the given kinds."""
        if not kinds:
            self._connection.execute("DELETE FROM records WHERE path = ?", (path,))
        for kind in kinds:
            self._connection.execute("DELETE FROM records WHERE path = ? AND kind = ?", (path, kind))

    def delete_tree(self, path: str) -> None:
        """Forget everything about a path and all below it."""
        self._connection.execute(
            "DELETE FROM records WHERE path = ? OR (path > ? AND path < ?)", (path, path + "/", path + "0")
        )

    def delete_uploads(self, path: str) -> list[str]:
        """Forget the uncommitted parts and blocks of a path and of all below it; returns the names of their spooled
        files.
        """
        rows = self._connection.execute(
            "DELETE FROM records WHERE kind IN ('part', 'block') AND (path = ? OR (path > ? AND path < ?)) "
            "RETURNING value",
            (path, path + "/", path + "0"),
        )
        return [json.loads(value)["file"] for (value,) in rows.fetchall()]

    def move_tree(self, source: str, destination: str) -> None:
        """Let everything about a path and all below it follow a rename; what was known about the destination is
        forgotten.
        """
        with self._connection:
            self._connection.execute("BEGIN")
            self.delete_tree(destination)
            # '0' is the character after '/': the range holds exactly the paths below the source.
            self._connection.execute(
                "UPDATE records SET path = ? || substr(path, ?) WHERE path = ? OR (path > ? AND path < ?)",
                (destination, len(source) + 1, source, source + "/", source + "0"),
            )

    def replace(self, path: str, kind: str, values: dict[str, Value]) -> None:
        """Set all values of one kind at once."""
        with self._connection:
            self._connection.execute("BEGIN")
            self.delete(path, kind)
            for name, value in values.items():
                self.put(path, kind, value, name)

    def all(self) -> Iterator[tuple[str, str, str, Value]]:
        """Every row as (path, kind, name, value)."""
        for path, kind, name, value in self._connection.execute("SELECT * FROM records").fetchall():
            yield path, kind, name, json.loads(value)
