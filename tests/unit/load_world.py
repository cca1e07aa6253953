"""A project whose tables are in memory and whose lake is a local directory: everything between is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.cli import reachability
from hygge_engine.flow import bounds as flow_bounds
from hygge_engine.flow import factory
from hygge_engine.flow import run as flow_run
from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration import estimates
from hygge_engine.orchestration.places import JournalPlace
from hygge_engine.project import Entity, Project
from tests.faults.source import SourceHome
from tests.faults.world import KeyedTable
from tests.unit.project_files import FLOW, load

FLOW_YML = FLOW.replace("modified_at", "modified").replace("[orders, customers]", "[orders, customers, stock]")
SECOND_FLOW_YML = FLOW_YML.replace("orders_to_fabric", "second").replace("2222-222222222222", "2222-333333333333")


class LoadWorld:
    """Sources by entity name; ``before_read`` may raise, to make a source fail at its next batch. ``counted`` is what
    they say of many tables at once: how many rows these have, by id."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, *, hygge: str = "", **files: str) -> None:
        self.directory = root / "project"
        options = {"hygge": hygge} if hygge else {}
        self.project: Project = load(self.directory, **{"flow": FLOW_YML, **options, **files})
        self.lake_directory = root / "lake"
        self.lake_directory.mkdir()
        self.sources = {entity.name: KeyedTable() for entity in self.project.entities}
        self.before_read: Callable[[str, int], None] = lambda entity, batch: None
        monkeypatch.setattr(opening, "open_lake", lambda settings: LocalLake(self.lake_directory))
        for module in (flow_run, flow_bounds):
            monkeypatch.setattr(module, "open_home", self._open_home)
        monkeypatch.setattr(flow_run, "open_home", self._open_home)
        self.counted: dict[str, int] = {}
        monkeypatch.setattr(estimates, "row_counts", self._row_counts)
        # The addresses of this world lead nowhere.
        monkeypatch.setattr(reachability, "asks_of", lambda settings: {})

    def fill(self, **rows: int) -> None:
        """Give each named table so many rows."""
        for name, count in rows.items():
            self.sources[name].put(*range(1, count + 1))

    def place(self, flow: str = "orders_to_fabric") -> JournalPlace:
        """Where a flow's loads are remembered."""
        entity = next(iter(self.project.flows[flow].entities.values()))
        return JournalPlace(*factory.journal_of(self.project, entity))

    def journal(self, flow: str = "orders_to_fabric") -> list[dict[str, Any]]:
        """The journal's rows, by entity."""
        return sorted(self.place(flow).journal.read().to_dicts(), key=lambda row: str(row["entity"]))

    def landed_files(self) -> list[str]:
        """The data files in the landing zone, as table/file."""
        found = self.lake_directory.rglob("LandingZone/*/*/*.parquet")
        return sorted(f"{path.parent.name}/{path.name}" for path in found)

    def _row_counts(self, _: Project, entities: Sequence[Entity]) -> dict[str, int]:
        asked = {entity.id for entity in entities}
        return {id_: rows for id_, rows in self.counted.items() if id_ in asked}

    def _open_home(self, project: Project, entity: Any) -> SourceHome:
        name = entity.reads_as.name
        return SourceHome(self.sources[name], before_batch=lambda batch: self.before_read(name, batch))
