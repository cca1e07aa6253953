"""The two ways to hold a worker: in a child process that tests may kill, or inside this process for speed.

Both give the host the same verbs. A worker that dies is replaced at once; what ran in it ends with WorkerExitedError,
and the host decides what is delivered again.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

from devcloud.functions.worker_protocol import (
    STREAM_LIMIT_BYTES,
    Frame,
    Function,
    FunctionAppError,
    FunctionTimeoutError,
    Input,
    Outcome,
    WorkerExitedError,
    decode_outcome,
    encode_invocation,
    read_frame,
)

log = logging.getLogger("devcloud.functions")

PROJECT_ROOT = Path(__file__).resolve().parents[2]
# The real host gives up after three starts in a row that failed; so does this one.
START_ATTEMPTS = 3


class Worker(Protocol):
    """What the host asks of a worker."""

    @property
    def pid(self) -> int | None:
        """Return the process id of the running worker, or None if it is inline."""

    @property
    def is_ready(self) -> bool:
        """Return whether it runs functions now, or `is_broken`; not while it starts."""

    @property
    def is_broken(self) -> bool:
        """Return whether it could not be started again."""

    @property
    def peak_memory_bytes(self) -> int | None:
        """Return the most memory that it, or one before it, has held, as far as that is known."""

    async def start(self, platform: Mapping[str, str] | None = None) -> list[Function]:
        """Start the worker and index the app; raises FunctionAppError. ``platform`` are the variables that the
        platform sets by itself."""

    async def invoke(
        self,
        function: Function,
        inputs: list[Input],
        timeout_seconds: float,
        on_start: Callable[[], None] | None = None,
    ) -> Outcome:
        """Run a function; raises WorkerExitedError and, after killing the worker, FunctionTimeoutError."""

    def kill(self) -> None:
        """End the worker at once, whatever it is doing; a new one starts by itself."""

    def abandon(self) -> None:
        """End the worker at once; no new one starts."""

    async def stop(self) -> None:
        """End the worker for good."""


class _Invocation:
    def __init__(self, on_start: Callable[[], None] | None) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.on_start = on_start

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class ProcessWorker:
    """A worker in a child process, as on Azure; ``kill`` is SIGKILL. ``changed`` is called when it is ready again."""

    def __init__(
        self, app_directory: Path, environment: Mapping[str, str], changed: Callable[[], None] = lambda: None
    ) -> None:
        paths = [str(PROJECT_ROOT), environment.get("PYTHONPATH", "")]
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        self._app_directory = app_directory
        self._changed = changed
        self._invocations: dict[str, _Invocation] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ready = asyncio.Event()
        self._stopping = False
        self._condemned = False
        self._reading: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._broken: FunctionAppError | None = None
        self._peak_bytes = 0

    @property
    def pid(self) -> int | None:
        """Return the process id of the running worker."""
        return self._process.pid if self._process is not None else None

    @property
    def is_ready(self) -> bool:
        """See `Worker`."""
        return self._ready.is_set()

    @property
    def is_broken(self) -> bool:
        """See `Worker`."""
        return self._broken is not None

    @property
    def peak_memory_bytes(self) -> int | None:
        """See `Worker`. What a worker held that ended by itself is known from when somebody last asked."""
        if self._process is not None and self._process.poll() is None:
            self._peak_bytes = max(self._peak_bytes, _read_peak_bytes(self._process.pid))
        return self._peak_bytes or None

    async def start(self, platform: Mapping[str, str] | None = None) -> list[Function]:
        """Start the process and wait until it has indexed the app; see `Worker`."""
        self._environment |= platform or {}
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "devcloud.functions.worker", "--app", str(self._app_directory)]
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, "--socket", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=self._app_directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                # Standard output belongs to the host; what functions print joins their log on standard error.
                stdout=2,
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=STREAM_LIMIT_BYTES)
        try:
            frame = await read_frame(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self._reap()
            raise FunctionAppError(f"the worker ended with code {code} before it had indexed the app") from None
        if frame.content["kind"] == "failed":
            await self._reap()
            raise FunctionAppError(frame.content["error"])
        self._condemned = False
        self._reading = asyncio.create_task(self._read(reader))
        self._ready.set()
        return [
            Function(found["name"], found["function_id"], tuple(found["bindings"]))
            for found in frame.content["functions"]
        ]

    async def invoke(
        self,
        function: Function,
        inputs: list[Input],
        timeout_seconds: float,
        on_start: Callable[[], None] | None = None,
    ) -> Outcome:
        """Run a function in the child; waits first if a new child is just starting."""
        if not self._stopping:
            await self._ready.wait()
        if self._stopping:
            raise WorkerExitedError("the worker has ended")
        if self._broken is not None:
            raise self._broken
        invocation_id = str(uuid.uuid4())
        invocation = self._invocations[invocation_id] = _Invocation(on_start)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._send(encode_invocation(invocation_id, function.function_id, inputs))
                return await invocation.outcome
        except TimeoutError:
            self.kill()
            raise FunctionTimeoutError(
                f"Timeout value of {timeout_seconds:g} seconds was exceeded by function: {function.name}"
            ) from None
        finally:
            self._invocations.pop(invocation_id, None)

    def kill(self) -> None:
        """Send SIGKILL to the child."""
        if self._process is not None and self._process.poll() is None:
            self._peak_bytes = max(self._peak_bytes, _read_peak_bytes(self._process.pid))
            self._ready.clear()
            # What it has sent but is not read yet dies with it, so that a test knows what it kills.
            self._condemned = True
            self._process.send_signal(signal.SIGKILL)

    def abandon(self) -> None:
        """Kill the child and start no other."""
        self._stopping = True
        self.kill()
        self._ready.set()  # whoever waits for the next child learns that there will be none

    async def stop(self) -> None:
        """Kill the child and wait for its end."""
        self.abandon()
        if self._reading is not None:
            await self._reading
        if self._restarting is not None:
            await self._restarting
            self.abandon()
        await self._reap()

    async def _send(self, frame: Frame) -> None:
        writer = self._writer
        if writer is None:
            raise WorkerExitedError("the worker has ended")
        try:
            writer.write(frame.encode())
            await writer.drain()
        except ConnectionError:
            raise WorkerExitedError("the worker has ended") from None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await read_frame(reader)
                invocation = self._invocations.get(frame.content["id"])
                if invocation is None or invocation.outcome.done() or self._condemned:
                    continue
                if frame.content["kind"] == "started":
                    if invocation.on_start is not None:
                        invocation.on_start()
                else:
                    invocation.outcome.set_result(decode_outcome(frame))
        self._ready.clear()
        code = await self._reap()
        for invocation in list(self._invocations.values()):
            invocation.fail(WorkerExitedError(f"python exited with code {code}"))
        if not self._stopping:
            log.warning("worker ended with code %s; starting another", code)
            self._restarting = asyncio.create_task(self._restart())

    async def _restart(self) -> None:
        attempt = 0
        while attempt < START_ATTEMPTS and not self._stopping:
            self._condemned = False
            try:
                await self.start()
            except FunctionAppError as error:
                if self._condemned:
                    continue  # killed while it started, which is no fault of the app
                attempt += 1
                log.error("worker start %d of %d failed: %s", attempt, START_ATTEMPTS, error)
                if attempt == START_ATTEMPTS:
                    self._broken = error
            else:
                self._broken = None
                break
        self._ready.set()
        self._changed()

    async def _reap(self) -> int | None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
            self._writer = None
        if self._process is None:
            return None
        # The child ends itself once the socket is closed; an orderly end takes milliseconds.
        return await asyncio.to_thread(self._process.wait)


def _read_peak_bytes(pid: int) -> int:
    """The most memory that a process has held; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class _InlineLoop:
    """One event loop for all inline workers of a process: the SDK's HTTP session is bound to the loop that made it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="inline-worker", daemon=True).start()

    async def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the worker's loop and wait for it on the caller's."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


_inline_loop: _InlineLoop | None = None


def _get_inline_loop() -> _InlineLoop:
    global _inline_loop
    if _inline_loop is None:
        _inline_loop = _InlineLoop()
    return _inline_loop


class InlineWorker:
    """A worker in this process: fast to start, but ``kill`` only abandons what runs, as a zombie runs on unheard.

    The app settings are this process's environment while the worker lives. The working directory is left alone.
    """

    def __init__(self, app_directory: Path, settings: Mapping[str, str]) -> None:
        self._app_directory = app_directory
        self._settings = dict(settings)
        self._replaced: dict[str, str | None] = {}
        self._invocations: set[_Invocation] = set()
        self._abandoned = False

    pid = None
    is_ready = True
    is_broken = False
    peak_memory_bytes = None

    async def start(self, platform: Mapping[str, str] | None = None) -> list[Function]:
        """Index the app in this process; ``platform`` as in `ProcessWorker.start`."""
        self._settings |= platform or {}
        from devcloud.functions import runtime  # the library takes a second to import; the host may never need it

        self._runtime = runtime
        self._replaced = {name: os.environ.get(name) for name in self._settings}
        os.environ.update(self._settings)
        try:
            return await _get_inline_loop().run(runtime.load_app(self._app_directory))
        except FunctionAppError:
            self._restore_environment()
            raise

    async def invoke(
        self,
        function: Function,
        inputs: list[Input],
        timeout_seconds: float,
        on_start: Callable[[], None] | None = None,
    ) -> Outcome:
        """Run a function on the process-wide worker loop."""
        if self._abandoned:
            raise WorkerExitedError("the inline worker has ended")
        invocation = _Invocation(on_start)
        self._invocations.add(invocation)
        if on_start is not None:
            on_start()
        if not invocation.outcome.done():
            running = asyncio.create_task(_get_inline_loop().run(self._runtime.invoke(function.function_id, inputs)))
            running.add_done_callback(lambda task: self._settle(invocation, task))
        try:
            async with asyncio.timeout(timeout_seconds):
                return await invocation.outcome
        except TimeoutError:
            self.kill()
            raise FunctionTimeoutError(
                f"Timeout value of {timeout_seconds:g} seconds was exceeded by function: {function.name}"
            ) from None
        finally:
            self._invocations.discard(invocation)

    @staticmethod
    def _settle(invocation: _Invocation, task: "asyncio.Task[Outcome]") -> None:
        if not invocation.outcome.done() and not task.cancelled():
            invocation.outcome.set_result(task.result())

    def kill(self) -> None:
        """Abandon every running invocation."""
        for invocation in list(self._invocations):
            invocation.fail(WorkerExitedError("the inline worker was told to die"))

    def abandon(self) -> None:
        """Abandon every running invocation, and run no more."""
        self._abandoned = True
        self.kill()

    async def stop(self) -> None:
        """Abandon what runs, close the SDK's HTTP session and give the environment back."""
        self.abandon()
        # Loaded by the app or not at all; importing it here would cost a second.
        http_utils = sys.modules.get("azure.durable_functions.models.utils.http_utils")
        if http_utils is not None:
            await _get_inline_loop().run(http_utils._close_session())
        self._restore_environment()

    def _restore_environment(self) -> None:
        for name, value in self._replaced.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
