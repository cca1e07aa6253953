"""A whole landing in one process: a source in memory, the real flow and landing protocol, a local lake, Fabric's
replicator.

The lake can be ordered to die at its n-th mutating operation, before or after doing it; a dead lake refuses everything
else, as a killed process would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
from pydantic import SecretStr

from devcloud.replicator import Replicator, check_landing_zone
from hygge_engine.errors import LakeUnavailable
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.lake.base import Content, Lake, PathInfo, Staged, StagingWriter
from hygge_engine.lake.local import LocalLake
from hygge_engine.project.models.project import Entity, WatermarkSettings
from hygge_engine.project.models.settings import HomeSettings, RunType
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.stores.open_mirroring.layout import layout_of
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from tests.faults import source
from tests.faults.source import Row, SourceHome

ITEM = "mirror"


class Killed(BaseException):
    """The process died here."""


@dataclass
class KeyedTable:
    """A keyed table: id to (value, modified). ``modified`` counts changes, so that every change moves it."""

    rows: dict[int, tuple[str, int]] = field(default_factory=dict)
    clock: int = 0

    def put(self, *ids: int) -> None:
        self.clock += 1
        for id_ in ids:
            self.rows[id_] = (f"v{self.clock}", self.clock)

    def put_at(self, times: dict[int, int]) -> None:
        """Insert or update rows that bear times of their own."""
        self.rows |= {id_: (f"at {at}", at) for id_, at in times.items()}

    def remove(self, *ids: int) -> None:
        for id_ in ids:
            self.rows.pop(id_, None)

    def as_multiset(self) -> list[Row]:
        return sorted((id_, value, modified) for id_, (value, modified) in self.rows.items())

    @property
    def content(self) -> source.Content:
        """What `SourceHome` reads."""
        return source.Content(self.clock, {row[0]: row for row in self.as_multiset()}, {})


class FragileLake:
    """A lake that counts mutating operations, calls ``between`` after each, and dies at the chosen one."""

    def __init__(self, lake: Lake, *, between: Callable[[], None] | None = None) -> None:
        self._lake = lake
        self._between = between
        self._dead = False
        self.count = 0
        self.die_at: int | None = None
        self.die_after = False
        self.lose_answer_at: int | None = None
        self.shift = timedelta(0)

    def revive(self) -> None:
        """Let the next process find the lake as the dead one has left it."""
        self._dead, self.die_at = False, None

    @property
    def url(self) -> str:
        return self._lake.url

    def now(self) -> datetime:
        return self._lake.now() + self.shift

    def mutate[T](self, operation: Callable[[], T]) -> T:
        self.check_alive()
        self.count += 1
        if self.count == self.die_at and not self.die_after:
            self._dead = True
            raise Killed
        result = operation()
        if self.count == self.die_at:
            self._dead = True
            raise Killed
        if self._between is not None:
            self._between()
        if self.count == self.lose_answer_at:
            raise LakeUnavailable("the answer was lost")
        return result

    @property
    def is_alive(self) -> bool:
        return not self._dead

    def check_alive(self) -> None:
        if self._dead:
            raise Killed

    def read(self, path: str) -> Content:
        self.check_alive()
        return self._lake.read(path)

    def read_range(self, path: str, offset: int, length: int, *, if_match: str) -> bytes:
        self.check_alive()
        return self._lake.read_range(path, offset, length, if_match=if_match)

    def info(self, path: str) -> PathInfo | None:
        self.check_alive()
        return self._lake.info(path)

    def list(self, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        self.check_alive()
        return self._lake.list(directory, recursive=recursive)

    def put(
        self, path: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False, staged: str | None = None
    ) -> str:
        return self.mutate(lambda: self._lake.put(path, data, if_match=if_match, if_absent=if_absent))

    def stage(self, path: str) -> StagingWriter:
        return cast("StagingWriter", FragileWriter(self, self.mutate(lambda: self._lake.stage(path))))

    def rename(self, source: str, destination: str) -> None:
        self.mutate(lambda: self._lake.rename(source, destination))

    def make_directory(self, path: str) -> None:
        self.mutate(lambda: self._lake.make_directory(path))

    def delete(self, path: str) -> bool:
        return self.mutate(lambda: self._lake.delete(path))

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        return self.mutate(lambda: self._lake.delete_directory(path, if_match=if_match))


class FragileWriter:
    """A staging writer of a fragile lake: its end is one mutating operation."""

    closed = False

    def __init__(self, lake: FragileLake, writer: StagingWriter) -> None:
        self._lake = lake
        self._writer = writer

    def write(self, data: bytes | memoryview, /) -> int:
        self._lake.check_alive()
        return self._writer.write(data)

    def tell(self) -> int:
        return self._writer.tell()

    def flush(self) -> None:
        return None

    def finish(self) -> Staged:
        return self._lake.mutate(self._writer.finish)

    def abandon(self) -> None:
        if self._lake.is_alive:  # a dead process deletes nothing
            self._writer.abandon()


class Watching:
    """A watch that asks for cancellation after some batches."""

    def __init__(self, cancel_after: int | None = None) -> None:
        self._left = cancel_after

    def progress(self, rows: int, bytes_: int) -> None:
        if self._left is not None:
            self._left -= 1

    def cancelled(self) -> bool:
        return self._left is not None and self._left <= 0


class World:
    """One source table, one mirrored table, and the loads between them."""

    def __init__(
        self,
        root: Path,
        monkeypatch: Any,
        *,
        run_type: RunType = "incremental",
        slice_minutes: float = 4,
        tick_between: bool = True,
        drop_wait_seconds: float = 0,
        connect: Callable[[], Lake] | None = None,
    ) -> None:
        self._connect = connect or (lambda: LocalLake(root))
        self.source = KeyedTable()
        self.root = root
        self._run_type: RunType = run_type
        self._tick_between = tick_between
        self.replicator = Replicator.on_disk(root / ITEM, in_memory=True)
        options = SimpleNamespace(slice_minutes=slice_minutes)
        given = SimpleNamespace(name="shop", directory=Path(), connections={}, options=options)
        self.project = cast("Any", given)
        self.settings = OpenMirroringSettings(
            type="open_mirroring",
            account_url="https://onelake.dfs.fabric.microsoft.com",
            filesystem="workspace",
            mirror_name=ITEM,
            credential="account_key",
            account_name="unused",
            account_key=SecretStr("dW51c2Vk"),
            key_columns=("id",),
            folder_deletion_wait_seconds=drop_wait_seconds,
        )
        watermark = WatermarkSettings(column="modified", primary_key="id")
        self.entity = Entity("things", "flow", run_type, HomeSettings(type="source"), self.settings, watermark)
        self.layout = layout_of(self.settings, "flow", "things")
        self.home = SourceHome(self.source)
        self.lake = self.new_lake()
        monkeypatch.setattr(flow_run, "open_home", lambda project, entity: self.home)
        monkeypatch.setattr(
            flow_run, "open_table", lambda project, entity: OpenMirroringTable(self.lake, self.settings, self.layout)
        )
        monkeypatch.setattr(flow_run, "journal_of", lambda project, entity: (self.lake, self.layout.journal))

    def new_lake(self) -> FragileLake:
        """A lake client as a new process has it."""
        self.lake = FragileLake(self._connect(), between=self.tick if self._tick_between else None)
        return self.lake

    def tick(self) -> None:
        self.replicator.tick()

    def slice(
        self, load_id: str, attempt: int = 1, watch: Watching | None = None, *, busy: int = 0, closing: bool = False
    ) -> SliceResult:
        task = SliceTask(
            load_id, f"{load_id}-things", "flow", "things", self._run_type, "hash", attempt, busy=busy, closing=closing
        )
        return flow_run.run_slice(self.project, self.entity, task, watch or Watching())

    def load(self, load_id: str, *, limit: int = 60) -> SliceResult:
        """Slices until the load has settled; a killed attempt is delivered again, as the platform does."""
        for attempt in range(1, limit):
            try:
                result = self.slice(load_id, min(attempt, 9))
            except Killed:
                self.new_lake()
                continue
            if result.status == "continue":
                self.tick()
                continue
            if result.status == "failed" and result.transient:
                continue
            return result
        raise AssertionError(f"{load_id} did not settle")

    def mirrored(self) -> list[Row]:
        """The rows as a Fabric reader sees them, once the replicator has caught up."""
        table = self.followed()
        if table is None:
            return []
        return sorted(zip(*(table[name].to_pylist() for name in ("id", "value", "modified")), strict=True))

    def followed(self) -> pa.Table | None:
        """The mirrored table, once the replicator has caught up; None where there is none."""
        self.tick()
        self.tick()
        try:
            return self.replicator.table("dbo", "things")
        except KeyError:
            return None

    def state(self) -> LandingState:
        return LandingState.from_json((self.root / self.layout.state).read_bytes(), "")[0]

    def check(self) -> None:
        """The invariants that hold after a load has settled."""
        assert self.mirrored() == self.source.as_multiset()
        assert [str(finding) for finding in check_landing_zone(self.root / ITEM)] == []
        # A tick may fall between the making of the folder and the rename of its metadata, which nothing can make one.
        findings = [finding for finding in self.replicator.checks if finding.code != "META_MISSING"]
        assert [str(finding) for finding in findings] == []
        state = self.state()
        assert state.open is None
        assert state.owner is None
        staging = self.root / self.layout.staging
        assert not staging.exists() or list(staging.iterdir()) == []
