"""What to do with an entity after one of its slices has answered: again, later, or settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hygge_engine.orchestration.window import Journey

# Transient failures in a row before an entity is given up. With the pauses of `hygge_engine.retry` that is most of a
# minute of waiting between attempts, the time that Azure SQL takes to fail over; the next load goes on where this one
# stopped.
TRANSIENT_FAILURES_LIMIT = 8

# Longest time of failing in a row. It matters where a service asks for long pauses: a throttled Fabric capacity may
# ask for minutes at a time, and a load that waits for longer than two of the usual ticks only stands in the way of
# the next.
FAILING_LIMIT_SECONDS = 30 * 60

# Activities that ended without an answer, in a row. The host has redelivered each of them already if its worker died,
# so a third one means that this entity kills workers (memory), and more attempts would take the other entities down
# with it.
CRASHES_LIMIT = 3

# Pause after such an activity, times the crashes so far: long enough for the host to have a new worker. No dice here,
# because an orchestrator must replay.
CRASH_PAUSE_SECONDS = 10.0

# Answers in a row that report an unexpected exception: once more, because what nobody foresaw may still pass; a mistake
# in the program will not.
UNEXPECTED_LIMIT = 2

# Slices in a row that neither land anything nor name a time to come back. Taking over a table from a dead attempt
# costs one or two of them; without a limit, two attempts that fence each other would go on for ever.
IDLE_SLICES_LIMIT = 20

# Pause between slices that did nothing, so that a fenced attempt does not take the table straight back.
IDLE_PAUSE_SECONDS = 2.0

# The ``error`` of an answer that reports an unexpected exception.
UNEXPECTED = "load.unexpected"

CRASHED = {
    "status": "failed",
    "error": "load.activity_crashed",
    "message": "The activity ended without an answer (worker stopped, out of memory or out of time); "
    "the function app's log says more.",
}

_IDLE = {
    "status": "failed",
    "error": "load.no_progress",
    "message": f"{IDLE_SLICES_LIMIT} slices in a row landed nothing; another load may be working on the same table.",
}


@dataclass(frozen=True)
class Verdict:
    """``answer`` settles the entity; without it the entity runs again, not before ``due`` where that is given."""

    answer: dict[str, Any] | None = None
    due: datetime | None = None


def judge(journey: Journey, answer: Mapping[str, Any] | None, now: datetime) -> Verdict:
    """Count one activity's answer (None: it ended without one) and decide. Pure but for the journey's own counters."""
    if answer is None:
        return _after_crash(journey, now)
    answer = dict(answer)
    if answer["status"] == "continue":
        return _after_continue(journey, answer, now)
    if answer.get("error") == UNEXPECTED:
        return _after_unexpected(journey, answer, now)
    if answer["status"] == "failed" and answer.get("transient"):
        return _after_transient_failure(journey, answer, now)
    return Verdict(answer=answer)


def _after_continue(journey: Journey, answer: dict[str, Any], now: datetime) -> Verdict:
    not_before = answer.get("not_before")
    waits_or_works = not_before is not None or journey.progressed(answer)
    journey.last = answer
    journey.failures = journey.crashes = 0
    journey.failing_since = None
    journey.idle = 0 if waits_or_works else journey.idle + 1
    if not_before is not None:
        return Verdict(due=max(datetime.fromisoformat(not_before), now))
    if journey.idle >= IDLE_SLICES_LIMIT:
        return Verdict(answer={**answer, **_IDLE})
    return Verdict(due=now + timedelta(seconds=IDLE_PAUSE_SECONDS) if journey.idle else None)


def _after_transient_failure(journey: Journey, answer: dict[str, Any], now: datetime) -> Verdict:
    if journey.last and journey.progressed(answer):
        # It landed rows before it failed: the budget is for failing in a row.
        journey.failures = journey.crashes = 0
        journey.failing_since = None
    journey.last = answer
    journey.failures += 1
    since = journey.failing_since = journey.failing_since or now
    due = now + timedelta(seconds=answer.get("retry_after_seconds") or 0.0)
    if journey.failures >= TRANSIENT_FAILURES_LIMIT or (due - since).total_seconds() > FAILING_LIMIT_SECONDS:
        return Verdict(answer={**answer, "message": _tried(answer["message"], journey, since, now)})
    return Verdict(due=due)


def _after_unexpected(journey: Journey, answer: dict[str, Any], now: datetime) -> Verdict:
    journey.last = {**journey.last, **answer}
    journey.crashes += 1
    if journey.crashes >= UNEXPECTED_LIMIT:
        return Verdict(answer=journey.last)
    return Verdict(due=now + timedelta(seconds=answer.get("retry_after_seconds") or 0.0))


def _after_crash(journey: Journey, now: datetime) -> Verdict:
    journey.crashes += 1
    since = journey.failing_since = journey.failing_since or now
    if journey.crashes >= CRASHES_LIMIT:
        return Verdict(answer={**journey.last, **CRASHED, "message": _tried(CRASHED["message"], journey, since, now)})
    return Verdict(due=now + timedelta(seconds=CRASH_PAUSE_SECONDS * journey.crashes))


def _tried(message: str, journey: Journey, since: datetime, now: datetime) -> str:
    times = journey.failures + journey.crashes
    return f"{message} Gave up after {times} attempts in {(now - since).total_seconds():.0f} s."
