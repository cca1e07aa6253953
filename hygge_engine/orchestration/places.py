"""Where a project's loads are recorded: one place for each store location, shared by all entities that land there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hygge_engine.flow.factory import journal_of
from hygge_engine.hosts import identity_of
from hygge_engine.journal import Begun, Journal, Journals, ProgressFiles
from hygge_engine.lake.base import Lake

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project


@dataclass(frozen=True, eq=False)
class JournalPlace:
    """A journal's folder in a lake."""

    lake: Lake
    root: str

    @property
    def address(self) -> str:
        """The place for people, as the settings name it."""
        return f"{self.lake.url}/{self.root}"

    @property
    def key(self) -> str:
        """The same for all entities that share the place, however their settings name it."""
        return identity_of(self.address)

    @property
    def journal(self) -> Journal:
        return Journal(self.lake, self.root)

    @property
    def progress(self) -> ProgressFiles:
        return ProgressFiles(self.lake, self.root)


def place_of(project: Project, entity: Entity) -> JournalPlace:
    """The place of one entity."""
    return JournalPlace(*journal_of(project, entity))


def places_of(project: Project, entities: Iterable[Entity]) -> dict[str, JournalPlace]:
    """The places of several entities, each once, by key, in the order of the entities."""
    places: dict[str, JournalPlace] = {}
    for entity in entities:
        place = place_of(project, entity)
        places.setdefault(place.key, place)
    return places


def entities_at(project: Project, place: JournalPlace) -> list[Entity]:
    """All entities whose runs are recorded in a place."""
    return [entity for entity in project.entities if place_of(project, entity).key == place.key]


def journals_of(project: Project, entities: Iterable[Entity] | None = None) -> Journals:
    """All that a project has recorded, as one journal; only of some ``entities`` where these are given."""
    chosen = project.entities if entities is None else entities
    return Journals([place.journal for place in places_of(project, chosen).values()])


def unended_at(place: JournalPlace) -> list[Begun]:
    """The loads of this place that have begun and whose end is not written: they still run, or they died."""
    return [load for load in place.progress.begun() if place.journal.read(load.load_id).is_empty()]


def entities_of(project: Project, flows: Iterable[str]) -> list[Entity]:
    """All entities of the named flows, as far as they exist; of all flows where none does."""
    chosen = [entity for name in flows if name in project.flows for entity in project.flows[name].entities.values()]
    return chosen or project.entities
