"""Loads that die, fall asleep, are cancelled, overtake each other, or are misled about what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.faults.prover.jobs import LakeKind, StoreKind, Verb
from tests.faults.prover.nurse import Event
from tests.faults.prover.scenario import (
    CASES,
    EMPTYING_RELOAD,
    FILE_LAKES,
    FIRST_RELOAD,
    GOING_BACK,
    INCREMENT,
    INITIAL,
    LOCAL,
    LONG_RELOAD,
    LOST,
    LOST_CHANGES,
    MIRROR_LAKES,
    NEXT_CASES,
    ONELAKE,
    ONLY_LOST,
    OPEN_WINDOW,
    REBUILD,
    RELOAD,
    RELOAD_OVER_CHANGES,
    TRACKED_CHANGES,
    WHOLE_CASES,
    WINDOW,
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
from tests.faults.prover.tables import Refuted
from tests.faults.prover.world import Load, ProverWorld

# A row far ahead of the others in time.
BOUND_ROW, LEAP = 8, 10

# Ranges that a divided table has.
RANGES = 3


def killed(case: Case) -> Scenario:
    """The worker is killed before or after an operation; the load is delivered again."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}: killed", before_and_after, run, case.count, case.killed_on(MIRROR_LAKES))


def purged(case: Case) -> Scenario:
    """The same with a replicator that looks now and then, and deletes what it has taken at once."""
    scenario = killed(case)
    world = {"ticks": "sometimes", "purge": True}
    return Scenario(
        f"{case.name}: killed, published files purged",
        before_and_after,
        scenario.run,
        case.count,
        LOCAL,
        lambda point: {**world, "seed": point.number},
    )


def killed_twice(case: Case) -> Scenario:
    """The worker is killed, and the one that takes over as well, at each of its operations."""

    def points(operations: list[Operation]) -> Iterator[Point]:
        for operation in operations:
            for second in range(1, len(operations) + 1):
                yield Point(f"{operation.number}-{second}", operation.number, second)

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, "after", "die"))
        if not load.settled:
            world.run(world.deliver(load), at(point.detail, "before", "die"))
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}: killed twice", points, run, case.count, LOCAL)


def abandoned(case: Case) -> Scenario:
    """The worker is killed and its load is not delivered again; another load comes later, over a changed source."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.expire()
        world.source.put(0, 9)
        world.load("incremental")
        if case.deletes:
            world.load("full_drop")
        if any(case.window) and (point.number, point.detail) == (1, "before"):
            # It died before anything was written down, so that there is no record of the requested rows.
            world.finish(world.new_load("incremental", case.window))
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: abandoned", before_and_after, run, case.count, case.paused_on)


def asleep_while_delivered_again(case: Case) -> Scenario:
    """The worker falls asleep before an operation; its load is delivered again and ends; then the zombie continues."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        zombie = world.deliver(load)
        world.run_until(zombie, until(point.number))
        world.finish(load)
        world.run(zombie)
        conclude(world)

    return Scenario(f"{case.name}: asleep while delivered again", each, run, case.count, case.paused_on)


