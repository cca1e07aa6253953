"""Random schedules: loads and faults in an order that a seed decides, and that the same seed decides again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.prover.jobs import LakeKind, Verb
from tests.faults.prover.nurse import Event, Worker
from tests.faults.prover.scenario import Operation, Point, Scenario
from tests.faults.prover.world import MANY_SLICES, ONE_SLICE, Load, ProverWorld

# Seeds in one part of the work: half a minute.
PART_SEEDS = 25

# Workers that are alive at once, running or asleep.
WORKERS_LIMIT = 3

# Rows have ids below this, so that most changes meet a row that is there.
IDS = 8

# Steps of a schedule, at least and at most.
STEPS = (15, 40)

FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 500, "when": "after"},
    {"drop": True, "when": "after"},
    {"status": 500},
    {"status": 503, "retry_after": 0},
    {"status": 429, "retry_after": 0, "times": 2},
    {"status": 430, "code": "CapacityLimitExceeded"},
    {"drop": True},
    {"drop": True, "when": "during"},
)


def world_options(seed: int) -> dict[str, Any]:
    """The kind of world that a seed lives in."""
    chance = random.Random(f"world {seed}")
    store = chance.choice(("open_mirroring", "open_mirroring", "open_mirroring", "parquet"))
    options: dict[str, Any] = {
        "store": store,
        "seed": seed,
        "ticks": chance.choice(("always", "sometimes", "sometimes", "late")),
        "purge": chance.random() < 0.4,
        "slice_minutes": chance.choice((ONE_SLICE, MANY_SLICES)),
        "mirror_journal": chance.random() < 0.25 and store == "open_mirroring",
        "tracked": chance.random() < 0.3 and store == "open_mirroring",
        "ranges": chance.choice((0, 0, 3)),
    }
    compares = chance.random() < 0.3 and store == "open_mirroring" and not options["tracked"]
    return {**options, "compares": compares, "captured": options["tracked"] and seed % 2 == 0}


class Schedule:
    """One run of random steps in a world."""

    def __init__(self, world: ProverWorld, seed: int) -> None:
        self._world = world
        self._random = random.Random(f"schedule {seed}")
        self._workers: list[Worker] = []
        # A watermark sees no deletes: where rows are deleted, a reload has the last word, or what sees them.
        self._deletes = self._random.random() < 0.5
        self._fresh_id = IDS
        steps: dict[Callable[[], None], int] = {
            self._change: 3,
            self._begin: 3,
            self._deliver_again: 2,
            self._advance: 12,
            self._kill: 3,
            self._mislead: 4,
            self._pass_time: 1,
            self._cancel: 2,
            self._fold: 1,
            world.tick: 1,
        }
        self._steps, self._weights = list(steps), list(steps.values())

    def run(self) -> None:
        world = self._world
        world.source.put(*range(3))
        for _ in range(self._random.randint(*STEPS)):
            self._random.choices(self._steps, self._weights)[0]()
        self._wake_everybody()
        for load in list(world.loads.values()):
            world.expire()
            world.finish(load)
        world.expire()
        sees_deletes = world.tracked or world.compares
        world.load("full_drop" if self._deletes and not sees_deletes else None)
        world.check(rows_once=False)

    @property
    def _alive(self) -> list[Worker]:
        return [worker for worker in self._workers if not worker.event.is_end]

    def _change(self) -> None:
        source = self._world.source
        if self._deletes and self._random.random() < 0.3:
            source.remove(self._random.randrange(IDS))
        elif not self._deletes and self._random.random() < 0.2:
            # Where nothing newer comes after it, a late row is found by counting: this one is new.
            self._fresh_id += 1
            source.put_late(self._fresh_id)
        else:
            source.put(*self._random.sample(range(IDS), self._random.randint(1, 4)))

    def _begin(self) -> None:
        if len(self._alive) < WORKERS_LIMIT:
            run_type = self._random.choice(("incremental", "incremental", "full_drop"))
            if self._may_begin(reload=run_type == "full_drop"):
                self._deliver(self._world.new_load("full_drop" if run_type == "full_drop" else "incremental"))

    def _may_begin(self, *, reload: bool) -> bool:
        """Not a reload and another load at once where many steps are taken before either gets ahead: each would discard
        what the other has, for ever, because here the clock leaps ahead while one waits, past the other's time."""
        unsettled = [load for load in self._world.loads.values() if not load.settled]
        return not self._world.ranges or not any(reload or load.run_type == "full_drop" for load in unsettled)

    def _deliver_again(self) -> None:
        unsettled = [load for load in self._world.loads.values() if not load.settled]
        if unsettled and len(self._alive) < WORKERS_LIMIT:
            self._deliver(self._random.choice(unsettled))

    def _deliver(self, load: Load) -> None:
        self._workers.append(self._world.deliver(load))

    def _advance(self) -> None:
        if self._alive:
            worker = self._random.choice(self._alive)
            for _ in range(self._random.randint(1, 16)):
                if not worker.event.is_end:
                    self._world.step(worker)

    def _kill(self) -> None:
        if self._alive:
            self._world.step(self._random.choice(self._alive), "die")

    def _mislead(self) -> None:
        """A lost or refused response: of the service where there is one, of the lake itself where there is none."""
        stopped = [worker for worker in self._alive if worker.event.phase in ("before", "after")]
        if not stopped:
            return
        worker = self._random.choice(stopped)
        if self._world.site.kind == "local":
            verb: Verb = "refuse" if worker.event.phase == "before" else "lose"
            self._world.step(worker, verb)
        elif worker.event.phase == "before":
            fault = self._random.choice(FAULTS)
            self._world.note_fault(worker, fault)
            self._world.site.plan_fault(**fault)
            self._world.step(worker)

    def _pass_time(self) -> None:
        self._world.pass_time(self._random.choice((40.0, 130.0, 600.0)))

    def _cancel(self) -> None:
        unsettled = [load for load in self._world.loads.values() if not load.settled]
        if unsettled:
            load = self._random.choice(unsettled)
            self._world.cancel(load)
            # The next worker only releases it, though others may still be at work on it or asleep.
            load.closing = self._random.random() < 0.5

    def _fold(self) -> None:
        if len(self._alive) < WORKERS_LIMIT:
            self._workers.append(self._world.start(self._world.fold_job()))

    def _wake_everybody(self) -> None:
        """The sleepers continue in turns; some are killed instead."""
        doomed = {id(worker) for worker in self._alive if self._random.random() < 0.3}

        def choose(event: Event, worker: Worker) -> Verb:
            return "die" if id(worker) in doomed and self._random.random() < 0.2 else "go"

        while self._alive:
            worker = self._random.choice(self._alive)
            self._world.step(worker, choose(worker.event, worker))


def run_schedule(world: ProverWorld, point: Point) -> None:
    """Run the schedule of a seed."""
    Schedule(world, point.number).run()


def lake_of(seed: int) -> LakeKind:
    """Most schedules run on the local lake, where they are several times faster."""
    lakes: tuple[LakeKind, ...] = ("local", "local", "local", "dfs", "local", "local", "local", "onelake")
    return lakes[seed // PART_SEEDS % len(lakes)]


def schedule_parts(seeds: range) -> list[range]:
    """Seeds in parts of few; all seeds of a part have the same lake."""
    starts = range(seeds.start - seeds.start % PART_SEEDS, seeds.stop, PART_SEEDS)
    return [range(max(start, seeds.start), min(start + PART_SEEDS, seeds.stop)) for start in starts]


def schedules(seeds: range) -> Scenario:
    """The schedules of some seeds. A seed decides everything, its lake included."""

    def points(operations: list[Operation]) -> Iterator[Point]:
        for seed in seeds:
            yield Point(f"seed {seed}", seed)

    return Scenario(
        "random schedules",
        points,
        run_schedule,
        lakes=(lake_of(seeds.start),),
        world=lambda point: world_options(point.number),
    )
