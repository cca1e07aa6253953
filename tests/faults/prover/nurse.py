"""The prover's side of a worker: start it, see what it is about to do, say what is to happen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from tests.faults.prover.jobs import Job, Phase, Verb
from tests.faults.prover.nursery import READY

PROJECT = Path(__file__).parents[3]

# Longest time a worker may be silent before the prover gives up on it: an operation takes milliseconds, on a very busy
# machine seconds.
SILENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Event:
    """What a worker does next, or has done. ``number`` counts its storage operations, from 1."""

    phase: Phase | Literal["died"]
    label: str = ""
    value: Any = None
    number: int = 0

    @property
    def is_end(self) -> bool:
        """Whether nothing more comes."""
        return self.phase in ("ended", "died")


class Worker:
    """A worker process, stopped at `event` until it gets its order."""

    def __init__(self, connection: Connection, job: Job) -> None:
        self.job = job
        self.operations = 0
        self._connection = connection
        connection.send(job)
        self.event = self._receive()

    def answer(self, verb: Verb, clock_seconds: float) -> Event:
        """Say what is to happen, and wait for the next event."""
        try:
            self._connection.send((verb, clock_seconds))
        except OSError:
            self.event = Event("died", number=self.operations)
            return self.event
        self.event = self._receive()
        return self.event

    def close(self) -> None:
        """Drop the worker; if it is still there, it ends."""
        self._connection.close()

    def _receive(self) -> Event:
        if not self._connection.poll(SILENCE_SECONDS):
            raise RuntimeError(f"a worker said nothing for {SILENCE_SECONDS:.0f} s: {self.job}")
        try:
            phase, label, value = self._connection.recv()
        except (EOFError, ConnectionResetError):
            return Event("died", number=self.operations)
        if phase == "broke":
            raise RuntimeError(f"a worker failed in a way that no fault explains: {label}")
        if phase == "before":
            self.operations += 1
        return Event(phase, label, value, self.operations)


class Nursery:
    """A nursery process of our own. It ends when it is closed, or with us."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._control = control
        self._process = process

    def start(self, job: Job) -> Worker:
        """Fork a worker and give it a job."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"w"], [theirs.fileno()])
        return Worker(Connection(ours.detach()), job)

    def close(self) -> None:
        self._control.close()
        self._process.wait(SILENCE_SECONDS)


def start_nursery() -> Nursery:
    """Start a nursery and wait until it is ready."""
    ours, theirs = socket.socketpair()
    # One processor thread per worker is plenty, and a pool that does not exist cannot break in a fork.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, "-m", "tests.faults.prover.nursery", str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=PROJECT, env=environment)
    ours.settimeout(SILENCE_SECONDS)
    if ours.recv(len(READY)) != READY:
        raise RuntimeError("the nursery did not start")
    return Nursery(ours, process)
