"""``python -m tests.soak``: prints what happened, what was measured, and what is wrong; ends with 0 if nothing is."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.soak import INEXPLICABLE, Soak


def main() -> int:
    """Run a soak and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long loads are made (10)")
    parser.add_argument("--tables", type=int, default=12, help="tables of the project (12)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what decides everything that is random")
    parser.add_argument("--faults", type=float, default=0.05, help="share of the lake's requests that fail (0.05)")
    parser.add_argument("--keep", type=Path, help="a directory to leave everything in; a temporary one without it")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    for name in ("devcloud", "asyncio"):  # they tell of every death that was ordered
        logging.getLogger(name).setLevel(logging.CRITICAL)
    print(f"{asked.minutes:g} minutes, {asked.tables} tables, seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hygge-soak-") as temporary:
        directory = asked.keep or Path(temporary)
        with Soak(directory, tables=asked.tables, seed=asked.seed, faults=asked.faults) as soak:
            soak.run(asked.minutes * 60, lambda line: print(line, flush=True))
            wrong = soak.conclude()
            wrong += [
                f"{count} entity runs failed with {error}, which nothing here explains"
                for error, count in soak.failures().items()
                if error in INEXPLICABLE
            ]
            print(soak.report())
    print("\n".join(wrong) if wrong else "Every table, the journal and its mirror are as they should be.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
