"""Kill, pause and mislead loads at every point where storage changes, and check what is left of their tables.

docs/faults.md says what is tried and how to read the result. Ends with 0 where everything survived, with 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.faults.prover.explore import Outcome, Unit, explore_all, sabotaged, units
from tests.faults.prover.nurse import PROJECT
from tests.faults.prover.sabotage import SABOTAGES
from tests.faults.prover.schedules import lake_of

# What is done already, for --resume.
PROGRESS_FILE = PROJECT / ".faults" / "progress.json"

# Stories shown of one unit; the others are much the same.
FAILURES_TOLD = 3

DEFAULT_SCHEDULES = 1_000


def main() -> int:
    options = _parse()
    if options.list:
        for unit in units(range(options.schedules)):
            print(unit.key)
        return 0
    console = Console(highlight=False)
    if options.sabotage:
        return _check_prover(
            console, list(SABOTAGES) if options.sabotage == "all" else [options.sabotage], options.jobs
        )
    todo = _choose(options)
    if not todo:
        console.print("Nothing to do: no scenario has a name like that. --list shows all.")
        return 2
    progress = _Progress()
    done = progress.recall(todo) if options.resume else {}
    for unit, outcome in explore_all([unit for unit in todo if unit not in done], options.jobs):
        done[unit] = outcome
        progress.remember(unit, outcome)
        verdict = (
            "survived" if not outcome.failures else f"[red]{len(outcome.failures)} of {outcome.points} failed[/red]"
        )
        console.print(
            f"{len(done)}/{len(todo)} {unit.key}: {outcome.points} points, {verdict}, {outcome.seconds:.0f} s"
        )
        for failure in outcome.failures[:FAILURES_TOLD]:
            console.print(failure, markup=False, soft_wrap=True)
    console.print(_table(done[unit] for unit in todo))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # the pool has ended, and with it all its workers
    console.print(f"Processor time: {(used.ru_utime + used.ru_stime) / 60:.1f} minutes.")
    return 1 if any(outcome.failures for outcome in done.values()) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.prover", description=__doc__)
    parser.add_argument("--scenario", default="", metavar="TEXT", help="only scenarios whose name has this in it")
    parser.add_argument("--lake", choices=("local", "adls", "onelake", "dfs"), help="only this kind of lake")
    parser.add_argument(
        "--point", default="", metavar="NAME", help="only this point of a scenario, as a failure names it"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th point")
    parser.add_argument(
        "--schedules", type=int, default=DEFAULT_SCHEDULES, metavar="N", help="how many random schedules"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="only the random schedule of this seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at work")
    parser.add_argument("--resume", action="store_true", help="leave out what survived before, with the same code")
    parser.add_argument(
        "--sabotage",
        nargs="?",
        const="all",
        choices=("all", *SABOTAGES),
        help="break the engine, in all ways or one, to see that it is noticed",
    )
    parser.add_argument("--list", action="store_true", help="show the scenarios and end")
    return parser.parse_args()


def _choose(options: argparse.Namespace) -> list[Unit]:
    if options.seed is not None:
        seeds = (options.seed, options.seed + 1)
        chosen = [Unit("random schedules", lake_of(options.seed), seeds)]
    else:
        chosen = [
            unit
            for unit in units(range(options.schedules))
            if options.scenario in unit.scenario and options.lake in (None, unit.lake)
        ]
    return [replace(unit, point=options.point, stride=options.every) for unit in chosen]


def _check_prover(console: Console, names: Sequence[str], jobs: int) -> int:
    """Break the engine in several ways; each has to be noticed."""
    table = Table("sabotage", "what is broken", "noticed by")
    table.add_column("after points", justify="right")
    outcomes: dict[str, Outcome] = {}
    for unit, outcome in explore_all([sabotaged(name) for name in names], jobs):
        outcomes[unit.sabotage] = outcome
        story = outcome.failures[0].split("\n", 1)[0] if outcome.failures else "[red]not noticed[/red]"
        console.print(f"{len(outcomes)}/{len(names)} {unit.sabotage}: {story}")
    for name in names:
        outcome = outcomes[name]
        after = str(outcome.points) if outcome.failures else "never"
        table.add_row(name, SABOTAGES[name].what, outcome.scenario, after)
    console.print(table)
    return 0 if all(outcome.failures for outcome in outcomes.values()) else 1


class _Progress:
    """Units that survived, kept in a file as long as the code stays the same."""

    def __init__(self) -> None:
        self._code = _fingerprint()
        self._survived: dict[str, dict[str, Any]] = {}

    def recall(self, todo: Sequence[Unit]) -> dict[Unit, Outcome]:
        """Those of some units that survived before."""
        if PROGRESS_FILE.exists():
            document = json.loads(PROGRESS_FILE.read_text())
            if document["code"] == self._code:
                self._survived = document["survived"]
        known = {repr(unit): unit for unit in todo}
        return {known[name]: Outcome(**value) for name, value in self._survived.items() if name in known}

    def remember(self, unit: Unit, outcome: Outcome) -> None:
        if outcome.failures:
            return
        self._survived[repr(unit)] = asdict(outcome)
        PROGRESS_FILE.parent.mkdir(exist_ok=True)
        unfinished = PROGRESS_FILE.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"code": self._code, "survived": self._survived}))
        os.replace(unfinished, PROGRESS_FILE)


def _fingerprint() -> str:
    """A hash of all code that a run depends on."""
    digest = hashlib.sha256()
    for package in ("hygge_engine", "devcloud", "tests/faults"):
        for path in sorted((PROJECT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _table(outcomes: Iterable[Outcome]) -> Table:
    sums: dict[tuple[str, str], Outcome] = {}
    for outcome in outcomes:
        total = sums.setdefault((outcome.scenario, outcome.lake), Outcome(outcome.scenario, outcome.lake))
        total.points += outcome.points
        total.survived += outcome.survived
        total.seconds += outcome.seconds
    table = Table("scenario", "lake", show_footer=True)
    points, survived = sum(row.points for row in sums.values()), sum(row.survived for row in sums.values())
    seconds = sum(row.seconds for row in sums.values())
    table.columns[0].footer = "all"
    table.add_column("crash points", f"{points:,}", justify="right")
    table.add_column("survived", f"{survived:,}", justify="right")
    table.add_column("seconds", f"{seconds:,.0f}", justify="right")
    for row in sums.values():
        style = None if row.survived == row.points else "red"
        table.add_row(row.scenario, row.lake, f"{row.points:,}", f"{row.survived:,}", f"{row.seconds:.1f}", style=style)
    return table


if __name__ == "__main__":
    sys.exit(main())
