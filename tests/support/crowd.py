"""Many loads that come at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.database.table import DatabaseTable
from tests.faults.turns import InTurns, Turns

LAKE = frozenset({"read", "info", "list", "put", "stage", "rename", "make_directory", "delete", "delete_directory"})

DATABASE = frozenset({"read_state", "transaction", "has_table", "columns", "create_stage", "stages", "drop_stage"})

Load = tuple[RunType, dict[str, Any]]

RELOAD: Load = ("full_drop", {})

INCREMENT: Load = ("incremental", {})

WINDOW: Load = ("incremental", {"window_from": "1", "window_to": "2"})

AT_ONCE = {"first loads": [INCREMENT] * 6, "everything": [RELOAD, RELOAD, RELOAD, INCREMENT, INCREMENT, WINDOW]}

# Slices after which a load that has not ended never will.
SLICES_LIMIT = 400


class Crowd:
    """Loads of one table at once; ``slice_of`` runs a slice of one, ``between`` what happens after each slice."""

    def __init__(self, seed: int, slice_of: Callable[[SliceTask], SliceResult], between: Callable[[], None]) -> None:
        self.turns = Turns(seed)
        self._random = Random(seed)
        self._slice_of = slice_of
        self._between = between

    def take_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the lake or database of each load wait for its turns, as long as there are several loads."""
        open_table = vars(flow_run)["open_table"]  # what the world has put there

        def open_in_turns(project: Any, entity: Any) -> Any:
            table: Any = open_table(project, entity)
            if self.turns.name is None:
                return table
            held, methods = ("_database", DATABASE) if isinstance(table, DatabaseTable) else ("lake", LAKE)
            setattr(table, held, InTurns(getattr(table, held), self.turns, self.turns.name, methods))
            return table

        monkeypatch.setattr(flow_run, "open_table", open_in_turns)

    def run(self, name: str, load: Load, table: str) -> SliceResult:
        """A load to its end, however long it has to wait for others."""
        run_type, window = load
        for attempt in range(1, SLICES_LIMIT):
            task = SliceTask(name, f"{name}-{table}", "flow", table, run_type, "hash", attempt, **window)
            result = self._slice_of(task)
            if self._random.random() < 0.1:
                self._between()
            if result.status != "continue":
                return result
        raise AssertionError(f"{name} did not settle")

    def together(self, loads: list[Load], table: str = "things") -> None:
        """All of the loads at once; each has to end well."""
        parties = {f"{index}-{'-'.join([load[0], *load[1]])}": load for index, load in enumerate(loads)}
        results = self.turns.run({name: partial(self.run, name, load, table) for name, load in parties.items()})
        assert {name: (end.error, end.message) for name, end in results.items() if end.status != "done"} == {}
