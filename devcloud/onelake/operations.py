"""The operations log: what was asked of the service and what became of it, in order."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

# Operations kept; older ones are dropped so that a long-lived server stays small. About 1 kB each.
REMEMBERED_OPERATIONS: Final = 100_000


@dataclass(slots=True)
class Operation:
    """One request. `path` includes the filesystem; times in seconds (since 1970, and elapsed), sizes in bytes.

    `status` is 0 while it runs and when the connection was dropped instead of answering. `done` says whether it took
    effect, whatever the response; `fault` names the fault rules that were applied.
    """

    ordinal: int
    method: str
    verb: str
    path: str
    mutating: bool
    started: float
    source: str | None = None
    client_request_id: str | None = None
    status: int = 0
    error_code: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    done: bool = False
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


class OperationsLog:
    """Operations in memory, and as one JSON line each in `file` if one is given. Safe to read from any thread."""

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._operations: deque[Operation] = deque(maxlen=REMEMBERED_OPERATIONS)
        self._next = 1
        # Unbuffered appends: a line is in the file as soon as its response is sent.
        self._lines = file.open("ab", buffering=0) if file else None

    def begin(self, operation: Operation) -> None:
        """Give an operation its ordinal, the first being 1."""
        with self._lock:
            operation.ordinal = self._next
            self._next += 1

    def finish(self, operation: Operation) -> None:
        """Record an operation that has ended or was dropped."""
        with self._lock:
            self._operations.append(operation)
            if self._lines is not None:
                self._lines.write(json.dumps(operation.as_json()).encode() + b"\n")

    def select(
        self, *, verb: str | None = None, path: str | None = None, mutating: bool | None = None, after: int = 0
    ) -> list[Operation]:
        """Finished operations, in the order they finished; `path` is a regular expression searched for, `after` an
        ordinal.
        """
        pattern = re.compile(path) if path else None
        with self._lock:
            operations = list(self._operations)
        return [
            operation
            for operation in operations
            if operation.ordinal > after
            and (verb is None or operation.verb == verb)
            and (mutating is None or operation.mutating == mutating)
            and (pattern is None or pattern.search(operation.path))
        ]

    def __len__(self) -> int:
        return len(self._operations)

    def clear(self) -> None:
        """Delete all operations; ordinals continue."""
        with self._lock:
            self._operations.clear()

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()
