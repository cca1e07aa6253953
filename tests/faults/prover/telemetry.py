"""The end of a load: its journal rows, the fold of the journal, and the mirrored tables about the loads themselves."""

from __future__ import annotations

from typing import Any

from tests.faults.prover.jobs import Job
from tests.faults.prover.scenario import (
    INCREMENT,
    INITIAL,
    LOCAL,
    MIRROR_LAKES,
    Case,
    Operation,
    Point,
    Scenario,
    at,
    before_and_after,
    conclude,
    each,
    record,
    until,
)
from tests.faults.prover.world import ProverWorld


def _mirrored(point: Point) -> dict[str, Any]:
    return {"mirror_journal": True}


def settled(case: Case) -> Scenario:
    """A load with mirrored telemetry is killed before or after any operation, those of its settling included."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name} with telemetry: killed", before_and_after, run, case.count, MIRROR_LAKES, _mirrored)


def settled_asleep(case: Case) -> Scenario:
    """The worker falls asleep, in the settling as well; everything is done again without it; then it continues."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        zombie = world.deliver(load)
        world.run_until(zombie, until(point.number))
        world.expire()
        world.finish(load)
        world.source.put(0, 9)
        world.load()
        world.run(zombie)
        conclude(world)

    name = f"{case.name} with telemetry: asleep while delivered again"
    return Scenario(name, each, run, case.count, LOCAL, _mirrored)


def _restore_an_older_journal(world: ProverWorld) -> None:
    """Two loads, of which the journal loses the second: as if it had been restored from a copy."""
    world.source.put(*range(5))
    world.load("incremental", unobserved=True)
    world.fold()
    older = world.journal_file.read_bytes()
    world.source.put(1, 3)
    forgotten = world.load("incremental", unobserved=True)
    world.fold()
    world.source.put(4)
    world.load("incremental", unobserved=True)
    world.journal_file.write_bytes(older)
    world.forget(forgotten)
    world.source.put(3, 7)


def republished() -> Scenario:
    """The mirrored telemetry is replaced as a whole, because the journal was; the load is killed meanwhile."""
    case = Case("restored journal", "incremental", _restore_an_older_journal)

    def count(world: ProverWorld) -> list[Operation]:
        operations = record(world, world.deliver(case.begin(world)))
        world.finish(world.newest)
        conclude(world, rows_once=False)
        return operations

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.finish(load)
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: killed", before_and_after, run, count, LOCAL, _mirrored)


def folded(*, asleep: bool) -> Scenario:
    """The fold is killed at every operation and done again; or it falls asleep while others load and fold."""

    def prepare(world: ProverWorld) -> Job:
        for ids in ((1, 2), (2, 3), (4,)):
            world.source.put(*ids)
            world.load("incremental", unobserved=True)
        return world.fold_job()

    def count(world: ProverWorld) -> list[Operation]:
        return record(world, world.start(prepare(world)))

    def run(world: ProverWorld, point: Point) -> None:
        worker = world.start(prepare(world))
        if asleep:
            world.run_until(worker, until(point.number))
            world.source.put(0, 9)
            world.load()
            world.fold()
            world.source.put(1)
            world.load()
            world.run(worker)
        else:
            world.run(worker, at(point.number, point.detail, "die"))
            world.fold()
        conclude(world)

    name = "fold: asleep while others fold" if asleep else "fold: killed"
    return Scenario(name, each if asleep else before_and_after, run, count, MIRROR_LAKES, _mirrored)


TELEMETRY_SCENARIOS: tuple[Scenario, ...] = (
    *(settled(case) for case in (INITIAL, INCREMENT)),
    *(settled_asleep(case) for case in (INITIAL, INCREMENT)),
    republished(),
    folded(asleep=False),
    folded(asleep=True),
)
