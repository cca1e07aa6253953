"""The mirrored telemetry tables of several loads."""

from __future__ import annotations

from pathlib import Path

import pytest

import hygge_engine.flow.mirror as mirror
import hygge_engine.lake.opening as opening
from devcloud.replicator import Replicator, check_landing_zone
from hygge_engine.flow.slices import SliceResult
from hygge_engine.journal import Journal, entity_run_row
from hygge_engine.lake.local import LocalLake
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from tests.faults.world import FragileLake

ITEM = "mirror"

SETTINGS = OpenMirroringSettings(
    type="open_mirroring",
    account_url="https://onelake.dfs.fabric.microsoft.com",
    filesystem="workspace",
    mirror_name=ITEM,
    mirror_journal=True,
    folder_deletion_wait_seconds=0,
)


class Telemetry:
    """A journal, its mirror, and the replicator that follows it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.replicator = Replicator.on_disk(root / ITEM, in_memory=True)
        self.lake = FragileLake(LocalLake(root))
        monkeypatch.setattr(opening, "open_lake", lambda settings: self.lake)
        self.place = (LocalLake(root), f"{ITEM}/Files/.hygge_journal")
        self.journal = Journal(*self.place)

    def publish(self, load_id: str, project: str = "project") -> int:
        return mirror.publish(SETTINGS, self.place, load_id, project)

    def run_load(self, load_id: str, entities: int = 2, **counts: int) -> None:
        times = {"started": "2026-11-20T10:00:00+00:00", "finished": "2026-11-20T10:01:00+00:00"}
        outcome = SliceResult.from_json({"status": "done", "rows": 3, **times, **counts})
        rows = [
            entity_run_row(
                outcome,
                entity_run_id=f"{load_id}-{number}",
                coordinator_run_id=load_id,
                flow_run_id=f"{load_id}-flow",
                coordinator="project",
                flow="flow",
                entity=f"entity{number}",
                run_type="incremental",
            )
            for number in range(entities)
        ]
        self.journal.append(load_id, rows)

    def check(self) -> None:
        for _ in range(3):
            self.replicator.tick()
        journal = self.journal.read()
        for table, key in (("journal", "entity_run_id"), ("loads", "coordinator_run_id")):
            mirrored = [str(value) for value in self.replicator.table("__hygge", table)[key].to_pylist()]
            assert sorted(mirrored) == sorted(str(value) for value in journal[key].unique())
        findings = check_landing_zone(self.root / ITEM)
        assert [str(finding) for finding in findings if finding.code != "UNDERSCORE_SCHEMA"] == []
