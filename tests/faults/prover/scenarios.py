"""What is proved: each kind of load, broken at each of its storage operations in each of several ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hygge_engine.project.settings import RunType
from tests.faults.prover.jobs import LakeKind, Verb
from tests.faults.prover.nurse import Event, Worker
from tests.faults.prover.world import MANY_SLICES, ONE_SLICE, Load, World

ALL_LAKES: tuple[LakeKind, ...] = ("local", "adls", "onelake")
SERVED_LAKES: tuple[LakeKind, ...] = ("adls", "onelake")


@dataclass(frozen=True)
class Case:
    """A kind of load: what there is before it, and how it runs."""

    name: str
    run_type: RunType
    prepare: Callable[[World], None]
    slice_minutes: float = ONE_SLICE

    def begin(self, world: World) -> Load:
        """Everything up to the load in question."""
        self.prepare(world)
        world.slice_minutes = self.slice_minutes
        return world.new_load(self.run_type)


def _nothing_landed(world: World) -> None:
    world.source.put(*range(5))


def _some_landed(world: World) -> None:
    world.source.put(*range(5))
    world.load("incremental", unobserved=True)
    world.source.put(1, 3, 7)


def _changed(world: World) -> None:
    world.source.put(1, 3, 7)


def _some_reloaded(world: World) -> None:
    world.source.put(*range(5))
    world.load("full_drop", unobserved=True)
    world.source.put(1, 3, 7)
    world.source.remove(2)


def _all_gone(world: World) -> None:
    world.source.put(*range(3))
    world.load("full_drop", unobserved=True)
    world.source.remove(*range(3))


ONE_SLICE_CASES = (
    Case("initial", "incremental", _nothing_landed),
    Case("increment", "incremental", _some_landed),
    Case("first reload", "full_drop", _nothing_landed),
    Case("reload", "full_drop", _some_reloaded),
)
SLICED_CASES = tuple(
    Case(f"{case.name} in slices", case.run_type, case.prepare, MANY_SLICES) for case in ONE_SLICE_CASES
)
OVERTAKING_CASES = (
    Case("increment", "incremental", _changed),
    Case("reload", "full_drop", _changed),
    Case("increment in slices", "incremental", _changed, MANY_SLICES),
    Case("reload in slices", "full_drop", _changed, MANY_SLICES),
)
CASES = (*ONE_SLICE_CASES, *SLICED_CASES, Case("reload to nothing", "full_drop", _all_gone))


@dataclass(frozen=True)
class Operation:
    """One storage operation of a run without faults."""

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


@dataclass(frozen=True)
class Scenario:
    """``count`` gives the operations of the undisturbed run, ``points`` what is to be tried, ``run`` tries one point in
    a new world and raises Refuted where something is wrong."""

    name: str
    count: Callable[[World], list[Operation]]
    points: Callable[[list[Operation]], Iterator[Point]]
    run: Callable[[World, Point], None]
    lakes: tuple[LakeKind, ...] = ALL_LAKES
    world: dict[str, Any] = field(default_factory=dict)


def record(world: World, worker: Worker) -> list[Operation]:
    """The operations of a worker that nothing happens to."""
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


def conclude(world: World, *, rows_once: bool = True) -> None:
    """All is well, and the next load finds everything in order."""
    world.check(rows_once=rows_once)
    world.slice_minutes = ONE_SLICE
    world.source.put(2, 8)
    world.load()
    world.check(rows_once=rows_once)


def _count_load(case: Case) -> Callable[[World], list[Operation]]:
    def count(world: World) -> list[Operation]:
        load = case.begin(world)
        operations = record(world, world.deliver(load))
        conclude(world)
        return operations

    return count


def _before_and_after(operations: list[Operation]) -> Iterator[Point]:
    for operation in operations:
        for phase in ("before", "after"):
            yield Point(f"{operation.number}-{phase}", operation.number, phase)


def _each(operations: list[Operation]) -> Iterator[Point]:
    for operation in operations:
        yield Point(str(operation.number), operation.number)


def killed(case: Case) -> Scenario:
    """The worker is killed before or after an operation; the load is delivered again."""

    def run(world: World, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}, killed", _count_load(case), _before_and_after, run)


def abandoned(case: Case) -> Scenario:
    """The worker is killed and nobody delivers its load again; another load comes later, over a changed source."""

    def run(world: World, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.expire()
        world.source.put(0, 9)
        world.load()
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}, abandoned", _count_load(case), _before_and_after, run)


def haunted(case: Case, *, by_another_load: bool) -> Scenario:
    """The worker falls asleep before an operation, a successor does everything, then the zombie goes on."""

    def run(world: World, point: Point) -> None:
        load = case.begin(world)
        zombie = world.deliver(load)
        world.run_until(zombie, lambda event: (event.number, event.phase) == (point.number, "before"))
        if by_another_load:
            world.expire()
            world.source.put(0, 9)
            world.load()
            world.load("full_drop")
        else:
            world.finish(load)
        world.run(zombie)
        world.finish(load)
        conclude(world, rows_once=False)

    successor = "another load" if by_another_load else "its second delivery"
    return Scenario(f"{case.name}, asleep during {successor}", _count_load(case), _each, run)


def overtaken(case: Case) -> Scenario:
    """A load has finished without anybody knowing, the next one is under way, and then the first is delivered again."""

    def finish_unnoticed(world: World) -> Load:
        world.source.put(*range(4))
        early = world.new_load("incremental")
        world.run(world.deliver(early), lambda event: "die" if event.label == "slice" else "go")
        return early

    def count(world: World) -> list[Operation]:
        finish_unnoticed(world)
        return record(world, world.deliver(case.begin(world)))

    def run(world: World, point: Point) -> None:
        early = finish_unnoticed(world)
        load = case.begin(world)
        worker = world.deliver(load)
        world.run_until(worker, lambda event: (event.number, event.phase) == (point.number, "before"))
        world.finish(early)
        world.run(worker)
        world.finish(load)
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}, overtaking a finished load", count, _each, run)


def misled(case: Case) -> Scenario:
    """An operation takes effect, but the worker is told otherwise: 500, or nothing at all."""

    def points(operations: list[Operation]) -> Iterator[Point]:
        for operation in operations:
            yield Point(f"{operation.number}-500", operation.number, {"status": 500, "when": "after"})
            yield Point(f"{operation.number}-dropped", operation.number, {"drop": True, "when": "after"})

    def run(world: World, point: Point) -> None:
        load = case.begin(world)

        def choose(event: Event) -> Verb:
            if (event.number, event.phase) == (point.number, "before"):
                world.site.plan_fault(**point.detail)
            return "go"

        world.run(world.deliver(load), choose)
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}, answer lost", _count_load(case), points, run, SERVED_LAKES)


def unanswered(case: Case) -> Scenario:
    """The same for a verb of the local lake, which then fails for good: as if the budget of retries were spent."""

    def run(world: World, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, "after", "lose"))
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}, answer lost for good", _count_load(case), _each, run, ("local",))


SCENARIOS: tuple[Scenario, ...] = (
    *(killed(case) for case in CASES),
    *(abandoned(case) for case in CASES),
    *(haunted(case, by_another_load=False) for case in CASES),
    *(haunted(case, by_another_load=True) for case in CASES),
    *(overtaken(case) for case in OVERTAKING_CASES),
    *(misled(case) for case in CASES),
    *(unanswered(case) for case in CASES),
)
