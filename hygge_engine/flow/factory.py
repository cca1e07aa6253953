"""From settings to the things they describe: homes, destinations, and the place of their journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hygge_engine.homes.base import Home
    from hygge_engine.lake.base import Lake
    from hygge_engine.project import Entity, Project
    from hygge_engine.stores.base import Destination


def open_home(project: Project, entity: Entity) -> Home:
    """The entity's source, not yet connected."""
    return entity.home.open(project, entity)


def open_table(project: Project, entity: Entity) -> Destination[Any]:
    """The entity's destination."""
    return entity.store.open(project, entity)


def journal_of(project: Project, entity: Entity) -> tuple[Lake, str]:
    """Where the entity's runs are remembered: a lake, and the journal's folder in it. The landing state stays beside
    the destination wherever that is."""
    location = project.flows[entity.flow].journal.location
    if not isinstance(location, str):
        return location.open(project)
    return entity.home.journal(project, entity) if location == "home" else entity.store.journal(project, entity)