def asleep_while_others_load(case: Case) -> Scenario:
    """The same, but two other loads come by before the zombie continues; its load is delivered again at the very
    end."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        zombie = world.deliver(load)
        world.run_until(zombie, until(point.number))
        world.expire()
        world.source.put(0, 9)
        world.load()
        world.load("full_drop")
        world.run(zombie)
        world.finish(load)
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: asleep while others load", each, run, case.count, case.paused_on)


def awake_again(case: Case, stride: int = 1) -> Scenario:
    """A zombie wakes up before an operation of the worker to which its load was delivered again: each, or one in so
    many."""

    def points(operations: list[Operation]) -> Iterator[Point]:
        for operation in operations:
            for awake in range(1 + operation.number % stride, len(operations) + 2, stride):
                yield Point(f"{operation.number}-{awake}", operation.number, awake)

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        zombie = world.deliver(load)
        world.run_until(zombie, until(point.number))
        successor = world.deliver(load)
        world.run_until(successor, until(point.detail))
        world.run(zombie)
        world.run(successor)
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}: awake while delivered again", points, run, case.count, LOCAL)


def awake_in_a_reload(case: Case) -> Scenario:
    """A zombie sleeps until its load has long settled, and wakes up in the midst of a reload of the table."""

    def points(operations: list[Operation]) -> Iterator[Point]:
        for operation in operations:
            for awake in range(1 + operation.number % 2, 20, 2):  # a reload has as many operations
                yield Point(f"{operation.number}-{awake}", operation.number, awake)

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        zombie = world.deliver(load)
        world.run_until(zombie, until(point.number))
        world.finish(load)
        world.source.put(0, 9)
        reload = world.new_load("full_drop")
        worker = world.deliver(reload)
        world.run_until(worker, until(point.detail))
        world.run(zombie)
        world.run(worker)
        world.finish(reload)
        conclude(world)

    return Scenario(f"{case.name}: awake in a later reload", points, run, case.count, LOCAL)


def overtaking(case: Case) -> Scenario:
    """A load has finished unnoticed; it is delivered again during the next one."""

    def finish_unnoticed(world: ProverWorld) -> Load:
        world.source.put(*range(4))
        early = world.new_load("incremental")
        world.run(world.deliver(early), lambda event: "die" if event.label == "slice" else "go")
        return early

    def count(world: ProverWorld) -> list[Operation]:
        finish_unnoticed(world)
        return record(world, world.deliver(case.begin(world)))

    def run(world: ProverWorld, point: Point) -> None:
        early = finish_unnoticed(world)
        load = case.begin(world)
        worker = world.deliver(load)
        world.run_until(worker, until(point.number))
        world.finish(early)
        world.run(worker)
        world.finish(load)
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: overtaking a finished load", each, run, count, case.paused_on)


def cancelled(case: Case) -> Scenario:
    """The load is asked to stop before an operation; the next one continues from there."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        worker = world.deliver(load)
        world.run_until(worker, until(point.number))
        world.cancel(load)
        world.run(worker)
        world.finish(load)
        world.source.put(0, 9)
        world.load("incremental")
        if case.deletes:
            world.load("full_drop")
        conclude(world)

    return Scenario(f"{case.name}: cancelled", each, run, case.count, case.paused_on)


def cancelled_between(case: Case) -> Scenario:
    """The worker is killed after an operation, and the load is cancelled before it is delivered again: whatever phase
    it was in, it leaves a whole table without an owner, and the next load continues."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, "after", "die"))
        world.let_go(load)
        world.source.put(0, 9)
        world.load("incremental")
        if case.deletes:
            world.load("full_drop")
        conclude(world)

    return Scenario(f"{case.name}: cancelled between slices", each, run, case.count, case.paused_on)


def misled(case: Case) -> Scenario:
    """An operation takes effect, but the worker sees a failure: 500, or nothing at all."""

    faults: dict[str, dict[str, Any]] = {
        "500": {"status": 500, "when": "after"},
        "dropped": {"drop": True, "when": "after"},
    }

    def points(operations: list[Operation]) -> Iterator[Point]:
        for operation in operations:
            for name, fault in faults.items():
                yield Point(f"{operation.number}-{name}", operation.number, fault)

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), _with_fault(world, point.number, point.detail))
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}: response lost", points, run, case.count, case.killed_on(ONELAKE))


def misled_for_good(case: Case) -> Scenario:
    """The same without a retry: as if the budget of retries were spent."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, "after", "lose"))
        world.finish(load)
        conclude(world)

    return Scenario(f"{case.name}: response lost for good", each, run, case.count, LOCAL)


def _with_fault(world: ProverWorld, number: int, fault: dict[str, Any]) -> Callable[[Event], Verb]:
    def choose(event: Event) -> Verb:
        if (event.number, event.phase) == (number, "before"):
            world.site.plan_fault(**fault)
        return "go"

    return choose


