"""What a scenario is: a load, the ways to break it, and what to do about it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hygge_engine.project.models.settings import RunType
from tests.faults.prover.jobs import LakeKind, Verb
from tests.faults.prover.nurse import Event, Worker
from tests.faults.prover.world import MANY_SLICES, ONE_SLICE, Load, ProverWorld

# Where mirrored tables are tried: storage services look alike to the engine, and Fabric's mirrors are in OneLake.
# Stores of files are tried in ADLS as well.
MIRROR_LAKES: tuple[LakeKind, ...] = ("local", "onelake")
FILE_LAKES: tuple[LakeKind, ...] = ("local", "adls", "onelake")
LOCAL: tuple[LakeKind, ...] = ("local",)
ONELAKE: tuple[LakeKind, ...] = ("onelake",)
FOREIGN: tuple[LakeKind, ...] = ("dfs",)


@dataclass(frozen=True)
class Operation:
    """One storage operation of a run without faults. ``label`` begins with its verb."""

    number: int
    label: str

    @property
    def verb(self) -> str:
        return self.label.split(" ", 1)[0]


@dataclass(frozen=True)
class Point:
    """Where and how a run is broken. ``name`` is for people, and for asking for this one again."""

    name: str
    number: int = 0
    detail: Any = None


def _no_operations(world: ProverWorld) -> list[Operation]:
    return []


def _plain_world(point: Point) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Scenario:
    """``points`` gives what is to be tried, from the operations of the undisturbed run, which ``count`` records.

    ``run`` tries one point in a new world (made with ``world``) and raises Refuted where something is wrong.
    """

    name: str
    points: Callable[[list[Operation]], Iterator[Point]]
    run: Callable[[ProverWorld, Point], None]
    count: Callable[[ProverWorld], list[Operation]] = _no_operations
    lakes: tuple[LakeKind, ...] = MIRROR_LAKES
    world: Callable[[Point], dict[str, Any]] = _plain_world


@dataclass(frozen=True)
class Case:
    """A kind of load: what there is before it, and how it runs. ``deletes``: rows have gone from the source, which
    increments do not see. ``foreign``: tried on a service that is not ours as well. ``window`` bounds the rows that are
    loaded again."""

    name: str
    run_type: RunType
    prepare: Callable[[ProverWorld], None]
    slice_minutes: float = ONE_SLICE
    deletes: bool = False
    foreign: bool = False
    window: tuple[str, str] = ("", "")

    def begin(self, world: ProverWorld) -> Load:
        """Everything up to the load in question."""
        self.prepare(world)
        world.slice_minutes = self.slice_minutes
        return world.new_load(self.run_type, self.window)

    def count(self, world: ProverWorld) -> list[Operation]:
        """The operations of the load when nothing happens to it."""
        load = self.begin(world)
        operations = record(world, world.deliver(load))
        conclude(world)
        return operations

    def killed_on(self, ours: tuple[LakeKind, ...]) -> tuple[LakeKind, ...]:
        """Where it is killed and misled at every operation: on lakes of ours, and the foreign one if it should be."""
        return (*ours, *FOREIGN) if self.foreign else ours

    @property
    def paused_on(self) -> tuple[LakeKind, ...]:
        """Where the scenarios are tried that are about the order of things between several loads: that order is the
        landing protocol's business, not the lake's, so one of each kind of load is enough where requests are slow."""
        return MIRROR_LAKES if self.foreign else LOCAL

    @property
    def sliced(self) -> Case:
        """The same with slices that end after their first batch."""
        return replace(self, name=f"{self.name} in slices", slice_minutes=MANY_SLICES, foreign=False)


def _prepare_nothing(world: ProverWorld) -> None:
    world.source.put(*range(5))


def _prepare_rows(world: ProverWorld) -> None:
    world.source.put(*range(5))
    world.load("incremental", unobserved=True)
    world.source.put(1, 3, 7)


def _prepare_reload(world: ProverWorld) -> None:
    world.source.put(*range(5))
    world.load("full_drop", unobserved=True)
    world.source.put(1, 3, 7)
    world.source.remove(2)


def _prepare_emptied(world: ProverWorld) -> None:
    world.source.put(*range(3))
    world.load("full_drop", unobserved=True)
    world.source.remove(*range(3))


def _prepare_tracked(world: ProverWorld) -> None:
    world.source.put(*range(6))
    world.load("incremental", unobserved=True)
    world.source.remove(2, 4)
    world.source.put(1, 3, 4, 7)
    world.source.remove(3)


def _prepare_lost(world: ProverWorld) -> None:
    world.source.put(*range(6))
    world.load("incremental", unobserved=True)
    world.source.put(1, 3, 7)
    world.source.remove(0, 2, 5)


def _prepare_only_lost(world: ProverWorld) -> None:
    world.source.put(*range(5))
    world.load("incremental", unobserved=True)
    world.source.remove(0, 2)


def _prepare_forgotten(world: ProverWorld) -> None:
    world.source.put(*range(6))
    world.load("incremental", unobserved=True)
    world.source.lose(2, 4)


def _prepare_changes(world: ProverWorld) -> None:
    world.source.put(1, 3, 7)


def _prepare_many(world: ProverWorld) -> None:
    world.source.put(*range(5))
    world.load("full_drop", unobserved=True)
    world.source.put(*range(2 * MANY))


def _prepare_window(world: ProverWorld) -> None:
    """Three changes, of which the middle one and the last, at the watermark, have been corrected in silence."""
    for ids in ((0, 1), (2, 3, 4), (5, 6, 7)):
        world.source.put(*ids)
    world.load("incremental", unobserved=True)
    world.source.correct(3, 5, 6)


def _prepare_restored(world: ProverWorld) -> None:
    """A long history, and then a source that knows nothing of it."""
    for id_ in range(20):
        world.source.put(id_ % 7)
    world.load("incremental", unobserved=True)
    world.source.restore(1, 3, 7)


def _prepare_retyped(world: ProverWorld) -> None:
    world.source.put(*range(5))
    world.load("incremental", unobserved=True)
    world.source.narrow()
    world.source.put(1, 3, 7)


# More slices than an orchestrator lets go by in which nothing moves.
MANY = 23

INITIAL = Case("initial", "incremental", _prepare_nothing, foreign=True)
INCREMENT = Case("increment", "incremental", _prepare_rows, foreign=True)
FIRST_RELOAD = Case("first reload", "full_drop", _prepare_nothing)
RELOAD = Case("reload", "full_drop", _prepare_reload, deletes=True, foreign=True)
EMPTYING_RELOAD = Case("reload to nothing", "full_drop", _prepare_emptied, deletes=True)
RELOAD_OVER_CHANGES = Case("reload over changes", "full_drop", _prepare_rows)
LONG_RELOAD = Case("long reload", "full_drop", _prepare_many).sliced
WINDOW = Case("window", "incremental", _prepare_window, window=("2", "3"))
OPEN_WINDOW = Case("open window", "incremental", _prepare_window, window=("2", ""))
GOING_BACK = Case("going back", "incremental", _prepare_restored)
REBUILD = Case("rebuild", "incremental", _prepare_retyped)
TRACKED_CHANGES = Case("changes", "incremental", _prepare_tracked)
LOST = Case("rows lost", "incremental", _prepare_lost)
ONLY_LOST = Case("nothing but rows lost", "incremental", _prepare_only_lost)
LOST_CHANGES = Case("lost changes", "incremental", _prepare_forgotten)
WHOLE_CASES = (INITIAL, INCREMENT, FIRST_RELOAD, RELOAD)
CASES = (*WHOLE_CASES, *(case.sliced for case in WHOLE_CASES), EMPTYING_RELOAD)

# Loads over changes alone, for scenarios that land something before by themselves.
NEXT_CASES = (Case("increment", "incremental", _prepare_changes), Case("reload", "full_drop", _prepare_changes))


def record(world: ProverWorld, worker: Worker) -> list[Operation]:
    """Let a worker run to its end and return its operations."""
    operations: list[Operation] = []

    def choose(event: Event) -> Verb:
        if event.phase == "before":
            operations.append(Operation(event.number, event.label))
        return "go"

    world.run(worker, choose)
    return operations


def at(number: int, phase: str, verb: Verb) -> Callable[[Event], Verb]:
    """Go on everywhere but at one operation."""

    def choose(event: Event) -> Verb:
        return verb if (event.number, event.phase) == (number, phase) else "go"

    return choose


def until(number: int) -> Callable[[Event], bool]:
    """Whether a worker is about to begin an operation."""
    return lambda event: (event.number, event.phase) == (number, "before")


def before_and_after(operations: list[Operation]) -> Iterator[Point]:
    """Two points for each operation."""
    for operation in operations:
        for phase in ("before", "after"):
            yield Point(f"{operation.number}-{phase}", operation.number, phase)


def each(operations: list[Operation]) -> Iterator[Point]:
    """A point for each operation."""
    for operation in operations:
        yield Point(str(operation.number), operation.number)


def conclude(world: ProverWorld, *, rows_once: bool = True) -> None:
    """All is well, and the next load finds everything in order."""
    world.check(rows_once=rows_once)
    world.slice_minutes = ONE_SLICE
    world.source.put(2, 8)
    world.load()
    world.check(rows_once=rows_once)
