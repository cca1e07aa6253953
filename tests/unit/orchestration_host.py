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
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from typing import Any, cast

from hygge_engine.orchestration.concurrency import EntityRunState
from hygge_engine.orchestration.lanes import Group
from hygge_engine.orchestration.load import lane, load
from hygge_engine.orchestration.parcels import packed

LOAD_ID = "load-1"
START = datetime(2024, 5, 1, 6, 0, tzinfo=UTC)

ORCHESTRATORS: dict[str, Callable[..., Any]] = {"load": load, "run_lane": lane}

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
    def __init__(
        self, input_: Any, instance_id: str = LOAD_ID, now: datetime = START, sizes: dict[str, int] | None = None
    ) -> None:
        self.instance_id = instance_id
        self.current_utc_datetime = now
        self.custom_status: Any = None
        self.next_input: Any = None
        self._input = input_
        self._sizes = {} if sizes is None else sizes

    def _travels(self, name: str, payload: Any) -> Any:
        text = json.dumps(payload)
        self._sizes[name] = max(self._sizes.get(name, 0), len(text))
        return json.loads(text)

    def get_input(self) -> Any:
        return self._input

    def call_activity(self, name: str, input_: Any = None) -> SimulatedTask:
        return SimulatedTask("activity", (name, self._travels(name, input_)))

    def call_sub_orchestrator(self, name: str, input_: Any = None, instance_id: str | None = None) -> SimulatedTask:
        return SimulatedTask("child", (name, self._travels(name, input_), instance_id))

    def create_timer(self, fire_at: datetime) -> SimulatedTask:
        return SimulatedTask("timer", fire_at)

    def wait_for_external_event(self, name: str) -> SimulatedTask:
        return SimulatedTask("event", name)

    def task_any(self, tasks: list[Any]) -> SimulatedTask:
        return SimulatedTask("any", children=tuple(tasks))

    def continue_as_new(self, input_: Any) -> None:
        self.next_input = self._travels("continue_as_new", input_)

    def set_custom_status(self, status: Any) -> None:
        assert len(json.dumps(status)) < 16 * 1024
        self.custom_status = json.loads(json.dumps(status))


@dataclass
class Run:
    """An activity that ran: when, for how long (seconds since the load began), with what input; ``entity`` is the one
    that it worked on."""

    name: str
    input: dict[str, Any]
    began: float
    ended: float
    entity: str


class _Instance:
    """One orchestration with its current history. ``parent``: the instance, its history and the task that waits for
    the end of this one."""

    def __init__(self, name: str, input_: Any, began: datetime, parent: tuple[str, int, int] | None = None) -> None:
        self.name, self.parent = name, parent
        self.histories = 0
        self.begin_history(input_, began)

    def begin_history(self, input_: Any, began: datetime) -> None:
        """Restart, as at the start and after `continue_as_new`."""
        self.input, self.began = json.dumps(input_), began
        self.histories += 1
        self.history: list[tuple[datetime, str, int, Any]] = []
        self.begun: set[int] = set()
        self.decided: list[Any] = []

    @property
    def now(self) -> datetime:
        return self.history[-1][0] if self.history else self.began