def beside_a_window(case: Case) -> Scenario:
    """The worker is killed and its load is not delivered again; a window of rows is loaded again, then what is new."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.expire()
        world.source.correct(1, 7)
        world.finish(world.new_load("incremental", ("1", str(world.source.clock))))
        world.load("incremental")
        if case.deletes:
            world.load("full_drop")
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: a window beside it", before_and_after, run, case.count, case.paused_on)


def reloaded_over(case: Case) -> Scenario:
    """The worker is killed and its load is not delivered again; a reload comes, which has to stand alone."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.expire()
        world.source.put(0, 9)
        world.load("full_drop")
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: reloaded over", before_and_after, run, case.count, LOCAL)


def given_up_over(case: Case) -> Scenario:
    """The worker is killed and its load is not delivered again; a reload comes, and is cancelled while it reads: the
    next increment continues from where the first load had come to."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.expire()
        world.source.put(0, 9)
        reload = world.new_load("full_drop")
        world.run(world.deliver(reload), lambda event: "die" if event.label == "slice" else "go")
        world.let_go(reload)
        world.load("incremental")
        if case.deletes:
            world.load("full_drop")
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: a reload given up over it", before_and_after, run, case.count, LOCAL)


def taken_back(case: Case) -> Scenario:
    """The newest row, which the upper bound was made of, is deleted before an operation, and the worker killed there or
    not: the watermark never goes beyond what was read, so that whatever comes above that is new."""

    def begin(world: ProverWorld) -> Load:
        load = case.begin(world)
        world.source.put(BOUND_ROW, after=world.source.clock + LEAP)
        return load

    def count(world: ProverWorld) -> list[Operation]:
        return record(world, world.deliver(begin(world)))

    def points(operations: list[Operation]) -> Iterator[Point]:
        verbs: tuple[Verb, ...] = ("go", "die")
        for operation in operations:
            for verb in verbs:
                yield Point(f"{operation.number}-{verb}", operation.number, verb)

    def run(world: ProverWorld, point: Point) -> None:
        load = begin(world)
        worker = world.deliver(load)
        if world.run_until(worker, until(point.number)):
            world.source.remove(BOUND_ROW)
            world.step(worker, point.detail)
        world.run(worker)
        world.finish(load)
        mark = world.state.watermark if world.state else None
        reached, read = int(mark.value or 0) if mark else 0, max(row[2] for row in world.table.rows())
        if reached > read:
            raise Refuted(f"the watermark is {reached}, and nothing above {read} was read")
        world.source.put(9, after=reached)
        world.load("incremental")
        if 9 not in {row[0] for row in world.table.rows()}:
            raise Refuted(f"the row that came at {reached + 1} was not read")
        world.load("full_drop")
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: a bound taken back", points, run, count, LOCAL)


def reshaped(case: Case) -> Scenario:
    """The worker is killed, a column changes its type, and another load comes: no file brings both types."""

    def run(world: ProverWorld, point: Point) -> None:
        load = case.begin(world)
        world.run(world.deliver(load), at(point.number, point.detail, "die"))
        world.expire()
        world.source.narrow()
        world.source.put(0, 9)
        world.load("incremental")
        if case.deletes:
            world.load("full_drop")
        conclude(world, rows_once=False)

    return Scenario(f"{case.name}: another shape", before_and_after, run, case.count, LOCAL)


FILE_STORES: tuple[StoreKind, ...] = ("parquet", "delta")


def landing_in(store: StoreKind, scenario: Scenario, lakes: tuple[LakeKind, ...] = LOCAL) -> Scenario:
    """A scenario whose table lands in another store."""

    def world(point: Point) -> dict[str, Any]:
        return {**scenario.world(point), "store": store}

    return replace(scenario, name=f"{store}, {scenario.name}", lakes=lakes, world=world)


def _file_scenarios() -> Iterator[Scenario]:
    """What is tried with stores of files: all ways to die everywhere, the other faults on the local lake."""
    for case in CASES:
        yield landing_in("parquet", killed(case), FILE_LAKES)
    for case in (INITIAL, RELOAD, *(case.sliced for case in (INCREMENT, RELOAD)), EMPTYING_RELOAD):
        yield landing_in("delta", killed(case), FILE_LAKES)
    for case in (INITIAL, INCREMENT.sliced, RELOAD):
        for store in FILE_STORES:
            yield landing_in(store, abandoned(case))
            yield landing_in(store, asleep_while_delivered_again(case))
            yield landing_in(store, asleep_while_others_load(case))
            yield landing_in(store, cancelled(case))
            yield landing_in(store, cancelled_between(case))
            yield landing_in(store, misled_for_good(case))
        yield landing_in("parquet", misled(case), ("adls",))
    for case in (INITIAL.sliced, INCREMENT.sliced):
        for store in FILE_STORES:
            yield landing_in(store, given_up_over(case))
    yield landing_in("parquet", killed_twice(INCREMENT))
    yield landing_in("delta", killed_twice(INCREMENT))
    yield landing_in("parquet", awake_again(RELOAD.sliced, stride=4))
    yield landing_in("delta", awake_again(RELOAD.sliced, stride=4))


def following(scenario: Scenario, lakes: tuple[LakeKind, ...] = LOCAL) -> Scenario:
    """A scenario whose table follows Change Tracking, deletes included."""

    def world(point: Point) -> dict[str, Any]:
        return {**scenario.world(point), "tracked": True}

    return replace(scenario, name=f"tracked, {scenario.name}", lakes=lakes, world=world)


def _tracked_scenarios() -> Iterator[Scenario]:
    for case in (INITIAL.sliced, TRACKED_CHANGES, TRACKED_CHANGES.sliced, RELOAD):
        yield following(killed(case), MIRROR_LAKES if case is TRACKED_CHANGES else LOCAL)
        yield following(abandoned(case))
        yield following(asleep_while_others_load(case))
        yield following(cancelled(case))
        yield following(cancelled_between(case))
        yield following(misled_for_good(case))
        yield following(given_up_over(case))
    yield following(purged(TRACKED_CHANGES))
    yield following(killed_twice(TRACKED_CHANGES))
    yield following(awake_again(TRACKED_CHANGES.sliced, stride=4))


def captured(scenario: Scenario) -> Scenario:
    """A scenario whose table follows change data capture: rows as they were at the LSN that a load goes up to."""

    def world(point: Point) -> dict[str, Any]:
        return {**scenario.world(point), "tracked": True, "captured": True}

    return replace(scenario, name=f"captured, {scenario.name}", lakes=LOCAL, world=world)


def _captured_scenarios() -> Iterator[Scenario]:
    for case in (INITIAL.sliced, TRACKED_CHANGES.sliced, RELOAD):
        for fault in (killed, abandoned, asleep_while_others_load, cancelled, given_up_over):
            yield captured(fault(case))
    yield captured(killed_twice(TRACKED_CHANGES))
    for fault in (killed, abandoned, asleep_while_others_load):
        yield captured(once_known(fault(LOST_CHANGES.sliced)))
    yield captured(landing_in("history", killed(TRACKED_CHANGES.sliced)))


def once_known(scenario: Scenario) -> Scenario:
    """A scenario without what happens before its load's first operation, which is to write down what it has found."""

    def points(operations: list[Operation]) -> Iterator[Point]:
        return (point for point in scenario.points(operations) if (point.number, point.detail) != (1, "before"))

    return replace(scenario, points=points)


