"""The instances of a Function app on one task hub, each with a worker of its own; comes and goes as a scale controller
orders.

Whoever has work asks here for an instance that is free, and notes on it what it has in hand. What an instance that
goes had in hand ends with WorkerExitedError, as after the death of a worker, and is delivered again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Literal

from devcloud.functions.worker_protocol import Function, FunctionAppError, WorkerExitedError
from devcloud.functions.workers import Worker

log = logging.getLogger("devcloud.functions")

# How long an instance that is drained may go on with what it has in hand. Azure allows an hour when it scales in.
DRAIN_SECONDS = 30.0

WorkKind = Literal["activity", "episode", "request"]


@dataclass(frozen=True, eq=False)
class InHand:
    """What an instance works on. ``orchestration`` is the id of the orchestration that it belongs to, if any."""

    kind: WorkKind
    name: str
    orchestration: str = ""


class AppInstance:
    """One instance of the app. ``changed`` is called whenever it may take more than before, or has less in hand."""

    def __init__(self, id_: str, worker: Worker, changed: Callable[[], None]) -> None:
        self.id = id_
        self.worker = worker
        self.leaving = False
        self.last_given: Counter[WorkKind] = Counter()
        self._changed = changed
        self._in_hand: list[InHand] = []

    @property
    def state(self) -> Literal["starting", "ready", "draining", "broken"]:
        """``broken``: its worker could not be started again."""
        if self.leaving:
            return "draining"
        if not self.worker.is_ready:
            return "starting"
        return "broken" if self.worker.is_broken else "ready"

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing in hand."""
        return not self._in_hand

    def count(self, kind: WorkKind) -> int:
        """How much of a kind it has in hand."""
        return sum(each.kind == kind for each in self._in_hand)

    def take(self, work: InHand) -> None:
        """Note that it works on something."""
        self._in_hand.append(work)

    def release(self, work: InHand) -> None:
        """Note that it no longer does."""
        self._in_hand.remove(work)
        self._changed()

    def describe(self) -> dict[str, Any]:
        """Return what there is to know of it, as JSON. ``peak_memory_bytes``: the most that a worker of it has held."""
        return {
            "id": self.id,
            "state": self.state,
            "pid": self.worker.pid,
            "peak_memory_bytes": self.worker.peak_memory_bytes,
            "in_hand": [asdict(each) for each in self._in_hand],
        }


