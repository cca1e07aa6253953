"""Polished rows are the same whichever attempt lands them: every crash point of a load in slices."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.project.models.polish import PolishSettings
from tests.faults.world import Watching, World

# A killed process closes no file; here its files are closed by the garbage collector, which says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

SALT = "a grain of salt"
POLISH = PolishSettings.model_validate(
    {
        "mask": {"id": "hash"},
        "hash_salt": SALT,
        "rename": {"id": "Key", "modified": "Changed"},
        "load_columns": {"by": "load_id", "at": "loaded_at"},
    }
)


class PolishedWorld(World):
    """A world whose entity is polished."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, **keys: Any) -> None:
        super().__init__(root, monkeypatch, **keys)
        self.entity = replace(self.entity, polish=POLISH)

    def landed(self) -> list[dict[str, Any]]:
        self.tick()
        self.tick()
        return list(self.replicator.table("dbo", "things").to_pylist())

    def check_polished(self) -> None:
        """The table is the source, polished; each load has one time."""
        rows = self.landed()
        expected = [
            (hashlib.sha256(f"{SALT}{id_}".encode()).hexdigest(), value, modified)
            for id_, value, modified in self.source.as_multiset()
        ]
        assert sorted((row["Key"], row["value"], row["Changed"]) for row in rows) == sorted(expected)
        times = {(row["by"], row["at"]) for row in rows}
        assert len(times) == len({by for by, _ in times})
        assert self.state().key_columns == ("Key",)
        assert self.state().watermark is not None


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_whatever_dies_wherever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: Any) -> None:
    operations, die_at = 1, 0
    while die_at <= operations:
        world = PolishedWorld(
            tmp_path / str(die_at), monkeypatch, run_type=run_type, slice_minutes=0, tick_between=False
        )
        world.source.put(1, 2, 3)
        world.load("a")
        world.source.put(2, 3, 6)
        lake = world.new_lake()
        lake.die_at = die_at or None
        result = world.load("b")
        assert (result.status, result.primary_key, result.watermark_column) == ("done", "Key", "modified")
        world.check_polished()
        if not die_at:
            operations = lake.count
        die_at += 1
    assert operations > 6


def test_a_load_that_finishes_another_one_s_work_keeps_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = PolishedWorld(tmp_path, monkeypatch)
    world.source.put(*range(7))
    assert world.slice("a", watch=Watching(cancel_after=2)).status == "cancelled"
    world.load("b")
    stamps = {(row["by"], row["at"]) for row in world.landed()}
    assert {by for by, _ in stamps} == {"a", "b"}
    assert len({at for _, at in stamps}) == 1
    world.check_polished()


def test_a_polish_that_changes_under_way_stops_the_load_until_it_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = PolishedWorld(tmp_path, monkeypatch, slice_minutes=0)
    world.source.put(*range(7))
    world.slice("a")
    polished = world.entity
    for changed in (None, POLISH.model_copy(update={"rename": {}}), POLISH.model_copy(update={"mask": {}})):
        world.entity = replace(polished, polish=changed)
        result = world.slice("a", 2)
        assert (result.status, result.error) == ("failed", "store.schema_changed")
        assert "under way" in result.message
    world.entity = polished
    world.load("a")
    world.check_polished()
