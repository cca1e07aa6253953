"""Deliberate faults: which operations they meet, and what happens then."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from devcloud.onelake.errors import default_code, default_status
from devcloud.onelake.operations import Operation

type When = Literal["before", "after", "during"]


@dataclass(slots=True)
class Fault:
    """One rule: what it matches and what it does.

    Matching: `verb`, `method`, `path` (a regular expression searched for in `<filesystem>/<path>`) and `mutating` must
    all agree where they are given. Of the matching operations the first `nth - 1` pass, the next `times` are hit (None:
    all), each with `probability`, decided by a generator seeded with `seed`.

    Effects, which may be combined: respond with `status` and `code` (either implies the other) and `retry_after`
    seconds; or `drop` the connection; wait `delay_seconds`; pass bodies at `bytes_per_second` at most. `when` says
    whether a response or drop comes before the operation took effect, after it, or, for a drop, during the transfer of
    the body: then it never took effect, or the reader gets half.
    """

    verb: str | None = None
    method: str | None = None
    path: str | None = None
    mutating: bool | None = None
    nth: int = 1
    times: int | None = 1
    probability: float = 1.0
    seed: int = 0
    when: When = "before"
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after: int | None = None
    drop: bool = False
    delay_seconds: float = 0.0
    bytes_per_second: int | None = None
    id: int = field(default=0, kw_only=True)
    matched: int = field(default=0, kw_only=True)
    applied: int = field(default=0, kw_only=True)
    _random: random.Random = field(init=False, repr=False)
    _pattern: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.code is not None and self.status is None:
            self.status = default_status(self.code)
        if self.status is not None and self.code is None:
            self.code = default_code(self.status)
        if self.status is not None and self.drop:
            raise ValueError("a fault either responds or drops the connection")
        if self.when == "during" and not self.drop:
            raise ValueError("only a dropped connection can come during an operation")
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth and times count from 1")
        self._random = random.Random(self.seed)  # noqa: S311  (repeatable, not secret)
        self._pattern = re.compile(self.path) if self.path else None

    def hits(self, operation: Operation) -> bool:
        """Count an operation and say whether the rule applies to it."""
        if (
            (self.verb is not None and self.verb != operation.verb)
            or (self.method is not None and self.method != operation.method)
            or (self.mutating is not None and self.mutating != operation.mutating)
            or (self._pattern is not None and not self._pattern.search(operation.path))
        ):
            return False
        self.matched += 1
        if self.matched < self.nth or (self.times is not None and self.applied >= self.times):
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.applied += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """The rule and its counters as JSON values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}


class Faults:
    """The rules in force, in the order they were added. Safe to change from any thread at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []
        self._next = 1

    def add(self, fault: Fault | None = None, **rule: Any) -> Fault:
        """Put a rule in force: a `Fault`, or its fields. The returned rule counts what it `matched` and how often it
        was `applied`.

        Raises TypeError for an unknown field and ValueError for a rule that contradicts itself.
        """
        added = fault if fault is not None else Fault(**rule)
        with self._lock:
            added.id = self._next
            self._next += 1
            self._rules.append(added)
        return added

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()

    def remove(self, fault_id: int) -> None:
        """Remove one rule; KeyError when there is none of that id."""
        with self._lock:
            kept = [rule for rule in self._rules if rule.id != fault_id]
            if len(kept) == len(self._rules):
                raise KeyError(fault_id)
            self._rules = kept

    def all(self) -> list[Fault]:
        """The rules in force."""
        with self._lock:
            return list(self._rules)

    def hit(self, operation: Operation) -> list[Fault]:
        """Count an operation against every rule; returns those that apply to it."""
        with self._lock:
            return [rule for rule in self._rules if rule.hits(operation)]
