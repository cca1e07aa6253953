"""A running host: instances of the app, durable engine, timers and HTTP server on one event loop."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from devcloud.doors import HEADERS_BYTES, HTTP_LOG, HttpDoor, listen
from devcloud.functions.durable_api import DurableApi
from devcloud.functions.durable_engine import DurableEngine
from devcloud.functions.durable_store import TaskHub
from devcloud.functions.faults import Faults
from devcloud.functions.front_end import FrontEnd
from devcloud.functions.instances import InHand, InstancePool
from devcloud.functions.keys import Keys, load_keys
from devcloud.functions.routes import Route, build_routes
from devcloud.functions.settings import read_host_json
from devcloud.functions.timers import describe_tick, iterate_schedule, read_schedule, run_timer
from devcloud.functions.worker_protocol import (
    TIMER_TRIGGER,
    Function,
    FunctionTimeoutError,
    Input,
    Outcome,
    WorkerExitedError,
)
from devcloud.functions.workers import InlineWorker, ProcessWorker, Worker

log = logging.getLogger("devcloud.functions")

LOOPBACK = "127.0.0.1"
# How long requests under way may continue when the host stops; zero would mean without limit.
SHUTDOWN_LIMIT_SECONDS = 0.1
WorkerKind = Literal["process", "inline"]
# The variable by which an app on Azure knows its instance.
INSTANCE_ID = "WEBSITE_INSTANCE_ID"


@dataclass(frozen=True)
class HostOptions:
    """What a host is started with; see FunctionsHost."""

    app_directory: Path
    state: Path
    port: int
    settings: dict[str, str]
    worker: WorkerKind
    function_key: str | None
    http_limit_seconds: float
    instances: int


class HostService:
    """Starts in order, stops in reverse; ``die`` skips all good manners. Belongs to one event loop."""

    def __init__(self, options: HostOptions, faults: Faults, on_death: Callable[[], None]) -> None:
        self._options = options
        self._faults = faults
        self._on_death = on_death
        self._settings = read_host_json(options.app_directory, options.settings)
        self._timeout_seconds = self._settings.function_timeout.total_seconds()
        options.state.mkdir(parents=True, exist_ok=True)
        self.keys: Keys = load_keys(options.state / "keys.json", options.function_key)
        self.hub = TaskHub(options.state / f"{self._settings.task_hub}.sqlite3")
        self.instances = InstancePool(self._make_worker)
        self.functions: list[Function] = []
        self.routes: list[Route] = []
        self.schedules: dict[str, str] = {}
        self.url = ""
        self._engine: DurableEngine | None = None
        self._front_end: FrontEnd | None = None
        self._door: HttpDoor | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    def _make_worker(self, id_: str, changed: Callable[[], None]) -> Worker:
        options = self._options
        if options.worker == "inline":
            return InlineWorker(options.app_directory, options.settings)
        # By this variable programs know that they are in Azure: a host that has one instance is like `func start`.
        own = {INSTANCE_ID: id_} if options.instances > 1 else {}
        return ProcessWorker(options.app_directory, {**os.environ, **own, **options.settings}, changed)

    async def start(self) -> None:
        """Index the app and serve it; raises FunctionAppError, or OSError if the port is taken."""
        # The socket comes first: its port is part of the links that the app and the durable API give out.
        listening = listen(LOOPBACK, self._options.port)
        self.url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        try:
            await self._start_on(listening)
        except BaseException:
            listening.close()
            raise

    async def _start_on(self, listening: socket.socket) -> None:
        platform = {"WEBSITE_HOSTNAME": self.url.removeprefix("http://")}
        self.functions = await self.instances.start(self._options.instances, platform)
        self.routes = build_routes(self.functions, self._settings.route_prefix)
        timers = [function for function in self.functions if function.kind == TIMER_TRIGGER]
        self.schedules = {function.name: read_schedule(function, self._options.settings) for function in timers}
        engine = self._engine = DurableEngine(
            self.hub, self.instances, self.functions, self._settings, self._faults, self.die
        )
        self.instances.on_change(engine.wake)
        loop = asyncio.get_running_loop()
        self._faults.on_change(lambda: loop.call_soon_threadsafe(engine.wake))
        await self._listen(engine, listening)
        self._keep(engine.run())
        for function in timers:
            self._keep(self._run_timer(function))

    async def _listen(self, engine: DurableEngine, listening: socket.socket) -> None:
        durable = DurableApi(engine, self.url, self._settings.task_hub, self.keys.system)
        self._front_end = FrontEnd(
            self.routes,
            self.keys,
            durable,
            self._invoke,
            self._run_now,
            self._faults,
            self._control,
            self.instances,
            self._options.http_limit_seconds,
        )
        runner = web.AppRunner(
            self._front_end.application,
            access_log=None,
            logger=HTTP_LOG,
            shutdown_timeout=SHUTDOWN_LIMIT_SECONDS,
            max_field_size=HEADERS_BYTES,
            auto_decompress=False,  # as the platform, which gives a function what was sent
        )
        self._door = await HttpDoor.open(runner, listening, headers_bytes=HEADERS_BYTES)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _invoke(self, function: Function, inputs: list[Input]) -> Outcome:
        """Run a function that is no activity and no orchestrator on any instance."""
        instance, work = await self.instances.wait_for_one(), InHand("request", function.name)
        instance.take(work)
        try:
            return await instance.worker.invoke(function, inputs, self._timeout_seconds)
        finally:
            instance.release(work)

    async def _run_timer(self, function: Function) -> None:
        async def fire(tick: str) -> None:
            await self._fire(function, tick)

        await run_timer(function, self.schedules[function.name], self.hub, fire)

    async def _fire(self, function: Function, tick: str) -> None:
        front_end = self._front_end
        if front_end is None:
            return
        inputs = [Input(function.trigger["name"], "json", tick), *front_end.client_inputs(function)]
        try:
            outcome = await self._invoke(function, inputs)
        except (WorkerExitedError, FunctionTimeoutError) as error:
            log.error("timer function '%s' failed: %s", function.name, error)
            return
        if not outcome.succeeded:
            log.error("timer function '%s' failed\n%s", function.name, outcome.traceback)

    def _run_now(self, name: str) -> bool:
        function = next((found for found in self.functions if found.name == name), None)
        if function is None or function.kind != TIMER_TRIGGER:
            return False
        following = next(iterate_schedule(self.schedules[name], datetime.now(UTC)))
        self._keep(self._fire(function, describe_tick(self.hub.find_tick(name), following)))
        return True

    def _control(self, order: str) -> dict[str, Any]:
        """Carry out an order of ``/devcloud``."""
        if order == "kill_worker":
            self.instances.kill_all()
        elif order == "kill_host":
            self.die()
            return {}
        return {
            "history_events": self.hub.count_history_events(),
            "worker_pid": self.worker_pid,
            "instances": self.instances.describe(),
            "open_activities": [asdict(activity) for activity in self.hub.list_activities()],
        }

    @property
    def worker_pid(self) -> int | None:
        """Return the process id of the oldest instance's worker; None if it is inline, or there is no instance."""
        return next((instance.worker.pid for instance in self.instances), None)

    def die(self) -> None:
        """Stop as a killed process does: nothing under way is finished, returned or recorded."""
        if self._engine is not None:
            self._engine.halt()
        if self._front_end is not None:
            self._front_end.cut_off()
        self.instances.abandon()
        self._on_death()
        # Only what would keep the test's process from going on is tidied up.
        self._closing = asyncio.create_task(self.close())

    async def close(self) -> None:
        """Stop serving, end the workers and close the state."""
        if self._closing is not None and self._closing is not asyncio.current_task():
            await self._closing
            return
        self._closing = asyncio.current_task()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.instances.close()
        if self._door is not None:
            await self._door.close()
        self.hub.close()


def die_for_good() -> None:
    """End this process with SIGKILL: what a fault does to a host that has its process to itself."""
    os.kill(os.getpid(), signal.SIGKILL)
