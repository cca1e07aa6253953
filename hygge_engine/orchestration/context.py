"""The part of Durable Functions that the orchestrator uses, and nothing more.

Both SDK generations (azure-functions-durable 1.7 and 2.x) provide it under these names, and
`hygge_engine.orchestration.local` provides it in process.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class Task(Protocol):
    """Something that will complete: yield it to wait for its value, or to have its failure raised.

    Yielding a completed task again gives the same value, and is how the winner of a race is read.
    """


class Timer(Task, Protocol):
    """A durable timer. Tasks are compared and hashed by identity."""

    def cancel(self) -> Any:
        """Give up a timer that has not fired: an orchestration counts as running until its timers have."""
        ...


class Context(Protocol):
    """What an orchestrator may use of its host. Everything else an orchestrator does must be deterministic."""

    @property
    def instance_id(self) -> str: ...

    @property
    def current_utc_datetime(self) -> datetime:
        """The time of the event being worked on, with its time zone; the same in every replay."""
        ...

    def get_input(self) -> Any: ...

    def call_activity(self, name: str, input_: Any = None) -> Task: ...

    def call_sub_orchestrator(self, name: str, input_: Any = None, instance_id: str | None = None) -> Task: ...

    def create_timer(self, fire_at: datetime) -> Timer: ...

    def wait_for_external_event(self, name: str) -> Task: ...

    def task_any(self, tasks: list[Task]) -> Task:
        """Completes, with the winner as its value, when the first of the tasks does; a failed task wins like any
        other."""
        ...

    def set_custom_status(self, status: Any) -> None: ...

    def continue_as_new(self, input_: Any) -> None:
        """Restart with another input and an empty history, once the orchestrator returns.

        An external event that comes in between may be lost.
        """
        ...
