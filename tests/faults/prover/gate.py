"""The gate: a worker asks the prover before and after everything that changes storage, and dies there when ordered
to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import urlsplit

from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport

from devcloud.onelake.exchange import MUTATING_VERBS, parse_target
from hygge_engine.errors import LakeUnavailable, StoreUnavailable
from hygge_engine.lake.base import Content, Lake, PathInfo, Staged, StagingWriter
from hygge_engine.lake.datalake import DataLake
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.stores.lake_files.delta import DeltaLog
from tests.faults.prover.jobs import Phase, Verb


class Gate:
    """A worker's end of the line to the prover. Operations of several threads pass one after the other.

    ``clock`` is how far the prover has moved the time on: waiting costs none.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._open = False
        self.clock = timedelta(0)

    def tell(self, phase: Phase, label: str, value: Any = None) -> Verb:
        """Tell the prover something and wait for its word."""
        try:
            self._connection.send((phase, label, value))
            verb, seconds = self._connection.recv()
        except (EOFError, OSError):
            os._exit(1)  # the prover has lost interest
        self.clock = timedelta(seconds=seconds)
        if verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self._open = self._open or verb == "run"
        return cast("Verb", verb)

    def note(self, label: str, value: Any = None) -> Verb:
        """Tell the prover about something that changes no storage."""
        with self._lock:
            return self.tell("note", label, value)

    def pass_through[T](self, label: str, operation: Callable[[], T], lost: type[Exception] = LakeUnavailable) -> T:
        """Change storage, if the prover lets us. An operation that fails has been tried all the same."""
        with self._lock:
            if self._open:
                return operation()
            if self.tell("before", label) == "refuse":
                raise lost("refused")
            try:
                result = operation()
            except Exception:
                self.tell("after", label)
                raise
            if self.tell("after", label) == "lose":
                raise lost("the answer was lost")
            return result


class GatedLake:
    """A lake whose mutating verbs pass through a gate."""

    def __init__(self, lake: Lake, gate: Gate) -> None:
        self._lake = lake
        self._gate = gate

    @property
    def url(self) -> str:
        return self._lake.url

    def now(self) -> datetime:
        return self._lake.now() + self._gate.clock

    def read(self, path: str) -> Content:
        return self._lake.read(path)

    def read_range(self, path: str, offset: int, length: int, *, if_match: str) -> bytes:
        return self._lake.read_range(path, offset, length, if_match=if_match)

    def info(self, path: str) -> PathInfo | None:
        return self._lake.info(path)

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        return self._lake.list(directory, recursive=recursive)

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        conditions: dict[str, Any] = {"if_match": if_match, "if_absent": if_absent, "staged": staged}
        return self._gate.pass_through(f"put {path}", lambda: self._lake.put(path, data, **conditions))

    def stage(self, path: str) -> StagingWriter:
        writer = self._gate.pass_through(f"create {path}", lambda: self._lake.stage(path))
        return GatedWriter(writer, path, self._gate)

    def rename(self, source: str, destination: str) -> None:
        self._gate.pass_through(f"rename {source} {destination}", lambda: self._lake.rename(source, destination))

    def make_directory(self, path: str) -> None:
        self._gate.pass_through(f"create_directory {path}", lambda: self._lake.make_directory(path))

    def delete(self, path: str) -> bool:
        return self._gate.pass_through(f"delete {path}", lambda: self._lake.delete(path))

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        return self._gate.pass_through(f"delete {path}", lambda: self._lake.delete_directory(path, if_match=if_match))


class GatedWriter:
    """A staging writer of a gated lake: its end, a flush, is one operation."""

    closed = False

    def __init__(self, writer: StagingWriter, path: str, gate: Gate) -> None:
        self._writer = writer
        self._path = path
        self._gate = gate

    def write(self, data: bytes | memoryview, /) -> int:
        return self._writer.write(data)

    def tell(self) -> int:
        return self._writer.tell()

    def flush(self) -> None:
        return None

    def finish(self) -> Staged:
        return self._gate.pass_through(f"flush {self._path}", self._writer.finish)

    def abandon(self) -> None:
        self._gate.pass_through(f"delete {self._path}", self._writer.abandon)


class ClockedDataLake(DataLake):
    """A data lake whose clock the prover can move on."""

    def __init__(self, settings: LakeSettings, gate: Gate) -> None:
        super().__init__(settings)
        self._gate = gate

    def now(self) -> datetime:
        return super().now() + self._gate.clock


def gate_requests(gate: Gate) -> None:
    """Let every mutating request of the storage SDK pass through the gate: finer than the lake's verbs."""
    send = RequestsTransport.send

    def gated(self: RequestsTransport, request: Any, **options: Any) -> Any:
        url = urlsplit(request.url)
        target = f"{url.path}?{url.query}" if url.query else url.path
        parsed = parse_target(request.method, target, request.headers)
        if parsed.verb not in MUTATING_VERBS:
            return send(self, request, **options)
        return gate.pass_through(
            f"{parsed.verb} {parsed.path}", lambda: send(self, request, **options), ServiceResponseError
        )

    patch.object(RequestsTransport, "send", gated).start()


def gate_delta_commits(gate: Gate) -> None:
    """Let the commits of Delta logs pass through the gate: they take a way of their own to the storage."""
    commit = DeltaLog.commit

    def gated(self: DeltaLog, *arguments: Any, **keywords: Any) -> None:
        gate.pass_through("commit", lambda: commit(self, *arguments, **keywords), StoreUnavailable)

    patch.object(DeltaLog, "commit", gated).start()
