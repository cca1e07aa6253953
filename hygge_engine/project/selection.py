"""Which entities a load moves: all of them, those a request names, or those whose schedule came due."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from hygge_engine.errors import LoadError, UnknownSelection
from hygge_engine.plain_text import shortened
from hygge_engine.project.models.project import Entity, Flow, Project
from hygge_engine.project.models.schedule import is_due
from hygge_engine.project.models.settings import Reload, RunType
from hygge_engine.project.telling.problems import suggest_few

# Unknown names that are listed one by one.
UNKNOWN_LIMIT = 100


def select(
    project: Project,
    flows: Sequence[str] | None = None,
    entities: Sequence[str] | None = None,
    run_type: RunType | None = None,
    *,
    backfill: bool = False,
    reload: Reload | None = None,
) -> list[Entity]:
    """The entities to move, in the project's order.

    ``flows`` and ``entities`` narrow the choice, together where both are given; None or an empty list means all.
    Entities are named ``entity`` (in every chosen flow) or ``flow.entity``. ``run_type`` replaces the entities' own,
    and a store's ``incremental``. Raises UnknownSelection naming everything that does not exist, and
    LoadError for an incremental load of an entity without a watermark, or a ``backfill`` (a window of rows, read again)
    of one that is not loaded by increments, or whose store would keep the rows twice; for a ``reload`` where nothing is
    reloaded, or by difference where the store cannot land it.
    """
    unknown = _describe_unknown("flow", flows, project.flows)
    chosen_flows = set(flows or project.flows)
    candidates = [entity for entity in project.entities if entity.flow in chosen_flows]
    if entities:
        names = {entity.name for entity in candidates} | {entity.id for entity in candidates}
        if not unknown:
            unknown = _describe_unknown("entity", entities, names)
        wanted = set(entities)
        candidates = [entity for entity in candidates if entity.name in wanted or entity.id in wanted]
    if unknown:
        raise UnknownSelection(" ".join(unknown))
    if run_type is not None:
        candidates = [entity.with_run_type(run_type) for entity in candidates]
    without_watermark = [e.id for e in candidates if e.effective_run_type == "incremental" and e.watermark is None]
    if without_watermark:
        raise LoadError(
            f"An incremental load needs a watermark, and there is none for {', '.join(without_watermark)}.",
            hint="Add `watermark: {column: …}` to the flow or entity, or load with run type full_drop, "
            "which replaces what has landed.",
        )
    if backfill:
        candidates = _without_histories(candidates)
        _check_backfill(candidates)
    if reload is not None:
        _check_reload(candidates, reload)
    return candidates


def _check_reload(entities: Sequence[Entity], reload: Reload) -> None:
    if all(entity.effective_run_type == "incremental" for entity in entities):
        raise LoadError(
            "Nothing of this load is a reload: its tables are loaded by increments.",
            hint="Add run type full_drop, or leave `reload` out.",
        )
    if reload == "drop":
        return
    refused = [entity.id for entity in entities if not entity.store.compares()]
    if refused:
        raise LoadError(
            f"A reload by difference replaces rows and takes others away by their key, and the store of "
            f"{', '.join(refused)} cannot do that.",
            hint="Choose other entities, or reload them by a drop.",
        )


def _without_histories(entities: Sequence[Entity]) -> list[Entity]:
    """The entities whose windows can be loaded again; raises LoadError where only histories were chosen."""
    found = [entity for entity in entities if not entity.history_of]
    if entities and not found:
        raise LoadError(
            "A history has each version of a row that its loads have seen, and no window of it is loaded again.",
            hint="Choose other entities.",
        )
    return found


def _check_backfill(entities: Sequence[Entity]) -> None:
    reloaded = [entity.id for entity in entities if entity.effective_run_type != "incremental"]
    if reloaded:
        raise LoadError(
            f"A window can be loaded where increments are: {', '.join(reloaded)} is reloaded as a whole.",
            hint="Leave the window out, or choose run type incremental, or other entities.",
        )
    tracked = [entity.id for entity in entities if entity.watermark and entity.watermark.lists_changes]
    if tracked:
        raise LoadError(
            f"Change Tracking and change data capture have no window that could be read again: {', '.join(tracked)}.",
            hint="Choose other entities, or replace what has landed of these: run type full_drop.",
        )
    doubled = [entity.id for entity in entities if not entity.store.upserts()]
    if doubled:
        raise LoadError(
            f"A window is read again, and the store of {', '.join(doubled)} would keep its rows twice.",
            hint="Choose entities whose store replaces rows by key, or replace what has landed of these: "
            "run type full_drop.",
        )


def due_flows(project: Project, previous_tick: datetime, now: datetime) -> list[Flow]:
    """The flows whose schedule came due after the last tick and not after ``now``; one without a schedule always is.

    Both times carry the same time zone, in which the schedules are read.
    """
    return [
        flow for flow in project.flows.values() if flow.schedule is None or is_due(flow.schedule, previous_tick, now)
    ]


def _describe_unknown(what: str, asked: Sequence[str] | None, known: Collection[str]) -> list[str]:
    """What to say of the names that are unknown: of each of the first, and how many more there are."""
    unknown = [name for name in dict.fromkeys(asked or ()) if name not in known]
    said = []
    for name in unknown[:UNKNOWN_LIMIT]:
        # An entity has two names; those of the kind that was asked for are enough.
        alike = [other for other in known if ("." in other) == ("." in name)]
        said.append(f"There is no {what} `{shortened(name)}`. {suggest_few(name, alike or known)}".strip())
    more = len(unknown) - len(said)
    return [*said, f"And {more:,} more are unknown."] if more else said
