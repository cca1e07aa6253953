"""Runs scenarios at all of their points and counts what survives, in several processes if there is much to do."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.faults.prover.jobs import LakeKind
from tests.faults.prover.loads import LOAD_SCENARIOS
from tests.faults.prover.nurse import Nursery, start_nursery
from tests.faults.prover.sabotage import SABOTAGES
from tests.faults.prover.scenario import Operation, Point, Scenario
from tests.faults.prover.schedules import lake_of, schedule_parts, schedules
from tests.faults.prover.site import Site, open_site
from tests.faults.prover.tables import Refuted
from tests.faults.prover.telemetry import TELEMETRY_SCENARIOS
from tests.faults.prover.world import ProverWorld

SCENARIOS: tuple[Scenario, ...] = (*LOAD_SCENARIOS, *TELEMETRY_SCENARIOS)

# Schedules within which a sabotage has to be noticed.
SABOTAGE_SEEDS = 100

# A world is a few dozen kilobytes and is removed at its end; a memory disk spares the syncs that a load asks for.
MEMORY_DISK = Path("/dev/shm")
MEMORY_DISK_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Unit:
    """A piece of work: a scenario on one kind of lake. ``seeds`` are those of random schedules. Of the points only the
    one called ``point`` is tried, or every ``stride``-th, or so many, evenly spread (``most``)."""

    scenario: str
    lake: LakeKind
    seeds: tuple[int, int] = (0, 0)
    point: str = ""
    stride: int = 1
    most: int = 0
    sabotage: str = ""

    @property
    def key(self) -> str:
        """A name for people and for the file of what is done."""
        seeds = f", seeds {self.seeds[0]} to {self.seeds[1] - 1}" if self.seeds[1] else ""
        return f"{self.scenario}{seeds} ({self.lake})"


@dataclass
class Outcome:
    """What became of a unit. ``failures`` show the whole story of each point that did not survive."""

    scenario: str
    lake: LakeKind
    points: int = 0
    survived: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def units(seeds: range) -> Iterator[Unit]:
    """All there is to do."""
    for scenario in SCENARIOS:
        for lake in scenario.lakes:
            yield Unit(scenario.name, lake)
    for part in schedule_parts(seeds):
        yield Unit(schedules(part).name, lake_of(part.start), (part.start, part.stop))


def explore(nursery: Nursery, root: Path, unit: Unit) -> Outcome:
    """Try the points of a unit."""
    scenario = _scenario_of(unit)
    outcome = Outcome(unit.scenario, unit.lake)
    started = time.monotonic()
    with open_site(unit.lake, root / f"site{time.monotonic_ns()}") as site:
        points = list(scenario.points(_count(nursery, site, scenario)))
        stride = max(unit.stride, -(-len(points) // unit.most)) if unit.most else unit.stride
        for point in points[(stride - 1) // 2 :: stride]:
            if unit.point in ("", point.name):
                failure = _try(nursery, site, scenario, point, unit.sabotage)
                outcome.points += 1
                outcome.survived += not failure
                if failure:
                    outcome.failures.append(f"{unit.key}, point {point.name}: {failure}")
                if failure and unit.sabotage:
                    break  # noticed
    outcome.seconds = time.monotonic() - started
    return outcome


def sabotaged(name: str) -> Unit:
    """The unit that has to notice a sabotage."""
    scenario = SABOTAGES[name].noticed_by
    if scenario == "random schedules":
        return Unit(scenario, "local", (0, SABOTAGE_SEEDS), sabotage=name)
    lakes = next(known.lakes for known in SCENARIOS if known.name == scenario)
    return Unit(scenario, lakes[0], sabotage=name)


def _scenario_of(unit: Unit) -> Scenario:
    if unit.seeds[1]:
        return schedules(range(*unit.seeds))
    return next(scenario for scenario in SCENARIOS if scenario.name == unit.scenario)


def _count(nursery: Nursery, site: Site, scenario: Scenario) -> list[Operation]:
    world = ProverWorld(nursery, site, **scenario.world(Point("count")))
    try:
        return scenario.count(world)
    finally:
        world.close()


def _try(nursery: Nursery, site: Site, scenario: Scenario, point: Point, sabotage: str) -> str:
    """The story of a point that does not survive; empty where all is well."""
    world = ProverWorld(nursery, site, sabotage=sabotage, **scenario.world(point))
    try:
        scenario.run(world, point)
    except Refuted as refuted:
        return "\n    ".join([str(refuted), *world.trace])
    except Exception as error:  # noqa: BLE001 - shown as a failure like any other, so that the rest is tried as well
        told = str(error) if sabotage else traceback.format_exc()
        return "\n    ".join([f"{type(error).__name__}: {told}", *world.trace])
    finally:
        world.close()
    return ""


_nursery: Nursery


def _settle_in() -> None:
    """Give a process of the pool a nursery of its own, which ends when the process does."""
    global _nursery
    silence_remarks()
    _nursery = start_nursery()
    atexit.register(_nursery.close)


def silence_remarks() -> None:
    """The replicator warns of every mirrored telemetry table; thousands of worlds have one."""
    logging.getLogger("devcloud.replicator").setLevel(logging.ERROR)


def _explore_in_pool(root: Path, unit: Unit) -> Outcome:
    return explore(_nursery, root, unit)


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for worlds, on a memory disk if there is one with some room."""
    roomy = MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > MEMORY_DISK_BYTES
    with tempfile.TemporaryDirectory(prefix="faults-", dir=MEMORY_DISK if roomy else None) as folder:
        yield Path(folder)


def explore_all(todo: Sequence[Unit], processes: int) -> Iterator[tuple[Unit, Outcome]]:
    """Explore units in several processes, and yield each with its outcome as it is done."""
    with (
        work_folder() as root,
        ProcessPoolExecutor(processes, get_context("spawn"), initializer=_settle_in) as pool,
    ):
        futures = {pool.submit(_explore_in_pool, root, unit): unit for unit in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
