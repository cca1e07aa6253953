"""Loads of one table at once, in any order of their operations: each ends well, and the table equals its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hygge_engine.flow.mirror as mirror
from hygge_engine.errors import LandingFenced
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.project.models.settings import RunType
from tests.faults.world import Watching, World
from tests.integration.warehouse import Warehouse
from tests.support.crowd import AT_ONCE, WINDOW, Crowd
from tests.support.file_warehouse import FileWarehouse
from tests.support.mirrored_telemetry import Telemetry
from tests.support.sqlite_warehouse import SqliteWarehouse


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