def _lost_scenarios() -> Iterator[Scenario]:
    """The source counts on meanwhile, so that the landing state alone knows what was lost."""
    for case in (LOST_CHANGES, LOST_CHANGES.sliced):
        for fault in (killed, abandoned, given_up_over, asleep_while_others_load, cancelled, cancelled_between):
            yield following(once_known(fault(case)))
            yield by_difference(following(once_known(fault(case))))
    yield following(killed_twice(LOST_CHANGES))


def by_difference(scenario: Scenario, lakes: tuple[LakeKind, ...] = LOCAL) -> Scenario:
    """A scenario whose reloads land what differs: its table is never dropped."""

    def world(point: Point) -> dict[str, Any]:
        return {**scenario.world(point), "difference": True}

    return replace(scenario, name=f"difference, {scenario.name}", lakes=lakes, world=world)


def _difference_scenarios() -> Iterator[Scenario]:
    yield by_difference(killed(RELOAD), MIRROR_LAKES)
    for case in (RELOAD.sliced, EMPTYING_RELOAD, INITIAL.sliced, INCREMENT.sliced):
        yield by_difference(killed(case))
    for case in (RELOAD.sliced, RELOAD_OVER_CHANGES.sliced):
        yield by_difference(abandoned(case))
    for fault in (asleep_while_delivered_again, asleep_while_others_load, cancelled, cancelled_between):
        yield by_difference(fault(RELOAD.sliced))
    for fault in (given_up_over, reloaded_over):
        yield by_difference(fault(INCREMENT.sliced))
    yield by_difference(misled(RELOAD), ONELAKE)
    yield by_difference(misled_for_good(RELOAD.sliced))
    yield by_difference(purged(RELOAD))
    yield by_difference(killed_twice(RELOAD))
    yield by_difference(awake_again(RELOAD))
    yield by_difference(following(killed(RELOAD)))


