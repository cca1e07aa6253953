"""Who may use a connection now, over all loads: the register of its permits, and the rules by which they are given
(docs/limits.md).

Pure but for the document's own words: `permits` reads and replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hygge_engine.orchestration.schedule import ID_PREFIX

# How long a holder that says nothing keeps its permits, by the service's clock.
HOLDING_TIME = timedelta(seconds=120)

# How long a load counts as waiting after it has asked, longer than it pauses until it asks again.
WAITING_TIME = timedelta(seconds=30)

# What a load of the schedule is ahead of others in waiting.
SCHEDULED_AHEAD = timedelta(minutes=5)

# A time so far ahead was written by a clock that has been set back since: one that is alive says so again in seconds.
CLOCK_SET_BACK = timedelta(minutes=15)

# Raised when a field changes its meaning. A register of another format is written anew, as a damaged one is.
FORMAT = 1

# More than any register has: 200 bytes for each process and each waiting load.
LENGTH_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Holder:
    """A process with permits: how many for each load, and until when. ``process`` is `process.this_process`."""

    process: str
    expires: datetime
    loads: Mapping[str, int]


@dataclass(frozen=True)
class Waiting:
    """A load that waits since ``since`` for ``needs`` permits; it counts until ``until``."""

    needs: int
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Register:
    """The holders by name, and the waiting loads by id. Every change gives another register."""

    holders: Mapping[str, Holder] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)

    def living(self, now: datetime, has_ended: Callable[[str], bool]) -> Register:
        """Without those whose time is over, or whose process ``has_ended``."""
        holders = {
            name: holder
            for name, holder in self.holders.items()
            if _is_ahead(holder.expires, now) and not has_ended(holder.process)
        }
        waiting = {load_id: each for load_id, each in self.waiting.items() if _is_ahead(each.until, now)}
        return Register(holders, waiting)

    def held(self, load_id: str, size: int) -> int:
        """How many of ``size`` permits a load has: never more than all, however many its processes keep for it."""
        return min(size, sum(holder.loads.get(load_id, 0) for holder in self.holders.values()))

    def loads_of(self, name: str) -> dict[str, int]:
        """What a process has, by load."""
        holder = self.holders.get(name)
        return dict(holder.loads) if holder is not None else {}

    def held_beside(self, name: str, load_id: str) -> int:
        """How many permits a load's other processes keep."""
        return sum(holder.loads.get(load_id, 0) for each, holder in self.holders.items() if each != name)

    def free(self, size: int, load_id: str) -> int:
        """How many of ``size`` permits the other loads leave to one."""
        loads = {each for holder in self.holders.values() for each in holder.loads} - {load_id}
        return size - sum(self.held(each, size) for each in loads)

    def with_holder(self, name: str, holder: Holder) -> Register:
        """With what a process has now; without it where that is nothing."""
        loads = {load_id: held for load_id, held in holder.loads.items() if held > 0}
        others = {each: other for each, other in self.holders.items() if each != name}
        return replace(self, holders={**others, name: replace(holder, loads=loads)} if loads else others)

    def with_waiting(self, load_id: str, needs: int, now: datetime) -> Register:
        """With a load that waits, since ``now`` where it did not before."""
        before = self.waiting.get(load_id)
        if before and before.needs == needs and before.until - now > WAITING_TIME / 2:
            return self  # said again with every second time or so
        since = min(before.since, now) if before else now
        return replace(self, waiting={**self.waiting, load_id: Waiting(needs, since, now + WAITING_TIME)})

    def without_waiting(self, load_id: str) -> Register:
        """With a load that does not wait any more."""
        return replace(self, waiting={each: other for each, other in self.waiting.items() if each != load_id})

    def left_for(self, load_id: str, size: int, now: datetime) -> int:
        """How many permits a load may have in all: what the others leave, less what those need that come before it."""
        mine = self._rank(load_id, size, now)
        before = (each for each in self.waiting if each != load_id and self._rank(each, size, now) < mine)
        return self.free(size, load_id) - sum(min(size, self.waiting[each].needs) for each in before)

    def _rank(self, load_id: str, size: int, now: datetime) -> tuple[int, datetime, bool, str]:
        """Where a load stands among those that wait: first who has least, then who waits longest, then who waits."""
        waits = self.waiting.get(load_id)
        since = waits.since if waits else now
        return self.held(load_id, size), since - _ahead(load_id), waits is None, load_id

    def to_json(self, nonce: str) -> bytes:
        """The document."""
        holders = {
            name: {"process": holder.process, "expires": holder.expires.isoformat(), "loads": dict(holder.loads)}
            for name, holder in self.holders.items()
        }
        waiting = {
            load_id: {"needs": each.needs, "since": each.since.isoformat(), "until": each.until.isoformat()}
            for load_id, each in self.waiting.items()
        }
        return json.dumps({"format": FORMAT, "nonce": nonce, "holders": holders, "waiting": waiting}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> tuple[Register, str]:
        """A register and its nonce; an empty one where the document is damaged, or says what cannot be."""
        try:
            if len(data) > LENGTH_LIMIT_BYTES:
                return cls(), ""
            value: dict[str, Any] = json.loads(data)
            if value["format"] != FORMAT:
                return cls(), ""
            holders = {name: _holder_in(each) for name, each in value["holders"].items()}
            waiting = {load_id: _waiting_in(each) for load_id, each in value["waiting"].items()}
            return cls(holders, waiting), str(value["nonce"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return cls(), ""


def _ahead(load_id: str) -> timedelta:
    return SCHEDULED_AHEAD if load_id.startswith(ID_PREFIX) else timedelta(0)


def _is_ahead(end: datetime, now: datetime) -> bool:
    return timedelta(0) < end - now < CLOCK_SET_BACK


def _holder_in(value: Mapping[str, Any]) -> Holder:
    loads = {str(load_id): _count(held) for load_id, held in value["loads"].items()}
    return Holder(str(value["process"]), _time(value["expires"]), loads)


def _waiting_in(value: Mapping[str, Any]) -> Waiting:
    return Waiting(_count(value["needs"]), _time(value["since"]), _time(value["until"]))


def _count(value: Any) -> int:
    count = int(value)
    if count < 1:
        raise ValueError("a register counts from one")
    return count


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