class InstancePool:
    """All instances. Belongs to one event loop. Methods that name an instance raise LookupError where there is none."""

    def __init__(self, make_worker: Callable[[str, Callable[[], None]], Worker]) -> None:
        self._make_worker = make_worker
        self._instances: dict[str, AppInstance] = {}
        self._numbers = count(1)
        self._given = count(1)
        self._platform: Mapping[str, str] = {}
        self._on_change: Callable[[], None] = lambda: None
        self._waiting: list[asyncio.Future[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self, number: int, platform: Mapping[str, str]) -> list[Function]:
        """Start so many instances at once; raises FunctionAppError. ``platform`` are the variables that the platform
        sets in each."""
        self._platform = platform
        started = [self._make() for _ in range(number)]
        found = await asyncio.gather(*(each.worker.start(platform) for each in started), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return next(each for each in found if not isinstance(each, BaseException))

    def _make(self) -> AppInstance:
        id_ = f"instance-{next(self._numbers)}"
        instance = self._instances[id_] = AppInstance(id_, self._make_worker(id_, self._notify), self._notify)
        return instance

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` whenever an instance may take more than before."""
        self._on_change = notify

    def _notify(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
        self._on_change()

    async def _wait_for_change(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    # Work

    def find_free(
        self, kind: WorkKind, limit: int | None, suits: Callable[[AppInstance], bool] = lambda instance: True
    ) -> AppInstance | None:
        """Return the instance that has least of a kind in hand, less than ``limit``, of those that ``suits`` accepts;
        of several the one whose turn is longest ago. None where none is free."""
        ready = [each for each in self._instances.values() if each.state == "ready"]
        if not ready and not any(each.state == "starting" for each in self._instances.values()):
            # Where nothing else is left, whoever has work learns that the app cannot be started.
            ready = [each for each in self._instances.values() if each.state == "broken"]
        free = [each for each in ready if (limit is None or each.count(kind) < limit) and suits(each)]
        if not free:
            return None
        chosen = min(free, key=lambda each: (each.count(kind), each.last_given[kind]))
        chosen.last_given[kind] = next(self._given)
        return chosen

    async def wait_for_one(self) -> AppInstance:
        """Return an instance for a request, as soon as there is one; raises WorkerExitedError where none will come."""
        while not self._closed:
            instance = self.find_free("request", None)
            if instance is not None:
                return instance
            await self._wait_for_change()
        raise WorkerExitedError("the host has ended")

    # Scaling

    def __iter__(self) -> Iterator[AppInstance]:
        return iter(list(self._instances.values()))

    def describe(self) -> list[dict[str, Any]]:
        """Return all instances as JSON, the oldest first."""
        return [each.describe() for each in self]

    def _find(self, id_: str) -> AppInstance:
        if id_ not in self._instances:
            known = ", ".join(self._instances) or "none"
            raise LookupError(f"there is no instance '{id_}'; there are: {known}")
        return self._instances[id_]

    async def add(self) -> str:
        """Add an instance and return its id once it works; raises FunctionAppError where it does not start."""
        if self._closed:
            raise FunctionAppError("the host has ended")
        instance = self._make()
        try:
            await instance.worker.start(self._platform)
        except BaseException:
            self._instances.pop(instance.id, None)
            await instance.worker.stop()
            raise
        self._notify()
        return instance.id

    def kill(self, id_: str) -> None:
        """Kill an instance's worker at once; a new one starts in its place."""
        self._find(id_).worker.kill()

    def kill_all(self) -> None:
        """Kill the worker of each instance at once; new ones start in their places."""
        for instance in self:
            instance.worker.kill()

    def remove(self, id_: str) -> None:
        """Take an instance away at once, as when its machine is lost: its worker is killed, and no other starts."""
        instance = self._find(id_)
        del self._instances[id_]
        instance.leaving = True
        instance.worker.abandon()
        _keep(self._ending, instance.worker.stop())

    def drain(self, id_: str, seconds: float = DRAIN_SECONDS) -> None:
        """Give an instance nothing more, and take it away once it has nothing in hand, after so many seconds at the
        latest. Returns at once."""
        instance, bound = self._find(id_), _bound(seconds)
        instance.leaving = True
        _keep(self._leaving, self._drain(instance, bound))

    def restart(self, id_: str, seconds: float = DRAIN_SECONDS) -> None:
        """Drain an instance in the same way, and go on with a new worker. Returns at once."""
        instance, bound = self._find(id_), _bound(seconds)
        instance.leaving = True
        _keep(self._leaving, self._restart(instance, bound))

    async def _drain(self, instance: AppInstance, seconds: float) -> None:
        await self._wait_until_idle(instance, seconds)
        if self._instances.get(instance.id) is instance:
            self.remove(instance.id)

    async def _restart(self, instance: AppInstance, seconds: float) -> None:
        await self._wait_until_idle(instance, seconds)
        instance.worker.kill()
        instance.leaving = False

    async def _wait_until_idle(self, instance: AppInstance, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not instance.is_idle:
                    await self._wait_for_change()
        except TimeoutError:
            log.warning("%s still has work in hand after %g seconds; it is delivered again", instance.id, seconds)

    # The end

    def abandon(self) -> None:
        """End all workers at once; no new ones start."""
        self._closed = True
        for instance in self:
            instance.worker.abandon()
        self._notify()

    async def close(self) -> None:
        """End all workers for good."""
        self.abandon()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await asyncio.gather(*self._ending, *(instance.worker.stop() for instance in self))


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _bound(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise ValueError(f"a number of seconds was expected, not {seconds!r}")
    return float(seconds)
