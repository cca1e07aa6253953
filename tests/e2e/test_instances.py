"""Loads on several instances of the app, which are killed while they work: what ``make storm`` does for hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygge_engine.orchestration.lanes import LANES_FROM_ENTITIES
from tests.storm.storm import Storm


@pytest.mark.timeout(900)
def test_loads_on_lanes_survive_the_death_of_their_instances(tmp_path: Path) -> None:
    with Storm(tmp_path, tables=LANES_FROM_ENTITIES + 2, instances=3, seed=6) as storm:
        assert storm.load(blows=1, cancelled_after=0)["status"] == "cancel"
        assert storm.load(blows=1)["status"] == "success"
        assert storm.wrong() == []
        assert storm.happened.total() == 2
    assert storm.leftover_processes() == []
