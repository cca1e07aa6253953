"""How many instances, hours and dollars a load takes: python -m benchmarks.worksheet

Arithmetic on the inputs below, which say where they are from. `docs/scale.md` has what this prints, and a test keeps
it so: change an input here, run it, and put the tables into the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Measured (docs/performance.md, `make bench`): 10 million rows of 16 columns with one reader took 42.15 seconds of a
# processor.
ROWS_PER_PROCESSOR_SECOND = 237_000

# Published (see docs/scale.md): what Fabric applies to one table, on a small capacity.
REPLICATED_ROWS_PER_SECOND = 500_000

# Assumed, as in `benchmarks/scale.py`: seconds of a slice of a small table that has rows, most of them of waiting.
SECONDS_PER_SMALL_TABLE = 3.0

# host.json: activities of an instance at once; one is left to the schedule.
ACTIVITIES = 4

# Memory of an instance in GB, and what a GB costs for a second (Flex Consumption, docs/deploy/cost.md).
MEMORY_GB = 2
DOLLARS_PER_GB_SECOND = 0.000026

# What an instance needs until it works, in seconds, which are paid for: docs/deploy/cold-start.md.
START_SECONDS = 10.0

# Assumed: processors of an instance by its GB; published is that they are in proportion. The slices on it share them,
# which bounds reading.
PROCESSORS = {2: 1, 4: 2}

# Simulated (benchmarks/scale.py): makespan against greedy list scheduling.
OVER_GREEDY = 1.05

# One every 15 minutes (docs/deploy/cost.md).
LOADS_A_MONTH = 2_880

INSTANCES = (1, 4, 10, 40)
TABLES = (50, 500, 5_000)
ROWS = (1_000_000_000, 10_000_000_000)


@dataclass(frozen=True)
class Line:
    """What a load takes on so many instances."""

    instances: int
    seconds: float

    @property
    def dollars(self) -> float:
        """Execution time, without the free grant, of all instances to the end."""
        return self.instances * (self.seconds + START_SECONDS) * MEMORY_GB * DOLLARS_PER_GB_SECOND


def many_tables(tables: int, instances: int) -> Line:
    """A load of small tables that all have rows: they wait more than they compute, so that all places are used."""
    places = min(tables, instances * (ACTIVITIES - 1))
    used = min(instances, math.ceil(places / (ACTIVITIES - 1)))
    return Line(used, math.ceil(tables / places) * SECONDS_PER_SMALL_TABLE * OVER_GREEDY)


def one_table(rows: int, instances: int) -> Line:
    """One table that is read in ranges: as fast as the processors of its instances."""
    processors = instances * PROCESSORS[MEMORY_GB]
    return Line(instances, rows / (ROWS_PER_PROCESSOR_SECOND * processors) * OVER_GREEDY)


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    rule = "|" + "--:|" * len(header)
    first, *others = [f"| {' | '.join(cells)} |" for cells in (header, *lines)]
    return "\n".join([first, rule, *others])


def of_many_tables(tables: int) -> list[list[str]]:
    """The worksheet's lines for a load of so many tables."""
    lines = dict.fromkeys(many_tables(tables, instances) for instances in INSTANCES)
    return [
        [
            f"{tables:,}",
            f"{line.instances}",
            f"{line.instances * (ACTIVITIES - 1)}",
            f"{line.instances * MEMORY_GB} GB",
            duration(line.seconds),
            f"${line.dollars:.3f}",
            f"${line.dollars * LOADS_A_MONTH:,.0f}",
        ]
        for line in lines
    ]


def of_one_table(rows: int) -> list[list[str]]:
    """The worksheet's lines for one table of so many rows."""
    return [
        [
            f"{rows / 1e9:.0f} billion",
            f"{line.instances}",
            f"{line.instances * MEMORY_GB} GB",
            f"{rows / line.seconds / 1e6:.2f} million",
            duration(line.seconds),
            duration(rows / REPLICATED_ROWS_PER_SECOND),
            f"${line.dollars:.2f}",
        ]
        for line in (one_table(rows, instances) for instances in INSTANCES)
    ]


def worksheet() -> str:
    """The tables of docs/scale.md."""
    small = ["tables", "instances", "slices at once", "memory", "a load", "cost of it", "2,880 of them"]
    large = ["rows", "instances", "memory", "rows a second", "read after", "Fabric needs", "cost"]
    return "\n\n".join(
        [
            table(small, [line for tables in TABLES for line in of_many_tables(tables)]),
            table(large, [line for rows in ROWS for line in of_one_table(rows)]),
        ]
    )


if __name__ == "__main__":
    print(worksheet())
