"""Payloads about the project and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hygge_engine.orchestration.activities import connection_of

if TYPE_CHECKING:
    import polars as pl

    from hygge_engine.orchestration.places import Place
    from hygge_engine.project.models import Project


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


def runs_payload(places: list[Place], limit: int, flow: str | None) -> dict[str, Any]:
    """The newest loads of all journals, a line each."""
    from hygge_engine.journal.summaries import summarize_loads

    return {"runs": summarize_loads(_rows(places, flow=flow)).head(limit).to_dicts()}


def run_payload(places: list[Place], load_id: str) -> dict[str, Any] | None:
    """One load of the journals with its entity runs; None where no journal knows it."""
    from hygge_engine.journal.summaries import summarize_loads

    rows = _rows(places, coordinator_run_id=load_id)
    if rows.is_empty():
        return None
    return {**summarize_loads(rows).to_dicts()[0], "entity_runs": rows.to_dicts()}


def _rows(places: list[Place], *, coordinator_run_id: str | None = None, flow: str | None = None) -> pl.DataFrame:
    import polars as pl

    rows = [place.journal.read(coordinator_run_id, flow=flow) for place in places]
    # A load that was skipped or could not be planned is remembered in every place it would have touched.
    return pl.concat(rows).unique("entity_run_id", keep="first", maintain_order=True)
