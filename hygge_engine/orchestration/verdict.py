"""What to do with an entity after one of its slices has answered: again, later, or settled."""

from __future__ import annotations

import re
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

# Slices in a row that neither get ahead nor name a time to come back. Taking over a table from a dead attempt costs one
# or two of them; without a limit, two attempts that fence each other would go on for ever.
IDLE_SLICES_LIMIT = 20

# Longest time of waiting in a row, whatever for: Fabric is given half an hour to drop a table, or what the settings
# say. A reload that is given up here has kept what it had staged, and the next load goes on with it.
WAITING_LIMIT_SECONDS = 6 * 60 * 60

# Times that an entity may begin again because what it had read in part has changed: a source that changes faster than
# it can be read is never read to its end.
BEGINNINGS_LIMIT = 20

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

_IDLE = f"{IDLE_SLICES_LIMIT} slices in a row got no further; another load may be working on the same table."
_BEGUN_AGAIN = f"The source changed {BEGINNINGS_LIMIT} times while it was being read, each time before its end."


# What a message says of the tries before it, wherever they were counted: within a verb, or here.
ATTEMPTS = re.compile(r" \(tried \d+ times over \d+ s\)| Gave up after \d+ attempts in \d+ s\.")

# What an answer says of the whole entity run: what it has landed, and how far it has come.
_WHOLE = ("rows", "bytes", "files", "reached")


@dataclass(frozen=True)
class Verdict:
    """``answer`` settles the entity; without it the entity runs again, not before ``due`` where that is given."""

    answer: dict[str, Any] | None = None
    due: datetime | None = None


def judge(journey: Journey, answer: Mapping[str, Any] | None, now: datetime) -> Verdict:
    """Count one activity's answer (None: it ended without one) and decide. Pure but for the journey's own counters."""
    journey.started = journey.started or (answer or {}).get("started", "")
    # A slice that could not even look (a fenced one, a lake that is down) does not know what was landed before it.
    known = {total: journey.last[total] for total in _WHOLE if total in journey.last}
    answer = {**known, **CRASHED} if answer is None else {**known, **answer}
    progressed = any(answer.get(total) != known.get(total) for total in _WHOLE)
    journey.last = answer
    if answer["status"] == "continue":
        return _after_continue(journey, progressed, now)
    if answer["status"] == "failed":
        journey.troubles += 1
        journey.trouble = answer["message"]
        if progressed:
            # It got ahead before it failed: the budget is for failing in a row.
            _forgive(journey)
        return _after_failure(journey, now)
    if answer["status"] == "done" and journey.troubles:
        recovered = f"Recovered from {journey.troubles} failed attempts, the last: {journey.trouble}"
        answer["message"] = f"{answer['message']}; {recovered}" if answer.get("message") else recovered
    return Verdict(answer=answer)


def _after_continue(journey: Journey, progressed: bool, now: datetime) -> Verdict:
    _forgive(journey)
    answer = journey.last
    if answer.get("begun_again"):
        journey.beginnings += 1
        if journey.beginnings >= BEGINNINGS_LIMIT:
            return _no_progress(answer, _BEGUN_AGAIN)
    not_before = answer.get("not_before")
    if not_before is not None:
        journey.waiting_since = now if progressed else journey.waiting_since or now
        waited = (now - journey.waiting_since).total_seconds()
        if waited > WAITING_LIMIT_SECONDS:
            return _no_progress(answer, f"Waited for {waited / 60:.0f} minutes and got no further.")
        return Verdict(due=max(datetime.fromisoformat(not_before), now))
    journey.waiting_since = None
    journey.idle = 0 if progressed else journey.idle + 1
    if journey.idle >= IDLE_SLICES_LIMIT:
        return _no_progress(answer, _IDLE)
    return Verdict(due=now + timedelta(seconds=IDLE_PAUSE_SECONDS) if journey.idle else None)


def _no_progress(answer: Mapping[str, Any], why: str) -> Verdict:
    last = f" The last one said: {answer['message']}" if answer.get("message") else ""
    return Verdict(answer={**answer, "status": "failed", "error": "load.no_progress", "message": why + last})


def _after_failure(journey: Journey, now: datetime) -> Verdict:
    answer = journey.last
    since = journey.failing_since = journey.failing_since or now
    pause = answer.get("retry_after_seconds") or 0.0
    if answer.get("error") in (CRASHED["error"], UNEXPECTED):
        journey.crashes += 1
        crashed = answer["error"] == CRASHED["error"]
        given_up = journey.crashes >= (CRASHES_LIMIT if crashed else UNEXPECTED_LIMIT)
        pause = CRASH_PAUSE_SECONDS * journey.crashes if crashed else pause
    elif answer.get("transient"):
        journey.failures += 1
        failing = (now - since).total_seconds() + pause
        given_up = journey.failures >= TRANSIENT_FAILURES_LIMIT or failing > FAILING_LIMIT_SECONDS
    else:
        return Verdict(answer=answer)
    if not given_up:
        return Verdict(due=now + timedelta(seconds=pause))
    times, seconds = journey.failures + journey.crashes, (now - since).total_seconds()
    return Verdict(
        answer={**answer, "message": f"{answer['message']} Gave up after {times} attempts in {seconds:.0f} s."}
    )


def _forgive(journey: Journey) -> None:
    journey.failures = journey.crashes = 0
    journey.failing_since = None
