"""What to do with an entity after one of its slices has ended: run again, later, or end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, cast

from hygge_engine.orchestration.concurrency import EntityRunState
from hygge_engine.orchestration.payloads import SlicePayload
from hygge_engine.row_counts import COUNT_NAMES

# Transient failures in a row before an entity is given up. With the pauses of `hygge_engine.retry` that is most of a
# minute of waiting between attempts, the time that Azure SQL takes to fail over; the next load continues where this one
# stopped.
TRANSIENT_FAILURES_LIMIT = 8

# Longest time of failing in a row. It matters where a service asks for long pauses: a throttled Fabric capacity may
# ask for minutes at a time, and a load that waits for longer than two of the usual ticks only delays
# the next.
FAILING_LIMIT_SECONDS = 30 * 60

# Activities that ended without a result, in a row. The host has redelivered each of them already if its worker died,
# so a third one means that this entity kills workers (memory), and more attempts would take the other entities down
# with it.
CRASHES_LIMIT = 3

# Pause after such an activity, times the crashes so far: long enough for the host to have a new worker. No dice here,
# because an orchestrator must replay.
CRASH_PAUSE_SECONDS = 10.0

# Results in a row that report an unexpected exception: again, because it may still pass; a mistake
# in the program will not.
UNEXPECTED_LIMIT = 2

# Slices in a row that neither get ahead nor name a time to come back. Taking over a table from a dead attempt costs one
# or two of them; without a limit, two attempts that fence each other would continue for ever.
IDLE_SLICES_LIMIT = 20

# Longest time of waiting in a row, whatever for: Fabric is given half an hour to drop a table, or what the settings
# say. A reload that is given up here has kept what it had staged, and the next load continues with it.
WAITING_LIMIT_SECONDS = 6 * 60 * 60

# Times that an entity may begin again because what it had read in part has changed: a source that changes faster than
# it can be read is never read to its end.
BEGINNINGS_LIMIT = 20

# Pause between slices that did nothing, so that a fenced attempt does not take the table straight back.
IDLE_PAUSE_SECONDS = 2.0

# The ``error`` of a result that reports an unexpected exception.
UNEXPECTED = "load.unexpected"

CRASHED: SlicePayload = {
    "status": "failed",
    "error": "load.activity_crashed",
    "message": "The activity ended without a result (worker stopped, out of memory or out of time); "
    "the function app's log says more.",
}

_IDLE = f"{IDLE_SLICES_LIMIT} slices in a row made no progress; another load may be working on the same table."
_BEGUN_AGAIN = f"The source changed {BEGINNINGS_LIMIT} times while it was being read, each time before its end."


# The message where the entity is left without a table.
_GONE = (
    "The old table has been dropped and the new rows have not landed. It is gone until the next load continues, "
    "unless another load has restored it."
)

# What it says where the table is still owned, for a while.
_HELD = "The table could not be released:"

# What it says where that was averted.
_FINISHED = "The load was cancelled while its staged rows took the old table's place, which was finished"


# What a message says of the tries before it, wherever they were counted: within an operation, or here.
ATTEMPTS = re.compile(r" \(tried \d+ times over \d+ s\)| Gave up after \d+ attempts in \d+ s\.")

# What a result says of the whole entity run: what it has landed, and how far it has come.
_WHOLE: tuple[Literal["rows", "bytes", "files", "reached"], ...] = ("rows", "bytes", "files", "reached")

# What an entity that releases its table may change of its result.
_CHANGED_BY_RELEASE = (*_WHOLE, "watermark", "watermark_column", "watermark_type", "table_gone")


@dataclass(frozen=True)
class Verdict:
    """``result`` ends the entity; without it the entity runs again, not before ``due`` where that is given.

    With ``holding`` the entity may still own its table, and has to release it before it ends.
    """

    result: SlicePayload | None = None
    due: datetime | None = None
    holding: bool = False


def judge(entity_run: EntityRunState, result: SlicePayload | None, now: datetime) -> Verdict:
    """Count one activity's result (None: it ended without one) and decide. Pure but for the run's own counters."""
    if result is not None and result.get("waiting"):
        entity_run.attempts -= 1  # it was not its turn, and it has not even looked
        return Verdict(due=max(datetime.fromisoformat(result["not_before"]), now))
    if result is not None:
        entity_run.started = entity_run.started or result.get("started", "")
    # A slice that could not even look (a fenced one, a lake that is down) does not know what was landed before it.
    known = _chosen(entity_run.last, _WHOLE)
    has_looked = result is not None and bool(result.get("rows") or result.get("reached"))
    counts = _chosen(entity_run.last, () if has_looked else COUNT_NAMES)
    result = {**known, **counts, **(CRASHED if result is None else result)}
    if result["status"] == "failed" and entity_run.last.get("table_gone"):
        result.setdefault("table_gone", True)
    progressed = any(result.get(total) != known.get(total) for total in _WHOLE)
    entity_run.last = result
    entity_run.busy = entity_run.busy + 1 if result.get("busy") else 0
    if entity_run.ending is not None:
        return _after_closing(entity_run, entity_run.ending, now, progressed=progressed)
    if result["status"] == "continue":
        return _after_continue(entity_run, progressed, now)
    if result["status"] == "failed":
        entity_run.failed_attempts += 1
        entity_run.last_failure = result.get("message", "")
        if progressed:
            # It got ahead before it failed: the budget is for failing in a row.
            _forgive(entity_run)
        return _after_failure(entity_run, now)
    return Verdict(result=_with_recovery(entity_run) if result["status"] == "done" else result)


def begin_ending(entity_run: EntityRunState, ending: SlicePayload) -> None:
    """Let an entity that may still own its table end with this result as soon as it has released it."""
    entity_run.ending = ending.copy()
    _forgive(entity_run)


def with_lost_table(result: SlicePayload) -> SlicePayload:
    """An entity's last result, with what has become of its table where that is gone."""
    if result["status"] == "done" or not result.get("table_gone"):
        return result.copy()
    return {**result, "message": f"{result.get('message', '')} {_GONE}".lstrip()}


