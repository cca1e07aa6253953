"""What a task hub holds: instances, open activities, timers, and the changes that an episode makes."""

from dataclasses import dataclass, field

from devcloud.functions.durable_history import Event

FINAL_STATES = ("Completed", "Failed", "Terminated", "Canceled")


class InstanceExistsError(Exception):
    """An instance with this id exists and has not ended: the extension overrides only instances that have."""


@dataclass(frozen=True)
class Parent:
    """The task of another orchestration that waits for this one."""

    instance_id: str
    execution_id: str
    task_id: int


@dataclass(frozen=True)
class Instance:
    """An orchestration instance. ``input``, ``output`` and ``custom_status`` are JSON texts."""

    instance_id: str
    execution_id: str
    name: str
    input: str | None
    status: str
    output: str | None
    custom_status: str | None
    created: str
    updated: str
    suspended: bool
    parent: Parent | None

    @property
    def ended(self) -> bool:
        """Return whether the orchestration is over."""
        return self.status in FINAL_STATES


@dataclass(frozen=True)
class Activity:
    """An open activity: scheduled, no result recorded yet. ``deliveries`` counts how often a worker was given it."""

    activity_id: int
    instance_id: str
    execution_id: str
    task_id: int
    name: str
    input: str
    deliveries: int


@dataclass(frozen=True)
class Timer:
    """A durable timer that has not fired; ``due`` is an ISO timestamp in UTC."""

    instance_id: str
    execution_id: str
    task_id: int
    due: str


@dataclass(frozen=True)
class SubOrchestration:
    """An orchestration that another one starts."""

    task_id: int
    name: str
    instance_id: str
    input: str | None


@dataclass
class Episode:
    """Everything that one run of an orchestrator function changes; committed as a whole."""

    instance: Instance
    taken: list[int]
    events: list[Event]
    status: str = "Running"
    output: str | None = None
    custom_status: str | None = None
    activities: list[tuple[int, str, str]] = field(default_factory=list)
    timers: list[tuple[int, str]] = field(default_factory=list)
    sub_orchestrations: list[SubOrchestration] = field(default_factory=list)
    continue_as_new: bool = False
    next_input: str | None = None