def _history_scenarios() -> Iterator[Scenario]:
    for case in (INCREMENT, INITIAL.sliced, RELOAD.sliced, EMPTYING_RELOAD):
        yield landing_in("history", killed(case), MIRROR_LAKES if case is INCREMENT else LOCAL)
        yield landing_in("history", abandoned(case))
    for fault in (asleep_while_delivered_again, asleep_while_others_load, cancelled, given_up_over, reloaded_over):
        yield landing_in("history", fault(INCREMENT.sliced))
    yield landing_in("history", misled_for_good(RELOAD.sliced))
    yield landing_in("history", killed_twice(INCREMENT))
    for case in (TRACKED_CHANGES, TRACKED_CHANGES.sliced):
        yield following(landing_in("history", killed(case)))
        yield following(landing_in("history", cancelled_between(case)))


def comparing(scenario: Scenario, lakes: tuple[LakeKind, ...] = LOCAL) -> Scenario:
    """A scenario whose increments are followed by comparisons of keys."""

    def world(point: Point) -> dict[str, Any]:
        return {**scenario.world(point), "compares": True}

    return replace(scenario, name=f"comparing, {scenario.name}", lakes=lakes, world=world)


def _comparing_scenarios() -> Iterator[Scenario]:
    yield comparing(killed(LOST), MIRROR_LAKES)
    for case in (LOST.sliced, ONLY_LOST, ONLY_LOST.sliced, INITIAL.sliced):
        yield comparing(killed(case))
    for fault in (abandoned, asleep_while_delivered_again, asleep_while_others_load, cancelled, cancelled_between):
        yield comparing(fault(LOST.sliced))
        yield comparing(fault(ONLY_LOST))
    for fault in (given_up_over, reloaded_over, beside_a_window, reshaped, awake_in_a_reload):
        yield comparing(fault(LOST.sliced))
    yield comparing(misled(LOST), ONELAKE)
    yield comparing(misled_for_good(LOST.sliced))
    yield comparing(purged(LOST.sliced))
    yield comparing(killed_twice(LOST))
    for fault in (killed, abandoned, asleep_while_others_load):
        yield comparing(landing_in("history", fault(LOST.sliced)))
    yield comparing(landing_in("history", killed(ONLY_LOST)))
    yield comparing(awake_again(LOST.sliced, stride=3))


def divided(scenario: Scenario, lakes: tuple[LakeKind, ...] = LOCAL) -> Scenario:
    """A scenario whose loads are read in ranges where they can be."""

    def world(point: Point) -> dict[str, Any]:
        return {**scenario.world(point), "ranges": RANGES}

    return replace(scenario, name=f"divided, {scenario.name}", lakes=lakes, world=world)


