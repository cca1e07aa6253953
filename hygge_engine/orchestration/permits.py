"""What a process has of a connection's permits, and how it comes to them: docs/limits.md.

A process keeps what it has from one slice to the next and looks at the register now and then, so that a load of many
tables asks rarely. What it counts as its own is never more than the register says: permits are written down before
they are used, and given up before they are written off.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from hygge_engine.errors import HyggeError, LakeConditionNotMet, LakeNotFound
from hygge_engine.hosts import identity_of
from hygge_engine.orchestration.register import HOLDING_TIME, Holder, Register
from hygge_engine.retry import unnoticed

if TYPE_CHECKING:
    from datetime import datetime

    from hygge_engine.flow.slices import SliceTask
    from hygge_engine.lake.base import Lake
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

# How often a process with permits looks at the register, how often it renews them, and after which time without that
# it has lost them: half a minute before others may take them. In seconds.
LOOK_SECONDS = 5.0
RENEWAL_SECONDS = 30.0
LOST_SECONDS = 90.0

# How often one request for permits meets another process's write before it counts as refused, and the pause between.
WRITES_TRIED = 6
WRITE_PAUSE_SECONDS = 0.2

# How long a process does without a register that it could not reach, before it tries again.
DARK_SECONDS = 60.0

# How long the end of a load in this process waits until its permits are given back; then they lapse by themselves.
LAST_LOOK_SECONDS = 5.0

_jitter = random.Random()  # noqa: S311 - not cryptography


@dataclass(eq=False)
class Permit:
    """The right to ``count`` connections, which a slice has until it ends or has lost it."""

    load_id: str
    count: int
    is_lost: Callable[[], bool] = lambda: False


class Permits:
    """The permits of one process, of every connection. Thread-safe. Without ``counts`` every slice has what it asks
    for."""

    def __init__(self, *, counts: bool = True) -> None:
        self._counts = counts
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str], Pool] = {}
        self._readers: tuple[Project, dict[str, Entity]] | None = None

    @contextmanager
    def take(self, open_project: Callable[[], Project], task: SliceTask) -> Iterator[Permit | None]:
        """What a slice may use of its connection, as long as the context lasts; None where it has to wait. Never
        raises: a slice whose connection cannot be counted goes on without."""
        if not self._counts or not task.connection or task.closing:
            yield Permit(task.load_id, task.connections)
            return
        try:
            project = open_project()
            pool = self._pool(project, task.connection)
            size = project.connections[task.connection].pool_size
            needs = project.flows[task.flow].entities[task.entity].home.connections_at_once()
        except (HyggeError, KeyError):
            # The slice itself says what is wrong with its project.
            yield Permit(task.load_id, task.connections)
            return
        permit = pool.take(task.load_id, size, needs=min(needs, task.connections), wants=task.connections)
        try:
            yield permit
        finally:
            if permit is not None:
                pool.end(permit)

    def close_idle(self, project: Project) -> None:
        """Close what planning has opened, which is nobody's permit."""
        from hygge_engine.flow.factory import close_idle

        if self._counts:
            for home in {type(entity.home): entity.home for entity in project.entities}.values():
                close_idle(home)

    def end(self, load_id: str) -> None:
        """Give back, soon, what this process has for a load that has ended."""
        for pool in self._all():
            pool.give_back(load_id)

    def close(self) -> None:
        """Give everything back, and wait a moment for that. For a process whose load has ended."""
        pools = self._all()
        for pool in pools:
            pool.give_back()
        deadline = time.monotonic() + LAST_LOOK_SECONDS
        for pool in pools:
            pool.join(max(0.0, deadline - time.monotonic()))

    def abandon(self) -> None:
        """Look at nothing any more, and wait for nothing: for a process that ends soon, and with it what it has."""
        for pool in self._all():
            pool.abandon()

    def _all(self) -> list[Pool]:
        with self._lock:
            return [*self._pools.values()]

    def _pool(self, project: Project, connection: str) -> Pool:
        """A connection's permits, whose register is beside the journal of the first entity that reads by it."""
        from hygge_engine.flow.factory import close_idle
        from hygge_engine.journal.names import file_name
        from hygge_engine.orchestration.places import place_of

        with self._lock:
            if self._readers is None or self._readers[0] is not project:
                readers: dict[str, Entity] = {}
                for entity in project.entities:
                    readers.setdefault(entity.connection, entity)
                self._readers = (project, readers)
            reader = self._readers[1][connection]
            place = place_of(project, reader)
            path = f"{place.root.strip('/')}/permits/{file_name(project.name)}/{file_name(connection)}.json"
            key = (identity_of(place.lake.url), path)
            if key not in self._pools:
                close = partial(close_idle, reader.home)
                self._pools[key] = Pool(RegisterFile(place.lake, path), connection, close_idle=close)
            return self._pools[key]


