"""Loads of one table at once, in any order of their operations: each ends well, and the table equals its source."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

import hygge_engine.flow.mirror as mirror
from hygge_engine.errors import LandingFenced
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.database.table import DatabaseTable
from tests.faults.test_mirror import Telemetry
from tests.faults.turns import InTurns, Turns
from tests.faults.world import Watching, World
from tests.integration.test_database_stores import SqliteWarehouse
from tests.integration.test_file_stores import FileWarehouse
from tests.integration.warehouse import Warehouse

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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loads", AT_ONCE)
def test_loads_of_a_mirrored_table_at_once_end_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: str, seed: int
) -> None:
    world = World(tmp_path, monkeypatch, tick_between=False)
    world.source.put(1, 2, 3)
    world.source.put(4, 5)
    if loads == "everything":
        world.load("before")

    def slice_of(task: SliceTask) -> SliceResult:
        world.tick()
        return flow_run.run_slice(world.project, world.entity, task, Watching())

    crowd = Crowd(seed, slice_of, lambda: world.source.put(world.source.clock % 12))
    crowd.take_turns(monkeypatch)
    crowd.together(AT_ONCE[loads])
    assert world.load("after").status == "done"
    world.check()


@pytest.fixture(params=["parquet", "delta", "sqlite"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    if request.param == "sqlite":
        return SqliteWarehouse(tmp_path, monkeypatch)
    store = {"type": "local", "format": request.param, "path": "out"}
    return FileWarehouse(tmp_path, monkeypatch, "things", store, tmp_path / "project/out/things")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loads", AT_ONCE)
def test_loads_of_any_table_at_once_end_well(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, loads: str, seed: int
) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.source.put(4, 5)
    wanted = AT_ONCE[loads]
    if loads == "everything":
        warehouse.slice("before", "incremental")
        if isinstance(warehouse, FileWarehouse):  # only adds, so that a window's rows would double
            wanted = [load for load in wanted if load != WINDOW]
    project = warehouse.project("incremental")
    (entity,) = project.entities

    def slice_of(task: SliceTask) -> SliceResult:
        return flow_run.run_slice(project, entity, task, Watching())

    crowd = Crowd(seed, slice_of, lambda: None)
    crowd.take_turns(monkeypatch)
    crowd.together(wanted)
    assert warehouse.run("after", "full_drop").status == "done"
    assert warehouse.rows() == warehouse.source.rows


def test_a_first_load_that_finds_another_one_s_rows_looks_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.source.put(1, 2, 3)
    describe, others = warehouse.home.describe, iter(["other"])

    def meanwhile() -> Any:
        for other in others:  # once: by now the late load has read that nothing has landed
            assert warehouse.slice(other, "incremental").status == "done"
        return describe()

    monkeypatch.setattr(warehouse.home, "describe", meanwhile)
    late = warehouse.slice("late", "incremental")
    assert (late.status, late.message) == ("continue", flow_run.MOVED_ON)
    assert warehouse.run("late", "incremental").status == "done"
    assert warehouse.rows() == warehouse.source.rows


def test_an_increment_that_finds_its_table_dropped_by_a_reload_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, tick_between=False)
    world.source.put(1, 2)
    world.load("before")
    world.tick()
    world.source.put(3)
    describe, reloads = world.home.describe, iter(["reload"])

    def slice_of(name: str, run_type: RunType) -> SliceResult:
        task = SliceTask(name, f"{name}-things", "flow", "things", run_type, "hash")
        return flow_run.run_slice(world.project, world.entity, task, Watching())

    def meanwhile() -> Any:
        for reload in reloads:  # once: by now the late load has read that rows have landed
            assert slice_of(reload, "full_drop").status == "continue"  # Fabric has yet to see that the folder is gone
        return describe()

    monkeypatch.setattr(world.home, "describe", meanwhile)
    late = slice_of("late", "incremental")
    assert (late.status, late.message) == ("continue", flow_run.MOVED_ON)
    world.tick()
    assert slice_of("reload", "full_drop").status == "done"
    assert slice_of("late", "incremental").status == "done"
    world.check()


def test_a_first_publication_that_finds_another_one_s_rows_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = Telemetry(tmp_path, monkeypatch)
    telemetry.run_load("a")
    land, others = mirror._land_changes, iter(["other"])

    def meanwhile(*args: Any) -> int:
        for other in others:
            telemetry.publish(other)
        return land(*args)

    monkeypatch.setattr(mirror, "_land_changes", meanwhile)
    with pytest.raises(LandingFenced):  # transient: the settling comes again
        telemetry.publish("late")
    telemetry.publish("late")
    telemetry.check()