@dataclass
class Host:
    """``again`` says of an activity whether it is delivered twice at once; only the second delivery's result counts.
    ``begun`` counts sub-orchestrations by name, ``replayed`` the events that all replays went through. ``sizes`` are
    the bytes of the largest payloads, by what they are."""

    script: Script
    input: dict[str, Any] = field(default_factory=dict)
    cancel_at: float | None = None
    board: SimulatedBoard | None = None
    again: Callable[[str, dict[str, Any]], bool] = lambda name, input_: False
    runs: list[Run] = field(default_factory=list)
    statuses: list[Any] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)
    episodes: int = 0
    histories: int = 1
    longest_history: int = 0
    replayed: int = 0
    processor_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._count = 0
        self._children: set[str] = set()
        self._inbox: list[tuple[datetime, int, str, int, str, int, Any]] = []
        self._instances = {LOAD_ID: _Instance("load", self.input, START)}

    def run(self) -> dict[str, Any]:
        """Run the load to its end; fails where nothing can happen any more and the load has not ended."""
        if self.cancel_at is not None:
            self._deliver(START + timedelta(seconds=self.cancel_at), LOAD_ID, 0, "event", -1, "cancel")
        output = self._replay(LOAD_ID)
        while output is None:
            assert self._inbox, "the load is stuck: nothing is under way that it could wait for"
            due, _, to, of_history, kind, number, value = heapq.heappop(self._inbox)
            instance = self._instances.get(to)
            # What an earlier history has started is dropped, as is what comes for one that has ended.
            if instance is not None and (kind == "event" or of_history == instance.histories):
                instance.history.append((max(due, instance.now), kind, number, value))
                self.longest_history = max(self.longest_history, len(instance.history))
                output = self._replay(to)
        return output

    def _deliver(self, due: datetime, to: str, of_history: int, kind: str, number: int, value: Any) -> None:
        self._count += 1
        heapq.heappush(self._inbox, (due, self._count, to, of_history, kind, number, value))

    def _replay(self, id_: str) -> dict[str, Any] | None:
        """Run an orchestrator from the beginning through its history, then start what it has asked for. Returns the
        load's output once it has ended."""
        self.episodes += 1
        instance = self._instances[id_]
        self.replayed += len(instance.history)
        began = time.process_time()
        context = SimulatedContext(json.loads(instance.input), id_, instance.began, self.sizes)
        steps = cast(Generator[SimulatedTask, Any, dict[str, Any]], ORCHESTRATORS[instance.name](context))
        replay = _Replay()
        end: StopIteration | None = None
        try:
            waits_for = next(steps)
            replay.wait(waits_for)
            for moment, kind, number, value in instance.history:
                context.current_utc_datetime = moment
                replay.complete(kind, number, value)
                while waits_for.settle():
                    failed = isinstance(waits_for.value, Exception)
                    waits_for = steps.throw(waits_for.value) if failed else steps.send(waits_for.value)
                    replay.wait(waits_for)
        except StopIteration as stopped:
            end = stopped
        self.processor_seconds += time.process_time() - began
        if end is not None:
            return self._end(id_, context, replay, end.value)
        decisions = [task.detail for group in replay.groups for task in group]
        assert decisions[: len(instance.decided)] == instance.decided, "it decided differently in a replay"
        instance.decided = decisions
        if id_ == LOAD_ID:
            self.statuses.append(context.custom_status)
        for task in replay.startable():
            if task.number not in instance.begun:
                instance.begun.add(task.number)
                self._start(id_, instance, task)
        return None

    def _end(self, id_: str, context: SimulatedContext, replay: _Replay, value: Any) -> dict[str, Any] | None:
        instance = self._instances[id_]
        outstanding = replay.outstanding()
        assert not [task for task in outstanding if task.kind == "timer" and task.detail > instance.now]
        assert not [task for task in outstanding if task.kind in ("activity", "child")]
        if context.next_input is not None:
            instance.begin_history(context.next_input, instance.now)
            self.histories += 1
            return self._replay(id_)
        output = context._travels(f"{instance.name} output", value)
        if instance.parent is None:
            self.finished = instance.now
            return cast(dict[str, Any], output)
        to, of_history, number = instance.parent
        del self._instances[id_]
        self._deliver(instance.now, to, of_history, "child", number, output)
        return None

    def _start(self, id_: str, instance: _Instance, task: SimulatedTask) -> None:
        now, of_history = instance.now, instance.histories
        if task.kind == "timer" and not task.cancelled:
            self._deliver(max(task.detail, now), id_, of_history, "timer", task.number, None)
        elif task.kind == "activity":
            name, input_ = task.detail
            if self.again(name, input_):
                self._act(name, input_, now)
            seconds, value = self._act(name, input_, now)
            self._deliver(now + timedelta(seconds=seconds), id_, of_history, "activity", task.number, value)
        elif task.kind == "child":
            name, input_, child = task.detail
            assert child not in self._children, "an orchestration of this id has been begun before"
            self._children.add(child)
            self.begun[name] += 1
            self._instances[child] = _Instance(name, input_, now, (id_, of_history, task.number))
            self._replay(child)

    def _act(self, name: str, input_: dict[str, Any], now: datetime) -> tuple[float, Any]:
        seconds, answer = self.script(name, input_)
        elapsed, ended = ((each - START).total_seconds() for each in (now, now + timedelta(seconds=seconds)))
        taken = {} if isinstance(answer, Exception) else answer.get("taken") or {}
        named = self.board.named(input_) if self.board is not None and "entity" in input_ else input_
        self.runs.append(Run(name, input_, elapsed, ended, named.get("entity") or taken.get("entity", "")))
        if isinstance(answer, Exception):
            return seconds, answer
        text = json.dumps(answer)
        self.sizes[f"{name} result"] = max(self.sizes.get(f"{name} result", 0), len(text))
        return seconds, json.loads(text)

    def flows(self) -> list[Run]:
        """The slices that ran, but for those that only release a table."""
        return [run for run in self.runs if run.entity and not run.input.get("closing")]

    def closings(self) -> list[Run]:
        """The slices that only release a table."""
        return [run for run in self.runs if run.input.get("closing")]

    def most_at_once(self, runs: list[Run]) -> int:
        """How many of the runs were under way together at most."""
        changes = sorted(change for run in runs for change in ((run.began, 1), (run.ended, -1)))
        return max(accumulate((change for _, change in changes)), default=0)


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


