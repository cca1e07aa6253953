"""Payloads about the project and its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hygge_engine.journal.entity_states import key_of
from hygge_engine.row_counts import COUNT_NAMES
from hygge_engine.web.pages import PAGE_LIMIT, Page
from hygge_engine.web.under_way import Line

if TYPE_CHECKING:
    import polars as pl

    from hygge_engine.journal import Journals
    from hygge_engine.journal.summaries import Level
    from hygge_engine.project.models.project import Project


def flows_payload(project: Project, page: Page) -> dict[str, Any]:
    """The flows and what they move, in pages of entities: names, types and schedules; nothing of the settings that lead
    anywhere."""
    entities = [entity for flow in project.flows.values() for entity in flow.entities.values()]
    shown, after = page.by_name(entities, lambda entity: entity.id)
    flows: dict[str, dict[str, Any]] = {}
    for entity in shown:
        flow = project.flows[entity.flow]
        head: dict[str, Any] = {"name": flow.name, "schedule": flow.schedule, "run_type": flow.run_type, "entities": []}
        flows.setdefault(flow.name, head)["entities"].append(
            {
                "name": entity.name,
                "run_type": entity.effective_run_type,
                "home": entity.home.type,
                "store": entity.store.type,
                "connection": entity.connection or None,
                "watermark": entity.watermark.cursor if entity.watermark else None,
            }
        )
    return {
        "project": project.name,
        "flows": list(flows.values()),
        "next_url": page.next_url("/api/flows", after),
    }


def runs_payload(journals: Journals, by: Level, page: Page, flow: str | None) -> dict[str, Any]:
    """The newest loads of all journals, or what they say of each flow or entity, a line each."""
    if by == "load":
        # A load that ends comes first, where no page is turned to.
        found = _newest_loads(journals, page, flow)
        names = found["coordinator_run_id"].to_list()
        places, after = page.of(range(found.height), names.__getitem__)
        runs = [found.row(place, named=True) for place in places]
    else:
        # The latest change with every load: their order would be another one for each page.
        runs, after = _named_page(journals.summary(by, flow=flow), ("flow", "entity")[: 1 + (by == "entity")], page)
    return {"runs": runs, "next_url": page.next_url("/api/runs", after, by=by, flow=flow)}


def run_payload(journals: Journals, load_id: str, page: Page, status: str | None, route: str) -> dict[str, Any] | None:
    """One load of the journals with a page of its entity runs, only those with a ``status`` where one is given; None
    where no journal knows it. ``route`` is that of the request."""
    # Imported here: the flows are listed without it.
    from hygge_engine.journal.summaries import summarize

    rows = journals.read(load_id)
    if rows.is_empty():
        return None
    (load,) = summarize(rows).to_dicts()
    chosen = rows if status is None else rows.filter(rows["status"] == status)
    runs, after = _named_page(chosen, ("flow", "entity"), page)
    return {**load, "entity_runs": runs, "next_url": page.next_url(route, after, status=status)}


def recorded_lines(journals: Journals, load_id: str) -> dict[str, Line]:
    """The entities of a load that the journals have, as its status shows them, by `key_of` their names."""
    found: dict[str, Line] = {}
    for row in journals.read(load_id).iter_rows(named=True):
        if not row["entity"]:
            continue  # about the load as a whole
        line = {"flow": row["flow"], "entity": row["entity"], "status": row["status"], "rows": row["row_count"] or 0}
        said = {name: row[name] for name in ("message", "error", "expectations") if row[name]}
        said |= {name: row[name] for name in COUNT_NAMES if row[name] is not None}
        found[key_of(row["flow"], row["entity"])] = {**line, "bytes": row["bytes"] or 0, **said}
    return found


def _newest_loads(journals: Journals, page: Page, flow: str | None) -> pl.DataFrame:
    """The newest loads, at least as far as one behind the page's end: of a long history no more is read than that."""
    count = page.limit + 1 if page.after is None else PAGE_LIMIT
    while True:
        found = journals.summary(flow=flow, limit=count)
        known = found["coordinator_run_id"].head(max(0, found.height - page.limit - 1))
        if found.height < count or page.after is None or page.after in known:
            return found
        count *= 4


def _named_page(found: pl.DataFrame, columns: Sequence[str], page: Page) -> tuple[list[dict[str, Any]], str | None]:
    """A page of rows that are called what some of their columns say."""
    names = [".".join(part or "" for part in name) for name in found.select(columns).iter_rows()]
    places, after = page.by_name(range(found.height), names.__getitem__)
    return [found.row(place, named=True) for place in places], after
