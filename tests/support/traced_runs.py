"""A load whose traces are kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hygge_engine.orchestration.local import LocalLoad
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.telemetry import Telemetry
from tests.unit.load_world import LoadWorld

LOAD = "c1"


class Nobody:
    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        return

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        return

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        return


def run(world: LoadWorld, telemetry: Telemetry, load_id: str = LOAD) -> dict[str, Any]:
    request = LoadRequest(requested_by="tests", coordinator_run_id=load_id)
    return LocalLoad(world.project, request, Nobody(), telemetry=lambda: telemetry).run()
