"""Whatever happens while settling writes the summary of landing states: no later load takes a change for none."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration import survey as surveys
from tests.faults.world import Killed
from tests.unit.test_idle import IdleWorld


class InterruptedLake:
    """A lake at whose n-th operation, from 1, something happens first."""

    def __init__(self, lake: LocalLake, at: int, happening: Callable[[], object]) -> None:
        self._lake = lake
        self._at = at
        self._happening = happening
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._lake, name)
        if name not in ("list", "info", "read", "put"):
            return found

        def call(*arguments: Any, **keys: Any) -> Any:
            self.count += 1
            if self.count == self._at:
                self._happening()
            return found(*arguments, **keys)

        return call


@pytest.mark.parametrize("dies", [True, False])
def test_settling_is_interrupted_by_its_death_or_by_another_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    world = IdleWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=2)
    world.load()
    orders = world.sources["orders"]
    landed = 5

    def happen() -> None:
        nonlocal landed
        if dies:
            raise Killed
        orders.put(1)
        with monkeypatch.context() as patched:
            patched.setattr(opening, "open_lake", lambda settings: LocalLake(world.lake_directory))
            world.load_without_summary("orders", patched)
        landed += 1

    for number in count(1):
        orders.put(2)
        world.load_without_summary("orders", monkeypatch)
        landed += 1
        lake = InterruptedLake(LocalLake(world.lake_directory), number, happen)
        with monkeypatch.context() as patched:
            patched.setattr(opening, "open_lake", lambda settings, lake=lake: lake)
            try:
                surveys._remember(world.project, world.project.entities, time.monotonic() + 60)
            except Killed:
                assert dies
        orders.put_at({3: orders.clock})  # a row that comes late
        results = world.load()
        landed += 1
        assert results["orders"]["rows"] == 1, number
        assert {name for name, result in results.items() if not result["attempts"]} >= {"customers", "stock"}, number
        if lake.count < number:
            break
    assert number > 5
    assert sum(world.landed_rows()[name] for name in world.landed_rows() if name.startswith("orders/")) == landed
