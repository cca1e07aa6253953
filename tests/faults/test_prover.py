"""A part of ``make faults``: every scenario at a few points, some random schedules, and proof that it notices
sabotage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.prover.explore import SCENARIOS, Unit, explore, sabotaged, work_folder
from tests.faults.prover.nurse import Nursery, start_nursery
from tests.faults.prover.sabotage import SABOTAGES
from tests.faults.prover.schedules import lake_of

# Points of each scenario, from its middle; ``make faults`` tries them all.
POINTS = 1

# Of divided tables, of change data capture, of reloads by difference, of histories and of comparisons of keys, which
# have as many scenarios as all others together, so few: random schedules have some of the first and the last besides.
FEW = (
    "difference, reload in slices: killed",
    "difference, increment in slices: killed",
    "history, reload in slices: killed",
    "comparing, rows lost in slices: asleep while others load",
    "captured, changes in slices: killed",
    "captured, lost changes in slices: killed",
    "divided, initial in slices: awake while delivered again",
    "divided, reload: killed",
    "divided, initial: asleep while others load",
)
# Of the others every sixth: what is done to a load is nearly the same for each kind of load. Of changes that were lost
# none: `test_gaps.py` is faster.
_MANY = (
    *("captured, ", "divided, ", "difference, ", "history, ", "comparing, "),
    *("tracked, history, ", "tracked, lost changes"),
)
SAMPLED = [each.name for each in SCENARIOS if not each.name.startswith(_MANY)][::6] + list(FEW)

# One seed on each kind of lake (`schedules.lake_of`).
SEEDS = (*range(8), 75, 175)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = start_nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with work_folder() as root:
        yield root


@pytest.mark.parametrize("name", SAMPLED)
def test_a_scenario_survives(nursery: Nursery, root: Path, name: str) -> None:
    lakes = next(scenario.lakes for scenario in SCENARIOS if scenario.name == name)
    # The storage services take several times as long as a directory, and one after the other sees them all.
    lake = lakes[sum(name.encode()) % len(lakes)]
    outcome = explore(nursery, root, Unit(name, lake, most=POINTS))
    assert outcome.points
    assert not outcome.failures, "\n".join(outcome.failures)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_schedule_survives(nursery: Nursery, root: Path, seed: int) -> None:
    outcome = explore(nursery, root, Unit("random schedules", lake_of(seed), (seed, seed + 1)))
    assert not outcome.failures, "\n".join(outcome.failures)


@pytest.mark.parametrize("name", ["publish-first", "drop-first", "no-epochs"])
def test_a_broken_engine_is_noticed(nursery: Nursery, root: Path, name: str) -> None:
    outcome = explore(nursery, root, sabotaged(name))
    assert outcome.failures, f"it goes unnoticed that {SABOTAGES[name].what}"
