"""Lanes that take tables from one board, in any order of their operations, with a fault at any of these: no two of them
take the same table, and one that nobody takes is known to the load as not reported."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hygge_engine.errors import LakeConditionNotMet, LakeNotFound, LakeUnavailable
from hygge_engine.lake.base import Lake
from hygge_engine.orchestration.board import Board
from hygge_engine.orchestration.lanes import Group
from hygge_engine.orchestration.places import JournalPlace
from tests.faults.turns import Turns
from tests.support.orchestration_answers import plan

TABLES = 6
PLAN = plan(TABLES)["entities"]
EVERYTHING = Group("db", 1)

# Deliveries by lane: what comes twice takes the same turns, at its own pace.
ONCE = ["lane-1", "lane-2", "lane-3"]
TWICE = ["lane-1", "lane-1", "lane-1", "lane-2"]

# What happens at one operation: its process dies before or after it; its response is lost, so that the lane fails and
# comes again, or the client repeats it.
FAULTS = ["dies before", "dies after", "fails after", "repeated"]

# Turns after which a lane that finds no end never will, and operations that a world of this size never needs.
TURNS_LIMIT, OPERATIONS_LIMIT = 50, 500


class Died(Exception):
    """A process has died."""


class Files:
    """A lake in memory, of which each operation waits for its turn. ``fault`` happens at the ``at``-th of them."""

    def __init__(self, turns: Turns, fault: str, at: int) -> None:
        self.operations = 0
        self._turns = turns
        self._fault = fault
        self._at = at
        self._files: dict[str, bytes] = {}

    def read(self, path: str) -> Any:
        return self._do(partial(self._read, path))

    def put(self, path: str, data: bytes, *, if_absent: bool = False) -> str:
        return cast(str, self._do(partial(self._put, path, data, if_absent)))

    def delete(self, path: str) -> bool:
        return bool(self._do(lambda: self._files.pop(path, None)))

    def list(self, directory: str) -> Iterator[Any]:
        names = [path.rpartition("/")[2] for path in self._do(lambda: list(self._files)) if path.startswith(directory)]
        return (SimpleNamespace(name=name) for name in names)

    def _read(self, path: str) -> Any:
        if path not in self._files:
            raise LakeNotFound(path)
        return SimpleNamespace(data=self._files[path])

    def _put(self, path: str, data: bytes, if_absent: bool) -> str:
        if if_absent and path in self._files:
            raise LakeConditionNotMet(path)
        self._files[path] = data
        return "etag"

    def _do(self, operation: Any) -> Any:
        name = self._turns.name
        if name is None:
            return operation()  # before any lane has begun
        self._turns.take(name)
        self.operations += 1
        assert self.operations < OPERATIONS_LIMIT
        if self.operations != self._at:
            return operation()
        if self._fault == "dies before":
            raise Died
        first = operation()
        if self._fault == "dies after":
            raise Died
        if self._fault == "fails after":
            raise LakeUnavailable("The response was lost.")
        assert self._fault == "repeated", first
        self._turns.take(name)
        return operation()


class World:
    """Deliveries of some lanes at once. ``taken`` is what each turn has returned, of all of its deliveries."""

    def __init__(self, seed: int, deliveries: list[str], fault: str = "", at: int = 0) -> None:
        self.turns = Turns(seed)
        self.files = Files(self.turns, fault, at)
        self.taken: dict[tuple[str, int], set[str]] = {}
        self._new_board().write(PLAN)
        processes = [self._process() for _ in range(Random(seed).randint(1, len(deliveries)))]
        parties = [(lane, number % len(processes)) for number, lane in enumerate(deliveries)]
        self.turns.run(
            {
                f"{lane} {number}": partial(self._deliver, lane, process, processes)
                for number, (lane, process) in enumerate(parties)
            }
        )

    def _new_board(self) -> Board:
        place = SimpleNamespace(lake=cast(Lake, self.files), progress=SimpleNamespace(board_folder=lambda _: "board"))
        return Board(cast(JournalPlace, place), "load-1", "b")

    def _process(self) -> Board:
        """A process that has read the plan: two lanes in it may take at once."""
        board = self._new_board()
        assert board.take("nobody", 0, Group("nothing", 1)) is None
        return board

    def _deliver(self, lane: str, number: int, processes: list[Board]) -> None:
        """Run a lane to its end; in another process where the one that it was in has died."""
        turn = 1
        for _ in range(TURNS_LIMIT):
            try:
                entity = processes[number].take(lane, turn, EVERYTHING)
            except LakeUnavailable:
                continue
            except Died:
                processes[number] = self._process()
                continue
            if entity is None:
                return
            self.taken.setdefault((lane, turn), set()).add(entity["entity"])
            turn += 1
        raise AssertionError(f"{lane} has no end")

    def check(self, *, most_left: int) -> None:
        """Each turn has one table, each table one turn; so many may be left to the load at most."""
        assert all(len(entities) == 1 for entities in self.taken.values()), self.taken
        tables = [entity for entities in self.taken.values() for entity in entities]
        assert len(tables) == len(set(tables)), self.taken
        assert TABLES - len(tables) <= most_left, self.taken


@pytest.mark.parametrize("seed", range(10))
def test_lanes_that_take_at_once_take_everything_once(seed: int) -> None:
    World(seed, ONCE).check(most_left=0)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("deliveries", [ONCE, TWICE], ids=["once", "twice"])
def test_no_fault_at_any_operation_lets_two_lanes_take_one_table(deliveries: list[str], fault: str) -> None:
    at = 0
    while True:
        at += 1
        worlds = [World(1_000 * order + at, deliveries, fault, at) for order in range(3)]
        for world in worlds:
            world.check(most_left=len(deliveries))
        if all(world.files.operations < at for world in worlds):
            break
    assert at > 3 * TABLES
