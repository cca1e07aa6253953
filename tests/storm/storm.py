"""A load of many tables on several instances of the app, of which one after another is killed, drained or added."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from devcloud.functions import FunctionsHost
from devcloud.functions.faults import KillMoment
from tests.e2e.site import REPOSITORY
from tests.storm.worlds import LocalWorld, World

# Comes due on New Year's Day only.
NEVER = "0 0 0 1 1 *"

# What the command of an instance's worker says.
WORKER = "devcloud.functions.worker"

# Longer than the host lets anybody wait.
REQUEST_SECONDS = 300.0
POLL_SECONDS = 0.02
# How often the load's status is asked for: the app has other work to do.
POLLS_TO_A_LOOK = 20

# How long a load may take: minutes on a machine that is busy with other things.
SETTLING_SECONDS = 900.0

# How many history events pass between two blows: a table has ten or so.
EVENTS_BETWEEN = (5, 60)

WEIGHTS = {"kill": 4, "kill at a moment": 4, "lose": 2, "drain": 2, "restart": 1, "deliver twice": 2}
MOMENTS: tuple[KillMoment, ...] = ("start", "finish")


class Storm:
    """A world and a host with ``instances`` of the app; a context manager. A seed decides what happens at which count
    of history events, and not how far each table is by then."""

    def __init__(
        self,
        directory: Path,
        *,
        tables: int,
        instances: int,
        seed: int,
        world: Callable[[Path, int], World] = LocalWorld,
    ) -> None:
        self.world = world(directory, tables)
        self.happened: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._tables = tables
        self._number = instances
        self._directory = directory
        self._stack = ExitStack()
        self._client = httpx.Client(timeout=REQUEST_SECONDS, trust_env=False)
        self._loads: list[str] = []
        self._peaks: dict[str, int] = {}
        self._children = _children()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._client)
            stack.enter_context(self.world)
            self._host = stack.enter_context(self._make_host())
            self._stack = stack.pop_all()
        return self

    def _make_host(self) -> FunctionsHost:
        settings = {
            **self.world.variables,
            "HYGGE_PROJECT": str(self.world.project),
            "HYGGE_SCHEDULE": NEVER,
            "PYTHON_THREADPOOL_THREAD_COUNT": "16",  # as deployed
            "AzureFunctionsJobHost__logging__logLevel__default": "None",  # the journal has all that matters
            "PYTHONWARNINGS": "ignore",
        }
        return FunctionsHost(REPOSITORY, self._directory / "functions", settings=settings, instances=self._number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def peak_megabytes(self) -> float:
        """The most memory that a worker has held."""
        return max(self._peaks.values(), default=0) / 1e6

    def load(self, *, blows: int, cancelled_after: int | None = None, reports_deaths: bool = False) -> dict[str, Any]:
        """Load every table while so many blows fall, and return how the load ended.

        It is cancelled after ``cancelled_after`` of them, if at all. ``reports_deaths``: activities of a worker that
        died are reported as failed, as some versions of the extension do, instead of delivered again.
        """
        self._host.faults.set_fail_on_worker_exit(enabled=reports_deaths)
        load_id = str(self._call("POST", "/api/loads", json={})["load_id"])
        self._loads.append(load_id)
        following = self._next_blow()
        fallen = looks = 0
        deadline = time.monotonic() + SETTLING_SECONDS
        while True:
            if fallen < blows and self._host.history_events >= following:
                if fallen == cancelled_after:
                    # Before the blow, for which a new instance may have to start.
                    self._cancel(load_id)
                if self._strike():
                    fallen += 1
                    following = self._next_blow()
            looks, status = looks + 1, {}
            if looks % POLLS_TO_A_LOOK == 0 and (status := self._look(load_id)).get("state") == "settled":
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"the load does not end: {status}, {self._host.instances}")
            time.sleep(POLL_SECONDS)
        self._host.faults.clear()
        return status

    def wrong(self) -> list[str]:
        """What is not as it should be where all loads have ended, the last of them undisturbed by a cancellation."""
        return [*self.world.differences(), *self._wrong_in_journal(), *self.world.left()]

    def leftover_processes(self) -> list[str]:
        """Processes of the host that is closed."""
        return sorted(_children() - self._children)

    def _wrong_in_journal(self) -> Iterator[str]:
        rows = self.world.journal()
        runs = Counter(row["entity_run_id"] for row in rows)
        if twice := [run for run, count in runs.items() if count > 1]:
            yield f"the journal has {len(twice)} entity runs twice, {twice[0]} among them"
        told = Counter(row["coordinator_run_id"] for row in rows)
        for load_id in self._loads:
            if told[load_id] != self._tables:
                yield f"the journal has {told[load_id]} rows of a load of {self._tables} tables"

    def _next_blow(self) -> int:
        return self._host.history_events + self._random.randrange(*EVENTS_BETWEEN)

    def _strike(self) -> bool:
        """One blow against one instance, what is taken away is replaced; returns False where none is there to be
        hit."""
        [what] = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        ready = [each["id"] for each in self._host.instances if each["state"] == "ready"]
        self._note_peaks()
        if not ready:
            return False
        self.happened[what] += 1
        victim = self._random.choice(ready)
        match what:
            case "kill":
                self._host.kill_worker(victim)
            case "kill at a moment":
                moment, delay = self._random.choice(MOMENTS), self._random.choice([0.0, 0.01, 0.05, 0.2])
                self._host.faults.kill_worker_on("*", moment, delay_seconds=delay, instance=victim)
            case "lose":
                self._host.remove_instance(victim)
                self._host.add_instance()
            case "drain":
                self._host.drain_instance(victim, self._random.choice([0.0, 0.05, 5.0]))
                self._host.add_instance()
            case "restart":
                self._host.restart_instance(victim, self._random.choice([0.0, 0.05, 5.0]))
            case "deliver twice":
                self._host.faults.deliver_twice("*", at_once=self._random.random() < 0.5, times=3)
        return True

    def _note_peaks(self) -> None:
        for each in self._host.instances:
            self._peaks[each["id"]] = max(self._peaks.get(each["id"], 0), each["peak_memory_bytes"] or 0)

    def _cancel(self, load_id: str) -> None:
        """Ask the load to stop; again where the instance that was asked has died."""
        while True:
            try:
                self._call("POST", f"/api/loads/{load_id}/cancel")
            except httpx.HTTPStatusError as error:
                if error.response.status_code == HTTPStatus.CONFLICT:
                    return  # it has nothing left to stop
                if error.response.status_code != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
            else:
                return

    def _look(self, load_id: str) -> dict[str, Any]:
        """The load's status; empty where the instance that was asked has died."""
        try:
            return self._call("GET", f"/api/loads/{load_id}?limit=1")
        except httpx.HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return {}

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        headers = {"x-functions-key": self._host.function_key}
        answer = self._client.request(method, f"{self._host.url}{path}", headers=headers, **options)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _children() -> set[str]:
    """The workers of this process that run, and any child that nobody has waited for, by number and command."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid():
                command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if WORKER in command or state == "Z":
                    found.add(f"{stat.parent.name} {state} {command}")
    return found
