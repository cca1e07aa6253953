"""A session's transaction: T-SQL's count and isolation levels over DuckDB's snapshots.

Under READ COMMITTED a transaction that has not written yet reads each statement from a fresh snapshot, as SQL Server
with READ_COMMITTED_SNAPSHOT does; DuckDB's transaction begins with the first write. Under SNAPSHOT (and the two
stricter levels, which it satisfies for readers) it begins with the first statement.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from typing import Final

import duckdb

_READ_COMMITTED: Final = frozenset({"READ COMMITTED", "READ UNCOMMITTED"})
_DESCRIPTORS = itertools.count(0x0000_0100_0000_0001)


class Transaction:
    """The transaction of one session. ``count`` is @@TRANCOUNT."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, count_definitions: Callable[[], int]) -> None:
        """``count_definitions`` returns how many transactions of the server have committed definitions."""
        self._connection = connection
        self._count_definitions = count_definitions
        self.count = 0
        self.isolation = "READ COMMITTED"
        self.descriptor = bytes(8)
        self.is_open = False
        """Whether a DuckDB transaction is open."""
        self.has_written = False
        self.began_in_snapshot = False
        self._definitions = 0

    @property
    def sees_last_definitions(self) -> bool:
        """Whether what others have defined and committed is all in what it sees: its snapshot may be older."""
        return not self.is_open or self._definitions == self._count_definitions()

    def begin(self) -> None:
        """Begin, or begin one more inside."""
        self.count += 1
        if self.count == 1:
            self.descriptor = struct.pack("<Q", next(_DESCRIPTORS))
            self.began_in_snapshot = self.isolation == "SNAPSHOT"

    def enter(self, *, writing: bool) -> bool:
        """Open DuckDB's transaction if the next statement needs it; returns whether it did."""
        needed = writing or (self.count > 0 and self.isolation not in _READ_COMMITTED)
        if not needed or self.is_open:
            return False
        self._definitions = self._count_definitions()
        self._connection.execute("BEGIN TRANSACTION")
        self.is_open = True
        return True

    def commit(self) -> None:
        """Commit what DuckDB has open. Raises duckdb.Error."""
        is_open, self.is_open = self.is_open, False
        self.count, self.descriptor, self.has_written = 0, bytes(8), False
        if is_open:
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Roll everything back."""
        is_open, self.is_open = self.is_open, False
        self.count, self.descriptor, self.has_written = 0, bytes(8), False
        if is_open:
            self._connection.execute("ROLLBACK")

    def abandon(self) -> None:
        """Roll back DuckDB's transaction but stay in T-SQL's, which has not written: for another try."""
        if self.is_open:
            self.is_open = False
            self._connection.execute("ROLLBACK")
