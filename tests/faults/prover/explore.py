"""Runs a scenario at every one of its points and counts what survives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.prover.jobs import LakeKind
from tests.faults.prover.nurse import Nursery
from tests.faults.prover.scenarios import Point, Scenario
from tests.faults.prover.site import Site, open_site
from tests.faults.prover.world import World

# Failures of one scenario that are told in full; the others look much the same.
FAILURES_SHOWN = 3


@dataclass
class Outcome:
    """What became of one scenario on one kind of lake."""

    scenario: str
    lake: LakeKind
    points: int = 0
    survived: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass
class Bench:
    """A nursery and a site for each kind of lake, opened when first needed."""

    nursery: Nursery
    root: Path
    sabotage: str = ""

    @contextmanager
    def site(self, kind: LakeKind) -> Iterator[Site]:
        root = self.root / f"{kind}-{time.monotonic_ns()}"
        with open_site(kind, root) as site:
            yield site


def explore(bench: Bench, scenario: Scenario, kind: LakeKind, only: str = "") -> Outcome:
    """Try all points of a scenario, or the one of that name."""
    outcome = Outcome(scenario.name, kind)
    started = time.monotonic()
    with bench.site(kind) as site:

        def attempt(point: Point) -> None:
            world = World(bench.nursery, site, sabotage=bench.sabotage, **scenario.world)
            try:
                scenario.run(world, point)
                outcome.survived += 1
            except (AssertionError, RuntimeError) as error:
                story = "\n    ".join(world.trace)
                outcome.failures.append(f"{scenario.name} on {kind}, point {point.name}: {error}\n    {story}")
            finally:
                world.close()
            outcome.points += 1

        world = World(bench.nursery, site, **scenario.world)
        try:
            operations = scenario.count(world)
        finally:
            world.close()
        for point in scenario.points(operations):
            if not only or point.name == only:
                attempt(point)
    outcome.seconds = time.monotonic() - started
    return outcome