def _divided_scenarios() -> Iterator[Scenario]:
    """Every way to die, to fall asleep, to overtake and to be misled, of range workers and publishers alike."""
    for case in (INITIAL, FIRST_RELOAD, RELOAD, INITIAL.sliced, RELOAD.sliced, OPEN_WINDOW, EMPTYING_RELOAD):
        yield divided(killed(case), MIRROR_LAKES if case in (INITIAL, RELOAD) else LOCAL)
        yield divided(abandoned(case))
        yield divided(asleep_while_delivered_again(case))
        yield divided(asleep_while_others_load(case))
        yield divided(cancelled(case))
        yield divided(cancelled_between(case))
        yield divided(misled_for_good(case))
    for case in (INITIAL.sliced, RELOAD.sliced):
        yield divided(misled(case), ONELAKE)
        yield divided(purged(case))
        yield divided(killed_twice(case))
        yield divided(awake_again(case, stride=3))
        yield divided(awake_in_a_reload(case))
        yield divided(beside_a_window(case))
        yield divided(reloaded_over(case))
        yield divided(given_up_over(case))
        yield divided(reshaped(case))
        yield divided(taken_back(case))
        for store in FILE_STORES:
            for scenario in (killed, abandoned, asleep_while_delivered_again, asleep_while_others_load, cancelled):
                yield divided(landing_in(store, scenario(case)))
    yield divided(following(killed(INITIAL.sliced)))
    yield divided(following(asleep_while_others_load(INITIAL)))
    yield divided(killed(REBUILD.sliced))


LOAD_SCENARIOS: tuple[Scenario, ...] = (
    *(killed(case) for case in CASES),
    *(purged(case) for case in CASES),
    *(killed_twice(case) for case in (INCREMENT, RELOAD)),
    *(abandoned(case) for case in (*CASES, RELOAD_OVER_CHANGES, RELOAD_OVER_CHANGES.sliced)),
    *(asleep_while_delivered_again(case) for case in CASES),
    *(asleep_while_others_load(case) for case in CASES),
    *(awake_again(case) for case in WHOLE_CASES),
    *(awake_again(case.sliced, stride=4) for case in (INCREMENT, RELOAD)),
    *(awake_in_a_reload(case) for case in (INITIAL, RELOAD)),
    *(overtaking(case) for case in (*NEXT_CASES, *(case.sliced for case in NEXT_CASES))),
    *(cancelled(case) for case in CASES),
    *(cancelled_between(case) for case in CASES),
    *(misled(case) for case in CASES),
    *(misled_for_good(case) for case in CASES),
    *(scenario(LONG_RELOAD) for scenario in (killed, abandoned, cancelled)),
    *(scenario(WINDOW.sliced) for scenario in (killed, abandoned, asleep_while_others_load, cancelled)),
    *(scenario(OPEN_WINDOW) for scenario in (killed, misled_for_good)),
    *(beside_a_window(case.sliced) for case in (INITIAL, INCREMENT, RELOAD, WINDOW)),
    *(reloaded_over(case.sliced) for case in (INITIAL, INCREMENT, RELOAD, WINDOW)),
    *(given_up_over(case.sliced) for case in (INITIAL, INCREMENT, RELOAD)),
    *(reshaped(case.sliced) for case in (INITIAL, INCREMENT, RELOAD, WINDOW)),
    *(taken_back(case) for case in (INITIAL.sliced, INCREMENT.sliced, RELOAD.sliced)),
    *(scenario(REBUILD.sliced) for scenario in (killed, abandoned, cancelled)),
    *(scenario(GOING_BACK.sliced) for scenario in (killed, abandoned, asleep_while_others_load, cancelled)),
    *_file_scenarios(),
    *_tracked_scenarios(),
    *_captured_scenarios(),
    *_lost_scenarios(),
    *_difference_scenarios(),
    *_history_scenarios(),
    *_comparing_scenarios(),
    *_divided_scenarios(),
)
