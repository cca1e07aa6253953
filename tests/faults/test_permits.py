"""Permits of a connection, of which a process dies at each of its operations: never more than there are, none lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

import pytest

from hygge_engine.errors import LakeConditionNotMet, LakeNotFound
from hygge_engine.lake.base import Content
from hygge_engine.orchestration.permits import LOOK_SECONDS, Permit, Pool, RegisterFile
from hygge_engine.orchestration.register import HOLDING_TIME, Register
from tests.faults.world import Killed

START = datetime(2026, 11, 30, 6, tzinfo=UTC)
SIZE = 3

# A dead process keeps what it had for so long, and the others' slices take the rest.
LIMIT_SECONDS = HOLDING_TIME.total_seconds() + 150


class Clock:
    """The time of everybody, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Registry:
    """The one file that processes share."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.version = 0


class MortalLake:
    """The file as a process sees it that ends before its operation number ``dies_at``, or where that one writes, with
    ``late``, after it."""

    def __init__(self, file: Registry, clock: Clock, dies_at: int = -1, *, late: bool = False) -> None:
        self._file = file
        self._clock = clock
        self.dies_at = dies_at
        self._late = late
        self._operations = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._clock())

    def read(self, path: str) -> Content:
        self._operate()
        if self._file.data is None:
            raise LakeNotFound(path)
        return Content(self._file.data, str(self._file.version))

    def put(self, path: str, data: bytes, *, if_match: str | None, if_absent: bool) -> str:
        dies = self._operate(writes=True)
        if if_absent != (self._file.data is None) or (if_match or "0") != str(self._file.version):
            raise LakeConditionNotMet(path)
        self._file.data, self._file.version = data, self._file.version + 1
        if dies:
            raise Killed
        return str(self._file.version)

    def _operate(self, *, writes: bool = False) -> bool:
        self._operations += 1
        if self._operations != self.dies_at:
            return False
        if not (writes and self._late):
            raise Killed
        return True


class Process:
    """A process whose slices each need ``needs`` permits, one after another, ``slices`` of five seconds."""

    def __init__(self, load_id: str, lake: MortalLake, clock: Clock, needs: int, slices: int) -> None:
        self.load_id = load_id
        self.needs = needs
        self.left = slices
        self.alive = True
        self.held: list[tuple[Permit, float]] = []
        registers = RegisterFile(cast(Any, lake), "permits/shop.json")
        self._pool = Pool(registers, "shop", clock=clock, sleep=lambda _: None, beats=False, process="")
        self._asks_at = self._looks_at = 0.0

    @property
    def is_over(self) -> bool:
        return not self.alive or not (self.left or self.held)

    def turn(self, now: float) -> None:
        """What it does in one second; it may be its end."""
        if not self.alive:
            return
        try:
            self._live(now)
        except Killed:
            self.alive, self.held = False, []

    def _live(self, now: float) -> None:
        for permit, until in [*self.held]:
            if now >= until or permit.is_lost():
                self.held.remove((permit, until))
                self._pool.end(permit)
        if self.left and now >= self._asks_at and sum(permit.count for permit, _ in self.held) + self.needs <= SIZE:
            given = self._pool.take(self.load_id, SIZE, needs=self.needs, wants=self.needs)
            self._asks_at = now + (1 if given else 4)
            if given is not None:
                self.left -= 1
                self.held.append((given, now + 5))
        if now >= self._looks_at:
            if not self.left and not self.held:
                self._pool.give_back(self.load_id)
            self._pool.look()
            self._looks_at = now + LOOK_SECONDS


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("mortal", "other"), [((3, 4), (1, 9)), ((1, 9), (3, 4)), ((2, 5), (3, 2))])
def test_permits_outlive_no_process_and_none_is_given_twice(
    mortal: tuple[int, int], other: tuple[int, int], late: bool
) -> None:
    for dies_at in count(1):
        clock, file = Clock(), Registry()
        its_lake = MortalLake(file, clock, dies_at, late=late)
        processes = [
            Process("mortal", its_lake, clock, *mortal),
            Process("other", MortalLake(file, clock), clock, *other),
        ]
        while clock.now < LIMIT_SECONDS and not all(process.is_over for process in processes):
            for process in processes:
                process.turn(clock.now)
                used = sum(permit.count for each in processes for permit, _ in each.held)
                assert used <= SIZE, (dies_at, clock.now)
            clock.now += 1
        assert all(process.is_over for process in processes), dies_at
        if processes[0].alive:
            break
    its_lake.dies_at = -1
    for _ in range(2 * int(LOOK_SECONDS)):
        for process in processes:
            process.turn(clock.now)
        clock.now += 1
    assert file.data is not None
    assert not Register.from_json(file.data)[0].holders
    assert not processes[0].left
    assert dies_at > 10
