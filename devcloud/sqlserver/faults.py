"""Deliberate faults: what the real service does on a bad day, on request.

A fault waits for its occasion (a login, a statement, rows of a table), happens as many times as was asked, and is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from devcloud.sqlserver.errors import ConnectionLostError, SqlError, make_error

KINDS: Final = frozenset(
    {"drop_connection", "deadlock", "throttle", "error", "login_failure", "slow_rows", "delay", "server_down"}
)
_THROTTLES: Final = {
    40501: lambda: make_error(40501, "{8F0E5D1A-0000-0000-0000-000000000000}"),
    40613: lambda: make_error(40613, "database", "devcloud"),
    40197: lambda: make_error(40197, 40197),
    10928: lambda: make_error(10928, 1, "request", 30),
    49918: lambda: make_error(49918),
    49920: lambda: make_error(49920, "devcloud"),
}
THROTTLE_NUMBERS: Final = tuple(_THROTTLES)


@dataclass(slots=True)
class Fault:
    """A fault to come.

    ``kind`` is one of KINDS; ``table`` (``schema.name`` or ``name``) restricts it to statements that use that table,
    ``login`` to sessions of that login; ``times`` is how often it happens (None: until cleared). ``after_rows`` is how
    many rows are sent before a connection is dropped or a deadlock, throttle or error strikes; ``number`` chooses the
    error; ``seconds`` is the delay before a statement or after every thousand slow rows.
    """

    kind: str
    table: str | None = None
    login: str | None = None
    times: int | None = 1
    after_rows: int = 0
    number: int = 40501
    message: str = "A deliberate fault."
    severity: int = 16
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is not a fault; there are {', '.join(sorted(KINDS))}")
        if self.kind == "throttle" and self.number not in _THROTTLES:
            raise ValueError(f"throttling has no number {self.number}; there are {THROTTLE_NUMBERS}")

    def concerns(self, login: str, tables: Iterable[str]) -> bool:
        """Return whether a statement of that login, on those tables (``schema.name``), matches."""
        if self.login is not None and self.login.lower() != login.lower():
            return False
        if self.table is None:
            return True
        wanted = self.table.lower().replace("[", "").replace("]", "")
        return any(name.lower() == wanted or name.lower().split(".")[-1] == wanted for name in tables)

    def make_error(self, session: int, user: str) -> SqlError:
        """Return the error that the fault raises."""
        match self.kind:
            case "deadlock":
                return make_error(1205, session, state=51)
            case "throttle":
                return _THROTTLES[self.number]()
            case "login_failure":
                if self.number in _THROTTLES and self.number != 40501:
                    return _THROTTLES[self.number]()
                return make_error(18456, user)
            case _:
                return SqlError(self.number, self.message, self.severity)


class Faults:
    """The faults that wait, shared by all sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []
        self.happened: list[Fault] = []
        """Every fault that struck, in order, so that a test can tell that it did."""

    def add(self, fault: Fault) -> None:
        """Let a fault wait for its occasion."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Discard all waiting faults."""
        with self._lock:
            self._waiting.clear()

    def take(self, kinds: Iterable[str], login: str, tables: Iterable[str] = ()) -> Fault | None:
        """Return a waiting fault of one of these kinds whose occasion this is, and count it as happened."""
        tables = tuple(tables)
        with self._lock:
            for fault in self._waiting:
                if fault.kind in kinds and fault.concerns(login, tables):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times == 0:
                            self._waiting.remove(fault)
                    self.happened.append(fault)
                    return fault
        return None

    def at_login(self, user: str) -> None:
        """Raise what waits for a login. Raises ConnectionLostError or SqlError."""
        fault = self.take(("login_failure", "server_down"), user)
        if fault is None:
            return
        if fault.kind == "server_down":
            raise ConnectionLostError("a deliberate fault")
        raise fault.make_error(0, user)

    def at_statement(self, session: int, login: str, tables: Iterable[str]) -> Fault | None:
        """Raise what waits for a statement, or return a fault of its pace or its rows."""
        fault = self.take(("drop_connection", "deadlock", "throttle", "error", "slow_rows", "delay"), login, tables)
        if fault is None or fault.kind in ("slow_rows", "delay") or fault.after_rows:
            return fault
        if fault.kind == "drop_connection":
            raise ConnectionLostError("a deliberate fault")
        raise fault.make_error(session, login)
