"""``python -m tests.faults.prover``: see docs/faults.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.prover.explore import FAILURES_SHOWN, Bench, explore
from tests.faults.prover.nurse import open_nursery
from tests.faults.prover.scenarios import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.prover", description=__doc__)
    parser.add_argument("--scenario", default="", help="only scenarios whose name has this in it")
    parser.add_argument("--lake", default="", help="local, adls or onelake")
    parser.add_argument("--point", default="", help="only the point of this name")
    parser.add_argument("--sabotage", default="")
    parser.add_argument("--work", default="/dev/shm")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(dir=options.work) as root, open_nursery() as nursery:
        bench = Bench(nursery, Path(root), options.sabotage)
        for scenario in SCENARIOS:
            for lake in scenario.lakes:
                if options.scenario in scenario.name and options.lake in lake:
                    outcome = explore(bench, scenario, lake, options.point)
                    print(
                        f"{outcome.scenario:50} {lake:8} {outcome.points:5} {outcome.survived:5} {outcome.seconds:7.1f}",
                        flush=True,
                    )
                    for failure in outcome.failures[:FAILURES_SHOWN]:
                        print(failure)
                    failed = failed or bool(outcome.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