class Registers(Protocol):
    """Where a register is kept: read, then replaced on condition that it has not changed."""

    def read(self) -> Register:
        """The register; an empty one where there is none."""
        ...

    def write(self, register: Register) -> bool:
        """Replace what was read; False where somebody else has, since."""
        ...

    def now(self) -> datetime:
        """The clock of all who share it."""
        ...


class RegisterFile:
    """A register in a lake. All methods let the LakeError family pass. Not thread-safe."""

    def __init__(self, lake: Lake, path: str) -> None:
        self._lake = lake
        self._path = path
        self._etag: str | None = None

    def read(self) -> Register:
        """See `Registers.read`; also an empty one where the file is damaged, which the next write replaces."""
        self._etag = None
        try:
            content = self._lake.read(self._path)
        except LakeNotFound:
            return Register()
        self._etag = content.etag
        return Register.from_json(content.data)[0]

    def write(self, register: Register) -> bool:
        """See `Registers.write`."""
        nonce = uuid4().hex
        try:
            self._etag = self._lake.put(
                self._path, register.to_json(nonce), if_match=self._etag, if_absent=self._etag is None
            )
        except LakeConditionNotMet:
            # Perhaps only our own response was lost.
            with suppress(LakeNotFound):
                content = self._lake.read(self._path)
                if Register.from_json(content.data)[1] == nonce:
                    self._etag = content.etag
                    return True
            return False
        return True

    def now(self) -> datetime:
        """See `Registers.now`: the service's."""
        return self._lake.now()


