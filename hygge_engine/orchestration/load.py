"""The orchestrator of a load: plan, slide a window of activities over the entities, settle.

A generator in the part of Durable Functions that behaves the same on both SDK generations (see `context`). Its rules:

- It decides from its input, the answers of its activities and the context's clock, and from nothing else.
- It never looks at what an exception is or says, because that differs between SDKs; expected failures are values.
- It never ends before ``settle_load`` has run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timedelta
from typing import Any

from hygge_engine.orchestration.context import Context, Task, Timer
from hygge_engine.orchestration.summary import Totals, summarize
from hygge_engine.orchestration.verdict import CRASH_PAUSE_SECONDS, CRASHED, CRASHES_LIMIT, judge
from hygge_engine.orchestration.window import Journey, Window

# The external event that asks a load to stop.
CANCEL_EVENT = "cancel"

# Times that `plan_load` is tried: it reads a few files, so next to nothing that stops it passes by itself.
PLAN_ATTEMPTS = 3

# Times that `settle_load` is tried. It writes the only record of the load, so it has more patience than an entity;
# the pauses are its own `retry_after_seconds`.
SETTLE_ATTEMPTS = 10

Steps = Generator[Task, Any, dict[str, Any]]

# Told of each entity that will not run again. For display only: it must change nothing.
OnSettled = Callable[[dict[str, Any]], None]


def load(context: Context) -> Steps:
    """Run one load (input: `LoadRequest.to_json`) and return its summary (see `summary.summarize`)."""
    return (yield from load_steps(context, lambda _: None))


def load_steps(context: Context, on_settled: OnSettled) -> Steps:
    """`load`, for a host that wants to show each entity as it settles."""
    request = context.get_input() or {}
    load_id = request.get("coordinator_run_id") or context.instance_id
    started = context.current_utc_datetime
    context.set_custom_status({"phase": "planning"})
    # Holds the event that is still waited for; empty once it has come.
    cancel = [context.wait_for_external_event(CANCEL_EVENT)]
    plan: dict[str, Any] = {}
    if not request.get("skip_reason"):
        plan = yield from _ask(context, "plan_load", {"load_id": load_id, "request": request}, PLAN_ATTEMPTS, cancel)
    outcome = _Outcome(Totals(plan), on_settled)
    yield from _run_entities(context, load_id, plan, cancel, outcome)
    totals = outcome.totals
    context.set_custom_status(totals.status("settling"))
    finished = context.current_utc_datetime
    summary = summarize(load_id, request, plan, outcome.answers, totals, started=started, finished=finished)
    to_settle = {"summary": summary, "request": request, "results": outcome.answers}
    summary["journal"] = yield from _ask(context, "settle_load", to_settle, SETTLE_ATTEMPTS)
    context.set_custom_status(totals.status("settled"))
    return summary


class _Outcome:
    """What has come of the entities so far."""

    def __init__(self, totals: Totals, on_settled: OnSettled) -> None:
        self.totals = totals
        self.answers: list[dict[str, Any]] = []
        self._on_settled = on_settled

    def settle(self, journey: Journey, answer: Mapping[str, Any]) -> None:
        """Keep an entity's last answer, with the plan's names for it and the start of its first slice."""
        self.totals.settle(answer)
        names = {key: journey.entity[key] for key in ("flow", "entity", "entity_run_id", "run_type")}
        self.answers.append({**answer, **names, "started": journey.started, "attempts": journey.attempts})
        self._on_settled(self.answers[-1])


def _run_entities(
    context: Context, load_id: str, plan: Mapping[str, Any], cancel: list[Task], outcome: _Outcome
) -> Generator[Task, Any]:
    """Run all entities of a plan, until each has settled."""
    totals = outcome.totals
    window = Window(plan.get("entities", []), plan.get("concurrency", 1), plan.get("pools", {}))
    running: dict[Task, Journey] = {}
    alarm = _Alarm(context)
    totals.cancelled = not cancel
    while True:
        if totals.cancelled:
            for journey in window.drain():
                outcome.settle(journey, _stopped(journey))
        outstanding = bool(running) or alarm.timer is not None
        fresh: list[Task] = []
        while started := window.start_next():
            started.attempts += 1
            task = context.call_activity("run_flow", _slice_task(load_id, plan, started))
            running[task] = started
            fresh.append(task)
        if alarm.set(window.next_due) and alarm.timer is not None:
            fresh.append(alarm.timer)
        if not running and alarm.timer is None:
            return
        totals.count(window)
        context.set_custom_status(totals.status("loading"))
        waits_for = [*running, *cancel]
        if alarm.timer is not None:
            waits_for.append(alarm.timer)
        if fresh and outstanding:
            # The extension that hosts SDK 1.7 replays our waits one after the other, and knows of each only the tasks
            # that it started: it would start nothing more until one of the fresh tasks has ended, whatever else ends
            # before. A timer that is due already, started with them, ends that wait at once.
            waits_for.append(context.create_timer(context.current_utc_datetime))
        winner = yield context.task_any(waits_for)
        if winner in running:
            journey = running.pop(winner)
            window.stop(journey)
            answer = yield from _read(winner)
            _go_on(journey, answer, context.current_utc_datetime, window, outcome)
        elif winner is alarm.timer:
            window.wake(max(context.current_utc_datetime, alarm.ring()))
        elif winner in cancel:
            cancel.clear()
            totals.cancelled = True


def _go_on(journey: Journey, answer: dict[str, Any] | None, now: datetime, window: Window, outcome: _Outcome) -> None:
    """Let an entity whose activity has ended run again, now or later, or settle it."""
    verdict = judge(journey, answer, now)
    if verdict.answer is not None:
        outcome.settle(journey, verdict.answer)
        # A slice that saw the marker knows of the cancellation even if the event is lost.
        outcome.totals.cancelled = outcome.totals.cancelled or verdict.answer["status"] == "cancelled"
    elif outcome.totals.cancelled:
        outcome.settle(journey, _stopped(journey))
    elif verdict.due is None or verdict.due <= now:
        window.resume(journey)
    else:
        window.defer(journey, verdict.due)


class _Alarm:
    """The one timer that waits for the first of all deferred entities, however many there are."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due: datetime | None = None
        self.timer: Timer | None = None

    def set(self, due: datetime | None) -> bool:
        """Ring at ``due`` (None: not at all); True where that is a change."""
        if due == self._due or (due is not None and self._due is not None and self._due < due):
            # Ringing too early costs one look at the window, less than a new timer.
            return False
        if self.timer is not None:
            self.timer.cancel()
        self._due = due
        self.timer = None if due is None else self._context.create_timer(due)
        return True

    def ring(self) -> datetime:
        """Forget the timer, which has fired, and return when it was due: by another host's clock that may be after
        now."""
        due = self._due
        if due is None:
            raise RuntimeError("the alarm was not set")
        self._due = self.timer = None
        return due


