"""``python -m tests.storm``: a load of many tables for each seed, while instances die; ends with 0 if all is well."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.storm.storm import Storm
from tests.storm.worlds import LocalWorld, MirroredWorld, World

WORLDS: dict[str, Callable[[Path, int], World]] = {"local": LocalWorld, "mirrored": MirroredWorld}


def main() -> int:
    """Run the storms and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--tables", type=int, default=200, help="tables of the load (200)")
    parser.add_argument("--instances", type=int, default=4, help="instances of the app (4)")
    parser.add_argument("--blows", type=int, default=20, help="how often an instance is killed, drained and so on (20)")
    parser.add_argument("--seeds", type=int, default=10, help="how many storms (10)")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first one (1)")
    parser.add_argument(
        "--world", choices=WORLDS, default="local", help="files on this disk, or a SQL Server and a mirrored database"
    )
    parser.add_argument("--keep", type=Path, help="a directory to leave everything in; a temporary one without it")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    for name in ("devcloud", "asyncio"):  # they tell of every death that was ordered
        logging.getLogger(name).setLevel(logging.CRITICAL)
    failed = [seed for seed in range(asked.seed, asked.seed + asked.seeds) if not _survives(asked, seed)]
    print(f"failed: seeds {failed}" if failed else "Every table, the journal and the lake are as they should be.")
    return 1 if failed else 0


def _survives(asked: argparse.Namespace, seed: int) -> bool:
    """Two loads, the first of which every other storm cancels; in every third one, deaths are reported as failures."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hygge-storm-") as temporary:
        directory = (asked.keep or Path(temporary)) / f"seed-{seed}"
        wrong = []
        with Storm(
            directory, tables=asked.tables, instances=asked.instances, seed=seed, world=WORLDS[asked.world]
        ) as storm:
            cancelled_after = asked.blows // 2 if seed % 2 else None
            reported = seed % 3 == 0
            first = storm.load(blows=asked.blows, cancelled_after=cancelled_after, reports_deaths=reported)
            if first["status"] not in ("success", "cancel"):
                wrong.append(f"the first load ended with {first['summary']}")
            second = storm.load(blows=asked.blows // 4, reports_deaths=reported)
            if second["status"] != "success":
                wrong.append(f"the second load ended with {second['summary']}")
            wrong += storm.wrong()
        wrong += [f"still runs: {each}" for each in storm.leftover_processes()]
    happened = ", ".join(f"{what} {count}" for what, count in sorted(storm.happened.items()))
    print(
        f"seed {seed}: {first['status']}, then {second['status']}, in {time.monotonic() - began:.0f} s; {happened};"
        f" at most {storm.peak_megabytes:.0f} MB in a worker",
        *(f"  {line}" for line in wrong),
        sep="\n",
        flush=True,
    )
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
