"""A table whose open load cannot continue."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.project.models.settings import RunType
from tests.faults.world import Watching, World


class BlockedWorld(World):
    """A world in which time passes between loads."""

    def __init__(self, *arguments: Any, **keys: Any) -> None:
        self.hours = itertools.count(1)
        super().__init__(*arguments, **keys)

    def ids(self) -> list[int]:
        """The keys of the table, as its readers see it."""
        self.tick()
        self.tick()
        return sorted(int(id_ or 0) for id_ in self.replicator.table("dbo", "things")["id"].to_pylist())


def finish(world: BlockedWorld, load_id: str, run_type: RunType, window: tuple[str, str] = ("", "")) -> SliceResult:
    """Another load, long after the last sign of the one before."""
    lake = world.new_lake()
    lake.shift = timedelta(minutes=10 * next(world.hours))
    for attempt in range(1, 30):
        task = SliceTask(load_id, f"{load_id}-things", "flow", "things", run_type, "hash", min(attempt, 9), *window)
        result = flow_run.run_slice(world.project, world.entity, task, Watching())
        if result.status != "continue":
            return result
        world.tick()
    raise AssertionError(f"{load_id} did not settle: {result}")


def open_slice(world: World) -> None:
    """A load that has landed two of its rows, or staged them, and is never heard of again."""
    world.slice("open")
    assert world.state().open is not None
