"""Whose turn it is to work in this process: loads of the schedule always find a place, others wait for theirs.

The host runs a few activities at once and keeps no order between loads, so that a flood of loads would delay one that
has to be on time, and slices that wait for a silent source before those of every other. A load that is told to wait
gives its place back at once and asks again. Nothing of this is kept anywhere: it dies with the process, and each
process sees its own work alone.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hygge_engine.orchestration.schedule import ID_PREFIX

# How long after its last activity a scheduled load is taken to be under way, in seconds: longer than it pauses.
AT_WORK_SECONDS = 60.0

# How long a load that was told to wait counts as waiting, in seconds: longer than its pause.
WAITING_SECONDS = 60.0

# How soon one that has to wait asks again, in seconds, and after many times.
PAUSE_SECONDS = 4.0
PAUSE_LIMIT_SECONDS = 30.0

_jitter = random.Random()  # noqa: S311 - not cryptography

Table = tuple[str, str]


def activities_at_once(host_json: Path) -> int:
    """How many activities the host runs at once in each process."""
    settings = json.loads(host_json.read_text(encoding="utf-8"))
    return int(settings["extensions"]["durableTask"]["maxConcurrentActivityFunctions"])


class Turns:
    """``at_once``: the activities that run at once; None where the host bounds them, and no load waits.

    One place is left to the schedule, which planning or settling, one at a time, may have for the short time that
    either takes: neither waits for slices. While a scheduled load is under way the slices of others have one place. A
    connection that has places already gets no more before one that has none and waits. May be used by several threads.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._brief = 0
        self._slices: Counter[str] = Counter()
        self._waiting: dict[str, float] = {}
        self._scheduled = 0
        self._seen: dict[str, float] = {}
        self._wanted: dict[Table, str] = {}

    @contextmanager
    def take(
        self,
        load_id: str,
        table: Table | None = None,
        *,
        connection: str | None = None,
        waits: bool = True,
        last: bool = False,
    ) -> Iterator[bool]:
        """Whether it is a load's turn, which lasts as long as the context. ``table``: what it would begin with;
        ``connection``: what a slice reads by, None where this is no slice; ``waits``: it asks again where it is not its
        turn; ``last``: this is its last activity."""
        scheduled = load_id.startswith(ID_PREFIX)
        with self._lock:
            taken = scheduled or self._may_work(table, connection, waits)
            if not scheduled:
                self._count(connection, taken)
            self._scheduled += scheduled
            if scheduled:
                self._seen[load_id] = time.monotonic()
        try:
            yield taken
        finally:
            with self._lock:
                if not scheduled:
                    self._count(connection, -taken)
                self._scheduled -= scheduled
                if scheduled:
                    self._seen[load_id] = time.monotonic()
                if last:
                    self._forget(load_id)

    def record_result(self, load_id: str, table: Table, *, busy: bool) -> None:
        """A slice has ended. What a scheduled load finds busy no other load begins before it."""
        if not load_id.startswith(ID_PREFIX):
            return
        with self._lock:
            if busy:
                self._wanted[table] = load_id
            else:
                self._wanted.pop(table, None)

    def _count(self, connection: str | None, more: int) -> None:
        if connection is None:
            self._brief += more
        else:
            self._slices[connection] += more

    def _may_work(self, table: Table | None, connection: str | None, waits: bool) -> bool:
        if self._at_once is None:
            return True
        now = time.monotonic()
        if not self._scheduled:
            for load_id in [load_id for load_id, seen in self._seen.items() if seen < now - AT_WORK_SECONDS]:
                self._forget(load_id)
        if connection is None:
            return self._brief < 1
        places = 1 if self._seen else max(1, self._at_once - 1)
        if table in self._wanted:
            return False
        if self._slices.total() < places and not self._gives_way(connection, now):
            self._waiting.pop(connection, None)
            return True
        if waits:
            self._waiting[connection] = now
        return False

    def _gives_way(self, connection: str, now: float) -> bool:
        """Whether a connection has places while another has none and waits."""
        if not self._slices[connection]:
            return False
        return any(asked >= now - WAITING_SECONDS and not self._slices[other] for other, asked in self._waiting.items())

    def _forget(self, load_id: str) -> None:
        self._seen.pop(load_id, None)
        for table in [table for table, wanted_by in self._wanted.items() if wanted_by == load_id]:
            del self._wanted[table]


def wait_for_turn(waits: int = 0, *, pool: bool = False) -> dict[str, Any]:
    """The result of an activity whose turn it is not, after ``waits`` before this one. ``pool``: its connection has no
    room, so that no other entity of the load need ask before."""
    pause = _jitter.uniform(0.5, 1.5) * min(PAUSE_LIMIT_SECONDS, PAUSE_SECONDS * 2 ** min(waits, 8))
    due = datetime.now(UTC) + timedelta(seconds=pause)
    return {"status": "continue", "waiting": True, "not_before": due.isoformat(), **({"pool": True} if pool else {})}
