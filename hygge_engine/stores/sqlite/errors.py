"""What SQLite's result codes mean for a load. Messages are for people; the code alone decides.

Source: SQLite's documentation, "Result and Error Codes".
"""

from __future__ import annotations

import sqlite3
from typing import Final

from hygge_engine.errors import LandingBroken, StoreError, StoreUnavailable

# An extended result code has its primary one in the lowest byte.
_PRIMARY: Final = 0xFF

_WAIT: Final = "Another program is writing to the database; the load tries again."
_ACCESS: Final = "Give the user that runs the load the right to write the file and its directory."
_DAMAGED: Final = "Restore the file from a copy, or move it away; the next loads make a new one from their sources."
NO_DATABASE: Final = "The store's path names a file that is not a SQLite database."

# By primary or extended code; the extended one counts first.
_MEANINGS: Final[dict[int, tuple[type[StoreError], str]]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailable, _WAIT),
    sqlite3.SQLITE_LOCKED: (StoreUnavailable, _WAIT),
    sqlite3.SQLITE_PROTOCOL: (StoreUnavailable, _WAIT),
    sqlite3.SQLITE_SCHEMA: (StoreUnavailable, "The table has just changed; the load tries again."),
    sqlite3.SQLITE_NOMEM: (StoreUnavailable, "The machine is out of memory; lower concurrency if it lasts."),
    sqlite3.SQLITE_IOERR: (StoreUnavailable, "The disk did not read or write; check it if this lasts."),
    sqlite3.SQLITE_FULL: (StoreError, "Free space on the disk: a reload needs room for the table twice."),
    sqlite3.SQLITE_READONLY: (StoreError, _ACCESS),
    sqlite3.SQLITE_PERM: (StoreError, _ACCESS),
    sqlite3.SQLITE_AUTH: (StoreError, _ACCESS),
    sqlite3.SQLITE_CANTOPEN: (StoreError, f"Check the store's path. {_ACCESS}"),
    sqlite3.SQLITE_TOOBIG: (StoreError, "A value is larger than SQLite takes (1 GB by default)."),
    sqlite3.SQLITE_NOTADB: (LandingBroken, NO_DATABASE),
    sqlite3.SQLITE_CORRUPT: (LandingBroken, _DAMAGED),
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: (StoreError, "A row has NULL in a key column: name another key in key_columns."),
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: (
        StoreError,
        "A unique index on the table, which is not the engine's, refuses a row; nothing was changed. Drop the index, "
        "or correct the rows in the source.",
    ),
    sqlite3.SQLITE_CONSTRAINT: (StoreError, "The table has a constraint that the rows break; it is not the engine's."),
}


def translate(error: sqlite3.Error, doing: str) -> StoreError:
    """The error that SQLite's code amounts to. ``doing`` says what was attempted, and where."""
    # The module's own complaints, as about a value that it cannot bind, have no code.
    code = int(vars(error).get("sqlite_errorcode", sqlite3.SQLITE_ERROR))
    kind, hint = _MEANINGS.get(code) or _MEANINGS.get(code & _PRIMARY) or (StoreError, "")
    name = vars(error).get("sqlite_errorname", "SQLITE_ERROR")
    return kind(f"{doing}: {error} ({name})", hint=hint)