class Pool:
    """One connection's permits in this process. ``close_idle`` closes what the driver keeps open after its use, which
    counts at the source until then. ``clock`` counts seconds, from anywhere; ``beats``: a thread of its own
    looks at the register; ``process``: what others may know the process by, of itself `process.this_process`.

    ``_io`` is held while the register is read and written, ``_lock`` while the process's own numbers change: a slice
    that ends waits for no lake.
    """

    def __init__(
        self,
        registers: Registers,
        connection: str,
        *,
        close_idle: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        beats: bool = True,
        process: str | None = None,
    ) -> None:
        self._registers = registers
        self._connection = connection
        self._close_idle = close_idle
        self._clock = clock
        self._sleep = sleep
        self._beats = beats
        self._process = process
        self._name = uuid4().hex
        self._io = threading.Lock()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._abandoned = False
        self._size = 1
        self._has: dict[str, int] = {}
        self._active: list[Permit] = []
        self._lost: set[int] = set()
        self._peak: dict[str, int] = {}
        self._ended: set[str] = set()
        self._renewed = 0.0
        self._dark_until: float | None = None
        # What the register said last, with the time by the service's clock.
        self._seen: tuple[Register, datetime] | None = None

    def take(self, load_id: str, size: int, *, needs: int, wants: int) -> Permit | None:
        """Permits for a slice that needs so many of ``size`` and can use more; None where it has to wait."""
        needs = min(needs, size)
        wants = max(needs, min(wants, size))
        permit = self._take_kept(load_id, size, needs, wants)
        if permit is not None:
            return permit
        with self._io:
            permit = self._take_kept(load_id, size, needs, wants)
            if permit is not None:
                return permit
            if self._dark_until is not None and self._clock() < self._dark_until:
                return Permit(load_id, wants)
            try:
                for _ in range(WRITES_TRIED):
                    answer = self._ask(load_id, size, needs, wants)
                    if answer is not None:
                        self._dark_until = None
                        return answer if answer.count else None
                    self._sleep(_jitter.uniform(0.0, WRITE_PAUSE_SECONDS))
            except HyggeError as error:
                self._dark_until = self._clock() + DARK_SECONDS
                _log.warning(
                    "The loads that use connection %s cannot be counted, so that each keeps to its pool_size alone: %s",
                    self._connection,
                    error,
                )
                return Permit(load_id, wants)
        return None

    def end(self, permit: Permit) -> None:
        """A slice has ended; its permits stay with the process for a while, or go to another load that comes first."""
        with self._lock:
            if permit in self._active:
                self._active.remove(permit)
                self._lost.discard(id(permit))
                if self._seen is not None and not self._may_pass_on(permit.load_id, permit.count, *self._seen):
                    self._wake.set()

    def give_back(self, load_id: str | None = None) -> None:
        """Let what is kept for a load, or for all, be given back with a look that is taken at once."""
        with self._lock:
            self._ended |= {load_id} if load_id is not None else {*self._has}
            self._wake.set()

    def abandon(self) -> None:
        """Look at the register no more."""
        self._abandoned = True
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait for the thread that looks, which ends when nothing is kept."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def look(self) -> None:
        """Look at the register: renew, give back, and enter again what others have taken for dead. Lets the LakeError
        family pass."""
        with self._io:
            for _ in range(WRITES_TRIED):
                if self._look():
                    return
                self._sleep(_jitter.uniform(0.0, WRITE_PAUSE_SECONDS))

    def _look(self) -> bool:
        """Whether the register says now what this process has: False where somebody else has written it."""
        register, now, began = self._read()
        with self._lock:
            before = sum(self._has.values())
            # Given up before it is written off.
            kept = self._has = {load_id: self._to_keep(load_id, register) for load_id in self._has}
        if sum(kept.values()) < before:
            self._close_idle()
        said = register.loads_of(self._name)
        if self._is_missing(register):
            kept = self._find_room(kept, register, now)
        wanted = {load_id: held for load_id, held in kept.items() if held}
        if wanted == said and self._clock() - self._renewed < RENEWAL_SECONDS:
            return True
        if not self._write(register.with_holder(self._name, self._holder(wanted, now)), now, began):
            return False
        with self._lock:
            self._forget_all_but(wanted)
        return True

    def _to_keep(self, load_id: str, register: Register) -> int:
        """How many permits a load keeps here: those in use, and where no other waits also those that were since the
        last look. Under the lock."""
        in_use = self._in_use(load_id)
        peak, self._peak[load_id] = self._peak.get(load_id, 0), in_use
        if load_id in self._ended or _others_wait(register, load_id):
            return in_use
        return min(self._has[load_id], max(peak, in_use))

    def _is_missing(self, register: Register) -> bool:
        """Whether a register says less of this process than it has: others have taken it for dead."""
        said = register.loads_of(self._name)
        with self._lock:
            return any(said.get(load_id, 0) < held for load_id, held in self._has.items())

    def _find_room(self, kept: dict[str, int], register: Register, now: datetime) -> dict[str, int]:
        """Find room for what is in use in a register that has lost it. What finds none is lost: its slices end."""
        with self._lock:
            for load_id in kept:
                register = register.with_holder(self._name, self._holder({**kept, load_id: 0}, now))
                room, held = register.free(self._size, load_id), 0
                elsewhere = register.held_beside(self._name, load_id)
                for permit in self._of(load_id):
                    if min(self._size, elsewhere + held + permit.count) <= room:
                        held += permit.count
                    else:
                        self._lost.add(id(permit))
                kept = {**kept, load_id: held}
            self._has = kept
        return kept

    def _take_kept(self, load_id: str, size: int, needs: int, wants: int) -> Permit | None:
        """Permits that the process has already, where no other load comes first."""
        with self._lock:
            self._size = size
            idle = self._has.get(load_id, 0) - self._in_use(load_id)
            if idle < needs or self._is_late() or self._seen is None:
                return None
            register, now = self._seen
            if not _others_wait(register, load_id):
                return self._permit(load_id, wants) if idle >= wants else None
            return self._permit(load_id, needs) if self._may_pass_on(load_id, needs, register, now) else None

    def _may_pass_on(self, load_id: str, needs: int, register: Register, now: datetime) -> bool:
        """Whether the next slice of a load may have what another gives up: where no other load waits that comes first.
        Under the lock."""
        if not _others_wait(register, load_id):
            return True
        kept = {**self._has, load_id: self._in_use(load_id)}
        given_up = register.with_holder(self._name, self._holder(kept, now))
        in_all = given_up.held(load_id, self._size) + needs
        return min(self._size, in_all) <= given_up.left_for(load_id, self._size, now)

    def _ask(self, load_id: str, size: int, needs: int, wants: int) -> Permit | None:
        """Ask the register. A permit of none where the load has to wait; None where somebody else has written."""
        found, now, began = self._read()
        if self._is_missing(found):
            self._look()
            return None
        with self._lock:
            in_use, has = self._in_use(load_id), self._has.get(load_id, 0)
            others = {other: held for other, held in self._has.items() if other != load_id}
            # What a look may give back, or find lost, is not used meanwhile: both need the lock on the register.
            self._has[load_id] = in_use
        register = found.with_holder(self._name, self._holder({**others, load_id: in_use}, now))
        alone = not _others_wait(register, load_id)
        # A load has all of them at most, whatever its processes keep.
        left = register.left_for(load_id, size, now)
        left = wants if left >= size else left - register.held_beside(self._name, load_id) - in_use
        granted = min(wants if alone else needs, left) if left >= needs else 0
        keeps = in_use + granted
        if granted and alone:
            keeps = max(has, keeps + min(keeps, self._spare(register, load_id, size, keeps)))
        register = register.without_waiting(load_id) if granted else register.with_waiting(load_id, needs, now)
        if keeps < has:
            self._close_idle()
        loads = {**others, load_id: keeps}
        changed = register.with_holder(self._name, self._holder(loads, now))
        if changed != found and not self._write(changed, now, began):
            return None
        with self._lock:
            self._ended.discard(load_id)
            self._has[load_id] = keeps
            return self._permit(load_id, granted) if granted else Permit(load_id, 0)

    def _spare(self, register: Register, load_id: str, size: int, keeps: int) -> int:
        """Half of what nobody has, of which a load that is alone takes some for its next slices."""
        return max(0, register.free(size, load_id) - register.held_beside(self._name, load_id) - keeps) // 2

    def _read(self) -> tuple[Register, datetime, float]:
        """The register without the dead, the time by its clock, and by ours before it was read."""
        from hygge_engine.stores.landing.process import has_ended

        began = self._clock()
        found = self._registers.read()
        now = self._registers.now()
        register = found.living(now, has_ended)
        with self._lock:
            self._seen = (register, now)
        return register, now, began

    def _write(self, register: Register, now: datetime, began: float) -> bool:
        if not self._registers.write(register):
            return False
        with self._lock:
            self._seen = (register, now)
            self._renewed = began
        return True

    def _forget_all_but(self, loads: Collection[str]) -> None:
        """Forget the loads of which nothing is kept. Under the lock."""
        for load_id in [load_id for load_id in self._has if load_id not in loads]:
            del self._has[load_id]
        self._peak = {load_id: peak for load_id, peak in self._peak.items() if load_id in self._has}
        self._ended &= {*self._has}

    def _permit(self, load_id: str, count: int) -> Permit:
        """Give permits to a slice. Under the lock."""
        permit = Permit(load_id, count)
        permit.is_lost = lambda: id(permit) in self._lost or self._is_late()
        self._active.append(permit)
        self._peak[load_id] = max(self._peak.get(load_id, 0), self._in_use(load_id))
        if self._beats and self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"permits {self._connection}", daemon=True)
            self._thread.start()
        return permit

    def _of(self, load_id: str) -> list[Permit]:
        """The permits that a load's slices have here, but for lost ones. Under the lock."""
        return [permit for permit in self._active if permit.load_id == load_id and id(permit) not in self._lost]

    def _in_use(self, load_id: str) -> int:
        return sum(permit.count for permit in self._of(load_id))

    def _is_late(self) -> bool:
        """Whether the permits were renewed too long ago: others may have them soon."""
        return self._clock() - self._renewed > LOST_SECONDS

    def _holder(self, loads: dict[str, int], now: datetime) -> Holder:
        from hygge_engine.stores.landing.process import this_process

        process = this_process() if self._process is None else self._process
        return Holder(process, now + HOLDING_TIME, loads)

    def _run(self) -> None:
        """Look now and then, for as long as anything is kept."""
        with unnoticed():
            while True:
                self._wake.wait(_jitter.uniform(0.8, 1.2) * LOOK_SECONDS)
                self._wake.clear()
                if self._abandoned:
                    return
                try:
                    self.look()
                except HyggeError as error:
                    _log.warning("The permits of connection %s could not be renewed: %s", self._connection, error)
                with self._lock:
                    if not self._active and (not any(self._has.values()) or self._is_late()):
                        self._forget_all_but(())
                        self._thread = None
                        return


def _others_wait(register: Register, load_id: str) -> bool:
    return any(other != load_id for other in register.waiting)