def _with_recovery(entity_run: EntityRunState) -> SlicePayload:
    result = entity_run.last
    if not entity_run.failed_attempts:
        return result
    recovered = f"Recovered from {entity_run.failed_attempts} failed attempts, the last: {entity_run.last_failure}"
    return {**result, "message": f"{result['message']}; {recovered}" if result.get("message") else recovered}


def _after_closing(entity_run: EntityRunState, ending: SlicePayload, now: datetime, *, progressed: bool) -> Verdict:
    """A slice that was only to release its table has ended. One that could not is tried again only where that matters:
    a table that is gone comes back by it, any other is free again two minutes later by itself."""
    result = entity_run.last
    if result["status"] == "done":
        done = _with_recovery(entity_run)
        notes = [_FINISHED if ending["status"] == "cancelled" else "", done.get("message", "")]
        return Verdict(result={**done, "message": "; ".join(filter(None, notes))})
    verdict = Verdict(result=result)
    if result["status"] == "continue":
        verdict = _after_continue(entity_run, progressed, now)
    elif result["status"] == "failed" and (not result.get("transient") or result.get("table_gone")):
        verdict = _after_failure(entity_run, now)
    if verdict.result is None:
        return verdict
    result = verdict.result
    settled = _with_last_state(ending, result)
    if result["status"] == "failed":
        settled["message"] = f"{ending.get('message', '')} {_HELD} {result.get('message', '')}"
    return Verdict(result=settled)


def ending_unreleased(entity_run: EntityRunState, stopped: SlicePayload) -> SlicePayload:
    """The result of an entity that ends without having released its table, because that is no longer waited for: its
    ending, or ``stopped`` where it has none."""
    result = _with_last_state(entity_run.ending or stopped, entity_run.last)
    message = f"{result.get('message', '')} {_HELD} what it waited for did not respond."
    return {**result, "message": message}


def _with_last_state(ending: SlicePayload, last: SlicePayload) -> SlicePayload:
    """An ending with what the last result says of the table."""
    uncounted = _chosen(ending, tuple(key for key in ending if key not in COUNT_NAMES))
    return {**uncounted, "table_gone": None, **_chosen(last, (*_CHANGED_BY_RELEASE, *COUNT_NAMES))}


def _chosen(result: SlicePayload, keys: tuple[str, ...]) -> SlicePayload:
    return cast("SlicePayload", {key: value for key, value in result.items() if key in keys})


def _after_continue(entity_run: EntityRunState, progressed: bool, now: datetime) -> Verdict:
    _forgive(entity_run)
    result = entity_run.last
    if result.get("begun_again"):
        entity_run.beginnings += 1
        if entity_run.beginnings >= BEGINNINGS_LIMIT:
            return _no_progress(result, _BEGUN_AGAIN)
    not_before = result.get("not_before")
    if not_before is not None:
        entity_run.waiting_since = now if progressed else entity_run.waiting_since or now
        waited = (now - entity_run.waiting_since).total_seconds()
        if waited > WAITING_LIMIT_SECONDS:
            return _no_progress(result, f"Waited for {waited / 60:.0f} minutes without progress.")
        return Verdict(due=max(datetime.fromisoformat(not_before), now))
    entity_run.waiting_since = None
    entity_run.idle = 0 if progressed else entity_run.idle + 1
    if entity_run.idle >= IDLE_SLICES_LIMIT:
        return _no_progress(result, _IDLE)
    return Verdict(due=now + timedelta(seconds=IDLE_PAUSE_SECONDS) if entity_run.idle else None)


def _no_progress(result: SlicePayload, why: str) -> Verdict:
    last = f" The last one said: {result['message']}" if result.get("message") else ""
    given_up: SlicePayload = {**result, "status": "failed", "error": "load.no_progress", "message": why + last}
    return Verdict(result=given_up, holding=True)


def _after_failure(entity_run: EntityRunState, now: datetime) -> Verdict:
    result = entity_run.last
    since = entity_run.failing_since = entity_run.failing_since or now
    pause = result.get("retry_after_seconds") or 0.0
    if result.get("error") in (CRASHED["error"], UNEXPECTED):
        entity_run.crashes += 1
        crashed = result["error"] == CRASHED["error"]
        given_up = entity_run.crashes >= (CRASHES_LIMIT if crashed else UNEXPECTED_LIMIT)
        pause = CRASH_PAUSE_SECONDS * entity_run.crashes if crashed else pause
    elif result.get("transient"):
        entity_run.failures += 1
        failing = (now - since).total_seconds() + pause
        given_up = entity_run.failures >= TRANSIENT_FAILURES_LIMIT or failing > FAILING_LIMIT_SECONDS
    else:
        return Verdict(result=result)
    if not given_up:
        return Verdict(due=now + timedelta(seconds=pause))
    times, seconds = entity_run.failures + entity_run.crashes, (now - since).total_seconds()
    message = f"{result.get('message', '')} Gave up after {times} attempts in {seconds:.0f} s."
    return Verdict(result={**result, "message": message}, holding=True)


def _forgive(entity_run: EntityRunState) -> None:
    entity_run.failures = entity_run.crashes = 0
    entity_run.failing_since = None
