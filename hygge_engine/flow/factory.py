"""The one door from settings to what they describe: homes, destinations, and the place of their journal.

The ``opener`` of a settings model names the module that opens it, which is imported here and only when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hygge_engine.project.models.settings import import_others

if TYPE_CHECKING:
    from hygge_engine.homes.base import Home
    from hygge_engine.lake.base import Lake
    from hygge_engine.project import Entity, Project
    from hygge_engine.project.models.settings import HomeSettings, JournalPlaceSettings, StoreSettings
    from hygge_engine.stores.base import Destination

# The methods of a model that names no opener, because it opens what it describes itself.
_METHODS = {"open_home": "open", "open_table": "open", "open_journal": "journal", "open_place": "open"}


def open_home(project: Project, entity: Entity) -> Home:
    """The entity's source, not yet connected."""
    home: Home = _call("open_home", entity.home, project, entity.reads_as)
    return home


def close_idle(settings: HomeSettings) -> None:
    """Close the connections that a process keeps open to a home's source after their use, where the home keeps any: its
    opener then has a function of this name. Nothing where this process has opened none."""
    close = getattr(sys.modules.get(settings.opener), "close_idle", None)
    if close is not None:
        close(settings)


def rows_of_many(project: Project, entities: Sequence[Entity]) -> dict[str, int]:
    """About how many rows the sources of entities have, by id, where their kind of home tells it of many at once: its
    opener then has a function ``rows_of_many(connection, settings)``, of settings by id. All of them read by one
    connection, with homes of one kind. Raises HomeError."""
    settings = {entity.id: entity.home for entity in entities}
    home, connection = entities[0].home, project.connections[entities[0].connection]
    count = getattr(import_module(home.opener), "rows_of_many", None) if home.opener else None
    return {} if count is None else dict(count(connection, settings))


def open_table(project: Project, entity: Entity) -> Destination[Any]:
    """The entity's destination, not yet connected."""
    destination: Destination[Any] = _call("open_table", entity.store, project, entity)
    return destination


def journal_of(project: Project, entity: Entity) -> tuple[Lake, str]:
    """Where the entity's runs are recorded: a lake, and the journal's folder in it. The landing state stays beside
    the destination wherever that is."""
    location = project.flows[entity.flow].journal.location
    if not isinstance(location, str):
        place: tuple[Lake, str] = _call("open_place", location, project)
        return place
    return _beside(entity.home, project, entity.reads_as) if location == "home" else beside_table(project, entity)


def beside_table(project: Project, entity: Entity) -> tuple[Lake, str]:
    """Where landing states are kept, for a store that `keeps_journal`: a lake, and the folder in it."""
    return _beside(entity.store, project, entity)


def _beside(settings: HomeSettings | StoreSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    place: tuple[Lake, str] = _call("open_journal", settings, project, entity)
    return place


def _call(name: str, settings: HomeSettings | StoreSettings | JournalPlaceSettings, *given: Project | Entity) -> Any:
    """What the function ``name`` of the settings' opener returns, or the method of settings that have no opener.

    Raises ConfigurationError where there is no such function, or its module cannot be imported.
    """

    def find() -> Callable[..., Any]:
        if settings.opener:
            return partial(getattr(import_module(settings.opener), name), settings)
        method: Callable[..., Any] = getattr(settings, _METHODS[name])
        return method

    return import_others(find, f"what opens the type {settings.type}")(*given)
