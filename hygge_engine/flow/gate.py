"""What is expected of the rows of one entity's load, and what they were found to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hygge_engine.expectations.checks import ExpectationMonitor
from hygge_engine.expectations.rules import rules_of
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.state import ExpectationResult, OpenLoad

if TYPE_CHECKING:
    from hygge_engine.flow.planner import LoadPlanner
    from hygge_engine.project import Entity


class ExpectationGate:
    """Opens the checks of an entity, and says what to do where they fail."""

    def __init__(self, entity: Entity, lease: TableLease, planner: LoadPlanner) -> None:
        self._entity = entity
        self._lease = lease
        self._planner = planner

    def begin(self, opened: OpenLoad) -> ExpectationMonitor | None:
        """The checks of a slice, which continue where the slice before has stopped; None where nothing is expected."""
        polish = replace(self._planner.polish(), table=self._planner.landed())
        rules = rules_of(self._entity.expectations, polish, self._lease.state.key_columns)
        if rules is None:
            return None
        newest = {} if opened.mode == "reload" else self._lease.state.newest
        before = replace(opened.checked, newest=newest | opened.checked.newest)
        return ExpectationMonitor(rules, before, in_order=opened.lower is None)

    def judge(self, checks: ExpectationMonitor, opened: OpenLoad, *, last: bool) -> ExpectationResult:
        """What has been found. Raises ExpectationFailed, before anything of the slice is visible, where it may not
        land."""
        started = datetime.fromisoformat(opened.started)
        if opened.mode == "reload":
            left = "The table is as it was."
        elif opened.files:
            left = "What earlier slices of the load have landed stays, and the next load continues from there."
        else:
            left = "Nothing of the load has landed."
        return checks.judge(last=last, started=started, hint=self._hint(left), counts=not opened.backfill)

    def judge_nothing(self) -> ExpectationResult:
        """The same where there is nothing new to read: no rows have come besides those of a load that was finished
        first, and the newest value is no newer."""
        state, adopted = self._lease.state, self._lease.adopted_result
        polish = self._planner.polish()
        key = polish.key(self._planner.key_columns)
        rules = rules_of(self._entity.expectations, polish, key)
        before = adopted.checked if adopted else ExpectationResult()
        if rules is None or self._planner.is_backfill:
            return before
        checks = ExpectationMonitor(rules, replace(before, newest=state.newest), in_order=False)
        return checks.judge(last=True, started=datetime.now(UTC), hint=self._hint("There was nothing new to load."))

    def _hint(self, left: str) -> str:
        path = f"flow.{self._entity.flow}.entities.{self._entity.name}.expectations."
        return f"{left} Correct the source, or allow it once: `--var {path}{{setting}}.severity=warn`."
