"""Durable Functions' orchestration context in process: activities on threads, timers by the clock, no memory."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hygge_engine.orchestration.context import Task

LOGGER = logging.getLogger(__name__)

Activity = Callable[[dict[str, Any]], dict[str, Any]]


class LocalTask:
    """Something the orchestrator waits for; completes once, with a value or with an error."""

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._parents: list[LocalTask] = []

    def complete(self, value: Any = None, error: BaseException | None = None) -> None:
        """Complete, and with it the races that wait for this task."""
        if self.done:
            return
        self.done, self.value, self.error = True, value, error
        for parent in self._parents:
            parent.complete(self)
        self._parents.clear()

    def race(self, race: LocalTask) -> None:
        """Notify a race when this task completes."""
        if self.done:
            race.complete(self)
        else:
            self._parents.append(race)

    def cancel(self) -> None:
        """Nothing waits for this any more."""
        self._parents.clear()


class LocalContext:
    """`context.Context` for one load in this process. Call `turn` from one thread only; `raise_event` from any.

    Each activity has a thread of its own, so that none queues behind one that hangs.
    """

    def __init__(self, instance_id: str, input_: Any, activities: Mapping[str, Activity]) -> None:
        self.instance_id = instance_id
        self.current_utc_datetime = datetime.now(UTC)
        self.custom_status: Any = None
        self._input = input_
        self._activities = activities
        self._threads: list[threading.Thread] = []
        self._abandoned = False
        self._completions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[datetime, int, LocalTask]] = []
        self._order = itertools.count()
        self._events: dict[str, LocalTask] = {}

    def get_input(self) -> Any:
        return self._input

    def call_activity(self, name: str, input_: Any = None) -> LocalTask:
        task = LocalTask()

        def work() -> None:
            value, failure = None, None
            try:
                value = self._activities[name](input_)
            except BaseException as error:  # as a host does: whatever it was, the orchestrator gets it
                failure = error
                LOGGER.error("Activity %s ended unexpectedly.", name, exc_info=error)
            finally:  # also where the log fails: the orchestrator waits for nothing else
                self.post(lambda: task.complete(value, failure))

        thread = threading.Thread(target=work, name=f"hygge-activity {name}", daemon=True)
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()
        return task

    def call_sub_orchestrator(self, name: str, input_: Any = None, instance_id: str | None = None) -> LocalTask:
        """What other instances would be for: there is one process here."""
        raise NotImplementedError("An orchestrator in this process runs alone.")

    def create_timer(self, fire_at: datetime) -> LocalTask:
        task = LocalTask()
        heapq.heappush(self._timers, (fire_at, next(self._order), task))
        return task

    def wait_for_external_event(self, name: str) -> LocalTask:
        return self._events.setdefault(name, LocalTask())

    def task_any(self, tasks: list[Any]) -> LocalTask:
        race = LocalTask()
        for task in tasks:
            task.race(race)
        return race

    def set_custom_status(self, status: Any) -> None:
        self.custom_status = status

    def continue_as_new(self, input_: Any) -> None:
        """There is no history here that could grow too long."""
        raise NotImplementedError("An orchestrator in this process runs to its end.")

    def raise_event(self, name: str) -> None:
        """Raise an external event."""
        self.post(lambda: self.wait_for_external_event(name).complete())

    def post(self, happening: Callable[[], None]) -> None:
        """Let something happen on the thread that runs the orchestrator. Safe from any thread and signal handler."""
        self._completions.put(happening)

    def turn(self, task: LocalTask) -> None:
        """Let things happen until a task is done."""
        while True:
            self._fire_timers()
            if task.done:
                return
            try:
                happening = self._completions.get(timeout=self._seconds_to_next_timer())
            except queue.Empty:
                continue
            self.current_utc_datetime = datetime.now(UTC)
            happening()

    def abandon(self) -> None:
        """Wait for no activity at the end. Safe from any thread."""
        self._abandoned = True

    @property
    def is_busy(self) -> bool:
        """Whether an activity still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Wait for the activities that still run."""
        for thread in self._threads:
            if not self._abandoned:
                thread.join()

    def _fire_timers(self) -> None:
        now = datetime.now(UTC)
        while self._timers and self._timers[0][0] <= now:
            self.current_utc_datetime = now
            heapq.heappop(self._timers)[2].complete()

    def _seconds_to_next_timer(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, (self._timers[0][0] - datetime.now(UTC)) / timedelta(seconds=1))


def run_orchestrator(context: LocalContext, steps: Generator[Task, Any, Any]) -> Any:
    """Drive an orchestrator that was called with this context to its end, and return its output."""
    try:
        step = cast(LocalTask, next(steps))
        while True:
            context.turn(step)
            step = cast(LocalTask, steps.send(step.value) if step.error is None else steps.throw(step.error))
    except StopIteration as end:
        return end.value
    finally:
        context.close()
