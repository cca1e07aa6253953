"""The host's own replay of an orchestration: which tasks an orchestrator's actions start, and when.

The SDK returns for every episode the list of all actions since the start, without task numbers. The Durable Functions
extension runs that list against the history: it starts an action, waits for it, and only then starts the next
(``OutOfProcOrchestrationShim.ProcessAsyncActionsV2``). Numbers are given out in that order, so this must do the same:

- A WhenAny ends with its first child, a WhenAll when all children have ended, also after a failure.
- A failed task with retry options waits on a timer after every attempt, the last one included.
- The SDK leaves tasks that were started earlier out of a new WhenAny. Such a WhenAny is over only when one of its *new*
  tasks is, and everything after it waits that long. Orchestrators that slide a window must know this.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from devcloud.functions.durable_history import ActionType, Event, EventType

Action = dict[str, Any]
WorkKind = Literal["activity", "sub_orchestration", "timer"]

_RETRIED = {ActionType.CALL_ACTIVITY_WITH_RETRY, ActionType.CALL_SUB_ORCHESTRATOR_WITH_RETRY}
_SUB_ORCHESTRATIONS = {ActionType.CALL_SUB_ORCHESTRATOR, ActionType.CALL_SUB_ORCHESTRATOR_WITH_RETRY}


class UnsupportedActionError(Exception):
    """The orchestrator used what this host does not have (entities, durable HTTP calls)."""


@dataclass(frozen=True)
class Work:
    """A task that the orchestration has started. ``retry_delay_ms`` is set for a timer between two attempts."""

    task_id: int
    kind: WorkKind
    action: Action
    retry_delay_ms: int | None = None


@dataclass
class _Node:
    """An action in progress; a compound one counts its children down."""

    parent: "_Node | None" = None
    waits_for: int = 1
    done: bool = False

    def complete(self) -> None:
        if self.done:
            return
        self.waits_for -= 1
        if self.waits_for <= 0:
            self.done = True
            if self.parent is not None:
                self.parent.complete()


@dataclass
class _Retried(_Node):
    action: Action = field(default_factory=dict)
    attempts: int = 1


class HostReplay:
    """Runs actions against a history. ``work`` holds the tasks started so far; ``blocked`` says that actions remain."""

    def __init__(self, actions: list[Action]) -> None:
        self._actions = actions
        self._position = 0
        self._current: _Node | None = None
        self._next_task_id = 0
        self._open: dict[int, _Node] = {}
        self._retry_timers: dict[int, _Retried] = {}
        self._waiting: defaultdict[str, list[_Node]] = defaultdict(list)
        self._buffered: defaultdict[str, int] = defaultdict(int)
        self.work: dict[int, Work] = {}
        self.continue_as_new: Action | None = None

    @property
    def blocked(self) -> bool:
        """Return whether the orchestration still waits inside its list of actions."""
        return self._position < len(self._actions)

    def run(self, events: Iterable[Event]) -> None:
        """Go through the history; raises UnsupportedActionError."""
        for event in events:
            match event["EventType"]:
                case EventType.EXECUTION_STARTED:
                    self._advance()
                case EventType.TASK_COMPLETED | EventType.SUB_ORCHESTRATION_INSTANCE_COMPLETED:
                    self._settle(event["TaskScheduledId"])
                case EventType.TASK_FAILED | EventType.SUB_ORCHESTRATION_INSTANCE_FAILED:
                    self._fail(event["TaskScheduledId"])
                case EventType.TIMER_FIRED:
                    self._fire(event["TimerId"])
                case EventType.EVENT_RAISED:
                    self._raise(event["Name"].lower())

    def _advance(self) -> None:
        while self._position < len(self._actions):
            if self._current is None:
                self._current = self._start(self._actions[self._position], None)
            if not self._current.done:
                return
            self._current = None
            self._position += 1

    def _start(self, action: Action, parent: _Node | None) -> _Node:
        kind = action["actionType"]
        if kind in (ActionType.WHEN_ANY, ActionType.WHEN_ALL):
            children = action["compoundActions"]
            node = _Node(parent, waits_for=1 if kind == ActionType.WHEN_ANY else len(children))
            for child in children:
                self._start(child, node)
            return node
        if kind in _RETRIED:
            retried = _Retried(parent, action=action)
            self._schedule(retried, self._kind_of(kind), action)
            return retried
        node = _Node(parent)
        match kind:
            case ActionType.CALL_ACTIVITY | ActionType.CALL_SUB_ORCHESTRATOR | ActionType.CREATE_TIMER:
                self._schedule(node, self._kind_of(kind), action)
                if action.get("isCanceled"):
                    node.complete()
            case ActionType.WAIT_FOR_EXTERNAL_EVENT:
                self._wait(action["externalEventName"].lower(), node)
            case ActionType.CONTINUE_AS_NEW:
                self.continue_as_new = action
                node.complete()
            case _:
                raise UnsupportedActionError(f"this host does not have the orchestration action {kind}")
        return node

    @staticmethod
    def _kind_of(kind: int) -> WorkKind:
        if kind == ActionType.CREATE_TIMER:
            return "timer"
        return "sub_orchestration" if kind in _SUB_ORCHESTRATIONS else "activity"

    def _schedule(self, node: _Node, kind: WorkKind, action: Action, retry_delay_ms: int | None = None) -> int:
        task_id = self._next_task_id
        self._next_task_id += 1
        self._open[task_id] = node
        self.work[task_id] = Work(task_id, kind, action, retry_delay_ms)
        return task_id

    def _wait(self, name: str, node: _Node) -> None:
        if self._buffered[name]:
            self._buffered[name] -= 1
            node.complete()
        else:
            self._waiting[name].append(node)

    def _raise(self, name: str) -> None:
        # Of several waits for one name the extension serves the latest first.
        if self._waiting[name]:
            self._waiting[name].pop().complete()
            self._advance()
        else:
            self._buffered[name] += 1

    def _settle(self, task_id: int) -> None:
        node = self._open.pop(task_id, None)
        if node is not None:
            node.complete()
            self._advance()

    def _fail(self, task_id: int) -> None:
        node = self._open.get(task_id)
        if isinstance(node, _Retried):
            del self._open[task_id]
            delay = int(node.action["retryOptions"]["firstRetryIntervalInMilliseconds"])
            self._retry_timers[self._schedule(node, "timer", node.action, delay)] = node
        else:
            self._settle(task_id)

    def _fire(self, timer_id: int) -> None:
        retried = self._retry_timers.pop(timer_id, None)
        if retried is None or retried.attempts >= int(retried.action["retryOptions"]["maxNumberOfAttempts"]):
            self._settle(timer_id)
            return
        del self._open[timer_id]
        retried.attempts += 1
        self._schedule(retried, self._kind_of(retried.action["actionType"]), retried.action)
