"""Faults that tests order: a worker or host that dies at a chosen time, a double delivery, work held back."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

KillMoment = Literal["start", "finish"]


class HostKilledError(BaseException):
    """The host was told to die here. Not an Exception, so that no handler lets anything continue."""


@dataclass
class _ActivityFault:
    """Something that happens to the next ``times`` deliveries of an activity (``*``: of any) after ``skip`` of them, on
    one instance of the app or on any (None)."""

    kind: Literal["kill_worker", "deliver_twice"]
    activity: str
    moment: KillMoment = "start"
    delay_seconds: float = 0.0
    at_once: bool = False
    times: int = 1
    skip: int = 0
    instance: str | None = None

    def strikes(self, activity: str, instance: str) -> bool:
        """Return whether this delivery is one of those; counts it."""
        if self.activity not in ("*", activity) or self.instance not in (None, instance) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(frozen=True)
class _Death:
    """The end of the host, or of one instance of the app, at a count of history events."""

    history_events: int
    before_commit: bool
    instance: str | None


class Faults:
    """The orders of one host. May be given from any thread, also while the host runs.

    ``instance`` is the id of an instance of the app, if it is to happen on that one only.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._activity_faults: list[_ActivityFault] = []
        self._paused: set[tuple[str, str | None]] = set()
        self._kill_host_at: _Death | None = None
        self._changed: Callable[[], object] = lambda: None
        self.fail_on_worker_exit = False
        self.killed_at: int | None = None
        """The count of history events that the commit at which the host was killed has reached, or would have."""

    def kill_worker_on(
        self,
        activity: str,
        moment: KillMoment = "start",
        *,
        delay_seconds: float = 0.0,
        times: int = 1,
        skip: int = 0,
        instance: str | None = None,
    ) -> None:
        """Kill the worker at the next ``times`` deliveries of ``activity`` after ``skip`` of them.

        ``moment`` is ``start`` (``delay_seconds`` after it), or ``finish``: done, its result not recorded.
        """
        with self._lock:
            self._activity_faults.append(
                _ActivityFault(
                    "kill_worker", activity, moment, delay_seconds, times=times, skip=skip, instance=instance
                )
            )

    def deliver_twice(
        self, activity: str, *, at_once: bool = False, times: int = 1, skip: int = 0, instance: str | None = None
    ) -> None:
        """Deliver an activity a second time: after its first run, whose result is lost, or ``at_once`` beside it, on
        another instance where there is one."""
        with self._lock:
            self._activity_faults.append(
                _ActivityFault("deliver_twice", activity, at_once=at_once, times=times, skip=skip, instance=instance)
            )

    def pause(self, activity: str = "*", *, instance: str | None = None) -> None:
        """Hold back deliveries of an activity (all of them: ``*``); what runs already continues."""
        with self._lock:
            self._paused.add((activity, instance))

    def resume(self) -> None:
        """Deliver what was held back."""
        with self._lock:
            self._paused.clear()
        self._changed()

    def kill_host_at(self, history_events: int, *, before_commit: bool = False, instance: str | None = None) -> None:
        """Kill the host when the hub's count of history events reaches ``history_events``.

        That is after the episode that reaches it was recorded and before its new work is handed out, or
        ``before_commit``: just before the episode is recorded. With ``instance`` the first episode of that instance
        which gets there takes the instance's worker along, and the host goes on; ``before_commit`` the episode is lost,
        and runs again.
        """
        with self._lock:
            self._kill_host_at = _Death(history_events, before_commit, instance)

    def clear(self) -> None:
        """Discard all faults."""
        with self._lock:
            self._activity_faults.clear()
            self._paused.clear()
            self._kill_host_at = None
            self.fail_on_worker_exit = False
        self._changed()

    def apply(self, order: str, arguments: dict[str, Any]) -> None:
        """Give the order of that name, as HTTP does; raises TypeError or ValueError for one that is not understood."""
        orders: dict[str, Callable[..., None]] = {
            "kill_worker_on": self.kill_worker_on,
            "deliver_twice": self.deliver_twice,
            "pause": self.pause,
            "resume": self.resume,
            "kill_host_at": self.kill_host_at,
            "fail_on_worker_exit": self.set_fail_on_worker_exit,
        }
        if order not in orders:
            raise ValueError(f"unknown order '{order}'; known are {', '.join(orders)}")
        orders[order](**arguments)

    def set_fail_on_worker_exit(self, *, enabled: bool = True) -> None:
        """Report activities that ran in a worker that died as failed, instead of delivering them again."""
        self.fail_on_worker_exit = enabled

    def describe(self) -> dict[str, Any]:
        """Return the orders that stand, as JSON."""
        with self._lock:
            return {
                "activity_faults": [asdict(fault) for fault in self._activity_faults if fault.times],
                "paused": sorted(f"{activity} on {on}" if on else activity for activity, on in self._paused),
                "kill_host_at": asdict(self._kill_host_at) if self._kill_host_at else None,
                "fail_on_worker_exit": self.fail_on_worker_exit,
            }

    def on_change(self, notify: Callable[[], object]) -> None:
        """Call ``notify`` whenever held-back work may continue."""
        self._changed = notify

    def is_paused(self, activity: str, instance: str) -> bool:
        """Return whether deliveries of this activity to this instance are held back."""
        orders = {(name, on) for name in ("*", activity) for on in (None, instance)}
        with self._lock:
            return not self._paused.isdisjoint(orders)

    def take_kill(self, activity: str, moment: KillMoment, instance: str) -> float | None:
        """Return after how many seconds the worker dies because of this delivery, or None."""
        with self._lock:
            for fault in self._activity_faults:
                if fault.kind == "kill_worker" and fault.moment == moment and fault.strikes(activity, instance):
                    return fault.delay_seconds
        return None

    def take_double(self, activity: str, instance: str) -> _ActivityFault | None:
        """Return the order to deliver this activity twice, if there is one."""
        with self._lock:
            for fault in self._activity_faults:
                if fault.kind == "deliver_twice" and fault.strikes(activity, instance):
                    return fault
        return None

    def take_death(
        self, counted: int, about_to_count: int, *, before_commit: bool, instance: str | None
    ) -> Literal["host", "instance"] | None:
        """Return what dies at this commit of an episode on ``instance``, which brings the count from ``counted`` up."""
        with self._lock:
            order = self._kill_host_at
            if order is None or order.before_commit != before_commit:
                return None
            if counted + about_to_count < order.history_events or order.instance not in (None, instance):
                return None
            self._kill_host_at = None
            self.killed_at = counted + about_to_count
            return "host" if order.instance is None else "instance"
