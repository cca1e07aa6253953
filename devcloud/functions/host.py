"""FunctionsHost: one Function app, served on loopback by a thread of this process until it is closed or killed."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devcloud.functions.faults import Faults
from devcloud.functions.front_end import HTTP_ANSWER_LIMIT_SECONDS
from devcloud.functions.instances import DRAIN_SECONDS
from devcloud.functions.routes import Route
from devcloud.functions.service import HostOptions, HostService, WorkerKind

# Indexing a large app takes seconds, on a machine that is busy with other things a minute; so long means that it hangs.
ANSWER_LIMIT_SECONDS = 300.0


class FunctionsHost:
    """Runs the Function app in ``app_directory``; a context manager.

    ``state`` is the directory for the task hub and the keys: a host that is started again on it resumes. ``port`` 0
    takes a free one. ``settings`` are the app settings, on top of this process's environment. ``worker`` is ``process``
    (a child, as on Azure) or ``inline`` (this process: quick, one app at a time, and ``kill_worker`` leaves zombies).
    ``instances`` is how many instances the app has at first, each with a worker of its own; more than one need
    processes.
    ``http_limit_seconds`` is how long a caller waits for a response; ``on_death`` is called when a fault kills the
    host.
    """

    def __init__(
        self,
        app_directory: Path,
        state: Path,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        worker: WorkerKind = "process",
        *,
        function_key: str | None = None,
        instances: int = 1,
        http_limit_seconds: float = HTTP_ANSWER_LIMIT_SECONDS,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        if instances < 1 or (instances > 1 and worker != "process"):
            raise ValueError("an app has one instance or more, and several in processes only")
        own = {"FUNCTIONS_WORKER_RUNTIME": "python", "AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
        self._options = HostOptions(
            app_directory.resolve(),
            state,
            port,
            {**own, **(settings or {})},
            worker,
            function_key,
            http_limit_seconds,
            instances,
        )
        self._on_death = on_death
        self._dead = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._service: HostService | None = None
        self.faults = Faults()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start serving; raises FunctionAppError if the app cannot be indexed, OSError if the port is taken."""
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="functions-host")
        self._thread.start()
        try:
            self._service = self._call(self._make_service())
            self._call(self._service.start())
        except BaseException:
            self.close()
            raise

    async def _make_service(self) -> HostService:
        return HostService(self._options, self.faults, self._note_death)

    def _note_death(self) -> None:
        self._dead.set()
        self._on_death()

    def _call[T](self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the host does not run")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_LIMIT_SECONDS)

    def _do[T](self, action: Callable[[HostService], T]) -> T:
        """Act on the service in its own thread."""

        async def act() -> T:
            if self._service is None:
                raise RuntimeError("the host does not run")
            return action(self._service)

        return self._call(act())

    def close(self) -> None:
        """Stop in good order. Orchestrations stay in the state directory; running invocations are cut off."""
        if self._loop is None or self._thread is None:
            return
        if self._service is not None:
            self._call(self._service.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def kill(self) -> None:
        """Die at once, with the worker: nothing under way is finished or recorded. Start another host to resume."""
        self._do(HostService.die)
        self.close()

    def kill_worker(self, instance: str | None = None) -> None:
        """Kill the worker of an instance, or of each, at once (SIGKILL); another starts by itself. Raises LookupError
        where there is no such instance, as the next ones do."""
        if instance is None:
            self._do(lambda service: service.instances.kill_all())
        else:
            self._do(lambda service: service.instances.kill(instance))

    def add_instance(self) -> str:
        """Add an instance and return its id once it works; raises FunctionAppError where it does not start."""
        if self._options.worker != "process":
            raise ValueError("an app has one instance or more, and several in processes only")
        return self._call(self._running.instances.add())

    def drain_instance(self, instance: str, seconds: float = DRAIN_SECONDS) -> None:
        """Give an instance nothing more, and take it away once it has nothing in hand, after so many seconds at the
        latest; what it then has is delivered again. Returns at once."""
        self._do(lambda service: service.instances.drain(instance, seconds))

    def restart_instance(self, instance: str, seconds: float = DRAIN_SECONDS) -> None:
        """Drain an instance in the same way, and go on with a new worker. Returns at once."""
        self._do(lambda service: service.instances.restart(instance, seconds))

    def remove_instance(self, instance: str) -> None:
        """Take an instance away at once, its worker by SIGKILL; what it had in hand is delivered again."""
        self._do(lambda service: service.instances.remove(instance))

    @property
    def instances(self) -> list[dict[str, Any]]:
        """Return the instances, the oldest first: ``id``, ``state`` (starting, ready, draining, broken), ``pid``,
        ``peak_memory_bytes``, ``in_hand``."""
        return self._do(lambda service: service.instances.describe())

    def wait_for_death(self, timeout_seconds: float) -> bool:
        """Wait until a fault has killed the host; returns whether one has."""
        return self._dead.wait(timeout_seconds)

    @property
    def _running(self) -> HostService:
        if self._service is None:
            raise RuntimeError("the host does not run")
        return self._service

    @property
    def url(self) -> str:
        """Return the address, without a slash at its end."""
        return self._running.url

    @property
    def function_key(self) -> str:
        """Return the key that opens functions of level ``function``."""
        return self._running.keys.function

    @property
    def master_key(self) -> str:
        """Return the key that opens everything, ``/admin`` included."""
        return self._running.keys.master

    @property
    def system_key(self) -> str:
        """Return the key that opens the durable webhooks."""
        return self._running.keys.system

    @property
    def routes(self) -> list[Route]:
        """Return the routes of the app's HTTP functions."""
        return self._running.routes

    @property
    def schedules(self) -> dict[str, str]:
        """Return the schedule of each timer function."""
        return self._running.schedules

    @property
    def worker_pid(self) -> int | None:
        """Return the process id of the oldest instance's worker; None if it is inline, or there is no instance."""
        return self._running.worker_pid

    @property
    def history_events(self) -> int:
        """Return how many history events this task hub has recorded since it was made."""
        return self._do(lambda service: service.hub.count_history_events())