class SimulatedBoard:
    """The plan of a load, and which lane's turn has taken which of its entities, without a lake."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self.cancelled = False
        self.settled: list[dict[str, Any]] = []
        self.parcels: dict[int, list[dict[str, Any]]] = {}
        self._entities = {entity["entity_run_id"]: entity for entity in plan["entities"]}
        self._turns: dict[tuple[str, int], int] = {}
        self._left: dict[Group, list[int]] = {}
        for index, entity in enumerate(plan["entities"]):
            if not entity.get("apart"):
                self._left.setdefault(Group.of(entity), []).insert(0, index)

    def plan(self, input_: dict[str, Any]) -> dict[str, Any]:
        """What ``plan_load`` returns."""
        plan = {**self._plan, **{feature: bool(input_.get(feature)) for feature in ("table_lanes", "shares")}}
        if len(plan["entities"]) <= input_["lanes_from"]:
            return plan
        plan["board"] = {"flow": "f", "entity": "e0", "name": "b"}
        if input_.get("packed"):
            plan |= {"packed": packed(plan["entities"]), "entities": [], "parks": True}
        return plan

    def named(self, each: dict[str, Any]) -> dict[str, Any]:
        """A task or result with the names that only the board has."""
        if each["flow"]:
            return each
        entity = self._entities[each["entity_run_id"]]
        return {**each, "flow": entity["flow"], "entity": entity["entity"]}

    def results(self, input_: dict[str, Any]) -> list[dict[str, Any]]:
        """What ``settle_load`` records, by its input."""
        parcels = [self.parcels[number] for number in range(input_.get("parcels", 0))]
        return [self.named(each) for each in (*chain(*parcels), *input_["results"])]

    def run_next(
        self, input_: dict[str, Any], slices: Callable[[dict[str, Any]], tuple[float, dict[str, Any] | Exception]]
    ) -> tuple[float, dict[str, Any] | Exception]:
        """What ``run_next`` does: the first slice of the entity that the turn takes."""
        if "parcel" in input_:
            self.parcels[input_["parcel"]] = input_["results"]
            return 0.0, {"status": "continue", "taken": None}
        self.cancelled = self.cancelled or bool(input_.get("stop"))
        if self.cancelled:
            return 0.0, {"status": "continue", "taken": None, "cancelled": True}
        key = (input_["lane"], input_["turn"])
        left = self._left.get(Group(input_["connection"], input_["connections_at_once"]), [])
        if not input_["turn"] or (key not in self._turns and not left):
            return 0.0, {"status": "continue", "taken": None}
        entity = self._plan["entities"][self._turns.setdefault(key, left[-1] if left else -1)]
        if left and self._turns[key] == left[-1]:
            left.pop()
        entity_run = EntityRunState(0, entity, attempts=input_["attempt"])
        seconds, answer = slices(entity_run.slice_task(input_["load_id"], input_["settings_hash"]))
        return seconds, answer if isinstance(answer, Exception) else {**answer, "taken": entity}