def _ask(
    context: Context, name: str, input_: dict[str, Any], attempts: int, cancel: list[Task] | None = None
) -> Generator[Task, Any, dict[str, Any]]:
    """Call an activity until it answers with anything but a transient failure; the last failure is the answer then.

    A cancellation that comes meanwhile is noted, not obeyed.
    """
    attempt, crashes = 1, 0
    while True:
        task = context.call_activity(name, {**input_, "attempt": attempt})
        while cancel and (yield context.task_any([task, *cancel])) in cancel:
            cancel.clear()
        answer = yield from _read(task)
        if answer is None:
            crashes += 1
            retry = {"transient": crashes < CRASHES_LIMIT, "retry_after_seconds": CRASH_PAUSE_SECONDS * crashes}
            answer = {**CRASHED, **retry}
        if not answer.get("transient") or attempt >= attempts:
            return answer
        attempt += 1
        pause = timedelta(seconds=answer.get("retry_after_seconds") or 0.0)
        yield context.create_timer(context.current_utc_datetime + pause)


def _read(task: Task) -> Generator[Task, Any, dict[str, Any] | None]:
    """The value of an activity, or None where it ended without one."""
    try:
        value = yield task
    except Exception:  # noqa: BLE001 - which exception stands for a failed activity differs between the SDK generations
        return None
    return dict(value)


def _slice_task(load_id: str, plan: Mapping[str, Any], journey: Journey) -> dict[str, Any]:
    """The input of ``run_flow``: `SliceTask.to_json`."""
    entity = journey.entity
    return {
        "load_id": load_id,
        "entity_run_id": entity["entity_run_id"],
        "flow": entity["flow"],
        "entity": entity["entity"],
        "run_type": entity["run_type"],
        "settings_hash": plan["settings_hash"],
        "attempt": journey.attempts,
    }


def _stopped(journey: Journey) -> dict[str, Any]:
    """The answer of an entity that a cancelled load does not run again."""
    if not journey.attempts:
        return {"status": "cancelled", "message": "The load was cancelled before this entity began."}
    message = "The load was cancelled; what had been committed stays."
    if journey.last.get("status") == "failed":
        message += f" The last attempt had failed: {journey.trouble}"
    return {**journey.last, "status": "cancelled", "message": message}
