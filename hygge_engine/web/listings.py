"""Payloads about the project and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hygge_engine.orchestration.activities import connection_of

if TYPE_CHECKING:
    from hygge_engine.journal import Journals
    from hygge_engine.journal.summaries import Level
    from hygge_engine.project.models.project import Project


def flows_payload(project: Project) -> dict[str, Any]:
    """The flows and what they move: names, types and schedules; nothing of the settings that lead anywhere."""
    return {
        "project": project.name,
        "flows": [
            {
                "name": flow.name,
                "schedule": flow.schedule,
                "run_type": flow.run_type,
                "entities": [
                    {
                        "name": entity.name,
                        "run_type": entity.effective_run_type,
                        "home": entity.home.type,
                        "store": entity.store.type,
                        "connection": connection_of(entity) or None,
                        "watermark": entity.watermark.cursor if entity.watermark else None,
                    }
                    for entity in flow.entities.values()
                ],
            }
            for flow in project.flows.values()
        ],
    }


def runs_payload(journals: Journals, by: Level, limit: int, flow: str | None) -> dict[str, Any]:
    """The newest loads of all journals, or what they say of each flow or entity, a line each."""
    return {"runs": journals.summary(by, flow=flow, limit=limit).to_dicts()}


def run_payload(journals: Journals, load_id: str) -> dict[str, Any] | None:
    """One load of the journals with its entity runs; None where no journal knows it."""
    found = journals.summary("load", coordinator_run_id=load_id).to_dicts()
    return {**found[0], "entity_runs": journals.read(load_id).to_dicts()} if found else None
