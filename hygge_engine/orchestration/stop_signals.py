"""What tells a running load to stop: external events, waited for beside its activities until they come."""

from __future__ import annotations

from collections.abc import Iterable

from hygge_engine.orchestration.context import Context, Task

# The external event that asks a load to stop.
CANCEL_EVENT = "cancel"


class CancelSignal:
    """The event that asks a load to stop. Code that waits for anything else waits for ``waits_for`` beside it, and
    passes the winner to `take`."""

    def __init__(self, context: Context) -> None:
        self._event = context.wait_for_external_event(CANCEL_EVENT)
        self.has_come = False

    @property
    def waits_for(self) -> list[Task]:
        """The event, until it has come."""
        return [] if self.has_come else [self._event]

    def take(self, winner: Task) -> bool:
        """Whether the winner of a wait is the event. From then on it is waited for no more."""
        taken = winner in self.waits_for
        self.has_come = self.has_come or taken
        return taken


class HasteSignal:
    """Events, one after the other, that tell a cancelled load that it waits for a silent service: with all but the last
    each entity releases its table at once, with the last all end as they are."""

    def __init__(self, events: Iterable[Task]) -> None:
        self._events = list(events)

    @property
    def waits_for(self) -> list[Task]:
        """The next event; nothing where all have come, or none was expected."""
        return self._events[:1]

    @property
    def is_last(self) -> bool:
        """Whether no further event is expected, so that nothing is waited for any more."""
        return not self._events

    def take(self, winner: Task) -> bool:
        """Whether the winner of a wait is the next event. From then on the one after it is waited for."""
        taken = winner in self.waits_for
        if taken:
            self._events.remove(winner)
        return taken
