"""How near a load comes to greedy list scheduling, and what its orchestrators cost: python -m benchmarks.scale

The orchestrators run in the virtual-time host of the tests, which replays them at every event; slices take the time
that a seeded distribution says, and no processor. Greedy list scheduling gives each place that becomes free to the
first table of the same plan, and knows no orchestrator. With ``--ranges`` the first table is divided into so many, of
ten slices' time each; the schedule takes them for tables of their own, before the others.
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hygge_engine.flow.slices import as_text
from hygge_engine.orchestration.lanes import LANES_FROM_ENTITIES
from tests.support.orchestration_answers import done, plan
from tests.unit.orchestration_host import Host, SimulatedBoard

LINES = ["60x8", "100x32", "500x8", "500x32", "500x100", "2000x64", "5000x256"]

# One table in so many has many slices, and this many at most; of a load that is too small for lanes, one in so many.
GIANT_EVERY = 100
GIANT_EVERY_OF_FEW = 6
GIANT_SLICES = (20, 60)

# How much longer a range takes than a slice.
RANGE_SLICES = 10

# Seconds of one slice: the median is that of the lognormal in all of them.
MEDIAN_SECONDS = 3.0
DISTRIBUTIONS: dict[str, Callable[[Random], float]] = {
    "lognormal": lambda random: random.lognormvariate(math.log(MEDIAN_SECONDS), 1.0),
    "uniform": lambda random: random.uniform(0.0, 2 * MEDIAN_SECONDS),
    "constant": lambda _: MEDIAN_SECONDS,
    "pareto": lambda random: MEDIAN_SECONDS / 2 ** (1 / 1.5) * random.paretovariate(1.5),
}

Work = list[list[float]]


@dataclass(frozen=True)
class Outcome:
    """``ratio``: makespan against greedy list scheduling; ``milliseconds``: processor time per activity;
    ``largest_payload``: in bytes."""

    ratio: float
    milliseconds: float
    longest_history: int
    largest_payload: int


def make_work(tables: int, distribution: str, seed: int) -> Work:
    """The seconds of each slice of each table."""
    random = Random(seed)
    draw = DISTRIBUTIONS[distribution]
    every = GIANT_EVERY if tables > LANES_FROM_ENTITIES else GIANT_EVERY_OF_FEW
    work = []
    for _ in range(tables):
        slices = random.randint(*GIANT_SLICES) if random.randrange(every) == 0 else 1
        work.append([draw(random) for _ in range(slices)])
    return work


def make_ranges(count: int, distribution: str, seed: int) -> list[float]:
    """The seconds of each range of a divided table."""
    random = Random(-seed)
    return [RANGE_SLICES * DISTRIBUTIONS[distribution](random) for _ in range(count)]


def greedy_makespan(work: Sequence[Sequence[float]], places: int) -> float:
    """Seconds until the last table has ended where each place takes the next table as soon as it is free."""
    free = [0.0] * places
    for slices in work:
        heapq.heapreplace(free, free[0] + sum(slices))
    return max(free)


def measure(work: Work, places: int, ranges: Sequence[float] = ()) -> Outcome:
    """Run one load of these tables, before which comes one in so many ranges, where there are any."""
    divided = "e0" if ranges else ""
    if ranges:
        work = [[0.0, 0.0], *work]
    unread = set(range(len(ranges)))

    def script(name: str, input_: dict[str, Any]) -> tuple[float, dict[str, Any] | Exception]:
        if name == "plan_load":
            return 0.0, board.plan(input_)
        if name == "settle_load":
            return 0.0, {"status": "settled"}
        return board.run_next(input_, run_slice) if name == "run_next" else run_slice(board.named(input_))

    def run_slice(task: dict[str, Any]) -> tuple[float, dict[str, Any] | Exception]:
        if task.get("division"):
            unread.discard(task["range_number"])
            return ranges[task["range_number"]], {"status": "done"}
        slices, attempt = work[int(task["entity"][1:])], task["attempt"]
        if task["entity"] == divided:
            named = {"ranges": len(ranges), "ranges_left": as_text(sorted(unread)), "division": "d"}
            return 0.0, {"status": "continue", "reached": "a", **named} if unread else done()
        answer = done() if attempt == len(slices) else {"status": "continue", "reached": str(attempt)}
        return slices[attempt - 1], answer

    planned = plan(len(work), concurrency=places, pools={"db": places})
    if ranges:
        planned["entities"][0]["apart"] = True
    board = SimulatedBoard(planned)
    host = Host(script, board=board)
    summary = host.run()
    slices = host.flows()
    assert (summary["success"], len(slices) >= sum(map(len, work)) + len(ranges)) == (len(work), True)
    makespan = max(run.ended for run in slices)
    return Outcome(
        ratio=makespan / greedy_makespan([*([each] for each in ranges), *work], places),
        milliseconds=1000 * host.processor_seconds / len(slices),
        longest_history=host.longest_history,
        largest_payload=max(host.sizes.values()),
    )


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", nargs="+", default=LINES, metavar="TABLESxPLACES")
    parser.add_argument("--distribution", choices=DISTRIBUTIONS, default="lognormal")
    parser.add_argument("--seed", type=int, default=1, help="the first of the seeds")
    parser.add_argument("--seeds", type=int, default=3, help="how many loads there are of each line")
    parser.add_argument("--ranges", type=int, default=0, help="of a divided table before the others")
    options = parser.parse_args()
    print(f"{options.distribution}, seeds {options.seed} to {options.seed + options.seeds - 1}\n")
    print(
        "| tables | concurrency | makespan / greedy | processor ms per activity | longest history | largest payload |"
    )
    print("|--:|--:|--:|--:|--:|--:|")
    for line in options.lines:
        tables, places = map(int, line.split("x"))
        seeds = range(options.seed, options.seed + options.seeds)
        outcomes = [
            measure(
                make_work(tables, options.distribution, seed),
                places,
                make_ranges(options.ranges, options.distribution, seed),
            )
            for seed in seeds
        ]
        ratios = [outcome.ratio for outcome in outcomes]
        cost = statistics.median(outcome.milliseconds for outcome in outcomes)
        longest = max(outcome.longest_history for outcome in outcomes)
        largest = max(outcome.largest_payload for outcome in outcomes) / 1024
        ratio = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {tables:,} | {places} | {ratio} | {cost:.1f} | {longest} | {largest:.0f} KiB |", flush=True)


if __name__ == "__main__":
    main()
