"""A Durable Functions host in virtual time: replays the orchestrator from its history at every event, as the real ones
do.

It keeps the strictest rule of both SDK generations: of every wait, only the tasks that the wait itself started count
for what is started next (see ``devcloud/functions/durable_replay.py``). An orchestrator that is live here is live on
both.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hygge_engine.orchestration.load import load

START = datetime(2024, 5, 1, 6, 0, tzinfo=UTC)

# What an activity does: seconds it takes, and its result or the exception it ends with.
Script = Callable[[str, dict[str, Any]], tuple[float, dict[str, Any] | Exception]]


class SimulatedTask:
    def __init__(self, kind: str, detail: Any = None, children: tuple[SimulatedTask, ...] = ()) -> None:
        self.kind, self.detail, self.children = kind, detail, children
        self.done = False
        self.value: Any = None
        self.number = -1
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def settle(self) -> bool:
        if self.kind == "any" and not self.done:
            self.value = next((child for child in self.children if child.done), None)
            self.done = self.value is not None
        return self.done


class SimulatedContext:
    def __init__(self, input_: Any) -> None:
        self.instance_id = "load-1"
        self.current_utc_datetime = START
        self.custom_status: Any = None
        self.next_input: Any = None
        self._input = input_

    def get_input(self) -> Any:
        return json.loads(json.dumps(self._input))

    def call_activity(self, name: str, input_: Any = None) -> SimulatedTask:
        return SimulatedTask("activity", (name, json.loads(json.dumps(input_))))

    def create_timer(self, fire_at: datetime) -> SimulatedTask:
        return SimulatedTask("timer", fire_at)

    def wait_for_external_event(self, name: str) -> SimulatedTask:
        return SimulatedTask("event", name)

    def task_any(self, tasks: list[Any]) -> SimulatedTask:
        return SimulatedTask("any", children=tuple(tasks))

    def continue_as_new(self, input_: Any) -> None:
        self.next_input = json.loads(json.dumps(input_))

    def set_custom_status(self, status: Any) -> None:
        assert len(json.dumps(status)) < 16 * 1024
        self.custom_status = json.loads(json.dumps(status))


@dataclass
class Run:
    """An activity that ran: when, for how long (seconds since the load began), with what input."""

    name: str
    input: dict[str, Any]
    began: float
    ended: float


@dataclass
class Host:
    script: Script
    input: dict[str, Any] = field(default_factory=dict)
    cancel_at: float | None = None
    runs: list[Run] = field(default_factory=list)
    statuses: list[Any] = field(default_factory=list)
    episodes: int = 0
    histories: int = 0
    longest_history: int = 0
    processor_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._began = START
        self._count = 0
        self._inbox: list[tuple[datetime, int, str, int, Any]] = []
        self._begin_history()

    def _begin_history(self) -> None:
        """Restart, as at the start and after `continue_as_new`: what was under way is dropped."""
        self.histories += 1
        self._history: list[tuple[datetime, str, int, Any]] = []
        self._inbox = [item for item in self._inbox if item[2] == "event"]
        heapq.heapify(self._inbox)
        self._begun: set[int] = set()
        self._decided: list[Any] = []

    def run(self) -> dict[str, Any]:
        """Run the load to its end; fails where nothing can happen any more and the load has not ended."""
        if self.cancel_at is not None:
            self._deliver(START + timedelta(seconds=self.cancel_at), "event", -1, "cancel")
        while True:
            began = time.process_time()
            output = self._replay()
            self.processor_seconds += time.process_time() - began
            if output is not None:
                self.finished = self._now()
                return output
            assert self._inbox, "the load is stuck: nothing is under way that it could wait for"
            due, _, kind, number, value = heapq.heappop(self._inbox)
            self._history.append((max(due, self._now()), kind, number, value))
            self.longest_history = max(self.longest_history, len(self._history))

    def _now(self) -> datetime:
        return self._history[-1][0] if self._history else self._began

    def _deliver(self, due: datetime, kind: str, number: int, value: Any) -> None:
        self._count += 1
        heapq.heappush(self._inbox, (due, self._count, kind, number, value))

    def _replay(self) -> dict[str, Any] | None:
        """Run the orchestrator from the beginning through the history, then start what it has asked for."""
        self.episodes += 1
        context = SimulatedContext(self.input)
        context.current_utc_datetime = self._began
        steps = cast(Generator[SimulatedTask, Any, dict[str, Any]], load(context))
        replay = _Replay()
        try:
            waits_for = next(steps)
            replay.wait(waits_for)
            for time, kind, number, value in self._history:
                context.current_utc_datetime = time
                replay.complete(kind, number, value)
                while waits_for.settle():
                    failed = isinstance(waits_for.value, Exception)
                    waits_for = steps.throw(waits_for.value) if failed else steps.send(waits_for.value)
                    replay.wait(waits_for)
        except StopIteration as end:
            assert not [task for task in replay.outstanding() if task.kind == "timer" and task.detail > self._now()]
            if context.next_input is not None:
                assert not [task for task in replay.outstanding() if task.kind == "activity"]
                self._began, self.input = self._now(), context.next_input
                self._begin_history()
                return self._replay()
            return cast(dict[str, Any], json.loads(json.dumps(end.value)))
        decisions = [task.detail for group in replay.groups for task in group]
        assert decisions[: len(self._decided)] == self._decided, "the orchestrator decided differently in a replay"
        self._decided = decisions
        self.statuses.append(context.custom_status)
        for task in replay.startable():
            if task.number in self._begun:
                continue
            self._begun.add(task.number)
            self._start(task)
        return None

    def _start(self, task: SimulatedTask) -> None:
        now = self._now()
        if task.kind == "timer" and not task.cancelled:
            self._deliver(max(task.detail, now), "timer", task.number, None)
        elif task.kind == "activity":
            name, input_ = task.detail
            seconds, answer = self.script(name, input_)
            elapsed = (now - START).total_seconds()
            self.runs.append(Run(name, input_, elapsed, elapsed + seconds))
            value = answer if isinstance(answer, Exception) else json.loads(json.dumps(answer))
            self._deliver(now + timedelta(seconds=seconds), "activity", task.number, value)

    def flows(self) -> list[Run]:
        """The slices that ran, but for those that only release a table."""
        return [run for run in self.runs if run.name == "run_flow" and not run.input["closing"]]

    def closings(self) -> list[Run]:
        """The slices that only release a table."""
        return [run for run in self.runs if run.name == "run_flow" and run.input["closing"]]

    def most_at_once(self, runs: list[Run]) -> int:
        """How many of the runs were under way together at most."""
        return max((sum(other.began <= run.began < other.ended for other in runs) for run in runs), default=0)


class _Replay:
    def __init__(self) -> None:
        self.groups: list[list[SimulatedTask]] = []
        self._tasks: list[SimulatedTask] = []

    def wait(self, task: SimulatedTask) -> None:
        """Note a wait: the tasks in it that were in none before form a group."""
        fresh = [each for each in task.children or (task,) if each.number < 0 and not each.done]
        for each in fresh:
            each.number = len(self._tasks)
            self._tasks.append(each)
        if fresh:
            self.groups.append(fresh)

    def complete(self, kind: str, number: int, value: Any) -> None:
        if kind == "event":
            for task in self._tasks:
                if task.kind == "event" and task.detail == value:
                    task.done = True
        else:
            self._tasks[number].done, self._tasks[number].value = True, value

    def startable(self) -> list[SimulatedTask]:
        """The tasks of every group up to the first that has nothing ended yet."""
        startable: list[SimulatedTask] = []
        for group in self.groups:
            startable += group
            if not any(task.done or task.cancelled for task in group):
                break
        return startable

    def outstanding(self) -> list[SimulatedTask]:
        return [task for task in self._tasks if not task.done and not task.cancelled]
