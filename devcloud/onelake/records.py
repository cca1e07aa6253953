"""What a directory tree on disk cannot hold: (path, kind, name) → JSON, in memory and written through to SQLite.

Kinds: `directory` (its stamp and inode), `part` (appended, not flushed), `block` and `committed` (staged and committed
blocks), `lease`, `properties` (content type, metadata), `filesystem` (its mode). Rows follow their path when it is
renamed and go when it goes. A plain file has none, so that the common operations touch no table at all.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

type Value = dict[str, Any]

_SUBTREE = "(path = :path OR (path > :path || '/' AND path < :path || '0'))"  # '0' is the character after '/'


class Records:
    """The rows. Raises RuntimeError when another server has the same root.

    Used by one thread at a time: the caller holds the lock of the tree. Returned values are not to be
    changed.
    """

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, timeout=0.1, check_same_thread=False, isolation_level=None)
        try:
            # A second server on the same root would sweep away what the first one has staged.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise RuntimeError(f"another server holds {file}") from error
        # The process may die at any time, the machine need not: WAL without fsync survives exactly that.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS records (path TEXT, kind TEXT, name TEXT, value TEXT, "
            "PRIMARY KEY (path, kind, name)) WITHOUT ROWID"
        )
        self._rows: dict[str, dict[tuple[str, str], Value]] = {}
        for path, kind, name, value in self._connection.execute("SELECT path, kind, name, value FROM records"):
            self._rows.setdefault(path, {})[kind, name] = json.loads(value)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def get(self, path: str, kind: str, name: str = "") -> Value | None:
        """One value, or None."""
        rows = self._rows.get(path)
        return None if rows is None else rows.get((kind, name))

    def entries(self, path: str, kind: str) -> dict[str, Value]:
        """All values of one kind for a path, by name, in the order of the names."""
        rows = self._rows.get(path, {})
        return {name: rows[of, name] for of, name in sorted(rows) if of == kind}

    def all(self) -> Iterator[tuple[str, str, str, Value]]:
        """Every row as (path, kind, name, value), as they are now."""
        for path, rows in list(self._rows.items()):
            for (kind, name), value in list(rows.items()):
                yield path, kind, name, value

    def put(self, path: str, kind: str, value: Value, name: str = "") -> None:
        """Set one value."""
        self._connection.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", (path, kind, name, json.dumps(value))
        )
        self._rows.setdefault(path, {})[kind, name] = value

    def delete(self, path: str, kind: str) -> None:
        """Delete one kind of a path."""
        rows = self._rows.get(path)
        if rows is not None:
            self._connection.execute("DELETE FROM records WHERE path = ? AND kind = ?", (path, kind))
            self._keep(path, {key: value for key, value in rows.items() if key[0] != kind})

    def replace(self, path: str, kind: str, values: dict[str, Value]) -> None:
        """Set all values of one kind at once."""
        with self._connection:
            self._connection.execute("BEGIN")
            self.delete(path, kind)
            for name, value in values.items():
                self.put(path, kind, value, name)

    def delete_tree(self, path: str) -> list[str]:
        """Delete everything about a path and all below it; returns the names of the spooled files that this orphans."""
        below = self._below(path)
        if not below:
            return []
        self._connection.execute(f"DELETE FROM records WHERE {_SUBTREE}", {"path": path})
        gone = [row for key in below for row in self._rows.pop(key).items()]
        return [value["file"] for (kind, _), value in gone if kind in ("part", "block")]

    def move_tree(self, source: str, destination: str) -> None:
        """Let everything about a path and all below it follow a rename to where nothing is recorded."""
        below = self._below(source)
        if not below:
            return
        self._connection.execute(
            f"UPDATE records SET path = :destination || substr(path, length(:path) + 1) WHERE {_SUBTREE}",
            {"path": source, "destination": destination},
        )
        for path in below:
            self._rows[destination + path[len(source) :]] = self._rows.pop(path)

    def _below(self, path: str) -> list[str]:
        # Every directory that was ever looked at has a row: without one, nothing below it has been recorded either.
        if path not in self._rows:
            return []
        return [key for key in self._rows if key == path or key.startswith(path + "/")]

    def _keep(self, path: str, rows: dict[tuple[str, str], Value]) -> None:
        if rows:
            self._rows[path] = rows
        else:
            self._rows.pop(path, None)
